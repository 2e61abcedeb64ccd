//! Sum and largest of contiguous numbers.
//!
//! Number i is folded into partial result `i mod 16`, and the sixteen are folded as a fixed tree,
//! so that the result does not depend on the width of the vectors.
//!
//! # Contract of the unsafe code
//! `row` names `n` readable numbers, `out` one writable number.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers unroll only with constant bounds"
)]

use super::lanes::{Lanes, Real};
use super::level::versions;

/// Partial results.
const PARTS: usize = 16;

/// An operation that folds. A type and not a closure, so that it is compiled into the routine.
trait Fold {
    fn start<E: Real>() -> E;
    fn lanes<L: Lanes>(a: L, b: L) -> L;
    fn one<E: Real>(a: E, b: E) -> E;
}

struct Sum;
impl Fold for Sum {
    fn start<E: Real>() -> E {
        E::ZERO
    }
    #[inline(always)]
    fn lanes<L: Lanes>(a: L, b: L) -> L {
        a.add(b)
    }
    fn one<E: Real>(a: E, b: E) -> E {
        a + b
    }
}

struct Largest;
impl Fold for Largest {
    fn start<E: Real>() -> E {
        E::of(f64::NEG_INFINITY)
    }
    #[inline(always)]
    fn lanes<L: Lanes>(a: L, b: L) -> L {
        b.max(a)
    }
    fn one<E: Real>(a: E, b: E) -> E {
        if b > a { b } else { a }
    }
}

#[inline(always)]
unsafe fn fold<L: Lanes, F: Fold>(row: *const L::Elem, n: usize) -> L::Elem {
    let start: L::Elem = F::start();
    let mut parts = [L::splat(start); PARTS];
    let mut last = [start; PARTS];
    let mut i = 0;
    // SAFETY: i + 16 <= n in the loop; `last` holds sixteen; PARTS is a multiple of N.
    unsafe {
        while i + PARTS <= n {
            for v in 0..PARTS / L::N {
                parts[v] = F::lanes(parts[v], L::load(row.add(i + v * L::N)));
            }
            i += PARTS;
        }
        if i < n {
            for (to, at) in last.iter_mut().zip(i..n) {
                *to = *row.add(at);
            }
            for v in 0..PARTS / L::N {
                parts[v] = F::lanes(parts[v], L::load(last.as_ptr().add(v * L::N)));
            }
        }
        for v in 0..PARTS / L::N {
            parts[v].store(last.as_mut_ptr().add(v * L::N));
        }
    }
    let mut width = PARTS / 2;
    while width > 0 {
        for j in 0..width {
            last[j] = F::one(last[j], last[j + width]);
        }
        width /= 2;
    }
    last[0]
}

#[inline(always)]
unsafe fn add_all<L: Lanes>(row: *const L::Elem, n: usize, out: *mut L::Elem) {
    // SAFETY: the contract above.
    unsafe { *out = fold::<L, Sum>(row, n) }
}

#[inline(always)]
unsafe fn largest<L: Lanes>(row: *const L::Elem, n: usize, out: *mut L::Elem) {
    // SAFETY: the contract above.
    unsafe { *out = fold::<L, Largest>(row, n) }
}

versions!(sum = add_all(row: *const E, n: usize, out: *mut E));
versions!(max = largest(row: *const E, n: usize, out: *mut E));
