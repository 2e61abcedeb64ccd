//! What a map's program makes of the places of its points: whole numbers, in the emulator beside the interpreter, and compared as bounds are.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target, compile};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{filled, kernel, own, scattered};

const EXACT: Options = Options { target: Target::Sm80, products: Products::Float32 };

/// Chunks of sixteen tokens of sequences, each number of them as a program has it from `x` and its place.
fn text(program: &str) -> String {
    format!(
        r#"kernel "places" {{
  b0 "x": [B, T, 8] read
  b1 "y": [B, T, 8] write
  grid i0 < B, i1 < T/16
  map [16, 8] {{
    l0 = b0[8*T*i0 + 128*i1 - 8*phase(16); 8, 1] if 0 <= 16*i1 + p0 - phase(16) < T
    b1[8*T*i0 + 128*i1 - 8*phase(16); 8, 1] if 0 <= 16*i1 + p0 - phase(16) < T = {program}
  }}
}}
"#
    )
}

/// The code of a program that agrees with the interpreter at several lengths and beginnings.
fn agreed(program: &str) -> String {
    let kernel = kernel(&text(program));
    let all = std::slice::from_ref(&kernel);
    let code = compile(all, EXACT).expect("code");
    let ptx = own(&code.ptx).to_owned();
    let mut emulated = Emulated::of(all, code).expect("of the emulator's subset");
    emulated.tolerance = 1e-6;
    for (time, start) in [(1, 0), (16, 0), (37, 5), (7, 30), (64, 16)] {
        let sizes = Sizes { batch: 2, time, start };
        let mut buffers = filled(&kernel, &sizes, scattered);
        let ran = emulated.agree(0, &mut buffers, &sizes);
        ran.unwrap_or_else(|e| panic!("{time} from {start}: {e}\n{program}"));
    }
    ptx
}

/// A token's place in this call, and how far it is behind the last.
const HERE: &str = "at(p0 + 16*i1 - phase(16))";
const BEHIND: &str = "at(p0 + 16*i1 - phase(16) - T)";

#[test]
fn places_are_worked_with_as_whole_numbers() {
    let programs = [
        // Added, taken away, multiplied, and what is left of a division, also of what is negative.
        format!("l0 + rem({HERE} * 3 - at(p1) - {HERE} * 4, 4) * rem({HERE}, 8)"),
        // Compared with one another, with the length and with what is no whole number.
        format!("select(at(p1) <= {BEHIND} + 9 or rem(at(p1), 2) == 1, l0, 7)"),
        format!("select({BEHIND} < 0 and at(p1) < 2.5, l0, real(at(p1 + 1) == 3))"),
        // Taken for what they are elsewhere.
        format!("l0 * floor({HERE} * 0.25) + rem({HERE} + 48, 3) + neg(at(p1))"),
    ];
    for program in programs {
        agreed(&program);
    }
}

#[test]
fn a_place_is_compared_as_a_bound_is() {
    let plain = agreed("l0 * 2");
    let compared = |ptx: &str| ptx.matches("setp.").count();
    let valid = [HERE, BEHIND].map(str::to_owned);
    let further =
        [HERE, BEHIND].map(|place| format!("({place} + at(p0) * 3 - at(p0) * 3)"));
    for [here, behind] in [valid, further] {
        let ptx = agreed(&format!("select(0 <= {here} and {behind} < 0, l0 * 2, 7)"));
        assert!(!ptx.contains("cvt.rn.f32.s"), "{ptx}");
        assert_eq!(compared(&ptx), compared(&plain), "{ptx}");
    }
}
