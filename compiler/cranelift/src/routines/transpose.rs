//! Transposition of a matrix: `(source, source stride, target, target stride, rows, columns)`,
//! `target[j, i] = source[i, j]`, strides between rows, columns contiguous.
//!
//! On AVX-512 sixteen rows of sixteen numbers are turned in registers; rests are the same with
//! masks. Elsewhere blocks that fit the first cache are turned one number at a time.
//!
//! # Contract of the unsafe code
//! `source [rows, columns]` can be read and `target [columns, rows]` written; they do not overlap.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use super::level::SimdLevel;
use nestor_ir::artifact::Precision;

/// One number at a time, in blocks.
unsafe extern "C" fn plain<E: Copy>(
    source: *const E,
    source_stride: usize,
    target: *mut E,
    target_stride: usize,
    rows: usize,
    columns: usize,
) {
    const BLOCK: usize = 16;
    for i0 in (0..rows).step_by(BLOCK) {
        for j0 in (0..columns).step_by(BLOCK) {
            for j in j0..columns.min(j0 + BLOCK) {
                for i in i0..rows.min(i0 + BLOCK) {
                    // SAFETY: i < rows, j < columns; the contract above.
                    unsafe {
                        *target.add(j * target_stride + i) =
                            *source.add(i * source_stride + j);
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::super::lanes::Lanes;
    use super::super::x86::Avx512;
    use std::arch::x86_64::*;

    /// Turns sixteen rows in registers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn turn(r: [__m512; 16]) -> [__m512; 16] {
        let pair = |i: usize| {
            [_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1])]
        };
        let double = |a: __m512, b: __m512| {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
            ]
        };
        // Quarter q of u[g][c] is column 4 q + c of rows 4 g .. 4 g + 4.
        let group = |g: usize| {
            let (a, b) = (pair(4 * g), pair(4 * g + 2));
            let (low, high) = (double(a[0], b[0]), double(a[1], b[1]));
            [low[0], low[1], high[0], high[1]]
        };
        let u = [group(0), group(1), group(2), group(3)];
        let mut out = r;
        for c in 0..4 {
            let v0 = _mm512_shuffle_f32x4::<0x88>(u[0][c], u[1][c]);
            let v1 = _mm512_shuffle_f32x4::<0x88>(u[2][c], u[3][c]);
            let w0 = _mm512_shuffle_f32x4::<0xdd>(u[0][c], u[1][c]);
            let w1 = _mm512_shuffle_f32x4::<0xdd>(u[2][c], u[3][c]);
            out[c] = _mm512_shuffle_f32x4::<0x88>(v0, v1);
            out[4 + c] = _mm512_shuffle_f32x4::<0x88>(w0, w1);
            out[8 + c] = _mm512_shuffle_f32x4::<0xdd>(v0, v1);
            out[12 + c] = _mm512_shuffle_f32x4::<0xdd>(w0, w1);
        }
        out
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")]
    pub(super) unsafe extern "C" fn avx512(
        source: *const f32,
        source_stride: usize,
        target: *mut f32,
        target_stride: usize,
        rows: usize,
        columns: usize,
    ) {
        for i in (0..rows).step_by(16) {
            let height = (rows - i).min(16);
            for j in (0..columns).step_by(16) {
                let width = (columns - j).min(16);
                let mut r = [_mm512_setzero_ps(); 16];
                // SAFETY: whole blocks lie inside, the others are masked; the contract above.
                unsafe {
                    let (from, to) = (
                        source.add(i * source_stride + j),
                        target.add(j * target_stride + i),
                    );
                    if height == 16 && width == 16 {
                        for (n, row) in r.iter_mut().enumerate() {
                            *row = _mm512_loadu_ps(from.add(n * source_stride));
                        }
                        for (n, row) in turn(r).into_iter().enumerate() {
                            _mm512_storeu_ps(to.add(n * target_stride), row);
                        }
                    } else {
                        for (n, row) in r.iter_mut().enumerate().take(height) {
                            *row =
                                Avx512::load_first(from.add(n * source_stride), width).0;
                        }
                        for (n, row) in turn(r).into_iter().enumerate().take(width) {
                            Avx512(row).store_first(to.add(n * target_stride), height);
                        }
                    }
                }
            }
        }
    }
}

/// Where the transposition for a precision and level is.
pub(crate) mod turn {
    use super::{Precision, SimdLevel, plain};

    /// A transposition of numbers of type E.
    pub(crate) type Turn<E> =
        unsafe extern "C" fn(*const E, usize, *mut E, usize, usize, usize);

    pub(crate) fn address(precision: Precision, level: SimdLevel) -> *const u8 {
        match (precision, level) {
            #[cfg(target_arch = "x86_64")]
            (Precision::F32, SimdLevel::Avx512) => super::wide::avx512 as *const u8,
            (Precision::F32, _) => plain::<f32> as *const u8,
            (Precision::F64, _) => plain::<f64> as *const u8,
        }
    }

    /// The same as a function; `E` is the number type of `precision`.
    pub(in super::super) fn function<E>(
        precision: Precision,
        level: SimdLevel,
    ) -> Turn<E> {
        assert_eq!(size_of::<E>(), precision.bytes(), "the number type of the precision");
        // SAFETY: both have this signature for the number type of the precision.
        unsafe { std::mem::transmute::<*const u8, Turn<E>>(address(precision, level)) }
    }
}
