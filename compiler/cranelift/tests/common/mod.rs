//! A second reading of the kernel language, as plain as possible: one element at a time, in
//! doubles. Compiled kernels are compared with it.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod check;

use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::interpret::math;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::size::elements;
use nestor_ir::tile::*;

/// Memory of a kernel: elements as doubles.
pub(crate) struct Machine<'k> {
    pub(crate) kernel: &'k Kernel,
    pub(crate) buffers: Vec<Vec<f64>>,
    tiles: Vec<Vec<f64>>,
    indices: Vec<i64>,
    sizes: Sizes,
}

impl<'k> Machine<'k> {
    pub(crate) fn new(kernel: &'k Kernel, buffers: Vec<Vec<f64>>, sizes: Sizes) -> Self {
        let tiles = kernel.tiles.values();
        let tiles =
            tiles.map(|t| vec![f64::NAN; elements(&t.dims).eval(&sizes) as usize]);
        Self {
            kernel,
            buffers,
            tiles: tiles.collect(),
            indices: vec![0; kernel.indices],
            sizes,
        }
    }
    pub(crate) fn run(&mut self) {
        let grid: Vec<usize> =
            self.kernel.grid.iter().map(|(_, d)| d.size(&self.sizes)).collect();
        for point in points(&grid) {
            for ((index, _), i) in self.kernel.grid.iter().zip(point) {
                self.indices[index.index()] = i as i64;
            }
            self.body(&self.kernel.body);
        }
    }
    fn affine(&self, a: &Affine) -> i64 {
        a.eval(&self.sizes, &self.indices)
    }
    fn cell(&mut self, place: Place) -> &mut Vec<f64> {
        match place {
            Place::Buffer(b) => &mut self.buffers[b.index()],
            Place::Tile(t) => &mut self.tiles[t.index()],
        }
    }
    fn find(&self, a: &Access, point: &[usize]) -> Option<usize> {
        for b in &a.bounds {
            let moved: i64 =
                b.strides.iter().zip(point).map(|(s, i)| s * *i as i64).sum();
            let at = self.affine(&b.offset) + moved;
            if at < self.affine(&b.low) || at >= self.affine(&b.high) {
                return None;
            }
        }
        let moved: i64 =
            a.strides.iter().zip(point).map(|(s, i)| self.affine(s) * *i as i64).sum();
        Some(usize::try_from(self.affine(&a.origin) + moved).expect("inside"))
    }
    fn load(&mut self, a: &Access, point: &[usize]) -> f64 {
        match self.find(a, point) {
            Some(n) => self.cell(a.place)[n],
            None => a.pad,
        }
    }
    fn store(&mut self, a: &Access, point: &[usize], v: f64) {
        if let Some(n) = self.find(a, point) {
            self.cell(a.place)[n] = v;
        }
    }
    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.stmt(stmt);
        }
    }
    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                self.map(space, expr, loads, sinks)
            }
            Stmt::Loop { index, extent, reverse, body } => {
                let n = extent.size(&self.sizes) as i64;
                for i in 0..n {
                    self.indices[index.index()] = if *reverse { n - 1 - i } else { i };
                    self.body(body);
                }
            }
            Stmt::When { value, low, high, body } => {
                let v = self.affine(value);
                if self.affine(low) <= v && v < self.affine(high) {
                    self.body(body);
                }
            }
            Stmt::Product { m, n, k, alpha, left, right, out, accumulate, shape } => {
                let [m, n, k] = [m, n, k].map(|d| d.size(&self.sizes) as i64);
                let at = |s: &Self, x: &Matrix, r: i64, c: i64| {
                    (s.affine(&x.origin) + s.affine(&x.row) * r + s.affine(&x.column) * c)
                        as usize
                };
                for i in 0..m {
                    for j in 0..n {
                        let mut sum = 0.0;
                        for l in 0..k {
                            let known_zero = match shape {
                                Shape::Full => false,
                                Shape::OutputLower => j > i,
                                Shape::LeftLower => l > i,
                                Shape::LeftUpper => l < i,
                            };
                            if !known_zero {
                                let (a, b) =
                                    (at(self, left, i, l), at(self, right, l, j));
                                sum +=
                                    self.cell(left.place)[a] * self.cell(right.place)[b];
                            }
                        }
                        let o = at(self, out, i, j);
                        let cell = &mut self.cell(out.place)[o];
                        *cell = if *accumulate { *cell } else { 0.0 } + alpha * sum;
                    }
                }
            }
            Stmt::SolveUnitLower { lower, x, n, m, transpose } => {
                let l = self.tiles[lower.index()].clone();
                let x = &mut self.tiles[x.index()];
                let rows: Vec<usize> =
                    if *transpose { (0..*n).rev().collect() } else { (0..*n).collect() };
                for i in rows {
                    let others = if *transpose { i + 1..*n } else { 0..i };
                    for j in others {
                        let f = if *transpose { l[j * n + i] } else { l[i * n + j] };
                        for c in 0..*m {
                            x[i * m + c] -= f * x[j * m + c];
                        }
                    }
                }
            }
            Stmt::LinearScan { a, b, init, y, extent: (steps, n, m), reverse } => {
                let mut now = self.tiles[init.index()].clone();
                for s in 0..*steps {
                    let t = if *reverse { steps - 1 - s } else { s };
                    let mut next = vec![0.0; n * m];
                    for i in 0..*n {
                        for c in 0..*m {
                            let mut sum = self.tiles[b.index()][(t * n + i) * m + c];
                            for j in 0..*n {
                                sum += self.tiles[a.index()][(t * n + i) * n + j]
                                    * now[j * m + c];
                            }
                            next[i * m + c] = sum;
                        }
                    }
                    self.tiles[y.index()][t * n * m..(t + 1) * n * m]
                        .copy_from_slice(&next);
                    now = next;
                }
            }
            Stmt::Gather { table, rows, index, count, width, out } => {
                for r in 0..count.size(&self.sizes) {
                    let i = self.load(index, &[r]);
                    let o = self.affine(&out.origin) as usize + r * width;
                    for c in 0..*width {
                        let inside = i >= 0.0 && i < *rows as f64;
                        let v = if inside {
                            self.buffers[table.index()][i as usize * width + c]
                        } else {
                            0.0
                        };
                        self.cell(out.place)[o + c] = v;
                    }
                }
            }
            Stmt::ScatterAdd { table, rows, index, count, width, values } => {
                for r in 0..count.size(&self.sizes) {
                    let i = self.load(index, &[r]);
                    let o = self.affine(&values.origin) as usize + r * width;
                    if i >= 0.0 && i < *rows as f64 {
                        for c in 0..*width {
                            let v = self.cell(values.place)[o + c];
                            self.buffers[table.index()][i as usize * width + c] += v;
                        }
                    }
                }
            }
        }
    }
    fn map(
        &mut self,
        space: &[Extent],
        expr: &Expr,
        loads: &[Access],
        sinks: &[(ExprId, Sink)],
    ) {
        let space: Vec<usize> = space.iter().map(|d| d.size(&self.sizes)).collect();
        let mut folds: Vec<Vec<f64>> = Vec::new();
        for (_, sink) in sinks {
            folds.push(match sink {
                Sink::Store(_) => Vec::new(),
                Sink::Fold { fold, axes, .. } => {
                    let kept: usize = space[..space.len() - axes].iter().product();
                    vec![nothing(*fold); kept]
                }
            });
        }
        for point in points(&space) {
            let mut values: Vec<f64> = Vec::new();
            for scalar in expr.scalars.values() {
                let x: Vec<f64> =
                    scalar.operands.iter().map(|o| values[o.index()]).collect();
                let v = match scalar.op {
                    ScalarOp::Load(l) => self.load(&loads[l], &point),
                    ScalarOp::Index(d, o) => {
                        point[d] as f64 + self.affine(&expr.offsets[o]) as f64
                    }
                    op => apply(op, &x),
                };
                values.push(v);
            }
            for (n, (root, sink)) in sinks.iter().enumerate() {
                let v = values[root.index()];
                match sink {
                    Sink::Store(a) => self.store(a, &point, v),
                    Sink::Fold { fold, axes, .. } => {
                        let kept = space.len() - axes;
                        let at = (0..kept).fold(0, |at, d| at * space[d] + point[d]);
                        folds[n][at] = folded(*fold, folds[n][at], v);
                    }
                }
            }
        }
        for ((_, sink), values) in sinks.iter().zip(folds) {
            if let Sink::Fold { fold, axes, to, accumulate } = sink {
                let kept = &space[..space.len() - axes];
                for (point, v) in points(kept).into_iter().zip(values) {
                    let v = if *accumulate {
                        folded(*fold, self.load(to, &point), v)
                    } else {
                        v
                    };
                    self.store(to, &point, v);
                }
            }
        }
    }
}

fn nothing(fold: Fold) -> f64 {
    match fold {
        Fold::Sum => 0.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    }
}
fn folded(fold: Fold, a: f64, b: f64) -> f64 {
    match fold {
        Fold::Sum => a + b,
        Fold::Max => {
            if b > a || b.is_nan() {
                b
            } else {
                a
            }
        }
        Fold::Min => {
            if b < a || b.is_nan() {
                b
            } else {
                a
            }
        }
    }
}
fn points(space: &[usize]) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new()];
    for n in space {
        out = out
            .into_iter()
            .flat_map(|p: Vec<usize>| (0..*n).map(move |i| [p.clone(), vec![i]].concat()))
            .collect();
    }
    out
}
fn apply(op: ScalarOp, x: &[f64]) -> f64 {
    let truth = |c: bool| f64::from(u8::from(c));
    match op {
        ScalarOp::Constant(c) => c,
        ScalarOp::Neg => -x[0],
        ScalarOp::Abs => x[0].abs(),
        ScalarOp::Sign => math::sign(x[0]),
        ScalarOp::Sqrt => x[0].sqrt(),
        ScalarOp::Exp => x[0].exp(),
        ScalarOp::Log => x[0].ln(),
        ScalarOp::Sin => x[0].sin(),
        ScalarOp::Cos => x[0].cos(),
        ScalarOp::Tanh => x[0].tanh(),
        ScalarOp::Erf => math::erf(x[0]),
        ScalarOp::Sigmoid => math::sigmoid(x[0]),
        ScalarOp::Softplus => math::softplus(x[0]),
        ScalarOp::Floor => x[0].floor(),
        ScalarOp::Not => truth(x[0] == 0.0),
        ScalarOp::Real => x[0],
        ScalarOp::Add => x[0] + x[1],
        ScalarOp::Sub => x[0] - x[1],
        ScalarOp::Mul => x[0] * x[1],
        ScalarOp::Div => x[0] / x[1],
        ScalarOp::Pow => x[0].powf(x[1]),
        ScalarOp::Rem => math::rem(x[0], x[1]),
        ScalarOp::Max => {
            if x[0] >= x[1] {
                x[0]
            } else {
                x[1]
            }
        }
        ScalarOp::Min => {
            if x[0] <= x[1] {
                x[0]
            } else {
                x[1]
            }
        }
        ScalarOp::Less => truth(x[0] < x[1]),
        ScalarOp::LessEqual => truth(x[0] <= x[1]),
        ScalarOp::Equal => truth(x[0] == x[1]),
        ScalarOp::And => truth(x[0] != 0.0 && x[1] != 0.0),
        ScalarOp::Or => truth(x[0] != 0.0 || x[1] != 0.0),
        ScalarOp::Select => {
            if x[0] != 0.0 {
                x[1]
            } else {
                x[2]
            }
        }
        ScalarOp::Load(_) | ScalarOp::Index(..) => unreachable!("handled before"),
    }
}
