//! Element-wise maps: units in the last place, special numbers, equal bits at every width.
#![allow(unsafe_code, reason = "routines are called by address")]

use super::{address, levels, noise};
use crate::routines::SimdLevel;
use nestor_ir::artifact::Precision;
use nestor_ir::interpret::math::{self, ulps};

type Row = unsafe extern "C" fn(*mut f32, usize);
type Row64 = unsafe extern "C" fn(*mut f64, usize);

/// A map, its meaning, and how many units in the last place it may be off.
type Map = (&'static str, fn(f64) -> f64, f64);

/// All of them.
const MAPS: &[Map] = &[
    ("exp", f64::exp, 1.1),
    ("log", f64::ln, 1.1),
    ("sin", f64::sin, 1.6),
    ("cos", f64::cos, 1.6),
    ("tanh", f64::tanh, 1.6),
    ("erf", math::erf, 1.6),
    ("sigmoid", math::sigmoid, 2.1),
    ("softplus", math::softplus, 2.1),
];

fn apply(name: &str, level: SimdLevel, x: &[f32]) -> Vec<f32> {
    let mut y = x.to_vec();
    // SAFETY: the routine of this name has this signature and the row is y.
    unsafe {
        let f =
            std::mem::transmute::<*const u8, Row>(address(name, Precision::F32, level));
        f(y.as_mut_ptr(), y.len());
    }
    y
}

/// Numbers of every magnitude and sign, dense where maps are interesting, and special ones.
fn arguments() -> Vec<f32> {
    let mut x = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1.0, -1.0];
    x.extend([f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45, 1e-40, -1e-40]);
    x.extend([88.72283, 88.72284, 88.9, 89.5, 1e4, -87.3, -87.4, -103.9, -104.5, -1e4]);
    x.extend([0.625, -0.625, 0.9277344, 65535.99, 65536.0, -65536.0, 1e10, 1e30]);
    // Every sign and exponent with a few hundred fractions.
    x.extend((0..u32::MAX - 20_011).step_by(20_011).map(f32::from_bits));
    for scale in [1.0, 4.0, 20.0, 110.0, 3000.0, 65000.0] {
        x.extend(noise(30_001, 7).into_iter().map(|v| (v * scale) as f32));
    }
    x
}

#[test]
fn maps_are_accurate_everywhere() {
    let x = arguments();
    for (name, truth, bound) in MAPS {
        let y = apply(name, crate::routines::simd_level(), &x);
        let (mut worst, mut at) = (0.0, 0.0);
        for (x, y) in x.iter().zip(&y) {
            let off = ulps(*y, truth(f64::from(*x)));
            if off > worst {
                (worst, at) = (off, *x);
            }
        }
        println!("{name}: {worst:.2} units in the last place at {at:e}");
        assert!(worst <= *bound, "{name}: {worst} at {at:e}, allowed {bound}");
    }
}

#[test]
fn maps_have_the_same_bits_at_every_level() {
    let x = arguments();
    for (name, _, _) in MAPS {
        let wanted = apply(name, SimdLevel::Scalar, &x);
        for level in levels() {
            let found = apply(name, level, &x);
            for ((x, w), f) in x.iter().zip(&wanted).zip(&found) {
                let same = w.to_bits() == f.to_bits() || w.is_nan() && f.is_nan();
                assert!(same, "{name} at {x:e}: {w:e} scalar, {f:e} {}", level.name());
            }
        }
    }
}

#[test]
fn zeros_keep_their_sign() {
    for name in ["sin", "tanh", "erf"] {
        let y = apply(name, crate::routines::simd_level(), &[0.0, -0.0]);
        assert!(y[0].is_sign_positive() && y[1].is_sign_negative(), "{name}: {y:?}");
    }
}

#[test]
fn maps_touch_only_their_row() {
    for level in levels() {
        for (name, truth, bound) in MAPS {
            for n in 0..40 {
                let mut y = vec![0.75f32; n + 20];
                // SAFETY: n numbers from the tenth are inside y.
                unsafe {
                    let f = address(name, Precision::F32, level);
                    std::mem::transmute::<*const u8, Row>(f)(y[10..].as_mut_ptr(), n);
                }
                for (i, y) in y.iter().enumerate() {
                    let inside = (10..10 + n).contains(&i);
                    let off = if inside { ulps(*y, truth(0.75)) } else { 0.0 };
                    assert!(inside || *y == 0.75, "{name} wrote {i} of {n}");
                    assert!(off <= *bound, "{name} at {i} of {n}: {y}");
                }
            }
        }
    }
}

#[test]
fn maps_in_double_precision_are_their_definitions() {
    let x: Vec<f64> = arguments().into_iter().step_by(97).map(f64::from).collect();
    for level in levels() {
        for (name, truth, _) in MAPS {
            let mut y = x.clone();
            // SAFETY: the row is y.
            unsafe {
                let f = address(name, Precision::F64, level);
                std::mem::transmute::<*const u8, Row64>(f)(y.as_mut_ptr(), y.len());
            }
            for (x, y) in x.iter().zip(&y) {
                let w = truth(*x);
                let near = (y - w).abs() <= 1e-15 * w.abs();
                assert!(near || *y == w || y.is_nan() && w.is_nan(), "{name}({x}) = {y}");
            }
        }
    }
}

#[test]
fn powers_of_negative_numbers_and_zeros_are_right() {
    type Pow = unsafe extern "C" fn(*mut f32, *const f32, usize);
    let cases: &[(f32, f32)] = &[
        (-2.0, 3.0),
        (-2.0, 2.0),
        (-2.0, 0.5),
        (0.0, 0.0),
        (0.0, 1.5),
        (0.0, -1.0),
        (-0.0, 3.0),
        (3.0, -2.5),
        (1.0001, 80_000.0),
        (f32::INFINITY, 0.5),
        (f32::NAN, 0.0),
        (1e-30, 2.0),
        (2.5, 2.0),
    ];
    for level in levels() {
        let mut base: Vec<f32> = cases.iter().map(|c| c.0).collect();
        let exponent: Vec<f32> = cases.iter().map(|c| c.1).collect();
        // SAFETY: both rows have as many numbers as there are cases.
        unsafe {
            let f = address("pow", Precision::F32, level);
            std::mem::transmute::<*const u8, Pow>(f)(
                base.as_mut_ptr(),
                exponent.as_ptr(),
                cases.len(),
            );
        }
        for ((a, b), y) in cases.iter().zip(&base) {
            let wanted = f64::from(*a).powf(f64::from(*b));
            assert!(ulps(*y, wanted) <= 0.51, "{a}^{b} = {y}, not {wanted}");
        }
    }
}
