//! Code for GPUs: PTX of a program's kernels, machine code where an assembler is found, and what a C program
//! needs to launch them.

pub mod c;
pub mod kept_as;
pub mod ptxas;
pub mod time;

use crate::native::NativeError;
use nestor_ir::plan::Plan;
use nestor_ir::tile::Kernel;
#[cfg(feature = "cuda")]
use nestor_mlir::narrow::{Between, of_plan};
pub use nestor_mlir::products;
pub use nestor_mlir::{Code, Entry, Options, Products, Target};
use nestor_passes::autodiff::Keeping;
pub use nestor_passes::dealt::Teams;
use nestor_passes::fission::WarpGroup;
pub use nestor_passes::fission::{Rates, fission, in_pieces};

/// What costs are counted by when a graph is rearranged for a GPU.
pub fn rates(options: Options) -> Rates {
    Rates {
        products: options.products.in_a_move(),
        // Maps load and store every number they work on (not measured).
        others: 3.0,
        processors: options.target.processors(),
        // A block of a walk is alone on its processor, and waits with it (a guess).
        alone: 2.5,
        // The walks of two sequences (a guess) may leave processors idle, too.
        sequences: 2,
        // A guess.
        narrowest: 32,
        // By judgement, a fifth of what their units can do.
        group: options.groups().then_some(WarpGroup {
            side: GROUP,
            most: 2 * GROUP,
            products: 240.0,
        }),
        always: false,
    }
}

/// What teams of blocks are on a GPU; of one block each where it has no clusters.
pub fn teams(options: Options) -> Teams {
    Teams {
        most: options.target.cluster(),
        near: options.target.shared() as usize,
        processors: options.target.processors(),
        sequences: rates(options).sequences,
        // Not measured.
        narrowest: 32,
    }
}

/// Tokens of a chunk of large states where nothing asks for another number: as many as a group of warps has rows, where there are such. Not measured: a
/// chunk of two halves takes fewer instructions of blocks than they do, hands half as many states on, and walks half as many steps.
pub fn usual_chunk(options: Options) -> Option<usize> {
    options.groups().then_some(GROUP)
}

/// What pays to be kept for the way back: on tensor cores a product of a chunk's tokens and a state is computed in less time than its result takes to
/// memory and back (counted at widths of 128 and 256: fewer bytes by an eighth, a twentieth more instructions); a system of equations, step by step,
/// is not.
pub fn keeping(options: Options) -> Keeping {
    let enough = match options.products {
        Products::Brain => 400,
        Products::Float32 | Products::Tf32x3 | Products::Tf32 => {
            Keeping::default().enough
        }
    };
    Keeping { enough, solving: 32 }
}

/// Rows of what a group of warps multiplies.
const GROUP: usize = 64;

/// A plan's kernels as code for a GPU: what they hand to each other for products on tensor cores alone is kept as these take it.
///
/// # Errors
/// Where this build has no such backend, or the backend refuses a kernel.
#[cfg(feature = "cuda")]
pub fn code(
    plan: &Plan,
    kernels: &[Kernel],
    options: Options,
) -> Result<Code, NativeError> {
    made(plan, kernels, options, false)
}

/// As [`code`], with the MLIR as text.
///
/// # Errors
/// As [`code`].
#[cfg(feature = "cuda")]
pub fn code_with_text(
    plan: &Plan,
    kernels: &[Kernel],
    options: Options,
) -> Result<Code, NativeError> {
    made(plan, kernels, options, true)
}

#[cfg(feature = "cuda")]
fn made(
    plan: &Plan,
    kernels: &[Kernel],
    options: Options,
    text: bool,
) -> Result<Code, NativeError> {
    let narrow = of_plan(plan, kernels, options.products, Between::Closely);
    kept_as::all_kept(plan, kernels, &narrow, options.products)?;
    Ok(nestor_mlir::compiled(kernels, Some(&narrow), options, text)?)
}

/// Kernels as code for a GPU.
///
/// # Errors
/// Always: this build has no such backend.
#[cfg(not(feature = "cuda"))]
pub fn code_with_text(
    plan: &Plan,
    kernels: &[Kernel],
    options: Options,
) -> Result<Code, NativeError> {
    code(plan, kernels, options)
}

/// Kernels as code for a GPU.
///
/// # Errors
/// Always: this build has no such backend.
#[cfg(not(feature = "cuda"))]
pub fn code(_: &Plan, _: &[Kernel], _: Options) -> Result<Code, NativeError> {
    Err(NativeError::NoGpu)
}
