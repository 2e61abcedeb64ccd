//! Tile kernels to native code with Cranelift.
//!
//! Maps become vector functions of AVX-512 where the machine has it (`wide`), 128-bit vector code of
//! Cranelift elsewhere; transcendentals, products, solves and scans become calls of block routines
//! compiled ahead for the machine's widest vectors. All kernels of a program
//! live in one module in memory, which every compiled kernel keeps alive.

mod access;
mod affine;
mod block;
mod emitter;
mod eval;
mod jit;
mod map;
mod normalise;
mod reduce;
pub mod routines;
mod scratch;
mod stages;
mod stmt;
mod transpose;
mod unfold;
mod wide;
mod wide_call;

pub use jit::{Data, clif, compile, compile_at, run, vector_functions};

/// Why a kernel was not compiled. Both are ours, never the user's.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum BackendError {
    /// The kernel is not well formed.
    #[error("kernel `{kernel}` is not well formed: {why}")]
    Kernel {
        /// Its name.
        kernel: String,
        /// What is wrong.
        why: String,
    },
    /// The code generator refused.
    #[error("no code for kernel `{kernel}`: {why}")]
    Code {
        /// Its name.
        kernel: String,
        /// What it said.
        why: String,
    },
}

impl BackendError {
    fn code(kernel: &str, why: &dyn std::fmt::Display) -> Self {
        Self::Code { kernel: kernel.to_owned(), why: why.to_string() }
    }
}
