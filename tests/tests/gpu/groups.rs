//! Products by groups of four warps on the GPUs that have them, in the emulator beside the interpreter: operands brought to room and read from where
//! they lie, in every layout, in tiles of a line and in planes of them; and what goes wrong without the fences between.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::written::{emulated, filled, kernel, own, scattered, spoilt, without};

const BRAIN: Options = Options { target: Target::Sm90a, products: Products::Brain };
const SIZES: Sizes = Sizes { batch: 1, time: 1, start: 0 };

/// `[m, n]` from tiles `[m, k]` and `[k, n]`, or turned ones.
fn product([m, n, k]: [usize; 3], turned: [bool; 2]) -> String {
    let tile = |rows: usize, columns: usize, turned: bool| match turned {
        false => ([rows, columns], format!("{columns}, 1")),
        true => ([columns, rows], format!("1, {rows}")),
    };
    let (left, left_strides) = tile(m, k, turned[0]);
    let (right, right_strides) = tile(k, n, turned[1]);
    let copied = |n: usize, [rows, columns]: [usize; 2]| {
        format!(
            "  map [{rows}, {columns}] {{\n    l0 = b{n}[0; {columns}, 1]\n    t{n}[0; {columns}, 1] = l0\n  }}"
        )
    };
    let ([a, b], [c, d]) = (left, right);
    format!(
        r#"kernel "product" {{
  b0 "a": [{a}, {b}] read
  b1 "b": [{c}, {d}] read
  b2 "c": [{m}, {n}] update
  t0 "left": [{a}, {b}]
  t1 "right": [{c}, {d}]
  indices 1
  grid i0 < 1
{}
{}
  product [{m}, {n}, {k}] b2[0; {n}, 1] += 0.5 * t0[0; {left_strides}] @ t1[0; {right_strides}]
}}
"#,
        copied(0, left),
        copied(1, right),
    )
}

/// Runs it with its PTX changed.
fn run(text: &str, spoil: impl FnOnce(&str) -> String) -> Result<(), String> {
    let kernel = kernel(text);
    let emulated = spoilt(&kernel, BRAIN, 1e-2, spoil)?;
    let mut buffers = filled(&kernel, &SIZES, scattered);
    emulated.agree(0, &mut buffers, &SIZES).map(|_| ())
}

const LAYOUTS: [[bool; 2]; 4] =
    [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn tiles_are_read_from_where_they_lie() {
    for turned in LAYOUTS {
        for sizes in [[64, 64, 64], [64, 128, 128], [128, 64, 256], [128, 64, 64]] {
            let text = product(sizes, turned);
            let emulated = emulated(&kernel(&text), BRAIN, 1e-2);
            let ptx = own(&emulated.code.ptx);
            assert!(ptx.contains("wgmma.mma_async"), "{sizes:?} {turned:?}\n{text}");
            assert!(!ptx.contains("ldmatrix"), "warps load for themselves\n{text}");
            run(&text, str::to_owned).unwrap_or_else(|e| panic!("{e}\n{text}"));
        }
    }
}

/// What the emulator says without each of the lines that hold some words.
fn missing(text: &str, words: &str) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let mut spoilt = false;
        let found = run(text, |ptx| {
            let found = without(ptx, words, out.len());
            spoilt = found.is_some();
            found.unwrap_or_else(|| ptx.to_owned())
        });
        match spoilt {
            true => out.push(found.expect_err("the line is needed")),
            false => return out,
        }
    }
}

#[test]
fn what_threads_wrote_is_fenced_before_the_cores_read_it() {
    // A map, a map, and a product of what they store: one barrier, and the fence before it.
    let text = product([64, 64, 128], [false, false]);
    let found = missing(&text, "fence.proxy.async");
    assert!(!found.is_empty());
    for what in found {
        assert!(what.contains("proxy"), "{what}");
    }
    for what in missing(&text, "bar.sync") {
        assert!(what.contains("race") || what.contains("proxy"), "{what}");
    }
    for what in missing(&text, "wgmma.fence") {
        assert!(what.contains("fence"), "{what}");
    }
    for what in missing(&text, "wgmma.wait_group") {
        assert!(what.contains("under way"), "{what}");
    }
}

#[test]
fn operands_are_told_as_they_lie() {
    // Bit 62 of what tells of an operand says that its parts are exchanged; a plane lies further on than that many bytes.
    let text = product([64, 128, 128], [false, true]);
    let mut count = 0;
    loop {
        let mut spoilt = false;
        let found = run(&text, |ptx| {
            let adds = own(ptx).match_indices(" 4611");
            let Some((at, _)) = adds.into_iter().nth(count) else {
                return ptx.to_owned();
            };
            spoilt = true;
            let end = at + ptx[at..].find(';').expect("its end");
            let number: i64 = ptx[at + 1..end].parse().expect("a number");
            // Its lines are said to be eight of 512 bytes apart.
            let wrong = number ^ (1024 / 16) << 32 ^ (512 / 16) << 32;
            format!("{} {wrong}{}", &ptx[..at], &ptx[end..])
        });
        if !spoilt {
            break;
        }
        assert!(found.is_err(), "number {count} of what is told of operands");
        count += 1;
    }
    assert!(count >= 2, "{count} operands");
}

/// A product of buffers, whose operands are brought.
fn brought([m, n, k]: [usize; 3], how: &str, turned: bool) -> String {
    let right = if turned { format!("1, {k}") } else { format!("{n}, 1") };
    format!(
        r#"kernel "product" {{
  b0 "a": [{m}, {k}] read
  b1 "b": [{k}, {n}] read
  b2 "c": [{m}, {n}] update
  indices 1
  grid i0 < 1
  product [{m}, {n}, {k}] b2[0; {n}, 1] += 0.5 * b0[0; {k}, 1] @ b1[0; {right}]{how}
}}
"#
    )
}

#[test]
fn operands_are_brought_where_they_do_not_lie() {
    // Sides that divide nothing, too; of half a block's rows, warps load for themselves.
    for sizes in [[64, 64, 64], [128, 96, 80], [70, 83, 150], [64, 16, 48]] {
        for turned in [false, true] {
            let text = brought(sizes, "", turned);
            let code = emulated(&kernel(&text), BRAIN, 1e-2).code.ptx;
            assert!(own(&code).contains("wgmma.mma_async"), "{text}");
            run(&text, str::to_owned).unwrap_or_else(|e| panic!("{e}\n{text}"));
        }
    }
    let text = brought([128, 128, 96], ", output lower", false);
    run(&text, str::to_owned).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let text = brought([32, 64, 64], "", false);
    assert!(!own(&emulated(&kernel(&text), BRAIN, 1e-2).code.ptx).contains("wgmma"));
}
