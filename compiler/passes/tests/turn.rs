//! Copies that only products read, laid as memory has them; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::text::parse;
use nestor_passes::turn::turned;

fn text(tile: &str, middle: &str) -> String {
    format!(
        r#"kernel "outer" {{
  b0 "k": [B, 32, 128] read
  b1 "v": [B, 32, 16] read
  b2 "sum": [B, 128, 16] write
  b3 "table": [9, 32] read
  b4 "rows": int[128] read
  t0 "pack": {tile}
  t1 "v": [32, 16]
  t2 "contract": [128, 16]
  t3 "other": [128, 32]
  grid i0 < B
  map [32, 16] t1[0; 16, 1] = b1[512*i0; 16, 1]
{middle}  map [128, 16] b2[2048*i0; 16, 1] = t2[0; 16, 1]
}}"#
    )
}

fn becomes(before: &str, (tile, after): (&str, &str)) {
    let read = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = turned(read(&text("[128, 32]", before)));
    assert_eq!(found.to_string(), read(&text(tile, after)).to_string());
}

fn stays(middle: &str) {
    becomes(middle, ("[128, 32]", middle));
}

const PACK: &str =
    "  map [128, 32] t0[0; 32, 1] = b0[4096*i0; 1, 128] if 0 <= p1 + i0 < 32\n";
const PRODUCT: &str =
    "  product [128, 16, 32] t2[0; 16, 1] = t0[0; 32, 1] @ t1[0; 16, 1]\n";

#[test]
fn a_copy_against_the_lie_of_memory_is_turned() {
    becomes(
        &[PACK, PRODUCT].concat(),
        (
            "[32, 128]",
            "  map [32, 128] t0[0; 128, 1] = b0[4096*i0; 128, 1] if 0 <= p0 + i0 < 32\n  \
             product [128, 16, 32] t2[0; 16, 1] = t0[0; 1, 128] @ t1[0; 16, 1]\n",
        ),
    );
}

#[test]
fn a_copy_along_memory_stays() {
    let straight = "  map [128, 32] t0[0; 32, 1] = b0[4096*i0; 32, 1]\n";
    stays(&[straight, PRODUCT].concat());
}

#[test]
fn what_a_map_computes_stays() {
    let computed = "  map [128, 32] t0[0; 32, 1] = neg(b0[4096*i0; 1, 128])\n";
    stays(&[computed, PRODUCT].concat());
}

#[test]
fn what_is_stored_with_something_else_stays() {
    let both = "  map [128, 32] {\n    e0 = b0[4096*i0; 1, 128]\n    t0[0; 32, 1] = e0\n    t3[0; 32, 1] = e0\n  }\n";
    stays(&[both, PRODUCT].concat());
}

#[test]
fn what_others_read_stays() {
    let other = "  map [128, 16] t2[0; 16, 1] = t2[0; 16, 1] + t0[0; 32, 1]\n";
    stays(&[PACK, PRODUCT, other].concat());
}

#[test]
fn a_part_that_a_product_takes_stays() {
    let part = "  product [64, 16, 32] t2[0; 16, 1] = t0[2048; 32, 1] @ t1[0; 16, 1]\n";
    stays(&[PACK, part].concat());
}

#[test]
fn what_is_gathered_stays() {
    let rows = "  gather [128, 32] t0[0; 32, 1] = b3(9) at b4[0; 1]\n";
    stays(&[rows, PRODUCT].concat());
}
