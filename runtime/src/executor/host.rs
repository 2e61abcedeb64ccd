//! Plans on the CPU: memory in blocks, launches by a crew of workers.

use super::crew::Crew;
use super::engine::{Call, Engine, Home};
use super::parts::Parts;
use super::{Guard, RunError};
use crate::device::cpu::{Block, FlushDenormals};
use crate::exchange::{fill, put};
use crate::tensor_file::HostTensor;
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::Tensor;
use rayon::ThreadPool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Memory and workers.
pub(crate) struct Host {
    pool: ThreadPool,
    arena: Block,
    /// Tensors with a block of their own: those set, and those updated in place.
    own: Vec<Option<Block>>,
    scratch: Vec<Mutex<Block>>,
}

impl Host {
    /// So many workers; 0 for one a core.
    pub(crate) fn new(tensors: usize, workers: usize) -> Result<Self, RunError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .build()
            .map_err(|e| RunError::Workers(e.to_string()))?;
        let scratch = (0..pool.current_num_threads())
            .map(|_| Mutex::new(Block::default()))
            .collect();
        let own = (0..tensors).map(|_| None).collect();
        Ok(Self { pool, arena: Block::default(), own, scratch })
    }

    fn block(&mut self, id: Tensor, at: Home) -> (&mut Block, usize) {
        match at {
            Home::Arena(at) => (&mut self.arena, at),
            Home::Own => {
                (self.own[id.index()].as_mut().expect("own tensors have a block"), 0)
            }
        }
    }
}

impl Engine for Host {
    fn own(&mut self, tensor: Tensor, bytes: usize) -> Result<(), RunError> {
        self.own[tensor.index()].get_or_insert_default().reserve(bytes);
        Ok(())
    }

    fn reserve(
        &mut self,
        artifact: &Artifact,
        arena: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        self.arena.reserve(arena);
        let most = self.scratch(artifact, sizes);
        for block in &mut self.scratch {
            block.get_mut().unwrap_or_else(PoisonError::into_inner).reserve(most);
        }
        Ok(())
    }

    fn scratch(&self, artifact: &Artifact, sizes: &Sizes) -> usize {
        let natives = artifact.native.iter();
        let most = natives
            .map(|n| n.scratch.iter().map(|m| m.eval(sizes)).sum::<i64>())
            .max()
            .unwrap_or(0);
        usize::try_from(most).unwrap_or(0)
    }

    fn room(&self) -> Option<usize> {
        None
    }

    fn beside(&self) -> usize {
        0
    }

    fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    fn poison(&mut self) -> Result<(), RunError> {
        self.arena.fill(0xff);
        Ok(())
    }

    fn put(&mut self, id: Tensor, at: Home, tensor: &HostTensor) -> Result<(), RunError> {
        let (block, at) = self.block(id, at);
        put(block, at, tensor);
        Ok(())
    }

    fn take(&self, id: Tensor, at: Home, into: &mut HostTensor) -> Result<(), RunError> {
        let (block, at) = match at {
            Home::Arena(at) => (&self.arena, at),
            Home::Own => {
                (self.own[id.index()].as_ref().expect("own tensors have a block"), 0)
            }
        };
        fill(block, at, into);
        Ok(())
    }

    fn launch(&mut self, call: &Call<'_>) -> Result<Vec<Duration>, RunError> {
        let base = self.arena.address();
        let mut addresses = Vec::with_capacity(call.homes.len());
        for (home, own) in call.homes.iter().zip(&mut self.own) {
            addresses.push(match (home, own) {
                (Home::Arena(at), _) => base + at,
                (Home::Own, Some(block)) => block.address(),
                (Home::Own, None) => unreachable!("own tensors have a block"),
            });
        }
        let run = &*self;
        let crew = Crew::default();
        let launches = &call.artifact.plan.launches;
        let parts = Parts { call, addresses: &addresses, scratch: &self.scratch };
        // Jobs count from 1.
        let launch = |job: u64| &launches[job as usize - 1];
        let times = self.pool.broadcast(|worker| {
            let _flush = FlushDenormals::begin();
            let worker = worker.index();
            if worker > 0 {
                let count = |job| if job == 0 { 0 } else { parts.count(launch(job)) };
                crew.help(count, |job, part| parts.run(launch(job), part, worker));
                return Vec::new();
            }
            let leader = crew.lead();
            let mut times = Vec::new();
            for (step, job) in (0..launches.len()).zip(1..) {
                if call.guard.is_some_and(|g| g.before == step && !run.good(call, g)) {
                    break;
                }
                let start = call.measured.then(Instant::now);
                let part = |part| parts.run(launch(job), part, worker);
                match parts.count(launch(job)) {
                    0 => {}
                    1 => part(0),
                    many => leader.job(job, many, part),
                }
                times.extend(start.map(|s| s.elapsed()));
            }
            times
        });
        Ok(times.into_iter().flatten().collect())
    }
}

impl Host {
    /// Whether what a guard watches is finite.
    fn good(&self, call: &Call<'_>, guard: &Guard) -> bool {
        guard.watched.iter().all(|id| match call.homes[id.index()] {
            Home::Arena(at) => match call.artifact.precision {
                Precision::F32 => self.arena.get::<f32>(at, 1)[0].is_finite(),
                Precision::F64 => self.arena.get::<f64>(at, 1)[0].is_finite(),
            },
            Home::Own => true,
        })
    }
}
