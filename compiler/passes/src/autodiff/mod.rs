//! Reverse mode on a graph: cotangents of outputs become cotangents of inputs, as new nodes of
//! the same graph. Scans are walked backwards and recompute each step from the state it began
//! with, which [`keep_boundaries`] makes them yield.

mod boundaries;
mod keep;
mod pullback;
mod scan;

pub use boundaries::keep_boundaries;
pub(crate) use boundaries::{body_inputs, state_inputs};
pub use keep::Keeping;
pub use pullback::pullback;
