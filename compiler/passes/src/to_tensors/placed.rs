//! A window of fixed length in the order of a range of tokens around it instead of by age.
//!
//! ```text
//! before   K [w, ..]: entry j is j tokens old        p = softmax(where(exists, q K^T, -inf)),  y = p V
//! after    K [L, ..]: entry s is token s of a range  p = softmax(where(exists, q K^T, -inf)),  y = where(seen, p, 0) V
//!          age [L] by token;  seen = 0 <= age < w;  exists = seen and age <= position
//! ```
//!
//! The range is the same for several tokens, so that what is done for a window of each becomes a product of matrices. What a
//! token has of an entry that it does not see is anything, and left out wherever entries are folded or summed. Entries
//! may stand between others that are always there (learned keys).

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that entries may go through are named; every other one is refused"
)]

use crate::axes::Groups;
use crate::build::{broadcast, full_like, scalar, select};
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Group, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Type};

/// What a token's graph is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Given {
    /// A window over a stream, the newest entry first.
    Window,
    /// A value of the token.
    Token,
    /// The same for all tokens.
    Shared,
}

/// Entries of a window with others before and behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind {
    before: usize,
    after: usize,
}

/// A token's graph whose windows, of `size` entries, are ranges of `range` tokens; two inputs more are the age of every
/// entry and the token's position. Nothing where this is not the same, or where a token would have more than a
/// number of each entry, so that it costs more than windows.
pub(super) fn placed(
    look: &Graph,
    given: &[Given],
    size: usize,
    range: usize,
) -> Option<Graph> {
    let look = prune(&own_leaves(look));
    let mut placing = Placing::new(&look, given, size, range)?;
    for node in look.nodes.values() {
        placing.node(node)?;
    }
    let Placing { mut out, map, products, entries, .. } = placing;
    for output in &look.outputs {
        if entries[output.value.index()].is_some() {
            return None;
        }
        out.output(output.name.clone(), map[output.value.index()]?);
    }
    (products > 0).then_some(out)
}

struct Placing<'a> {
    from: &'a Graph,
    size: usize,
    range: usize,
    /// By value: the axis of entries, and what they stand between.
    entries: Vec<Option<(usize, Kind)>>,
    /// By value: whether tokens have their own.
    own: Vec<bool>,
    given: &'a [Given],
    out: Graph,
    map: Vec<Option<Value>>,
    age: Value,
    position: Value,
    seen: Value,
    /// By value: conditions that hold of no entry that the token does not see.
    only_seen: Vec<bool>,
    /// By value: the number that stands at every entry that the token does not see, where one does.
    unseen: Vec<Option<f64>>,
    /// Products that tokens share a side of.
    products: usize,
}

impl<'a> Placing<'a> {
    fn new(
        from: &'a Graph,
        given: &'a [Given],
        size: usize,
        range: usize,
    ) -> Option<Self> {
        let mut out = Graph::new();
        let mut map = vec![None; from.values.len()];
        let mut own = vec![false; from.values.len()];
        for (input, kind) in from.inputs.iter().zip(given) {
            let mut ty = from.ty(input.value).clone();
            if *kind == Given::Window {
                ty.dims[0] = Dim::Fixed(range);
            }
            map[input.value.index()] = Some(out.input(input.name.clone(), ty));
            own[input.value.index()] = *kind == Given::Token;
        }
        let age = out.input("age", Type::real([Dim::Fixed(range)]));
        let position = out.input("position", Type::real([]));
        let zero = full_like(&mut out, age, 0.0);
        let end = full_like(&mut out, age, size as f64);
        let (from_zero, to_end) =
            (out.add(Op::LessEqual, &[zero, age]), out.add(Op::Less, &[age, end]));
        let seen = out.add(Op::And, &[from_zero, to_end]);
        let entries = entries(from, given, size)?;
        Some(Self {
            from,
            size,
            range,
            entries,
            own,
            given,
            out,
            map,
            age,
            position,
            seen,
            only_seen: vec![false; from.values.len()],
            unseen: vec![None; from.values.len()],
            products: 0,
        })
    }

    fn node(&mut self, node: &NodeData) -> Option<()> {
        if let Op::Input { index, .. } = node.op {
            return (index < self.given.len()).then_some(());
        }
        let [result] = node.results[..] else { return None };
        let axis = self.entries[result.index()];
        let mut operands: Vec<Value> =
            node.operands.iter().map(|v| self.map[v.index()]).collect::<Option<_>>()?;
        let mut own = node.operands.iter().any(|v| self.own[v.index()]);
        let from_entries =
            node.operands.iter().any(|v| self.entries[v.index()].is_some());
        let plain = axis.is_none() && !from_entries;
        let value = match &node.op {
            Op::Position { dims } if dims.is_empty() => {
                own = true;
                self.position
            }
            Op::Position { .. } => return None,
            Op::Exists { size, block: false } if size.fixed() == Some(self.size) => {
                own = true;
                self.exists(axis?.1)?
            }
            Op::Iota { axis: along, .. } if axis.is_some_and(|(a, _)| a == *along) => {
                own = true;
                let (a, kind) = axis?;
                let dims = self.dims(result);
                let ages = (kind == NONE).then_some(self.age)?;
                broadcast(&mut self.out, ages, &dims, &[a])
            }
            Op::Constant { value, .. } => {
                let ty =
                    Type { elem: self.from.ty(result).elem, dims: self.dims(result) };
                self.out.add(Op::Constant { value: *value, ty }, &[])
            }
            Op::Iota { axis, .. } => {
                let dims = self.dims(result);
                self.out.add(Op::Iota { axis: *axis, dims }, &[])
            }
            Op::Broadcast { axes, .. } => {
                let (dims, axes) = (self.dims(result), axes.clone());
                self.out.add(Op::Broadcast { dims, axes }, &operands)
            }
            Op::Reduce { fold, axes } => {
                if let Some((a, kind)) = self.entries[node.operands[0].index()]
                    && axes.contains(&a)
                {
                    own = true;
                    let none = match fold {
                        Fold::Sum => 0.0,
                        Fold::Max => f64::NEG_INFINITY,
                        Fold::Min => f64::INFINITY,
                    };
                    self.hide(&mut operands[0], node.operands[0], (a, kind), none);
                }
                self.out.add(node.op.clone(), &operands)
            }
            Op::Contract { sum, .. } => {
                self.contraction(node, sum, &mut operands)?;
                self.out.add(node.op.clone(), &operands)
            }
            Op::Transpose { .. } | Op::Concat { .. } | Op::Stop => {
                self.out.add(node.op.clone(), &operands)
            }
            op => match op.info().group {
                Group::Unary | Group::Binary | Group::Select => {
                    if let Some(n) = steep(op) {
                        self.tame(&mut operands[n], node.operands[n]);
                    }
                    self.out.add(op.clone(), &operands)
                }
                Group::Leaf
                | Group::Reduce
                | Group::Contract
                | Group::Move
                | Group::Index
                | Group::Solve
                    if plain =>
                {
                    self.out.add(op.clone(), &operands)
                }
                _ => return None,
            },
        };
        if let (true, Some((a, _))) = (own, axis) {
            let dims = &self.from.ty(result).dims;
            let others = (0..dims.len()).filter(|n| *n != a);
            let others: Option<usize> = others.map(|n| dims[n].fixed()).product();
            (others? == 1).then_some(())?;
        }
        self.learn(node, result);
        self.own[result.index()] = own;
        self.map[result.index()] = Some(value);
        Some(())
    }

    /// A sum over entries takes those that are seen, on the side that tokens have their own of.
    fn contraction(
        &mut self,
        node: &NodeData,
        sum: &[(usize, usize)],
        operands: &mut [Value],
    ) -> Option<()> {
        let side = |n: usize| {
            let v = node.operands[n].index();
            (self.entries[v], self.own[v])
        };
        let ((left, own_left), (right, own_right)) = (side(0), side(1));
        let over = |entries: Option<(usize, Kind)>, n: usize| {
            entries.filter(|(a, _)| {
                sum.iter().any(|&(l, r)| *a == if n == 0 { l } else { r })
            })
        };
        let shared = left.is_some() && !own_left || right.is_some() && !own_right;
        self.products += usize::from(shared && own_left != own_right);
        match (over(left, 0), over(right, 1)) {
            (None, None) => {}
            (Some((a, kind)), Some((b, other))) if kind == other => {
                let (n, axis) = match (own_left, own_right) {
                    (true, _) => (0, a),
                    (false, true) => (1, b),
                    (false, false) => return None,
                };
                self.hide(&mut operands[n], node.operands[n], (axis, kind), 0.0);
            }
            _ => return None,
        }
        Some(())
    }

    /// What is known of a result at entries that the token does not see.
    fn learn(&mut self, node: &NodeData, result: Value) {
        let of = |n: usize| node.operands[n].index();
        // What stands beside entries is always seen.
        let at_entries = || {
            let entries = |v: &&Value| self.entries[v.index()].is_some();
            node.operands.iter().find(entries).map(|v| v.index())
        };
        let number = |n: usize| self.unseen[of(n)];
        let zero = |n: Option<f64>| n.filter(|n| *n == 0.0);
        let (only, unseen) = match &node.op {
            Op::Exists { .. } => (true, None),
            Op::And => (self.only_seen[of(0)] || self.only_seen[of(1)], None),
            Op::Broadcast { .. } | Op::Transpose { .. } | Op::Stop => {
                (self.only_seen[of(0)], number(0))
            }
            Op::Concat { .. } => at_entries()
                .map_or((false, None), |v| (self.only_seen[v], self.unseen[v])),
            Op::Constant { value, .. } => (false, Some(*value)),
            Op::Select if self.only_seen[of(0)] => (false, number(2)),
            Op::Div if self.entries[of(1)].is_none() => (false, zero(number(0))),
            Op::Neg => (false, zero(number(0))),
            _ => (false, None),
        };
        self.only_seen[result.index()] = only;
        self.unseen[result.index()] = unseen;
    }

    /// A value with `none` at entries that the token does not see, where it is not that already.
    fn hide(
        &mut self,
        value: &mut Value,
        from: Value,
        (axis, kind): (usize, Kind),
        none: f64,
    ) {
        if self.unseen[from.index()] != Some(none) {
            *value = self.where_seen(*value, axis, kind, none);
        }
    }

    /// Puts 1 where the token does not see an entry, of which nothing is known there.
    fn tame(&mut self, value: &mut Value, from: Value) {
        if let (true, Some(entries), None) = (
            self.own[from.index()],
            self.entries[from.index()],
            self.unseen[from.index()],
        ) {
            self.hide(value, from, entries, 1.0);
        }
    }

    /// A value's dimensions, entries as many as there are in the range.
    fn dims(&self, v: Value) -> Dims {
        let mut dims = self.from.ty(v).dims.clone();
        if let Some((a, kind)) = self.entries[v.index()] {
            dims[a] = Dim::Fixed(kind.before + self.range + kind.after);
        }
        dims
    }

    /// The entries of the window that the token sees and that are not before its sequence; nothing where there are others.
    fn exists(&mut self, kind: Kind) -> Option<Value> {
        (kind == NONE).then_some(())?;
        let dims = [Dim::Fixed(self.range)];
        let position = broadcast(&mut self.out, self.position, &dims, &[]);
        let begun = self.out.add(Op::LessEqual, &[self.age, position]);
        Some(self.out.add(Op::And, &[self.seen, begun]))
    }

    /// A value with `none` at entries that the token does not see.
    fn where_seen(&mut self, value: Value, axis: usize, kind: Kind, none: f64) -> Value {
        let mut always = |count: usize| {
            let ty = Type::bool([Dim::Fixed(count)]);
            (count > 0).then(|| self.out.add(Op::Constant { value: 1.0, ty }, &[]))
        };
        let (before, after) = (always(kind.before), always(kind.after));
        let parts: Vec<Value> =
            before.into_iter().chain([self.seen]).chain(after).collect();
        let seen = match parts[..] {
            [one] => one,
            _ => self.out.add(Op::Concat { axis: 0 }, &parts),
        };
        let dims = self.out.ty(value).dims.clone();
        let seen = broadcast(&mut self.out, seen, &dims, &[axis]);
        let none = match dims.len() {
            0 => scalar(&mut self.out, none),
            _ => full_like(&mut self.out, value, none),
        };
        select(&mut self.out, seen, value, none)
    }
}

/// The operand that may make a result, or its slope, no number where it is anything: what is left out later has to be one.
fn steep(op: &Op) -> Option<usize> {
    match op {
        Op::Exp | Op::Log | Op::Sqrt | Op::Pow => Some(0),
        Op::Div => Some(1),
        _ => None,
    }
}

/// What entries of a group of axes stand between.
#[derive(Default)]
struct Kinds(Vec<(usize, Kind)>);

impl Kinds {
    fn of(&self, group: usize) -> Option<Kind> {
        self.0.iter().find(|(g, _)| *g == group).map(|(_, kind)| *kind)
    }

    /// Nothing where it is known to be another.
    fn put(&mut self, group: usize, kind: Kind) -> Option<()> {
        match self.of(group) {
            Some(known) => (known == kind).then_some(()),
            None => {
                self.0.push((group, kind));
                Some(())
            }
        }
    }
}

/// Nothing before or behind.
const NONE: Kind = Kind { before: 0, after: 0 };

/// The axis of entries of every value, at most one.
fn entries(
    look: &Graph,
    given: &[Given],
    size: usize,
) -> Option<Vec<Option<(usize, Kind)>>> {
    let groups = Groups::of(look);
    let mut kinds = Kinds::default();
    for (input, given) in look.inputs.iter().zip(given) {
        if *given == Given::Window {
            kinds.put(groups.of_axis(input.value, 0), NONE)?;
        }
    }
    for node in look.nodes.values() {
        if let Op::Exists { size: own, .. } = node.op
            && own.fixed() == Some(size)
        {
            kinds.put(groups.of_axis(node.results[0], 0), NONE)?;
        }
        let Op::Concat { axis } = node.op else { continue };
        let of = |v: &Value| kinds.of(groups.of_axis(*v, axis));
        let places: Vec<usize> = (0..node.operands.len())
            .filter(|n| of(&node.operands[*n]).is_some())
            .collect();
        let [place] = places[..] else {
            if places.is_empty() {
                continue;
            }
            return None;
        };
        let length = |v: &Value| look.ty(*v).dims[axis].fixed();
        let inner = of(&node.operands[place])?;
        let before: Option<usize> = node.operands[..place].iter().map(length).sum();
        let after: Option<usize> = node.operands[place + 1..].iter().map(length).sum();
        let kind = Kind { before: before? + inner.before, after: inner.after + after? };
        kinds.put(groups.of_axis(node.results[0], axis), kind)?;
    }
    let of_value = |v: Value| {
        let axes = (0..look.ty(v).rank())
            .filter_map(|a| kinds.of(groups.of_axis(v, a)).map(|kind| (a, kind)));
        let axes: Vec<(usize, Kind)> = axes.collect();
        match axes[..] {
            [] => Some(None),
            [one] => Some(Some(one)),
            _ => None,
        }
    };
    look.values.keys().map(of_value).collect()
}

/// The graph with what depends on no input made anew for everything that takes it: a constant of two uses joins no axes.
fn own_leaves(from: &Graph) -> Graph {
    let mut leaf = vec![false; from.values.len()];
    for node in from.nodes.values() {
        let all = node.operands.iter().all(|v| leaf[v.index()]);
        for v in &node.results {
            leaf[v.index()] = all && !matches!(node.op, Op::Input { .. });
        }
    }
    from.rebuilt(|r, _, node| {
        if matches!(node.op, Op::Input { .. }) || node.operands.is_empty() {
            return None;
        }
        let operands: Vec<Value> = node
            .operands
            .iter()
            .map(|v| match leaf[v.index()] {
                true => again(&mut r.graph, from, *v),
                false => r.at(*v),
            })
            .collect();
        Some(r.graph.add_many(node.op.clone(), &operands))
    })
}

/// A value of no inputs, computed once more.
fn again(to: &mut Graph, from: &Graph, v: Value) -> Value {
    let node = from.def(v);
    let operands: Vec<Value> =
        node.operands.iter().map(|o| again(to, from, *o)).collect();
    to.add_many(node.op.clone(), &operands)[from.values[v].result]
}
