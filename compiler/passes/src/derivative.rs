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
use nestor_ir::tensor::{Graph, NodeData, Op, Value};

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
    match &node.op {
        Op::Input { .. }
        | Op::Constant { .. }
        | Op::Iota { .. }
        | Op::Position { .. } => Ok(Derivative::None("a leaf has no operand")),
        Op::Neg
        | Op::Abs
        | Op::Sign
        | Op::Sqrt
        | Op::Exp
        | Op::Log
        | Op::Sin
        | Op::Cos
        | Op::Tanh
        | Op::Erf
        | Op::Sigmoid
        | Op::Softplus
        | Op::Floor
        | Op::Not
        | Op::Real => elementwise::unary(g, node, d),
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Pow
        | Op::Rem
        | Op::Max
        | Op::Min
        | Op::Less
        | Op::LessEqual
        | Op::Equal
        | Op::And
        | Op::Or => elementwise::binary(g, node, d, wanted),
        Op::Select => Ok(elementwise::select(g, node, d, wanted)),
        Op::Reduce { .. } | Op::Contract { .. } => {
            products::derivative(g, node, d, wanted)
        }
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Broadcast { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Fit { .. }
        | Op::Concat { .. }
        | Op::Shift { .. }
        | Op::Window { .. } => moves::moved(g, node, d),
        Op::Gather | Op::ScatterAdd { .. } => moves::indexed(g, node, d),
        Op::SolveUnitLower { .. }
        | Op::Solve
        | Op::InverseRoot { .. }
        | Op::Eigenvectors
        | Op::LinearScan { .. } => solve::derivative(g, node, d, wanted),
        Op::Stop => Ok(Derivative::None("`stop` says so")),
        Op::Anchor => Ok(Derivative::one(d)),
        Op::Scan { .. }
        | Op::Gradient
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Recent { .. }
        | Op::Block { .. }
        | Op::Next { .. }
        | Op::Exists { .. }
        | Op::Tick { .. }
        | Op::Gathered { .. }
        | Op::Held { .. }
        | Op::When => Err(left(&node.op)),
    }
}

fn left(op: &Op) -> PassError {
    let name = op.info().name;
    PassError::bug("derivative", format!("`{name}` has no rule here"))
}
