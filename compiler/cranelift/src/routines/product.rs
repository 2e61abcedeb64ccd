//! `out = alpha left right (+ out)` for the matrices of a chunk, with strides and known zeros.
//!
//! Small products in single precision on AVX-512 run here: 8x48, 8x32, 8x16 or 4x64 numbers of the
//! result in registers, blocks that are zero or not wanted skipped, which the kernels of chunks
//! live on. Everything else goes to `gemm` on this thread, in strips of rows where skipping pays.
//! A right operand whose columns are contiguous is transposed first, because reading it through
//! strides costs more; where it is larger than the other two, these are transposed instead.
//!
//! # Contract of the unsafe code
//! With the given extents and strides `left [m, k]` and `right [k, n]` can be read and `out
//! [m, n]` written, and `out` overlaps neither.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers unroll only with constant bounds"
)]
#![allow(clippy::too_many_arguments, reason = "the parameters of a matrix product")]

use super::lanes::{Lanes, Real};
use super::level::SimdLevel;
use super::strided::{Matrix, MatrixMut, Numbers};
use nestor_ir::artifact::Precision;
use std::slice::from_raw_parts_mut;

/// What is zero or not wanted, as compiled code passes it.
pub(crate) const FULL: usize = 0;
/// Above the diagonal the result is not wanted: zero is written there, or it is left when accumulating.
pub(crate) const OUTPUT_LOWER: usize = 1;
/// The left operand is zero above its diagonal.
pub(crate) const LEFT_LOWER: usize = 2;
/// The left operand is zero below its diagonal.
pub(crate) const LEFT_UPPER: usize = 3;

/// One product.
#[derive(Clone, Copy)]
pub(super) struct Product<E> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) alpha: E,
    pub(super) left: Matrix<E>,
    pub(super) right: Matrix<E>,
    pub(super) out: MatrixMut<E>,
    pub(super) accumulate: bool,
    pub(super) shape: usize,
}

impl<E> Product<E> {
    /// Depths that can contribute to rows `i .. i + rows`.
    #[inline(always)]
    fn depths(&self, i: usize, rows: usize) -> (usize, usize) {
        match self.shape {
            LEFT_LOWER => (0, self.k.min(i + rows)),
            LEFT_UPPER => (i.min(self.k), self.k),
            _ => (0, self.k),
        }
    }
}

/// Where `gemm`'s packing starts to pay.
const LARGE: usize = 160 * 160 * 160;
/// Depth of one pass: a panel of 48 columns of this depth stays in the first cache.
const DEPTH: usize = 128;

/// Rows `i .. i + R`, V vectors of columns from `at` of which `width` count, depths `from .. to`.
/// With `lower`, columns beyond a row's diagonal are not stored.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const V: usize>(
    p: &Product<L::Elem>,
    (i, at, width): (usize, usize, usize),
    (from, to): (usize, usize),
    accumulate: bool,
    lower: bool,
) {
    let part = |v: usize, width: usize| width.saturating_sub(v * L::N).min(L::N);
    let mut sum = [[L::splat(L::Elem::ZERO); V]; R];
    // Rows are reached from two addresses and three multiples of the stride: more addresses would
    // not fit the registers.
    let (row, step) = (p.left.row, p.left.column);
    let mut a = p.left.at(i, from);
    let mut b = p.right.at(from, at);
    for _ in from..to {
        let far = a.wrapping_offset(4 * row);
        let mut right = [L::splat(L::Elem::ZERO); V];
        // SAFETY: row i + r < m, depth < to <= k, columns below at + width <= n.
        unsafe {
            for v in 0..V {
                right[v] = L::load_first(b.wrapping_add(v * L::N), part(v, width));
            }
            for r in 0..R {
                let base = if r < 4 { a } else { far };
                let c = L::splat(*base.wrapping_offset((r % 4) as isize * row));
                for v in 0..V {
                    sum[r][v] = c.fma(right[v], sum[r][v]);
                }
            }
        }
        a = a.wrapping_offset(step);
        b = b.wrapping_offset(p.right.row);
    }
    let alpha = L::splat(p.alpha);
    for r in 0..R {
        let width = if lower { width.min((i + r + 1).saturating_sub(at)) } else { width };
        for v in 0..V {
            let to = p.out.at(i + r, at + v * L::N);
            // SAFETY: as above.
            unsafe {
                let y = if accumulate {
                    alpha.fma(sum[r][v], L::load_first(to, part(v, width)))
                } else {
                    alpha.mul(sum[r][v])
                };
                y.store_first(to, part(v, width));
            }
        }
    }
}

/// All rows for one panel of columns.
#[inline(always)]
unsafe fn panel<L: Lanes, const R: usize, const V: usize>(
    p: &Product<L::Elem>,
    at: usize,
    width: usize,
) {
    let mut i = 0;
    // SAFETY: as for `tile`.
    unsafe {
        while i + R <= p.m {
            rows::<L, R, V>(p, i, at, width);
            i += R;
        }
        while R > 4 && i + 4 <= p.m {
            rows::<L, 4, V>(p, i, at, width);
            i += 4;
        }
        while i < p.m {
            rows::<L, 1, V>(p, i, at, width);
            i += 1;
        }
    }
}

/// R rows of a panel: the passes over the depth, or nothing where the result is not wanted.
#[inline(always)]
unsafe fn rows<L: Lanes, const R: usize, const V: usize>(
    p: &Product<L::Elem>,
    i: usize,
    at: usize,
    width: usize,
) {
    let cut = p.shape == OUTPUT_LOWER && at + width > i + 1;
    if cut && at >= i + R {
        return;
    }
    let (mut from, end) = p.depths(i, R);
    let mut accumulate = p.accumulate;
    loop {
        let to = end.min(from + DEPTH);
        // SAFETY: as for `tile`. Whole panels have constant widths, whether cut or not.
        unsafe {
            if width == V * L::N && !cut {
                tile::<L, R, V>(p, (i, at, V * L::N), (from, to), accumulate, false);
            } else if width == V * L::N {
                tile::<L, R, V>(p, (i, at, V * L::N), (from, to), accumulate, true);
            } else {
                tile::<L, R, V>(p, (i, at, width), (from, to), accumulate, cut);
            }
        }
        if to >= end {
            break;
        }
        from = to;
        accumulate = true;
    }
}

/// The part of a product on and below the diagonal: rows by rows, each with as many columns as it
/// has on that side.
#[inline(always)]
unsafe fn lower_in_registers<L: Lanes>(p: &Product<L::Elem>) {
    let mut i = 0;
    while i < p.m {
        let height = if i + 8 <= p.m { 8 } else { 1 };
        let wanted = p.n.min(i + height);
        let mut at = 0;
        while at < wanted {
            // Four vectors are two and two: eight rows of four would not fit the registers.
            let vectors = match (wanted - at).div_ceil(L::N) {
                4 => 2,
                more => more.min(3),
            };
            let width = (p.n - at).min(vectors * L::N);
            // SAFETY: i + height <= m and at + width <= n; the contract above.
            unsafe {
                match (height, vectors) {
                    (8, 1) => rows::<L, 8, 1>(p, i, at, width),
                    (8, 2) => rows::<L, 8, 2>(p, i, at, width),
                    (8, _) => rows::<L, 8, 3>(p, i, at, width),
                    (_, 1) => rows::<L, 1, 1>(p, i, at, width),
                    (_, 2) => rows::<L, 1, 2>(p, i, at, width),
                    (_, _) => rows::<L, 1, 3>(p, i, at, width),
                }
            }
            at += width;
        }
        i += height;
    }
}

/// The product with columns of `right` and `out` contiguous.
#[inline(always)]
pub(super) unsafe fn in_registers<L: Lanes>(p: &Product<L::Elem>) {
    if p.shape == OUTPUT_LOWER {
        // SAFETY: the contract above.
        return unsafe { lower_in_registers::<L>(p) };
    }
    let mut at = 0;
    while at < p.n {
        let left = p.n - at;
        let vectors = left.div_ceil(L::N);
        let width = left.min(L::N * if vectors == 4 { 4 } else { vectors.min(3) });
        // SAFETY: at + width <= n; the contract above.
        unsafe {
            match vectors {
                1 => panel::<L, 8, 1>(p, at, width),
                2 => panel::<L, 8, 2>(p, at, width),
                4 => panel::<L, 4, 4>(p, at, width),
                _ => panel::<L, 8, 3>(p, at, width),
            }
        }
        at += width;
    }
}

/// The part of the result above the diagonal becomes zero.
unsafe fn clear_above<E: Real>(p: &Product<E>) {
    for i in 0..p.m.min(p.n) {
        if p.out.column == 1 {
            // SAFETY: the rest of row i, contiguous.
            let row = unsafe { from_raw_parts_mut(p.out.at(i, i), p.n - i) };
            row[1..].fill(E::ZERO);
        } else {
            for j in i + 1..p.n {
                // SAFETY: i < m, j < n.
                unsafe { *p.out.at(i, j) = E::ZERO };
            }
        }
    }
}

/// Rows of a strip where `gemm` skips zeros.
const STRIP: usize = 32;

/// The product through `gemm`.
unsafe fn by_gemm<E: Numbers>(p: &Product<E>) {
    let strip = if p.shape == FULL { p.m.max(1) } else { STRIP };
    let mut i = 0;
    while i < p.m {
        let rows = strip.min(p.m - i);
        let (from, to) = p.depths(i, rows);
        let columns = if p.shape == OUTPUT_LOWER { p.n.min(i) } else { p.n };
        let (left, right) = (p.left.from(i, from), p.right.from(from, 0));
        // SAFETY: a part of the product; the contract above.
        unsafe {
            let extents = [rows, columns, to.saturating_sub(from)];
            let beta = if p.accumulate { E::of(1.0) } else { E::ZERO };
            E::gemm(extents, p.alpha, left, right, beta, p.out.from(i, 0));
            if p.shape == OUTPUT_LOWER {
                diagonal(p, i, rows);
            }
        }
        i += rows;
    }
}

/// The square of the result on the diagonal from row `i`, its lower part only.
unsafe fn diagonal<E: Numbers>(p: &Product<E>, i: usize, rows: usize) {
    let size = rows.min(p.n.saturating_sub(i));
    if size == 0 {
        return;
    }
    let mut square = [E::ZERO; STRIP * STRIP];
    let to = MatrixMut { address: square.as_mut_ptr(), row: STRIP as isize, column: 1 };
    // SAFETY: size <= STRIP; rows below `rows` belong to the strip even where columns end.
    unsafe {
        let extents = [rows, size, p.k];
        E::gemm(extents, p.alpha, p.left.from(i, 0), p.right.from(0, i), E::ZERO, to);
        for r in 0..rows {
            for c in 0..size.min(r + 1) {
                let (out, y) = (p.out.at(i + r, i + c), *to.at(r, c));
                *out = if p.accumulate { *out + y } else { y };
            }
        }
    }
}

/// Chooses how the product runs.
unsafe fn run<E: Numbers>(mut p: Product<E>, level: SimdLevel) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    if p.shape == OUTPUT_LOWER && !p.accumulate {
        // SAFETY: the contract above.
        unsafe { clear_above(&p) };
    }
    let small = p.m * p.n * p.k <= LARGE && p.n >= E::NARROW;
    let right = p.right;
    // A right operand with contiguous columns is worth transposing when it is used often enough.
    let turn = right.column != 1 && right.row == 1 && p.m >= 4;
    let sides = p.left.column == 1 || p.left.row == 1;
    let few = turn && sides && p.shape == FULL && p.m * (p.n + p.k) < p.n * p.k;
    // SAFETY: the contract above; the transposed copy is [k, n].
    unsafe {
        if small && p.out.column == 1 && few && E::own(level) {
            E::turned(&p, level);
        } else if small
            && p.out.column == 1
            && (right.column == 1 || turn)
            && E::own(level)
        {
            if right.column == 1 {
                E::product(&p);
            } else {
                E::with_transposed(right, p.n, p.k, level, |copy| {
                    p.right = copy;
                    E::product(&p);
                });
            }
        } else if turn && p.m * p.n * p.k <= LARGE {
            E::with_transposed(right, p.n, p.k, level, |copy| {
                p.right = copy;
                by_gemm(&p);
            });
        } else {
            by_gemm(&p);
        }
    }
}

macro_rules! entry {
    ($name:ident, $e:ty, $level:expr) => {
        unsafe extern "C" fn $name(
            m: usize,
            n: usize,
            k: usize,
            alpha: f64,
            left: *const $e,
            left_row: isize,
            left_column: isize,
            right: *const $e,
            right_row: isize,
            right_column: isize,
            out: *mut $e,
            out_row: isize,
            out_column: isize,
            accumulate: usize,
            shape: usize,
        ) {
            let p = Product {
                m,
                n,
                k,
                alpha: <$e>::of(alpha),
                left: Matrix { address: left, row: left_row, column: left_column },
                right: Matrix { address: right, row: right_row, column: right_column },
                out: MatrixMut { address: out, row: out_row, column: out_column },
                accumulate: accumulate != 0,
                shape,
            };
            // SAFETY: the contract above.
            unsafe { run(p, $level) }
        }
    };
}
entry!(single_avx512, f32, SimdLevel::Avx512);
entry!(single_avx2, f32, SimdLevel::Avx2);
entry!(single_scalar, f32, SimdLevel::Scalar);
entry!(double, f64, SimdLevel::Scalar);

/// Where the product for this precision and level is.
pub(crate) fn address(precision: Precision, level: SimdLevel) -> *const u8 {
    match (precision, level) {
        (Precision::F32, SimdLevel::Avx512) => single_avx512 as *const u8,
        (Precision::F32, SimdLevel::Avx2) => single_avx2 as *const u8,
        (Precision::F32, SimdLevel::Scalar) => single_scalar as *const u8,
        (Precision::F64, _) => double as *const u8,
    }
}
