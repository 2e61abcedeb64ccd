//! What acts on memories within one token of a walk.

use super::apart::Apart;
use super::body::Token;
use super::samples::Sample;
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::level::{Program, Statement};
use nestor_ir::tensor::{NodeData, Op, Value};

/// What a node of a group takes.
pub(super) struct Taken {
    /// From outside of the group; nothing where it is made inside.
    pub(super) fed: Vec<Option<Given>>,
    /// The windows of an objective, and their size.
    pub(super) windows: Option<(Vec<Value>, usize)>,
    /// What code between memories does to one instance.
    pub(super) op: Option<Op>,
}

/// A memory within a token of the walk.
pub(super) enum Part<'p> {
    /// The walk has all of its dimensions.
    Within(Box<Token<'p>>),
    /// It has more.
    Apart(Apart<'p>),
}

/// What the body sees of a value from outside.
pub(super) enum Given {
    /// A value.
    Value(Value),
    /// One number everywhere.
    Number(f64, Vec<Dim>),
}

/// One read or write of a memory; the answer of a read.
pub(super) fn acted(
    program: &Program,
    node: &NodeData,
    token: &mut Token<'_>,
    operands: Vec<Value>,
    windows: Option<(Vec<Value>, usize)>,
) -> Result<Option<Value>, PassError> {
    match &node.op {
        Op::Write { statement } => match &program.statements[*statement] {
            Statement::Update(u) => token.update(u, &operands)?,
            Statement::Minimize(m) => {
                let samples = match windows {
                    Some((windows, n)) => token.window(&windows, n),
                    None => vec![Sample { captured: operands, there: None }],
                };
                token.minimize(m, &samples)?;
            }
        },
        Op::Read { every, .. } => return token.read(*every, &operands).map(Some),
        _ => {}
    }
    Ok(None)
}
