//! Inner products of rows with the same rows of another matrix, in the emulator beside the interpreter: on the units that multiply matrices where
//! both lie in memory as bfloat16, and by threads otherwise.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compiled};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{filled, kernel, own, scattered};

const BRAIN: Options = Options { target: Target::Sm80, products: Products::Brain };

/// Rows of two matrices of every sequence, times one another: each summed by itself, and all of them.
fn text([rows, terms]: [usize; 2], factors: &str) -> String {
    let at = format!("{}*i0; {terms}, 1]", rows * terms);
    format!(
        r#"kernel "inner" {{
  b0 "a": [B, {rows}, {terms}] read
  b1 "b": [B, {rows}, {terms}] read
  b2 "each": [B, {rows}] update
  b3 "all": [B] write
  grid i0 < B
  map [{rows}, {terms}] {{
    l0 = b0[{at}
    l1 = b1[{at}
    b2[{rows}*i0; 1] += sum over p1 of {factors}
  }}
  map [{rows}, {terms}] {{
    l0 = b0[{at}
    l1 = b1[{at}
    b3[i0] = sum over p0, p1 of {factors}
  }}
}}
"#
    )
}

/// How many instructions multiply matrices, the numbers agreeing with the interpreter's.
fn products(sides: [usize; 2], factors: &str, narrow: bool) -> usize {
    let kernel = kernel(&text(sides, factors));
    let all = std::slice::from_ref(&kernel);
    let code = compiled(all, Some(&[vec![narrow, narrow, false, false]]), BRAIN, false)
        .expect("code");
    let count = own(&code.ptx).matches("mma.sync").count();
    let mut emulated = Emulated::of(all, code).expect("of the emulator's subset");
    emulated.tolerance = 2e-5;
    let sizes = Sizes { batch: 3, time: 1, start: 0 };
    // Eighths are numbers of bfloat16.
    let eighths = |b: usize, n: usize| (scattered(b, n) * 8.0).round() / 8.0;
    let mut buffers = filled(&kernel, &sizes, eighths);
    let ran = emulated.agree(0, &mut buffers, &sizes);
    ran.unwrap_or_else(|e| panic!("{sides:?}: {e}\n{kernel}"));
    count
}

#[test]
fn units_multiply_rows_of_bfloat16() {
    for sides @ [_, terms] in [[128, 128], [16, 64], [48, 32], [64, 256]] {
        for factors in ["l0 * l1", "l1 * l0"] {
            let found = products(sides, factors, true);
            // All of a few numbers are summed by one warp.
            let maps = if sides[0] * terms >= 1024 { 2 } else { 1 };
            assert_eq!(found, maps * 2 * terms / 16, "{sides:?}");
        }
    }
}

#[test]
fn all_others_are_for_threads() {
    let sides = [64, 64];
    assert_eq!(products(sides, "l0 * l1", false), 0, "float32");
    assert_eq!(products(sides, "l0 + l1", true), 0, "a sum");
    assert_eq!(products(sides, "l0 * l0 * l1", true), 0, "of three");
    assert_eq!(products([24, 64], "l0 * l1", true), 0, "odd rows");
    assert_eq!(products([16, 48], "l0 * l1", true), 0, "odd terms");
}
