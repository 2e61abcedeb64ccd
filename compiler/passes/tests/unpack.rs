//! Copies that only products read, taken out; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::text::parse;
use nestor_passes::unpack::unpacked;

fn text(middle: &str) -> String {
    format!(
        r#"kernel "gram" {{
  b0 "k": [B, 32, 128] read
  b1 "gram": [B, 32, 32] write
  t0 "x": [32, 128]
  t1 "pack": [128, 32]
  t2 "contract": [32, 32]
  grid i0 < B
  map [32, 128] t0[0; 128, 1] = b0[4096*i0; 128, 1]
{middle}  map [32, 32] b1[1024*i0; 32, 1] = t2[0; 32, 1]
}}"#
    )
}

fn becomes(before: &str, after: &str) {
    let read = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = unpacked(read(&text(before)));
    assert_eq!(found.to_string(), read(&text(after)).to_string());
}

const PACK: &str = "  map [128, 32] t1[0; 32, 1] = t0[0; 1, 128]\n";
const PRODUCT: &str =
    "  product [32, 32, 128] t2[0; 32, 1] = t0[0; 128, 1] @ t1[0; 32, 1]\n";

#[test]
fn a_turned_copy_is_read_where_it_lies() {
    becomes(
        &[PACK, PRODUCT].concat(),
        "  product [32, 32, 128] t2[0; 32, 1] = t0[0; 128, 1] @ t0[0; 1, 128]\n",
    );
}

#[test]
fn a_copy_of_what_changes_later_stays() {
    let change = "  map [32, 128] t0[0; 128, 1] = neg(t0[0; 128, 1])\n";
    let changed = [PACK, change, PRODUCT].concat();
    becomes(&changed, &changed);
}

#[test]
fn what_others_read_stays() {
    let other = "  map [32, 32] t2[0; 32, 1] = t2[0; 32, 1] + t1[0; 32, 1]\n";
    let both = [PACK, PRODUCT, other].concat();
    becomes(&both, &both);
}

#[test]
fn a_copy_that_an_earlier_product_takes_in_the_next_turn_stays() {
    let looped = ["  loop i1 < 3 {\n", PRODUCT, PACK, "  }\n"].concat();
    becomes(&looped, &looped);
}
