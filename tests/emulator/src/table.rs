//! What scalar instructions compute, by name. A register holds 64 bits; narrower values lie in the
//! low ones, the rest is zero.

use crate::convert::{brain, wide};

pub(crate) type Unary = fn(u64) -> u64;
pub(crate) type Binary = fn(u64, u64) -> u64;
pub(crate) type Ternary = fn(u64, u64, u64) -> u64;

pub(crate) fn s16(a: u64) -> i16 {
    a as u16 as i16
}
pub(crate) fn u16(a: u64) -> u16 {
    a as u16
}
pub(crate) fn s32(a: u64) -> i32 {
    a as u32 as i32
}
pub(crate) fn u32(a: u64) -> u32 {
    a as u32
}
pub(crate) fn s64(a: u64) -> i64 {
    a as i64
}
pub(crate) fn u64(a: u64) -> u64 {
    a
}
pub(crate) fn f32(a: u64) -> f32 {
    f32::from_bits(a as u32)
}
pub(crate) fn f64(a: u64) -> f64 {
    f64::from_bits(a)
}
/// A value as a register holds it.
pub(crate) fn bits(a: f32) -> u64 {
    u64::from(a.to_bits())
}
fn i32b(a: i32) -> u64 {
    u64::from(a as u32)
}
fn i16b(a: i16) -> u64 {
    u64::from(a as u16)
}

/// Rounds a function of doubles once: approximate instructions are taken as exact.
fn approx(f: fn(f64) -> f64, a: u64) -> u64 {
    bits(f(f64::from(f32(a))) as f32)
}

/// As with flushed subnormal numbers, before and after.
fn flushed(f: fn(f64) -> f64, a: u64) -> u64 {
    bits(normal(f(f64::from(normal(f32(a)))) as f32))
}

/// A number, or zero where it is too small to be normal.
fn normal(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// Between zero and one; what is no number is zero.
fn saturated(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// One operand.
pub(crate) const UNARY: &[(&str, Unary)] = &[
    ("neg.s32", |a| i32b(s32(a).wrapping_neg())),
    ("neg.s64", |a| s64(a).wrapping_neg() as u64),
    ("neg.s16", |a| i16b(s16(a).wrapping_neg())),
    ("neg.f32", |a| bits(-f32(a))),
    ("neg.f64", |a| (-f64(a)).to_bits()),
    ("abs.s32", |a| i32b(s32(a).wrapping_abs())),
    ("abs.s64", |a| s64(a).wrapping_abs() as u64),
    ("abs.f32", |a| bits(f32(a).abs())),
    ("abs.f64", |a| f64(a).abs().to_bits()),
    ("not.b16", |a| u64::from(!u16(a))),
    ("not.b32", |a| u64::from(!u32(a))),
    ("not.b64", |a| !a),
    ("not.pred", |a| 1 - a),
    ("popc.b32", |a| u64::from(u32(a).count_ones())),
    ("clz.b32", |a| u64::from(u32(a).leading_zeros())),
    ("brev.b32", |a| u64::from(u32(a).reverse_bits())),
    ("sqrt.rn.f32", |a| bits(f32(a).sqrt())),
    ("sqrt.approx.f32", |a| bits(f32(a).sqrt())),
    ("rsqrt.approx.f32", |a| approx(|x| 1.0 / x.sqrt(), a)),
    ("rcp.rn.f32", |a| bits(1.0 / f32(a))),
    ("rcp.approx.f32", |a| bits(1.0 / f32(a))),
    ("ex2.approx.f32", |a| approx(libm::exp2, a)),
    ("lg2.approx.f32", |a| approx(libm::log2, a)),
    ("sin.approx.f32", |a| approx(libm::sin, a)),
    ("cos.approx.f32", |a| approx(libm::cos, a)),
    ("tanh.approx.f32", |a| approx(libm::tanh, a)),
    ("rsqrt.approx.ftz.f32", |a| flushed(|x| 1.0 / x.sqrt(), a)),
    ("sqrt.approx.ftz.f32", |a| flushed(f64::sqrt, a)),
    ("rcp.approx.ftz.f32", |a| flushed(|x| 1.0 / x, a)),
    ("ex2.approx.ftz.f32", |a| flushed(libm::exp2, a)),
    ("lg2.approx.ftz.f32", |a| flushed(libm::log2, a)),
    ("testp.infinite.f32", |a| u64::from(f32(a).is_infinite())),
    ("testp.finite.f32", |a| u64::from(f32(a).is_finite())),
];

/// Two operands.
pub(crate) const BINARY: &[(&str, Binary)] = &[
    ("add.s16", |a, b| i16b(s16(a).wrapping_add(s16(b)))),
    ("add.s32", |a, b| i32b(s32(a).wrapping_add(s32(b)))),
    ("add.u32", |a, b| i32b(s32(a).wrapping_add(s32(b)))),
    ("add.s64", |a, b| a.wrapping_add(b)),
    ("add.u64", |a, b| a.wrapping_add(b)),
    ("sub.s16", |a, b| i16b(s16(a).wrapping_sub(s16(b)))),
    ("sub.s32", |a, b| i32b(s32(a).wrapping_sub(s32(b)))),
    ("sub.s64", |a, b| a.wrapping_sub(b)),
    ("mul.lo.s16", |a, b| i16b(s16(a).wrapping_mul(s16(b)))),
    ("mul.lo.s32", |a, b| i32b(s32(a).wrapping_mul(s32(b)))),
    ("mul.lo.u32", |a, b| i32b(s32(a).wrapping_mul(s32(b)))),
    ("mul.lo.s64", |a, b| a.wrapping_mul(b)),
    ("mul.lo.u64", |a, b| a.wrapping_mul(b)),
    ("mul.hi.s32", |a, b| ((i64::from(s32(a)) * i64::from(s32(b))) >> 32) as u32 as u64),
    ("mul.hi.u32", |a, b| (u64::from(u32(a)) * u64::from(u32(b))) >> 32),
    ("mul.hi.s64", |a, b| ((i128::from(s64(a)) * i128::from(s64(b))) >> 64) as u64),
    ("mul.hi.u64", |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64),
    ("mul.lo.u16", |a, b| u64::from(u16(a).wrapping_mul(u16(b)))),
    ("mul.hi.u16", |a, b| (u64::from(u16(a)) * u64::from(u16(b))) >> 16),
    ("mul.hi.s16", |a, b| i32b((i32::from(s16(a)) * i32::from(s16(b))) >> 16) & 0xffff),
    ("mul.wide.s32", |a, b| (i64::from(s32(a)) * i64::from(s32(b))) as u64),
    ("mul.wide.u32", |a, b| u64::from(u32(a)) * u64::from(u32(b))),
    ("mul.wide.u16", |a, b| u64::from(u16(a)) * u64::from(u16(b))),
    ("mul.wide.s16", |a, b| i32b(i32::from(s16(a)) * i32::from(s16(b)))),
    // Division by zero gives what the hardware happens to give; here all ones.
    ("div.s32", |a, b| i32b(s32(a).checked_div(s32(b)).unwrap_or(-1))),
    ("div.u32", |a, b| u64::from(u32(a).checked_div(u32(b)).unwrap_or(u32::MAX))),
    ("div.s64", |a, b| s64(a).checked_div(s64(b)).unwrap_or(-1) as u64),
    ("div.u64", |a, b| a.checked_div(b).unwrap_or(u64::MAX)),
    ("div.u16", |a, b| u64::from(u16(a).checked_div(u16(b)).unwrap_or(u16::MAX))),
    ("rem.u16", |a, b| u64::from(u16(a).checked_rem(u16(b)).unwrap_or(u16::MAX))),
    ("rem.s32", |a, b| i32b(s32(a).checked_rem(s32(b)).unwrap_or(-1))),
    ("rem.u32", |a, b| u64::from(u32(a).checked_rem(u32(b)).unwrap_or(u32::MAX))),
    ("rem.s64", |a, b| s64(a).checked_rem(s64(b)).unwrap_or(-1) as u64),
    ("rem.u64", |a, b| a.checked_rem(b).unwrap_or(u64::MAX)),
    ("min.s32", |a, b| i32b(s32(a).min(s32(b)))),
    ("min.u32", |a, b| u64::from(u32(a).min(u32(b)))),
    ("min.s64", |a, b| s64(a).min(s64(b)) as u64),
    ("min.u64", |a, b| a.min(b)),
    ("max.s32", |a, b| i32b(s32(a).max(s32(b)))),
    ("max.u32", |a, b| u64::from(u32(a).max(u32(b)))),
    ("max.s64", |a, b| s64(a).max(s64(b)) as u64),
    ("max.u64", |a, b| a.max(b)),
    ("and.b16", |a, b| a & b),
    ("and.b32", |a, b| u64::from(u32(a & b))),
    ("and.b64", |a, b| a & b),
    ("and.pred", |a, b| a & b),
    ("or.b16", |a, b| a | b),
    ("or.b32", |a, b| u64::from(u32(a | b))),
    ("or.b64", |a, b| a | b),
    ("or.pred", |a, b| a | b),
    ("xor.b16", |a, b| u64::from(u16(a ^ b))),
    ("xor.b32", |a, b| u64::from(u32(a ^ b))),
    ("xor.b64", |a, b| a ^ b),
    ("xor.pred", |a, b| a ^ b),
    // Shifts by more than the width give what is left of the value: nothing, or its sign.
    ("shl.b16", |a, b| u64::from(u16(a).checked_shl(u32(b)).unwrap_or(0))),
    ("shl.b32", |a, b| u64::from(u32(a).checked_shl(u32(b)).unwrap_or(0))),
    ("shl.b64", |a, b| a.checked_shl(u32(b)).unwrap_or(0)),
    ("shr.u16", |a, b| u64::from(u16(a).checked_shr(u32(b)).unwrap_or(0))),
    ("shr.u32", |a, b| u64::from(u32(a).checked_shr(u32(b)).unwrap_or(0))),
    ("shr.b32", |a, b| u64::from(u32(a).checked_shr(u32(b)).unwrap_or(0))),
    ("shr.u64", |a, b| a.checked_shr(u32(b)).unwrap_or(0)),
    ("shr.b64", |a, b| a.checked_shr(u32(b)).unwrap_or(0)),
    ("shr.s16", |a, b| i16b(s16(a) >> u32(b).min(15))),
    ("shr.s32", |a, b| i32b(s32(a) >> u32(b).min(31))),
    ("shr.s64", |a, b| (s64(a) >> u32(b).min(63)) as u64),
    ("add.rn.f32", |a, b| bits(f32(a) + f32(b))),
    ("sub.rn.f32", |a, b| bits(f32(a) - f32(b))),
    ("mul.rn.f32", |a, b| bits(f32(a) * f32(b))),
    ("add.f32", |a, b| bits(f32(a) + f32(b))),
    ("sub.f32", |a, b| bits(f32(a) - f32(b))),
    ("mul.f32", |a, b| bits(f32(a) * f32(b))),
    ("div.rn.f32", |a, b| bits(f32(a) / f32(b))),
    ("div.full.f32", |a, b| bits(f32(a) / f32(b))),
    ("div.approx.f32", |a, b| bits(f32(a) / f32(b))),
    ("add.rn.f64", |a, b| (f64(a) + f64(b)).to_bits()),
    ("sub.rn.f64", |a, b| (f64(a) - f64(b)).to_bits()),
    ("mul.rn.f64", |a, b| (f64(a) * f64(b)).to_bits()),
    ("div.rn.f64", |a, b| (f64(a) / f64(b)).to_bits()),
    ("mul.bf16", |a, b| narrow(1, [a, b], |[a, b]| a * b)),
    ("mul.bf16x2", |a, b| narrow(2, [a, b], |[a, b]| a * b)),
    ("add.bf16", |a, b| narrow(1, [a, b], |[a, b]| a + b)),
    ("sub.bf16", |a, b| narrow(1, [a, b], |[a, b]| a - b)),
    ("add.bf16x2", |a, b| narrow(2, [a, b], |[a, b]| a + b)),
    ("sub.bf16x2", |a, b| narrow(2, [a, b], |[a, b]| a - b)),
    // The number, where one operand is none.
    ("min.f32", |a, b| bits(f32(a).min(f32(b)))),
    ("max.f32", |a, b| bits(f32(a).max(f32(b)))),
    ("min.NaN.f32", |a, b| bits(numbers(a, b).map_or(f32::NAN, |(a, b)| a.min(b)))),
    ("max.NaN.f32", |a, b| bits(numbers(a, b).map_or(f32::NAN, |(a, b)| a.max(b)))),
    // The sign of the first, the rest of the second.
    ("copysign.f32", |a, b| bits(f32(b).copysign(f32(a)))),
];

/// Of so many numbers of bfloat16 beside one another.
fn narrow<const N: usize>(count: u32, of: [u64; N], f: fn([f32; N]) -> f32) -> u64 {
    let one = |n: u32| {
        let all = of.map(|x| wide((x >> (16 * n)) as u16));
        u64::from(brain(f(all))) << (16 * n)
    };
    (0..count).map(one).sum()
}

fn numbers(a: u64, b: u64) -> Option<(f32, f32)> {
    let (a, b) = (f32(a), f32(b));
    (!a.is_nan() && !b.is_nan()).then_some((a, b))
}

/// Three operands.
pub(crate) const TERNARY: &[(&str, Ternary)] = &[
    ("fma.rn.f32", |a, b, c| bits(f32(a).mul_add(f32(b), f32(c)))),
    ("fma.rn.ftz.f32", |a, b, c| {
        let [a, b, c] = [a, b, c].map(|x| normal(f32(x)));
        bits(normal(a.mul_add(b, c)))
    }),
    ("fma.rn.sat.f32", |a, b, c| bits(saturated(f32(a).mul_add(f32(b), f32(c))))),
    ("fma.rn.bf16", |a, b, c| narrow(1, [a, b, c], |[a, b, c]| a.mul_add(b, c))),
    ("fma.rn.bf16x2", |a, b, c| narrow(2, [a, b, c], |[a, b, c]| a.mul_add(b, c))),
    ("fma.rn.f64", |a, b, c| f64(a).mul_add(f64(b), f64(c)).to_bits()),
    ("mad.lo.s16", |a, b, c| i16b(s16(a).wrapping_mul(s16(b)).wrapping_add(s16(c)))),
    ("mad.lo.s32", |a, b, c| i32b(s32(a).wrapping_mul(s32(b)).wrapping_add(s32(c)))),
    ("mad.lo.s64", |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
    ("mad.lo.u64", |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
    ("mad.wide.s32", |a, b, c| {
        (i64::from(s32(a)) * i64::from(s32(b))).wrapping_add(s64(c)) as u64
    }),
    ("mad.wide.u32", |a, b, c| (u64::from(u32(a)) * u64::from(u32(b))).wrapping_add(c)),
    ("selp.b16", select),
    ("selp.b32", select),
    ("selp.b64", select),
    ("selp.u16", select),
    ("selp.u32", select),
    ("selp.s32", select),
    ("selp.u64", select),
    ("selp.s64", select),
    ("selp.f32", select),
    ("selp.f64", select),
    ("bfe.u32", |a, b, c| {
        let (at, n) = (u32(b) & 255, u32(c) & 255);
        let shifted = u64::from(u32(a)).checked_shr(at).unwrap_or(0);
        if n >= 32 { shifted } else { shifted & ((1 << n) - 1) }
    }),
    ("bfe.u64", |a, b, c| {
        let (at, n) = (u32(b) & 255, u32(c) & 255);
        let shifted = a.checked_shr(at).unwrap_or(0);
        if n >= 64 { shifted } else { shifted & ((1 << n) - 1) }
    }),
    ("bfe.s32", |a, b, c| i32b(field(s64(u64::from(u32(a))), b, c, 32) as i32)),
    ("bfe.s64", |a, b, c| field(s64(a), b, c, 64) as u64),
    ("prmt.b32", |a, b, c| {
        let all = u64::from(u32(a)) | u64::from(u32(b)) << 32;
        (0..4).fold(0, |out, n| {
            let by = (c >> (4 * n)) & 15;
            let byte = (all >> (8 * (by & 7))) & 255;
            let byte = if by & 8 == 0 { byte } else { 255 * (byte >> 7) };
            out | byte << (8 * n)
        })
    }),
    ("shf.l.wrap.b32", |a, b, c| {
        let all = u64::from(u32(b)) << 32 | u64::from(u32(a));
        (all << (u32(c) & 31)) >> 32
    }),
    ("shf.r.wrap.b32", |a, b, c| {
        let all = u64::from(u32(b)) << 32 | u64::from(u32(a));
        u64::from(u32(all >> (u32(c) & 31)))
    }),
];

/// The bits of a number of so many from one on, so many; their last one is the sign, or the number's, where they reach further.
fn field(a: i64, from: u64, count: u64, bits: u64) -> i64 {
    let (from, count) = (from & 255, count & 255);
    if count == 0 {
        return 0;
    }
    let top = (from + count - 1).min(bits - 1);
    let aligned = a << (63 - top);
    aligned >> (63 - top).saturating_add(from).min(63)
}

fn select(a: u64, b: u64, condition: u64) -> u64 {
    if condition == 0 { b } else { a }
}

/// The entry of a name.
pub(crate) fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
}

#[cfg(test)]
mod tests {
    use super::{TERNARY, find};

    #[test]
    fn fields_have_the_sign_of_their_last_bit() {
        let narrow = find(TERNARY, "bfe.s32").expect("it is known");
        let wide = find(TERNARY, "bfe.s64").expect("it is known");
        for (a, from, count, expected) in [
            (0x20, 5, 1, -1),
            (0x1f, 5, 1, 0),
            (0x7c, 2, 4, -1),
            (0x1c, 2, 4, 7),
            (0x8000_0000, 28, 8, -8),
            (0x8000_0000, 40, 2, -1),
            (0x7, 0, 0, 0),
        ] {
            assert_eq!(narrow(a, from, count) as u32 as i32, expected, "{a:#x}");
        }
        assert_eq!(wide(1 << 40, 39, 2) as i64, -2);
        assert_eq!(wide(0x1234, 4, 60) as i64, 0x123);
    }
}
