//! THE derivative table: for every op, how the cotangents of its operands follow from those of
//! its results. Every gradient of the compiler comes from here: the inner ones that make a
//! memory's update and the outer ones that train.
//!
//! ```text
//! before   y = tanh(a), cotangent d of y
//! after    cotangent of a = d (1 - y y)
//! ```
//!
//! Conditions are constants: `select`, `max`, `min` and `abs` send the cotangent where the
//! forward value came from. What passes no gradient says why, as data.

mod elementwise;
mod moves;
mod products;
mod solve;

use crate::error::PassError;
use nestor_ir::tensor::{Graph, Group, NodeData, Op, Value};

/// What the table says of a node.
pub enum Derivative {
    /// A cotangent for every operand that has one.
    Of(Vec<Option<Value>>),
    /// No gradient passes, and why.
    None(&'static str),
}

impl Derivative {
    fn one(value: Value) -> Self {
        Self::Of(vec![Some(value)])
    }
}

/// The cotangents of a node's operands from the cotangent `d` of its one result, appended to the
/// graph. Only operands that are `wanted` need an answer.
///
/// # Errors
/// Where the derivative of the op is not known, or the op should be gone by now.
pub fn derivative(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    wanted: &[bool],
) -> Result<Derivative, PassError> {
    match node.op.info().group {
        Group::Leaf => Ok(Derivative::None("a leaf has no operand")),
        Group::Unary => elementwise::unary(g, node, d),
        Group::Binary => elementwise::binary(g, node, d, wanted),
        Group::Select => Ok(elementwise::select(g, node, d, wanted)),
        Group::Reduce | Group::Contract => products::derivative(g, node, d, wanted),
        Group::Move => moves::moved(g, node, d),
        Group::Index => moves::indexed(g, node, d),
        Group::Solve | Group::Control => solve::derivative(g, node, d, wanted),
        Group::Mark => match &node.op {
            Op::Stop => Ok(Derivative::None("`stop` says so")),
            Op::Anchor => Ok(Derivative::one(d)),
            other => Err(left(other)),
        },
        Group::Token => Err(left(&node.op)),
    }
}

fn left(op: &Op) -> PassError {
    let name = op.info().name;
    PassError::bug("derivative", format!("`{name}` should be gone by now"))
}
