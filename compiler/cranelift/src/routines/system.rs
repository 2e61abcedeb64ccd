//! `X <- A^-1 X` by elimination with pivots, and `A <- A^(-1/p)` by Jacobi's rotations: systems and
//! matrix functions of whole matrices.
//!
//! Elimination works on whole rows, which fill the vectors; each number sees the same operations in
//! the same order at every width. Rotations are computed in double precision, one number at a
//! time: such matrices are small.
//!
//! # Contract of the unsafe code
//! `a` and `basis` `[n, n]` and `x` `[n, m]` are contiguous, do not overlap, and may be written.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use super::lanes::{Lanes, Real};
use super::level::versions;

/// `to -= factor from`, over `n` numbers.
#[inline(always)]
unsafe fn subtract<L: Lanes>(
    factor: L::Elem,
    from: *const L::Elem,
    to: *mut L::Elem,
    n: usize,
) {
    let factor = L::splat(factor);
    let mut at = 0;
    while at < n {
        let part = (n - at).min(L::N);
        // SAFETY: at + part <= n; the caller's rows have n numbers.
        unsafe {
            let old = L::load_first(to.add(at), part);
            let new = factor.fnma(L::load_first(from.add(at), part), old);
            new.store_first(to.add(at), part);
        }
        at += part;
    }
}

/// Exchanges two rows of `n` numbers.
#[inline(always)]
unsafe fn exchange<E: Real>(a: *mut E, b: *mut E, n: usize) {
    for c in 0..n {
        // SAFETY: the caller's rows have n numbers.
        unsafe { a.add(c).swap(b.add(c)) };
    }
}

#[inline(always)]
unsafe fn solve<L: Lanes>(a: *mut L::Elem, x: *mut L::Elem, n: usize, m: usize) {
    // SAFETY: rows and columns below n, columns of x below m; the contract above.
    unsafe {
        let at = |i: usize, j: usize| (*a.add(i * n + j)).double();
        for i in 0..n {
            let mut pivot = i;
            for r in i + 1..n {
                if at(r, i).abs() > at(pivot, i).abs() {
                    pivot = r;
                }
            }
            if pivot != i {
                exchange(a.add(i * n + i), a.add(pivot * n + i), n - i);
                exchange(x.add(i * m), x.add(pivot * m), m);
            }
            for r in i + 1..n {
                let factor = L::Elem::of(at(r, i) / at(i, i));
                subtract::<L>(factor, a.add(i * n + i), a.add(r * n + i), n - i);
                subtract::<L>(factor, x.add(i * m), x.add(r * m), m);
            }
        }
        for i in (0..n).rev() {
            for j in i + 1..n {
                let factor = *a.add(i * n + j);
                subtract::<L>(factor, x.add(j * m), x.add(i * m), m);
            }
            let own = at(i, i);
            for c in 0..m {
                let to = x.add(i * m + c);
                *to = L::Elem::of((*to).double() / own);
            }
        }
    }
}

versions!(eliminate = solve(a: *mut E, x: *mut E, n: usize, m: usize));

/// Rounds of rotations; each squares what is left beside the diagonal.
const ROUNDS: usize = 40;

/// Combines entries `p` and `q` by a rotation with cosine `c` and sine `d`.
#[inline(always)]
unsafe fn turn<E: Real>(p: *mut E, q: *mut E, c: f64, d: f64) {
    // SAFETY: the caller's addresses are of its matrices.
    unsafe {
        let (a, b) = ((*p).double(), (*q).double());
        *p = E::of(c * a - d * b);
        *q = E::of(d * a + c * b);
    }
}

#[inline(always)]
unsafe fn root<L: Lanes>(a: *mut L::Elem, basis: *mut L::Elem, n: usize, p: f64) {
    let rounding = if size_of::<L::Elem>() == 4 { 1e-8 } else { 1e-16 };
    // SAFETY: rows and columns below n; the contract above.
    unsafe {
        let at = |i: usize, j: usize| (*a.add(i * n + j)).double();
        for i in 0..n {
            for j in 0..n {
                *basis.add(i * n + j) = L::Elem::of(if i == j { 1.0 } else { 0.0 });
            }
        }
        for _ in 0..ROUNDS {
            let (mut beside, mut all) = (0.0, 0.0);
            for i in 0..n {
                for j in 0..n {
                    let square = at(i, j) * at(i, j);
                    all += square;
                    beside += if i == j { 0.0 } else { square };
                }
            }
            if beside <= rounding * rounding * all {
                break;
            }
            for i in 0..n {
                for j in i + 1..n {
                    if at(i, j) == 0.0 {
                        continue;
                    }
                    let theta = (at(j, j) - at(i, i)) / (2.0 * at(i, j));
                    let t = 1.0 / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let t = if theta < 0.0 { -t } else { t };
                    let c = 1.0 / (t * t + 1.0).sqrt();
                    let d = t * c;
                    for k in 0..n {
                        turn(a.add(k * n + i), a.add(k * n + j), c, d);
                    }
                    for k in 0..n {
                        turn(a.add(i * n + k), a.add(j * n + k), c, d);
                        turn(basis.add(k * n + i), basis.add(k * n + j), c, d);
                    }
                }
            }
        }
        // Eigenvectors alone: they are there.
        if p.is_infinite() {
            return;
        }
        for k in 0..n {
            let half = at(k, k).powf(-0.5 / p);
            for i in 0..n {
                let to = basis.add(i * n + k);
                *to = L::Elem::of((*to).double() * half);
            }
        }
        for i in 0..n {
            for j in 0..n {
                let mut sum = 0.0;
                for k in 0..n {
                    let (l, r) = (*basis.add(i * n + k), *basis.add(j * n + k));
                    sum += l.double() * r.double();
                }
                *a.add(i * n + j) = L::Elem::of(sum);
            }
        }
    }
}

versions!(inverse_root = root(a: *mut E, basis: *mut E, n: usize, p: f64));
