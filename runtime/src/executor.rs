//! Runs a compiled plan: memory by lifetime, launches in order, on the CPU's workers or on a device.
//!
//! Two ways to use it. One call: every input is given, every output comes back. Resident: tensors
//! that are [`Executor::set`] stay in the executor's memory (weights and optimiser states, which
//! a plan updates in place) and are read back by [`Executor::get`]. What is computed depends on
//! inputs and sizes alone, never on the number of workers.

mod crew;
mod engine;
mod fit;
mod guard;
mod host;
mod on_device;
mod parts;

use crate::device::{DeviceError, Shared};
use crate::exchange::{check_fixed, dims, dtype, empty, input_name, lives};
use crate::memory::{Need, place};
use crate::tensor_file::{HostTensor, Mismatch};
use engine::{Call, Engine, Home};
use guard::{Guard, launch_name};

pub use crate::exchange::first_not_finite;
use nestor_ir::artifact::{Artifact, Narrow};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Role, Tensor};
use nestor_ir::ty::Type;
use std::time::Duration;

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
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device's memory is too small for a call.
    #[error("{needed} are needed, {free} are free; {fits}")]
    TooLarge {
        /// What the call needs beside what is resident.
        needed: String,
        /// What there is.
        free: String,
        /// Sizes that would fit.
        fits: String,
    },
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

/// A plan with its memory.
pub struct Executor {
    artifact: Artifact,
    engine: Box<dyn Engine>,
    /// First and last launch of each tensor.
    lives: Vec<(usize, usize)>,
    /// Tensors with memory of their own: those set, and those updated in place.
    own: Vec<bool>,
    /// Sizes for which a tensor's own memory was filled last.
    filled: Vec<Option<Vec<usize>>>,
    homes: Vec<Home>,
    /// Tensors that the device's kernels keep as bfloat16; none on the CPU.
    narrow: Narrow,
    /// What every tensor took when memory was laid out last.
    planned: Option<Vec<usize>>,
    timings: Option<Vec<Timing>>,
    poison: bool,
    guard: Option<Guard>,
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
        let engine = host::Host::new(artifact.plan.tensors.len(), workers)?;
        Ok(Self::of(artifact, Box::new(engine)))
    }

    /// An executor on a device.
    pub fn on(artifact: Artifact, device: &Shared) -> Result<Self, RunError> {
        let engine = on_device::OnDevice::new(&artifact, device.clone())?;
        Ok(Self::of(artifact, Box::new(engine)))
    }

    fn of(artifact: Artifact, engine: Box<dyn Engine>) -> Self {
        let count = artifact.plan.tensors.len();
        let tensors = artifact.plan.tensors.values();
        let own = tensors.map(|t| matches!(t.role, Role::InPlace { .. })).collect();
        let narrow = artifact.device.as_ref().map(|code| code.narrow(&artifact.plan));
        Self {
            narrow: narrow.unwrap_or_default(),
            lives: lives(&artifact),
            own,
            filled: vec![None; count],
            homes: vec![Home::Arena(0); count],
            planned: None,
            timings: None,
            poison: false,
            guard: None,
            engine,
            artifact,
        }
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
        if !self.own[id.index()] {
            self.planned = None;
        }
        self.own[id.index()] = true;
        self.put_own(id, tensor)
    }

    /// A resident tensor as it is now, by the name of its input.
    pub fn get(&self, name: &str) -> Result<HostTensor, RunError> {
        let id = self.input(name)?;
        let data = &self.artifact.plan.tensors[id];
        match (self.own[id.index()], &self.filled[id.index()]) {
            (true, Some(dims)) => self.taken(id, Home::Own, name, dims),
            (_, _) => Err(RunError::Missing {
                name: name.to_owned(),
                expected: data.ty.to_string(),
            }),
        }
    }

    fn put_own(&mut self, id: Tensor, tensor: &HostTensor) -> Result<(), RunError> {
        self.engine.own(id, tensor.count() * self.width(id))?;
        self.engine.put(id, Home::Own, tensor)?;
        self.filled[id.index()] = Some(tensor.dims.clone());
        Ok(())
    }

    fn taken(
        &self,
        id: Tensor,
        at: Home,
        name: &str,
        dims: &[usize],
    ) -> Result<HostTensor, RunError> {
        let ty = &self.artifact.plan.tensors[id].ty;
        let mut out = empty(name, ty, dims, self.artifact.precision);
        self.engine.take(id, at, &mut out)?;
        Ok(out)
    }

    /// Fills memory with numbers that are not before each call, so that reading what was never
    /// written shows.
    pub fn poison(&mut self, on: bool) {
        self.poison = on;
    }

    /// Leaves everything as it was in calls where one of these outputs is not finite: the call
    /// ends before its first update. False where the plan updates something before they are known.
    pub fn guard(&mut self, outputs: &[&str]) -> bool {
        self.guard = guard::guard(&self.artifact, outputs);
        self.guard.is_some()
    }

    /// Begins to measure launches, or stops.
    pub fn measure(&mut self, on: bool) {
        self.timings = on.then(|| {
            let launches = self.artifact.plan.launches.iter();
            launches
                .map(|l| Timing {
                    name: launch_name(&self.artifact, l),
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
        self.engine.arena_bytes()
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
        self.lay_out(sizes)?;
        if self.poison {
            self.engine.poison()?;
        }
        for tensor in inputs {
            let id = self.input(&tensor.name)?;
            match self.homes[id.index()] {
                Home::Own => self.put_own(id, tensor)?,
                at @ Home::Arena(_) => self.engine.put(id, at, tensor)?,
            }
        }
        self.launch_all(sizes)?;
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
                outputs.push(self.taken(id, self.homes[id.index()], name, &dims)?);
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
        self.lay_out(sizes)?;
        self.launch_all(sizes)
    }

    fn launch_all(&mut self, sizes: Sizes) -> Result<(), RunError> {
        let bytes = self.planned.as_deref().unwrap_or(&[]);
        let call = Call {
            artifact: &self.artifact,
            homes: &self.homes,
            bytes,
            sizes,
            guard: self.guard.as_ref(),
            measured: self.timings.is_some(),
        };
        let times = self.engine.launch(&call)?;
        for (timing, time) in self.timings.iter_mut().flatten().zip(times) {
            timing.calls += 1;
            timing.total += time;
        }
        Ok(())
    }

    /// Whether every input is given or resident in the right shape.
    fn all_there(&self, given: &[bool], sizes: &Sizes) -> Result<(), RunError> {
        for (id, tensor) in self.artifact.plan.tensors.iter() {
            let Some(name) = input_name(&tensor.role) else { continue };
            let want = dims(&tensor.ty, sizes);
            let expected = || format!("{} of {want:?}", tensor.ty);
            let resident = match (self.own[id.index()], &self.filled[id.index()]) {
                (true, Some(have)) if !given[id.index()] && *have != want => {
                    let dtype = dtype(tensor.ty.elem, self.artifact.precision);
                    return Err(RunError::Mismatch(Mismatch {
                        name: name.to_owned(),
                        found: dtype,
                        found_dims: have.clone(),
                        expected: dtype,
                        expected_dims: want,
                    }));
                }
                (true, Some(_)) => true,
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
        count * self.width(id)
    }

    /// Bytes of an element of a tensor.
    fn width(&self, id: Tensor) -> usize {
        match self.narrow.get(id.index()) {
            Some(true) => 2,
            _ => {
                let elem = self.artifact.plan.tensors[id].ty.elem;
                dtype(elem, self.artifact.precision).size()
            }
        }
    }

    /// Gives every tensor its place for these sizes. Calls that differ in where they start alone
    /// find it as it was.
    fn lay_out(&mut self, sizes: Sizes) -> Result<(), RunError> {
        let taken = self.artifact.plan.tensors.keys().map(|id| self.bytes(id, &sizes));
        let most = self.engine.scratch(&self.artifact, &sizes);
        let taken: Vec<usize> = taken.chain([most]).collect();
        if self.planned.as_ref() == Some(&taken) {
            return Ok(());
        }
        self.planned = None;
        // Where there is no room for what may go side by side, one goes after the other.
        for beside in [self.engine.beside(), 0] {
            let (homes, total) = self.layout(&sizes, beside);
            self.homes = homes;
            match self.engine.reserve(&self.artifact, total, &sizes) {
                Err(RunError::Device(DeviceError::OutOfMemory { .. })) => {}
                other => {
                    other?;
                    self.planned = Some(taken);
                    return Ok(());
                }
            }
        }
        Err(fit::too_large(self, &sizes))
    }

    /// The place of every tensor for these sizes, and bytes of the arena; what a tensor had is used again only so many launches
    /// later.
    fn layout(&self, sizes: &Sizes, beside: usize) -> (Vec<Home>, usize) {
        let mut homes = vec![Home::Own; self.homes.len()];
        let mut needs = Vec::new();
        let mut ids = Vec::new();
        for id in self.artifact.plan.tensors.keys() {
            if !self.own[id.index()] {
                let (first, last) = self.lives[id.index()];
                let last = last + beside;
                needs.push(Need { bytes: self.bytes(id, sizes), first, last });
                ids.push(id);
            }
        }
        let (offsets, total) = place(&needs);
        for (id, at) in ids.into_iter().zip(offsets) {
            homes[id.index()] = Home::Arena(at);
        }
        (homes, total)
    }
}
