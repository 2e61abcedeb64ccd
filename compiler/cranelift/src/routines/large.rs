//! Dense products of layers on one thread, by `gemm`: a piece of the result as the executor cuts it.
//!
//! # Contract of the unsafe code
//! With the given extents and strides `left [m, k]` and `right [k, n]` can be read and `out
//! [m, n]` written, `out` overlaps neither, and no element of `out` has two names.
#![allow(unsafe_code, reason = "matrices are read and written by address")]

use super::strided::{Matrix, MatrixMut, Numbers};
use nestor_ir::artifact::Precision;

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

/// `out = alpha left right + beta out`.
unsafe fn large_product<E: Numbers>(
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
    let (alpha, beta) = (E::of(alpha), E::of(beta));
    // SAFETY: the contract above.
    unsafe { E::gemm([m, n, k], alpha, left, right, beta, out) }
}
