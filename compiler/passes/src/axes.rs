//! Which axes of a graph's values correspond: those that operations make run together are one group.
//!
//! ```text
//! c = contract{sum=(1:0)} a, b        a's axis 0 and c's 0, b's 1 and c's 1;  a's 1 and b's 0 are bound
//! d = add c, broadcast{axes=(1)} e    c's axes and d's; e's axis and d's 1
//! ```
//!
//! An axis that is summed over, indexed or laid out anew is *bound*: its entries meet. Where entries are only to be dealt out in pieces
//! beside one another ([`Groups::in_pieces`]), an axis that others are laid behind is the first of them, a piece of it being a piece of all; and
//! axes that are summed over together are one group.
//!
//! ```text
//! b = reshape a   [32, 128, 16] to [32, 2048]     a's axis 1 and b's axis 1;  a's axis 2 is bound
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that keep axes as they are are named; every other one binds all of them"
)]

use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Group, Op, Value};

/// Groups of axes.
pub(crate) struct Groups {
    /// The first axis of every value.
    first: Vec<usize>,
    parent: Vec<usize>,
    /// Axes whose entries meet, and what they meet in where that is a sum.
    bound: Vec<(usize, Option<Value>)>,
    /// Axes that are laid out anew are told by the first of them.
    pieces: bool,
}

impl Groups {
    /// Of all values of a graph.
    pub(crate) fn of(graph: &Graph) -> Self {
        Self::found(graph, false)
    }

    /// Of all values of a graph of known sizes, by pieces of each axis beside one another.
    pub(crate) fn in_pieces(graph: &Graph) -> Self {
        Self::found(graph, true)
    }

    fn found(graph: &Graph, pieces: bool) -> Self {
        let mut first = Vec::new();
        let mut count = 0;
        for v in graph.values.values() {
            first.push(count);
            count += v.ty.dims.len();
        }
        let mut out = Self { first, parent: (0..count).collect(), bound: vec![], pieces };
        for node in graph.nodes.values() {
            out.node(graph, &node.op, &node.operands, &node.results);
        }
        out
    }

    /// The group of an axis, as a number.
    pub(crate) fn of_axis(&self, v: Value, axis: usize) -> usize {
        self.root(self.at(v, axis))
    }

    /// The sums in which alone entries of a group meet; nothing where they meet elsewhere.
    pub(crate) fn summed(&self, group: usize) -> Option<Vec<Value>> {
        let own = self.bound.iter().filter(|(n, _)| self.root(*n) == group);
        own.map(|(_, sum)| *sum).collect()
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
        self.bound.push((self.at(v, axis), None));
    }

    /// Binds an axis over which a result sums.
    fn sum(&mut self, v: Value, axis: usize, result: Value) {
        self.bound.push((self.at(v, axis), Some(result)));
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
                    if self.pieces {
                        self.join((operands[0], l), (operands[1], r));
                    }
                    self.sum(operands[0], l, results[0]);
                    self.sum(operands[1], r, results[0]);
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
            (Op::Reduce { axes, fold }, _) => {
                let mut next = 0;
                for axis in 0..graph.ty(operands[0]).rank() {
                    if axes.contains(&axis) && *fold == Fold::Sum {
                        self.sum(operands[0], axis, results[0]);
                    } else if axes.contains(&axis) {
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
            (Op::Reshape { .. }, _) if self.pieces => {
                self.laid_out(graph, operands[0], results[0]);
            }
            (Op::LinearScan { .. }, _) => self.scanned(graph, operands, results[0]),
            (Op::SolveUnitLower { .. }, _) => self.solved(graph, operands, results[0]),
            _ => {
                for v in operands.iter().chain(results) {
                    (0..graph.ty(*v).rank()).for_each(|axis| self.bind(*v, axis));
                }
            }
        }
    }

    /// Runs of axes that have as many entries before and after: the first of each are one, those behind them are bound.
    fn laid_out(&mut self, graph: &Graph, from: Value, to: Value) {
        let sizes = |v: Value| -> Vec<(usize, usize)> {
            let dims = graph.ty(v).dims.iter().enumerate();
            let known = dims.map(|(axis, d)| (axis, d.fixed().unwrap_or(0)));
            known.filter(|(_, n)| *n != 1).collect()
        };
        let (from_all, to_all) = (sizes(from), sizes(to));
        let (mut a, mut b) = (from_all.iter(), to_all.iter());
        while let (Some(&(first, n)), Some(&(second, m))) = (a.next(), b.next()) {
            self.join((from, first), (to, second));
            let (mut before, mut after) = (n, m);
            while before != after {
                let shorter = before < after;
                let next = if shorter { a.next() } else { b.next() };
                let Some(&(axis, size)) = next else { break };
                self.bind(if shorter { from } else { to }, axis);
                *(if shorter { &mut before } else { &mut after }) *= size;
            }
        }
    }

    /// Systems run by themselves, and so do right-hand sides of one; equations meet.
    fn solved(&mut self, graph: &Graph, operands: &[Value], x: Value) {
        let [lower, right] = operands else { return };
        let systems = graph.ty(x).rank() - 2;
        for axis in 0..systems {
            [*lower, *right].iter().for_each(|v| self.join((*v, axis), (x, axis)));
        }
        [*lower, *right, x].iter().for_each(|v| self.bind(*v, systems));
        self.bind(*lower, systems + 1);
        self.join((*right, systems + 1), (x, systems + 1));
    }

    /// Slots of a scan run by themselves, and so do columns; steps and rows meet.
    fn scanned(&mut self, graph: &Graph, operands: &[Value], y: Value) {
        let [a, b, init] = operands else { return };
        let slots = graph.ty(*init).rank() - 2;
        for axis in 0..slots {
            [*a, *b, *init].iter().for_each(|v| self.join((*v, axis), (y, axis)));
        }
        for v in [*a, *b, y] {
            self.bind(v, slots);
            self.bind(v, slots + 1);
        }
        self.bind(*a, slots + 2);
        self.bind(*init, slots);
        self.join((*b, slots + 2), (y, slots + 2));
        self.join((*init, slots + 1), (y, slots + 2));
    }
}
