//! Tiles whose columns warps hold in their registers, in the emulator beside the interpreter: what is carried from turn to turn, handed from a
//! product to the next, and read and written in every layout on the way.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compiled};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{agree, emulated, filled, kernel, missed, own};

/// A walk over chunks of `t` tokens with a state of `d` rows and `c` columns: its inverse products, what it yields, and its gradients' terms
/// are what a delta rule has; folds of columns are what a softmax has.
fn walk([t, d, c]: [usize; 3], heads: usize, direction: &str) -> String {
    let text = r#"kernel "walk" {
  b0 "k": [B, T, H, D] read
  b1 "v": [B, T, H, C] read
  b2 "p": [B, H, T/N, N, N] read
  b3 "a": [B, T, H] read
  b4 "y": [B, T, H, C] write
  b5 "end": [B, H, D, C] write
  b6 "states": [B, H, T/N, C, D] write
  b7 "reads": [B, H, T/N, N, C] write
  b8 "channel": [C] read
  b9 "most": [B, H, T/N, C] write
  b10 "sums": [B, H, T/N, C] write
  t0 "state": [D, C]
  t1 "x": [N, D]
  t2 "read": [N, C]
  t3 "e": [N, C]
  t4 "u": [N, C]
  t5 "scaled": [N, D]
  t6 "entry": [D, C]
  t7 "left": [N, C]
  indices 3
  grid i0 < B, i1 < H
  map [D, C] t0[0; C, 1] = 0.5
  loop i2 < T/N DIRECTION {
    map [N, D] t1[0; D, 1] = b0[HD*T*i0 + HDN*i2 + D*i1 - HD*phase(N); HD, 1] if 0 <= N*i2 + p0 - phase(N) < T
    together {
      product [N, C, D] t2[0; C, 1] = 0.5 * t1[0; D, 1] @ t0[0; C, 1]
      map [N, C] {
        l0 = b3[H*T*i0 + HN*i2 + i1 - H*phase(N); H, 0] if 0 <= N*i2 + p0 - phase(N) < T
        l1 = t2[0; C, 1]
        l2 = b1[HC*T*i0 + HCN*i2 + C*i1 - HC*phase(N); HC, 1] if 0 <= N*i2 + p0 - phase(N) < T
        l3 = b8[0; 0, 1]
        e0 = l1
        t3[0; C, 1] = l2 - l0 * e0 * l3
        b7[HCN*(T/N)*i0 + CN*(T/N)*i1 + CN*i2; C, 1] = e0
      }
    }
    product [N, C, N] t4[0; C, 1] = b2[HNN*(T/N)*i0 + NN*(T/N)*i1 + NN*i2; 1, N] @ t3[0; C, 1]
    map [N, C] b4[HC*T*i0 + HCN*i2 + C*i1 - HC*phase(N); HC, 1] if 0 <= N*i2 + p0 - phase(N) < T = t4[0; C, 1]
    map [N, D] t5[0; D, 1] = 0.5 * t1[0; D, 1]
    map [N, C] t7[0; C, 1] = t4[0; C, 1] * t3[0; C, 1]
    map [C, N] {
      l0 = t4[0; 1, C]
      e0 = l0
      b9[HC*(T/N)*i0 + C*(T/N)*i1 + C*i2; 1] = max over p1 of e0
      b10[HC*(T/N)*i0 + C*(T/N)*i1 + C*i2; 1] = sum over p1 of e0 * t3[0; 1, C]
    }
    product [N, C, N] t4[0; C, 1] += -0.25 * b2[HNN*(T/N)*i0 + NN*(T/N)*i1 + NN*i2; N, 1] @ t7[0; C, 1]
    together {
      product [D, C, N] t6[0; C, 1] = t5[0; 1, D] @ t4[0; C, 1]
      product [D, C, N] t6[0; C, 1] += t1[0; 1, D] @ t7[0; C, 1]
      map [D, C] {
        l0 = t0[0; C, 1]
        l1 = t6[0; C, 1]
        e0 = l0
        b6[HCD*(T/N)*i0 + CD*(T/N)*i1 + CD*i2; 1, D] = e0
        t0[0; C, 1] = e0 * 0.75 + l1
      }
    }
  }
  map [D, C] b5[HCD*i0 + CD*i1; C, 1] = t0[0; C, 1]
}
"#;
    let numbers = [
        ("HCN", heads * c * t),
        ("HDN", heads * d * t),
        ("HCD", heads * c * d),
        ("HNN", heads * t * t),
        ("CN", c * t),
        ("CD", c * d),
        ("NN", t * t),
        ("HC", heads * c),
        ("HD", heads * d),
        ("HN", heads * t),
    ];
    let mut out = text.replace("DIRECTION", direction).replace("  {", " {");
    for (name, n) in numbers {
        out = out.replace(name, &n.to_string());
    }
    // Single letters, each by itself.
    let letters = [('C', c), ('D', d), ('N', t), ('H', heads)];
    let chars: Vec<char> = out.chars().collect();
    let alone = |n: usize| {
        let beside = |n: Option<usize>| {
            n.and_then(|n| chars.get(n)).is_some_and(|c| c.is_ascii_alphabetic())
        };
        !beside(n.checked_sub(1)) && !beside(Some(n + 1))
    };
    let one = |(n, c): (usize, &char)| match letters.iter().find(|(l, _)| l == c) {
        Some((_, number)) if alone(n) => number.to_string(),
        _ => c.to_string(),
    };
    chars.iter().enumerate().map(one).collect()
}

pub(super) fn number(_: usize, i: usize) -> f64 {
    ((i * 37) % 101) as f64 / 100.0 - 0.5
}

const BRAIN: Options = Options { target: Target::Sm80, products: Products::Brain };

const GROUPS: Options = Options { target: Target::Sm90a, products: Products::Brain };

/// The kernel agrees with the interpreter, and its tiles are held or not.
fn runs(text: &str, sizes: &Sizes, is_held: bool) {
    let ptx = judged(text, sizes, emulated(&kernel(text), BRAIN, 3e-2));
    assert_eq!(ptx.contains("movmatrix"), is_held, "{text}");
}

/// The same by groups of warps, its tensors as float32 and as bfloat16; gives both texts.
fn runs_by_groups(text: &str, sizes: &Sizes) -> [String; 2] {
    let kernel = kernel(text);
    let all = [false, true].map(|narrow| {
        let narrow = vec![narrow; kernel.buffers.len()];
        let kernels = std::slice::from_ref(&kernel);
        let code = compiled(kernels, Some(&[narrow]), GROUPS, false);
        let code = code.unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut emulated = Emulated::of(kernels, code).unwrap_or_else(|e| panic!("{e}"));
        emulated.tolerance = 3e-2;
        judged(text, sizes, emulated)
    });
    // What a group holds is never loaded again, and the cores read the rest.
    for ptx in &all {
        assert!(own(ptx).contains("wgmma.mma_async"), "{text}");
        assert!(!own(ptx).contains("ldmatrix"), "{text}");
    }
    all
}

/// Runs it in the emulator beside the interpreter; gives its PTX.
fn judged(text: &str, sizes: &Sizes, emulated: Emulated) -> String {
    let mut buffers = filled(&kernel(text), sizes, number);
    let stats = emulated.agree(0, &mut buffers, sizes);
    let stats = stats.unwrap_or_else(|e| panic!("{sizes:?}: {e}\n{text}"));
    assert!(stats.products > 0, "no tensor core was used");
    emulated.code.ptx
}

#[test]
fn columns_are_held_from_turn_to_turn() {
    for sides in [[16, 32, 16], [32, 64, 32], [16, 48, 64], [32, 32, 128], [64, 64, 32]] {
        for (direction, time, start) in
            [("", 37, 5), ("", 1, 0), ("reverse", 64, 0), ("reverse", 3, 15)]
        {
            let sizes = Sizes { batch: 2, time, start };
            runs(&walk(sides, 2, direction), &sizes, true);
        }
    }
}

#[test]
fn groups_of_warps_hold_columns_from_turn_to_turn() {
    for sides in [[64, 64, 64], [64, 128, 64], [64, 64, 128]] {
        for (direction, time, start) in
            [("", 70, 5), ("", 1, 0), ("reverse", 128, 0), ("reverse", 3, 63)]
        {
            let sizes = Sizes { batch: 2, time, start };
            let [wide, narrow] = runs_by_groups(&walk(sides, 2, direction), &sizes);
            // What lies across what lanes have is turned where a register is two numbers.
            assert!(!own(&wide).contains("movmatrix") && narrow.contains("movmatrix"));
        }
    }
}

/// Of many blocks warps have two pieces beside one another.
#[test]
fn columns_of_many_blocks_are_held_by_fewer_warps() {
    for sides in [[16, 32, 32], [32, 16, 64]] {
        let sizes = Sizes { batch: 1, time: 37, start: 5 };
        runs(&walk(sides, 67, ""), &sizes, true);
    }
}

/// The statement of the walk that begins so with another in its place.
fn with(from: &str, to: &str) -> String {
    let text = walk([16, 32, 32], 2, "");
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 5 };

#[test]
fn what_is_taken_across_columns_lies_in_memory() {
    let taken = "map [16, 32] t7[0; 32, 1] = t4[0; 32, 1] * t3[0; 32, 1]";
    // A number of each row for all columns: that tile alone is not held.
    let other = "map [16, 32] t7[0; 32, 1] = t4[0; 32, 1] * t3[0; 32, 0]";
    runs(&with(taken, other), &SIZES, true);
    // Nothing that is held.
    let other = "map [16, 32] t7[0; 32, 1] = 0.5 * t1[0; 32, 1]";
    runs(&with(taken, other), &SIZES, true);
    // A fold over columns.
    let other = "map [16, 32] t7[0; 32, 1] = t4[0; 32, 1]\n    map [16, 32] t8[0; 1] = sum over p1 of t4[0; 32, 1]";
    let folded =
        with(taken, other).replace("  indices 3", "  t8 \"sum\": [16]\n  indices 3");
    runs(&folded, &SIZES, true);
}

#[test]
fn a_state_that_is_read_across_is_not_held() {
    let product = "product [16, 32, 32] t2[0; 32, 1] = 0.5 * t1[0; 32, 1] @ t0[0; 32, 1]";
    let other = "product [16, 32, 32] t2[0; 32, 1] = 0.5 * t1[0; 32, 1] @ t0[0; 1, 32]";
    runs(&with(product, other), &SIZES, false);
}

/// Products of so many rows, terms and columns and maps one after the other, without a loop: operands from buffers as they lie, turned, and with a
/// half of zeros.
fn straight([m, k, n]: [usize; 3]) -> String {
    format!(
        r#"kernel "straight" {{
  b0 "a": [B, {m}, {m}] read
  b1 "b": [B, {m}, {n}] read
  b2 "c": [B, {n}, {k}] read
  b3 "d": [B, {m}, {k}] read
  b4 "e": [B, {m}, {n}] write
  b5 "f": [B, {m}, {n}] update
  t0 "sum": [{m}, {n}]
  t1 "next": [{m}, {n}]
  t2 "entry": [{m}, {n}]
  t3 "b": [{m}, {n}]
  indices 1
  grid i0 < B
  map [{m}, {n}] t3[0; {n}, 1] = 0.5 * b1[{mn}*i0; {n}, 1]
  product [{m}, {n}, {m}] t0[0; {n}, 1] = 0.5 * b0[{mm}*i0; {m}, 1] @ t3[0; {n}, 1], left lower
  product [{m}, {n}, {m}] t0[0; {n}, 1] += b0[{mm}*i0; 1, {m}] @ b1[{mn}*i0; {n}, 1], left upper
  product [{m}, {n}, {m}] t0[0; {n}, 1] += b0[{mm}*i0; {m}, 1] @ b1[{mn}*i0; {n}, 1], left upper
  map [{m}, {n}] t1[0; {n}, 1] = t0[0; {n}, 1] * t3[0; {n}, 1]
  together {{
    product [{m}, {n}, {k}] t2[0; {n}, 1] = b3[{mk}*i0; {k}, 1] @ b2[{kn}*i0; 1, {k}]
    product [{m}, {n}, {m}] t2[0; {n}, 1] += b0[{mm}*i0; {m}, 1] @ t1[0; {n}, 1]
    map [{m}, {n}] {{
      l0 = t0[0; {n}, 1]
      l1 = t2[0; {n}, 1]
      b4[{mn}*i0; {n}, 1] = l0 - l1 * l1
    }}
  }}
  product [{m}, {n}, {m}] b5[{mn}*i0; {n}, 1] += -0.5 * b0[{mm}*i0; {m}, 1] @ t1[0; {n}, 1]
}}
"#,
        mm = m * m,
        mn = m * n,
        mk = m * k,
        kn = k * n,
    )
}

#[test]
fn columns_are_held_where_nothing_is_carried() {
    for sides in [[32, 32, 64], [32, 64, 128], [48, 32, 32], [32, 48, 96]] {
        runs(&straight(sides), &SIZES, true);
    }
}

#[test]
fn wider_than_all_warps_is_not_held() {
    runs(&walk([16, 16, 256], 2, ""), &SIZES, false);
    let kernel = kernel(&walk([16, 32, 32], 2, ""));
    for products in [Products::Float32, Products::Tf32x3, Products::Tf32] {
        let options = Options { target: Target::Sm80, products };
        let mut buffers = filled(&kernel, &SIZES, number);
        agree(&kernel, options, 1e-2, &mut buffers, &SIZES);
    }
}

/// What is brought for all warps is waited for, and so is its place.
#[test]
fn a_missing_barrier_is_found() {
    let kernel = kernel(&walk([16, 32, 32], 2, ""));
    // One for what is copied ahead, one for what is made of it.
    assert_eq!(missed(&kernel, BRAIN, (&SIZES, &number), "bar.sync"), [2, 2]);
}

/// So are registers that a group multiplies, and what the cores read.
#[test]
fn what_a_group_has_is_fenced_and_waited_for() {
    let kernel = kernel(&walk([64, 64, 64], 1, ""));
    let sizes = Sizes { batch: 1, time: 150, start: 0 };
    for words in ["bar.sync", "wgmma.fence", "wgmma.wait_group"] {
        let [found, all] = missed(&kernel, GROUPS, (&sizes, &number), words);
        assert!(all > 0 && found == all, "{found} of {all} {words}");
    }
    // Before the barrier behind what is copied ahead there is one, too, where nothing was written.
    assert_eq!(missed(&kernel, GROUPS, (&sizes, &number), "fence.proxy.async"), [2, 3]);
}
