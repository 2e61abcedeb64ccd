//! Rows: strided copy, scaling by row, gathering and scattering by index.
//!
//! # Contract of the unsafe code
//! Addresses name as many numbers as rows, columns and strides say, writable where written, and
//! sources and targets do not overlap except where they are the same. Indices outside a table are
//! allowed: they read zero and add nothing.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use super::lanes::{Lanes, Real};
use super::level::versions;

/// `to[..n] = factor from[..n]`, or without a factor a copy, plus what is there where `add`; a
/// vector at a time.
#[inline(always)]
unsafe fn row<L: Lanes>(
    from: *const L::Elem,
    to: *mut L::Elem,
    n: usize,
    factor: Option<L>,
    add: bool,
) {
    let mut i = 0;
    while i < n {
        let part = (n - i).min(L::N);
        // SAFETY: i + part <= n; the contract above.
        unsafe {
            let mut x = L::load_first(from.add(i), part);
            if let Some(factor) = factor {
                x = factor.mul(x);
            }
            if add {
                x = x.add(L::load_first(to.add(i), part));
            }
            x.store_first(to.add(i), part);
        }
        i += part;
    }
}

#[inline(always)]
unsafe fn copy<L: Lanes>(
    source: *const L::Elem,
    source_stride: usize,
    target: *mut L::Elem,
    target_stride: usize,
    rows: usize,
    columns: usize,
) {
    for r in 0..rows {
        // SAFETY: r < rows; the contract above.
        unsafe {
            let (from, to) =
                (source.add(r * source_stride), target.add(r * target_stride));
            row::<L>(from, to, columns, None, false);
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "two strided matrices and a column")]
unsafe fn scale<L: Lanes>(
    factor: *const L::Elem,
    source: *const L::Elem,
    source_stride: usize,
    target: *mut L::Elem,
    target_stride: usize,
    rows: usize,
    columns: usize,
) {
    for r in 0..rows {
        // SAFETY: r < rows; the contract above.
        unsafe {
            let by = L::splat(*factor.add(r));
            let (from, to) =
                (source.add(r * source_stride), target.add(r * target_stride));
            row::<L>(from, to, columns, Some(by), false);
        }
    }
}

/// The row of a table that element r of `index` names, if it is one.
#[inline(always)]
unsafe fn named(
    index: *const i32,
    stride: isize,
    r: usize,
    rows: usize,
) -> Option<usize> {
    // SAFETY: the contract above.
    let i = unsafe { *index.offset(r as isize * stride) };
    usize::try_from(i).ok().filter(|i| *i < rows)
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a table, an index and the rows")]
unsafe fn gather<L: Lanes>(
    table: *const L::Elem,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    out: *mut L::Elem,
) {
    for r in 0..count {
        // SAFETY: r < count and i < rows; the contract above.
        unsafe {
            let to = out.add(r * width);
            match named(index, stride, r, rows) {
                Some(i) => row::<L>(table.add(i * width), to, width, None, false),
                None => std::slice::from_raw_parts_mut(to, width).fill(L::Elem::ZERO),
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a table, an index and the rows")]
unsafe fn scatter_add<L: Lanes>(
    table: *mut L::Elem,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    values: *const L::Elem,
    own: usize,
    of: usize,
) {
    for r in 0..count {
        // SAFETY: r < count and i < rows; the contract above.
        unsafe {
            if let Some(i) = named(index, stride, r, rows).filter(|i| i % of == own) {
                row::<L>(values.add(r * width), table.add(i * width), width, None, true);
            }
        }
    }
}

versions!(copy_rows = copy(
    source: *const E,
    source_stride: usize,
    target: *mut E,
    target_stride: usize,
    rows: usize,
    columns: usize,
));
versions!(scale_rows = scale(
    factor: *const E,
    source: *const E,
    source_stride: usize,
    target: *mut E,
    target_stride: usize,
    rows: usize,
    columns: usize,
));
versions!(gather_rows = gather(
    table: *const E,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    out: *mut E,
));
versions!(scatter_add_rows = scatter_add(
    table: *mut E,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    values: *const E,
    own: usize,
    of: usize,
));
