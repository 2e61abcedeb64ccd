//! Repeats a graph over leading dimensions.
//!
//! ```text
//! before   y = relu(w x)        one token: w [n, k], x [k]
//! after    y = relu(x w')       x [B, T, k]: every value that depends on it has B, T in front
//! ```
//!
//! A value that does not depend on anything mapped is computed once and stays as it is until it
//! meets a mapped one. Where the leading dimensions hold time, the ops of a level program that
//! look back become windows; those that touch memories are left to the caller's hook.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the rules name every op; here only those that need none are told apart"
)]

mod lead;
mod rules;
mod token;

pub use lead::Lead;

use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, NodeData, Op, Value};
use nestor_ir::ty::Dims;

/// A value of the target graph that stands for one of the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The value.
    pub value: Value,
    /// Whether it has all the leading dimensions in front; none otherwise.
    pub mapped: bool,
}

impl Mapped {
    /// A value with all leading dimensions in front.
    pub fn all(value: Value) -> Self {
        Self { value, mapped: true }
    }
    /// A value that is the same for every index.
    pub fn shared(value: Value) -> Self {
        Self { value, mapped: false }
    }
}

/// What the caller makes of a node that touches memories or the future, given what stands for
/// every value of the source so far, by its index.
pub type Hook<'a> = &'a mut dyn FnMut(
    &mut Graph,
    &NodeData,
    &[Option<Mapped>],
) -> Result<Vec<Mapped>, PassError>;

/// A hook for graphs without such nodes.
///
/// # Errors
/// Always: it should not be called.
pub fn no_hook(
    _: &mut Graph,
    node: &NodeData,
    _: &[Option<Mapped>],
) -> Result<Vec<Mapped>, PassError> {
    let name = node.op.info().name;
    Err(PassError::bug("vectorise", format!("`{name}` outside of a level program")))
}

/// Repeats `source` over `lead` in `target`; gives what stands for its outputs. `time_axis` says
/// which of the leading dimensions is the tokens'.
///
/// # Errors
/// As the hook, and where an op cannot be repeated.
pub fn vectorise_into(
    target: &mut Graph,
    source: &Graph,
    arguments: &[Mapped],
    lead: &[Dim],
    time_axis: Option<usize>,
    hook: Hook<'_>,
) -> Result<Vec<Mapped>, PassError> {
    let map = vectorise_values(target, source, arguments, lead, time_axis, hook)?;
    let of = |value: Value| {
        map[value.index()]
            .ok_or_else(|| PassError::bug("vectorise", "an output that no node gives"))
    };
    source.outputs.iter().map(|o| of(o.value)).collect()
}

/// As [`vectorise_into`], but gives what stands for every value of the source, by its index.
///
/// # Errors
/// As [`vectorise_into`].
pub fn vectorise_values(
    target: &mut Graph,
    source: &Graph,
    arguments: &[Mapped],
    lead: &[Dim],
    time_axis: Option<usize>,
    hook: Hook<'_>,
) -> Result<Vec<Option<Mapped>>, PassError> {
    let lead = Lead { dims: Dims::from(lead), time: time_axis };
    vectorise_each(target, source, arguments, &|_| &lead, hook)
}

/// As [`vectorise_values`], where each node says what it is repeated over; operands of a node are
/// repeated over the same or not at all.
///
/// # Errors
/// As [`vectorise_into`].
pub(crate) fn vectorise_each<'l>(
    target: &mut Graph,
    source: &Graph,
    arguments: &[Mapped],
    lead_of: &dyn Fn(&NodeData) -> &'l Lead,
    hook: Hook<'_>,
) -> Result<Vec<Option<Mapped>>, PassError> {
    let mut map: Vec<Option<Mapped>> = vec![None; source.values.len()];
    for node in source.nodes.values() {
        let operands: Vec<Mapped> = node
            .operands
            .iter()
            .map(|v| map[v.index()])
            .collect::<Option<_>>()
            .ok_or_else(|| {
                PassError::bug("vectorise", "an operand that no node gives")
            })?;
        let lead = lead_of(node);
        let results = match &node.op {
            Op::Input { index, .. } => match arguments.get(*index) {
                Some(&argument) => vec![argument],
                None => return Err(PassError::bug("vectorise", "too few arguments")),
            },
            Op::Position { .. } | Op::Tick { .. } => {
                vec![token::position(target, &node.op, lead)]
            }
            Op::Read { .. }
            | Op::Write { .. }
            | Op::Next { .. }
            | Op::Gathered { .. }
            | Op::Held { .. }
            | Op::When => hook(target, node, &map)?,
            op if op.info().group == Group::Token => {
                vec![token::look_back(target, op, &operands, lead)?]
            }
            op => repeated_node(target, op, &operands, lead)?,
        };
        for (&from, to) in node.results.iter().zip(results) {
            if target.values[to.value].name.is_none() {
                target.values[to.value].name.clone_from(&source.values[from].name);
            }
            map[from.index()] = Some(to);
        }
    }
    Ok(map)
}

/// What stands for the results of one node that neither is an input nor looks at time.
///
/// # Errors
/// Where the op cannot be repeated.
pub(crate) fn vectorise_node(
    target: &mut Graph,
    op: &Op,
    operands: &[Mapped],
    lead: &[Dim],
) -> Result<Vec<Mapped>, PassError> {
    repeated_node(target, op, operands, &Lead { dims: Dims::from(lead), time: None })
}

fn repeated_node(
    target: &mut Graph,
    op: &Op,
    operands: &[Mapped],
    lead: &Lead,
) -> Result<Vec<Mapped>, PassError> {
    if operands.iter().any(|m| m.mapped) {
        let results = rules::apply(target, op, operands, lead)?;
        return Ok(results.into_iter().map(Mapped::all).collect());
    }
    let operands: Vec<Value> = operands.iter().map(|m| m.value).collect();
    let results = target.add_many(op.clone(), &operands);
    Ok(results.into_iter().map(Mapped::shared).collect())
}

/// The value with all leading dimensions in front, repeated where it has none.
pub fn lift(target: &mut Graph, m: Mapped, lead: &[Dim]) -> Value {
    if m.mapped {
        return m.value;
    }
    let dims: Dims = lead.iter().chain(&target.ty(m.value).dims).copied().collect();
    crate::build::broadcast_to(target, m.value, &dims)
}
