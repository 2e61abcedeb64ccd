//! Maps spread over the grid; that they give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::text::parse;
use nestor_passes::spread::{Grain, spread};

fn becomes(before: &str, after: &str) {
    let read = |text| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = spread(read(before), Grain::BLOCKS);
    assert_eq!(found.to_string(), read(after).to_string());
}

#[test]
fn tokens_become_points() {
    becomes(
        r#"kernel "exp" {
  b0 "g": [B, T, 96] read
  b1 "exp": [B, T, 96] write
  grid i0 < B
  map [T, 96] b1[96*T*i0; 96, 1] = exp(b0[96*T*i0; 96, 1])
}"#,
        r#"kernel "exp" {
  b0 "g": [B, T, 96] read
  b1 "exp": [B, T, 96] write
  grid i0 < B, i1 < T
  map [1, 96] b1[96*T*i0 + 96*i1; 96, 1] = exp(b0[96*T*i0 + 96*i1; 96, 1])
}"#,
    );
}

#[test]
fn bounds_and_positions_move_along() {
    becomes(
        r#"kernel "shift" {
  b0 "x": [T, 64] read
  b1 "y": [T, 64] write
  grid i0 < 1
  map [T, 64] {
    l0 = b0[-64; 64, 1] if 0 <= p0 - 1 < T
    e0 = at(p0)
    b1[0; 64, 1] = l0 * e0
  }
}"#,
        r#"kernel "shift" {
  b0 "x": [T, 64] read
  b1 "y": [T, 64] write
  grid i0 < 1, i1 < T
  map [1, 64] {
    l0 = b0[64*i1 - 64; 64, 1] if 0 <= p0 + i1 - 1 < T
    o0 = 0
    o1 = i1
    e0 = at(p0 + o1)
    b1[64*i1; 64, 1] = l0 * e0
  }
}"#,
    );
}

#[test]
fn rows_of_a_table_are_shared() {
    let text = |grid: &str, own: &str| {
        format!(
            r#"kernel "scatter" {{
  b0 "index": int[B, T] read
  b1 "rows": [B, T, 6] read
  b2 "table": [300, 6] update
  indices 3
  grid i0 < 1{grid}
  loop i1 < B {{
    scatter_add [T, 6] b2(300) at b0[T*i1; 1] += b1[6*T*i1; 6, 1]{own}
  }}
}}"#
        )
    };
    let before = text("", "").replace("indices 3", "indices 2");
    becomes(&before, &text(", i2 < 128", " only i2 of 128"));
    // Of few rows, no more points than rows.
    let few = |t: String| t.replace("300", "5");
    let after = few(text(", i2 < 4", " only i2 of 4"));
    becomes(&few(before), &after);
}

#[test]
fn what_is_folded_stays() {
    becomes(
        r#"kernel "fold" {
  b0 "x": [B, 3, T] read
  b1 "sum": [B, 3] write
  grid i0 < B
  map [3, T] b1[3*i0; 1] = sum over p1 of b0[3*T*i0; T, 1]
}"#,
        r#"kernel "fold" {
  b0 "x": [B, 3, T] read
  b1 "sum": [B, 3] write
  grid i0 < B, i1 < 3
  map [1, T] b1[3*i0 + i1; 1] = sum over p1 of b0[3*T*i0 + T*i1; T, 1]
}"#,
    );
}

/// Sequences are few: each point folds them for many numbers.
#[test]
fn numbers_of_which_sequences_are_folded_share_a_point() {
    becomes(
        r#"kernel "fold" {
  b0 "x": [B, 6, 4, 128] read
  b1 "sum": [6, 4, 128] write
  map [6, 4, 128, B] b1[0; 512, 128, 1] = sum over p3 of b0[0; 512, 128, 1, 3072]
}"#,
        r#"kernel "fold" {
  b0 "x": [B, 6, 4, 128] read
  b1 "sum": [6, 4, 128] write
  grid i0 < 6
  map [1, 4, 128, B] b1[512*i0; 512, 128, 1] = sum over p3 of b0[512*i0; 512, 128, 1, 3072]
}"#,
    );
}

#[test]
fn tokens_of_few_numbers_become_points_by_the_piece() {
    becomes(
        r#"kernel "gate" {
  b0 "x": [B, T, 4] read
  b1 "y": [B, T, 4] write
  grid i0 < B
  map [T, 4] {
    l0 = b0[4*T*i0 - 4; 4, 1] if 0 <= p0 - 1 < T
    e0 = at(p0)
    b1[4*T*i0; 4, 1] = l0 * e0
  }
}"#,
        r#"kernel "gate" {
  b0 "x": [B, T, 4] read
  b1 "y": [B, T, 4] write
  grid i0 < B, i1 < T/256
  map [256, 4] {
    l0 = b0[4*T*i0 + 1024*i1 - 4 - 4*phase(256); 4, 1] if 0 <= 256*i1 + p0 - 1 - phase(256) < T and 0 <= 256*i1 + p0 - phase(256) < T
    o0 = 0
    o1 = 256*i1 - phase(256)
    e0 = at(p0 + o1)
    b1[4*T*i0 + 1024*i1 - 4*phase(256); 4, 1] if 0 <= 256*i1 + p0 - phase(256) < T = l0 * e0
  }
}"#,
    );
}

#[test]
fn few_numbers_that_are_no_tokens_make_no_block() {
    let small = r#"kernel "gate" {
  b0 "x": [B, 16, 4] read
  b1 "y": [B, 16, 4] write
  grid i0 < B
  map [16, 4] b1[64*i0; 4, 1] = exp(b0[64*i0; 4, 1])
}"#;
    becomes(small, small);
}
