//! A step of the walk over the tokens that are folded away.

use super::axes::{is_within, seen, tokens_first, within};
use super::cone::{Cone, Role, Roles};
use super::sinks::Sink;
use super::stages::Group;
use super::vanishing::Top;
use crate::build::{
    add, broadcast, constant, contract, dims, exp, fold, mul, select, sub, transpose,
};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Fold, Graph, Layout, NodeData, Op, Reach, Scan, Value,
};
use nestor_ir::ty::{Elem, Type};
use smallvec::smallvec;
use std::collections::{BTreeMap, BTreeSet};

/// A step of the walk over the tokens that are folded away, as it is built.
pub(super) struct Step<'g> {
    pub(super) graph: &'g Graph,
    pub(super) group: &'g Group,
    pub(super) rows: Dim,
    /// Whether tokens that stay are the last axis.
    pub(super) across: bool,
    /// How the tokens that are folded away lie to those that stay.
    pub(super) reach: Option<Reach>,
    pub(super) walk: Scan,
    /// What it is fed within the step around it.
    pub(super) operands: Vec<Value>,
    pub(super) map: BTreeMap<Value, Value>,
    /// Of tokens that stay, and of those that are folded away.
    pub(super) positions: [Value; 2],
    /// Which of the latter there are.
    pub(super) valid: Value,
    /// What the largest value so far is taken of, where it is.
    pub(super) top: Option<Top>,
    /// Values of the graph that are zero where there is no such token, or pairs have no say.
    pub(super) gone: BTreeSet<Value>,
}

impl<'g> Step<'g> {
    /// An empty one, of as many tokens, of a walk within a step that has these positions.
    pub(super) fn new(
        graph: &'g Graph,
        group: &'g Group,
        (rows, across, reach): (Dim, bool, Option<Reach>),
        (walk, position): (Scan, Value),
    ) -> Self {
        Self {
            graph,
            group,
            rows,
            across,
            reach,
            walk,
            operands: vec![],
            map: BTreeMap::new(),
            positions: [position; 2],
            valid: position,
            top: None,
            gone: BTreeSet::new(),
        }
    }

    /// The walk, its states being the group's folds, and what it takes within the step around it, where what is fed and what the folds
    /// were before are these values.
    pub(super) fn made(
        mut self,
        outer: &Graph,
        fed: &[Value],
        begun: &[Value],
    ) -> (Scan, Vec<Value>) {
        self.feed_leaves(outer, fed);
        let states = self.feed_rest(outer, begun);
        let sinks = &self.group.sinks;
        let largest = sinks.iter().position(|s| Some(s.node) == self.group.largest);
        let grown = largest.map(|n| self.grown(&sinks[n], states[n]));
        // One after the other, so that little of it is there at a time.
        for (n, sink) in sinks.iter().enumerate() {
            let next = match grown {
                Some((next, _)) if largest == Some(n) => next,
                _ => self.next(sink, states[n], grown.map(|(_, by)| by)),
            };
            self.walk.body.output(format!("state{n}"), next);
        }
        (self.walk, self.operands)
    }

    /// What the walk computes pairs of, those of tokens that are folded away a chunk at a time.
    fn feed_leaves(&mut self, outer: &Graph, fed: &[Value]) {
        let cone = &self.group.cone;
        for (&leaf, &value) in cone.leaves.iter().zip(fed) {
            let roles: Roles =
                cone.roles[&leaf].iter().copied().filter(|r| is_within(*r)).collect();
            let walked = roles.contains(&Role::Summed);
            let axis = |role: &Role| match role {
                Role::Summed => Axis::Time,
                _ => Axis::Body,
            };
            let feed = if walked { Feed::Stream } else { Feed::Shared };
            let input = self.feed(outer, value, (feed, roles.iter().map(axis).collect()));
            let order = tokens_first(&roles, self.across);
            let input = transpose(&mut self.walk.body, input, &order);
            self.map.insert(leaf, input);
        }
    }

    /// Where tokens are that stay, what the folds were before, and which steps there are; gives the folds.
    fn feed_rest(&mut self, outer: &Graph, begun: &[Value]) -> Vec<Value> {
        let position = self.positions[0];
        self.positions[0] =
            self.feed(outer, position, (Feed::Shared, smallvec![Axis::Body]));
        let mut states = Vec::new();
        for &begin in begun {
            let layout = outer.ty(begin).dims.iter().map(|_| Axis::Body).collect();
            states.push(self.feed(outer, begin, (Feed::Initial, layout)));
        }
        if let Some(reach) = self.reach {
            self.walk.feeds.push((Feed::Reach(reach), smallvec![Axis::Body]));
            self.operands.push(position);
        }
        let body = &mut self.walk.body;
        self.valid = body.input("valid", Type::bool([self.rows]));
        self.positions[1] = body.input("position", Type::real([self.rows]));
        states
    }

    /// The largest value with these tokens, and what sums that were scaled by the one before are scaled by.
    fn grown(&mut self, sink: &Sink, before: Value) -> (Value, Value) {
        self.compute(sink.pairs);
        let found = self.folded(sink);
        self.top = Some(self.top(sink, found));
        let next = self.walk.body.add(Op::Max, &[before, found]);
        self.map.insert(sink.value(self.graph), next);
        let less = sub(&mut self.walk.body, before, next);
        (next, exp(&mut self.walk.body, less))
    }

    /// A fold with these tokens, of what it was before, scaled by that where there is something to scale it by.
    fn next(&mut self, sink: &Sink, before: Value, by: Option<Value>) -> Value {
        self.compute(sink.pairs);
        if let Some((other, _)) = sink.with {
            self.compute(other);
        }
        let term = self.folded(sink);
        let kept = self.place(&sink.result, Role::Kept);
        let body = &mut self.walk.body;
        match by {
            _ if sink.is_largest(self.graph) => body.add(Op::Max, &[before, term]),
            None => add(body, before, term),
            Some(by) => {
                let all = dims(body, term);
                let by = broadcast(body, by, &all, &[kept]);
                let before = mul(body, before, by);
                add(body, before, term)
            }
        }
    }

    /// Adds a value, and before it what it is computed of.
    fn compute(&mut self, v: Value) {
        if self.map.contains_key(&v) {
            return;
        }
        self.graph.def(v).operands.iter().for_each(|operand| self.compute(*operand));
        let made = match self.vanishing(v) {
            Some(made) => {
                self.gone.insert(v);
                made
            }
            None => self.node(v),
        };
        self.map.insert(v, made);
    }

    fn feed(&mut self, outer: &Graph, v: Value, (feed, layout): (Feed, Layout)) -> Value {
        let ty = seen_by_body(&self.walk, feed, &layout, outer.ty(v));
        let name = format!("x{}", self.operands.len());
        self.walk.feeds.push((feed, layout));
        self.operands.push(v);
        self.walk.body.input(name, ty)
    }

    /// What a fold of the group adds for these tokens.
    fn folded(&mut self, sink: &Sink) -> Value {
        let pairs = self.map[&sink.pairs];
        let summed = self.place(&sink.roles, Role::Summed);
        let body = &mut self.walk.body;
        let all = dims(body, pairs);
        let there = broadcast(body, self.valid, &all, &[summed]);
        let nothing = if sink.is_largest(self.graph) { f64::NEG_INFINITY } else { 0.0 };
        let nothing = constant(body, nothing, &all);
        let pairs = match self.gone.contains(&sink.pairs) {
            true => pairs,
            false => select(body, there, pairs, nothing),
        };
        match sink.with {
            None if sink.is_largest(self.graph) => {
                fold(body, Fold::Max, pairs, &[summed])
            }
            None => fold(body, Fold::Sum, pairs, &[summed]),
            Some((other, n)) => {
                let roles = &self.group.cone.roles[&other];
                let at = self.place(roles, Role::Summed);
                let (a, b) = (self.map[&other], pairs);
                // As it is written, or with tokens that stay last.
                match n == 0 && !self.across {
                    true => contract(&mut self.walk.body, b, a, &[], &[(summed, at)]),
                    false => contract(&mut self.walk.body, a, b, &[], &[(at, summed)]),
                }
            }
        }
    }

    /// Where a value within the step has the axis with a role.
    fn place(&self, roles: &[Role], role: Role) -> usize {
        let mut order = within(roles, self.across).into_iter();
        order.position(|axis| roles[axis] == role).expect("it has such an axis")
    }

    /// Adds a value that is computed of pairs, its operands being there.
    fn node(&mut self, v: Value) -> Value {
        let (graph, cone): (&Graph, &Cone) = (self.graph, &self.group.cone);
        let node: &NodeData = graph.def(v);
        let roles = &cone.roles[&v];
        let all = seen(&graph.ty(v).dims, roles, self.rows, self.across);
        let of = |n: usize| self.map[&node.operands[n]];
        let order = |roles: &[Role]| within(roles, self.across);
        let place = |roles: &[Role], axis: usize| {
            order(roles).into_iter().position(|a| a == axis).expect("it is within")
        };
        match &node.op {
            Op::Constant { value, ty } => {
                let ty = Type { elem: ty.elem, dims: all };
                self.walk.body.add(Op::Constant { value: *value, ty }, &[])
            }
            Op::Iota { axis, .. } => {
                let at = self.positions[usize::from(roles[*axis] == Role::Summed)];
                let axis = place(roles, *axis);
                broadcast(&mut self.walk.body, at, &all, &[axis])
            }
            Op::Position { .. } => self.positions[usize::from(roles[0] == Role::Summed)],
            Op::Broadcast { axes, .. } => {
                let inner = &cone.roles[&node.operands[0]];
                let axes: Axes =
                    order(inner).into_iter().map(|a| place(roles, axes[a])).collect();
                let x = of(0);
                broadcast(&mut self.walk.body, x, &all, &axes)
            }
            Op::Transpose { order: from } => {
                let inner = &cone.roles[&node.operands[0]];
                let order: Axes =
                    order(roles).into_iter().map(|a| place(inner, from[a])).collect();
                let x = of(0);
                transpose(&mut self.walk.body, x, &order)
            }
            Op::Contract { sum, .. } => {
                let [left, right] = [0, 1].map(|n| &cone.roles[&node.operands[n]]);
                let sum: Vec<(usize, usize)> =
                    sum.iter().map(|&(a, b)| (place(left, a), place(right, b))).collect();
                let (a, b) = (of(0), of(1));
                match self.across && left.contains(&Role::Kept) {
                    false => contract(&mut self.walk.body, a, b, &[], &sum),
                    true => {
                        let sum: Vec<_> = sum.into_iter().map(|(a, b)| (b, a)).collect();
                        contract(&mut self.walk.body, b, a, &[], &sum)
                    }
                }
            }
            op => {
                let operands: Vec<Value> = (0..node.operands.len()).map(of).collect();
                if let Some(known) = self.order(node) {
                    let value = f64::from(u8::from(known));
                    let ty = Type { elem: Elem::Bool, dims: all };
                    return self.walk.body.add(Op::Constant { value, ty }, &[]);
                }
                if let Some(known) = self.chosen(op, &operands) {
                    return known;
                }
                if let Some(quotient) = self.divided(node, &operands) {
                    return quotient;
                }
                self.walk.body.add(op.clone(), &operands)
            }
        }
    }
}
