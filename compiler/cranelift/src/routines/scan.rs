//! `y_t = a_t y_{t-1} + b_t`: a linear recurrence of small matrices over rows of columns.
//!
//! Columns are independent, so they fill the vectors; the state of a panel of columns stays in
//! registers over all steps when there are at most four slots.
//!
//! # Contract of the unsafe code
//! Contiguous `a [steps, slots, slots]`, `b` and `y [steps, slots, columns]`, `init [slots,
//! columns]`; `y` may be `b`, otherwise it overlaps nothing.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers unroll only with constant bounds"
)]
#![allow(clippy::too_many_arguments, reason = "the parameters of a scan")]

use super::lanes::Lanes;
use super::level::versions;

/// The addresses and extents of one scan.
struct Scan<E> {
    a: *const E,
    b: *const E,
    init: *const E,
    y: *mut E,
    steps: usize,
    slots: usize,
    columns: usize,
    reverse: bool,
}

impl<E> Scan<E> {
    #[inline(always)]
    fn step(&self, number: usize) -> usize {
        if self.reverse { self.steps - 1 - number } else { number }
    }
}

/// A panel of V vectors from column `at`, of which `width` columns count; S slots in registers.
#[inline(always)]
unsafe fn panel<L: Lanes, const S: usize, const V: usize>(
    s: &Scan<L::Elem>,
    at: usize,
    width: usize,
) {
    let (n, part) = (s.columns, |v: usize| width.saturating_sub(v * L::N).min(L::N));
    let mut state = [[L::splat(<L::Elem as super::lanes::Real>::ZERO); V]; S];
    // SAFETY: row i < S and columns below at + width <= columns; the contract above.
    unsafe {
        for i in 0..S {
            for v in 0..V {
                state[i][v] = L::load_first(s.init.add(i * n + at + v * L::N), part(v));
            }
        }
        for number in 0..s.steps {
            let t = s.step(number);
            let mut next = state;
            for i in 0..S {
                let row = (t * S + i) * n + at;
                for v in 0..V {
                    next[i][v] = L::load_first(s.b.add(row + v * L::N), part(v));
                }
                for j in 0..S {
                    let factor = L::splat(*s.a.add((t * S + i) * S + j));
                    for v in 0..V {
                        next[i][v] = factor.fma(state[j][v], next[i][v]);
                    }
                }
                for v in 0..V {
                    next[i][v].store_first(s.y.add(row + v * L::N), part(v));
                }
            }
            state = next;
        }
    }
}

#[inline(always)]
unsafe fn panels<L: Lanes, const S: usize, const V: usize>(s: &Scan<L::Elem>) {
    let mut at = 0;
    while at < s.columns {
        let width = (s.columns - at).min(V * L::N);
        // SAFETY: the contract above. A whole panel has constant parts.
        unsafe {
            if width == V * L::N {
                panel::<L, S, V>(s, at, V * L::N);
            } else {
                panel::<L, S, V>(s, at, width);
            }
        }
        at += width;
    }
}

/// Any number of slots: the previous step is read from where it was written.
#[inline(always)]
unsafe fn through_memory<L: Lanes>(s: &Scan<L::Elem>) {
    let (n, slots) = (s.columns, s.slots);
    let mut before = s.init;
    for number in 0..s.steps {
        let t = s.step(number);
        for i in 0..slots {
            let row = (t * slots + i) * n;
            let mut at = 0;
            while at < n {
                let part = (n - at).min(L::N);
                // SAFETY: at + part <= columns; the contract above.
                unsafe {
                    let mut y = L::load_first(s.b.add(row + at), part);
                    for j in 0..slots {
                        let factor = L::splat(*s.a.add((t * slots + i) * slots + j));
                        y = factor.fma(L::load_first(before.add(j * n + at), part), y);
                    }
                    y.store_first(s.y.add(row + at), part);
                }
                at += part;
            }
        }
        // SAFETY: step t was just written.
        before = unsafe { s.y.add(t * slots * n) };
    }
}

#[inline(always)]
unsafe fn scan<L: Lanes>(
    a: *const L::Elem,
    b: *const L::Elem,
    init: *const L::Elem,
    y: *mut L::Elem,
    steps: usize,
    slots: usize,
    columns: usize,
    reverse: usize,
) {
    let s = Scan { a, b, init, y, steps, slots, columns, reverse: reverse != 0 };
    // SAFETY: the contract above.
    unsafe {
        match slots {
            1 => panels::<L, 1, 4>(&s),
            2 => panels::<L, 2, 4>(&s),
            3 => panels::<L, 3, 2>(&s),
            4 => panels::<L, 4, 2>(&s),
            _ => through_memory::<L>(&s),
        }
    }
}

versions!(linear_scan = scan(
    a: *const E,
    b: *const E,
    init: *const E,
    y: *mut E,
    steps: usize,
    slots: usize,
    columns: usize,
    reverse: usize,
));
