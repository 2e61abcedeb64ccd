//! Products of one sum and the map over their entries as one statement, in the emulator beside the interpreter: at sizes that divide
//! nothing and at those of whole blocks, by every kind of product.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{self, filled};

const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 0 };

const HOW: [(Products, f64); 4] = [
    (Products::Float32, 2e-6),
    (Products::Tf32x3, 2e-6),
    (Products::Tf32, 4e-3),
    (Products::Brain, 2e-2),
];

/// Whole blocks, some of them with fewer pieces than a block of threads has warps, and what divides nothing.
const SHAPES: [[usize; 3]; 7] = [
    [64, 64, 64],
    [32, 32, 16],
    [32, 32, 64],
    [128, 16, 32],
    [32, 16, 64],
    [70, 83, 21],
    [24, 20, 9],
];

/// Two products of one sum, of so many rows, columns and terms, and a map that takes the entries, keeps them or not, adds them to a state
/// and scales by a row's and a column's number.
fn kernel([m, n, k]: [usize; 3], keeps: bool, shape: &str) -> String {
    let kept = if keeps { format!("\n      t2[0; {n}, 1] = e0") } else { String::new() };
    let out = if keeps { format!("t2[0; {n}, 1]") } else { format!("t1[0; {n}, 1]") };
    format!(
        r#"kernel "together" {{
  b0 "a": [B, {m}, {k}] read
  b1 "b": [B, {k}, {n}] read
  b2 "state": [B, {m}, {n}] update
  b3 "row": [B, {m}] read
  b4 "column": [{n}] read
  b5 "out": [B, {n}, {m}] write
  t0 "left": [{m}, {k}]
  t1 "state": [{m}, {n}]
  t2 "entry": [{m}, {n}]
  grid i0 < B
  map [{m}, {k}] t0[0; {k}, 1] = b0[{mk}*i0; {k}, 1]
  map [{m}, {n}] t1[0; {n}, 1] = b2[{mn}*i0; {n}, 1]
  together {{
    product [{m}, {n}, {k}] t2[0; {n}, 1] = 0.5 * t0[0; {k}, 1] @ b1[{kn}*i0; {n}, 1]{shape}
    product [{m}, {n}, {k}] t2[0; {n}, 1] += 0.5 * b0[{mk}*i0; {k}, 1] @ b1[{kn}*i0; {n}, 1]{shape}
    map [{m}, {n}] {{
      l0 = t1[0; {n}, 1]
      l1 = t2[0; {n}, 1]
      l2 = b3[{m}*i0; 1, 0]
      l3 = b4[0; 0, 1] if 0 <= p1 < {some}
      e0 = l1
      t1[0; {n}, 1] = l0 * 0.25 + l2 * e0 - l3{kept}
    }}
  }}
  map [{m}, {n}] b2[{mn}*i0; {n}, 1] = t1[0; {n}, 1]
  map [{n}, {m}] b5[{mn}*i0; {m}, 1] = {turned}
}}
"#,
        mk = m * k,
        kn = k * n,
        mn = m * n,
        some = n - 1,
        turned = out.replace(&format!("{n}, 1"), &format!("1, {n}")),
    )
}

fn agree(text: &str, products: Products, tolerance: f64) {
    let kernel = written::kernel(text);
    let options = Options { target: Target::Sm80, products };
    let number = |n: usize, i: usize| ((i * 37 + n * 11) % 101) as f64 / 50.0 - 1.0;
    let mut buffers = filled(&kernel, &SIZES, number);
    let stats = written::agree(&kernel, options, tolerance, &mut buffers, &SIZES);
    assert_eq!(stats.products > 0, products != Products::Float32, "{products:?}");
}

#[test]
fn entries_go_to_their_map() {
    for (products, tolerance) in HOW {
        for size in SHAPES {
            for keeps in [false, true] {
                let terms = size[2] as f64;
                agree(&kernel(size, keeps, ""), products, tolerance * terms.sqrt());
            }
        }
    }
}

#[test]
fn what_is_not_wanted_is_zero() {
    for (products, tolerance) in HOW {
        for size in [[32, 32, 64], [40, 40, 24]] {
            let text = kernel(size, true, ", output lower");
            agree(&text, products, 8.0 * tolerance);
        }
    }
}

#[test]
fn one_row_is_taken_by_a_map_of_its_columns() {
    let text = r#"kernel "row" {
  b0 "a": [B, 24] read
  b1 "b": [B, 24, 20] read
  b2 "c": [B, 20] write
  t0 "entry": [20]
  grid i0 < B
  together {
    product [1, 20, 24] t0[0; 20, 1] = b0[24*i0; 24, 1] @ b1[480*i0; 20, 1]
    map [20] b2[20*i0; 1] = neg(t0[0; 1])
  }
}
"#;
    agree(text, Products::Float32, 2e-5);
}

/// A map that stores what other threads still bring to their products is found, were it said to be one with them.
#[test]
fn a_map_over_its_products_operand_is_found() {
    let text =
        kernel([64, 64, 64], false, "").replace("+= 0.5 * b0[4096*i0", "+= 0.5 * t1[0");
    let why = nestor_ir::tile::text::parse(&text)
        .map_err(|e| e.to_string())
        .and_then(|kernel| nestor_ir::tile::verify::verify(&kernel));
    assert!(
        why.as_ref().is_err_and(|e| e.contains("t1 is read by a product")),
        "{why:?}"
    );
    // The emulator finds the race as well.
    let kernel = nestor_ir::tile::text::parse(&text).expect("it is one");
    let options = Options { target: Target::Sm80, products: Products::Float32 };
    let kernels = std::slice::from_ref(&kernel);
    let code = nestor_mlir::compile(kernels, options).expect("code");
    let mut emulated = Emulated::of(kernels, code).expect("it is read");
    emulated.tolerance = 1e-2;
    let mut buffers = filled(&kernel, &SIZES, |n, i| ((i + n) % 7) as f64 / 7.0);
    let why = emulated.agree(0, &mut buffers, &SIZES).expect_err("threads race");
    assert!(why.to_string().contains("race"), "{why}");
}
