//! Exponential, logistic and hyperbolic tangent.
//!
//! `e^x = 2^n e^r` with `n` whole and `|r| <= log(2)/2`, where a polynomial of degree seven is
//! good to half a unit in the last place; the scaling rounds once, also into denormals.

use super::lanes::Maps;

/// `e^x`; overflows to infinity above 88.7, reaches 0 below -103.9.
#[inline(always)]
pub(crate) fn exp<L: Maps>(x: L) -> L {
    // NaN stays: minimum and maximum return their second operand for it.
    let x = L::splat(-104.0).max(L::splat(89.0).min(x));
    let n = x.mul(L::splat(std::f32::consts::LOG2_E)).round();
    let r = n.fnma(L::splat(0.693_359_4), x);
    let r = n.fnma(L::splat(-2.121_944_4e-4), r);
    let p = r.poly([
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ]);
    let y = p.fma(r.mul(r), r).add(L::splat(1.0));
    y.scale(n)
}

/// `1 / (1 + e^-x)`, through `e^-|x|` so that nothing overflows and small results keep their digits.
#[inline(always)]
pub(crate) fn sigmoid<L: Maps>(x: L) -> L {
    let one = L::splat(1.0);
    let e = exp(x.or(L::splat(-0.0)));
    let upper = L::select(x.less(L::splat(0.0)), e, one);
    upper.div(one.add(e))
}

/// Hyperbolic tangent: an odd polynomial for small arguments, `1 - 2 / (e^2|x| + 1)` for others.
#[inline(always)]
pub(crate) fn tanh<L: Maps>(x: L) -> L {
    let (a, one) = (x.abs(), L::splat(1.0));
    let z = x.mul(x);
    let p = z.poly([
        -5.704_988_7e-3,
        2.063_909e-2,
        -5.373_971_5e-2,
        1.333_144_2e-1,
        -3.333_328e-1,
    ]);
    let small = p.mul(z).fma(x, x);
    let large = one.sub(L::splat(2.0).div(exp(a.add(a)).add(one)));
    // The sign is the argument's, of 0 too.
    L::select(a.less(L::splat(0.625)), small, large).or(x.sign_bit())
}
