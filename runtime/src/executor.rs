//! Runs a compiled plan: memory by lifetime, launches in order, grid points over workers.
//!
//! Two ways to use it. One call: every input is given, every output comes back. Resident: tensors
//! that are [`Executor::set`] stay in the executor's memory (weights and optimiser states, which
//! a plan updates in place) and are read back by [`Executor::get`]. What is computed depends on
//! inputs and sizes alone, never on the number of workers.

mod crew;
mod launch;

use crate::device::cpu::Block;
use crate::exchange::{check_fixed, dims, dtype, input_name, lives, put, take};
use crate::memory::{Need, place};
use crate::tensor_file::{HostTensor, Mismatch};

pub use crate::exchange::first_not_finite;
use nestor_ir::artifact::Artifact;
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Role, Tensor};
use nestor_ir::ty::Type;
use rayon::ThreadPool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A launch whose tensors hold fewer elements than this stays on one worker: starting the others
/// costs more than they would save.
const SMALL: usize = 1 << 14;

/// Why a plan did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input is neither given nor resident.
    #[error("input `{name}` is missing; expected {expected}")]
    Missing {
        /// Its name.
        name: String,
        /// Its type.
        expected: String,
    },
    /// A tensor that the plan does not take.
    #[error("`{name}` is no input of this program; its inputs are {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// Names that are.
        known: String,
    },
    /// A tensor of another type or shape.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The artifact holds no code to run.
    #[error("the program was not compiled for this machine")]
    NotCompiled,
    /// No workers could be started.
    #[error("no worker threads: {0}")]
    Workers(String),
}

/// Time spent in one launch of the plan, summed over calls.
#[derive(Clone, PartialEq, Debug)]
pub struct Timing {
    /// What was launched.
    pub name: String,
    /// How often.
    pub calls: usize,
    /// How long in all.
    pub total: Duration,
}

/// Where a tensor lies.
#[derive(Clone, Copy, Debug)]
enum Home {
    /// In the arena, from this byte on.
    Arena(usize),
    /// In its own block.
    Own,
}

/// A plan with its memory.
pub struct Executor {
    artifact: Artifact,
    pool: ThreadPool,
    /// First and last launch of each tensor.
    lives: Vec<(usize, usize)>,
    /// Tensors with a block of their own: those set, and those updated in place.
    own: Vec<Option<Block>>,
    /// Sizes for which an own block was filled last.
    filled: Vec<Option<Vec<usize>>>,
    homes: Vec<Home>,
    /// What every tensor took when memory was laid out last.
    planned: Option<Vec<usize>>,
    arena: Block,
    scratch: Vec<Mutex<Block>>,
    timings: Option<Vec<Timing>>,
    poison: bool,
    guard: Option<Guard>,
}

/// Outputs that must be finite, or nothing is updated.
struct Guard {
    watched: Vec<Tensor>,
    /// The first launch that updates something.
    before: usize,
}

impl Executor {
    /// An executor with a worker for each core.
    pub fn new(artifact: Artifact) -> Result<Self, RunError> {
        Self::with_workers(artifact, 0)
    }

    /// An executor with this many workers; 0 for one a core.
    pub fn with_workers(artifact: Artifact, workers: usize) -> Result<Self, RunError> {
        let launches = artifact.plan.launches.iter();
        let dense = launches.filter(|l| matches!(l, Launch::Dense(_))).count();
        if artifact.native.len() != artifact.kernels.len()
            || (dense > 0 && artifact.dense.is_none())
        {
            return Err(RunError::NotCompiled);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .build()
            .map_err(|e| RunError::Workers(e.to_string()))?;
        let count = artifact.plan.tensors.len();
        let scratch = (0..pool.current_num_threads())
            .map(|_| Mutex::new(Block::default()))
            .collect();
        let own = artifact.plan.tensors.values().map(|t| match t.role {
            Role::InPlace { .. } => Some(Block::default()),
            Role::Input(_) | Role::Output(_) | Role::Temporary => None,
        });
        Ok(Self {
            lives: lives(&artifact),
            own: own.collect(),
            filled: vec![None; count],
            homes: vec![Home::Arena(0); count],
            planned: None,
            arena: Block::default(),
            scratch,
            timings: None,
            poison: false,
            guard: None,
            pool,
            artifact,
        })
    }

    /// The compiled program.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Names and types of all inputs.
    pub fn inputs(&self) -> Vec<(&str, &Type)> {
        let tensors = self.artifact.plan.tensors.values();
        tensors.filter_map(|t| Some((input_name(&t.role)?, &t.ty))).collect()
    }

    /// Names of tensors that the plan updates in place.
    pub fn updated(&self) -> Vec<&str> {
        let tensors = self.artifact.plan.tensors.values();
        tensors
            .filter_map(|t| match &t.role {
                Role::InPlace { input, .. } => Some(input.as_str()),
                Role::Input(_) | Role::Output(_) | Role::Temporary => None,
            })
            .collect()
    }

    /// Keeps an input in the executor's memory: later calls need not give it.
    pub fn set(&mut self, tensor: &HostTensor) -> Result<(), RunError> {
        let id = self.input(&tensor.name)?;
        let ty = &self.artifact.plan.tensors[id].ty;
        check_fixed(tensor, ty, self.artifact.precision)?;
        if self.own[id.index()].is_none() {
            self.planned = None;
        }
        let block = self.own[id.index()].get_or_insert_default();
        block.reserve(tensor.count() * tensor.dtype().size());
        put(block, 0, tensor);
        self.filled[id.index()] = Some(tensor.dims.clone());
        Ok(())
    }

    /// A resident tensor as it is now, by the name of its input.
    pub fn get(&self, name: &str) -> Result<HostTensor, RunError> {
        let id = self.input(name)?;
        let data = &self.artifact.plan.tensors[id];
        match (&self.own[id.index()], &self.filled[id.index()]) {
            (Some(block), Some(dims)) => {
                Ok(take(block, 0, name, &data.ty, dims, self.artifact.precision))
            }
            (_, _) => Err(RunError::Missing {
                name: name.to_owned(),
                expected: data.ty.to_string(),
            }),
        }
    }

    /// Fills memory with numbers that are not before each call, so that reading what was never
    /// written shows.
    pub fn poison(&mut self, on: bool) {
        self.poison = on;
    }

    /// Leaves everything as it was in calls where one of these outputs is not finite: the call
    /// ends before its first update. False where the plan updates something before they are known.
    pub fn guard(&mut self, outputs: &[&str]) -> bool {
        self.guard = launch::guard(&self.artifact, outputs);
        self.guard.is_some()
    }

    /// Begins to measure launches, or stops.
    pub fn measure(&mut self, on: bool) {
        self.timings = on.then(|| {
            let launches = self.artifact.plan.launches.iter();
            launches
                .map(|l| Timing {
                    name: self.launch_name(l),
                    calls: 0,
                    total: Duration::ZERO,
                })
                .collect()
        });
    }

    /// What was measured, in the plan's order.
    pub fn timings(&self) -> &[Timing] {
        self.timings.as_deref().unwrap_or(&[])
    }

    /// Bytes of the arena at the sizes of the last call.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Runs the plan. Gives every output, and of the tensors updated in place those that were
    /// given to this call.
    pub fn run(
        &mut self,
        inputs: &[&HostTensor],
        sizes: Sizes,
    ) -> Result<Vec<HostTensor>, RunError> {
        let mut given = vec![false; self.homes.len()];
        for tensor in inputs {
            let id = self.input(&tensor.name)?;
            let dims = dims(&self.artifact.plan.tensors[id].ty, &sizes);
            let elem = self.artifact.plan.tensors[id].ty.elem;
            tensor.expect(dtype(elem, self.artifact.precision), &dims)?;
            given[id.index()] = true;
        }
        self.all_there(&given, &sizes)?;
        self.lay_out(sizes);
        if self.poison {
            self.arena.fill(0xff);
        }
        for tensor in inputs {
            let id = self.input(&tensor.name)?;
            match (self.homes[id.index()], &mut self.own[id.index()]) {
                (Home::Own, Some(block)) => {
                    block.reserve(tensor.count() * tensor.dtype().size());
                    put(block, 0, tensor);
                    self.filled[id.index()] = Some(tensor.dims.clone());
                }
                (Home::Arena(at), _) => put(&mut self.arena, at, tensor),
                (Home::Own, None) => unreachable!("own tensors have a block"),
            }
        }
        self.launch_all(sizes);
        let mut outputs = Vec::new();
        for (id, tensor) in self.artifact.plan.tensors.iter() {
            let names: &[String] = match &tensor.role {
                Role::Output(names) => names,
                Role::InPlace { output, .. } if given[id.index()] => {
                    std::slice::from_ref(output)
                }
                Role::InPlace { .. } | Role::Input(_) | Role::Temporary => &[],
            };
            let dims = dims(&tensor.ty, &sizes);
            for name in names {
                let (block, at) = match (self.homes[id.index()], &self.own[id.index()]) {
                    (Home::Own, Some(block)) => (block, 0),
                    (Home::Arena(at), _) => (&self.arena, at),
                    (Home::Own, None) => unreachable!("own tensors have a block"),
                };
                outputs.push(take(
                    block,
                    at,
                    name,
                    &tensor.ty,
                    &dims,
                    self.artifact.precision,
                ));
            }
        }
        Ok(outputs)
    }

    /// Runs the plan on resident tensors alone and leaves every result in the executor's memory.
    ///
    /// # Errors
    /// Where an input is not resident, or resident for other sizes.
    pub fn step(&mut self, sizes: Sizes) -> Result<(), RunError> {
        self.all_there(&vec![false; self.homes.len()], &sizes)?;
        self.lay_out(sizes);
        self.launch_all(sizes);
        Ok(())
    }

    /// Whether every input is given or resident in the right shape.
    fn all_there(&self, given: &[bool], sizes: &Sizes) -> Result<(), RunError> {
        for (id, tensor) in self.artifact.plan.tensors.iter() {
            let Some(name) = input_name(&tensor.role) else { continue };
            let want = dims(&tensor.ty, sizes);
            let expected = || format!("{} of {want:?}", tensor.ty);
            let resident = match (&self.own[id.index()], &self.filled[id.index()]) {
                (Some(_), Some(have)) if !given[id.index()] && *have != want => {
                    let dtype = dtype(tensor.ty.elem, self.artifact.precision);
                    return Err(RunError::Mismatch(Mismatch {
                        name: name.to_owned(),
                        found: dtype,
                        found_dims: have.clone(),
                        expected: dtype,
                        expected_dims: want,
                    }));
                }
                (Some(_), Some(_)) => true,
                (_, _) => false,
            };
            if !given[id.index()] && !resident {
                return Err(RunError::Missing {
                    name: name.to_owned(),
                    expected: expected(),
                });
            }
        }
        Ok(())
    }

    fn input(&self, name: &str) -> Result<Tensor, RunError> {
        let mut tensors = self.artifact.plan.tensors.iter();
        let found = tensors.find(|(_, t)| input_name(&t.role) == Some(name));
        found.map(|(id, _)| id).ok_or_else(|| {
            let known: Vec<&str> = self.inputs().into_iter().map(|(n, _)| n).collect();
            RunError::Unknown { name: name.to_owned(), known: known.join(", ") }
        })
    }

    fn bytes(&self, id: Tensor, sizes: &Sizes) -> usize {
        let ty = &self.artifact.plan.tensors[id].ty;
        let count: usize = ty.dims.iter().map(|d| d.size(sizes)).product();
        count * dtype(ty.elem, self.artifact.precision).size()
    }

    /// Gives every tensor its place for these sizes. Calls that differ in where they start alone
    /// find it as it was.
    fn lay_out(&mut self, sizes: Sizes) {
        let taken = self.artifact.plan.tensors.keys().map(|id| self.bytes(id, &sizes));
        let natives = self.artifact.native.iter();
        let most = natives
            .map(|n| n.scratch.iter().map(|m| m.eval(&sizes)).sum::<i64>())
            .max()
            .unwrap_or(0);
        let most = usize::try_from(most).unwrap_or(0);
        let taken: Vec<usize> = taken.chain([most]).collect();
        if self.planned.as_ref() == Some(&taken) {
            return;
        }
        let mut needs = Vec::new();
        let mut ids = Vec::new();
        for (id, &bytes) in self.artifact.plan.tensors.keys().zip(&taken) {
            if self.own[id.index()].is_some() {
                self.homes[id.index()] = Home::Own;
                continue;
            }
            let (first, last) = self.lives[id.index()];
            needs.push(Need { bytes, first, last });
            ids.push(id);
        }
        let (offsets, total) = place(&needs);
        for (id, at) in ids.into_iter().zip(offsets) {
            self.homes[id.index()] = Home::Arena(at);
        }
        self.arena.reserve(total);
        for block in &mut self.scratch {
            let block = block.get_mut().unwrap_or_else(PoisonError::into_inner);
            block.reserve(most);
        }
        self.planned = Some(taken);
    }
}
