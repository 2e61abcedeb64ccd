//! Small products of a loop's turns as one map; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::Kernel;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_passes::batched::batched;

fn kernel(middle: &str) -> Kernel {
    let text = format!(
        r#"kernel "products" {{
  b0 "x": [B, 6, 24, 40] read
  b1 "y": [B, 6, 40, 24] read
  b2 "out": [B, 6, 24, 24] update
  grid i0 < B
  loop i1 < 6 {{
{middle}
  }}
}}"#
    );
    let kernel = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    kernel
}

#[test]
fn products_smaller_than_a_block_are_one_map() {
    let found = batched(kernel(
        "    product [3, 24, 40] b2[3456*i0 + 576*i1; 24, 1] += 0.5 * b0[5760*i0 + 960*i1; 40, 1] @ b1[5760*i0 + 960*i1; 1, 40]",
    ));
    verify(&found).unwrap_or_else(|e| panic!("{e}\n{found}"));
    let text = found.to_string();
    for part in [
        "map [6, 3, 24, 40]",
        "b0[5760*i0; 960, 40, 0, 1]",
        "b1[5760*i0; 960, 0, 40, 1]",
        "b2[3456*i0; 576, 24, 1] += sum over p3 of",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("loop"), "{text}");
}

#[test]
fn others_stay() {
    for middle in [
        // Worth an instruction of a warp.
        "    product [8, 8, 40] b2[3456*i0 + 576*i1; 24, 1] = b0[5760*i0 + 960*i1; 40, 1] @ b1[5760*i0 + 960*i1; 24, 1]",
        // Enough for all threads.
        "    product [24, 24, 4] b2[3456*i0 + 576*i1; 24, 1] = b0[5760*i0 + 960*i1; 40, 1] @ b1[5760*i0 + 960*i1; 24, 1]",
        // A turn takes what the one before gave.
        "    product [3, 3, 24] b2[3456*i0; 24, 1] = b0[5760*i0 + 960*i1; 40, 1] @ b2[3456*i0 + 72; 24, 1]",
    ] {
        let before = kernel(middle);
        assert_eq!(batched(before.clone()).to_string(), before.to_string());
    }
}
