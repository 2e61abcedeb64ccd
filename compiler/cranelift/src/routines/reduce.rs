//! Sum and largest of contiguous numbers.
//!
//! Number i is folded into partial result `i mod 16`, and the sixteen are folded as a fixed tree,
//! so that the result does not depend on the width of the vectors.
//!
//! # Contract of the unsafe code
//! `row` names `n` readable numbers, `out` one writable number.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use super::lanes::{Lanes, Real};
use super::level::versions;

/// Partial results.
const PARTS: usize = 16;

#[inline(always)]
unsafe fn fold<L: Lanes>(
    row: *const L::Elem,
    n: usize,
    start: L::Elem,
    f: impl Fn(L, L) -> L,
    one: impl Fn(L::Elem, L::Elem) -> L::Elem,
) -> L::Elem {
    let mut parts = [L::splat(start); PARTS];
    let mut last = [start; PARTS];
    let mut i = 0;
    // SAFETY: i + 16 <= n in the loop; `last` holds sixteen; PARTS is a multiple of N.
    unsafe {
        while i + PARTS <= n {
            for v in 0..PARTS / L::N {
                parts[v] = f(parts[v], L::load(row.add(i + v * L::N)));
            }
            i += PARTS;
        }
        if i < n {
            for (to, at) in last.iter_mut().zip(i..n) {
                *to = *row.add(at);
            }
            for v in 0..PARTS / L::N {
                parts[v] = f(parts[v], L::load(last.as_ptr().add(v * L::N)));
            }
        }
        for v in 0..PARTS / L::N {
            parts[v].store(last.as_mut_ptr().add(v * L::N));
        }
    }
    let mut width = PARTS / 2;
    while width > 0 {
        for j in 0..width {
            last[j] = one(last[j], last[j + width]);
        }
        width /= 2;
    }
    last[0]
}

#[inline(always)]
unsafe fn add_all<L: Lanes>(row: *const L::Elem, n: usize, out: *mut L::Elem)
where
    L::Elem: std::ops::Add<Output = L::Elem>,
{
    // SAFETY: the contract above.
    unsafe { *out = fold::<L>(row, n, L::Elem::ZERO, L::add, |a, b| a + b) }
}

#[inline(always)]
unsafe fn largest<L: Lanes>(row: *const L::Elem, n: usize, out: *mut L::Elem) {
    let start = L::Elem::of(f64::NEG_INFINITY);
    // SAFETY: the contract above.
    unsafe {
        *out = fold::<L>(row, n, start, |a, b| b.max(a), |a, b| if b > a { b } else { a })
    }
}

versions!(sum = add_all(row: *const E, n: usize, out: *mut E));
versions!(max = largest(row: *const E, n: usize, out: *mut E));
