//! States dealt out among the points of a team; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::Kernel;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_passes::dealt::{Teams, dealt};

/// Two layers of a network are carried; `{middle}` is what a turn does, `{tiles}` what it needs besides.
fn text(tiles: &str, middle: &str) -> Kernel {
    let text = format!(
        r#"kernel "walk" {{
  b0 "k": [B, T, 8] read
  b1 "first": [8, 64] read
  b2 "second": [64, 8] read
  b3 "end": [B, 64, 8] write
  b4 "error": [B, T/4, 4, 8] write
  t0 "first": [8, 64]
  t1 "second": [64, 8]
  t2 "k": [4, 8]
  t3 "inner": [4, 64]
  t4 "out": [4, 8]
{tiles}  grid i0 < B
  map [8, 64] t0[0; 64, 1] = b1[0; 64, 1]
  map [64, 8] t1[0; 8, 1] = b2[0; 8, 1]
  loop i1 < T/4 {{
    map [4, 8] t2[0; 8, 1] = b0[8*T*i0 + 32*i1; 8, 1] if 0 <= 4*i1 + p0 < T
{middle}  }}
  map [64, 8] b3[512*i0; 8, 1] = t1[0; 8, 1]
}}"#
    );
    let kernel = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    kernel
}

const AHEAD: &str = "    product [4, 64, 8] t3[0; 64, 1] = t2[0; 8, 1] @ t0[0; 64, 1]\n    product [4, 8, 64] t4[0; 8, 1] = t3[0; 64, 1] @ t1[0; 8, 1]\n";
const STORED: &str = "    map [4, 8] b4[8*T*i0 + 32*i1; 8, 1] = t4[0; 8, 1]\n";
const LEARNT: &str = "    product [64, 8, 4] t1[0; 8, 1] += t3[0; 1, 64] @ t4[0; 8, 1]\n    product [8, 64, 4] t0[0; 64, 1] += t2[0; 1, 8] @ t3[0; 64, 1]\n";

fn found(tiles: &str, middle: &[&str], teams: &Teams) -> Kernel {
    let found = dealt(text(tiles, &middle.concat()), teams);
    verify(&found).unwrap_or_else(|e| panic!("{e}\n{found}"));
    found
}

/// The layer of 64 is whole in every point, whatever else is dealt out.
fn stays(tiles: &str, middle: &[&str]) {
    let found = found(tiles, middle, &Teams::ALWAYS).to_string();
    assert!(found.contains("t3 \"inner\": [4, 64]"), "{found}");
}

#[test]
fn a_layer_is_dealt_out_and_sums_over_it_are_the_teams() {
    let found = found("", &[AHEAD, STORED, LEARNT], &Teams::ALWAYS);
    assert_eq!(found.team(), 4);
    let expected = r#"kernel "walk" {
  b0 "k": [B, T, 8] read
  b1 "first": [8, 64] read
  b2 "second": [64, 8] read
  b3 "end": [B, 64, 8] write
  b4 "error": [B, T/4, 4, 8] write
  t0 "first": [8, 16]
  t1 "second": [16, 8]
  t2 "k": [4, 8]
  t3 "inner": [4, 16]
  t4 "out": [4, 8]
  grid i0 < B, i2 < 4
  map [8, 16] t0[0; 16, 1] = b1[16*i2; 64, 1]
  map [16, 8] t1[0; 8, 1] = b2[128*i2; 8, 1]
  loop i1 < T/4 {
    map [4, 8] t2[0; 8, 1] = b0[8*T*i0 + 32*i1; 8, 1] if 0 <= 4*i1 + p0 < T
    product [4, 16, 8] t3[0; 16, 1] = t2[0; 8, 1] @ t0[0; 16, 1]
    product [4, 8, 16] t4[0; 8, 1] = t3[0; 16, 1] @ t1[0; 8, 1]
    total t4
    map [4, 8] b4[8*T*i0 + 32*i1; 8, 1] if 0 <= i2 < 1 = t4[0; 8, 1]
    product [16, 8, 4] t1[0; 8, 1] += t3[0; 1, 16] @ t4[0; 8, 1]
    product [8, 16, 4] t0[0; 16, 1] += t2[0; 1, 8] @ t3[0; 16, 1]
  }
  map [16, 8] b3[512*i0 + 128*i2; 8, 1] = t1[0; 8, 1]
}"#;
    assert_eq!(found.to_string(), parse(expected).expect("reads").to_string());
}

#[test]
fn sums_that_nobody_waits_for_are_one() {
    let tiles = "  t5 \"square\": []\n";
    let square =
        "    map [8, 64] t5[0] = sum over p0, p1 of t0[0; 64, 1] * t0[0; 64, 1]\n";
    let used = "    map [4, 8] b4[8*T*i0 + 32*i1; 8, 1] = t4[0; 8, 1] * t5[0; 0, 0]\n";
    let found = found(tiles, &[AHEAD, square, used, LEARNT], &Teams::ALWAYS).to_string();
    assert_eq!(found.matches("total").count(), 1, "{found}");
    assert!(found.contains("total t4, t5"), "{found}");
}

#[test]
fn what_a_sum_is_added_to_is_there_once() {
    // The out of the turn before is added to.
    let added = AHEAD.replace("t4[0; 8, 1] =", "t4[0; 8, 1] +=");
    let found = found("", &[&added, STORED, LEARNT], &Teams::ALWAYS).to_string();
    let parts = [
        "t5[0; 8, 1] = t3[0; 16, 1] @ t1[0; 8, 1]",
        "total t5",
        "t4[0; 8, 1] = t4[0; 8, 1] + e0",
    ];
    for part in parts {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
}

#[test]
fn as_many_points_as_their_room_asks_for() {
    let bytes = 2 * 8 * 64 * 4;
    let teams =
        |near: usize, processors: usize| Teams { near, processors, ..Teams::ALWAYS };
    let team = |teams: &Teams| found("", &[AHEAD, STORED, LEARNT], teams).team();
    // Half of the room is for what is carried; processors that would idle are used.
    assert_eq!(team(&teams(2 * bytes, 1)), 1);
    assert_eq!(team(&teams(2 * bytes - 1, 1)), 2);
    assert_eq!(team(&teams(bytes - 1, 1)), 4);
    assert_eq!(team(&teams(2 * bytes - 1, 100)), 4);
    assert_eq!(team(&Teams { narrowest: 32, ..Teams::ALWAYS }), 2);
    assert_eq!(team(&Teams::NONE), 1);
}

#[test]
fn a_layer_whose_entries_meet_otherwise_stays() {
    let most = "    map [4, 64] t5[0; 1] = max over p1 of t3[0; 64, 1]\n";
    stays("  t5 \"most\": [4]\n", &[AHEAD, most, STORED, LEARNT]);
    let beside = "    map [4, 63] t3[0; 64, 1] = t3[1; 64, 1]\n";
    stays("", &[AHEAD, beside, STORED, LEARNT]);
    let square = "    product [64, 64, 8] t5[0; 64, 1] = t1[0; 8, 1] @ t1[0; 1, 8]\n";
    stays("  t5 \"square\": [64, 64]\n", &[AHEAD, square, STORED, LEARNT]);
}
