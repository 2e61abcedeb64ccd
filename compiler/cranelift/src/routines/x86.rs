//! Vectors of AVX2 and AVX-512.
//!
//! # Contract of the unsafe code
//! That of `lanes.rs`: addresses hold the numbers that are read or written, and these types are
//! named only in functions compiled for their instructions on machines that have them.
#![allow(unsafe_code, reason = "vector instructions")]

use super::lanes::{Lanes, Maps, ROOT_HALF};
use std::arch::x86_64::*;

/// Sixteen singles.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(super) __m512);

/// Eight singles.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(super) __m256);

/// One method whose body is instructions.
macro_rules! op {
    ($name:ident($($a:ident: $t:ty),*) -> $r:ty = $e:expr) => {
        #[inline(always)]
        fn $name($($a: $t),*) -> $r {
            // SAFETY: the contract above.
            unsafe { $e }
        }
    };
    (self.$name:ident($($a:ident: $t:ty),*) -> $r:ty = |$s:ident| $e:expr) => {
        #[inline(always)]
        fn $name(self, $($a: $t),*) -> $r {
            let $s = self;
            // SAFETY: the contract above.
            unsafe { $e }
        }
    };
}

/// The mask of the first `n` of sixteen lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl Lanes for Avx512 {
    type Elem = f32;
    const N: usize = 16;
    const ACCUMULATORS: usize = 16;
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the contract above.
        Self(unsafe { _mm512_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the contract above.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: the contract above; masked lanes are not touched.
        Self(unsafe { _mm512_maskz_loadu_ps(first(n), p) })
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: the contract above; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(p, first(n), self.0) }
    }
    op!(splat(x: f32) -> Self = Self(_mm512_set1_ps(x)));
    op!(self.add(b: Self) -> Self = |a| Self(_mm512_add_ps(a.0, b.0)));
    op!(self.mul(b: Self) -> Self = |a| Self(_mm512_mul_ps(a.0, b.0)));
    op!(self.fma(b: Self, c: Self) -> Self = |a| Self(_mm512_fmadd_ps(a.0, b.0, c.0)));
    op!(self.fnma(b: Self, c: Self) -> Self = |a| Self(_mm512_fnmadd_ps(a.0, b.0, c.0)));
    op!(self.max(b: Self) -> Self = |a| Self(_mm512_max_ps(a.0, b.0)));
}

impl Maps for Avx512 {
    type Mask = __mmask16;
    op!(self.sub(b: Self) -> Self = |a| Self(_mm512_sub_ps(a.0, b.0)));
    op!(self.div(b: Self) -> Self = |a| Self(_mm512_div_ps(a.0, b.0)));
    op!(self.min(b: Self) -> Self = |a| Self(_mm512_min_ps(a.0, b.0)));
    op!(self.round() -> Self = |a| Self(_mm512_roundscale_ps::<0x08>(a.0)));
    op!(self.scale(n: Self) -> Self = |a| Self(_mm512_scalef_ps(a.0, n.0)));
    op!(self.split() -> (Self, Self) = |a| {
        let root = _mm512_set1_epi32(ROOT_HALF as i32);
        let x = _mm512_sub_epi32(_mm512_castps_si512(a.0), root);
        let e = _mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(x));
        let m = _mm512_add_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0x7f_ffff)), root);
        (Self(e), Self(_mm512_castsi512_ps(m)))
    });
    op!(self.less(b: Self) -> __mmask16 = |a| _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0));
    op!(self.equal(b: Self) -> __mmask16 = |a| _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0));
    op!(select(mask: __mmask16, yes: Self, no: Self) -> Self = Self(_mm512_mask_blend_ps(mask, no.0, yes.0)));
    #[inline(always)]
    fn any(mask: __mmask16) -> bool {
        mask != 0
    }
    op!(self.and_bits(bits: u32) -> Self = |a| Self(_mm512_castsi512_ps(_mm512_and_si512(
        _mm512_castps_si512(a.0),
        _mm512_set1_epi32(bits as i32),
    ))));
    op!(self.or(b: Self) -> Self = |a| Self(_mm512_or_ps(a.0, b.0)));
    op!(self.xor(b: Self) -> Self = |a| Self(_mm512_xor_ps(a.0, b.0)));
    op!(self.shift_up_30() -> Self = |a| Self(_mm512_castsi512_ps(_mm512_slli_epi32::<30>(
        _mm512_castps_si512(a.0),
    ))));
}

/// A window of this at `8 - n` is a mask of the first `n` lanes.
static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The mask of the first `n` of eight lanes.
#[inline(always)]
fn first_of_eight(n: usize) -> __m256i {
    // SAFETY: n <= 8, so the window is inside; the contract above.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - n).cast()) }
}

impl Lanes for Avx2 {
    type Elem = f32;
    const N: usize = 8;
    const ACCUMULATORS: usize = 8;
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the contract above.
        Self(unsafe { _mm256_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the contract above.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: the contract above; masked lanes are not touched.
        Self(unsafe { _mm256_maskload_ps(p, first_of_eight(n)) })
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: the contract above; masked lanes are not touched.
        unsafe { _mm256_maskstore_ps(p, first_of_eight(n), self.0) }
    }
    op!(splat(x: f32) -> Self = Self(_mm256_set1_ps(x)));
    op!(self.add(b: Self) -> Self = |a| Self(_mm256_add_ps(a.0, b.0)));
    op!(self.mul(b: Self) -> Self = |a| Self(_mm256_mul_ps(a.0, b.0)));
    op!(self.fma(b: Self, c: Self) -> Self = |a| Self(_mm256_fmadd_ps(a.0, b.0, c.0)));
    op!(self.fnma(b: Self, c: Self) -> Self = |a| Self(_mm256_fnmadd_ps(a.0, b.0, c.0)));
    op!(self.max(b: Self) -> Self = |a| Self(_mm256_max_ps(a.0, b.0)));
}

impl Maps for Avx2 {
    type Mask = __m256;
    op!(self.sub(b: Self) -> Self = |a| Self(_mm256_sub_ps(a.0, b.0)));
    op!(self.div(b: Self) -> Self = |a| Self(_mm256_div_ps(a.0, b.0)));
    op!(self.min(b: Self) -> Self = |a| Self(_mm256_min_ps(a.0, b.0)));
    op!(self.round() -> Self = |a| Self(_mm256_round_ps::<0x08>(a.0)));
    op!(self.scale(n: Self) -> Self = |a| {
        let n = _mm256_cvtps_epi32(n.0);
        let half = _mm256_srai_epi32::<1>(n);
        let rest = _mm256_sub_epi32(n, half);
        let bias = _mm256_set1_epi32(127);
        let lower = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
        let upper = _mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias));
        let once = _mm256_mul_ps(a.0, _mm256_castsi256_ps(lower));
        Self(_mm256_mul_ps(once, _mm256_castsi256_ps(upper)))
    });
    op!(self.split() -> (Self, Self) = |a| {
        let root = _mm256_set1_epi32(ROOT_HALF as i32);
        let x = _mm256_sub_epi32(_mm256_castps_si256(a.0), root);
        let e = _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(x));
        let m = _mm256_add_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0x7f_ffff)), root);
        (Self(e), Self(_mm256_castsi256_ps(m)))
    });
    op!(self.less(b: Self) -> __m256 = |a| _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0));
    op!(self.equal(b: Self) -> __m256 = |a| _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0));
    op!(select(mask: __m256, yes: Self, no: Self) -> Self = Self(_mm256_blendv_ps(no.0, yes.0, mask)));
    op!(any(mask: __m256) -> bool = _mm256_movemask_ps(mask) != 0);
    op!(self.and_bits(bits: u32) -> Self = |a| Self(_mm256_and_ps(
        a.0,
        _mm256_castsi256_ps(_mm256_set1_epi32(bits as i32)),
    )));
    op!(self.or(b: Self) -> Self = |a| Self(_mm256_or_ps(a.0, b.0)));
    op!(self.xor(b: Self) -> Self = |a| Self(_mm256_xor_ps(a.0, b.0)));
    op!(self.shift_up_30() -> Self = |a| Self(_mm256_castsi256_ps(_mm256_slli_epi32::<30>(
        _mm256_castps_si256(a.0),
    ))));
}
