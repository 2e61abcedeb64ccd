//! What computing a value again costs, against storing it.

use super::elementwise::scalar_op;
use super::lower::{Known, Lower};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Group, NodeData, Op, Value};

/// Terms up to which a fold is written out in the map that takes it.
const FEW: usize = 8;

/// Work up to which a value of one stored value is computed again, in additions: a transcendental
/// and some more cost less than memory.
pub(crate) const AGAIN: usize = 24;

/// In a walk, where tiles are near: work up to which a value is computed again, and elements from which that
/// counts, because the first cache does not hold them.
const AGAIN_NEAR: usize = 4;
const LARGE: usize = 4096;

/// What an element of an op itself costs, in additions.
pub(crate) fn own_weight(op: &Op) -> usize {
    match op {
        Op::Div | Op::Sqrt | Op::Rem => 4,
        Op::Exp
        | Op::Log
        | Op::Sin
        | Op::Cos
        | Op::Tanh
        | Op::Erf
        | Op::Sigmoid
        | Op::Softplus
        | Op::Pow => 16,
        _ => 1,
    }
}

/// Whether a value that is repeated along all dimensions but some has more elements then.
fn grows(dims: &[Dim], axes: &[usize]) -> bool {
    let mut all = dims.iter().enumerate();
    all.any(|(i, d)| !axes.contains(&i) && *d != Dim::Fixed(1))
}

impl Lower<'_> {
    /// Whether computing it again costs less than storing it.
    pub(super) fn cheap(&self, node: &NodeData) -> bool {
        let leaf = |v: &Value| {
            let mut v = *v;
            loop {
                if matches!(
                    self.known[v.index()],
                    Some(Known::Valid { .. } | Known::Position { .. })
                ) {
                    return true;
                }
                let node = self.graph.def(v);
                match node.op.info().group {
                    Group::Leaf => return !matches!(node.op, Op::Input { .. }),
                    Group::Move if node.operands.len() == 1 => v = node.operands[0],
                    _ => return false,
                }
            }
        };
        node.operands.iter().all(leaf)
    }

    /// Whether little work makes it of one stored value: a map that takes it then reads
    /// no more than if it were stored. In a walk this pays for large tiles; numbers cost nothing beside them.
    pub(super) fn reads_one(&self, node: &NodeData) -> bool {
        if scalar_op(&node.op).is_none() {
            return false;
        }
        let mut loads = Vec::new();
        let mut open = vec![node.results[0]];
        let mut weight = 0;
        while let Some(v) = open.pop() {
            let node = self.graph.def(v);
            let stored = self.pending[v.index()] || self.known[v.index()].is_some();
            if scalar_op(&node.op).is_some() && !stored {
                weight += own_weight(&node.op);
                open.extend(node.operands.iter().copied());
            } else if !stored && self.moves_pairs(v) {
                open.push(node.operands[0]);
            } else if (node.op.info().group != Group::Leaf || stored)
                && !self.of_fewer_tokens(v)
                && !loads.contains(&v)
                && !(self.nested && self.is_number(v))
            {
                loads.push(v);
            }
        }
        let most = if self.nested { AGAIN_NEAR } else { AGAIN };
        let size =
            |dims: &[Dim]| dims.iter().map(|d| d.fixed()).product::<Option<usize>>();
        let large =
            size(&self.graph.ty(node.results[0]).dims).is_some_and(|n| n >= LARGE);
        (large || !self.nested) && loads.len() <= 1 && weight <= most
    }

    /// Whether a value of pairs of tokens is one of fewer tokens, repeated: it takes no room beside what is stored of
    /// pairs, and they are so many that storing them costs more than computing them again.
    fn of_fewer_tokens(&self, v: Value) -> bool {
        let node = self.graph.def(v);
        matches!(node.op, Op::Broadcast { .. })
            && self.is_of_pairs(v)
            && !self.is_of_pairs(node.operands[0])
    }

    /// Whether a value is another one of pairs of tokens, repeated or with its axes in another order.
    fn moves_pairs(&self, v: Value) -> bool {
        let node = self.graph.def(v);
        matches!(node.op, Op::Broadcast { .. } | Op::Transpose { .. })
            && self.is_of_pairs(node.operands[0])
    }

    /// Whether a value has a number for every pair of tokens.
    fn is_of_pairs(&self, v: Value) -> bool {
        self.graph.ty(v).dims.iter().filter(|d| **d == Dim::Time).count() > 1
    }

    /// Whether a value is one number, or one repeated.
    fn is_number(&self, v: Value) -> bool {
        let node = self.graph.def(v);
        match &node.op {
            Op::Broadcast { axes, .. } => axes.is_empty(),
            _ => self.graph.ty(v).rank() == 0,
        }
    }

    /// Whether a value is computed at the place that a shift or a pad looks at, rather than stored:
    /// nothing else takes it, and it is zero where its loads are, so that bounds on them suffice.
    pub(super) fn moves_along(&self, v: Value) -> bool {
        self.uses[v.index()] == 1
            && self.view_of(v).is_none()
            && !self.stored_first(v)
            && self.zero_with_loads(v) == Some(true)
            && self.weight(v) <= FEW
    }

    /// Whether a map that needs a value elsewhere than at its own points finds it stored.
    fn stored_first(&self, v: Value) -> bool {
        self.pending[v.index()] || self.deferred[v.index()] || self.is_sum_of_products(v)
    }

    /// Whether a polynomial of loads is zero where all of them are.
    fn zero_with_loads(&self, v: Value) -> Option<bool> {
        if self.view_of(v).is_some() || self.stored_first(v) {
            return Some(true);
        }
        let node = self.graph.def(v);
        let of = |n: usize| self.zero_with_loads(node.operands[n]);
        match &node.op {
            _ if self.known[v.index()].is_some() => None,
            Op::Constant { value, .. } => Some(*value == 0.0),
            Op::Contract { sum, .. } if !sum.is_empty() => None,
            Op::Mul | Op::Contract { .. } => Some(of(0)? || of(1)?),
            Op::Add | Op::Sub => Some(of(0)? && of(1)?),
            Op::Neg
            | Op::Broadcast { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. } => of(0),
            Op::Reduce { fold: Fold::Sum, .. } => self.unrolled(node).and_then(|_| of(0)),
            _ => None,
        }
    }

    /// The sizes of the axes of a fold of few terms.
    pub(super) fn unrolled(&self, node: &NodeData) -> Option<Vec<usize>> {
        let Op::Reduce { axes, .. } = &node.op else { return None };
        let dims = &self.graph.ty(node.operands[0]).dims;
        let sizes: Option<Vec<usize>> = axes.iter().map(|&a| dims[a].fixed()).collect();
        sizes.filter(|s| s.iter().product::<usize>() <= FEW)
    }

    /// Scalar operations behind an element of a value that is not stored, slow ones counted as
    /// several.
    pub(super) fn weight(&self, v: Value) -> usize {
        match self.known[v.index()] {
            Some(Known::At(_)) => return 0,
            Some(Known::Position { .. }) => return 1,
            Some(Known::Valid { may, .. }) => {
                return 2 * may.iter().filter(|m| **m).count();
            }
            None => {}
        }
        if self.view_of(v).is_some() {
            return 0;
        }
        let node = self.graph.def(v);
        let behind: usize = node.operands.iter().map(|&o| self.weight(o)).sum();
        let own = match &node.op {
            op if op.info().group == Group::Leaf => return 0,
            Op::Pad { .. }
            | Op::Fit { .. }
            | Op::Shift { .. }
            | Op::Window { .. }
            | Op::Concat { .. } => 1,
            Op::Reduce { .. } => {
                let terms = self.unrolled(node).map_or(FEW, |s| s.iter().product());
                return terms * (behind + 1);
            }
            op if op.info().group == Group::Move => 0,
            op => own_weight(op),
        };
        own + behind
    }

    /// Whether the elements of a value are read more than once, perhaps by way of what is computed again for each reader.
    pub(super) fn read_often(&self, v: Value) -> bool {
        let Some(user) = self.user[v.index()] else { return self.uses[v.index()] > 1 };
        let node = &self.graph.nodes[user];
        let [_] = node.operands[..] else { return false };
        let grows = match &node.op {
            Op::Broadcast { dims, axes } => grows(dims, axes),
            _ => false,
        };
        let again = node.op.info().group == Group::Move || node.op == Op::Neg;
        grows || again && self.read_often(node.results[0])
    }

    /// What is computed for a few elements and read for many is stored.
    pub(super) fn before_broadcast(&mut self, node: &NodeData) -> Result<(), PassError> {
        let Op::Broadcast { dims, axes } = &node.op else { return Ok(()) };
        let enough = if self.nested { 2 } else { 4 };
        if grows(dims, axes) && self.weight(node.operands[0]) >= enough {
            self.settled(node.operands[0])?;
        }
        Ok(())
    }

    /// Whether a value that no step changes is worth keeping for all steps.
    pub(super) fn worth_keeping(&self, v: Value) -> bool {
        if self.known[v.index()].is_some() || self.view_of(v).is_some() {
            return false;
        }
        let node = self.graph.def(v);
        let op = &node.op;
        let loads = |o: &Value| self.view_of(*o).is_some();
        match op.info().group {
            Group::Leaf => false,
            Group::Move => {
                let stored = matches!(
                    op,
                    Op::Pad { .. }
                        | Op::Fit { .. }
                        | Op::Shift { .. }
                        | Op::Window { .. }
                        | Op::Concat { .. }
                );
                stored || node.operands.iter().any(|&o| self.worth_keeping(o))
            }
            _ => node.operands.iter().any(|o| loads(o) || self.worth_keeping(*o)),
        }
    }
}
