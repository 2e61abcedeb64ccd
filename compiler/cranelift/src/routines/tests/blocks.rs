//! Products, solves, scans, transposition, rows and reductions, at sizes that divide nothing.
#![allow(unsafe_code, reason = "routines are called by address")]
#![allow(clippy::too_many_arguments, reason = "the parameters of the routines")]

use super::{address, distance, levels, noise, plain_address, singles};
use crate::routines::SimdLevel;
use nestor_ir::artifact::Precision;
use std::mem::transmute;

pub(super) type Product<E> = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    f64,
    *const E,
    isize,
    isize,
    *const E,
    isize,
    isize,
    *mut E,
    isize,
    isize,
    usize,
    usize,
);
pub(super) type Solve<E> = unsafe extern "C" fn(*const E, *mut E, usize, usize, usize);
type Scan<E> = unsafe extern "C" fn(
    *const E,
    *const E,
    *const E,
    *mut E,
    usize,
    usize,
    usize,
    usize,
);
type Transpose = unsafe extern "C" fn(*const f32, usize, *mut f32, usize, usize, usize);
type Scale =
    unsafe extern "C" fn(*const f32, *const f32, usize, *mut f32, usize, usize, usize);
type Fold = unsafe extern "C" fn(*const f32, usize, *mut f32);

/// Extents of products: tails of every block, deep ones, large ones.
const EXTENTS: &[[usize; 3]] = &[
    [1, 1, 1],
    [3, 1, 7],
    [1, 17, 5],
    [8, 48, 16],
    [13, 47, 9],
    [32, 64, 64],
    [33, 66, 65],
    [64, 64, 64],
    [37, 131, 300],
    [70, 70, 70],
    [65, 20, 40],
    [20, 65, 40],
    [16, 64, 100],
    [5, 70, 33],
    [200, 170, 190],
    [5, 16, 0],
];

/// `(row stride, column stride)` of a matrix, contiguous along columns, or along rows, with padding.
fn strides(rows: usize, columns: usize, turned: bool) -> (isize, isize) {
    if turned { (1, rows as isize + 3) } else { (columns as isize + 5, 1) }
}

#[test]
fn products_of_any_strides_and_shapes() {
    let room = 220 * 320;
    let (left, right, out) = (noise(room, 1), noise(room, 2), noise(room, 3));
    for extents in EXTENTS {
        for case in 0..64 {
            let [m, n, k] = *extents;
            let (shape, accumulate) = (case % 4, case / 4 % 2);
            let l = strides(m, k, case & 8 != 0);
            let r = strides(k, n, case & 16 != 0);
            let o = strides(m, n, case & 32 != 0);
            let mut left = left.clone();
            for i in 0..m {
                for j in 0..k {
                    // The zeros that a shape promises are there.
                    if shape == 2 && j > i || shape == 3 && j < i {
                        left[(i as isize * l.0 + j as isize * l.1) as usize] = 0.0;
                    }
                }
            }
            let mut wanted = out.clone();
            // SAFETY: 64 numbers of padding at most beyond 200 x 300 in room.
            unsafe {
                let f = transmute::<*const u8, Product<f64>>(plain_address("product"));
                #[rustfmt::skip]
                f(m, n, k, -0.5, left.as_ptr(), l.0, l.1, right.as_ptr(), r.0, r.1,
                  wanted.as_mut_ptr(), o.0, o.1, accumulate, shape);
            }
            let name = format!("{extents:?} case {case}");
            for level in levels() {
                let (a, b, mut c) = (singles(&left), singles(&right), singles(&out));
                let mut d = out.clone();
                // SAFETY: as above.
                unsafe {
                    let f = address("product", Precision::F32, level);
                    #[rustfmt::skip]
                    transmute::<*const u8, Product<f32>>(f)(
                        m, n, k, -0.5, a.as_ptr(), l.0, l.1, b.as_ptr(), r.0, r.1,
                        c.as_mut_ptr(), o.0, o.1, accumulate, shape);
                    let f = address("product", Precision::F64, level);
                    #[rustfmt::skip]
                    transmute::<*const u8, Product<f64>>(f)(
                        m, n, k, -0.5, left.as_ptr(), l.0, l.1, right.as_ptr(), r.0, r.1,
                        d.as_mut_ptr(), o.0, o.1, accumulate, shape);
                }
                let off = distance(c.iter().map(|x| f64::from(*x)), &wanted);
                assert!(off < 2e-6, "{name} {}: {off:e}", level.name());
                let off = distance(d.iter().copied(), &wanted);
                assert!(off < 1e-14, "{name} double: {off:e}");
            }
        }
    }
}

#[test]
fn solves_with_the_matrix_and_its_transposed() {
    for (n, m) in
        [(1, 1), (7, 3), (16, 16), (32, 64), (33, 70), (64, 131), (50, 24), (9, 0)]
    {
        for transpose in [0, 1] {
            let mut lower = noise(n * n, 4);
            lower.iter_mut().for_each(|x| *x *= 0.3);
            let x = noise(n * m, 5);
            let mut wanted = x.clone();
            // SAFETY: [n, n] and [n, m].
            unsafe {
                let f =
                    transmute::<*const u8, Solve<f64>>(plain_address("solve_unit_lower"));
                f(lower.as_ptr(), wanted.as_mut_ptr(), n, m, transpose);
            }
            // What is not below the diagonal must not be read.
            for i in 0..n {
                lower[i * n + i..(i + 1) * n].fill(f64::NAN);
            }
            let mut bits = None;
            for level in levels() {
                let (l, mut y) = (singles(&lower), singles(&x));
                let mut z = x.clone();
                // SAFETY: as above.
                unsafe {
                    let f = address("solve_unit_lower", Precision::F32, level);
                    transmute::<*const u8, Solve<f32>>(f)(
                        l.as_ptr(),
                        y.as_mut_ptr(),
                        n,
                        m,
                        transpose,
                    );
                    let f = address("solve_unit_lower", Precision::F64, level);
                    transmute::<*const u8, Solve<f64>>(f)(
                        lower.as_ptr(),
                        z.as_mut_ptr(),
                        n,
                        m,
                        transpose,
                    );
                }
                let off = distance(y.iter().map(|x| f64::from(*x)), &wanted);
                assert!(off < 1e-5, "[{n}, {m}] {transpose} {}: {off:e}", level.name());
                let off = distance(z.into_iter(), &wanted);
                assert!(off < 1e-13, "[{n}, {m}] {transpose} double: {off:e}");
                let found: Vec<u32> = y.iter().map(|x| x.to_bits()).collect();
                assert_eq!(*bits.get_or_insert(found.clone()), found, "{}", level.name());
            }
        }
    }
}

#[test]
fn scans_run_both_ways() {
    for slots in 1..6 {
        for (steps, columns) in [(1, 1), (7, 16), (12, 150), (5, 33), (9, 64)] {
            for reverse in [0, 1] {
                let a = noise(steps * slots * slots, 6);
                let b = noise(steps * slots * columns, 7);
                let init = noise(slots * columns, 8);
                let mut wanted = vec![0.0; b.len()];
                let run = |f: *const u8, y: &mut [f64]| {
                    // SAFETY: [steps, slots, slots], [steps, slots, columns], [slots, columns].
                    unsafe {
                        let f = transmute::<*const u8, Scan<f64>>(f);
                        #[rustfmt::skip]
                        f(a.as_ptr(), b.as_ptr(), init.as_ptr(), y.as_mut_ptr(),
                          steps, slots, columns, reverse);
                    }
                };
                run(plain_address("linear_scan"), &mut wanted);
                let mut bits = None;
                for level in levels() {
                    let mut double = vec![0.0; b.len()];
                    run(address("linear_scan", Precision::F64, level), &mut double);
                    assert!(distance(double.into_iter(), &wanted) < 1e-14);
                    let (a, b, init) = (singles(&a), singles(&b), singles(&init));
                    let mut y = vec![0f32; b.len()];
                    // SAFETY: as above.
                    unsafe {
                        let f = address("linear_scan", Precision::F32, level);
                        #[rustfmt::skip]
                        transmute::<*const u8, Scan<f32>>(f)(
                            a.as_ptr(), b.as_ptr(), init.as_ptr(), y.as_mut_ptr(),
                            steps, slots, columns, reverse);
                    }
                    let off = distance(y.iter().map(|x| f64::from(*x)), &wanted);
                    assert!(off < 2e-6, "{slots} {steps} {columns} {reverse}: {off:e}");
                    let found: Vec<u32> = y.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(*bits.get_or_insert(found.clone()), found);
                }
            }
        }
    }
}

/// Runs a transposition, or a scaling of rows by 3, 4, ..., between strided matrices.
fn strided(level: SimdLevel, name: &str, rows: usize, columns: usize) {
    let (from_stride, across) = (columns + 3, name == "transpose");
    let (height, width) = if across { (columns, rows) } else { (rows, columns) };
    let to_stride = width + 2;
    let source: Vec<f32> = (0..rows * from_stride).map(|x| x as f32).collect();
    let factor: Vec<f32> = (0..rows).map(|x| x as f32 + 3.0).collect();
    let mut target = vec![-1f32; height * to_stride];
    let f = address(name, Precision::F32, level);
    // SAFETY: the signature of each name; the matrices have these extents and strides.
    unsafe {
        let (s, t) = (source.as_ptr(), target.as_mut_ptr());
        if name == "scale_rows" {
            let f = transmute::<*const u8, Scale>(f);
            f(factor.as_ptr(), s, from_stride, t, to_stride, rows, columns);
        } else {
            transmute::<*const u8, Transpose>(f)(
                s,
                from_stride,
                t,
                to_stride,
                rows,
                columns,
            );
        }
    }
    for i in 0..height {
        for j in 0..to_stride {
            let (a, b) = if across { (j, i) } else { (i, j) };
            let by = if name == "scale_rows" { factor[i] } else { 1.0 };
            let wanted = if j < width { by * source[a * from_stride + b] } else { -1.0 };
            let found = target[i * to_stride + j];
            assert!(found == wanted, "{name} [{rows}, {columns}] at {i}, {j}: {found}");
        }
    }
}

#[test]
fn strided_rows_are_copied_scaled_and_turned() {
    for level in levels() {
        for (rows, columns) in
            [(1, 1), (16, 16), (17, 31), (64, 64), (5, 40), (40, 5), (33, 16)]
        {
            for name in ["transpose", "copy_rows", "scale_rows"] {
                strided(level, name, rows, columns);
            }
        }
    }
}

#[test]
fn folds_do_not_depend_on_the_level() {
    for n in [0, 1, 15, 16, 17, 100, 1003] {
        let x = singles(&noise(n, 9));
        for (name, wanted) in [
            ("sum", x.iter().map(|x| f64::from(*x)).sum::<f64>()),
            ("max", x.iter().fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)))),
        ] {
            let mut bits = None;
            for level in levels() {
                let mut y = 0f32;
                // SAFETY: n numbers.
                unsafe {
                    let f = address(name, Precision::F32, level);
                    transmute::<*const u8, Fold>(f)(x.as_ptr(), n, &raw mut y);
                }
                let near = f64::from(y) == wanted || (f64::from(y) - wanted).abs() < 1e-4;
                assert!(near, "{name} of {n}: {y}, not {wanted}");
                assert_eq!(*bits.get_or_insert(y.to_bits()), y.to_bits());
            }
        }
    }
}

#[test]
fn products_of_layers() {
    let (left, right, out) =
        (noise(300 * 200, 1), noise(200 * 300, 2), noise(300 * 300, 3));
    for ([m, n, k], accumulate) in [
        ([300, 70, 200], true),
        ([70, 300, 200], false),
        ([5, 5, 5], true),
        ([0, 5, 5], true),
    ] {
        let (l, r, o) = ((k as isize, 1), (1, k as isize), (n as isize, 1));
        let mut wanted = out.clone();
        let mut found = out.clone();
        // SAFETY: the matrices are contiguous with these extents.
        unsafe {
            let f = transmute::<*const u8, Product<f64>>(plain_address("product"));
            #[rustfmt::skip]
            f(m, n, k, 1.5, left.as_ptr(), l.0, l.1, right.as_ptr(), r.0, r.1,
              wanted.as_mut_ptr(), o.0, o.1, accumulate.into(), 0);
            let left = (left.as_ptr().cast(), l.0, l.1);
            let right = (right.as_ptr().cast(), r.0, r.1);
            let out = (found.as_mut_ptr().cast(), o.0, o.1);
            let f = crate::routines::dense;
            f(Precision::F64, [m, n, k], 1.5, left, right, out, accumulate);
        }
        assert!(distance(found.into_iter(), &wanted) < 1e-14, "{m} {n} {k}");
    }
}
