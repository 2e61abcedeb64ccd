//! Error function: an odd polynomial for small arguments, `1 - e^p(|x|)` for others.

use super::exp::exp;
use super::lanes::Maps;

/// `2/sqrt(pi) int_0^x e^(-u^2) du`.
#[inline(always)]
pub(crate) fn erf<L: Maps>(x: L) -> L {
    // Beyond 10 the result is 1; the bound keeps infinities out of the polynomial, NaN stays.
    let t = L::splat(10.0).min(x.abs());
    let s = t.mul(t);
    let r = t.fma(L::splat(-1.728_534_7e-5), L::splat(3.831_974_3e-4));
    let u = t.fma(L::splat(-3.883_963_8e-3), L::splat(2.425_462_2e-2));
    let r = r.fma(s, u);
    let r = r.fma(t, L::splat(-1.067_778_8e-1));
    let r = r.fma(t, L::splat(-6.348_467e-1));
    let r = r.fma(t, L::splat(-1.287_175_1e-1));
    let r = r.fma(t, t.xor(L::splat(-0.0)));
    let large = L::splat(1.0).sub(exp(r)).or(x.sign_bit());
    let small = s.poly([
        -5.967_617e-4,
        4.991_194_2e-3,
        -2.676_813_5e-2,
        1.128_199_25e-1,
        -3.761_253_4e-1,
        1.283_791_7e-1,
    ]);
    let small = small.fma(x, x);
    L::select(L::splat(0.927_734_4).less(t), large, small)
}
