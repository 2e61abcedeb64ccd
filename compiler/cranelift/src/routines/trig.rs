//! Sine and cosine.
//!
//! The argument is reduced to `|r| <= pi/4` with three parts of `pi/2`, exact enough below 2^16;
//! lanes beyond take a full reduction one at a time.

use super::lanes::Maps;

/// Arguments from here on are reduced one at a time.
pub(super) const FAR: f32 = 65_536.0;

/// `sin(x + quarter pi/2)` for `|x| < FAR`.
#[inline(always)]
fn sine<L: Maps>(x: L, quarter: f32) -> L {
    let n = x.mul(L::splat(std::f32::consts::FRAC_2_PI)).round();
    let r = n.fnma(L::splat(f32::from_bits(0x3fc9_0fdb)), x);
    let r = n.fnma(L::splat(-4.371_139e-8), r);
    let r = n.fnma(L::splat(-1.715_124_9e-15), r);
    let z = r.mul(r);
    let s = z.poly([-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let s = s.mul(z).fma(r, r);
    let c = z.poly([2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let c = c.fma(z.mul(z), z.fnma(L::splat(0.5), L::splat(1.0)));
    // Adding 1.5 2^23 leaves the whole number in the low bits.
    let q = n.add(L::splat(12_582_912.0 + quarter));
    let odd = L::splat(1.0).less(q.and_bits(1).shift_up_30());
    L::select(odd, c, s).xor(q.and_bits(2).shift_up_30())
}

/// Sine, for `|x| < FAR`.
#[inline(always)]
pub(super) fn sin<L: Maps>(x: L) -> L {
    // Keeps the sign of 0.
    L::select(x.equal(L::splat(0.0)), x, sine(x, 0.0))
}

/// Cosine, for `|x| < FAR`.
#[inline(always)]
pub(super) fn cos<L: Maps>(x: L) -> L {
    sine(x, 1.0)
}

/// Lanes that [`sin`] and [`cos`] do not cover.
#[inline(always)]
pub(super) fn is_far<L: Maps>(x: L) -> bool {
    let a = x.abs();
    // Infinity is far; NaN compares as near and stays NaN.
    L::any(L::splat(FAR).less(a)) || L::any(a.equal(L::splat(FAR)))
}
