//! Copies of whole tiles outside of loops that hardware does: they begin as soon as nothing else lies in their places, change nothing, and
//! whatever they need and do not have is found.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compiled};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{agree, emulated, filled, kernel, missed, own};

const SIZES: Sizes = Sizes { batch: 1, time: 37, start: 5 };

const PLAIN: Options = Options { target: Target::Sm90a, products: Products::Float32 };

/// The kernel below of matrices of so many rows and columns.
fn early(n: usize) -> String {
    let (all, row) = (2 * n * n, 2 * n);
    let one = n * n;
    format!(
        r#"kernel "early" {{
  b0 "a": [B, T, 2, {n}] read
  b1 "b": [B, 2, {n}, {n}] read
  b2 "c": [B, 2, {n}, {n}] read
  b3 "y": [B, 2, T/{n}, {n}, {n}] write
  t0 "a": [{n}, {n}]
  t1 "b": [{n}, {n}]
  t2 "sum": [{n}, {n}]
  t3 "c": [{n}, {n}]
  t4 "sum": [{n}, {n}]
  indices 3
  grid i0 < B, i1 < 2, i2 < T/{n}
  map [{n}, {n}] t0[0; {n}, 1] = b0[{row}*T*i0 + {all}*i2 + {n}*i1 - {row}*phase({n}); {row}, 1] if 0 <= {n}*i2 + p0 - phase({n}) < T
  map [{n}, {n}] t1[0; {n}, 1] = b1[{all}*i0 + {one}*i1; {n}, 1]
  product [{n}, {n}, {n}] t2[0; {n}, 1] = 0.25 * t0[0; {n}, 1] @ t1[0; 1, {n}]
  map [{n}, {n}] t3[0; {n}, 1] = b2[{all}*i0 + {one}*i1; {n}, 1]
  product [{n}, {n}, {n}] t4[0; {n}, 1] = 0.25 * t2[0; {n}, 1] @ t3[0; {n}, 1]
  map [{n}, {n}] {{
    l0 = t4[0; {n}, 1]
    l1 = t2[0; {n}, 1]
    b3[{all}*(T/{n})*i0 + {one}*(T/{n})*i1 + {one}*i2; {n}, 1] = l0 + l1
  }}
}}
"#
    )
}

fn number(_: usize, i: usize) -> f64 {
    ((i * 37) % 101) as f64 / 100.0 - 0.5
}

/// Copies that hardware does.
fn copies(ptx: &str) -> usize {
    own(ptx).matches("cp.async.bulk.tensor").count()
}

/// Three matrices, the last in the place of the first, rows of one under bounds.
#[test]
fn copies_outside_of_loops_change_nothing() {
    let kernel = kernel(&early(32));
    assert_eq!(copies(&emulated(&kernel, PLAIN, 1e-4).code.ptx), 3);
    for (time, start) in [(37, 5), (32, 0), (1, 31), (64, 0), (3, 0)] {
        let sizes = Sizes { batch: 2, time, start };
        agree(&kernel, PLAIN, 1e-4, &mut filled(&kernel, &sizes, number), &sizes);
    }
}

/// Where groups of warps multiply them, they come as these read them.
#[test]
fn they_come_exchanged_where_cores_read_them() {
    let kernel = kernel(&early(64));
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    let (all, narrow) = (std::slice::from_ref(&kernel), [vec![true; 4]]);
    let code = compiled(all, Some(&narrow), options, false);
    let mut emulated = Emulated::of(all, code.unwrap_or_else(|e| panic!("{e}")))
        .unwrap_or_else(|e| panic!("{e}"));
    emulated.tolerance = 3e-2;
    let ptx = &emulated.code.ptx;
    assert!(copies(ptx) == 3 && own(ptx).contains("wgmma"), "{ptx}");
    assert!(emulated.code.entries[0].boxes.iter().all(|b| b.exchanged));
    for (time, start) in [(70, 5), (64, 0), (1, 63), (3, 0)] {
        let sizes = Sizes { batch: 2, time, start };
        emulated
            .agree(0, &mut filled(&kernel, &sizes, number), &sizes)
            .unwrap_or_else(|e| panic!("{sizes:?}: {e}"));
    }
}

/// Two begin at once, and the last one where its place is free, before the statement that it stands for.
#[test]
fn copies_begin_where_their_places_are_free() {
    let ptx = emulated(&kernel(&early(32)), PLAIN, 1e-4).code.ptx;
    let places = |words: &str| -> Vec<usize> {
        own(&ptx).match_indices(words).map(|(at, _)| at).collect()
    };
    let (copies, waits) = (places("cp.async.bulk"), places("mbarrier.try_wait"));
    assert_eq!((copies.len(), waits.len()), (3, 3), "{ptx}");
    assert!(copies[1] < waits[0], "{ptx}");
    let barriers = places("bar.sync");
    let between = barriers.iter().filter(|at| (waits[1]..copies[2]).contains(at));
    assert!(between.count() > 0 && copies[2] < waits[2], "{ptx}");
}

#[test]
fn whatever_they_need_is_missed() {
    let kernel = kernel(&early(32));
    for words in ["bar.sync", "cp.async.bulk", "mbarrier.init", "mbarrier.arrive"] {
        let [found, all] = missed(&kernel, PLAIN, (&SIZES, &number), words);
        assert!(all > 0 && found == all, "{found} of {all} {words}");
    }
}

/// Rows of two matrices times one another, and products of few rows by one of them: all read the tiles that hardware copies them to, in planes of
/// lines, before anything else has touched those.
#[test]
fn who_else_reads_a_copied_matrix_reads_the_copy() {
    let text = r#"kernel "near" {
  b0 "s": [B, 128, 128] read
  b1 "d": [B, 128, 128] read
  b2 "v": [B, 16, 128] read
  b3 "inner": [B, 128] write
  b4 "y": [B, 16, 128] write
  b5 "z": [B, 16, 128] write
  t0 "v": [16, 128]
  grid i0 < B
  map [128, 128] b3[128*i0; 1] = sum over p1 of b0[16384*i0; 128, 1] * b1[16384*i0; 128, 1]
  map [16, 128] t0[0; 128, 1] = b2[2048*i0; 128, 1]
  product [16, 128, 128] b4[2048*i0; 128, 1] = t0[0; 128, 1] @ b0[16384*i0; 1, 128]
  product [16, 128, 128] b5[2048*i0; 128, 1] = t0[0; 128, 1] @ b1[16384*i0; 128, 1]
}
"#;
    let kernel = kernel(text);
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    let (all, narrow) = (std::slice::from_ref(&kernel), [vec![true; 6]]);
    let code = compiled(all, Some(&narrow), options, false).expect("code");
    assert_eq!(copies(&code.ptx), 3, "{}", code.ptx);
    let ptx = own(&code.ptx).to_owned();
    assert!(!ptx.contains("ld.global"), "all of it is copied: {ptx}");
    // One, behind the barriers of boxes themselves.
    assert_eq!(ptx.matches("fence.proxy.async").count(), 1, "{ptx}");
    let mut emulated = Emulated::of(all, code).expect("of the emulator's subset");
    emulated.tolerance = 3e-2;
    let sizes = Sizes { batch: 3, time: 1, start: 0 };
    let ran = emulated.agree(0, &mut filled(&kernel, &sizes, number), &sizes);
    ran.unwrap_or_else(|e| panic!("{e}"));
}

/// Others are not for hardware.
#[test]
fn other_copies_are_done_by_threads() {
    let all = early(32);
    // Rows that lie no sixteen bytes apart.
    let odd = all.replace("\"a\": [B, T, 2, 32] read", "\"a\": [B, T, 2, 33] read");
    let odd = odd.replace(
        "64*T*i0 + 2048*i2 + 32*i1 - 64*phase(32); 64, 1",
        "66*T*i0 + 2112*i2 + 33*i1 - 66*phase(32); 66, 1",
    );
    assert_ne!(odd, all);
    by_threads(&odd, 2);
    // A tile that something else writes, too.
    let last = "  product [32, 32, 32] t4";
    let other = "  map [32, 32] t3[0; 32, 1] = t3[0; 32, 1] * t2[0; 32, 1]\n";
    by_threads(&all.replace(last, &[other, last].concat()), 2);
}

fn by_threads(text: &str, count: usize) {
    let kernel = kernel(text);
    let ptx = emulated(&kernel, PLAIN, 1e-4).code.ptx;
    assert_eq!(copies(&ptx), count, "{text}");
    agree(&kernel, PLAIN, 1e-4, &mut filled(&kernel, &SIZES, number), &SIZES);
}
