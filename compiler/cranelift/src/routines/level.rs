//! Which vector units a routine is compiled for, and the macros that compile one generic body for
//! each of them.
//!
//! A body is an `#[inline(always)]` function generic in its [`super::lanes::Lanes`]; the macros
//! wrap it in one `extern "C"` function for each level, which is where the compiler learns what
//! instructions it may use.

/// How wide the vectors of this machine are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SimdLevel {
    /// One number at a time.
    Scalar,
    /// Eight at a time: AVX2 with FMA.
    Avx2,
    /// Sixteen at a time: AVX-512 F, DQ, BW and VL.
    Avx512,
}

impl SimdLevel {
    /// All levels, from the narrowest.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "AVX2+FMA",
            Self::Avx512 => "AVX-512",
        }
    }

    /// Whether this machine has it.
    pub fn is_supported(self) -> bool {
        self <= simd_level()
    }
}

/// The widest level of this machine.
pub fn simd_level() -> SimdLevel {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && avx512 {
            return SimdLevel::Avx512;
        }
        if avx2 {
            return SimdLevel::Avx2;
        }
    }
    SimdLevel::Scalar
}

/// Compiles a body generic in its lanes for every level and both precisions. In the parameter
/// list `E` is the number type. The module `$name` holds `address(precision, level)`.
macro_rules! versions {
    ($name:ident = $body:ident($($a:ident: $t:ty),* $(,)?)) => {
        $crate::routines::level::versions!(
            @module $name ($($a: $t),*) {
                (f32, f32, Avx2, Avx512, $body),
                (f64, f64, f64, f64, $body)
            }
        );
    };
    ($name:ident = $single:ident | $double:ident($($a:ident: $t:ty),* $(,)?)) => {
        $crate::routines::level::versions!(
            @module $name ($($a: $t),*) {
                (f32, f32, Avx2, Avx512, $single),
                (f64, f64, f64, f64, $double)
            }
        );
    };
    (@module $name:ident $parameters:tt {
        ($e1:ty, $s1:ident, $v1:ident, $w1:ident, $b1:ident),
        ($e2:ty, $s2:ident, $v2:ident, $w2:ident, $b2:ident)
    }) => {
        pub(crate) mod $name {
            use $crate::routines::level::SimdLevel;
            use nestor_ir::artifact::Precision;

            $crate::routines::level::versions!(@levels single $e1, $s1, $v1, $w1, $b1, $parameters);
            $crate::routines::level::versions!(@levels double $e2, $s2, $v2, $w2, $b2, $parameters);

            /// Where the version for this precision and level is.
            pub(crate) fn address(precision: Precision, level: SimdLevel) -> *const u8 {
                match precision {
                    Precision::F32 => single::address(level),
                    Precision::F64 => double::address(level),
                }
            }
        }
    };
    (@levels $mod:ident $e:ty, $s:ident, $v:ident, $w:ident, $body:ident, ($($a:ident: $t:ty),*)) => {
        pub(crate) mod $mod {
            #[allow(unused_imports, reason = "some bodies need no vector types")]
            use super::super::*;
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_imports, reason = "some bodies need no vector types")]
            use $crate::routines::x86::{Avx2, Avx512};
            use $crate::routines::level::SimdLevel;
            #[allow(dead_code, reason = "some routines have no numbers")]
            type E = $e;

            pub(crate) unsafe extern "C" fn scalar($($a: $t),*) {
                // SAFETY: the caller keeps the contract of the file.
                unsafe { $body::<$s>($($a),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            pub(crate) unsafe extern "C" fn avx2($($a: $t),*) {
                // SAFETY: as above; chosen only where the machine has these instructions.
                unsafe { $body::<$v>($($a),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")]
            pub(crate) unsafe extern "C" fn avx512($($a: $t),*) {
                // SAFETY: as above; chosen only where the machine has these instructions.
                unsafe { $body::<$w>($($a),*) }
            }

            pub(crate) fn address(level: SimdLevel) -> *const u8 {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    SimdLevel::Avx2 => avx2 as *const u8,
                    #[cfg(target_arch = "x86_64")]
                    SimdLevel::Avx512 => avx512 as *const u8,
                    #[cfg(not(target_arch = "x86_64"))]
                    SimdLevel::Avx2 | SimdLevel::Avx512 => scalar as *const u8,
                    SimdLevel::Scalar => scalar as *const u8,
                }
            }
        }
    };
}
pub(crate) use versions;
