//! Tile kernels to PTX: one block of threads for every point of a kernel's grid.
//!
//! What a loop's next turn takes from memory is copied ahead (`ahead`). A kernel's tiles get their places (`placement`): shared
//! memory as far as it reaches, memory of the block's own beyond it. Between statements that touch the same memory there is a barrier (`barriers`).
//! Then every statement becomes a loop that the block's threads share (`emit`), in MLIR's dialects nvvm
//! and llvm, which LLVM lowers to PTX in process (`llvm`). That needs the feature `cuda`; places and barriers do not.

pub mod ahead;
pub mod barriers;
pub mod boxes;
#[cfg(feature = "cuda")]
mod emit;
pub mod exchange;
#[cfg(feature = "cuda")]
mod llvm;
pub mod narrow;
pub mod near;
pub mod often;
pub mod order;
pub mod placement;
pub mod products;
pub mod rolled;
pub mod strips;
pub mod target;

#[cfg(feature = "cuda")]
pub use emit::{compile, compiled};
pub use target::{Options, Products, Target};

pub use nestor_ir::artifact::{DeviceCode, DeviceEntry as Entry, DeviceProduct};

/// A program's kernels for a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Code {
    /// As MLIR, before it is lowered, where that was asked for.
    pub mlir: String,
    /// As PTX.
    pub ptx: String,
    /// How each kernel is launched, in order.
    pub entries: Vec<Entry>,
    /// How dense products are launched.
    pub product: DeviceProduct,
    /// How long each step took.
    pub timings: Timings,
}

/// Steps of the backend, with how long each took.
pub type Timings = Vec<(&'static str, std::time::Duration)>;

impl Code {
    /// Instructions of PTX in a kernel and its functions.
    pub fn instructions(&self, symbol: &str) -> usize {
        let own = rolled::parts(&self.ptx).1.into_iter().filter(|(of, _)| *of == symbol);
        let is_one =
            |l: &&str| l.trim_end().ends_with(';') && !l.trim_start().starts_with('.');
        own.flat_map(|(_, text)| text.lines()).filter(is_one).count()
    }

    /// What a runtime takes.
    pub fn for_device(&self, options: Options) -> DeviceCode {
        DeviceCode {
            target: options.target.name().to_owned(),
            products: options.products.name().to_owned(),
            text: self.ptx.clone(),
            image: None,
            entries: self.entries.clone(),
            product: self.product.clone(),
        }
    }
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
