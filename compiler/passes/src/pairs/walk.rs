//! A walk over the tokens that are folded away, within a step of a walk over those that stay.

use super::Piece;
use super::cone::{Cone, Role, Roles};
use super::sinks::Sink;
use super::stages::Group;
use crate::build::{
    add, broadcast, constant, contract, dims, exp, fold, mul, select, sub, transpose,
    uniform,
};
use crate::causal::{lower, never_above};
use crate::units::Remade;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Fold, Graph, Layout, NodeData, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;
use std::collections::{BTreeMap, BTreeSet};

/// Tokens of a chunk, however long what is summed over is: as many as products are good at.
const LEAST_TOKENS: usize = 16;
/// What the largest value so far is before there was any: less than what anything is, and still a number.
const LEAST: f64 = -1e30;

/// Adds the walk of a group.
pub(super) fn walk(graph: &Graph, group: &Group, most: Piece, made: &mut Remade<'_>) {
    let first = &group.sinks[0];
    let chunk = tokens_of(graph, group, most);
    let empty = |map: Dims| Scan {
        map: map.into_iter().collect(),
        time: first.time,
        stride: Stride::Chunk(chunk),
        reverse: false,
        feeds: vec![],
        yields: vec![],
        body: Graph::new(),
    };
    let mut outer = empty(first.maps.clone());
    let mut fed = Vec::new();
    let mut seen = Vec::new();
    for &leaf in &group.cone.leaves {
        let roles = &group.cone.roles[&leaf];
        let kept = roles.contains(&Role::Kept);
        let feed = if kept { Feed::Stream } else { Feed::Shared };
        let layout: Layout = roles.iter().map(|role| outside(*role)).collect();
        let ty = seen_by_body(&outer, feed, &layout, graph.ty(leaf));
        seen.push(outer.body.input(format!("x{}", fed.len()), ty));
        outer.feeds.push((feed, layout));
        fed.push(made.at(leaf));
    }
    let rows = Dim::Fixed(chunk);
    outer.body.input("valid", Type::bool([rows]));
    let position = outer.body.input("position", Type::real([rows]));
    let mut step = Step {
        graph,
        group,
        rows,
        walk: empty(Dims::new()),
        operands: vec![],
        map: BTreeMap::new(),
        positions: [position; 2],
        valid: position,
        top: None,
        gone: BTreeSet::new(),
    };
    let ends = step.made(&mut outer.body, &seen, position);
    let op = Op::Scan { scan: Box::new(step.walk) };
    let results = outer.body.add_many(op, &step.operands);
    let mut backs = Vec::new();
    for (n, sink) in group.sinks.iter().enumerate() {
        // Tokens first, as steps yield them.
        let own: Roles = in_body(&sink.result);
        let at = own.iter().position(|r| *r == Role::Kept).expect("it stays");
        let order: Axes =
            [at].into_iter().chain((0..own.len()).filter(|a| *a != at)).collect();
        let end = transpose(&mut outer.body, results[ends[n]], &order);
        outer.body.output(format!("y{n}"), end);
        let (layout, back) = yielded(sink);
        outer.yields.push((Yield::Stream, layout));
        backs.push(back);
    }
    let op = Op::Scan { scan: Box::new(outer) };
    let results = made.out.add_many(op, &fed);
    for ((sink, result), back) in group.sinks.iter().zip(results).zip(backs) {
        let as_asked = transpose(&mut made.out, result, &back);
        made.named(&[sink.value(graph)], &[as_asked]);
    }
}

/// Tokens of a chunk: fewer where what is summed over is long.
fn tokens_of(graph: &Graph, group: &Group, most: Piece) -> usize {
    let own = |v: &Value| -> usize {
        let axes = group.cone.roles[v].iter().zip(&graph.ty(*v).dims);
        let long = axes.filter(|(r, _)| **r == Role::Own);
        long.map(|(_, d)| d.fixed().unwrap_or(1)).product()
    };
    let longest = group.cone.leaves.iter().map(own).max().unwrap_or(1);
    let fits = (most.numbers / longest.max(1)).max(LEAST_TOKENS).min(most.tokens);
    1 << fits.ilog2()
}

/// What an axis is to the walk over the tokens that stay.
fn outside(role: Role) -> Axis {
    match role {
        Role::Map(n) => Axis::Map(n),
        Role::Kept => Axis::Time,
        Role::Summed | Role::Own => Axis::Body,
    }
}

/// The axes that are there within a walk.
fn in_body(roles: &[Role]) -> Roles {
    roles.iter().copied().filter(|r| !matches!(r, Role::Map(_))).collect()
}

/// The layout of what a walk yields, sequences, tokens, what else it maps, and the order in which its axes are as they were asked for.
fn yielded(sink: &Sink) -> (Layout, Axes) {
    let first = usize::from(sink.maps.first() == Some(&Dim::Batch));
    let maps = (0..sink.maps.len()).map(Role::Map);
    let own = sink.result.iter().filter(|r| **r == Role::Own).copied();
    let mut axes: Vec<Role> = maps.chain(own).collect();
    axes.insert(first, Role::Kept);
    let layout = axes.iter().map(|role| outside(*role)).collect();
    let mut owns = axes.iter().enumerate().filter(|(_, r)| **r == Role::Own);
    let place = |role: &Role| match role {
        Role::Own => owns.next().expect("as many as before").0,
        role => axes.iter().position(|r| r == role).expect("it has all of them"),
    };
    (layout, sink.result.iter().map(place).collect())
}

/// A step of the walk over the tokens that are folded away, as it is built.
struct Step<'g> {
    graph: &'g Graph,
    group: &'g Group,
    rows: Dim,
    walk: Scan,
    /// What it is fed within the step around it.
    operands: Vec<Value>,
    map: BTreeMap<Value, Value>,
    /// Of tokens that stay, and of those that are folded away.
    positions: [Value; 2],
    /// Which of the latter there are.
    valid: Value,
    /// What the largest value so far is taken of, where it is.
    top: Option<Top>,
    /// Values of the graph that are zero where there is no such token, or pairs have no say.
    gone: BTreeSet<Value>,
}

/// Pairs of which the largest is taken: as little as can be where they have no say.
struct Top {
    /// In the step.
    made: Value,
    /// In the graph, and without that.
    is: [Value; 2],
    /// Where they have a say.
    says: Option<Value>,
}

impl Step<'_> {
    /// Builds it; gives which of its states each fold of the group is.
    fn made(&mut self, outer: &mut Graph, seen: &[Value], position: Value) -> Vec<usize> {
        let (graph, group) = (self.graph, self.group);
        let leaves: Vec<Value> = group.cone.leaves.iter().copied().collect();
        for (&leaf, &value) in leaves.iter().zip(seen) {
            let roles = in_body(&group.cone.roles[&leaf]);
            let summed = roles.contains(&Role::Summed);
            let (feed, layout): (Feed, Layout) = match summed {
                true => {
                    let axis = |r: &Role| match r {
                        Role::Summed => Axis::Time,
                        _ => Axis::Body,
                    };
                    (Feed::Stream, roles.iter().map(axis).collect())
                }
                false => (Feed::Shared, roles.iter().map(|_| Axis::Body).collect()),
            };
            let input = self.feed(outer, value, (feed, layout));
            self.map.insert(leaf, tokens_in_place(&mut self.walk.body, input, &roles));
        }
        let shared = (Feed::Shared, smallvec![Axis::Body]);
        self.positions[0] = self.feed(outer, position, shared);
        let mut states = Vec::new();
        for sink in &group.sinks {
            let begin = if sink.is_largest(graph) { LEAST } else { 0.0 };
            let dims = self.seen(&graph.ty(sink.value(graph)).dims, &sink.result);
            let begin = constant(outer, begin, &dims);
            let layout = dims.iter().map(|_| Axis::Body).collect();
            states.push(self.feed(outer, begin, (Feed::Initial, layout)));
        }
        if let Some(feed) = self.reach() {
            self.walk.feeds.push((feed, smallvec![Axis::Body]));
            self.operands.push(position);
        }
        let body = &mut self.walk.body;
        self.valid = body.input("valid", Type::bool([self.rows]));
        self.positions[1] = body.input("position", Type::real([self.rows]));
        let mut grown = None;
        let mut nexts = vec![None; group.sinks.len()];
        for &v in group.cone.roles.keys() {
            let at = group
                .sinks
                .iter()
                .position(|s| Some(s.node) == group.largest && s.value(graph) == v);
            if let Some(n) = at {
                let largest = self.folded(&group.sinks[n]);
                self.top = Some(self.top(&group.sinks[n], largest));
                let next = self.walk.body.add(Op::Max, &[states[n], largest]);
                let less = sub(&mut self.walk.body, states[n], next);
                grown = Some(exp(&mut self.walk.body, less));
                nexts[n] = Some(next);
                self.map.insert(v, next);
            } else if let Some(made) = self.vanishing(v) {
                self.gone.insert(v);
                self.map.insert(v, made);
            } else if !self.map.contains_key(&v) {
                let made = self.node(v);
                self.map.insert(v, made);
            }
        }
        for (n, sink) in group.sinks.iter().enumerate() {
            if nexts[n].is_some() {
                continue;
            }
            let term = self.folded(sink);
            let body = &mut self.walk.body;
            let next = match (sink.is_largest(graph), grown) {
                (true, _) => body.add(Op::Max, &[states[n], term]),
                (false, None) => add(body, states[n], term),
                (false, Some(by)) => {
                    let own = in_body(&sink.result);
                    let at = own.iter().position(|r| *r == Role::Kept);
                    let all = dims(body, term);
                    let by = broadcast(body, by, &all, &[at.expect("it stays")]);
                    let before = mul(body, states[n], by);
                    add(body, before, term)
                }
            };
            nexts[n] = Some(next);
        }
        for (n, next) in nexts.into_iter().enumerate() {
            self.walk.body.output(format!("state{n}"), next.expect("each has one"));
        }
        (0..group.sinks.len()).collect()
    }

    /// What the largest value is folded of.
    fn top(&self, sink: &Sink, largest: Value) -> Top {
        let graph = self.graph;
        let made = self.walk.body.def(largest).operands[0];
        let node = graph.def(sink.pairs);
        let least = |v: Value| uniform(graph, v) == Some(f64::NEG_INFINITY);
        match node.op {
            Op::Select if least(node.operands[2]) => Top {
                made,
                is: [sink.pairs, node.operands[1]],
                says: Some(node.operands[0]),
            },
            _ => Top { made, is: [sink.pairs; 2], says: None },
        }
    }

    /// A value that is as the pairs are of which the largest is taken, but zero where those have no say; it need not be looked at which are.
    fn vanishing(&mut self, v: Value) -> Option<Value> {
        let (graph, top) = (self.graph, self.top.as_ref()?);
        let node = graph.def(v);
        match node.op {
            Op::Exp => {
                let less = graph.def(node.operands[0]);
                let [x, by] = less.operands[..] else { return None };
                let largest = self
                    .group
                    .sinks
                    .iter()
                    .find(|s| Some(s.node) == self.group.largest)?;
                let scaled = less.op == Op::Sub
                    && top.is.contains(&x)
                    && is_moved(graph, by, largest.value(graph));
                let by = self.map.get(&by).copied().filter(|_| scaled)?;
                let less = sub(&mut self.walk.body, top.made, by);
                Some(exp(&mut self.walk.body, less))
            }
            Op::Select => {
                let [says, x, other] = node.operands[..] else { return None };
                let same = Some(says) == top.says && uniform(graph, other) == Some(0.0);
                (same && self.gone.contains(&x)).then(|| self.map[&x])
            }
            _ => None,
        }
    }

    fn feed(&mut self, outer: &Graph, v: Value, (feed, layout): (Feed, Layout)) -> Value {
        let ty = seen_by_body(&self.walk, feed, &layout, outer.ty(v));
        let name = format!("x{}", self.operands.len());
        self.walk.feeds.push((feed, layout));
        self.operands.push(v);
        self.walk.body.input(name, ty)
    }

    /// How far the walk goes, where that is not to the end: pairs beyond are nothing to any of its folds.
    fn reach(&self) -> Option<Feed> {
        let beyond = |from: bool| {
            self.group.sinks.iter().all(|sink| {
                let [kept, summed] = sink.axes();
                let (row, column) = if from { (summed, kept) } else { (kept, summed) };
                match sink.is_largest(self.graph) {
                    true => never_above(self.graph, sink.pairs, row, column),
                    false => lower(self.graph, sink.pairs, row, column),
                }
            })
        };
        match () {
            () if beyond(false) => Some(Feed::Until),
            () if beyond(true) => Some(Feed::From),
            () => None,
        }
    }

    /// The shape of a value with such axes in a step.
    fn seen(&self, dims: &[Dim], roles: &[Role]) -> Dims {
        let one = |(dim, role): (&Dim, &Role)| match role {
            Role::Map(_) => None,
            Role::Kept | Role::Summed => Some(self.rows),
            Role::Own => Some(*dim),
        };
        dims.iter().zip(roles).filter_map(one).collect()
    }

    /// What a fold of the group adds for these tokens.
    fn folded(&mut self, sink: &Sink) -> Value {
        let pairs = self.map[&sink.pairs];
        let roles = in_body(&sink.roles);
        let summed =
            roles.iter().position(|r| *r == Role::Summed).expect("pairs have it");
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
                let roles = in_body(&self.group.cone.roles[&other]);
                let at = roles.iter().position(|r| *r == Role::Summed);
                let at = at.expect("products sum over it");
                let other = self.map[&other];
                match n {
                    0 => contract(body, pairs, other, &[], &[(summed, at)]),
                    _ => contract(body, other, pairs, &[], &[(at, summed)]),
                }
            }
        }
    }

    /// Adds a value that is computed of pairs, its operands being there.
    fn node(&mut self, v: Value) -> Value {
        let (graph, cone): (&Graph, &Cone) = (self.graph, &self.group.cone);
        let node: &NodeData = graph.def(v);
        let roles = &cone.roles[&v];
        let all = self.seen(&graph.ty(v).dims, roles);
        let of = |n: usize| self.map[&node.operands[n]];
        let place = |roles: &[Role], axis: usize| in_body(&roles[..axis]).len();
        match &node.op {
            Op::Constant { value, ty } => {
                let ty = Type { elem: ty.elem, dims: all };
                self.walk.body.add(Op::Constant { value: *value, ty }, &[])
            }
            Op::Iota { axis, .. } => {
                let at = self.positions[usize::from(roles[*axis] == Role::Summed)];
                broadcast(&mut self.walk.body, at, &all, &[place(roles, *axis)])
            }
            Op::Position { .. } => self.positions[usize::from(roles[0] == Role::Summed)],
            Op::Broadcast { axes, .. } => {
                let inner = &cone.roles[&node.operands[0]];
                let mapped = |axis: &usize| matches!(roles[*axis], Role::Map(_));
                debug_assert_eq!(inner.len(), axes.len(), "an axis each");
                let axes: Axes = axes
                    .iter()
                    .filter(|a| !mapped(a))
                    .map(|&a| place(roles, a))
                    .collect();
                let x = of(0);
                broadcast(&mut self.walk.body, x, &all, &axes)
            }
            Op::Transpose { order } => {
                let inner = &cone.roles[&node.operands[0]];
                let stays = |a: &&usize| !matches!(inner[**a], Role::Map(_));
                let order: Axes =
                    order.iter().filter(stays).map(|&a| place(inner, a)).collect();
                let x = of(0);
                transpose(&mut self.walk.body, x, &order)
            }
            Op::Contract { sum, .. } => {
                let [left, right] = [0, 1].map(|n| &cone.roles[&node.operands[n]]);
                let sum: Vec<(usize, usize)> =
                    sum.iter().map(|&(a, b)| (place(left, a), place(right, b))).collect();
                let (a, b) = (of(0), of(1));
                contract(&mut self.walk.body, a, b, &[], &sum)
            }
            op => {
                let operands: Vec<Value> = (0..node.operands.len()).map(of).collect();
                self.walk.body.add(op.clone(), &operands)
            }
        }
    }
}

/// Whether a value is another one, moved.
fn is_moved(graph: &Graph, mut v: Value, of: Value) -> bool {
    while let (Op::Broadcast { .. } | Op::Transpose { .. } | Op::Stop, true) =
        (&graph.def(v).op, v != of)
    {
        v = graph.def(v).operands[0];
    }
    v == of
}

/// What a step sees of tokens first, with their axis where the value had it.
fn tokens_in_place(body: &mut Graph, v: Value, roles: &[Role]) -> Value {
    let mut own = 1..;
    let place = |role: &Role| match role {
        Role::Own => own.next().expect("there is always another number"),
        _ => 0,
    };
    let of_tokens = roles.iter().any(|r| *r != Role::Own);
    let order: Axes = match of_tokens {
        true => roles.iter().map(place).collect(),
        false => (0..roles.len()).collect(),
    };
    transpose(body, v, &order)
}
