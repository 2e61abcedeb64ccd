//! Every routine at every level of this machine against the plain one in double precision.

mod blocks;
mod maps;
mod speed;

use super::{SimdLevel, for_level, plain};
use nestor_ir::artifact::Precision;

/// Levels of this machine.
fn levels() -> impl Iterator<Item = SimdLevel> {
    SimdLevel::ALL.into_iter().filter(|l| l.is_supported())
}

/// Where a routine is.
fn address(name: &str, precision: Precision, level: SimdLevel) -> *const u8 {
    let table = for_level(precision, level);
    table.iter().find(|r| r.name == name).expect("a routine of the table").address
}

/// Where the plain routine for doubles is.
fn plain_address(name: &str) -> *const u8 {
    let table = plain::table::<f64>();
    table.iter().find(|(n, _)| *n == name).expect("a plain routine").1
}

/// Numbers from -1 to 1 that look random.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from(((state >> 32) as i32 as f32) / 2_147_483_648.0)
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn singles(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

/// Largest difference in units of the largest magnitude.
fn distance(found: impl Iterator<Item = f64>, wanted: &[f64]) -> f64 {
    let scale = wanted.iter().fold(1e-30, |m: f64, w| m.max(w.abs()));
    found.zip(wanted).fold(0.0, |m: f64, (f, w)| {
        let d = (f - w).abs() / scale;
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    })
}

#[test]
fn the_widest_level_is_one_of_all() {
    assert!(super::simd_level().is_supported());
    assert!(SimdLevel::Scalar.is_supported());
    for precision in [Precision::F32, Precision::F64] {
        assert_eq!(super::table(precision).len(), super::TABLE.len());
    }
}

#[test]
fn denormals_are_flushed_until_the_mode_is_restored() {
    let tiny = std::hint::black_box(1e-40f32);
    let old = super::flush_to_zero();
    let flushed = std::hint::black_box(tiny) * std::hint::black_box(0.5);
    super::restore_float_mode(old);
    let kept = std::hint::black_box(tiny) * std::hint::black_box(0.5);
    assert!(kept > 0.0);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(flushed, 0.0);
    }
}
