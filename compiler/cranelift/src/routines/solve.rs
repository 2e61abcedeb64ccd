//! `X <- (I + tril(L, -1))^-1 X` and the same with the transposed matrix, by substitution.
//!
//! Rows are taken by blocks: the part of already solved rows is a small product with the block in
//! registers, then the block's own triangle is solved there. Sums run over solved rows in the
//! order they were solved, so neither the block nor the width of the vectors changes a bit.
//!
//! # Contract of the unsafe code
//! `lower [n, n]` and `x [n, m]` are contiguous, do not overlap, and `x` may be written. On and
//! above its diagonal `lower` is never read.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers unroll only with constant bounds"
)]

use super::lanes::{Lanes, Real};
use super::level::versions;

/// The system, with rows and columns renumbered in the order they are solved.
struct System<E> {
    lower: *const E,
    x: *mut E,
    n: usize,
    m: usize,
    transpose: bool,
}

impl<E: Copy> System<E> {
    /// The coefficient of solved unknown `j` in equation `i > j`.
    #[inline(always)]
    unsafe fn coefficient(&self, i: usize, j: usize) -> E {
        let (n, last) = (self.n, self.n - 1);
        let at = if self.transpose { (last - j) * n + (last - i) } else { i * n + j };
        // SAFETY: j < i < n, so this is strictly below the diagonal of [n, n].
        unsafe { *self.lower.add(at) }
    }

    /// Unknown `i` of the columns from `at`.
    #[inline(always)]
    fn row(&self, i: usize, at: usize) -> *mut E {
        let i = if self.transpose { self.n - 1 - i } else { i };
        self.x.wrapping_add(i * self.m + at)
    }
}

/// Equations `i .. i + R` for V vectors of columns from `at`; `width` columns count.
#[inline(always)]
unsafe fn block<L: Lanes, const R: usize, const V: usize>(
    s: &System<L::Elem>,
    i: usize,
    at: usize,
    width: usize,
) {
    let part = |v: usize| width.saturating_sub(v * L::N).min(L::N);
    let mut sum = [[L::splat(L::Elem::ZERO); V]; R];
    // SAFETY: i + R <= n and at + width <= m; the contract above.
    unsafe {
        for r in 0..R {
            for v in 0..V {
                sum[r][v] = L::load_first(s.row(i + r, at + v * L::N), part(v));
            }
        }
        for j in 0..i {
            let mut solved = [L::splat(L::Elem::ZERO); V];
            for v in 0..V {
                solved[v] = L::load_first(s.row(j, at + v * L::N), part(v));
            }
            for r in 0..R {
                let c = L::splat(s.coefficient(i + r, j));
                for v in 0..V {
                    sum[r][v] = c.fnma(solved[v], sum[r][v]);
                }
            }
        }
        for r in 0..R {
            for q in 0..r {
                let c = L::splat(s.coefficient(i + r, i + q));
                for v in 0..V {
                    sum[r][v] = c.fnma(sum[q][v], sum[r][v]);
                }
            }
            for v in 0..V {
                sum[r][v].store_first(s.row(i + r, at + v * L::N), part(v));
            }
        }
    }
}

/// All equations for one panel of columns.
#[inline(always)]
unsafe fn panel<L: Lanes, const R: usize, const V: usize>(
    s: &System<L::Elem>,
    at: usize,
    width: usize,
) {
    let mut i = 0;
    // SAFETY: as for `block`.
    unsafe {
        while i + R <= s.n {
            block::<L, R, V>(s, i, at, width);
            i += R;
        }
        while i < s.n {
            block::<L, 1, V>(s, i, at, width);
            i += 1;
        }
    }
}

#[inline(always)]
unsafe fn solve<L: Lanes>(
    lower: *const L::Elem,
    x: *mut L::Elem,
    n: usize,
    m: usize,
    transpose: usize,
) {
    // A constant direction leaves no test in the inner loops.
    // SAFETY: the contract above.
    unsafe {
        if transpose == 0 {
            all_panels::<L>(&System { lower, x, n, m, transpose: false });
        } else {
            all_panels::<L>(&System { lower, x, n, m, transpose: true });
        }
    }
}

#[inline(always)]
unsafe fn all_panels<L: Lanes>(s: &System<L::Elem>) {
    let mut at = 0;
    while at < s.m {
        let left = s.m - at;
        // SAFETY: the panel ends at or before column m; the contract above.
        let width = unsafe {
            if L::ACCUMULATORS >= 16 && left >= 4 * L::N {
                panel::<L, 4, 4>(s, at, 4 * L::N);
                4 * L::N
            } else if left >= 2 * L::N {
                panel::<L, 4, 2>(s, at, 2 * L::N);
                2 * L::N
            } else {
                let width = left.min(L::N);
                panel::<L, 8, 1>(s, at, width);
                width
            }
        };
        at += width;
    }
}

versions!(solve_unit_lower = solve(
    lower: *const E,
    x: *mut E,
    n: usize,
    m: usize,
    transpose: usize,
));
