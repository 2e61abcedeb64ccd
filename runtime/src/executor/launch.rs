//! The launches of a plan, in order: grid points over workers, products through the library.

use super::crew::Crew;
use super::{Executor, Guard, Home, SMALL};
use crate::device::cpu::{self, FlushDenormals, Multiply, Strided};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, KernelId, Launch, Role, Tensor};
use nestor_ir::tile::{Monomial, Use};
use std::sync::PoisonError;
use std::time::Instant;

/// A guard over outputs of these names, where all of them are scalars that are known before
/// anything is updated in place.
pub(super) fn guard(artifact: &Artifact, names: &[&str]) -> Option<Guard> {
    let plan = &artifact.plan;
    let find = |name: &&str| {
        plan.tensors.iter().find_map(|(id, t)| match &t.role {
            Role::Output(names) if names.iter().any(|n| n == name) => Some(id),
            Role::Output(_) | Role::Input(_) | Role::InPlace { .. } | Role::Temporary => {
                None
            }
        })
    };
    let watched: Vec<Tensor> = names.iter().map(find).collect::<Option<_>>()?;
    let scalar = |id: &Tensor| plan.tensors[*id].ty.rank() == 0;
    let in_place = |id: &Tensor| matches!(plan.tensors[*id].role, Role::InPlace { .. });
    let first = |writes: &dyn Fn(&Tensor) -> bool| {
        plan.launches.iter().position(|l| written(artifact, l).iter().any(writes))
    };
    let last = |writes: &dyn Fn(&Tensor) -> bool| {
        plan.launches.iter().rposition(|l| written(artifact, l).iter().any(writes))
    };
    let before = first(&in_place)?;
    let known = last(&|id: &Tensor| watched.contains(id))?;
    (watched.iter().all(scalar) && known < before).then_some(Guard { watched, before })
}

/// The tensors that a launch writes.
fn written(artifact: &Artifact, launch: &Launch) -> Vec<Tensor> {
    match launch {
        Launch::Kernel { kernel, buffers } => {
            let params = artifact.kernels[kernel.index()].buffers.values();
            let pairs = params.zip(buffers).filter(|(p, _)| p.usage != Use::Read);
            pairs.map(|(_, tensor)| *tensor).collect()
        }
        Launch::Dense(dense) => vec![dense.out.tensor],
        Launch::Zero(tensor) => vec![*tensor],
        Launch::Copy { to, .. } => vec![*to],
    }
}

impl Executor {
    /// Launches everything in order; where a guard does not hold, what comes before the updates.
    pub(super) fn launch_all(&mut self, sizes: Sizes) {
        let base = self.arena.address();
        let mut addresses = Vec::with_capacity(self.homes.len());
        for (home, own) in self.homes.iter().zip(&mut self.own) {
            addresses.push(match (home, own) {
                (Home::Arena(at), _) => base + at,
                (Home::Own, Some(block)) => block.address(),
                (Home::Own, None) => unreachable!("own tensors have a block"),
            });
        }
        let run = &*self;
        let crew = Crew::default();
        let launches = &run.artifact.plan.launches;
        // Jobs count from 1.
        let launch = |job: u64| &launches[job as usize - 1];
        let times = self.pool.broadcast(|worker| {
            let _flush = FlushDenormals::begin();
            let worker = worker.index();
            if worker > 0 {
                let parts =
                    |job| if job == 0 { 0 } else { run.parts(launch(job), sizes) };
                let part =
                    |job, part| run.part(launch(job), part, &addresses, sizes, worker);
                crew.help(parts, part);
                return Vec::new();
            }
            let leader = crew.lead();
            let mut times = Vec::new();
            for (step, job) in (0..launches.len()).zip(1..) {
                if run.guard.as_ref().is_some_and(|g| g.before == step && !run.good(g)) {
                    break;
                }
                let start = run.timings.as_ref().map(|_| Instant::now());
                let part = |part| run.part(launch(job), part, &addresses, sizes, worker);
                match run.parts(launch(job), sizes) {
                    0 => {}
                    1 => part(0),
                    parts => leader.job(job, parts, part),
                }
                times.extend(start.map(|s| s.elapsed()));
            }
            times
        });
        let times = times.into_iter().flatten();
        for (timing, time) in self.timings.iter_mut().flatten().zip(times) {
            timing.calls += 1;
            timing.total += time;
        }
    }

    /// Whether what a guard watches is finite.
    fn good(&self, guard: &Guard) -> bool {
        guard.watched.iter().all(|id| match self.homes[id.index()] {
            Home::Arena(at) => match self.artifact.precision {
                Precision::F32 => self.arena.get::<f32>(at, 1)[0].is_finite(),
                Precision::F64 => self.arena.get::<f64>(at, 1)[0].is_finite(),
            },
            Home::Own => true,
        })
    }

    /// How many parts a launch falls into; any number of workers may do them in any order.
    fn parts(&self, launch: &Launch, sizes: Sizes) -> u64 {
        let workers = self.scratch.len();
        let parts = match launch {
            Launch::Kernel { kernel, buffers } => {
                let points = self.points(*kernel, sizes);
                let elements: usize =
                    buffers.iter().map(|b| self.bytes(*b, &sizes) / 4).sum();
                // A few parts a worker, so that a late one can be helped.
                let many = workers > 1 && elements >= SMALL;
                if many { points.min(workers * 4) } else { points.min(1) }
            }
            Launch::Dense(dense) => {
                let [m, n, k] = shape(dense, sizes);
                let pieces = if workers > 1 { pieces([m, n, k], workers).1 } else { 1 };
                extent(&dense.batch, sizes) * pieces
            }
            Launch::Zero(_) | Launch::Copy { .. } => 1,
        };
        parts as u64
    }

    fn points(&self, kernel: KernelId, sizes: Sizes) -> usize {
        let grid = &self.artifact.kernels[kernel.index()].grid;
        grid.iter().map(|(_, d)| d.size(&sizes)).product()
    }

    /// One part of a launch.
    fn part(
        &self,
        launch: &Launch,
        part: u64,
        addresses: &[usize],
        sizes: Sizes,
        worker: usize,
    ) {
        let part = part as usize;
        match launch {
            Launch::Kernel { kernel, buffers } => {
                let native = &self.artifact.native[kernel.index()];
                let points = self.points(*kernel, sizes);
                let parts = self.parts(launch, sizes) as usize;
                let buffers: Vec<usize> =
                    buffers.iter().map(|b| addresses[b.index()]).collect();
                let words = [sizes.batch as u64, sizes.time as u64, sizes.start as u64];
                let mut scratch =
                    self.scratch[worker].lock().unwrap_or_else(PoisonError::into_inner);
                let (first, last) = (part * points / parts, (part + 1) * points / parts);
                cpu::call(native, &buffers, words, first, last, &mut scratch);
            }
            Launch::Dense(dense) => self.dense(dense, part, addresses, sizes),
            Launch::Zero(tensor) => {
                cpu::zero(addresses[tensor.index()], self.bytes(*tensor, &sizes));
            }
            Launch::Copy { from, to } => {
                let bytes = self.bytes(*to, &sizes);
                cpu::copy(addresses[from.index()], addresses[to.index()], bytes);
            }
        }
    }

    /// One piece of a product: some rows or columns of the result.
    fn dense(&self, dense: &Dense, part: usize, addresses: &[usize], sizes: Sizes) {
        let entry = self.artifact.dense.expect("a plan with products has a library");
        let precision = self.artifact.precision;
        let [m, n, k] = shape(dense, sizes);
        let workers = self.scratch.len();
        let (size, count) =
            if workers > 1 { pieces([m, n, k], workers) } else { (m.max(n), 1) };
        let (repeat, from) = (part / count, part % count * size);
        let at = |o: &DenseOperand, row: usize, column: usize| {
            let strides = [o.row.eval(&sizes), o.column.eval(&sizes)];
            let first = o.origin.eval(&sizes, &[])
                + o.batch.eval(&sizes) * repeat as i64
                + strides[0] * row as i64
                + strides[1] * column as i64;
            let bytes =
                usize::try_from(first).expect("inside the tensor") * precision.bytes();
            Strided {
                address: addresses[o.tensor.index()] + bytes,
                row: strides[0] as isize,
                column: strides[1] as isize,
            }
        };
        let (left, right, out) = (&dense.left, &dense.right, &dense.out);
        let (shape, operands) = if m >= n {
            let rows = size.min(m - from);
            ([rows, n, k], [at(left, from, 0), at(right, 0, 0), at(out, from, 0)])
        } else {
            let columns = size.min(n - from);
            ([m, columns, k], [at(left, 0, 0), at(right, 0, from), at(out, 0, from)])
        };
        let accumulate = dense.accumulate;
        let what = Multiply { shape, alpha: dense.alpha, operands, accumulate };
        cpu::multiply(entry, precision, &what);
    }

    pub(super) fn launch_name(&self, launch: &Launch) -> String {
        let name = |t: Tensor| &self.artifact.plan.tensors[t].name;
        match launch {
            Launch::Kernel { kernel, .. } => {
                self.artifact.kernels[kernel.index()].name.clone()
            }
            Launch::Dense(dense) => product_name(dense, name(dense.out.tensor)),
            Launch::Zero(t) => format!("zero {}", name(*t)),
            Launch::Copy { to, .. } => format!("copy {}", name(*to)),
        }
    }
}

/// Below this many multiplications one worker is faster than several.
const FEW: usize = 64 * 64 * 64;
/// Rows or columns of a piece are a multiple of this, so that none ends inside a vector of its neighbour.
const GRAIN: usize = 16;

fn extent(m: &Monomial, sizes: Sizes) -> usize {
    usize::try_from(m.eval(&sizes)).unwrap_or(0)
}

fn shape(dense: &Dense, sizes: Sizes) -> [usize; 3] {
    [&dense.m, &dense.n, &dense.k].map(|m| extent(m, sizes))
}

/// The longer side of a product's result in pieces: their size, and how many there are.
fn pieces([m, n, k]: [usize; 3], workers: usize) -> (usize, usize) {
    let long = m.max(n);
    if m * n * k <= FEW {
        return (long, long.min(1));
    }
    let size = long.div_ceil(workers).next_multiple_of(GRAIN);
    (size, long.div_ceil(size))
}

/// A product with its extents and the operands that lie the other way: by shape, since that decides
/// what it takes.
fn product_name(dense: &Dense, out: &str) -> String {
    let straight = Monomial::number(1);
    let turned = |o: &DenseOperand| if o.column == straight { "" } else { "\u{1d40}" };
    format!(
        "product [{}, {}, {}] {out} = a{} b{}",
        dense.m,
        dense.n,
        dense.k,
        turned(&dense.left),
        turned(&dense.right)
    )
}
