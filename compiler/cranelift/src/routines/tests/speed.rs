//! Rates of the routines; run with `--release -- --ignored --nocapture`.
#![allow(unsafe_code, reason = "routines are called by address")]

use super::blocks::{Product, Solve};
use super::{address, levels, noise, singles};
use nestor_ir::artifact::Precision;
use std::mem::transmute;
use std::time::Instant;

/// Nanoseconds of one call, the best of a few runs.
fn time(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..50 {
            f();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 50.0);
    }
    best
}

#[test]
#[ignore = "measures"]
fn rates_of_maps() {
    for level in levels() {
        for name in ["exp", "log", "sin", "tanh", "erf", "sigmoid", "softplus"] {
            let x = singles(&noise(256, 1));
            let mut y = x.clone();
            let f = address(name, Precision::F32, level);
            let nanoseconds = time(|| {
                y.copy_from_slice(&x);
                // SAFETY: the row is y.
                unsafe {
                    let f =
                        transmute::<*const u8, unsafe extern "C" fn(*mut f32, usize)>(f);
                    f(y.as_mut_ptr(), y.len());
                }
            });
            println!(
                "{:9} {name:9} {:6.2} elements/ns",
                level.name(),
                256.0 / nanoseconds
            );
        }
    }
}

#[test]
#[ignore = "measures"]
fn rates_of_products_and_solves() {
    for level in levels() {
        for ([m, n, k], shape, turned) in [
            ([16, 64, 16], 0, false),
            ([32, 32, 32], 0, false),
            ([32, 64, 64], 0, false),
            ([64, 64, 64], 0, false),
            ([64, 64, 64], 0, true),
            ([64, 64, 64], 1, false),
            ([16, 256, 64], 0, false),
            ([16, 64, 256], 0, false),
            ([64, 256, 64], 0, false),
            ([64, 64, 256], 0, false),
            ([256, 64, 16], 0, false),
            ([256, 64, 64], 0, false),
            ([64, 64, 64], 2, false),
            ([64, 256, 64], 0, false),
            ([16, 64, 256], 0, false),
            ([128, 128, 128], 0, false),
            ([192, 192, 192], 0, false),
            ([256, 256, 256], 0, false),
            ([384, 384, 384], 0, false),
            ([64, 1, 64], 0, false),
            ([1, 64, 64], 0, false),
        ] {
            let (a, b) = (singles(&noise(m * k, 1)), singles(&noise(k * n, 2)));
            let mut c = vec![0f32; m * n];
            let f = address("product", Precision::F32, level);
            let right = if turned { (1, k as isize) } else { (n as isize, 1) };
            let nanoseconds = time(|| {
                // SAFETY: contiguous matrices of these extents.
                unsafe {
                    #[rustfmt::skip]
                    transmute::<*const u8, Product<f32>>(f)(
                        m, n, k, 1.0, a.as_ptr(), k as isize, 1, b.as_ptr(), right.0, right.1,
                        c.as_mut_ptr(), n as isize, 1, 0, shape);
                }
            });
            let rate = (2 * m * n * k) as f64 / nanoseconds;
            let name = format!(
                "{m}x{n}x{k} shape {shape}{}",
                if turned { " turned" } else { "" }
            );
            println!(
                "{:9} {name:26} {:7.3} us {rate:6.1}",
                level.name(),
                nanoseconds / 1e3
            );
        }
        for (n, m) in [(32, 64), (64, 64), (64, 128)] {
            for transpose in [0, 1] {
                let lower: Vec<f32> =
                    noise(n * n, 4).iter().map(|x| *x as f32 * 0.1).collect();
                let mut x = singles(&noise(n * m, 5));
                let f = address("solve_unit_lower", Precision::F32, level);
                let nanoseconds = time(|| {
                    // SAFETY: [n, n] and [n, m].
                    unsafe {
                        let f = transmute::<*const u8, Solve<f32>>(f);
                        f(lower.as_ptr(), x.as_mut_ptr(), n, m, transpose);
                    }
                    x.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
                });
                let rate = (n * n * m) as f64 / nanoseconds;
                let name = format!("solve {n}x{m} transposed {transpose}");
                println!(
                    "{:9} {name:26} {:7.3} us {rate:6.1}",
                    level.name(),
                    nanoseconds / 1e3
                );
            }
        }
    }
}

#[test]
#[ignore = "measures"]
fn rates_of_dense_products() {
    use nestor_ir::artifact::Precision::F32;
    for ([m, n, k], left_turned, right_turned) in [
        ([2048, 256, 256], false, false),
        ([2048, 256, 256], false, true),
        ([256, 256, 2048], true, false),
        ([2048, 512, 256], false, false),
        ([2048, 256, 512], false, true),
        ([256, 512, 2048], true, false),
        ([2048, 4096, 256], false, false),
        ([2048, 256, 4096], false, true),
        ([256, 4096, 2048], true, false),
        ([2048, 4, 256], false, false),
        ([2048, 256, 4], false, true),
        ([256, 4, 2048], true, false),
    ] {
        let (a, b) = (singles(&noise(m * k, 1)), singles(&noise(k * n, 2)));
        let mut c = vec![0f32; m * n];
        let left = if left_turned { (1, m as isize) } else { (k as isize, 1) };
        let right = if right_turned { (1, k as isize) } else { (n as isize, 1) };
        let mut best = [f64::INFINITY; 2];
        for round in 0..40 {
            let start = Instant::now();
            // SAFETY: contiguous matrices of these extents.
            unsafe {
                if round % 2 == 0 {
                    crate::routines::dense(
                        F32,
                        [m, n, k],
                        1.0,
                        (a.as_ptr().cast(), left.0, left.1),
                        (b.as_ptr().cast(), right.0, right.1),
                        (c.as_mut_ptr().cast(), n as isize, 1),
                        false,
                    );
                } else {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        c.as_mut_ptr(),
                        1,
                        n as isize,
                        false,
                        a.as_ptr(),
                        left.1,
                        left.0,
                        b.as_ptr(),
                        right.1,
                        right.0,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            }
            let took = start.elapsed().as_nanos() as f64;
            best[round % 2] = best[round % 2].min(took);
        }
        let rate = |t: f64| (2 * m * n * k) as f64 / t;
        println!(
            "{m}x{n}x{k} {left_turned} {right_turned}: {:.0}, gemm {:.0}",
            rate(best[0]),
            rate(best[1])
        );
    }
}
