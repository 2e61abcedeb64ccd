//! What the emulator finds in kernels of the compiler that were spoilt on purpose.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compile};
use nestor_tests::written::{filled, kernel, own, spoilt, without};

const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 5 };

/// The sum of each chunk of a row, in two steps through a tile.
const CHUNKS: &str = r#"kernel "chunks" {
  b0 "x": [B, T, 40] read
  b1 "y": [B, T] write
  t0 "part": [32, 40]
  indices 2
  grid i0 < B
  loop i1 < T/32 {
    map [32, 40] {
      l0 = b0[40*T*i0 + 1280*i1 - 40*phase(32); 40, 1] if 0 <= 32*i1 + p0 - phase(32) < T
      t0[0; 40, 1] = l0 * l0
    }
    map [32, 40] {
      l0 = t0[0; 40, 1]
      b1[T*i0 + 32*i1 - phase(32); 1] if 0 <= 32*i1 + p0 - phase(32) < T = sum over p1 of l0
    }
  }
}
"#;

/// Runs the kernel with its PTX changed.
fn run(spoil: impl Fn(&str) -> String) -> Result<(), String> {
    let kernel = kernel(CHUNKS);
    let emulated = spoilt(&kernel, Target::Sm80, 1e-4, spoil)?;
    let mut buffers = filled(&kernel, &SIZES, |_, i| (i % 11) as f64 / 8.0);
    emulated.agree(0, &mut buffers, &SIZES).map(|_| ())
}

#[test]
fn the_kernel_itself_is_sound() {
    run(str::to_owned).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn each_barrier_is_needed() {
    let ptx = compile(&[kernel(CHUNKS)], Target::Sm80).expect("compiles").ptx;
    let count = own(&ptx).matches("bar.sync").count();
    assert!(count >= 2, "{count} barriers");
    for n in 0..count {
        let spoil = |ptx: &str| without(ptx, "bar.sync", n).expect("a barrier");
        let what = run(spoil).expect_err("a barrier is missing");
        let found = what.contains("race") || what.contains("before it is written");
        assert!(found, "barrier {n}: {what}");
        assert!(what.contains("block 0, thread"), "{what}");
    }
}

/// A product of the chunk's size, whose operands go through shared memory as bfloat16.
const PRODUCT: &str = r#"kernel "product" {
  b0 "a": [B, 40, 48] read
  b1 "b": [B, 48, 64] read
  b2 "c": [B, 40, 64] write
  indices 1
  grid i0 < B
  product [40, 64, 48] b2[2560*i0; 64, 1] = 1 * b0[1920*i0; 48, 1] @ b1[3072*i0; 64, 1]
}
"#;

/// Runs the product with its PTX changed.
fn run_product(spoil: impl FnOnce(&str) -> String) -> Result<u64, String> {
    let kernel = kernel(PRODUCT);
    let options = Options { target: Target::Sm80, products: Products::Brain };
    let emulated = spoilt(&kernel, options, 1e-2, spoil)?;
    let number = |_, i: usize| ((i * 37) % 101) as f64 / 50.0 - 1.0;
    let mut buffers = filled(&kernel, &SIZES, number);
    emulated.agree(0, &mut buffers, &SIZES).map(|stats| stats.products)
}

#[test]
fn a_wrong_swizzle_is_a_wrong_result() {
    let products = run_product(str::to_owned).unwrap_or_else(|e| panic!("{e}"));
    assert!(products > 0, "no tensor core was used");
    let code = |ptx: &str| -> Vec<usize> {
        own(ptx).match_indices("xor.b").map(|(at, _)| at).collect()
    };
    let mut count = 0;
    run_product(|ptx| {
        assert!(ptx.contains("ldmatrix.sync.aligned.m8n8.x4"), "{ptx}");
        ptx.to_owned()
    })
    .unwrap_or_else(|e| panic!("{e}"));
    loop {
        let mut spoilt = false;
        let found = run_product(|ptx| {
            let Some(at) = code(ptx).get(count).copied() else { return ptx.to_owned() };
            spoilt = true;
            format!("{}or.b{}", &ptx[..at], &ptx[at + "xor.b".len()..])
        });
        if !spoilt {
            break;
        }
        let what = found.expect_err("the rows of a load are exchanged");
        let found = ["not ", "race", "before it is written"];
        assert!(found.iter().any(|f| what.contains(f)), "{what}");
        count += 1;
    }
    assert!(count >= 2, "{count} exchanges of parts");
}

#[test]
fn an_unmasked_tail_is_out_of_bounds() {
    // The store's guard is gone.
    let unmasked = |ptx: &str| {
        let store = ptx.find("st.global").expect("a store");
        let guard = ptx[..store].rfind("@%p").expect("a guard");
        let end = guard + ptx[guard..].find('\n').expect("a line");
        format!("{}{}", &ptx[..guard], &ptx[end..])
    };
    let what = run(unmasked).expect_err("the tail is stored");
    assert!(what.contains("bytes at") || what.contains("race"), "{what}");
    assert!(what.contains("thread"), "{what}");
}
