//! The oracle: slow, plain evaluators, one per representation. They are the judge of every pass
//! and every backend, so they are written to be obviously right and never to be fast.

pub mod array;
mod course;
pub mod distance;
pub mod elementwise;
pub mod level;
pub mod linear;
pub mod math;
mod memory;
mod past;
pub mod plan;
mod reading;
mod scan;
mod slope;
pub mod tensor;
pub mod tile;

pub use array::{Array, Data};
