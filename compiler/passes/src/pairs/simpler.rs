//! What is simpler within a step than for all pairs: comparisons of tokens that all come before others, and quotients of which many divide by the
//! same.

use super::cone::{Role, unmoved};
use super::step::Step;
use crate::build::{broadcast, constant, dims, div, mul, uniform};
use nestor_ir::tensor::{NodeData, Op, Reach, Value};

impl Step<'_> {
    /// Whether a comparison of tokens that stay with those that are folded away holds, where all of the latter come before, or after.
    pub(super) fn order(&self, node: &NodeData) -> Option<bool> {
        let [a, b] = node.operands[..] else { return None };
        let roles = [a, b].map(|v| self.counted(v));
        let [Some(first), Some(second)] = roles else { return None };
        let first_is_less = match self.reach? {
            _ if first == second => return None,
            Reach::Before => first == Role::Summed,
            Reach::At => return None,
            Reach::After => first == Role::Kept,
        };
        match node.op {
            Op::Less | Op::LessEqual => Some(first_is_less),
            Op::Equal => Some(false),
            _ => None,
        }
    }

    /// Whose numbers a value is, of tokens that stay or of those that are folded away.
    fn counted(&self, v: Value) -> Option<Role> {
        let v = unmoved(self.graph, v);
        let axis = match &self.graph.def(v).op {
            Op::Iota { axis, .. } => *axis,
            Op::Position { .. } => 0,
            _ => return None,
        };
        Some(self.group.cone.roles[&v][axis])
    }

    /// What a choice is whose condition is known, or a condition one half of which is.
    pub(super) fn chosen(&self, op: &Op, operands: &[Value]) -> Option<Value> {
        let known = |n: usize| uniform(&self.walk.body, operands[n]);
        match op {
            Op::Select => match known(0)? {
                0.0 => Some(operands[2]),
                _ => Some(operands[1]),
            },
            Op::And | Op::Or => [(0, 1), (1, 0)].into_iter().find_map(|(n, other)| {
                let decides = (known(n)? != 0.0) == (*op == Op::Or);
                Some(operands[if decides { n } else { other }])
            }),
            _ => None,
        }
    }

    /// Pairs divided by what is the same for all of a row or column, of which the reciprocal is taken once.
    pub(super) fn divided(
        &mut self,
        node: &NodeData,
        operands: &[Value],
    ) -> Option<Value> {
        let (Op::Div, [_, by]) = (&node.op, operands) else { return None };
        let Op::Broadcast { axes, .. } = &self.walk.body.def(*by).op else { return None };
        let axes = axes.clone();
        let all = dims(&self.walk.body, operands[0]);
        let by = self.walk.body.def(*by).operands[0];
        let body = &mut self.walk.body;
        let few = dims(body, by);
        if few.len() == all.len() {
            return None;
        }
        let one = constant(body, 1.0, &few);
        let by = div(body, one, by);
        let by = broadcast(body, by, &all, &axes);
        Some(mul(body, operands[0], by))
    }
}
