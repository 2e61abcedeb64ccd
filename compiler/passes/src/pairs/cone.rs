//! What a piece of pairs is computed of: every value between them and what has one axis of tokens or none.

use super::tokens;
use crate::schedule::scalar_op;
use nestor_ir::tensor::{Graph, NodeData, Op, Value};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// What an axis is to a walk over pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The mapped dimension of this number.
    Map(usize),
    /// Tokens that stay.
    Kept,
    /// Tokens that are folded away.
    Summed,
    /// Anything else, of what is summed over in products.
    Own,
}

/// The roles of a value's axes.
pub(super) type Roles = SmallVec<[Role; 6]>;

/// Whether a value with such axes is one of pairs.
pub(super) fn of_pairs(roles: &[Role]) -> bool {
    roles.contains(&Role::Kept) && roles.contains(&Role::Summed)
}

/// Values that a walk over pairs computes, and those that it is fed.
#[derive(Clone, Default)]
pub(super) struct Cone {
    /// All of them, operands first.
    pub(super) roles: BTreeMap<Value, Roles>,
    /// What is fed.
    pub(super) leaves: BTreeSet<Value>,
}

impl Cone {
    /// Adds a value and all that it is made of; nothing where it has other roles already, or a walk does not compute it.
    pub(super) fn add(&mut self, graph: &Graph, v: Value, roles: &[Role]) -> Option<()> {
        if let Some(known) = self.roles.get(&v) {
            return (known[..] == *roles).then_some(());
        }
        let node = graph.def(v);
        match &node.op {
            Op::Constant { .. } => {}
            Op::Iota { axis, .. } if is_of_tokens(roles[*axis]) => {}
            Op::Position { dims } if dims.len() == 1 && is_of_tokens(roles[0]) => {}
            Op::Broadcast { axes, .. } => {
                let inner: Roles = axes.iter().map(|&a| roles[a]).collect();
                self.add(graph, node.operands[0], &inner)?;
            }
            Op::Transpose { order } => {
                let mut inner = Roles::from(roles);
                order.iter().zip(roles).for_each(|(&to, role)| inner[to] = *role);
                self.add(graph, node.operands[0], &inner)?;
            }
            Op::Stop => self.add(graph, node.operands[0], roles)?,
            _ if !of_pairs(roles) => {
                self.leaves.insert(v);
            }
            Op::Contract { .. } => {
                let kinds = [&node.operands[0], &node.operands[1]];
                if kinds.iter().any(|o| tokens(graph, **o).is_some()) {
                    return None;
                }
                for n in 0..2 {
                    let inner = of_operand(graph, node, n, roles);
                    self.add(graph, node.operands[n], &inner)?;
                    if of_pairs(&inner) || self.counts(graph, node.operands[n]) {
                        return None;
                    }
                }
            }
            op if scalar_op(op).is_some() => {
                for &operand in &node.operands {
                    self.add(graph, operand, roles)?;
                }
                let shifts = matches!(op, Op::Less | Op::LessEqual | Op::Equal | Op::Sub);
                let counts = |v: &&Value| self.counts(graph, **v);
                let counted = node.operands.iter().filter(counts).count();
                // Tokens of a call are counted from its first one, of which a walk knows nothing: only how far they are apart.
                if counted > 0 && !(shifts && counted == node.operands.len()) {
                    return None;
                }
            }
            _ => return None,
        }
        self.roles.insert(v, Roles::from(roles));
        Some(())
    }

    /// Whether a value is the number of a token within the call.
    pub(super) fn counts(&self, graph: &Graph, v: Value) -> bool {
        let v = unmoved(graph, v);
        let Op::Iota { axis, .. } = &graph.def(v).op else { return false };
        self.roles.get(&v).is_some_and(|roles| is_of_tokens(roles[*axis]))
    }

    /// Products of tokens with tokens that are computed.
    pub(super) fn products<'a>(
        &'a self,
        graph: &'a Graph,
    ) -> impl Iterator<Item = Value> + 'a {
        let is_product = |v: &Value| matches!(graph.def(*v).op, Op::Contract { .. });
        self.roles
            .keys()
            .copied()
            .filter(move |v| is_product(v) && !self.leaves.contains(v))
    }
}

/// What a value is, but for where its axes are and what it is repeated along.
pub(super) fn unmoved(graph: &Graph, mut v: Value) -> Value {
    while let Op::Broadcast { .. } | Op::Transpose { .. } | Op::Stop = graph.def(v).op {
        v = graph.def(v).operands[0];
    }
    v
}

fn is_of_tokens(role: Role) -> bool {
    matches!(role, Role::Kept | Role::Summed)
}

/// The roles of the axes of an operand of a product whose result has these; what is summed is its own.
fn of_operand(graph: &Graph, node: &NodeData, n: usize, roles: &[Role]) -> Roles {
    let Op::Contract { batch, sum } = &node.op else { unreachable!("it is a product") };
    let operands = &node.operands;
    let ranks = [0, 1].map(|n| graph.ty(operands[n]).rank());
    let own = |pair: &(usize, usize)| if n == 0 { pair.0 } else { pair.1 };
    let mut out: Roles = SmallVec::from_elem(Role::Own, ranks[n]);
    let mut taken = vec![false; ranks[n]];
    for (pair, role) in batch.iter().zip(roles) {
        out[own(pair)] = *role;
        taken[own(pair)] = true;
    }
    sum.iter().for_each(|pair| taken[own(pair)] = true);
    let before = if n == 0 { 0 } else { ranks[0] - batch.len() - sum.len() };
    let free = (0..ranks[n]).filter(|axis| !taken[*axis]);
    for (axis, role) in free.zip(&roles[batch.len() + before..]) {
        out[axis] = *role;
    }
    out
}
