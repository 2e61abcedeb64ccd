//! Nodes that fold pairs: a sum or a largest value along one axis of tokens, or a product that sums over it.

use super::axes::own_numbers;
use super::cone::{Cone, Role, Roles};
use super::tokens;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Node, Op, Value};
use nestor_ir::ty::Dims;
use smallvec::SmallVec;

/// A node that folds pairs.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) node: Node,
    /// What it folds.
    pub(super) pairs: Value,
    /// The other operand of a product, and which one the pairs are.
    pub(super) with: Option<(Value, usize)>,
    /// What it is of pairs.
    pub(super) roles: Roles,
    /// What it gives.
    pub(super) result: Roles,
    pub(super) time: Dim,
    /// Mapped dimensions, sequences first.
    pub(super) maps: Dims,
    /// All that it is computed of.
    pub(super) cone: Cone,
}

impl Sink {
    /// Nothing where a node folds no pairs, or a walk does not compute them.
    pub(super) fn of(graph: &Graph, node: Node) -> Option<Self> {
        let data = &graph.nodes[node];
        match &data.op {
            Op::Reduce { fold: Fold::Sum | Fold::Max, axes } => {
                let [axis] = axes[..] else { return None };
                let mut sink = Self::along(graph, node, data.operands[0], axis)?;
                sink.result = sink.roles.clone();
                sink.result.remove(axis);
                Some(sink)
            }
            Op::Contract { batch, sum } => {
                let [pair] = sum[..] else { return None };
                let of_tokens = |n: &usize| tokens(graph, data.operands[*n]).is_some();
                let mut left_or_right = (0..2).filter(of_tokens);
                let (n, None) = (left_or_right.next()?, left_or_right.next()) else {
                    return None;
                };
                let own = |(a, b): (usize, usize)| if n == 0 { (a, b) } else { (b, a) };
                let (axis, other_axis) = own(pair);
                let mut sink = Self::along(graph, node, data.operands[n], axis)?;
                let other = data.operands[1 - n];
                let mut roles: Roles =
                    SmallVec::from_elem(Role::Own, graph.ty(other).rank());
                roles[other_axis] = Role::Summed;
                for &pair in batch {
                    let (mine, others) = own(pair);
                    roles[others] = sink.roles[mine];
                }
                let sized = roles.iter().zip(&graph.ty(other).dims);
                let fits = |(role, dim): (&Role, &Dim)| {
                    *role != Role::Kept && (*role != Role::Own || dim.fixed().is_some())
                };
                if !sized.clone().all(fits) {
                    return None;
                }
                sink.cone.add(graph, other, &roles)?;
                if sink.cone.counts(graph, other) {
                    return None;
                }
                let mut result: Roles =
                    batch.iter().map(|&pair| sink.roles[own(pair).0]).collect();
                for k in 0..2 {
                    let of = if k == n { &sink.roles } else { &roles };
                    let gone = |axis: usize| {
                        let at = |&(a, b): &(usize, usize)| [a, b][k] == axis;
                        batch.iter().any(at) || at(&pair)
                    };
                    result.extend((0..of.len()).filter(|a| !gone(*a)).map(|a| of[a]));
                }
                (sink.with, sink.result) = (Some((other, n)), result);
                Some(sink)
            }
            _ => None,
        }
    }

    /// A fold along an axis, its result not said yet.
    fn along(graph: &Graph, node: Node, pairs: Value, summed: usize) -> Option<Self> {
        let (time, axes) =
            tokens(graph, pairs).filter(|(_, axes)| axes.contains(&summed))?;
        let dims = &graph.ty(pairs).dims;
        let mut others: Vec<usize> =
            (0..dims.len()).filter(|a| !axes.contains(a)).collect();
        others.sort_by_key(|&axis| (dims[axis] != Dim::Batch, axis));
        let maps: Dims = others.iter().map(|&axis| dims[axis]).collect();
        let mapped = |dim: &Dim| *dim == Dim::Batch || dim.fixed().is_some();
        if !maps.iter().all(mapped) {
            return None;
        }
        let mut roles: Roles = SmallVec::from_elem(Role::Kept, dims.len());
        roles[summed] = Role::Summed;
        for (n, &axis) in others.iter().enumerate() {
            roles[axis] = Role::Map(n);
        }
        let mut cone = Cone::default();
        cone.add(graph, pairs, &roles)?;
        let product = cone.products(graph).next().is_some();
        let counts = cone.counts(graph, pairs);
        let result = Roles::new();
        (product && !counts).then_some(Self {
            node,
            pairs,
            with: None,
            roles,
            result,
            time,
            maps,
            cone,
        })
    }

    /// The value that it gives.
    pub(super) fn value(&self, graph: &Graph) -> Value {
        graph.nodes[self.node].results[0]
    }

    /// Numbers that it gives for a token.
    pub(super) fn numbers(&self, graph: &Graph) -> usize {
        own_numbers(&graph.ty(self.value(graph)).dims, &self.result)
    }

    /// Whether it takes the largest.
    pub(super) fn is_largest(&self, graph: &Graph) -> bool {
        matches!(graph.nodes[self.node].op, Op::Reduce { fold: Fold::Max, .. })
    }

    /// The axes of its pairs that stay and that are folded.
    pub(super) fn axes(&self) -> [usize; 2] {
        [Role::Kept, Role::Summed].map(|role| {
            self.roles.iter().position(|r| *r == role).expect("pairs have both")
        })
    }
}

/// The sinks of a graph, of pairs that nobody wants but they.
pub(super) fn sinks(graph: &Graph) -> Vec<Sink> {
    let found: Vec<Option<Sink>> =
        graph.nodes.keys().map(|node| Sink::of(graph, node)).collect();
    if found.iter().all(Option::is_none) {
        return vec![];
    }
    let wanted = wanted(graph, &found);
    found.into_iter().flatten().filter(|s| !wanted[s.pairs.index()]).collect()
}

/// Which pairs are there as they are, because somebody takes them who is no sink, or they are computed with such.
fn wanted(graph: &Graph, found: &[Option<Sink>]) -> Vec<bool> {
    // Pairs that are more than indices compared: others are made anew by whoever takes them.
    let mut heavy = vec![false; graph.values.len()];
    let mut wanted = vec![false; graph.values.len()];
    for node in graph.nodes.values() {
        let made = |v: &Value| heavy[v.index()];
        let more = node.operands.iter().any(made)
            || matches!(
                node.op,
                Op::Contract { .. } | Op::Scan { .. } | Op::Input { .. }
            );
        for &v in &node.results {
            heavy[v.index()] = more && tokens(graph, v).is_some();
        }
    }
    graph.outputs.iter().for_each(|o| wanted[o.value.index()] = true);
    let is_heavy = |v: &&Value| heavy[v.index()];
    // What one of them is wanted for, all that it is made of and made into is.
    loop {
        let mut changed = false;
        for (id, node) in graph.nodes.iter() {
            let results: Vec<Value> =
                node.results.iter().filter(is_heavy).copied().collect();
            let operands: Vec<Value> =
                node.operands.iter().filter(is_heavy).copied().collect();
            let sunk = found[id.index()].is_some();
            let mut all = wanted_any(&wanted, &results) || wanted_any(&wanted, &operands);
            all |= results.is_empty() && !operands.is_empty() && !sunk;
            if all && !(sunk && results.is_empty()) {
                for v in results.iter().chain(&operands) {
                    changed |= !std::mem::replace(&mut wanted[v.index()], true);
                }
            }
        }
        if !changed {
            return wanted;
        }
    }
}

fn wanted_any(wanted: &[bool], values: &[Value]) -> bool {
    values.iter().any(|v| wanted[v.index()])
}
