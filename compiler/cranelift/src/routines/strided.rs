//! Matrices by address and strides, and what the two precisions can do with them.
//!
//! # Contract of the unsafe code
//! Every element inside the extents a caller gives can be read, and written where it is written.
#![allow(unsafe_code, reason = "matrices are read and written by address")]

use super::lanes::Real;
use super::level::SimdLevel;
use super::product::{Product, in_registers};
use super::transpose;
use nestor_ir::artifact::Precision;
use std::cell::RefCell;

/// A matrix to read.
#[derive(Clone, Copy)]
pub(super) struct Matrix<E> {
    pub(super) address: *const E,
    pub(super) row: isize,
    pub(super) column: isize,
}

/// A matrix to write.
#[derive(Clone, Copy)]
pub(super) struct MatrixMut<E> {
    pub(super) address: *mut E,
    pub(super) row: isize,
    pub(super) column: isize,
}

impl<E> Matrix<E> {
    #[inline(always)]
    pub(super) fn at(&self, i: usize, j: usize) -> *const E {
        self.address.wrapping_offset(i as isize * self.row + j as isize * self.column)
    }
    pub(super) fn from(&self, i: usize, j: usize) -> Self {
        Self { address: self.at(i, j), row: self.row, column: self.column }
    }
}

impl<E> MatrixMut<E> {
    #[inline(always)]
    pub(super) fn at(&self, i: usize, j: usize) -> *mut E {
        self.address.wrapping_offset(i as isize * self.row + j as isize * self.column)
    }
    pub(super) fn from(&self, i: usize, j: usize) -> Self {
        Self { address: self.at(i, j), row: self.row, column: self.column }
    }
}

/// A precision's ways to multiply.
pub(super) trait Numbers: Real {
    /// Below this many columns `gemm` is better than vectors along columns.
    const NARROW: usize = 2;
    /// Whether [`Numbers::product`] exists at this level.
    fn own(level: SimdLevel) -> bool;
    /// The product with contiguous columns, in registers.
    unsafe fn product(p: &Product<Self>);
    /// `f` with a row-major copy of `right [k, n]`, whose columns are contiguous.
    unsafe fn with_transposed(
        right: Matrix<Self>,
        n: usize,
        k: usize,
        level: SimdLevel,
        f: impl FnMut(Matrix<Self>),
    );

    /// The product in registers where rows are few and the depth of `right` is contiguous: the result is made
    /// turned, so that `left` and the result are transposed instead of the larger `right`.
    unsafe fn turned(p: &Product<Self>, level: SimdLevel);

    /// `out = alpha left right + beta out` on this thread, with `[m, n, k]`.
    unsafe fn gemm(
        [m, n, k]: [usize; 3],
        alpha: Self,
        left: Matrix<Self>,
        right: Matrix<Self>,
        beta: Self,
        out: MatrixMut<Self>,
    ) {
        // SAFETY: the contract above. Without reading, `out` may hold anything, NaN too.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.address,
                out.column,
                out.row,
                beta != Self::ZERO,
                left.address,
                left.column,
                left.row,
                right.address,
                right.column,
                right.row,
                beta,
                alpha,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

macro_rules! numbers {
    ($t:ty, $precision:expr, $own:expr, |$p:ident| $product:expr) => {
        impl Numbers for $t {
            #[inline(always)]
            fn own(level: SimdLevel) -> bool {
                let own: fn(SimdLevel) -> bool = $own;
                own(level)
            }
            unsafe fn product($p: &Product<Self>) {
                // SAFETY: the contract above; `own` said that the level is there.
                unsafe { $product }
            }
            unsafe fn with_transposed(
                right: Matrix<Self>,
                n: usize,
                k: usize,
                level: SimdLevel,
                mut f: impl FnMut(Matrix<Self>),
            ) {
                thread_local! {
                    static COPY: RefCell<Vec<$t>> = const { RefCell::new(Vec::new()) };
                }
                COPY.with_borrow_mut(|copy| {
                    if copy.len() < n * k {
                        copy.resize(n * k, 0.0);
                    }
                    let turn = transpose::turn::function::<$t>($precision, level);
                    // SAFETY: the copy holds n k numbers; the contract above.
                    unsafe {
                        turn(
                            right.address,
                            right.column as usize,
                            copy.as_mut_ptr(),
                            n,
                            n,
                            k,
                        );
                    }
                    f(Matrix { address: copy.as_ptr(), row: n as isize, column: 1 });
                });
            }
            unsafe fn turned(p: &Product<Self>, level: SimdLevel) {
                thread_local! {
                    static TURNED: RefCell<Vec<$t>> = const { RefCell::new(Vec::new()) };
                }
                TURNED.with_borrow_mut(|room| {
                    let (m, n, k) = (p.m, p.n, p.k);
                    if room.len() < m * (n + k) {
                        room.resize(m * (n + k), 0.0);
                    }
                    let (out, left) = room.split_at_mut(m * n);
                    let turn = transpose::turn::function::<$t>($precision, level);
                    // SAFETY: the rooms hold m n and m k numbers; the contract above.
                    unsafe {
                        let mut right = Matrix {
                            address: p.left.address,
                            row: p.left.column,
                            column: 1,
                        };
                        if p.left.row != 1 {
                            turn(
                                p.left.address,
                                p.left.row as usize,
                                left.as_mut_ptr(),
                                m,
                                m,
                                k,
                            );
                            right = Matrix {
                                address: left.as_ptr(),
                                row: m as isize,
                                column: 1,
                            };
                        }
                        let (to, row) = (p.out.address, p.out.row as usize);
                        if p.accumulate {
                            turn(to, row, out.as_mut_ptr(), m, m, n);
                        }
                        Self::product(&Product {
                            m: n,
                            n: m,
                            left: Matrix {
                                address: p.right.address,
                                row: p.right.column,
                                column: p.right.row,
                            },
                            right,
                            out: MatrixMut {
                                address: out.as_mut_ptr(),
                                row: m as isize,
                                column: 1,
                            },
                            ..*p
                        });
                        turn(out.as_ptr(), m, to, row, n, m);
                    }
                });
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")]
unsafe fn product_avx512(p: &Product<f32>) {
    // SAFETY: the contract above.
    unsafe { in_registers::<super::x86::Avx512>(p) }
}

#[cfg(target_arch = "x86_64")]
numbers!(f32, Precision::F32, |l| l == SimdLevel::Avx512, |p| product_avx512(p));
#[cfg(not(target_arch = "x86_64"))]
numbers!(f32, Precision::F32, |_| false, |p| in_registers::<f32>(p));
numbers!(f64, Precision::F64, |_| false, |p| in_registers::<f64>(p));
