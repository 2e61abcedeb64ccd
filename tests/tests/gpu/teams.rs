//! States dealt out among the blocks of a cluster, in the emulator beside the interpreter: sums of tiles that all have, in shared memory and
//! in the blocks' own parts of memory, of sizes that divide nothing.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::written::{agree, emulated, filled, kernel, spoilt};

/// Two layers of a network, `w` numbers of the inner one a point, of teams of `n`, that learn for each token; `large` numbers besides.
fn walk(w: usize, n: usize, large: usize) -> String {
    format!(
        r#"kernel "walk" {{
  b0 "k": [B, T, 24] read
  b1 "first": [24, {all}] read
  b2 "second": [{all}, 24] read
  b3 "end": [B, {all}, 24] write
  b4 "out": [B, T, 24] write
  b5 "size": [B, T] write
  t0 "first": [24, {w}]
  t1 "second": [{w}, 24]
  t2 "k": [16, 24]
  t3 "inner": [16, {w}]
  t4 "out": [16, 24]
  t5 "size": []
  t6 "large": [{large}]
  t7 "odd": [3, 5]
  indices 3
  grid i0 < B, i2 < {n}
  map [24, {w}] t0[0; {w}, 1] = b1[{w}*i2; {all}, 1]
  map [{w}, 24] t1[0; 24, 1] = b2[{rows}*i2; 24, 1]
  map [{large}] t6[0; 1] = 0
  loop i1 < T/16 {{
    map [16, 24] t2[0; 24, 1] = b0[24*T*i0 + 384*i1 - 24*phase(16); 24, 1] if 0 <= 16*i1 + p0 - phase(16) < T
    product [16, {w}, 24] t3[0; {w}, 1] = t2[0; 24, 1] @ t0[0; {w}, 1]
    product [16, 24, {w}] t4[0; 24, 1] = t3[0; {w}, 1] @ t1[0; 24, 1]
    map [16, {w}] t5[0] = sum over p0, p1 of t3[0; {w}, 1]
    map [3, 5] t7[0; 5, 1] = t3[0; 5, 1]
    total t4, t5, t7
    map [16, 24] b4[24*T*i0 + 384*i1 - 24*phase(16); 24, 1] if 0 <= 16*i1 + p0 - phase(16) < T and 0 <= i2 < 1 = t4[0; 24, 1]
    map [16] b5[T*i0 + 16*i1 - phase(16); 1] if 0 <= 16*i1 + p0 - phase(16) < T and 0 <= i2 < 1 = t5[0; 0] + t7[14; 0]
    map [{large}] t6[0; 1] = t6[0; 1] + 1
    total t6
    map [16, {w}] t3[0; {w}, 1] = t3[0; {w}, 1] * 0.125 + t6[0; 0, 0] * 0.001
    product [{w}, 24, 16] t1[0; 24, 1] += 0.05 * t3[0; 1, {w}] @ t4[0; 24, 1]
    map [{large}] t6[0; 1] = t6[0; 1] * 0.01
  }}
  map [{w}, 24] b3[{each}*i0 + {rows}*i2; 24, 1] = t1[0; 24, 1]
}}
"#,
        all = w * n,
        rows = 24 * w,
        each = 24 * w * n,
    )
}

fn number(_: usize, i: usize) -> f64 {
    ((i * 37) % 101) as f64 / 100.0 - 0.5
}

const SIZES: &[Sizes] =
    &[Sizes { batch: 2, time: 37, start: 5 }, Sizes { batch: 1, time: 16, start: 0 }];
const BRAIN: Options = Options { target: Target::Sm90a, products: Products::Brain };

#[test]
fn teams_sum_what_each_has() {
    for (w, n) in [(16, 2), (32, 4), (48, 3), (16, 8)] {
        let kernel = kernel(&walk(w, n, 40));
        assert_eq!(kernel.team(), n);
        for sizes in SIZES {
            for (products, tolerance) in
                [(Products::Float32, 1e-4), (Products::Brain, 3e-2)]
            {
                let options = Options { target: Target::Sm90a, products };
                let mut buffers = filled(&kernel, sizes, number);
                let stats = agree(&kernel, options, tolerance, &mut buffers, sizes);
                let turns = ((sizes.time + sizes.start % 16).div_ceil(16)) as u64;
                let points = (sizes.batch * n) as u64;
                // Two sums a turn, each between two meetings.
                assert_eq!(stats.meetings, 4 * turns * points);
            }
        }
    }
}

#[test]
fn tiles_in_memory_of_the_blocks_are_summed_as_well() {
    // More than shared memory holds.
    let kernel = kernel(&walk(16, 4, 70_001));
    let exact = Options { target: Target::Sm90a, products: Products::Float32 };
    let code = emulated(&kernel, exact, 1e-4);
    assert!(!code.code.entries[0].scratch.is_empty(), "all of it is in shared memory");
    let mut buffers = filled(&kernel, &SIZES[1], number);
    code.agree(0, &mut buffers, &SIZES[1]).unwrap_or_else(|e| panic!("{e}"));
}

/// Without a barrier of the cluster somebody reads what another has not written, or writes what another reads.
#[test]
fn a_missing_meeting_is_found() {
    let kernel = kernel(&walk(16, 4, 40));
    let ptx = emulated(&kernel, BRAIN, 3e-2).code.ptx;
    assert!(ptx.contains(".reqnctapercluster 4"), "{ptx}");
    let count = ptx.matches("barrier.cluster.arrive").count();
    assert_eq!(count, 4, "two for each sum");
    for missing in 0..count {
        let spoil = |ptx: &str| {
            let (at, _) =
                ptx.match_indices("barrier.cluster.arrive").nth(missing).expect("one");
            let wait = at + ptx[at..].find("barrier.cluster.wait").expect("its half");
            let end = wait + ptx[wait..].find(';').expect("its end") + 1;
            format!("{}bar.sync 0;{}", &ptx[..at], &ptx[end..])
        };
        let mut buffers = filled(&kernel, &SIZES[0], number);
        let found = spoilt(&kernel, BRAIN, 3e-2, spoil)
            .and_then(|emulated| emulated.agree(0, &mut buffers, &SIZES[0]));
        let what = found.expect_err("a meeting is missing");
        assert!(what.contains("race") || what.contains("before it is written"), "{what}");
    }
    // One of the blocks ends early.
    let halves = |ptx: &str| ptx.replace(".reqnctapercluster 4", ".reqnctapercluster 3");
    let mut buffers = filled(&kernel, &SIZES[1], number);
    let found = spoilt(&kernel, BRAIN, 3e-2, halves)
        .and_then(|emulated| emulated.agree(0, &mut buffers, &SIZES[1]));
    assert!(found.expect_err("no whole clusters").contains("not whole clusters"));
}
