//! Which axes of a graph's values correspond: those that operations make run together are one group.
//!
//! ```text
//! c = contract{sum=(1:0)} a, b        a's axis 0 and c's 0, b's 1 and c's 1;  a's 1 and b's 0 are bound
//! d = add c, broadcast{axes=(1)} e    c's axes and d's; e's axis and d's 1
//! ```
//!
//! An axis that is summed over, indexed or laid out anew is *bound*: its entries meet.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that keep axes as they are are named; every other one binds all of them"
)]

use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, Op, Value};

/// Groups of axes.
pub(crate) struct Groups {
    /// The first axis of every value.
    first: Vec<usize>,
    parent: Vec<usize>,
    /// Axes whose entries meet.
    bound: Vec<usize>,
}

impl Groups {
    /// Of all values of a graph.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut first = Vec::new();
        let mut count = 0;
        for v in graph.values.values() {
            first.push(count);
            count += v.ty.dims.len();
        }
        let mut out = Self { first, parent: (0..count).collect(), bound: vec![] };
        for node in graph.nodes.values() {
            out.node(graph, &node.op, &node.operands, &node.results);
        }
        out
    }

    /// The group of an axis, as a number.
    pub(crate) fn of_axis(&self, v: Value, axis: usize) -> usize {
        self.root(self.at(v, axis))
    }

    /// Whether an axis of a group is bound.
    pub(crate) fn is_bound(&self, group: usize) -> bool {
        self.bound.iter().any(|n| self.root(*n) == group)
    }

    fn at(&self, v: Value, axis: usize) -> usize {
        self.first[v.index()] + axis
    }

    fn root(&self, mut n: usize) -> usize {
        while self.parent[n] != n {
            n = self.parent[n];
        }
        n
    }

    fn join(&mut self, a: (Value, usize), b: (Value, usize)) {
        let (a, b) = (self.root(self.at(a.0, a.1)), self.root(self.at(b.0, b.1)));
        self.parent[a] = b;
    }

    /// Binds an axis.
    pub(crate) fn bind(&mut self, v: Value, axis: usize) {
        self.bound.push(self.at(v, axis));
    }

    /// Axes of one value run with those of another.
    pub(crate) fn along(&mut self, graph: &Graph, a: Value, b: Value) {
        for axis in 0..graph.ty(a).rank() {
            self.join((a, axis), (b, axis));
        }
    }

    fn node(&mut self, graph: &Graph, op: &Op, operands: &[Value], results: &[Value]) {
        match (op, op.info().group) {
            (Op::Input { .. } | Op::Constant { .. }, _) => {}
            (Op::Iota { axis, .. }, _) => self.bind(results[0], *axis),
            (_, Group::Unary | Group::Binary | Group::Select) | (Op::Stop, _) => {
                for o in operands {
                    self.along(graph, *o, results[0]);
                }
            }
            (Op::Contract { batch, sum }, _) => {
                let mut next = 0;
                for &(l, r) in batch {
                    self.join((operands[0], l), (results[0], next));
                    self.join((operands[1], r), (results[0], next));
                    next += 1;
                }
                for &(l, r) in sum {
                    self.bind(operands[0], l);
                    self.bind(operands[1], r);
                }
                for (side, &o) in operands.iter().enumerate() {
                    for axis in 0..graph.ty(o).rank() {
                        let mut pairs = batch.iter().chain(sum);
                        let paired = pairs
                            .any(|&(l, r)| if side == 0 { l == axis } else { r == axis });
                        if !paired {
                            self.join((o, axis), (results[0], next));
                            next += 1;
                        }
                    }
                }
            }
            (Op::Reduce { axes, .. }, _) => {
                let mut next = 0;
                for axis in 0..graph.ty(operands[0]).rank() {
                    if axes.contains(&axis) {
                        self.bind(operands[0], axis);
                    } else {
                        self.join((operands[0], axis), (results[0], next));
                        next += 1;
                    }
                }
            }
            (Op::Broadcast { axes, .. }, _) => {
                for (axis, &to) in axes.iter().enumerate() {
                    self.join((operands[0], axis), (results[0], to));
                }
            }
            (Op::Transpose { order }, _) => {
                for (to, &axis) in order.iter().enumerate() {
                    self.join((operands[0], axis), (results[0], to));
                }
            }
            (Op::Slice { axis, .. } | Op::Pad { axis, .. }, _)
            | (Op::Shift { axis, .. } | Op::Concat { axis }, _) => {
                for o in operands {
                    for along in 0..graph.ty(*o).rank() {
                        if along == *axis {
                            self.bind(*o, along);
                            self.bind(results[0], along);
                        } else {
                            self.join((*o, along), (results[0], along));
                        }
                    }
                }
            }
            _ => {
                for v in operands.iter().chain(results) {
                    (0..graph.ty(*v).rank()).for_each(|axis| self.bind(*v, axis));
                }
            }
        }
    }
}
