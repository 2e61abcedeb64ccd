//! What a kernel has often is written once: as functions that give what is written where it stands, at every place that they are called
//! with.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compile};
use nestor_tests::written::{self, filled, kernel};
use std::fmt::Write as _;

const SIZES: Sizes = Sizes { batch: 2, time: 2, start: 0 };

/// So many steps `t0 <- a (t0 x) + b t0` of a walk over tokens, each with other matrices `x` and numbers; blocks of width `n`.
fn steps(n: usize, count: usize) -> String {
    let all = n * n;
    let (mut buffers, mut body) = (String::new(), String::new());
    for step in 0..count {
        let factor = 0.25 + 0.125 * step as f64;
        let x = step + 2;
        let _ = writeln!(buffers, "  b{x} \"x\": [B, T, {n}, {n}] read");
        let _ = write!(
            body,
            "    map [{n}, {n}] {{
      l0 = t0[0; {n}, 1]
      t1[0; {n}, 1] = l0 * {factor}
    }}
    product [{n}, {n}, {n}] t1[0; {n}, 1] += {factor} * t0[0; {n}, 1] @ b{x}[{all}*T*i0 + {all}*i1; {n}, 1]
    map [{n}, {n}] {{
      l0 = t1[0; {n}, 1]
      t0[0; {n}, 1] = l0
    }}
"
        );
    }
    format!(
        r#"kernel "steps" {{
  b0 "first": [B, {n}, {n}] read
  b1 "last": [B, {n}, {n}] write
{buffers}  t0 "state": [{n}, {n}]
  t1 "next": [{n}, {n}]
  indices 2
  grid i0 < B
  map [{n}, {n}] {{
    l0 = b0[{all}*i0; {n}, 1]
    t0[0; {n}, 1] = l0
  }}
  loop i1 < T {{
{body}  }}
  map [{n}, {n}] {{
    l0 = t0[0; {n}, 1]
    b1[{all}*i0; {n}, 1] = l0
  }}
}}
"#
    )
}

/// How many functions a kernel has, and how many calls of them.
fn written(text: &str, options: Options) -> [usize; 2] {
    let ptx = compile(&[kernel(text)], options).expect("compiles").ptx;
    [".func ", "call.uni"].map(|what| ptx.matches(what).count())
}

fn agree(text: &str, options: Options, tolerance: f64) {
    let kernel = kernel(text);
    let number = |n: usize, i: usize| ((i * 37 + n * 11) % 101) as f64 / 500.0 - 0.1;
    let mut buffers = filled(&kernel, &SIZES, number);
    written::agree(&kernel, options, tolerance, &mut buffers, &SIZES);
}

fn all() -> impl Iterator<Item = (Options, f64)> {
    let products = [
        (Products::Float32, 2e-6),
        (Products::Tf32x3, 2e-6),
        (Products::Tf32, 2e-3),
        (Products::Brain, 1e-2),
    ];
    products.into_iter().flat_map(|(products, tolerance)| {
        [Target::Sm80, Target::Sm90a]
            .map(|target| (Options { target, products }, tolerance))
    })
}

#[test]
fn many_steps_are_calls_and_give_what_they_gave() {
    // By threads, on tensor cores, and brought to room.
    for n in [24, 64] {
        all().for_each(|how| many(n, how));
    }
    // Tiles are in the block's own part of memory.
    many(160, (Options { target: Target::Sm80, products: Products::Brain }, 1e-2));
}

fn many(n: usize, (options, tolerance): (Options, f64)) {
    let text = steps(n, 8);
    // Some matrices are copied ahead, and are of another kind then.
    let [functions, calls] = written(&text, options);
    assert!(functions >= 2, "{n} {options:?}: {functions} functions");
    assert!(calls >= 20, "{n} {options:?}: {calls} calls");
    agree(&text, options, tolerance);
}

#[test]
fn a_few_steps_stand_where_they_are() {
    for (options, tolerance) in all() {
        let text = steps(24, 3);
        assert_eq!(written(&text, options), [0, 0], "{options:?}");
        agree(&text, options, tolerance);
    }
}

#[test]
fn what_does_not_begin_at_whole_parts_stands_where_it_is() {
    // Every matrix begins one number further than sixteen bytes allow, and none is copied ahead of a walk.
    let text = steps(24, 5).replace("576*T*i0 + 576*i1;", "1152*i0 + 1;");
    let text = text.replace("[B, T, 24, 24]", "[B, 2, 24, 24]");
    let text = text.replace("  loop i1 < T {\n", "").replace("    }\n  }\n", "    }\n");
    for (options, tolerance) in all() {
        // The maps of tiles alone.
        assert_eq!(written(&text, options), [2, 10], "{options:?}");
        agree(&text, options, tolerance);
    }
    let whole = text.replace("1152*i0 + 1;", "1152*i0 + 8;");
    for (options, tolerance) in all() {
        assert_eq!(written(&whole, options), [3, 15], "{options:?}");
        agree(&whole, options, tolerance);
    }
}
