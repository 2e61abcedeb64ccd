//! Conversions: `cvt` by its modifiers and its two types.

use crate::table::{Unary, bits, f32, f64, s16, s32, s64, u16, u32};

/// What a conversion computes; the name is without `cvt.`.
pub(crate) fn convert(name: &str) -> Option<Unary> {
    let pair: Unary = match name {
        "s64.s32" | "u64.s32" => |a| i64::from(s32(a)) as u64,
        "s64.s16" => |a| i64::from(s16(a)) as u64,
        "s32.s16" => |a| u64::from(i32::from(s16(a)) as u32),
        "s32.s8" => |a| u64::from(i32::from(a as u8 as i8) as u32),
        "s64.s8" => |a| i64::from(a as u8 as i8) as u64,
        "s16.s8" => |a| u64::from(i16::from(a as u8 as i8) as u16),
        "u64.u32" | "s64.u32" | "u32.u64" | "s32.s64" | "s32.u64" | "u32.s64" => {
            |a| u64::from(u32(a))
        }
        "u32.u16" | "u64.u16" | "s32.u16" | "u16.u32" | "u16.u64" | "s16.s32"
        | "s16.u32" | "u16.s32" | "s64.u16" => |a| u64::from(u16(a)),
        "u32.u8" | "u16.u8" | "u64.u8" | "u8.u32" | "s32.u8" | "u8.u16" | "s16.u8" => {
            |a| a & 255
        }
        "rn.f32.s32" => |a| bits(s32(a) as f32),
        "rn.f32.u32" => |a| bits(u32(a) as f32),
        "rn.f32.s64" => |a| bits(s64(a) as f32),
        "rn.f32.u64" => |a| bits(a as f32),
        "rn.f32.s16" => |a| bits(f32::from(s16(a))),
        "rn.f32.u16" => |a| bits(f32::from(u16(a))),
        "rn.f32.u8" => |a| bits(f32::from(a as u8)),
        "rn.f64.s32" => |a| f64::from(s32(a)).to_bits(),
        "rn.f64.s64" => |a| (s64(a) as f64).to_bits(),
        "f64.f32" => |a| f64::from(f32(a)).to_bits(),
        "rn.f32.f64" => |a| bits(f64(a) as f32),
        // To whole numbers: towards zero, the ends of the range where it is left, 0 for no number.
        "rzi.s32.f32" => |a| u64::from(f32(a) as i32 as u32),
        "rzi.u32.f32" => |a| u64::from(f32(a) as u32),
        "rzi.s64.f32" => |a| (f32(a) as i64) as u64,
        "rzi.u64.f32" => |a| f32(a) as u64,
        "rmi.f32.f32" => |a| bits(f32(a).floor()),
        "rpi.f32.f32" => |a| bits(f32(a).ceil()),
        "rzi.f32.f32" => |a| bits(f32(a).trunc()),
        "rni.f32.f32" => |a| bits(f32(a).round_ties_even()),
        "rni.s32.f32" => |a| u64::from(f32(a).round_ties_even() as i32 as u32),
        "rn.bf16.f32" => |a| u64::from(brain(f32(a))),
        "f32.bf16" => |a| bits(wide(a as u16)),
        "rna.tf32.f32" | "rn.tf32.f32" => |a| bits(tensor(f32(a))),
        _ => return None,
    };
    Some(pair)
}

/// The nearest bfloat16, ties to even.
pub(crate) fn brain(a: f32) -> u16 {
    if a.is_nan() {
        return 0x7fff;
    }
    let b = a.to_bits();
    let odd = (b >> 16) & 1;
    (b.wrapping_add(0x7fff + odd) >> 16) as u16
}

/// A bfloat16 as a float.
pub(crate) fn wide(a: u16) -> f32 {
    f32::from_bits(u32::from(a) << 16)
}

/// The nearest number with ten bits of fraction, ties away from zero.
pub(crate) fn tensor(a: f32) -> f32 {
    if !a.is_finite() {
        return a;
    }
    f32::from_bits(a.to_bits().wrapping_add(0x1000) & !0x1fff)
}
