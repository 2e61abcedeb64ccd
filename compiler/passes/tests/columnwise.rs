//! Maps within columns as one; that kernels give the same is seen to with every schedule (`common/schedule.rs`), and here with maps that take each
//! other's rows in every way.

use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::interpret::tile::run;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_ir::tile::{Kernel, Stmt};
use nestor_passes::columnwise::{Least, columnwise};

/// `{middle}` between a chunk of eight tokens and what is put out of it.
fn kernel(middle: &str) -> Kernel {
    let text = format!(
        r#"kernel "chunk" {{
  b0 "x": [B, T, 4] read
  b1 "y": [B, T, 4] write
  b2 "whole": [B, T/8, 4] write
  t0 "x": [8, 4]
  t1 "pairs": [4, 4]
  t2 "of pairs": [4, 2, 4]
  t3 "y": [8, 4]
  t4 "sums": [4]
  t5 "product": [8, 8]
  grid i0 < B, i1 < T/8
  map [8, 4] t0[0; 4, 1] = b0[4*T*i0 + 32*i1; 4, 1] if 0 <= 8*i1 + p0 < T
{middle}
}}"#
    );
    parsed(&text)
}

fn parsed(text: &str) -> Kernel {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    kernel
}

/// The kernel joined, which gives the same to the last bit.
fn joined(before: &Kernel) -> Kernel {
    let found = columnwise(before.clone(), Least::ANY);
    verify(&found).unwrap_or_else(|e| panic!("{e}\n{found}"));
    for time in [5, 8, 21] {
        let sizes = Sizes { batch: 2, time, start: 0 };
        let given = |kernel: &Kernel| -> Vec<Vec<f64>> {
            let dims = kernel.buffers.values().map(|b| &b.dims);
            let count = dims.map(|dims| dims.iter().map(|d| d.size(&sizes)).product());
            count.map(|n| (0..n).map(|i| (i as f64 * 0.7).sin()).collect()).collect()
        };
        let (mut a, mut b) = (given(before), given(&found));
        run(before, &mut a, &sizes, Precision::F64).expect("it runs");
        run(&found, &mut b, &sizes, Precision::F64).expect("it runs");
        assert_eq!(a, b, "{time} tokens\n{before}\n{found}");
    }
    found
}

const PAIRS: &str = "  map [4, 4] t1[0; 4, 1] = t0[0; 8, 1] * t0[4; 8, 1]";
const OF_PAIRS: &str =
    "  map [4, 2, 4] t2[0; 8, 4, 1] = t0[0; 8, 4, 1] + t1[0; 4, 0, 1] if 0 <= p1 - 1 < 1";
const OUT: &str = "  map [8, 4] b1[4*T*i0 + 32*i1; 4, 1] if 0 <= 8*i1 + p0 < T = t2[0; 4, 1] * t0[0; 4, 1]";

#[test]
fn what_follows_from_the_same_columns_is_one_map() {
    let found = joined(&kernel(&[PAIRS, OF_PAIRS, OUT].join("\n")));
    let [Stmt::Map { loads, sinks, .. }] = &found.body[..] else { panic!("{found}") };
    assert_eq!((loads.len(), sinks.len()), (8, 8), "{found}");
    assert!(!found.to_string().contains("  t2["), "{found}");
}

/// A product of rows that others make, which nobody joined takes.
const PRODUCT: &str = "  product [8, 8, 4] t5[0; 8, 1] = t2[0; 4, 1] @ t0[0; 1, 4]";

#[test]
fn what_others_read_is_stored_and_they_come_behind() {
    let found = joined(&kernel(&[PAIRS, OF_PAIRS, PRODUCT, OUT].join("\n")));
    let [Stmt::Map { sinks, .. }, Stmt::Product { .. }] = &found.body[..] else {
        panic!("{found}")
    };
    assert_eq!(sinks.len(), 24, "{found}");
}

#[test]
fn what_takes_of_those_behind_is_not_joined() {
    let last = "  map [8, 4] b1[4*T*i0 + 32*i1; 4, 1] if 0 <= 8*i1 + p0 < T = t2[0; 4, 1] * t5[0; 8, 1]";
    let found = joined(&kernel(&[PAIRS, OF_PAIRS, PRODUCT, last].join("\n")));
    let [Stmt::Map { .. }, Stmt::Product { .. }, Stmt::Map { space, .. }] =
        &found.body[..]
    else {
        panic!("{found}")
    };
    assert_eq!(space[0], Dim::Fixed(8), "{found}");
}

#[test]
fn what_has_nothing_to_do_with_it_stays_as_it_is_and_comes_before() {
    let aside = "  map [4] t4[0; 1] = 3";
    let last = "  map [4] b2[4*(T/8)*i0 + 4*i1; 1] = real(at(p0) == at(p0 + i1 - 1))";
    let found = joined(&kernel(&[PAIRS, aside, OF_PAIRS, PRODUCT, OUT, last].join("\n")));
    let [
        Stmt::Map { space, .. },
        Stmt::Map { .. },
        Stmt::Map { .. },
        Stmt::Product { .. },
    ] = &found.body[..]
    else {
        panic!("{found}")
    };
    assert_eq!(space.len(), 1, "{found}");
}

/// More rows than a thread has: each has those of one of two lanes.
#[test]
fn rows_lie_in_lanes() {
    let text = r#"kernel "chunk" {
  b0 "x": [B, T, 4] read
  b1 "y": [B, T, 4] write
  t0 "x": [32, 4]
  t1 "pairs": [16, 4]
  t2 "of pairs": [32, 4]
  t3 "of fours": [8, 4]
  grid i0 < B, i1 < T/32
  map [32, 4] t0[0; 4, 1] = b0[4*T*i0 + 128*i1; 4, 1] if 0 <= 32*i1 + p0 < T
  map [16, 4] t1[0; 4, 1] = t0[0; 8, 1] * t0[4; 8, 1] + at(p0 + 3) + 10 * at(p1)
  map [16, 2, 4] t2[0; 8, 4, 1] = t0[0; 8, 4, 1] + t1[0; 4, 0, 1] if 0 <= p1 - 1 < 1
  map [8, 4] t3[0; 4, 1] = t1[0; 8, 1] * t1[4; 8, 1]
  map [8, 4, 4] b1[4*T*i0 + 128*i1; 16, 4, 1] if 0 <= 32*i1 + 4*p0 + p1 < T = t2[0; 16, 4, 1] * t3[0; 4, 0, 1]
}"#;
    let found = joined(&parsed(text));
    let [Stmt::Map { space, loads, .. }] = &found.body[..] else { panic!("{found}") };
    assert_eq!((space[0], loads.len()), (Dim::Fixed(2), 16), "{found}");
}

/// What takes of another lane finds it in its tile.
#[test]
fn lanes_that_meet_are_not_joined() {
    let text = r#"kernel "chunk" {
  b0 "x": [B, T, 4] read
  b1 "y": [B, T, 4] write
  t0 "x": [32, 4]
  t1 "shifted": [32, 4]
  grid i0 < B, i1 < T/32
  map [32, 4] t0[0; 4, 1] = b0[4*T*i0 + 128*i1; 4, 1] if 0 <= 32*i1 + p0 < T
  map [32, 4] t1[0; 4, 1] = t0[-4; 4, 1] if 0 <= p0 - 1 < 32
  map [32, 4] b1[4*T*i0 + 128*i1; 4, 1] if 0 <= 32*i1 + p0 < T = t1[0; 4, 1] * t0[0; 4, 1]
}"#;
    let found = joined(&parsed(text));
    let [Stmt::Map { space, .. }, Stmt::Map { .. }] = &found.body[..] else {
        panic!("{found}")
    };
    assert_eq!(space[0], Dim::Fixed(32), "{found}");
}

#[test]
fn indices_of_rows_and_columns_are_those_of_their_maps() {
    let marked = "  map [8, 4] t3[0; 4, 1] = t0[0; 4, 1] + at(p0) + 10 * at(p1) + 100 * at(p0 + 8*i1)";
    let out = "  map [8, 4] b1[4*T*i0 + 32*i1; 4, 1] if 0 <= 8*i1 + p0 < T = t3[0; 4, 1] * at(p0 + 8*i1 - 2)";
    let found = joined(&kernel(&[marked, out].join("\n")));
    assert_eq!(found.body.len(), 1, "{found}");
}

#[test]
fn others_stay() {
    for middle in [
        // Across columns.
        "  map [8, 4] t3[0; 4, 1] = t0[3; 4, -1]\n  map [8, 4] b1[4*T*i0 + 32*i1; 4, 1] if 0 <= 8*i1 + p0 < T = t3[3; 4, -1]",
        // A number of all columns.
        "  map [8, 4] t4[0; 0] = sum over p1 of t0[0; 4, 1]",
        // Written where it had been read.
        "  map [4] b2[4*(T/8)*i0 + 4*i1; 1] = t4[0; 1]\n  map [4] t4[0; 1] = t3[4; 1]",
    ] {
        let before = kernel(middle);
        let found = columnwise(before.clone(), Least::ANY);
        assert_eq!(found.to_string(), before.to_string());
    }
}
