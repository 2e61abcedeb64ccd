//! The runtime: runs a plan and trains with it. It knows no language and never sees the compiler,
//! and it never prints: what happens is told through values and callbacks.

pub mod device;
mod exchange;
pub mod executor;
pub mod memory;
pub mod past_file;
pub mod reader;
pub mod segments;
pub mod tasks;
pub mod tensor_file;
pub mod train;

pub use nestor_ir::dim::Sizes;
