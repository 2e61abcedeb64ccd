//! What a backend hands over: a plan with something to run for each of its kernels.

use crate::plan::Plan;
use crate::tile::Kernel;
use crate::ty::Elem;
use std::any::Any;
use std::sync::Arc;

/// The working precision of `Real`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

impl Precision {
    /// Bytes of a real.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }

    /// Bytes of an element as kernels keep it: whole numbers as i32, conditions as u8.
    pub fn bytes_of(self, elem: Elem) -> usize {
        match elem {
            Elem::Real => self.bytes(),
            Elem::Int => 4,
            Elem::Bool => 1,
        }
    }
}

/// A compiled kernel: runs grid points `first .. last` (row-major over the grid).
///
/// `buffers` points to the buffers' first elements, in the kernel's order; `sizes` to
/// `[B, T, t0]`; `scratch` to this worker's scratch of at least [`Native::scratch`] bytes, 64-byte
/// aligned.
pub type Entry = unsafe extern "C" fn(
    buffers: *const *mut u8,
    sizes: *const u64,
    first: u64,
    last: u64,
    scratch: *mut u8,
);

/// Machine code of one kernel.
#[derive(Clone)]
pub struct Native {
    /// Where it starts.
    pub entry: Entry,
    /// Bytes of scratch a worker needs, for given run-time sizes.
    pub scratch: Vec<crate::tile::Monomial>,
    /// Keeps the code alive.
    pub owner: Arc<dyn Any + Send + Sync>,
}

/// A dense product on the CPU: `out = alpha * left @ right (+ out)`, any strides, on this thread.
pub type DenseEntry = unsafe fn(
    precision: Precision,
    shape: [usize; 3],
    alpha: f64,
    left: (*const u8, isize, isize),
    right: (*const u8, isize, isize),
    out: (*mut u8, isize, isize),
    accumulate: bool,
);

/// A compiled program for the CPU.
#[derive(Clone)]
pub struct Artifact {
    /// What to do.
    pub plan: Plan,
    /// The kernels' programs, for people, for the interpreter and for grid sizes.
    pub kernels: Vec<Kernel>,
    /// The kernels' code, in the same order; empty where kernels are interpreted.
    pub native: Vec<Native>,
    /// The library product.
    pub dense: Option<DenseEntry>,
    /// The precision it was compiled for.
    pub precision: Precision,
}
