//! Dense products of layers, split over the current thread pool by hand.
//!
//! The longer side of the result is cut into one piece for each thread and every piece is one
//! `gemm` on one thread: as fast as a threaded `gemm` or faster, and the same bits for the same
//! number of threads.
//!
//! # Contract of the unsafe code
//! With the given extents and strides `left [m, k]` and `right [k, n]` can be read and `out
//! [m, n]` written, `out` overlaps neither, and no element of `out` has two names.
#![allow(unsafe_code, reason = "matrices are read and written by address")]

use super::strided::{Matrix, MatrixMut, Numbers};
use nestor_ir::artifact::Precision;
use rayon::prelude::*;

/// Below this many multiplications one thread is faster than starting others.
const SMALL: usize = 64 * 64 * 64;
/// Pieces are a multiple of this, so that none ends inside a vector of its neighbour.
const GRAIN: usize = 16;

/// One product of a layer: `out = alpha left right (+ out)`, with `shape` `[m, n, k]` and matrices
/// as address, elements between rows, elements between columns.
///
/// # Safety
/// The matrices have these extents and strides, `out` overlaps no operand and can be written.
pub unsafe fn dense(
    precision: Precision,
    shape: [usize; 3],
    alpha: f64,
    left: (*const u8, isize, isize),
    right: (*const u8, isize, isize),
    out: (*mut u8, isize, isize),
    accumulate: bool,
) {
    let beta = if accumulate { 1.0 } else { 0.0 };
    // SAFETY: the contract of this function.
    unsafe {
        match precision {
            Precision::F32 => large_product::<f32>(shape, alpha, left, right, beta, out),
            Precision::F64 => large_product::<f64>(shape, alpha, left, right, beta, out),
        }
    }
}

/// Pieces may go to other threads: they write different elements.
struct Piece<E> {
    extents: [usize; 3],
    left: Matrix<E>,
    right: Matrix<E>,
    out: MatrixMut<E>,
}
// SAFETY: operands are only read, and no two pieces write the same element.
unsafe impl<E> Send for Piece<E> {}

/// `out = alpha left right + beta out`.
unsafe fn large_product<E: Numbers + Send + Sync>(
    [m, n, k]: [usize; 3],
    alpha: f64,
    left: (*const u8, isize, isize),
    right: (*const u8, isize, isize),
    beta: f64,
    out: (*mut u8, isize, isize),
) {
    let left = Matrix { address: left.0.cast::<E>(), row: left.1, column: left.2 };
    let right = Matrix { address: right.0.cast::<E>(), row: right.1, column: right.2 };
    let out = MatrixMut { address: out.0.cast::<E>(), row: out.1, column: out.2 };
    let threads = if m * n * k <= SMALL { 1 } else { rayon::current_num_threads() };
    let by_rows = m >= n;
    let long = m.max(n);
    let size = long.div_ceil(threads).next_multiple_of(GRAIN);
    let piece = |from: usize| {
        let part = size.min(long - from);
        if by_rows {
            Piece {
                extents: [part, n, k],
                left: left.from(from, 0),
                right,
                out: out.from(from, 0),
            }
        } else {
            Piece {
                extents: [m, part, k],
                left,
                right: right.from(0, from),
                out: out.from(0, from),
            }
        }
    };
    let (alpha, beta) = (E::of(alpha), E::of(beta));
    let run = |p: Piece<E>| {
        // SAFETY: a part of the product; the contract above.
        unsafe { E::gemm(p.extents, alpha, p.left, p.right, beta, p.out) }
    };
    let mut pieces: Vec<Piece<E>> = (0..long).step_by(size.max(1)).map(piece).collect();
    if pieces.len() <= 1 {
        pieces.into_iter().for_each(run);
    } else {
        pieces.par_drain(..).with_max_len(1).for_each(run);
    }
}
