//! Plans on a device: memory from its pool, launches told in order, and from the second call with the same sizes on as a
//! graph.

use super::RunError;
use super::engine::{Call, Engine, Home};
use crate::device::cpu::{as_bytes, as_bytes_mut};
use crate::device::pool::Span;
use crate::device::product::{Operand, Product};
use crate::device::waits::{Touched, waits};
use crate::device::{Command, Device, DeviceError, Graph, Held, Module, Shared};
use crate::tensor_file::{Data, HostTensor};
use half::bf16;
use nestor_ir::artifact::{Artifact, DeviceCode, Narrow};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, Launch, Tensor};
use nestor_ir::tile::{Monomial, Use};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Counted in a step of training (`examples/gated_delta.nest`): the longest chain of 390 launches is 227 where bytes are used again
/// at once, 137 so many launches later, for about a tenth more memory, and 124 where they never are.
const BESIDE: usize = 8;

/// Memory on a device, and the program's code in it.
pub(crate) struct OnDevice {
    shared: Shared,
    code: Arc<DeviceCode>,
    module: Module,
    arena: Span,
    scratch: Span,
    own: Vec<Option<Span>>,
    /// Tensors that kernels keep as bfloat16.
    narrow: Narrow,
    /// What addresses and sizes the last call had, and its launches as graphs where they were kept.
    last: Option<(Vec<Command>, Vec<Graph>)>,
}

impl OnDevice {
    /// Loads a program's code.
    pub(crate) fn new(artifact: &Artifact, shared: Shared) -> Result<Self, RunError> {
        let code = artifact.device.clone().ok_or(RunError::NotCompiled)?;
        let module = shared.hold().device.load(&code)?;
        let own = vec![None; artifact.plan.tensors.len()];
        let (arena, scratch) = (Span::default(), Span::default());
        let narrow = code.narrow(&artifact.plan);
        Ok(Self { shared, code, module, arena, scratch, own, narrow, last: None })
    }

    fn address(&self, id: Tensor, at: Home) -> u64 {
        match at {
            Home::Arena(at) => self.arena.address + at as u64,
            Home::Own => self.own[id.index()].expect("own tensors have a span").address,
        }
    }

    /// A span of at least so many bytes in the place of another.
    fn grown(&self, span: Span, bytes: usize) -> Result<Span, DeviceError> {
        if span.bytes >= bytes && span.bytes > 0 {
            return Ok(span);
        }
        let Held { device, pool } = &mut *self.shared.hold();
        pool.give(span);
        pool.take(device.as_mut(), bytes)
    }

    /// What the plan's launches tell the device.
    fn commands(&self, call: &Call<'_>) -> Vec<Command> {
        let sizes = &call.sizes;
        let address = |t: Tensor| self.address(t, call.homes[t.index()]);
        let one = |launch: &Launch| match launch {
            Launch::Kernel { kernel, buffers } => {
                let entry = &self.code.entries[kernel.index()];
                let grid = &call.artifact.kernels[kernel.index()].grid;
                let mut params: Vec<u64> = buffers.iter().map(|b| address(*b)).collect();
                params.push(self.scratch.address);
                params.extend([sizes.batch, sizes.time, sizes.start].map(|n| n as u64));
                let buffer = |n: usize| (params[n], call.bytes[buffers[n].index()]);
                let maps = entry.maps(sizes, buffer);
                Command::Kernel {
                    module: self.module,
                    symbol: entry.symbol.clone(),
                    grid: grid.iter().map(|(_, d)| d.size(sizes)).product(),
                    threads: entry.threads,
                    shared: entry.shared,
                    params,
                    maps,
                }
            }
            Launch::Dense(d) => Command::Product(self.module, dense(d, sizes, &address)),
            Launch::Zero(t) => {
                let bytes = call.bytes[t.index()];
                Command::Fill { at: address(*t), bytes, value: 0 }
            }
            Launch::Copy { from, to } => {
                let bytes = call.bytes[to.index()];
                Command::Copy { from: address(*from), to: address(*to), bytes }
            }
        };
        call.artifact.plan.launches.iter().map(one).collect()
    }

    /// What each of the plan's launches touches.
    fn touched(&self, call: &Call<'_>) -> Vec<Touched> {
        let range = |t: &Tensor| {
            let at = self.address(*t, call.homes[t.index()]);
            at..at + call.bytes[t.index()] as u64
        };
        let ranges = |all: &[Tensor]| all.iter().map(range).collect();
        let one = |launch: &Launch| match launch {
            Launch::Kernel { kernel, buffers } => {
                let kernel = kernel.index();
                let params = call.artifact.kernels[kernel].buffers.values();
                let mut touched = Touched::default();
                for (t, param) in buffers.iter().zip(params) {
                    match param.usage {
                        Use::Read => touched.reads.push(range(t)),
                        Use::Write | Use::Update => touched.writes.push(range(t)),
                    }
                }
                // Blocks of all kernels work in the same scratch memory.
                if self.code.entries[kernel].scratch_bytes(&call.sizes) > 0 {
                    let Span { address, bytes } = self.scratch;
                    touched.writes.push(address..address + bytes as u64);
                }
                touched
            }
            Launch::Dense(d) => Touched {
                reads: ranges(&[d.left.tensor, d.right.tensor]),
                writes: ranges(&[d.out.tensor]),
            },
            Launch::Zero(t) => Touched { reads: vec![], writes: ranges(&[*t]) },
            Launch::Copy { from, to } => {
                Touched { reads: ranges(&[*from]), writes: ranges(&[*to]) }
            }
        };
        call.artifact.plan.launches.iter().map(one).collect()
    }

    /// Commands as graphs: those before the guard, and those behind it.
    fn kept(
        &self,
        call: &Call<'_>,
        commands: &[Command],
    ) -> Result<Vec<Graph>, DeviceError> {
        let touched = self.touched(call);
        let cut = call.guard.map_or(commands.len(), |g| g.before);
        let parts = [0..cut, cut..commands.len()].into_iter().filter(|p| !p.is_empty());
        let device = &mut self.shared.hold().device;
        let keep =
            |p: Range<usize>| device.keep(&commands[p.clone()], &waits(&touched[p]));
        parts.map(keep).collect()
    }

    /// Whether what a guard watches is finite.
    fn good(&self, call: &Call<'_>) -> Result<bool, RunError> {
        let watched = call.guard.iter().flat_map(|g| &g.watched);
        for id in watched {
            let mut bytes = [0; 4];
            let at = self.address(*id, call.homes[id.index()]);
            self.shared.hold().device.download(at, &mut bytes)?;
            if !f32::from_le_bytes(bytes).is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn forget(&mut self) {
        let Some((_, graphs)) = self.last.take() else { return };
        let mut held = self.shared.hold();
        graphs.into_iter().for_each(|g| held.device.forget(g));
    }

    /// Each command on its own, and what it took.
    fn one_by_one(
        &self,
        call: &Call<'_>,
        commands: &[Command],
    ) -> Result<Vec<Duration>, RunError> {
        let mut times = Vec::new();
        for (step, command) in commands.iter().enumerate() {
            if call.guard.is_some_and(|g| g.before == step) && !self.good(call)? {
                break;
            }
            let start = Instant::now();
            let device = &mut self.shared.hold().device;
            device.tell(command)?;
            if call.measured {
                device.wait()?;
                times.push(start.elapsed());
            }
        }
        Ok(times)
    }
}

/// Kernels count in 32 bits what is known to fit.
fn small_enough(device: &dyn Device, sizes: &Sizes) -> Result<(), DeviceError> {
    let Some((name, n)) = sizes.too_large() else { return Ok(()) };
    let why = format!("{name} is {n}, and has to be below {}", Sizes::BELOW);
    Err(DeviceError::Failed {
        device: device.name(),
        step: "sizes of a call".to_owned(),
        why,
    })
}

/// A dense product with its numbers.
fn dense(d: &Dense, sizes: &Sizes, address: &dyn Fn(Tensor) -> u64) -> Product {
    let size = |m: &Monomial| usize::try_from(m.eval(sizes)).unwrap_or(0);
    let operand = |o: &DenseOperand| Operand {
        address: address(o.tensor).wrapping_add_signed(o.origin.eval(sizes, &[]) * 4),
        repeat: o.batch.eval(sizes),
        row: o.row.eval(sizes),
        column: o.column.eval(sizes),
    };
    Product {
        shape: [size(&d.m), size(&d.n), size(&d.k)],
        repeats: size(&d.batch),
        alpha: d.alpha as f32,
        operands: [&d.left, &d.right, &d.out].map(operand),
        accumulate: d.accumulate,
    }
}

/// Numbers as bfloat16, to the nearest and then to even.
fn rounded(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect()
}

/// The reverse of [`rounded`].
fn widened(bytes: &[u8], numbers: &mut [f32]) {
    for (x, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(2)) {
        *x = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    }
}

impl Engine for OnDevice {
    fn own(&mut self, tensor: Tensor, bytes: usize) -> Result<(), RunError> {
        let before = self.own[tensor.index()].take().unwrap_or_default();
        self.own[tensor.index()] = Some(self.grown(before, bytes)?);
        Ok(())
    }

    fn reserve(
        &mut self,
        artifact: &Artifact,
        arena: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        self.forget();
        let scratch = self.scratch(artifact, sizes);
        let before = std::mem::take(&mut self.arena);
        let reserved = self.grown(before, arena).and_then(|arena| {
            self.arena = arena;
            let before = std::mem::take(&mut self.scratch);
            self.scratch = self.grown(before, scratch)?;
            Ok(())
        });
        if reserved.is_err() {
            // All of it is free for whoever asks for less next.
            let Held { device, pool } = &mut *self.shared.hold();
            pool.give(std::mem::take(&mut self.arena));
            pool.give(std::mem::take(&mut self.scratch));
            pool.empty(device.as_mut());
        }
        Ok(reserved?)
    }

    fn scratch(&self, artifact: &Artifact, sizes: &Sizes) -> usize {
        let of = |(entry, kernel): (
            &nestor_ir::artifact::DeviceEntry,
            &nestor_ir::tile::Kernel,
        )| {
            let points: usize = kernel.grid.iter().map(|(_, d)| d.size(sizes)).product();
            entry.scratch_bytes(sizes) * points
        };
        self.code.entries.iter().zip(&artifact.kernels).map(of).max().unwrap_or(0)
    }

    fn room(&self) -> Option<usize> {
        let held = self.shared.hold();
        let (free, _) = held.device.memory().ok()?;
        Some(free + held.pool.waiting() + self.arena.bytes + self.scratch.bytes)
    }

    fn beside(&self) -> usize {
        BESIDE
    }

    fn arena_bytes(&self) -> usize {
        self.arena.bytes
    }

    fn poison(&mut self) -> Result<(), RunError> {
        let Span { address: at, bytes } = self.arena;
        let command = Command::Fill { at, bytes, value: 0xff };
        Ok(self.shared.hold().device.tell(&command)?)
    }

    fn put(&mut self, id: Tensor, at: Home, tensor: &HostTensor) -> Result<(), RunError> {
        let to = self.address(id, at);
        let bytes = match &tensor.data {
            Data::F32(v) if self.narrow[id.index()] => Cow::Owned(rounded(v)),
            data => as_bytes(data),
        };
        Ok(self.shared.hold().device.upload(to, &bytes)?)
    }

    fn take(&self, id: Tensor, at: Home, into: &mut HostTensor) -> Result<(), RunError> {
        let from = self.address(id, at);
        let device = &mut self.shared.hold().device;
        if let Data::F32(v) = &mut into.data
            && self.narrow[id.index()]
        {
            let mut bytes = vec![0; 2 * v.len()];
            device.download(from, &mut bytes)?;
            widened(&bytes, v);
            return Ok(());
        }
        let mut result = Ok(());
        as_bytes_mut(&mut into.data, |bytes| result = device.download(from, bytes));
        Ok(result?)
    }

    fn launch(&mut self, call: &Call<'_>) -> Result<Vec<Duration>, RunError> {
        small_enough(self.shared.hold().device.as_ref(), &call.sizes)?;
        let commands = self.commands(call);
        let again = self.last.as_ref().is_some_and(|(before, _)| *before == commands);
        if !again {
            self.forget();
        }
        if call.measured || !again {
            let times = self.one_by_one(call, &commands)?;
            if !again {
                self.last = Some((commands, Vec::new()));
            }
            return Ok(times);
        }
        if self.last.as_ref().is_some_and(|(_, graphs)| graphs.is_empty()) {
            let graphs = self.kept(call, &commands)?;
            self.last = Some((commands, graphs));
        }
        let graphs = self.last.as_ref().map(|(_, graphs)| graphs.clone());
        for (n, graph) in graphs.iter().flatten().enumerate() {
            if n > 0 && !self.good(call)? {
                break;
            }
            self.shared.hold().device.replay(*graph)?;
        }
        Ok(Vec::new())
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        self.forget();
        let spans = self.own.iter().flatten().copied().chain([self.arena, self.scratch]);
        let mut held = self.shared.hold();
        // What is under way may still use them.
        let _ = held.device.wait();
        spans.for_each(|s| held.pool.give(s));
        held.device.unload(self.module);
    }
}
