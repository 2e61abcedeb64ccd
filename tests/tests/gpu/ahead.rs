//! What a loop's next turn takes from memory is copied while this one is worked on: the same results, and the emulator finds
//! every wait and every barrier that is missing.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::written::{emulated, filled, kernel, spoilt, without};

/// A walk: whole lines and single numbers, with bounds and without, an operand that lies turned, a copy that is there
/// already, and a state.
const WALK: &str = r#"kernel "walk" {
  b0 "k": [B, T, 2, 32] read
  b1 "v": [B, T, 2, 16] read
  b2 "p": [B, 2, T/16, 16, 16] read
  b3 "a": [B, T, 2] read
  b4 "y": [B, T, 2, 16] write
  b5 "end": [B, 2, 32, 16] write
  t0 "state": [32, 16]
  t1 "x": [16, 32]
  t2 "read": [16, 16]
  t3 "e": [16, 16]
  t4 "u": [16, 16]
  indices 3
  grid i0 < B, i1 < 2
  map [32, 16] t0[0; 16, 1] = 0.5
  loop i2 < T/16 DIRECTION {
    map [16, 32] t1[0; 32, 1] = b0[64*T*i0 + 1024*i2 + 32*i1 - 64*phase(16); 64, 1] if 0 <= 16*i2 + p0 - phase(16) < T
    product [16, 16, 32] t2[0; 16, 1] = t1[0; 32, 1] @ t0[0; 16, 1]
    map [16, 16] {
      l0 = b3[2*T*i0 + 32*i2 + i1 - 2*phase(16); 2, 0] if 0 <= 16*i2 + p0 - phase(16) < T
      l1 = t2[0; 16, 1]
      l2 = b1[32*T*i0 + 512*i2 + 16*i1 - 32*phase(16); 32, 1] if 0 <= 16*i2 + p0 - phase(16) < T
      t3[0; 16, 1] = l2 - l0 * l1
    }
    product [16, 16, 16] t4[0; 16, 1] = b2[512*(T/16)*i0 + 256*(T/16)*i1 + 256*i2; 1, 16] @ t3[0; 16, 1]
    map [16, 16] b4[32*T*i0 + 512*i2 + 16*i1 - 32*phase(16); 32, 1] if 0 <= 16*i2 + p0 - phase(16) < T = t4[0; 16, 1]
    product [32, 16, 16] t0[0; 16, 1] += 0.25 * t1[0; 1, 32] @ t4[0; 16, 1]
  }
  map [32, 16] b5[1024*i0 + 512*i1; 16, 1] = t0[0; 16, 1]
}
"#;

fn number(_: usize, i: usize) -> f64 {
    ((i * 37) % 101) as f64 / 100.0 - 0.5
}

/// Runs the kernel with its PTX changed, both ways.
fn run(
    reverse: bool,
    options: Options,
    sizes: &Sizes,
    spoil: impl Fn(&str) -> String,
) -> Result<(), String> {
    let direction = if reverse { "reverse" } else { "" };
    let kernel = kernel(&WALK.replace("DIRECTION", direction).replace("  {", " {"));
    let tolerance = if options.products == Products::Brain { 2e-2 } else { 1e-4 };
    let copy = match options.target {
        Target::Sm90a => "cp.async.bulk.tensor.4d",
        Target::Sm80 | Target::Sm86 => "cp.async.cg.shared.global",
    };
    let emulated = spoilt(&kernel, options, tolerance, |ptx| {
        assert!(ptx.contains(copy), "{ptx}");
        spoil(ptx)
    })?;
    let mut buffers = filled(&kernel, sizes, number);
    emulated.agree(0, &mut buffers, sizes).map(|_| ())
}

const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 5 };

const BY_THREADS: Options = Options { target: Target::Sm80, products: Products::Float32 };

#[test]
fn copies_ahead_change_nothing() {
    for reverse in [false, true] {
        let targets = [Target::Sm80, Target::Sm90a];
        let products = [Products::Float32, Products::Brain];
        let all = targets.iter().flat_map(|t| products.map(|products| (*t, products)));
        for (target, products) in all {
            let options = Options { target, products };
            for (time, start) in [(37, 5), (64, 0), (3, 15), (1, 0), (16, 0)] {
                let sizes = Sizes { batch: 2, time, start };
                run(reverse, options, &sizes, str::to_owned)
                    .unwrap_or_else(|e| panic!("{sizes:?} {options:?}: {e}"));
            }
        }
    }
}

/// A loop in a loop: what the outer one has copied ahead is read in every turn of the inner one, which copies ahead as well.
const NESTED: &str = r#"kernel "nested" {
  b0 "x": [B, 5, 16, 8] read
  b1 "w": [3, 16, 8] read
  b2 "y": [B, 5, 16, 8] write
  t0 "x": [16, 8]
  t1 "sum": [16, 8]
  indices 3
  grid i0 < B
  loop i1 < 5 {
    map [16, 8] t0[0; 8, 1] = b0[640*i0 + 128*i1; 8, 1]
    map [16, 8] t1[0; 8, 1] = 0
    loop i2 < 3 {
      map [16, 8] {
        l0 = t1[0; 8, 1]
        l1 = t0[40; 0, 1]
        l2 = b1[128*i2; 8, 1]
        t1[0; 8, 1] = l0 + l1 * l2
      }
    }
    map [16, 8] b2[640*i0 + 128*i1; 8, 1] = t1[0; 8, 1]
  }
}
"#;

#[test]
fn a_loop_in_a_loop_keeps_places_apart() {
    let kernel = kernel(NESTED);
    let emulated = emulated(&kernel, Target::Sm80, 1e-4);
    let waits = emulated.code.ptx.matches("cp.async.wait").count();
    assert_eq!(waits, 2, "{}", emulated.code.ptx);
    let mut buffers = filled(&kernel, &SIZES, number);
    emulated.agree(0, &mut buffers, &SIZES).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_missing_wait_is_caught() {
    let spoil = |ptx: &str| without(ptx, "cp.async.wait", 0).expect("a wait");
    let what = run(false, BY_THREADS, &SIZES, spoil).expect_err("nobody waits");
    assert!(
        what.contains("its copy is waited for") || what.contains("under way"),
        "{what}"
    );
}

#[test]
fn the_barrier_behind_the_wait_is_needed() {
    let at = |ptx: &str, what: &str| ptx.match_indices(what).map(|(at, _)| at).collect();
    let spoil = |ptx: &str| {
        let wait = ptx.find("cp.async.wait").expect("a wait");
        let all: Vec<usize> = at(ptx, "bar.sync");
        let n = all.iter().position(|at| *at > wait).expect("a barrier");
        without(ptx, "bar.sync", n).expect("a barrier")
    };
    for reverse in [false, true] {
        let what = run(reverse, BY_THREADS, &SIZES, spoil).expect_err("no barrier");
        let known = ["race", "before it is written", "waited for", "under way"];
        assert!(known.iter().any(|k| what.contains(k)), "{what}");
    }
}

const BY_BOXES: Options = Options { target: Target::Sm90a, products: Products::Float32 };

/// Runs with some words in their nth place made others.
fn with_other(n: usize, words: &str, other: &str) -> Result<(), String> {
    let spoil = |ptx: &str| {
        let (at, _) = ptx.match_indices(words).nth(n).expect("they are there");
        format!("{}{other}{}", &ptx[..at], &ptx[at + words.len()..])
    };
    run(false, BY_BOXES, &SIZES, spoil)
}

#[test]
fn boxes_that_are_not_waited_for_are_caught() {
    let wait = "mbarrier.try_wait.parity.shared::cta.b64 %done0";
    let what = with_other(0, wait, "mov.pred %done0, 1; // ").expect_err("nobody waits");
    assert!(what.contains("its copy is waited for"), "{what}");
}

#[test]
fn bytes_that_are_not_announced_or_do_not_come_are_caught() {
    let expect = "mbarrier.arrive.expect_tx.shared::cta.b64 _, ";
    let what = with_other(1, expect, "// ").expect_err("nobody arrives");
    assert!(what.contains("a phase that does not end"), "{what}");
    let copy = "cp.async.bulk.tensor.4d";
    for n in 0..6 {
        let what = with_other(n, copy, "// ").expect_err("bytes are missing");
        assert!(what.contains("a phase that does not end"), "{n}: {what}");
    }
}

#[test]
fn barriers_of_boxes_are_made_and_seen_before_they_count() {
    let what = with_other(0, "mbarrier.init", "// ").expect_err("there is none");
    assert!(what.contains("there is no such barrier"), "{what}");
    let what = with_other(0, "fence.proxy.async", "// ").expect_err("no fence");
    assert!(what.contains("was made with no `fence.proxy.async`"), "{what}");
}

#[test]
fn boxes_come_to_a_place_that_nobody_reads_any_more() {
    let spoil = |ptx: &str| {
        let wait = ptx.find("mbarrier.try_wait").expect("a wait");
        let before = ptx[..wait].matches("bar.sync").count();
        without(ptx, "bar.sync", before).expect("a barrier")
    };
    for reverse in [false, true] {
        let what = run(reverse, BY_BOXES, &SIZES, spoil).expect_err("no barrier");
        let known = ["race", "under way", "before it is written"];
        assert!(known.iter().any(|k| what.contains(k)), "{what}");
    }
}
