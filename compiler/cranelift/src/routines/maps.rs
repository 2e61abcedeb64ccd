//! Element-wise maps of a row in place: `exp`, `log`, `sin`, `cos`, `tanh`, `erf`, `sigmoid`,
//! `softplus` as `(row, n)` and `pow` as `(base, exponent, n)`.
//!
//! In single precision each map is one body for every width, so every level gives the same bits.
//! In double precision the map is the definition the interpreter uses.
//!
//! # Contract of the unsafe code
//! `row` (`base`) names `n` numbers that may be read and written, `exponent` `n` that may be read;
//! they are the same or do not overlap.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use super::lanes::{Lanes, Maps};
use super::level::versions;
use super::{erf as error, exp as exponential, log as logarithm, trig};
use nestor_ir::interpret::math;

/// A map of single numbers at every width. A type and not a closure, because only functions marked
/// so are sure to be compiled into the routine, where its instructions are known.
trait Map {
    /// The function.
    fn near<L: Maps>(x: L) -> L;

    /// The function of what [`Map::near`] does not cover, for maps that reduce their argument.
    const FAR: Option<fn(f64) -> f64> = None;
}

/// The map of whole vectors and of rests.
#[inline(always)]
unsafe fn apply<L: Maps, F: Map>(x: L) -> L {
    let y = F::near(x);
    match F::FAR {
        // SAFETY: the contract above.
        Some(exact) if trig::is_far(x) => unsafe { one_at_a_time(x, y, exact) },
        Some(_) | None => y,
    }
}

/// `y` with the exact value in far lanes.
#[inline(always)]
unsafe fn one_at_a_time<L: Maps>(x: L, y: L, exact: fn(f64) -> f64) -> L {
    let (mut before, mut after) = ([0f32; 16], [0f32; 16]);
    // SAFETY: N <= 16.
    unsafe {
        x.store(before.as_mut_ptr());
        y.store(after.as_mut_ptr());
        for (b, a) in before.iter().zip(&mut after).take(L::N) {
            if b.abs() >= trig::FAR {
                *a = exact(f64::from(*b)) as f32;
            }
        }
        L::load(after.as_ptr())
    }
}

/// Applies a map to a row; the rest behind the last whole vector is loaded and stored by parts.
#[inline(always)]
unsafe fn walk<L: Maps, F: Map>(row: *mut f32, n: usize) {
    let mut i = 0;
    // SAFETY: i + N <= n in the loop and i + (n - i) = n behind it; the contract above.
    unsafe {
        while i + L::N <= n {
            apply::<L, F>(L::load(row.add(i))).store(row.add(i));
            i += L::N;
        }
        if i < n {
            apply::<L, F>(L::load_first(row.add(i), n - i))
                .store_first(row.add(i), n - i);
        }
    }
}

macro_rules! maps {
    ($($name:ident: $single:path, $far:expr, $double:expr;)*) => {$(
        pub(crate) mod $name {
            use super::*;

            struct This;
            impl Map for This {
                const FAR: Option<fn(f64) -> f64> = $far;
                #[inline(always)]
                fn near<L: Maps>(x: L) -> L {
                    $single(x)
                }
            }

            #[inline(always)]
            unsafe fn row32<L: Maps>(row: *mut f32, n: usize) {
                // SAFETY: the contract of the file.
                unsafe { walk::<L, This>(row, n) }
            }

            #[inline(always)]
            unsafe fn row64<L: Lanes>(row: *mut f64, n: usize) {
                let f: fn(f64) -> f64 = $double;
                for i in 0..n {
                    // SAFETY: the contract of the file.
                    unsafe { *row.add(i) = f(*row.add(i)) };
                }
            }

            versions!(row = row32 | row64(row: *mut E, n: usize));
        }
    )*};
}

maps! {
    exp: exponential::exp, None, f64::exp;
    sigmoid: exponential::sigmoid, None, math::sigmoid;
    tanh: exponential::tanh, None, f64::tanh;
    log: logarithm::log, None, f64::ln;
    softplus: logarithm::softplus, None, math::softplus;
    erf: error::erf, None, math::erf;
    sin: trig::sin, Some(f64::sin), f64::sin;
    cos: trig::cos, Some(f64::cos), f64::cos;
}

/// Powers are computed in double precision and rounded: that keeps negative bases with whole
/// exponents, zeros and infinities right, and a logarithm in single precision would not have the
/// digits that large exponents need. Squares, the common case, are products.
#[inline(always)]
unsafe fn power<L: Lanes>(base: *mut L::Elem, exponent: *const L::Elem, n: usize) {
    use super::lanes::Real;
    for i in 0..n {
        // SAFETY: the contract above.
        unsafe {
            let (a, b) = ((*base.add(i)).double(), (*exponent.add(i)).double());
            *base.add(i) = Real::of(if b == 2.0 { a * a } else { a.powf(b) });
        }
    }
}

versions!(pow = power(base: *mut E, exponent: *const E, n: usize));
