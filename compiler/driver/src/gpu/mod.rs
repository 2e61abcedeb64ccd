//! Code for GPUs: PTX of a program's kernels, machine code where an assembler is found, and what a C program
//! needs to launch them.

pub mod c;
pub mod ptxas;

use crate::native::NativeError;
use nestor_ir::tile::Kernel;
pub use nestor_mlir::{Code, Entry, Options, Products, Target};

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
