//! Transcendental functions in single precision, to a few units in the last place.
//!
//! The hardware's own approximations are used where they are good enough: `2^x` is; the logarithm loses its digits
//! near one, the hyperbolic tangent has eleven bits, sine and cosine are good near zero only. Beside products that round their operands to
//! bfloat16, exponentials and what gates are made of are no better than that asks for.

use super::Emit;
use super::build::V;
use crate::target::Products;
use melior::dialect::arith::{CmpfPredicate, CmpiPredicate};

const LOG2_E: f64 = std::f64::consts::LOG2_E;
const LN2_HIGH: f64 = 0.693_359_375;
const LN2_LOW: f64 = -2.121_944_4e-4;
/// The bits of the number next to `sqrt(1/2)`.
const ROOT_HALF: i64 = 0x3f35_04f3;
/// `3 2^22`: whole numbers near it lie next to one another.
const WHOLE: f64 = 12_582_912.0;

/// Below it three terms of the series of `log(1 + e)` are closer than the hardware's logarithm.
const SERIES: f64 = 0.015_625;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether functions need be no better than what products make of them, whose operands are rounded to eight bits.
    fn is_rough(&self) -> bool {
        self.about.products == Products::Brain
    }

    fn poly(&mut self, x: V<'c, 'a>, c: &[f64]) -> V<'c, 'a> {
        let mut y = self.b.real(c[0]);
        for k in &c[1..] {
            let k = self.b.real(*k);
            y = self.b.fma(y, x, k);
        }
        y
    }
    /// `c - a b`, rounded once.
    fn fnma(&mut self, a: V<'c, 'a>, b: V<'c, 'a>, c: V<'c, 'a>) -> V<'c, 'a> {
        let a = self.b.one("llvm.fneg", a);
        self.b.fma(a, b, c)
    }
    fn less_than(&mut self, x: V<'c, 'a>, y: f64) -> V<'c, 'a> {
        let y = self.b.real(y);
        self.b.compare(CmpfPredicate::Olt, x, y)
    }
    fn with_sign(&mut self, x: V<'c, 'a>, of: V<'c, 'a>) -> V<'c, 'a> {
        self.b.two("llvm.intr.copysign", x, of)
    }

    /// `e^x = 2^n 2^f`, n the whole number next to `x / log 2` as far as `2^n` is a normal number: the hardware's `2^f`
    /// takes what is left, and the product makes the subnormal numbers, the zero and the infinity beyond.
    ///
    /// Roughly two instructions do: the exponent is off by what a number of float32 is.
    pub(super) fn exp(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        if self.is_rough() {
            let (by, float) = (self.b.real(LOG2_E), self.b.float());
            let power = self.b.two("llvm.fmul", x, by);
            return self.b.intrinsic("llvm.nvvm.ex2.approx.ftz.f", &[power], float);
        }
        self.fine_exp(x)
    }

    /// The same to the last bit, whatever products round to: what is raised to a power is told by all of its digits.
    fn fine_exp(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let (float, int) = (self.b.float(), self.b.int(32));
        // A number between zero and one for n from -126 to 126, and no other: then n, in the lowest bits of a sum.
        let (per, half) = (self.b.real(LOG2_E / 252.0), self.b.real(0.5));
        let within = self.b.intrinsic("llvm.nvvm.fma.rn.sat.f", &[x, per, half], float);
        let (most, places) = (self.b.real(252.0), self.b.real(WHOLE + 1.0));
        let moved = self.b.fma(within, most, places);
        let bias = self.b.real(-(WHOLE + 127.0));
        let n = self.b.two("llvm.fadd", moved, bias);
        let n = self.b.one("llvm.fneg", n);
        let (by, low) =
            (self.b.real(LOG2_E), self.b.real(LOG2_E - f64::from(LOG2_E as f32)));
        let f = self.b.fma(x, by, n);
        let f = self.b.fma(x, low, f);
        let part = self.b.intrinsic("llvm.nvvm.ex2.approx.ftz.f", &[f], float);
        let bits = self.b.cast("llvm.bitcast", moved, int);
        let up = self.b.constant(32, 23);
        let bits = self.b.two("llvm.shl", bits, up);
        let whole = self.b.cast("llvm.bitcast", bits, float);
        self.b.two("llvm.fmul", part, whole)
    }

    /// `a / b`, to two units in the last place.
    pub(super) fn quotient(&mut self, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        let float = self.b.float();
        self.b.intrinsic("llvm.nvvm.div.full", &[a, b], float)
    }

    /// `a / b` for b from one on.
    fn share(&mut self, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        let float = self.b.float();
        let part = self.b.intrinsic("llvm.nvvm.rcp.approx.ftz.f", &[b], float);
        self.b.two("llvm.fmul", a, part)
    }

    pub(super) fn sqrt(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let float = self.b.float();
        self.b.intrinsic("llvm.nvvm.sqrt.approx.f", &[x], float)
    }

    /// `1 / (1 + e^-x)`, through `e^-|x|`; roughly as it is written, whose infinities are right.
    pub(super) fn sigmoid(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        if self.is_rough() {
            let minus = self.b.one("llvm.fneg", x);
            let e = self.exp(minus);
            let one = self.b.real(1.0);
            let lower = self.b.two("llvm.fadd", one, e);
            return self.share(one, lower);
        }
        let e = self.exp_of_minus_abs(x);
        let one = self.b.real(1.0);
        let below = self.less_than(x, 0.0);
        let upper = self.b.select(below, e, one);
        let lower = self.b.two("llvm.fadd", one, e);
        self.share(upper, lower)
    }

    fn exp_of_minus_abs(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let a = self.b.one("llvm.intr.fabs", x);
        let a = self.b.one("llvm.fneg", a);
        self.exp(a)
    }

    pub(super) fn tanh(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let a = self.b.one("llvm.intr.fabs", x);
        let z = self.b.two("llvm.fmul", x, x);
        let c = [
            -5.704_988_7e-3,
            2.063_909e-2,
            -5.373_971_5e-2,
            1.333_144_2e-1,
            -3.333_328e-1,
        ];
        let p = self.poly(z, &c);
        let p = self.b.two("llvm.fmul", p, z);
        let small = self.b.fma(p, x, x);
        let twice = self.b.two("llvm.fadd", a, a);
        let e = self.exp(twice);
        let (one, two) = (self.b.real(1.0), self.b.real(2.0));
        let e = self.b.two("llvm.fadd", e, one);
        let part = self.share(two, e);
        let large = self.b.two("llvm.fsub", one, part);
        let near = self.less_than(a, 0.625);
        let y = self.b.select(near, small, large);
        self.with_sign(y, x)
    }

    /// What `log(1 + f)` is more than f, for f from `sqrt(1/2) - 1` to `sqrt(2) - 1`.
    fn log_near_one(&mut self, f: V<'c, 'a>) -> V<'c, 'a> {
        let z = self.b.two("llvm.fmul", f, f);
        let c = [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ];
        let p = self.poly(f, &c);
        let p = self.b.two("llvm.fmul", p, f);
        let p = self.b.two("llvm.fmul", p, z);
        let half = self.b.real(0.5);
        self.fnma(z, half, p)
    }

    /// `log(1 + f) + k log 2`.
    fn log_of_parts(&mut self, f: V<'c, 'a>, k: V<'c, 'a>) -> V<'c, 'a> {
        let near = self.log_near_one(f);
        let (high, low) = (self.b.real(LN2_HIGH), self.b.real(LN2_LOW));
        let rest = self.b.fma(k, low, near);
        let sum = self.b.two("llvm.fadd", f, rest);
        self.b.fma(k, high, sum)
    }

    pub(super) fn log(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let (float, int) = (self.b.float(), self.b.int(32));
        // Denormals are brought into the normal range first.
        let tiny = self.less_than(x, f64::from(f32::MIN_POSITIVE));
        let up = self.b.real(8_388_608.0);
        let raised = self.b.two("llvm.fmul", x, up);
        let normal = self.b.select(tiny, raised, x);
        let bits = self.b.cast("llvm.bitcast", normal, int);
        let root = self.b.constant(32, ROOT_HALF);
        let moved = self.b.two("llvm.sub", bits, root);
        let by = self.b.constant(32, 23);
        let e = self.b.two("llvm.ashr", moved, by);
        let e = self.b.cast("llvm.sitofp", e, float);
        let mask = self.b.constant(32, 0x7f_ffff);
        let m = self.b.two("llvm.and", moved, mask);
        let m = self.b.two("llvm.add", m, root);
        let m = self.b.cast("llvm.bitcast", m, float);
        let (less, zero) = (self.b.real(23.0), self.b.real(0.0));
        let taken = self.b.select(tiny, less, zero);
        let e = self.b.two("llvm.fsub", e, taken);
        let one = self.b.real(1.0);
        let f = self.b.two("llvm.fsub", m, one);
        let y = self.log_of_parts(f, e);
        let is_zero = self.b.compare(CmpfPredicate::Oeq, x, zero);
        let lowest = self.b.real(f64::NEG_INFINITY);
        let y = self.b.select(is_zero, lowest, y);
        let below = self.less_than(x, 0.0);
        let none = self.b.real(f64::NAN);
        let y = self.b.select(below, none, y);
        // Infinity and what is no number are their own logarithms.
        let finite = self.less_than(x, f64::INFINITY);
        self.b.select(finite, y, x)
    }

    /// `log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)`.
    pub(super) fn softplus(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let e = self.exp_of_minus_abs(x);
        let (zero, one) = (self.b.real(0.0), self.b.real(1.0));
        if self.is_rough() {
            let y = self.rough_log_of_more(e);
            let part = self.b.two("llvm.intr.maximum", x, zero);
            return self.b.two("llvm.fadd", y, part);
        }
        let (half, minus_half) = (self.b.real(0.5), self.b.real(-0.5));
        // 1 + e = 2 (1 + f) above sqrt(2), else 1 + f: in both cases f is exact.
        let least = self.b.real(0.414_213_57);
        let above = self.b.compare(CmpfPredicate::Olt, least, e);
        let halved = self.b.fma(e, half, minus_half);
        let f = self.b.select(above, halved, e);
        let k = self.b.select(above, one, zero);
        let y = self.log_of_parts(f, k);
        let negative = self.less_than(x, 0.0);
        let part = self.b.select(negative, zero, x);
        self.b.two("llvm.fadd", y, part)
    }

    /// `log(1 + e)` for e from zero to one: the hardware's, of which the last digits are wrong near one, and where few are left the beginning of
    /// its series.
    fn rough_log_of_more(&mut self, e: V<'c, 'a>) -> V<'c, 'a> {
        let float = self.b.float();
        let (one, per) = (self.b.real(1.0), self.b.real(std::f64::consts::LN_2));
        let more = self.b.two("llvm.fadd", one, e);
        let log = self.b.intrinsic("llvm.nvvm.lg2.approx.ftz.f", &[more], float);
        let log = self.b.two("llvm.fmul", log, per);
        let series = self.poly(e, &[1.0 / 3.0, -0.5, 1.0]);
        let series = self.b.two("llvm.fmul", series, e);
        let few = self.less_than(e, SERIES);
        self.b.select(few, series, log)
    }

    pub(super) fn erf(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        // Beyond 10 the result is 1; the bound keeps infinities out of the polynomial.
        let a = self.b.one("llvm.intr.fabs", x);
        let ten = self.b.real(10.0);
        let far = self.b.compare(CmpfPredicate::Ogt, a, ten);
        let t = self.b.select(far, ten, a);
        let s = self.b.two("llvm.fmul", t, t);
        let r = self.poly(t, &[-1.728_534_7e-5, 3.831_974_3e-4]);
        let u = self.poly(t, &[-3.883_963_8e-3, 2.425_462_2e-2]);
        let mut r = self.b.fma(r, s, u);
        for c in [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1] {
            let c = self.b.real(c);
            r = self.b.fma(r, t, c);
        }
        let minus = self.b.one("llvm.fneg", t);
        let r = self.b.fma(r, t, minus);
        let e = self.exp(r);
        let one = self.b.real(1.0);
        let large = self.b.two("llvm.fsub", one, e);
        let large = self.with_sign(large, x);
        let c = [
            -5.967_617e-4,
            4.991_194_2e-3,
            -2.676_813_5e-2,
            1.128_199_25e-1,
            -3.761_253_4e-1,
            1.283_791_7e-1,
        ];
        let small = self.poly(s, &c);
        let small = self.b.fma(small, x, x);
        let edge = self.b.real(0.927_734_4);
        let beyond = self.b.compare(CmpfPredicate::Olt, edge, t);
        self.b.select(beyond, large, small)
    }

    /// `sin(x + quarter pi/2)`, reduced with three parts of `pi/2`: good for arguments below 2^16.
    fn sine(&mut self, x: V<'c, 'a>, quarter: i64) -> V<'c, 'a> {
        let int = self.b.int(32);
        let by = self.b.real(std::f64::consts::FRAC_2_PI);
        let n = self.b.two("llvm.fmul", x, by);
        let n = self.b.one("llvm.intr.roundeven", n);
        let mut r = x;
        for part in
            [f64::from(f32::from_bits(0x3fc9_0fdb)), -4.371_139e-8, -1.715_124_9e-15]
        {
            let part = self.b.real(part);
            r = self.fnma(n, part, r);
        }
        let z = self.b.two("llvm.fmul", r, r);
        let s = self.poly(z, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
        let s = self.b.two("llvm.fmul", s, z);
        let s = self.b.fma(s, r, r);
        let c = self.poly(z, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
        let (half, one) = (self.b.real(0.5), self.b.real(1.0));
        let most = self.fnma(z, half, one);
        let squared = self.b.two("llvm.fmul", z, z);
        let c = self.b.fma(c, squared, most);
        let q = self.b.cast("llvm.fptosi", n, int);
        let quarter = self.b.constant(32, quarter);
        let q = self.b.two("llvm.add", q, quarter);
        let zero = self.b.constant(32, 0);
        let bit = |e: &mut Self, n: i64| {
            let mask = e.b.constant(32, n);
            let bit = e.b.two("llvm.and", q, mask);
            e.b.compare_whole(CmpiPredicate::Ne, bit, zero)
        };
        let (odd, lower) = (bit(self, 1), bit(self, 2));
        let y = self.b.select(odd, c, s);
        let minus = self.b.one("llvm.fneg", y);
        self.b.select(lower, minus, y)
    }
    pub(super) fn sin(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        self.sine(x, 0)
    }
    pub(super) fn cos(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        self.sine(x, 1)
    }

    pub(super) fn sign(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let (zero, one, minus) = (self.b.real(0.0), self.b.real(1.0), self.b.real(-1.0));
        let above = self.b.compare(CmpfPredicate::Ogt, x, zero);
        let below = self.less_than(x, 0.0);
        let y = self.b.select(below, minus, x);
        self.b.select(above, one, y)
    }

    /// `a^b` by `e^(b log |a|)`; negative bases have powers by whole numbers only.
    pub(super) fn pow(&mut self, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        let (zero, one, half, two) =
            (self.b.real(0.0), self.b.real(1.0), self.b.real(0.5), self.b.real(2.0));
        let size = self.b.one("llvm.intr.fabs", a);
        let l = self.log(size);
        let l = self.b.two("llvm.fmul", b, l);
        let y = self.fine_exp(l);
        let whole = self.b.one("llvm.intr.floor", b);
        let is_whole = self.b.compare(CmpfPredicate::Oeq, whole, b);
        let halved = self.b.two("llvm.fmul", b, half);
        let floor = self.b.one("llvm.intr.floor", halved);
        let even = self.b.compare(CmpfPredicate::Oeq, floor, halved);
        let minus = self.b.one("llvm.fneg", y);
        let signed = self.b.select(even, y, minus);
        let none = self.b.real(f64::NAN);
        let signed = self.b.select(is_whole, signed, none);
        let below = self.less_than(a, 0.0);
        let y = self.b.select(below, signed, y);
        // The square is exact, and nothing to the power of nothing is one.
        let square = self.b.compare(CmpfPredicate::Oeq, b, two);
        let squared = self.b.two("llvm.fmul", a, a);
        let y = self.b.select(square, squared, y);
        let flat = self.b.compare(CmpfPredicate::Oeq, b, zero);
        self.b.select(flat, one, y)
    }
}
