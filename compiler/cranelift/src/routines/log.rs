//! Logarithm and softplus.

use super::exp::exp;
use super::lanes::Maps;

/// `log(1 + f)` for f from `sqrt(1/2) - 1` to `sqrt(2) - 1`, as `(f, rest)` whose sum it is.
#[inline(always)]
fn log_near_one<L: Maps>(f: L) -> L {
    let z = f.mul(f);
    let p = f.poly([
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ]);
    z.fnma(L::splat(0.5), p.mul(f).mul(z))
}

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Natural logarithm; `-inf` at 0, NaN below.
#[inline(always)]
pub(crate) fn log<L: Maps>(x: L) -> L {
    // Denormals are brought into the normal range first.
    let tiny = x.less(L::splat(f32::MIN_POSITIVE));
    let (e, m) = L::select(tiny, x.mul(L::splat(8_388_608.0)), x).split();
    let e = e.sub(L::select(tiny, L::splat(23.0), L::splat(0.0)));
    let f = m.sub(L::splat(1.0));
    let rest = e.fma(L::splat(LN2_LOW), log_near_one(f));
    let y = e.fma(L::splat(LN2_HIGH), f.add(rest));
    let y = L::select(x.equal(L::splat(0.0)), L::splat(f32::NEG_INFINITY), y);
    let y = L::select(x.less(L::splat(0.0)), L::splat(f32::NAN), y);
    // Infinity and NaN are their own logarithms.
    L::select(x.less(L::splat(f32::INFINITY)), y, x)
}

/// `log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)`.
#[inline(always)]
pub(crate) fn softplus<L: Maps>(x: L) -> L {
    let (zero, half) = (L::splat(0.0), L::splat(0.5));
    let e = exp(x.or(L::splat(-0.0)));
    // 1 + e = 2 (1 + f) above sqrt(2), else 1 + f: in both cases f is exact.
    let above = L::splat(0.414_213_57).less(e);
    let f = L::select(above, e.fma(half, L::splat(-0.5)), e);
    let k = L::select(above, L::splat(1.0), zero);
    let rest = k.fma(L::splat(LN2_LOW), log_near_one(f));
    let y = k.fma(L::splat(LN2_HIGH), f.add(rest));
    y.add(zero.max(x))
}
