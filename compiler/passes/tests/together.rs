//! Products and maps over their entries as one statement; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_passes::together::together;

fn text(tiles: &str, middle: &str) -> String {
    format!(
        r#"kernel "step" {{
  b0 "k": [B, 32, 128] read
  b1 "v": [B, 32, 16] read
  b2 "out": [B, 32, 16] write
  b3 "gate": [B, 32] read
  t0 "state": [128, 16]
  t1 "k": [32, 128]
  t2 "read": [32, 16]
  t3 "error": [32, 16]
{tiles}  grid i0 < B
  map [32, 128] t1[0; 128, 1] = b0[4096*i0; 128, 1]
{middle}}}"#
    )
}

fn becomes(before: &str, tiles: &str, after: &str) {
    let read = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = together(read(&text("", before)));
    verify(&found).unwrap_or_else(|e| panic!("{e}\n{found}"));
    assert_eq!(found.to_string(), read(&text(tiles, after)).to_string());
}

fn stays(middle: &str) {
    becomes(middle, "", middle);
}

const READ: &str =
    "  product [32, 16, 128] t2[0; 16, 1] = t1[0; 128, 1] @ t0[0; 16, 1]\n";
const ERROR: &str =
    "  map [32, 16] t3[0; 16, 1] = b3[32*i0; 1, 0] * t2[0; 16, 1] - b1[512*i0; 16, 1]\n";
const WRITE: &str =
    "  product [128, 16, 32] t0[0; 16, 1] += t1[0; 1, 128] @ t3[0; 16, 1]\n";
const DECAY: &str = "  map [128, 16] t0[0; 16, 1] = t0[0; 16, 1] * 0.5\n";

fn one(first: &str, second: &str) -> String {
    ["  together {\n", first, second, "  }\n"].concat()
}

#[test]
fn a_map_takes_entries_as_they_are_summed() {
    becomes(&[READ, ERROR].concat(), "", &one(READ, ERROR));
}

#[test]
fn a_map_comes_as_early_as_its_product() {
    let between = "  map [32, 128] t1[0; 128, 1] = neg(t1[0; 128, 1])\n";
    becomes(&[READ, DECAY, ERROR].concat(), "", &[&one(READ, ERROR), DECAY].concat());
    // What it stores goes to others that have read it.
    let error = "  map [32, 16] t3[0; 16, 1] = neg(t2[0; 16, 1])\n";
    let looks = "  map [32, 16] b2[512*i0; 16, 1] = exp(t3[0; 16, 1])\n";
    stays(&[READ, between, looks, error].concat());
}

#[test]
fn entries_that_others_read_are_stored_too() {
    let error = "  map [32, 16] t3[0; 16, 1] = neg(t2[0; 16, 1])\n";
    let looks = "  map [16, 32] b2[512*i0; 1, 16] = t2[0; 1, 16]\n";
    let both = "  map [32, 16] {\n    e0 = t2[0; 16, 1]\n    t3[0; 16, 1] = neg(e0)\n    t2[0; 16, 1] = e0\n  }\n";
    becomes(
        &[READ, error, looks].concat(),
        "",
        &[one(READ, both).as_str(), looks].concat(),
    );
}

#[test]
fn what_is_added_to_is_made_on_the_way() {
    let entry = "  product [128, 16, 32] t4[0; 16, 1] = t1[0; 1, 128] @ t3[0; 16, 1]\n";
    let map = "  map [128, 16] {\n    l0 = t0[0; 16, 1]\n    l1 = t4[0; 16, 1]\n    t0[0; 16, 1] = l0 * 0.5 + l1\n  }\n";
    becomes(&[DECAY, WRITE].concat(), "  t4 \"entry\": [128, 16]\n", &one(entry, map));
}

#[test]
fn products_of_one_sum_are_summed_together() {
    let more = "  product [32, 16, 32] t2[0; 16, 1] += t1[0; 128, 1] @ t3[0; 16, 1]\n";
    becomes(&[READ, more].concat(), "", &one(READ, more));
    let error = "  map [32, 16] b2[512*i0; 16, 1] = neg(t2[0; 16, 1])\n";
    let both = [READ, more].concat();
    becomes(&[READ, more, error].concat(), "", &one(&both, error));
    // Of few terms they come to their operands in another way.
    let few = more.replace("[32, 16, 32]", "[32, 16, 8]");
    stays(&[READ, &few].concat());
    let halved = more.replace("= t1", "= 0.5 * t1");
    stays(&[READ, &halved].concat());
}

#[test]
fn products_that_add_to_a_state_add_to_it_once() {
    let state = |from: &str| {
        format!(
            "  product [128, 16, 32] t0[0; 16, 1] += t1[0; 1, 128] @ {from}[0; 16, 1]\n"
        )
    };
    let entry = |sign: &str, from: &str| {
        format!(
            "  product [128, 16, 32] t4[0; 16, 1] {sign} t1[0; 1, 128] @ {from}[0; 16, 1]\n"
        )
    };
    let (first, second) = ("t3", "t2");
    let tile = "  t4 \"entry\": [128, 16]\n";
    let plain = "  map [128, 16] {\n    l0 = t0[0; 16, 1]\n    l1 = t4[0; 16, 1]\n    t0[0; 16, 1] = l0 + l1\n  }\n";
    let products = [entry("=", first), entry("+=", second)].concat();
    becomes(&[state(first), state(second)].concat(), tile, &one(&products, plain));
    let map = "  map [128, 16] {\n    l0 = t0[0; 16, 1]\n    l1 = t4[0; 16, 1]\n    t0[0; 16, 1] = l0 * 0.5 + l1\n  }\n";
    becomes(&[DECAY, &state(first), &state(second)].concat(), tile, &one(&products, map));
}

#[test]
fn what_is_looked_at_in_between_is_made_before() {
    stays(&[DECAY, READ, WRITE].concat());
}

#[test]
fn many_operations_stay_by_themselves() {
    stays(&[READ, "  map [32, 16] t3[0; 16, 1] = exp(t2[0; 16, 1])\n"].concat());
}

#[test]
fn what_the_product_reads_is_not_written_with_it() {
    stays(
        &[READ, "  map [32, 16] t1[0; 128, 1] = t2[0; 16, 1] + t1[0; 128, 1]\n"].concat(),
    );
}

#[test]
fn a_kernel_whose_passing_entries_are_read_is_refused() {
    let refused = |middle: &str| {
        let kernel = parse(&text("", middle)).expect("it is one");
        verify(&kernel).expect_err("it is wrong")
    };
    let looks = "  map [16, 32] b2[512*i0; 1, 16] = t2[0; 1, 16]\n";
    let why = refused(&[one(READ, ERROR).as_str(), looks].concat());
    assert!(why.contains("entries of t2 pass"), "{why}");
    let turned = "  map [16, 32] b2[512*i0; 1, 16] = t2[0; 1, 16]\n";
    let why = refused(&one(READ, turned));
    assert!(why.contains("other points"), "{why}");
    let folded = "  map [32, 16] t3[0; 1] = sum over p1 of t2[0; 16, 1]\n";
    let why = refused(&one(READ, folded));
    assert!(why.contains("folds"), "{why}");
    let accumulates = READ.replace(" = ", " += ");
    let why = refused(&one(&accumulates, ERROR));
    assert!(why.contains("more than a tile"), "{why}");
    let shared = "  map [32, 16] t1[0; 128, 1] = t2[0; 16, 1]\n";
    let why = refused(&one(READ, shared));
    assert!(why.contains("read by a product"), "{why}");
}
