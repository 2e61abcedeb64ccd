//! Functions of a map's scalars, everywhere they are defined: units in the last place. The emulator rounds the hardware's approximations once, so
//! what is off here is this side of them.

use nestor_ir::dim::Sizes;
use nestor_ir::interpret::math::{self, ulps};
use nestor_mlir::{Options, Products, Target, compile};
use nestor_tests::emulated::Emulated;
use nestor_tests::written::{kernel, own};

const EXACT: Options = Options { target: Target::Sm80, products: Products::Float32 };

/// A function, its meaning, and how many units in the last place it may be off.
type Function = (&'static str, fn(f64) -> f64, f64);

const FUNCTIONS: &[Function] = &[
    ("exp(l0)", f64::exp, 1.0),
    ("log(l0)", f64::ln, 1.0),
    ("sin(l0)", f64::sin, 1.7),
    ("cos(l0)", f64::cos, 1.7),
    ("tanh(l0)", f64::tanh, 1.7),
    ("erf(l0)", math::erf, 1.7),
    ("sigmoid(l0)", math::sigmoid, 2.1),
    ("softplus(l0)", math::softplus, 1.7),
    ("sqrt(l0)", f64::sqrt, 0.5),
    ("3 / l0", |x| 3.0 / x, 0.5),
    ("l0 / 3", |x| x / 3.0, 0.5),
];

/// Numbers of both signs from the smallest to the largest, dense where functions bend.
fn arguments() -> Vec<f64> {
    let mut x =
        vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.625, -0.625];
    x.extend([
        88.72,
        88.73,
        89.5,
        1e4,
        -87.3,
        -87.4,
        -100.0,
        -103.9,
        -104.5,
        -1e4,
        0.927_734_4,
    ]);
    x.extend([1e-45, -1e-45, 1e-40, f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)]);
    x.extend(
        (0..u32::MAX - 16_000_057)
            .step_by(16_000_057)
            .map(|n| f64::from(f32::from_bits(n))),
    );
    for scale in [1.0, 4.0, 20.0, 110.0, 3000.0] {
        x.extend((-200..200).map(|n| scale * f64::from(n) / 199.5));
    }
    x.into_iter().map(|x| f64::from(x as f32)).collect()
}

/// What kernels make of numbers, and their code.
fn applied(function: &str, x: &[f64]) -> (Vec<f64>, String) {
    applied_by(EXACT, function, x)
}

fn applied_by(options: Options, function: &str, x: &[f64]) -> (Vec<f64>, String) {
    let text = format!(
        r#"kernel "function" {{
  b0 "x": [B, 64] read
  b1 "y": [B, 64] write
  grid i0 < B
  map [64] {{
    l0 = b0[64*i0; 1]
    b1[64*i0; 1] = {function}
  }}
}}
"#
    );
    let kernel = kernel(&text);
    let all = std::slice::from_ref(&kernel);
    let code = compile(all, options).expect("code");
    let ptx = own(&code.ptx).to_owned();
    let emulated = Emulated::of(all, code).expect("of the emulator's subset");
    let batch = x.len().div_ceil(64);
    let mut given = x.to_vec();
    given.resize(64 * batch, 1.0);
    let mut buffers = vec![given, vec![0.0; 64 * batch]];
    let sizes = Sizes { batch, time: 1, start: 0 };
    emulated.run(0, &mut buffers, &sizes).unwrap_or_else(|e| panic!("{function}: {e}"));
    buffers[1].truncate(x.len());
    (buffers.pop().expect("two"), ptx)
}

#[test]
fn functions_are_accurate_everywhere() {
    let all = arguments();
    for (function, truth, bound) in FUNCTIONS {
        // Angles are reduced by three parts of a quarter's: enough for so large ones.
        let angles = ["sin", "cos"].iter().any(|f| function.starts_with(f));
        let most = if angles { 65_536.0 } else { f64::INFINITY };
        let x: Vec<f64> =
            all.iter().copied().filter(|x| x.is_nan() || x.abs() <= most).collect();
        let (y, _) = applied(function, &x);
        let off = x.iter().zip(&y).map(|(x, y)| (ulps(*y as f32, truth(*x)), *x));
        let (worst, at) = off.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        println!("{function}: {worst:.2} units in the last place at {at:e}");
        assert!(worst <= *bound, "{function}: {worst} at {at:e}, allowed {bound}");
    }
}

/// A function, its meaning, and how far off it may be of a number, relative to what it is.
type Rough = (&'static str, fn(f64) -> f64, fn(f64) -> f64);

/// Functions beside products that round their operands to eight bits.
const ROUGH: &[Rough] = &[
    ("exp(l0)", f64::exp, |x| (1.0 + x.abs()) * EPSILON),
    ("sigmoid(l0)", math::sigmoid, |x| (3.0 + x.abs()) * EPSILON),
    ("softplus(l0)", math::softplus, |x| (30.0 + x.abs()) * EPSILON),
];

const EPSILON: f64 = f32::EPSILON as f64;

#[test]
fn functions_are_rough_beside_rounded_products() {
    let options = Options { products: Products::Brain, ..EXACT };
    let mut all: Vec<f64> = (-400..400).map(|n| f64::from(n as f32 * 0.2173)).collect();
    all.extend((-40..40).map(|n| f64::from(n as f32 * 0.0173)));
    all.extend([0.0, f64::INFINITY, f64::NEG_INFINITY, -1e30, -88.5, 89.0]);
    for (function, truth, bound) in ROUGH {
        let (out, ptx) = applied_by(options, function, &all);
        for (x, y) in all.iter().zip(out) {
            let truth = f64::from(truth(*x) as f32);
            let holds = match truth {
                f64::INFINITY => y == truth,
                // What is no normal number is zero.
                0.0..2e-38 => y <= 2e-38,
                _ => (y / truth - 1.0).abs() <= bound(*x),
            };
            assert!(holds, "{function} of {x}: {y}, not {truth}");
        }
        let (_, exact) = applied(function, &[1.0]);
        assert!(ptx.lines().count() < exact.lines().count(), "{ptx}");
    }
}

#[test]
fn quotients_are_rounded_where_their_whole_part_is_taken() {
    let quotients = |function: &str| {
        let (_, ptx) = applied(function, &[1.0]);
        ["div.rn", "div.full"].map(|how| ptx.contains(how))
    };
    assert_eq!(quotients("2 / l0"), [false, true]);
    assert_eq!(quotients("floor(2 / l0)"), [true, false]);
    assert_eq!(quotients("rem(2, l0)"), [true, false]);
    // Powers of two are factors.
    assert_eq!(quotients("l0 / 128"), [false, false]);
}
