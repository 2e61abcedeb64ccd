//! Puts one token's graph into a body, where the position is a value.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the ops that ask for the position are looked for"
)]

use crate::build::{broadcast, scalar};
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, Op, Value};
use nestor_ir::ty::Dims;

/// What stands for the outputs of `source`; `position` is the token's, a real scalar.
///
/// # Errors
/// Where the graph looks back in time.
pub(super) fn at_position(
    g: &mut Graph,
    source: &Graph,
    arguments: &[Value],
    position: Value,
) -> Result<Vec<Value>, PassError> {
    looking_back(g, source, arguments, position, &mut |_, op, _| {
        Err(PassError::limitation(
            "L-past-in-memory",
            format!("`{}` in a memory that has weights", op.info().name),
            "look back outside, and hand the window to the memory",
        ))
    })
}

/// What the last values of a value are: the op that asks for them, and the value.
pub(super) type Look<'a> =
    &'a mut dyn FnMut(&mut Graph, &Op, Value) -> Result<Value, PassError>;

/// As [`at_position`]; `look` gives the windows that the graph looks back at.
///
/// # Errors
/// As `look`.
pub(super) fn looking_back(
    g: &mut Graph,
    source: &Graph,
    arguments: &[Value],
    position: Value,
    look: Look<'_>,
) -> Result<Vec<Value>, PassError> {
    let mut map: Vec<Value> = vec![Value::new(0); source.values.len()];
    for node in source.nodes.values() {
        let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
        let results: Vec<Value> = match &node.op {
            Op::Input { index, .. } => match arguments.get(*index) {
                Some(&argument) => vec![argument],
                None => return Err(PassError::bug("to_tensors", "too few arguments")),
            },
            Op::Position { dims } => vec![broadcast(g, position, dims, &[])],
            Op::Exists { size, block } => vec![exists(g, *size, *block, position)],
            op if op.info().group == Group::Token => match operands.first() {
                Some(&of) => vec![look(g, op, of)?],
                None => {
                    let name = op.info().name;
                    return Err(PassError::bug("to_tensors", format!("`{name}` here")));
                }
            },
            op => g.add_many(op.clone(), &operands).into_vec(),
        };
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = to;
            if g.values[to].name.is_none() {
                g.values[to].name.clone_from(&source.values[from].name);
            }
        }
    }
    Ok(source.outputs.iter().map(|o| map[o.value.index()]).collect())
}

/// Which entries of a window are there.
pub(super) fn exists(
    g: &mut Graph,
    size: nestor_ir::dim::Dim,
    block: bool,
    position: Value,
) -> Value {
    let mut since = position;
    if let (true, Some(n)) = (block, size.fixed()) {
        let length = scalar(g, n as f64);
        since = g.add(Op::Rem, &[since, length]);
    }
    let dims = Dims::from(&[size][..]);
    let since = broadcast(g, since, &dims, &[]);
    let age = g.add(Op::Iota { axis: 0, dims }, &[]);
    g.add(Op::LessEqual, &[age, since])
}
