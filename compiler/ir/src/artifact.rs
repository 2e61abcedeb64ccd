//! What a backend hands over: a plan with something to run for each of its kernels.

mod boxes;

pub use boxes::{Boxes, STEP, TensorMap};

use crate::dim::Sizes;
use crate::entity::Entity;
use crate::plan::{Launch, Plan};
use crate::tile::lifetimes::LINE;
use crate::tile::{Kernel, Monomial};
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
    pub scratch: Vec<Monomial>,
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

/// How a kernel of a device is launched: a block for each point of its grid, the last index fastest.
///
/// Its parameters are its buffers' addresses in order, the address of scratch memory, and B, T and t0, all of
/// 64 bits; behind them what the device's driver makes of each of its boxes.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceEntry {
    /// Its name in the code.
    pub symbol: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// Bytes of scratch memory that every block needs: the sum of these, each in whole lines.
    pub scratch: Vec<Monomial>,
    /// Which of its buffers are narrow.
    pub narrow: Narrow,
    /// What it has the device copy by itself.
    pub boxes: Vec<Boxes>,
}

/// By buffer of a kernel, or by tensor of a plan: whether its reals are kept as bfloat16, two bytes each.
pub type Narrow = Vec<bool>;

impl DeviceEntry {
    /// Bytes of scratch memory of a block.
    pub fn scratch_bytes(&self, sizes: &Sizes) -> usize {
        let lines = self.scratch.iter().map(|m| (m.eval(sizes) + LINE - 1) / LINE * LINE);
        usize::try_from(lines.sum::<i64>()).unwrap_or(0)
    }

    /// Its boxes, where its buffers begin at addresses and have so many bytes.
    pub fn maps(
        &self,
        sizes: &Sizes,
        buffer: impl Fn(usize) -> (u64, usize),
    ) -> Vec<TensorMap> {
        let of = |boxes: &Boxes| {
            let (address, bytes) = buffer(boxes.buffer);
            boxes.at(address, bytes, sizes)
        };
        self.boxes.iter().map(of).collect()
    }
}

/// Code of a plan's kernels for a device.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceCode {
    /// The family of devices that it is for, as the code generator calls it.
    pub target: String,
    /// How products are computed: `float32`, `tf32x3`, `tf32` or `bf16`.
    pub products: String,
    /// The code as text, which the device's driver assembles.
    pub text: String,
    /// Machine code, where an assembler made it.
    pub image: Option<Vec<u8>>,
    /// The kernels, in the order of the artifact's.
    pub entries: Vec<DeviceEntry>,
    /// The matrix product of any size and strides, a block for each [`DeviceProduct::tile`] of a result.
    pub product: DeviceProduct,
}

impl DeviceCode {
    /// Which tensors of its plan are narrow.
    pub fn narrow(&self, plan: &Plan) -> Narrow {
        let mut out = vec![false; plan.tensors.len()];
        for launch in &plan.launches {
            let Launch::Kernel { kernel, buffers } = launch else { continue };
            let Some(entry) = self.entries.get(kernel.index()) else { continue };
            for (tensor, narrow) in buffers.iter().zip(&entry.narrow) {
                out[tensor.index()] |= narrow;
            }
        }
        // Copies are of bytes.
        for launch in &plan.launches {
            if let Launch::Copy { from, to } = launch {
                let both = out[from.index()] || out[to.index()];
                (out[from.index()], out[to.index()]) = (both, both);
            }
        }
        out
    }
}

/// The kernel of dense products outside of kernels: `out = alpha * left @ right (+ out)`, float32.
///
/// Its parameters, all of 64 bits: the addresses of left, right and out; rows, columns and depth; strides of repetition,
/// row and column of each of the three, in elements; the bits of alpha as float32; whether it adds to what is
/// there. Blocks are numbered by repetition, then rows, then columns of tiles.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceProduct {
    /// Its name in the code.
    pub symbol: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// Rows and columns of the part of the result that a block computes.
    pub tile: [usize; 2],
}

/// A compiled program for the CPU or for a device.
#[derive(Clone)]
pub struct Artifact {
    /// What to do.
    pub plan: Plan,
    /// The kernels' programs, for people, for the interpreter and for grid sizes.
    pub kernels: Vec<Kernel>,
    /// The kernels' code, in the same order; empty where kernels are interpreted.
    pub native: Vec<Native>,
    /// The library product of the CPU.
    pub dense: Option<DenseEntry>,
    /// The kernels' code for a device, where it was compiled for one.
    pub device: Option<Arc<DeviceCode>>,
    /// The precision it was compiled for.
    pub precision: Precision,
}
