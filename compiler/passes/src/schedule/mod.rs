//! From a tensor graph to tile kernels and the plan that launches them.
//!
//! ```text
//! before   a = mul x, y;  b = exp a;  s = reduce sum b;  c = contract b, w
//! after    kernel exp: x, y -> b;  kernel reduce: b -> s;  product b w -> c
//! ```
//!
//! Element-wise ops and moves are computed where they are used, by the map that stores what they
//! lead to; what is used more than once, folded, multiplied or walked is stored. A dense product
//! goes to the library. A walk becomes one kernel: a point for every index of its mapped
//! dimensions, a loop over its steps, and its body lowered by the same rules onto tiles.

mod elementwise;
mod expand;
mod expression;
mod fold;
mod frame;
mod in_place;
mod lately;
mod lower;
mod neighbours;
mod order;
mod plan;
mod products;
mod scans;
mod solves;
mod steps;
mod store;
mod sums;
mod triangle;
mod view;
mod walk;
mod weigh;

pub(crate) use elementwise::scalar_op;
pub(crate) use weigh::{AGAIN, own_weight};

use crate::around::taken_in;
use crate::error::PassError;
use crate::tokenwise::tokenwise;
use nestor_ir::plan::Plan;
use nestor_ir::tensor::Graph;
use nestor_ir::tile::Kernel;

/// What calls of a program are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calls {
    /// Of many tokens, as a rule.
    OfManyTokens,
    /// Of one token: a model that answers and goes on.
    OfOneToken,
}

/// The plan of a graph and the kernels it launches.
///
/// # Errors
/// Where an op has no kernel yet.
pub fn schedule(graph: &Graph, calls: Calls) -> Result<(Plan, Vec<Kernel>), PassError> {
    let graph = tokenwise(&taken_in(&expand::expanded(graph)), calls);
    plan::planned(&graph)
}

/// A mistake of this pass.
fn bug(what: impl Into<String>) -> PassError {
    PassError::bug("schedule", what)
}
