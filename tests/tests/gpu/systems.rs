//! Whole systems and roots of matrices as PTX in the emulator, at sizes that divide nothing.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::written::{emulated, kernel};

const SIZES: Sizes = Sizes { batch: 2, time: 1, start: 0 };

/// Runs a kernel on its buffers, both ways.
fn agree(text: &str, buffers: Vec<Vec<f64>>, tolerance: f64) {
    agree_with(text, Target::Sm80.into(), buffers, tolerance);
}

/// The same for options; how many instructions of tensor cores were executed.
fn agree_with(
    text: &str,
    options: Options,
    mut buffers: Vec<Vec<f64>>,
    tolerance: f64,
) -> u64 {
    let mut emulated = emulated(&kernel(text), options, tolerance);
    emulated.alike = Some(options.products);
    let done = emulated.agree(0, &mut buffers, &SIZES);
    done.unwrap_or_else(|e| panic!("{e}\n{text}")).products
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

/// A triangular system, its unknowns to be those of the matrix or of its transpose, and what its kernel does beside: another
/// system of the same matrix, and a product, which need the same room.
fn triangle([n, m]: [usize; 2], how: &str) -> String {
    let (square, wide) = (n * n, n * m);
    format!(
        r#"kernel "triangle" {{
  b0 "a": [B, {n}, {n}] read
  b1 "x": [B, {n}, {m}] read
  b2 "y": [B, {n}, {m}] write
  b3 "z": [B, {n}, {m}] write
  t0 "a": [{n}, {n}]
  t1 "x": [{n}, {m}]
  t2 "z": [{n}, {m}]
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
  solve [{n}, {m}] t1 by t0{how}
  product [{n}, {m}, {n}] t2[0; {m}, 1] = 1 * t0[0; {n}, 1] @ t1[0; {m}, 1]
  solve [{n}, {m}] t2 by t0{how}
  map [{wide}] {{
    l0 = t1[0; 1]
    b2[{wide}*i0; 1] = l0
  }}
  map [{wide}] {{
    l0 = t2[0; 1]
    b3[{wide}*i0; 1] = l0
  }}
}}
"#
    )
}

/// A matrix as delta rules have it: products of keys that have much in common, times how much is written.
fn of_keys(n: usize, seed: u64) -> Vec<f64> {
    const WIDTH: usize = 8;
    let drawn = drawn(2 * n * WIDTH, seed);
    let key = |b: usize, row: usize| -> Vec<f64> {
        let key = &drawn[(b * n + row) * WIDTH..][..WIDTH];
        let key: Vec<f64> = key.iter().map(|x| x + 1.0).collect();
        let length = key.iter().map(|x| x * x).sum::<f64>().sqrt();
        key.iter().map(|x| x / length).collect()
    };
    let mut out = vec![0.0; 2 * n * n];
    for b in 0..2 {
        for i in 0..n {
            for j in 0..i {
                let both: f64 = key(b, i).iter().zip(key(b, j)).map(|(x, y)| x * y).sum();
                out[(b * n + i) * n + j] = f64::from((0.9 * both) as f32);
            }
        }
    }
    out
}

#[test]
fn triangles_are_solved_by_threads_and_on_cores() {
    let small = [[5, 3], [16, 16], [17, 4], [23, 7]];
    let large =
        [[17, 8], [20, 9], [32, 8], [32, 32], [40, 24], [50, 33], [64, 64], [100, 17]];
    let ways = [
        (Products::Float32, 1e-5),
        (Products::Tf32x3, 1e-5),
        (Products::Tf32, 1e-2),
        (Products::Brain, 2e-2),
    ];
    for (size, on_cores) in
        small.map(|s| (s, false)).into_iter().chain(large.map(|s| (s, true)))
    {
        let [n, m] = size;
        for how in ["", " transposed"] {
            for (products, tolerance) in ways {
                let text = triangle(size, how);
                let options = Options { target: Target::Sm80, products };
                let zero = vec![0.0; 2 * n * m];
                let x = drawn(2 * n * m, 5);
                let buffers =
                    || vec![of_keys(n, 3), x.clone(), zero.clone(), zero.clone()];
                let done = agree_with(&text, options, buffers(), tolerance);
                // What the product has executed.
                let lines = text.split_inclusive('\n');
                let alone: String = lines.filter(|l| !l.starts_with("  solve")).collect();
                let beside = agree_with(&alone, options, buffers(), tolerance);
                let wanted = on_cores && products != Products::Float32;
                assert_eq!(wanted, done > beside, "{products:?}\n{text}");
            }
        }
    }
}
