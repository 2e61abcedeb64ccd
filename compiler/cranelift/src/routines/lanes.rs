//! What a vector of numbers can do, so that each routine is written once for every width.
//!
//! Every operation means the same for each lane at every width (products and sums are fused the
//! same way, minima and maxima treat NaN the same way), so the bits of a result do not depend on
//! the machine's vectors.
//!
//! # Contract of the unsafe code
//! `load` and `store` touch `N` numbers at the address, `load_first` and `store_first` the first
//! `n <= N`. A vector type is named only in functions compiled for its instructions (see
//! `level.rs`); that makes its other operations safe.
#![allow(unsafe_code, reason = "numbers are read and written by address")]

/// A real number of either precision.
pub(crate) trait Real:
    Copy + PartialOrd + std::ops::Add<Output = Self> + 'static
{
    /// 0.
    const ZERO: Self;
    /// Nearest number of this precision.
    fn of(x: f64) -> Self;
    /// As a double.
    fn double(self) -> f64;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    fn of(x: f64) -> Self {
        x as f32
    }
    fn double(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    fn of(x: f64) -> Self {
        x
    }
    fn double(self) -> f64 {
        self
    }
}

/// Numbers worked on together.
pub(crate) trait Lanes: Copy {
    /// What a lane is.
    type Elem: Real;
    /// How many lanes.
    const N: usize;
    /// How many accumulators fit the registers beside operands.
    const ACCUMULATORS: usize;
    unsafe fn load(p: *const Self::Elem) -> Self;
    unsafe fn store(self, p: *mut Self::Elem);
    /// The first `n` lanes; the others are 0.
    unsafe fn load_first(p: *const Self::Elem, n: usize) -> Self;
    unsafe fn store_first(self, p: *mut Self::Elem, n: usize);
    fn splat(x: Self::Elem) -> Self;
    fn add(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    /// `self b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `c - self b`, rounded once.
    fn fnma(self, b: Self, c: Self) -> Self;
    /// `if self > b then self else b`: b where one is NaN.
    fn max(self, b: Self) -> Self;
}

/// What transcendental maps need beside [`Lanes`].
pub(crate) trait Maps: Lanes<Elem = f32> {
    /// A condition for each lane.
    type Mask: Copy;
    fn sub(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `if self < b then self else b`: b where one is NaN.
    fn min(self, b: Self) -> Self;
    /// Nearest whole number, ties to even.
    fn round(self) -> Self;
    /// `self 2^n`, rounded once; `n` whole, of magnitude at most 250.
    fn scale(self, n: Self) -> Self;
    /// `(e, m)` with `self = m 2^e` and `m` from `sqrt(1/2)` to `sqrt(2)`; for positive normal numbers.
    fn split(self) -> (Self, Self);
    fn less(self, b: Self) -> Self::Mask;
    fn equal(self, b: Self) -> Self::Mask;
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    fn any(mask: Self::Mask) -> bool;
    fn and_bits(self, bits: u32) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    /// The bits moved up by 30.
    fn shift_up_30(self) -> Self;

    #[inline(always)]
    fn abs(self) -> Self {
        self.and_bits(0x7fff_ffff)
    }
    /// The sign bit alone.
    #[inline(always)]
    fn sign_bit(self) -> Self {
        self.and_bits(0x8000_0000)
    }
    /// `c[0] x^k + c[1] x^(k-1) + ...`.
    #[inline(always)]
    fn poly<const K: usize>(self, c: [f32; K]) -> Self {
        let mut y = Self::splat(c[0]);
        let mut i = 1;
        while i < K {
            y = y.fma(self, Self::splat(c[i]));
            i += 1;
        }
        y
    }
}

macro_rules! scalar_lanes {
    ($t:ty) => {
        impl Lanes for $t {
            type Elem = $t;
            const N: usize = 1;
            const ACCUMULATORS: usize = 8;
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the contract above.
                unsafe { p.read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the contract above.
                unsafe { p.write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $t, n: usize) -> Self {
                // SAFETY: the contract above.
                if n == 0 { 0.0 } else { unsafe { p.read_unaligned() } }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                if n != 0 {
                    // SAFETY: the contract above.
                    unsafe { p.write_unaligned(self) }
                }
            }
            #[inline(always)]
            fn splat(x: $t) -> Self {
                x
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self + b
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self * b
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn fnma(self, b: Self, c: Self) -> Self {
                (-self).mul_add(b, c)
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                if self > b { self } else { b }
            }
        }
    };
}
scalar_lanes!(f32);
scalar_lanes!(f64);

/// `2^n` for whole n of magnitude at most 126.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

impl Maps for f32 {
    type Mask = bool;
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self - b
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self / b
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        if self < b { self } else { b }
    }
    #[inline(always)]
    fn round(self) -> Self {
        self.round_ties_even()
    }
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        // In two steps, of which only the second can leave the normal range.
        let n = n as i32;
        let half = n >> 1;
        self * power_of_two(half) * power_of_two(n - half)
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let x = self.to_bits().wrapping_sub(ROOT_HALF);
        let e = (x as i32) >> 23;
        (e as f32, f32::from_bits((x & 0x7f_ffff) + ROOT_HALF))
    }
    #[inline(always)]
    fn less(self, b: Self) -> bool {
        self < b
    }
    #[inline(always)]
    fn equal(self, b: Self) -> bool {
        self == b
    }
    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }
    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
    #[inline(always)]
    fn and_bits(self, bits: u32) -> Self {
        f32::from_bits(self.to_bits() & bits)
    }
    #[inline(always)]
    fn or(self, b: Self) -> Self {
        f32::from_bits(self.to_bits() | b.to_bits())
    }
    #[inline(always)]
    fn xor(self, b: Self) -> Self {
        f32::from_bits(self.to_bits() ^ b.to_bits())
    }
    #[inline(always)]
    fn shift_up_30(self) -> Self {
        f32::from_bits(self.to_bits() << 30)
    }
}

/// The bits of the single next to `sqrt(1/2)`.
pub(crate) const ROOT_HALF: u32 = 0x3f35_04f3;
