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

use super::entries::{Given, Kind, NONE, entries, own_leaves};
use crate::build::{broadcast, contract, fold, full_like, select};
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axes, Fold, Graph, Group, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Type};

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
            Op::Reduce { fold, axes } => match self.entries[node.operands[0].index()] {
                Some((a, kind)) if axes.contains(&a) => {
                    own = true;
                    self.folded(node.operands[0], (*fold, axes), (a, kind))?
                }
                _ => self.out.add(node.op.clone(), &operands),
            },
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

    /// A fold over entries takes those that are seen; a sum of what tokens share is a product with zeros and ones.
    fn folded(
        &mut self,
        from: Value,
        (how, axes): (Fold, &Axes),
        (axis, kind): (usize, Kind),
    ) -> Option<Value> {
        let mut value = self.map[from.index()]?;
        let shared = !self.own[from.index()] && self.from.ty(from).rank() > 1;
        if shared {
            (how == Fold::Sum).then_some(())?;
            let seen = self.seen_of(kind);
            let ones = self.out.add(Op::Real, &[seen]);
            let total = contract(&mut self.out, ones, value, &[], &[(0, axis)]);
            self.products += 1;
            let rest = axes.iter().filter(|a| **a != axis);
            let rest: Axes = rest.map(|a| a - usize::from(*a > axis)).collect();
            return Some(fold(&mut self.out, how, total, &rest));
        }
        let none = match how {
            Fold::Sum => 0.0,
            Fold::Max => f64::NEG_INFINITY,
            Fold::Min => f64::INFINITY,
        };
        self.hide(&mut value, from, (axis, kind), none);
        Some(fold(&mut self.out, how, value, axes))
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

    /// Which entries the token sees, those that are always there among them.
    fn seen_of(&mut self, kind: Kind) -> Value {
        let mut always = |count: usize| {
            let ty = Type::bool([Dim::Fixed(count)]);
            (count > 0).then(|| self.out.add(Op::Constant { value: 1.0, ty }, &[]))
        };
        let (before, after) = (always(kind.before), always(kind.after));
        let parts: Vec<Value> =
            before.into_iter().chain([self.seen]).chain(after).collect();
        match parts[..] {
            [one] => one,
            _ => self.out.add(Op::Concat { axis: 0 }, &parts),
        }
    }

    /// A value with `none` at entries that the token does not see.
    fn where_seen(&mut self, value: Value, axis: usize, kind: Kind, none: f64) -> Value {
        let seen = self.seen_of(kind);
        let dims = self.out.ty(value).dims.clone();
        let seen = broadcast(&mut self.out, seen, &dims, &[axis]);
        let none = full_like(&mut self.out, value, none);
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
