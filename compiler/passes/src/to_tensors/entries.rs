//! Which axis of each value of a token's graph runs over the entries of its windows, alone or beside others that are
//! always there.
//!
//! ```text
//! K = concat pk, window k     [p + w, ..]: entries after p others
//! q K^T                       the same
//! ```

use crate::axes::Groups;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Op, Value};

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
pub(super) struct Kind {
    pub(super) before: usize,
    pub(super) after: usize,
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
pub(super) const NONE: Kind = Kind { before: 0, after: 0 };

/// The axis of entries of every value, at most one.
pub(super) fn entries(
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
pub(super) fn own_leaves(from: &Graph) -> Graph {
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
