//! Whole systems and roots of matrices as PTX in the emulator, at sizes that divide nothing. Needs the feature `cuda`.

#![cfg(feature = "cuda")]

use nestor_ir::dim::Sizes;
use nestor_ir::tile::text::parse;
use nestor_mlir::Target;
use nestor_tests::emulated::Emulated;

const SIZES: Sizes = Sizes { batch: 2, time: 1, start: 0 };

/// Runs a kernel on its buffers, both ways.
fn agree(text: &str, mut buffers: Vec<Vec<f64>>, tolerance: f64) {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    nestor_ir::tile::verify::verify(&kernel).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut emulated = Emulated::new(std::slice::from_ref(&kernel), Target::Sm80)
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    emulated.tolerance = tolerance;
    let done = emulated.agree(0, &mut buffers, &SIZES);
    done.unwrap_or_else(|e| panic!("{e}\n{text}"));
}

/// Numbers without a pattern, from -1 to 1.
fn drawn(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 40) as f64) / f64::from(1 << 23) - 1.0
    };
    // As kernels see them.
    (0..count).map(|_| f64::from(next() as f32)).collect()
}

#[test]
fn systems_are_solved_with_pivots() {
    for (n, m) in [(1, 1), (2, 3), (5, 7), (16, 8), (33, 17)] {
        let (square, wide) = (n * n, n * m);
        let text = format!(
            r#"kernel "eliminate" {{
  b0 "a": [B, {n}, {n}] read
  b1 "x": [B, {n}, {m}] read
  b2 "y": [B, {n}, {m}] write
  t0 "a": [{n}, {n}]
  t1 "x": [{n}, {m}]
  indices 1
  grid i0 < B
  map [{square}] {{
    l0 = b0[{square}*i0; 1]
    t0[0; 1] = l0
  }}
  map [{wide}] {{
    l0 = b1[{wide}*i0; 1]
    t1[0; 1] = l0
  }}
  eliminate [{n}, {m}] t1 by t0
  map [{wide}] {{
    l0 = t1[0; 1]
    b2[{wide}*i0; 1] = l0
  }}
}}
"#
        );
        // Zeros on the diagonal: without pivots there would be no result.
        let mut a = drawn(2 * square, 3);
        (0..2 * square)
            .filter(|i| n > 1 && i % square % (n + 1) == 0)
            .for_each(|i| a[i] = 0.0);
        agree(&text, vec![a, drawn(2 * wide, 5), vec![0.0; 2 * wide]], 3e-4);
    }
}

#[test]
fn roots_of_matrices_are_those_of_the_interpreter() {
    for (n, p) in [(1, 2), (2, 4), (3, 4), (8, 2), (17, 4), (32, 4)] {
        let square = n * n;
        let text = format!(
            r#"kernel "root" {{
  b0 "a": [B, {n}, {n}] read
  b1 "y": [B, {n}, {n}] write
  t0 "a": [{n}, {n}]
  t1 "basis": [{n}, {n}]
  indices 1
  grid i0 < B
  map [{square}] {{
    l0 = b0[{square}*i0; 1]
    t0[0; 1] = l0
  }}
  inverse_root [{n}] t0 of {p} in t1
  map [{square}] {{
    l0 = t0[0; 1]
    b1[{square}*i0; 1] = l0
  }}
}}
"#
        );
        let x = drawn(2 * square, 7);
        let mut a = vec![0.0; 2 * square];
        for (b, i, j) in
            (0..2).flat_map(|b| (0..n).flat_map(move |i| (0..n).map(move |j| (b, i, j))))
        {
            let row = |r: usize, k: usize| x[b * square + r * n + k];
            let sum: f64 = (0..n).map(|k| row(i, k) * row(j, k)).sum();
            a[b * square + i * n + j] =
                f64::from((sum + if i == j { 0.1 } else { 0.0 }) as f32);
        }
        agree(&text, vec![a, vec![0.0; 2 * square]], 1e-4);
    }
}
