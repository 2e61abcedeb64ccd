//! From a tensor graph to machine code, of this machine or of a GPU.

use crate::gpu;
use nestor_cranelift::BackendError;
use nestor_ir::artifact::{Artifact, Precision};
pub use nestor_ir::plan::Plan;
use nestor_ir::plan::{self, Launch};
use nestor_ir::tensor::Graph;
pub use nestor_ir::tile::Kernel;
use nestor_ir::tile::{self, Shape};
use nestor_passes::PassError;
use nestor_passes::autodiff::Keeping;
use nestor_passes::batched::batched;
use nestor_passes::columnwise::{Least, columnwise};
use nestor_passes::dealt::dealt;
use nestor_passes::even::even;
use nestor_passes::forms::FormOptions;
use nestor_passes::merge::{Joining, merged};
use nestor_passes::pairs::{Piece, inner, pairs};
pub use nestor_passes::schedule::Calls;
use nestor_passes::schedule::schedule;
use nestor_passes::spread::{Grain, spread};
use nestor_passes::together::together;
use nestor_passes::turn::turned;
use nestor_passes::unpack::unpacked;
use std::sync::Arc;
use thiserror::Error;

/// Why there is no machine code.
#[derive(Debug, Error)]
pub enum NativeError {
    /// A pass stopped.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The backend refused.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The backend for GPUs refused.
    #[error(transparent)]
    Gpu(#[from] nestor_mlir::BackendError),
    /// Something cannot be kept as the caller wants it.
    #[error(transparent)]
    KeptAs(#[from] gpu::kept_as::KeptAsError),
    /// There is no backend for GPUs in this build.
    #[error(
        "this build has no backend for GPUs\nhelp: build it with `cargo build --release --features cuda`, \
         which needs LLVM and MLIR 22"
    )]
    NoGpu,
}

/// What a program is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// This machine's CPU.
    Cpu(Precision),
    /// A GPU.
    Gpu(gpu::Options),
}

impl Machine {
    /// What is said of forms, and the usual number of tokens of a chunk on this machine, and what pays to be kept there.
    pub fn suited(self, forms: FormOptions) -> FormOptions {
        let (usual, keeping) = match self {
            Machine::Cpu(_) => (None, Keeping::default()),
            Machine::Gpu(options) => (gpu::usual_chunk(options), gpu::keeping(options)),
        };
        FormOptions { usual, keeping, ..forms }
    }
}

/// A graph as a plan with kernels compiled for this machine's CPU.
///
/// # Errors
/// Where an op has no kernel, or the backend refuses one: both are ours.
pub fn artifact(graph: &Graph, precision: Precision) -> Result<Artifact, NativeError> {
    compiled(graph, Machine::Cpu(precision))
}

/// A graph as a plan with compiled kernels.
///
/// # Errors
/// As [`artifact`], and where this build has no backend for GPUs.
pub fn compiled(graph: &Graph, machine: Machine) -> Result<Artifact, NativeError> {
    compiled_for(graph, Calls::OfManyTokens, machine)
}

/// As [`compiled`], for calls of some kind.
///
/// # Errors
/// As [`compiled`].
pub fn compiled_for(
    graph: &Graph,
    calls: Calls,
    machine: Machine,
) -> Result<Artifact, NativeError> {
    let (plan, kernels) = planned(graph, calls, machine)?;
    coded(plan, kernels, machine)
}

/// A plan with its kernels compiled.
///
/// # Errors
/// As [`compiled`].
pub fn coded(
    plan: Plan,
    kernels: Vec<Kernel>,
    machine: Machine,
) -> Result<Artifact, NativeError> {
    match machine {
        Machine::Cpu(precision) => {
            let native = nestor_cranelift::compile(&kernels, precision)?;
            let dense = Some(
                nestor_cranelift::routines::dense as nestor_ir::artifact::DenseEntry,
            );
            Ok(Artifact { plan, kernels, native, dense, device: None, precision })
        }
        Machine::Gpu(options) => {
            let code = gpu::code(&plan, &kernels, options)?.for_device(options);
            let (native, dense, precision) = (Vec::new(), None, Precision::F32);
            let device = Some(Arc::new(code));
            Ok(Artifact { plan, kernels, native, dense, device, precision })
        }
    }
}

/// The plan of a graph and its kernels for a CPU, verified.
///
/// # Errors
/// As [`artifact`].
pub fn scheduled(graph: &Graph) -> Result<(Plan, Vec<Kernel>), NativeError> {
    scheduled_for(graph, Machine::Cpu(Precision::F32))
}

/// The plan of a graph and its kernels for a machine, verified: on a GPU, walks are split where that pays, products read
/// operands where they lie, and maps are spread over blocks; on a CPU maps over the same points are joined.
///
/// # Errors
/// As [`artifact`].
pub fn scheduled_for(
    graph: &Graph,
    machine: Machine,
) -> Result<(Plan, Vec<Kernel>), NativeError> {
    planned(graph, Calls::OfManyTokens, machine)
}

/// As [`scheduled_for`] a GPU, with teams of blocks as they are said to be: for tests, at whose sizes no state is too large for one.
///
/// # Errors
/// As [`artifact`].
pub fn scheduled_dealt(
    graph: &Graph,
    options: gpu::Options,
    teams: &gpu::Teams,
) -> Result<(Plan, Vec<Kernel>), NativeError> {
    planned_with(graph, Calls::OfManyTokens, Machine::Gpu(options), teams)
}

fn planned(
    graph: &Graph,
    calls: Calls,
    machine: Machine,
) -> Result<(Plan, Vec<Kernel>), NativeError> {
    let teams = match machine {
        Machine::Cpu(_) => gpu::Teams::NONE,
        Machine::Gpu(options) => gpu::teams(options),
    };
    planned_with(graph, calls, machine, &teams)
}

fn planned_with(
    graph: &Graph,
    calls: Calls,
    machine: Machine,
    teams: &gpu::Teams,
) -> Result<(Plan, Vec<Kernel>), NativeError> {
    let piece = match machine {
        Machine::Cpu(_) => Piece::CORES,
        Machine::Gpu(_) => Piece::WARPS,
    };
    let graph = &pairs(&inner(graph), piece);
    let (plan, mut kernels) = match machine {
        Machine::Cpu(_) => schedule(graph, calls)?,
        Machine::Gpu(options) => {
            let parted = gpu::fission(graph, &gpu::rates(options));
            let (plan, kernels) = schedule(&parted, calls)?;
            (whole_products(plan), kernels)
        }
    };
    let suited = |kernel: Kernel| match machine {
        Machine::Cpu(_) => merged(kernel, Joining::CORES),
        Machine::Gpu(_) => {
            let kernel = merged(turned(unpacked(batched(kernel))), Joining::WARPS);
            let kernel = dealt(kernel, teams);
            let kernel = even(columnwise(together(kernel), Least::WARPS), LINE);
            spread(kernel, Grain::BLOCKS)
        }
    };
    kernels = kernels.into_iter().map(suited).collect();
    let bug = |what: String| PassError::bug("schedule", what);
    for kernel in &kernels {
        let checked = tile::verify::verify(kernel);
        checked.map_err(|why| bug(format!("kernel `{}`: {why}", kernel.name)))?;
    }
    plan::verify::verify(&plan, &kernels).map_err(bug)?;
    Ok((plan, kernels))
}

/// Points of a line from which it is worth to have a power of two of them.
const LINE: usize = 32;

/// The plan with products computed whole: a GPU's library knows no halves.
fn whole_products(mut plan: Plan) -> Plan {
    for launch in &mut plan.launches {
        if let Launch::Dense(dense) = launch {
            dense.shape = Shape::Full;
        }
    }
    plan
}

/// A plan as text, launches with the names of their kernels.
pub fn plan_text(plan: &Plan, kernels: &[Kernel]) -> String {
    plan::text::print(plan, kernels)
}

/// The backend's text of all kernels.
///
/// # Errors
/// As [`artifact`].
pub fn clif(kernels: &[Kernel], precision: Precision) -> Result<String, NativeError> {
    let mut out = String::new();
    for kernel in kernels {
        out.push_str(&nestor_cranelift::clif(kernel, precision)?);
    }
    Ok(out)
}
