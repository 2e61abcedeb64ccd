//! The plain meaning of every routine: what faster ones are compared with, and what runs where
//! nothing faster exists.
//!
//! # Contract of the unsafe code
//! Addresses name as many elements as the counts say, writable where they are written, and
//! results do not overlap operands except where they are the same address.
#![allow(unsafe_code, reason = "routines are called by address from compiled code")]

use nestor_ir::interpret::math;
use std::slice;

/// A real number of either precision.
pub(crate) trait Real: Copy + 'static {
    /// From a double.
    fn of(x: f64) -> Self;
    /// As a double.
    fn double(self) -> f64;
}
impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn double(self) -> f64 {
        f64::from(self)
    }
}
impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn double(self) -> f64 {
        self
    }
}

macro_rules! unary {
    ($name:ident, $f:expr) => {
        unsafe extern "C" fn $name<R: Real>(row: *mut R, n: usize) {
            // SAFETY: the contract above.
            for x in unsafe { slice::from_raw_parts_mut(row, n) } {
                let f: fn(f64) -> f64 = $f;
                *x = R::of(f(x.double()));
            }
        }
    };
}
unary!(exp, f64::exp);
unary!(log, f64::ln);
unary!(sin, f64::sin);
unary!(cos, f64::cos);
unary!(tanh, f64::tanh);
unary!(erf, math::erf);
unary!(sigmoid, math::sigmoid);
unary!(softplus, math::softplus);

unsafe extern "C" fn pow<R: Real>(base: *mut R, exponent: *const R, n: usize) {
    for i in 0..n {
        // SAFETY: the contract above.
        unsafe {
            *base.add(i) =
                R::of((*base.add(i)).double().powf((*exponent.add(i)).double()));
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the parameters of a matrix product")]
unsafe extern "C" fn product<R: Real>(
    m: usize,
    n: usize,
    k: usize,
    alpha: f64,
    left: *const R,
    left_row: isize,
    left_column: isize,
    right: *const R,
    right_row: isize,
    right_column: isize,
    out: *mut R,
    out_row: isize,
    out_column: isize,
    accumulate: usize,
    shape: usize,
) {
    for i in 0..m {
        for j in 0..n {
            let depth = match shape {
                1 if j > i => 0..0,
                2 => 0..k.min(i + 1),
                3 => i.min(k)..k,
                _ => 0..k,
            };
            let mut sum = 0.0;
            for l in depth {
                // SAFETY: the contract above.
                sum += unsafe {
                    let a = left.offset(i as isize * left_row + l as isize * left_column);
                    let b =
                        right.offset(l as isize * right_row + j as isize * right_column);
                    (*a).double() * (*b).double()
                };
            }
            // SAFETY: the contract above.
            unsafe {
                let to = out.offset(i as isize * out_row + j as isize * out_column);
                let old = if accumulate != 0 { (*to).double() } else { 0.0 };
                *to = R::of(old + alpha * sum);
            }
        }
    }
}

unsafe extern "C" fn solve_unit_lower<R: Real>(
    lower: *const R,
    x: *mut R,
    n: usize,
    m: usize,
    transpose: usize,
) {
    for step in 0..n {
        let i = if transpose == 0 { step } else { n - 1 - step };
        let others = if transpose == 0 { 0..i } else { i + 1..n };
        for c in 0..m {
            let mut sum = 0.0;
            for j in others.clone() {
                let at = if transpose == 0 { i * n + j } else { j * n + i };
                // SAFETY: the contract above.
                sum +=
                    unsafe { (*lower.add(at)).double() * (*x.add(j * m + c)).double() };
            }
            // SAFETY: the contract above.
            unsafe {
                let to = x.add(i * m + c);
                *to = R::of((*to).double() - sum);
            }
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the parameters of a scan")]
unsafe extern "C" fn linear_scan<R: Real>(
    a: *const R,
    b: *const R,
    init: *const R,
    y: *mut R,
    steps: usize,
    n: usize,
    m: usize,
    reverse: usize,
) {
    let mut before = init;
    for step in 0..steps {
        let t = if reverse == 0 { step } else { steps - 1 - step };
        for i in 0..n {
            for c in 0..m {
                // SAFETY: the contract above.
                unsafe {
                    let mut sum = (*b.add((t * n + i) * m + c)).double();
                    for j in 0..n {
                        sum += (*a.add((t * n + i) * n + j)).double()
                            * (*before.add(j * m + c)).double();
                    }
                    *y.add((t * n + i) * m + c) = R::of(sum);
                }
            }
        }
        // SAFETY: the contract above.
        before = unsafe { y.add(t * n * m) };
    }
}

unsafe extern "C" fn gather_rows<R: Real>(
    table: *const R,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    out: *mut R,
) {
    for r in 0..count {
        // SAFETY: the contract above.
        unsafe {
            let i = *index.offset(r as isize * stride);
            let to = slice::from_raw_parts_mut(out.add(r * width), width);
            match usize::try_from(i) {
                Ok(i) if i < rows => {
                    to.copy_from_slice(slice::from_raw_parts(
                        table.add(i * width),
                        width,
                    ));
                }
                _ => to.fill(R::of(0.0)),
            }
        }
    }
}

unsafe extern "C" fn scatter_add_rows<R: Real>(
    table: *mut R,
    rows: usize,
    index: *const i32,
    stride: isize,
    count: usize,
    width: usize,
    values: *const R,
    own: usize,
    of: usize,
) {
    for r in 0..count {
        // SAFETY: the contract above.
        unsafe {
            let i = *index.offset(r as isize * stride);
            let i = usize::try_from(i).ok().filter(|i| *i < rows && i % of == own);
            let Some(i) = i else { continue };
            for c in 0..width {
                let to = table.add(i * width + c);
                *to = R::of((*to).double() + (*values.add(r * width + c)).double());
            }
        }
    }
}

unsafe extern "C" fn transpose<R: Real>(
    source: *const R,
    source_stride: usize,
    target: *mut R,
    target_stride: usize,
    rows: usize,
    columns: usize,
) {
    for i in 0..rows {
        for j in 0..columns {
            // SAFETY: the contract above.
            unsafe {
                *target.add(j * target_stride + i) = *source.add(i * source_stride + j)
            };
        }
    }
}

/// Names and addresses.
pub(crate) fn table<R: Real>() -> Vec<(&'static str, *const u8)> {
    vec![
        ("exp", exp::<R> as *const u8),
        ("log", log::<R> as *const u8),
        ("sin", sin::<R> as *const u8),
        ("cos", cos::<R> as *const u8),
        ("tanh", tanh::<R> as *const u8),
        ("erf", erf::<R> as *const u8),
        ("sigmoid", sigmoid::<R> as *const u8),
        ("softplus", softplus::<R> as *const u8),
        ("pow", pow::<R> as *const u8),
        ("transpose", transpose::<R> as *const u8),
        ("product", product::<R> as *const u8),
        ("solve_unit_lower", solve_unit_lower::<R> as *const u8),
        ("linear_scan", linear_scan::<R> as *const u8),
        ("gather_rows", gather_rows::<R> as *const u8),
        ("scatter_add_rows", scatter_add_rows::<R> as *const u8),
    ]
}
