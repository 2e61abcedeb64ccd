//! How long a plan takes, predicted from its kernels and the rates of a thread, without running it.
//!
//! A kernel's statements are counted as what they are to a processor: calls of block routines,
//! vectors of a map (along the dimension that needs fewest), transcendentals among them, operations
//! of products with the rest of a block that is no whole vector, steps that wait for one another,
//! and bytes of memory. Grid points are shared among threads.

use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Plan};
use nestor_ir::tile::{
    Access, Affine, Expr, Kernel, Part, Place, ScalarOp, Shape, Sink, Stmt,
};

/// What a thread does of each kind; seconds of one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates {
    /// The start of a kernel or of a dense product.
    pub launch: f64,
    /// A statement.
    pub statement: f64,
    /// A vector of 16 numbers through one simple operation, load or store.
    pub vector: f64,
    /// A vector through a transcendental function.
    pub hard: f64,
    /// A vector loaded or stored with a stride.
    pub strided: f64,
    /// A multiplication or an addition of a product.
    pub product: f64,
    /// The same in a product over the whole sequence, given to the library.
    pub dense: f64,
    /// A row of a solve, a step of a scan within a statement.
    pub step: f64,
    /// A byte from memory or to memory.
    pub byte: f64,
}

/// Rates of a thread of an AMD EPYC (Zen 4) with AVX-512: those with which predictions of the
/// library's forward times are least off, relatively (`costs --counts` prints what goes into that);
/// `docs/costs.md` says how far. Elsewhere they order programs, and no more.
pub const RATES: Rates = Rates {
    launch: 8.8e-6,
    statement: 1e-9,
    vector: 0.164e-9,
    hard: 4.7e-9,
    strided: 1.5e-9,
    product: 0.0123e-9,
    dense: 0.0074e-9,
    step: 11.3e-9,
    byte: 0.002e-9,
};

/// How often each of [`Rates`] is needed, in its order.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Counts(pub [f64; 9]);

impl Counts {
    /// Seconds at some rates.
    pub fn seconds(&self, r: &Rates) -> f64 {
        let rates = [
            r.launch,
            r.statement,
            r.vector,
            r.hard,
            r.strided,
            r.product,
            r.dense,
            r.step,
            r.byte,
        ];
        self.0.iter().zip(rates).map(|(n, rate)| n * rate).sum()
    }

    fn add(&mut self, other: &Counts, times: f64) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += times * b);
    }
}

const LAUNCH: usize = 0;
const STATEMENT: usize = 1;
const VECTOR: usize = 2;
const HARD: usize = 3;
const STRIDED: usize = 4;
const PRODUCT: usize = 5;
const DENSE: usize = 6;
const STEP: usize = 7;
const BYTE: usize = 8;

/// Numbers of a vector.
const LANES: f64 = 16.0;

/// Seconds of one call of a plan on so many threads.
pub fn seconds(
    plan: &Plan,
    kernels: &[Kernel],
    sizes: &Sizes,
    threads: usize,
    rates: &Rates,
) -> f64 {
    counted(plan, kernels, sizes, threads).seconds(rates)
}

/// What the busiest thread does in one call of a plan.
pub fn counted(plan: &Plan, kernels: &[Kernel], sizes: &Sizes, threads: usize) -> Counts {
    let mut all = Counts::default();
    for launch in &plan.launches {
        all.0[LAUNCH] += 1.0;
        match launch {
            Launch::Kernel { kernel, .. } => {
                let (points, own) =
                    of_point(&kernels[kernel.index()], sizes, &one_by_one);
                all.add(&own, (points / threads as f64).ceil().min(points));
            }
            Launch::Dense(d) => {
                let size = |m: &nestor_ir::tile::Monomial| m.eval(sizes) as f64;
                let half = if d.shape == Shape::Full { 1.0 } else { 0.6 };
                let flops =
                    2.0 * half * size(&d.batch) * size(&d.m) * size(&d.n) * size(&d.k);
                all.0[DENSE] += flops / threads as f64;
                all.0[BYTE] +=
                    4.0 * size(&d.batch) * size(&d.m) * size(&d.n) / threads as f64;
            }
            Launch::Zero(tensor) | Launch::Copy { to: tensor, .. } => {
                let dims = &plan.tensors[*tensor].ty.dims;
                let numbers: f64 = dims.iter().map(|d| d.size(sizes) as f64).product();
                all.0[BYTE] += 4.0 * numbers;
            }
        }
    }
    all
}

/// Steps that wait for one another in a triangular system, by its equations and right-hand sides.
pub type Steps<'a> = &'a dyn Fn(usize, usize) -> f64;

/// Equations one after the other.
pub fn one_by_one(equations: usize, _: usize) -> f64 {
    equations as f64
}

/// Points of a kernel's grid, and what is done at one of them.
pub fn of_point(kernel: &Kernel, sizes: &Sizes, solving: Steps<'_>) -> (f64, Counts) {
    let points = kernel.grid.iter().map(|(_, n)| n.size(sizes) as f64).product();
    let mut extents = vec![1; kernel.indices];
    for (index, n) in &kernel.grid {
        extents[index.index()] = n.size(sizes);
    }
    (points, Counter { sizes, extents, solving }.body(&kernel.body))
}

/// Walks the statements of a kernel.
struct Counter<'a> {
    sizes: &'a Sizes,
    /// How far each index runs.
    extents: Vec<usize>,
    solving: Steps<'a>,
}

impl Counter<'_> {
    fn size(&self, dim: Dim) -> f64 {
        dim.size(self.sizes) as f64
    }

    fn body(&mut self, body: &[Stmt]) -> Counts {
        let mut out = Counts::default();
        for stmt in body {
            let own = self.statement(stmt);
            out.add(&own, 1.0);
        }
        out
    }

    fn statement(&mut self, stmt: &Stmt) -> Counts {
        let mut out = Counts::default();
        out.0[STATEMENT] = 1.0;
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                let space: Vec<f64> = space.iter().map(|d| self.size(*d)).collect();
                self.map(&space, expr, loads, sinks, &mut out);
            }
            Stmt::Product { m, n, k, shape, .. } => {
                let (m, n, k) = (self.size(*m), self.size(*n), self.size(*k));
                let half = if *shape == Shape::Full { 1.0 } else { 0.6 };
                out.0[PRODUCT] = 2.0 * m * k * (n / LANES).ceil() * LANES * half;
            }
            Stmt::SolveUnitLower { n, m, .. } => {
                out.0[STEP] = (self.solving)(*n, *m);
                let (n, m) = (*n as f64, *m as f64);
                out.0[PRODUCT] = n * n * (m / LANES).ceil() * LANES;
            }
            Stmt::Eliminate { n, m, .. } => {
                let (n, m) = (*n as f64, *m as f64);
                out.0[PRODUCT] = 2.0 * n * n * ((m + n / 3.0) / LANES).ceil() * LANES;
                // A row is subtracted from every other one, for each column.
                out.0[STEP] = n * n;
            }
            Stmt::InverseRoot { n, .. } => {
                let n = *n as f64;
                out.0[STEP] = 50.0 * n * n;
                out.0[PRODUCT] = 300.0 * n * n * n;
            }
            Stmt::LinearScan { extent: (steps, n, m), .. } => {
                let (steps, n, m) = (*steps as f64, *n as f64, *m as f64);
                out.0[VECTOR] = 3.0 * steps * n * n * (m / LANES).ceil();
                out.0[STEP] = steps;
            }
            Stmt::Gather { count, width, .. } => {
                let rows = self.size(*count);
                out.0[STEP] = rows;
                out.0[BYTE] = 8.0 * rows * *width as f64;
            }
            Stmt::ScatterAdd { count, width, share, .. } => {
                let rows = self.size(*count);
                let own = rows / share.map_or(1.0, |(_, of)| of as f64);
                // Those of others are looked at, several together.
                out.0[STEP] = own + (rows - own) / 8.0;
                out.0[BYTE] = 8.0 * own * *width as f64;
            }
            // Two waits and a sum.
            Stmt::Total { .. } => out.0[STATEMENT] = 3.0,
            Stmt::Loop { index, extent, part, body, .. } => {
                self.extents[index.index()] = extent.size(self.sizes);
                let own = self.body(body);
                let all = self.size(*extent);
                // As many as the index around it lets there be, on the whole.
                let turns = if *part == Part::All { all } else { (all - 1.0) / 2.0 };
                out.add(&own, turns);
            }
            Stmt::Together { body } => {
                for part in body {
                    out.add(&self.statement(part), 1.0);
                }
                // One statement, and an entry is at hand where a map takes it.
                if let [Stmt::Product { m, n, .. }, .., Stmt::Map { .. }] = &body[..] {
                    let entries = self.size(*m) * (self.size(*n) / LANES).ceil();
                    out.0[VECTOR] = (out.0[VECTOR] - entries).max(0.0);
                }
                out.0[STATEMENT] = 1.0;
            }
            Stmt::When { value, low, high, body } => {
                let share = self.share(value, low, high);
                let own = self.body(body);
                out.add(&own, share);
            }
        }
        out
    }

    /// How often a quantity is within bounds, over the index that moves it fastest.
    fn share(&self, value: &Affine, low: &Affine, high: &Affine) -> f64 {
        let Some((index, _)) = value.terms.last() else { return 1.0 };
        let count = self.extents[index.index()].clamp(1, 4096);
        let mut indices = vec![0; self.extents.len()];
        let mut within = 0.0;
        for i in 0..count {
            indices[index.index()] = i as i64;
            let of = |a: &Affine| a.eval(self.sizes, &indices);
            let v = of(value);
            within += f64::from(u8::from(of(low) <= v && v < of(high)));
        }
        within / count as f64
    }

    fn map(
        &self,
        space: &[f64],
        expr: &Expr,
        loads: &[Access],
        sinks: &[(nestor_ir::tile::ExprId, Sink)],
        out: &mut Counts,
    ) {
        let points: f64 = space.iter().product();
        let (mut simple, mut hard) = (0.0, 0.0);
        for scalar in expr.scalars.values() {
            match scalar.op {
                ScalarOp::Load(_) | ScalarOp::Constant(_) | ScalarOp::Index(..) => {}
                ScalarOp::Div | ScalarOp::Sqrt | ScalarOp::Rem => simple += 6.0,
                ScalarOp::Pow => hard += 2.0,
                op if op.is_transcendental() => hard += 1.0,
                _ => simple += 1.0,
            }
        }
        let stores: Vec<(&Access, usize)> = sinks
            .iter()
            .map(|(_, sink)| match sink {
                Sink::Store(to) => (to, 0),
                Sink::Fold { to, axes, .. } => (to, *axes),
            })
            .collect();
        let moved = |access: &Access, along: usize| {
            let stride = access.strides.get(along);
            let stride =
                stride.map_or(0, |s| s.eval(self.sizes, &vec![0; self.extents.len()]));
            matches!(stride, 0 | 1)
        };
        // Along which dimension vectors run: the one that costs least.
        let mut best: Option<(f64, f64, f64)> = None;
        for (along, n) in space.iter().enumerate() {
            let vectors = points / n.max(1.0) * (n / LANES).ceil();
            let near = loads.iter().filter(|l| moved(l, along)).count();
            let far = loads.len() - near;
            let stored = stores.iter().filter(|(s, axes)| {
                along >= space.len().saturating_sub(*axes) || moved(s, along)
            });
            let stored = stored.count();
            let (near, far) = (near + stored, far + stores.len() - stored);
            let cost = vectors * (simple + near as f64 + 12.0 * far as f64 + 10.0 * hard);
            if best.is_none_or(|(known, ..)| cost < known) {
                best = Some((cost, vectors, far as f64));
            }
        }
        let (_, vectors, far) = best.unwrap_or((0.0, 1.0, 0.0));
        let accesses = (loads.len() + stores.len()) as f64 - far;
        out.0[VECTOR] = vectors * (simple + accesses);
        out.0[HARD] = vectors * hard;
        out.0[STRIDED] = vectors * far;
        let buffer = |a: &Access| matches!(a.place, Place::Buffer(_));
        let read = loads.iter().filter(|a| buffer(a)).count() as f64 * points;
        let written: f64 = stores
            .iter()
            .filter(|(a, _)| buffer(a))
            .map(|(_, axes)| space[..space.len() - axes].iter().product::<f64>())
            .sum();
        out.0[BYTE] = 4.0 * (read + written);
    }
}
