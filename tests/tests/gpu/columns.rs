//! Numbers of columns that are held beside tiles with these columns, maps that have columns first, and columns that lie where cores read them: what
//! pieces of a softmax are made of, in the emulator beside the interpreter, by one group of warps and by two.

use super::strips::number;
use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compiled};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{filled, kernel, own};

/// Sums of values by so many queries, weighed by powers of their products with keys, and the largest of these.
fn attention(queries: usize) -> String {
    r#"kernel "attention" {
  b0 "q": [B, C, 64] read
  b1 "k": [B, T, 64] read
  b2 "v": [B, T, 64] read
  b3 "y": [B, C, 64] write
  b4 "most": [B, C] write
  t0 "queries": [C, 64]
  t1 "most": [C]
  t2 "total": [C]
  t3 "sum": [64, C]
  t4 "keys": [64, 64]
  t5 "score": [64, C]
  t6 "top": [C]
  t7 "higher": [C]
  t8 "part": [C]
  t9 "weight": [64, C]
  t10 "kept": [C]
  t11 "values": [64, 64]
  t12 "entry": [64, C]
  indices 2
  grid i0 < B
  map [C, 64] t0[0; 64, 1] = b0[64C*i0; 64, 1]
  map [64, C] t3[0; C, 1] = 0
  map [1, C] {
    t1[0; 0, 1] = -1e30
    t2[0; 0, 1] = 0
  }
  loop i1 < T/64 {
    map [64, 64] t4[0; 64, 1] = b1[64*T*i0 + 4096*i1 - 64*phase(64); 64, 1] if 0 <= 64*i1 + p0 - phase(64) < T
    product [64, C, 64] t5[0; C, 1] = t4[0; 64, 1] @ t0[0; 1, 64]
    map [C, 64] {
      e0 = at(p1 + 64*i1 - phase(64))
      e9 = select(0 <= e0 and at(p1 + 64*i1 - phase(64) - T) < 0, t5[0; 1, C], -2)
      t6[0; 1] = max over p1 of e9
      t5[0; 1, C] = e9
    }
    map [C] t7[0; 1] = max(t1[0; 1], t6[0; 1])
    map [C, 64] {
      e3 = exp(t5[0; 1, C] - t7[0; 1, 0])
      t8[0; 1] = sum over p1 of e3
      t9[0; 1, C] = e3
    }
    map [C] t10[0; 1] = exp(t1[0; 1] - t7[0; 1])
    map [C] t2[0; 1] = t2[0; 1] * t10[0; 1] + t8[0; 1]
    map [64, 64] t11[0; 64, 1] = b2[64*T*i0 + 4096*i1 - 64*phase(64); 64, 1] if 0 <= 64*i1 + p0 - phase(64) < T
    together {
      product [64, C, 64] t12[0; C, 1] = t11[0; 1, 64] @ t9[0; C, 1]
      map [64, C] t3[0; C, 1] = t3[0; C, 1] * t10[0; 0, 1] + t12[0; C, 1]
    }
    map [C] t1[0; 1] = t7[0; 1]
  }
  map [C, 64] b3[64C*i0; 64, 1] = t3[0; 1, C] / t2[0; 1, 0]
  map [1, C] b4[C*i0; 0, 1] = t1[0; 0, 1]
}
"#
    .replace("64C", &(64 * queries).to_string())
    .replace('C', &queries.to_string())
}

#[test]
fn numbers_of_columns_are_held() {
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    for queries in [64, 128] {
        let kernel = kernel(&attention(queries));
        for (narrow, time, start) in
            [(false, 70, 5), (true, 70, 5), (true, 1, 63), (false, 128, 0)]
        {
            let narrow = vec![narrow; kernel.buffers.len()];
            let all = std::slice::from_ref(&kernel);
            let code = compiled(all, Some(&[narrow]), options, false);
            let code = code.unwrap_or_else(|e| panic!("{e}"));
            let ptx = own(&code.ptx).to_owned();
            let mut emulated = Emulated::of(all, code).unwrap_or_else(|e| panic!("{e}"));
            emulated.tolerance = 3e-2;
            let sizes = Sizes { batch: 2, time, start };
            let stats = emulated.agree(0, &mut filled(&kernel, &sizes, number), &sizes);
            let stats = stats.unwrap_or_else(|e| panic!("{queries}, {sizes:?}: {e}"));
            assert!(stats.products > 0, "no tensor core was used");
            // Lanes load neither what was folded nor queries, which cores read: nothing but what is exchanged in copying.
            let loops = ptx.split("wgmma.mma_async").skip(1);
            assert!(loops.clone().count() >= 8, "{ptx}");
            assert!(loops.into_iter().all(|part| !part.contains("ld.shared")), "{ptx}");
        }
    }
}
