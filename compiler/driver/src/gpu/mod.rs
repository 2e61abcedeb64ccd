//! Code for GPUs: PTX of a program's kernels, machine code where an assembler is found, and what a C program
//! needs to launch them.

pub mod c;
pub mod ptxas;
pub mod time;

use crate::native::NativeError;
use nestor_ir::tile::Kernel;
pub use nestor_mlir::products;
pub use nestor_mlir::{Code, Entry, Options, Products, Target};
pub use nestor_passes::fission::{Rates, fission};

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
        always: false,
    }
}

/// Kernels as code for a GPU.
///
/// # Errors
/// Where this build has no such backend, or the backend refuses a kernel.
#[cfg(feature = "cuda")]
pub fn code(kernels: &[Kernel], options: Options) -> Result<Code, NativeError> {
    Ok(nestor_mlir::compile(kernels, options)?)
}

/// As [`code`], with the MLIR as text.
///
/// # Errors
/// As [`code`].
#[cfg(feature = "cuda")]
pub fn code_with_text(kernels: &[Kernel], options: Options) -> Result<Code, NativeError> {
    Ok(nestor_mlir::compile_with_text(kernels, options)?)
}

/// Kernels as code for a GPU.
///
/// # Errors
/// Always: this build has no such backend.
#[cfg(not(feature = "cuda"))]
pub fn code_with_text(kernels: &[Kernel], options: Options) -> Result<Code, NativeError> {
    code(kernels, options)
}

/// Kernels as code for a GPU.
///
/// # Errors
/// Always: this build has no such backend.
#[cfg(not(feature = "cuda"))]
pub fn code(_: &[Kernel], _: Options) -> Result<Code, NativeError> {
    Err(NativeError::NoGpu)
}
