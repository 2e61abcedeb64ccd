//! Products, solves and linear recurrences of the interpreter.

use super::array::{Array, indices, strides};

/// `sum over pairs of a * b`: batch axes, then a's others, then b's others.
pub(super) fn contract(
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    a: &Array,
    b: &Array,
) -> Array {
    let free = |n: usize, used: &dyn Fn(&(usize, usize)) -> usize| -> Vec<usize> {
        (0..n).filter(|i| !batch.iter().chain(sum).any(|p| used(p) == *i)).collect()
    };
    let left = free(a.dims.len(), &|p| p.0);
    let right = free(b.dims.len(), &|p| p.1);
    let dims: Vec<usize> = batch
        .iter()
        .map(|p| a.dims[p.0])
        .chain(left.iter().map(|&i| a.dims[i]))
        .chain(right.iter().map(|&i| b.dims[i]))
        .collect();
    let summed: Vec<usize> = sum.iter().map(|p| a.dims[p.0]).collect();
    let (sa, sb) = (strides(&a.dims), strides(&b.dims));
    let (x, y) = (a.reals(), b.reals());
    let steps: Vec<(usize, usize)> = indices(&summed)
        .map(|k| {
            let at = |side: &dyn Fn(&(usize, usize)) -> usize, s: &[usize]| -> usize {
                sum.iter().zip(&k).map(|(p, k)| k * s[side(p)]).sum()
            };
            (at(&|p| p.0, &sa), at(&|p| p.1, &sb))
        })
        .collect();
    let out = indices(&dims)
        .map(|index| {
            let (lead, rest) = index.split_at(batch.len());
            let (l, r) = rest.split_at(left.len());
            let mut oa: usize = l.iter().zip(&left).map(|(i, &ax)| i * sa[ax]).sum();
            let mut ob: usize = r.iter().zip(&right).map(|(i, &ax)| i * sb[ax]).sum();
            for (i, p) in lead.iter().zip(batch) {
                oa += i * sa[p.0];
                ob += i * sb[p.1];
            }
            steps.iter().map(|(da, db)| x[oa + da] * y[ob + db]).sum()
        })
        .collect();
    Array::real(dims, out)
}

/// Applies `f` to every matrix of the last two axes of each array; all leading axes are equal.
fn by_matrix(
    a: &Array,
    x: &Array,
    f: impl Fn(&[f64], &mut [f64], usize, usize),
) -> Array {
    let rank = x.dims.len();
    let (n, m) = (x.dims[rank - 2], x.dims[rank - 1]);
    let mut out = x.reals().to_vec();
    let size = a.dims[a.dims.len() - 2] * a.dims[a.dims.len() - 1];
    for (i, chunk) in out.chunks_mut((n * m).max(1)).enumerate() {
        f(&a.reals()[i * size..(i + 1) * size], chunk, n, m);
    }
    Array::real(x.dims.clone(), out)
}

/// `(I + tril(L, -1))^-1 X`, or with the transposed matrix.
pub(super) fn solve_unit_lower(l: &Array, x: &Array, transpose: bool) -> Array {
    by_matrix(l, x, |l, x, n, m| {
        for step in 0..n {
            let i = if transpose { n - 1 - step } else { step };
            let range = if transpose { i + 1..n } else { 0..i };
            for j in range {
                let factor = if transpose { l[j * n + i] } else { l[i * n + j] };
                for c in 0..m {
                    x[i * m + c] -= factor * x[j * m + c];
                }
            }
        }
    })
}

/// `A^-1 X`.
pub(super) fn solve(a: &Array, x: &Array) -> Array {
    by_matrix(a, x, eliminate)
}

/// `x <- A^-1 x` by elimination with pivots, of `[n, n]` and `[n, m]`.
pub(super) fn eliminate(a: &[f64], x: &mut [f64], n: usize, m: usize) {
    let mut a = a.to_vec();
    for i in 0..n {
        let pivot = (i..n)
            .max_by(|&p, &q| a[p * n + i].abs().total_cmp(&a[q * n + i].abs()))
            .unwrap_or(i);
        for c in 0..n {
            a.swap(i * n + c, pivot * n + c);
        }
        for c in 0..m {
            x.swap(i * m + c, pivot * m + c);
        }
        for r in 0..n {
            if r == i {
                continue;
            }
            let factor = a[r * n + i] / a[i * n + i];
            for c in i..n {
                a[r * n + c] -= factor * a[i * n + c];
            }
            for c in 0..m {
                x[r * m + c] -= factor * x[i * m + c];
            }
        }
    }
    for i in 0..n {
        for c in 0..m {
            x[i * m + c] /= a[i * n + i];
        }
    }
}

/// `A^(-1/p)` of a symmetric positive matrix.
pub(super) fn inverse_root(a: &Array, p: f64) -> Array {
    by_matrix(a, a, |a, x, n, _| root(a, x, &mut vec![0.0; n * n], n, p))
}

/// The eigenvectors of a symmetric matrix as columns.
pub(super) fn eigenvectors(a: &Array) -> Array {
    by_matrix(a, a, |a, x, n, _| root(a, &mut vec![0.0; n * n], x, n, f64::INFINITY))
}

/// `x <- A^(-1/p)` by Jacobi's eigenvalue iteration; the vectors, each times its value to the power of -1/2p, in `basis`.
pub(super) fn root(a: &[f64], x: &mut [f64], basis: &mut [f64], n: usize, p: f64) {
    let mut s = a.to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    for _ in 0..100 {
        let off: f64 = (0..n * n).filter(|k| k / n != k % n).map(|k| s[k] * s[k]).sum();
        if off < 1e-300 {
            break;
        }
        for i in 0..n {
            for j in i + 1..n {
                rotate(&mut s, &mut v, n, i, j);
            }
        }
    }
    for i in 0..n {
        for k in 0..n {
            basis[i * n + k] = v[i * n + k] * s[k * n + k].powf(-0.5 / p);
        }
    }
    for i in 0..n {
        for j in 0..n {
            x[i * n + j] = (0..n)
                .map(|k| v[i * n + k] * s[k * n + k].powf(-1.0 / p) * v[j * n + k])
                .sum();
        }
    }
}

/// One Jacobi rotation that clears entry (i, j).
fn rotate(s: &mut [f64], v: &mut [f64], n: usize, i: usize, j: usize) {
    if s[i * n + j] == 0.0 {
        return;
    }
    let theta = (s[j * n + j] - s[i * n + i]) / (2.0 * s[i * n + j]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let d = t * c;
    for k in 0..n {
        let (a, b) = (s[k * n + i], s[k * n + j]);
        s[k * n + i] = c * a - d * b;
        s[k * n + j] = d * a + c * b;
    }
    for k in 0..n {
        let (a, b) = (s[i * n + k], s[j * n + k]);
        s[i * n + k] = c * a - d * b;
        s[j * n + k] = d * a + c * b;
        let (a, b) = (v[k * n + i], v[k * n + j]);
        v[k * n + i] = c * a - d * b;
        v[k * n + j] = d * a + c * b;
    }
}

/// `y_t = a_t y_{t-1} + b_t` from `init`, or from the end.
pub(super) fn linear_scan(a: &Array, b: &Array, init: &Array, reverse: bool) -> Array {
    let rank = b.dims.len();
    let (l, n, m) = (b.dims[rank - 3], b.dims[rank - 2], b.dims[rank - 1]);
    let mut out = b.reals().to_vec();
    for (i, y) in out.chunks_mut((l * n * m).max(1)).enumerate() {
        let a = &a.reals()[i * l * n * n..][..l * n * n];
        let mut last = init.reals()[i * n * m..][..n * m].to_vec();
        for step in 0..l {
            let t = if reverse { l - 1 - step } else { step };
            for r in 0..n {
                for c in 0..m {
                    y[(t * n + r) * m + c] += (0..n)
                        .map(|k| a[(t * n + r) * n + k] * last[k * m + c])
                        .sum::<f64>();
                }
            }
            last.copy_from_slice(&y[t * n * m..][..n * m]);
        }
    }
    Array::real(b.dims.clone(), out)
}
