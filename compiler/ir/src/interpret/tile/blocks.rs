//! Statements on whole blocks: products, solves, linear scans, rows of tables.

use super::{Done, Machine};
use crate::interpret::linear;
use crate::tile::{Access, Extent, Matrix, Place, Shape};

impl Machine<'_> {
    pub(super) fn product(
        &mut self,
        extent: [Extent; 3],
        alpha: f64,
        [left, right, out]: [&Matrix; 3],
        accumulate: bool,
        shape: Shape,
    ) -> Done {
        let [m, n, k] = extent.map(|d| self.size(d));
        let rounded = self.operands;
        let operand = |x| rounded(extent, x);
        let lefts = self.matrix(left, m, k);
        let rights = self.matrix(right, k, n);
        let outs = self.matrix(out, m, n);
        let mut sums = Vec::with_capacity(m * n);
        for i in 0..m {
            for j in 0..n {
                let mut sum = 0.0;
                for l in 0..k {
                    if !shape.leaves_out([i, j, l]) {
                        let a = operand(self.read(left.place, lefts[i * k + l])?);
                        let b = operand(self.read(right.place, rights[l * n + j])?);
                        sum += a * b;
                    }
                }
                sums.push(sum);
            }
        }
        for (sum, at) in sums.into_iter().zip(outs) {
            let before = if accumulate { self.read(out.place, at)? } else { 0.0 };
            let after = self.round(before + alpha * sum);
            self.write(out.place, at, after)?;
        }
        Ok(())
    }

    pub(super) fn solve(
        &mut self,
        lower: Place,
        x: Place,
        [n, m]: [usize; 2],
        transpose: bool,
    ) -> Done {
        let l = self.whole(lower, n * n)?;
        let mut y = self.whole(x, n * m)?;
        let rows: Vec<usize> =
            if transpose { (0..n).rev().collect() } else { (0..n).collect() };
        for i in rows {
            let solved = if transpose { i + 1..n } else { 0..i };
            for j in solved {
                let factor = if transpose { l[j * n + i] } else { l[i * n + j] };
                for c in 0..m {
                    y[i * m + c] -= factor * y[j * m + c];
                }
            }
        }
        self.fill(x, &y)
    }

    pub(super) fn eliminate(&mut self, a: Place, x: Place, [n, m]: [usize; 2]) -> Done {
        let system = self.whole(a, n * n)?;
        let mut y = self.whole(x, n * m)?;
        linear::eliminate(&system, &mut y, n, m);
        self.fill(x, &y)
    }

    pub(super) fn inverse_root(
        &mut self,
        [a, basis]: [Place; 2],
        n: usize,
        p: f64,
    ) -> Done {
        let matrix = self.whole(a, n * n)?;
        let (mut root, mut vectors) = (vec![0.0; n * n], vec![0.0; n * n]);
        linear::root(&matrix, &mut root, &mut vectors, n, p);
        self.fill(basis, &vectors)?;
        self.fill(a, &root)
    }

    pub(super) fn linear_scan(
        &mut self,
        [a, b, init, y]: [Place; 4],
        (steps, n, m): (usize, usize, usize),
        reverse: bool,
    ) -> Done {
        let factors = self.whole(a, steps * n * n)?;
        let terms = self.whole(b, steps * n * m)?;
        let mut last = self.whole(init, n * m)?;
        let mut out = vec![0.0; steps * n * m];
        for s in 0..steps {
            let t = if reverse { steps - 1 - s } else { s };
            let mut next = vec![0.0; n * m];
            for i in 0..n {
                for c in 0..m {
                    let products =
                        (0..n).map(|j| factors[(t * n + i) * n + j] * last[j * m + c]);
                    next[i * m + c] = terms[(t * n + i) * m + c] + products.sum::<f64>();
                }
            }
            out[t * n * m..(t + 1) * n * m].copy_from_slice(&next);
            last = next;
        }
        self.fill(y, &out)
    }

    pub(super) fn gather(
        &mut self,
        (table, rows): (Place, usize),
        index: &Access,
        [count, width]: [usize; 2],
        out: &Access,
    ) -> Done {
        let index = self.spot(index);
        let first = self.value(&out.origin);
        for r in 0..count {
            let row = row_of(self.load(&index, &[r])?, rows, width);
            for c in 0..width {
                let x = match row {
                    Some(row) => self.read(table, row + c as i64)?,
                    None => 0.0,
                };
                self.write(out.place, first + (r * width + c) as i64, x)?;
            }
        }
        Ok(())
    }

    pub(super) fn scatter_add(
        &mut self,
        (table, rows): (Place, usize),
        index: &Access,
        [count, width]: [usize; 2],
        values: &Access,
        share: Option<(i64, i64)>,
    ) -> Done {
        let index = self.spot(index);
        let first = self.value(&values.origin);
        for r in 0..count {
            let Some(row) = row_of(self.load(&index, &[r])?, rows, width) else {
                continue;
            };
            if share.is_some_and(|(own, of)| row / width as i64 % of != own) {
                continue;
            }
            for c in 0..width {
                let x = self.read(values.place, first + (r * width + c) as i64)?;
                let sum = self.read(table, row + c as i64)? + x;
                let sum = self.round(sum);
                self.write(table, row + c as i64, sum)?;
            }
        }
        Ok(())
    }

    fn whole(&mut self, place: Place, count: usize) -> Result<Vec<f64>, String> {
        (0..count as i64).map(|at| self.read(place, at)).collect()
    }

    fn fill(&mut self, place: Place, with: &[f64]) -> Done {
        let mut all = with.iter().enumerate();
        all.try_for_each(|(at, x)| self.write(place, at as i64, self.round(*x)))
    }
}

/// The first element of a row of a table; nothing where the index is of no row.
fn row_of(index: f64, rows: usize, width: usize) -> Option<i64> {
    let inside = index >= 0.0 && index < rows as f64;
    inside.then(|| index as i64 * width as i64)
}
