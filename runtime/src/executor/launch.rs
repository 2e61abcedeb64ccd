//! The launches of a plan, in order: grid points over workers, products through the library.

use super::{Executor, Guard, Home, SMALL};
use crate::device::cpu::{self, FlushDenormals, Multiply, Strided};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, Launch, Role, Tensor};
use nestor_ir::tile::{Monomial, Use};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
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
        let times = self.pool.install(|| {
            let _flush = FlushDenormals::begin();
            let mut times = Vec::new();
            for (step, launch) in run.artifact.plan.launches.iter().enumerate() {
                if run.guard.as_ref().is_some_and(|g| g.before == step && !run.good(g)) {
                    break;
                }
                let start = run.timings.as_ref().map(|_| Instant::now());
                run.launch(launch, &addresses, sizes);
                times.extend(start.map(|s| s.elapsed()));
            }
            times
        });
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

    fn launch(&self, launch: &Launch, addresses: &[usize], sizes: Sizes) {
        match launch {
            Launch::Kernel { kernel, buffers } => {
                let native = &self.artifact.native[kernel.index()];
                let grid = &self.artifact.kernels[kernel.index()].grid;
                let points: usize = grid.iter().map(|(_, d)| d.size(&sizes)).product();
                let elements: usize =
                    buffers.iter().map(|b| self.bytes(*b, &sizes) / 4).sum();
                let buffers: Vec<usize> =
                    buffers.iter().map(|b| addresses[b.index()]).collect();
                let words = [sizes.batch as u64, sizes.time as u64, sizes.start as u64];
                let part = |first: usize, last: usize| {
                    let worker = rayon::current_thread_index().unwrap_or(0);
                    let mut scratch = self.scratch[worker]
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    let _flush = FlushDenormals::begin();
                    cpu::call(native, &buffers, words, first, last, &mut scratch);
                };
                let workers = self.scratch.len();
                if points < 2 || workers < 2 || elements < SMALL {
                    part(0, points);
                    return;
                }
                // A few parts a worker, so that a late one can be helped.
                let parts = points.min(workers * 4);
                (0..parts).into_par_iter().with_max_len(1).for_each(|p| {
                    part(p * points / parts, (p + 1) * points / parts);
                });
            }
            Launch::Dense(dense) => self.dense(dense, addresses, sizes),
            Launch::Zero(tensor) => {
                cpu::zero(addresses[tensor.index()], self.bytes(*tensor, &sizes));
            }
            Launch::Copy { from, to } => {
                let bytes = self.bytes(*to, &sizes);
                cpu::copy(addresses[from.index()], addresses[to.index()], bytes);
            }
        }
    }

    fn dense(&self, dense: &Dense, addresses: &[usize], sizes: Sizes) {
        let entry = self.artifact.dense.expect("a plan with products has a library");
        let precision = self.artifact.precision;
        let size =
            |m: &nestor_ir::tile::Monomial| usize::try_from(m.eval(&sizes)).unwrap_or(0);
        let at = |o: &DenseOperand, repeat: usize| {
            let first = o.origin.eval(&sizes, &[]) + o.batch.eval(&sizes) * repeat as i64;
            let bytes =
                usize::try_from(first).expect("inside the tensor") * precision.bytes();
            Strided {
                address: addresses[o.tensor.index()] + bytes,
                row: o.row.eval(&sizes) as isize,
                column: o.column.eval(&sizes) as isize,
            }
        };
        for repeat in 0..size(&dense.batch) {
            let what = Multiply {
                shape: [size(&dense.m), size(&dense.n), size(&dense.k)],
                alpha: dense.alpha,
                operands: [&dense.left, &dense.right, &dense.out].map(|o| at(o, repeat)),
                accumulate: dense.accumulate,
            };
            cpu::multiply(entry, precision, &what);
        }
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
