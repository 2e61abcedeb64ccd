//! Tile kernels to PTX: one block of threads for every point of a kernel's grid.
//!
//! A kernel's tiles get their places (`placement`): shared memory as far as it reaches, memory of the
//! block's own beyond it. Between statements that touch the same memory there is a barrier (`barriers`).
//! Then every statement becomes a loop that the block's threads share (`emit`), in MLIR's dialects scf, arith, math
//! and llvm, which LLVM lowers to PTX in process (`llvm`). That needs the feature `cuda`; places and barriers do not.

pub mod barriers;
#[cfg(feature = "cuda")]
mod emit;
#[cfg(feature = "cuda")]
mod llvm;
pub mod placement;
pub mod target;

#[cfg(feature = "cuda")]
pub use emit::compile;
pub use target::{Options, Products, Target};

use nestor_ir::tile::Monomial;

/// A program's kernels for a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Code {
    /// As MLIR, before it is lowered.
    pub mlir: String,
    /// As PTX.
    pub ptx: String,
    /// How each kernel is launched, in order.
    pub entries: Vec<Entry>,
}

/// How a kernel is launched: a block for each point of its grid, the last index fastest.
///
/// Its parameters are its buffers' addresses in order, the address of scratch memory, and B, T and t0, all of
/// 64 bits.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its name in the PTX.
    pub symbol: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// Bytes of scratch memory that every block needs: the sum of these.
    pub scratch: Vec<Monomial>,
}

/// Why there is no code. Both are ours, never the user's.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum BackendError {
    /// A statement that has no code.
    #[error("no code for kernel `{kernel}`: {why}")]
    Code {
        /// Its name.
        kernel: String,
        /// What is missing.
        why: String,
    },
    /// The code generator refused.
    #[error("{step}: {why}")]
    Lowering {
        /// Where.
        step: &'static str,
        /// What it said.
        why: String,
    },
}
