//! Derivatives of reductions and products.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "every op is named where the table begins; these are its groups"
)]

use super::{Derivative, left};
use crate::build::{broadcast, contract, dims, div, mul, sum, transpose};
use crate::error::PassError;
use nestor_ir::tensor::{Axes, Fold, Graph, NodeData, Op, Value};

pub(super) fn derivative(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    wanted: &[bool],
) -> Result<Derivative, PassError> {
    match &node.op {
        Op::Reduce { fold, axes } => {
            Ok(Derivative::one(reduced(g, node, d, *fold, axes)))
        }
        Op::Contract { batch, sum } => Ok(contracted(g, node, d, (batch, sum), wanted)),
        other => Err(left(other)),
    }
}

/// A sum hands its cotangent to every term; a largest or smallest to those that are it, in equal
/// parts, so that shifts of all terms together move the result by as much.
fn reduced(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    fold: Fold,
    axes: &[usize],
) -> Value {
    let a = node.operands[0];
    let shape = dims(g, a);
    let kept: Axes = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
    match fold {
        Fold::Sum => broadcast(g, d, &shape, &kept),
        Fold::Max | Fold::Min => {
            let y = broadcast(g, node.results[0], &shape, &kept);
            let is = g.add(Op::Equal, &[a, y]);
            let is = g.add(Op::Real, &[is]);
            let number = sum(g, is, axes);
            let part = div(g, d, number);
            let part = broadcast(g, part, &shape, &kept);
            mul(g, part, is)
        }
    }
}

type Pairs<'a> = (&'a [(usize, usize)], &'a [(usize, usize)]);

/// Of a product the one side times the cotangent, summed over what the other side brought.
fn contracted(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    (batch, summed): Pairs<'_>,
    wanted: &[bool],
) -> Derivative {
    let (a, b) = (node.operands[0], node.operands[1]);
    let free = |rank: usize, side: fn(&(usize, usize)) -> usize| -> Axes {
        let used = |i: &usize| batch.iter().chain(summed).any(|p| side(p) == *i);
        (0..rank).filter(|i| !used(i)).collect()
    };
    let free_a = free(g.ty(a).rank(), |p| p.0);
    let free_b = free(g.ty(b).rank(), |p| p.1);
    let n = batch.len();
    let da = wanted[0].then(|| {
        let pairs: Vec<_> = batch.iter().enumerate().map(|(i, p)| (i, p.1)).collect();
        let first = n + free_a.len();
        let sums: Vec<_> =
            free_b.iter().enumerate().map(|(i, &axis)| (first + i, axis)).collect();
        let product = contract(g, d, b, &pairs, &sums);
        // The product has the batch axes, a's free axes, then b's summed axes in b's order.
        let mut by_b: Vec<(usize, usize)> = summed.to_vec();
        by_b.sort_unstable_by_key(|p| p.1);
        let axes = batch.iter().map(|p| p.0).chain(free_a.iter().copied());
        restore(g, product, axes.chain(by_b.iter().map(|p| p.0)))
    });
    let db = wanted[1].then(|| {
        let pairs: Vec<_> = batch.iter().enumerate().map(|(i, p)| (p.0, i)).collect();
        let sums: Vec<_> =
            free_a.iter().enumerate().map(|(i, &axis)| (axis, n + i)).collect();
        let product = contract(g, a, d, &pairs, &sums);
        let mut by_a: Vec<(usize, usize)> = summed.to_vec();
        by_a.sort_unstable_by_key(|p| p.0);
        let axes = batch.iter().map(|p| p.1).chain(by_a.iter().map(|p| p.1));
        restore(g, product, axes.chain(free_b.iter().copied()))
    });
    Derivative::Of(vec![da, db])
}

/// Puts axis `i`, which is axis `axes[i]` of the operand, back to its place.
fn restore(g: &mut Graph, value: Value, axes: impl Iterator<Item = usize>) -> Value {
    let axes: Axes = axes.collect();
    let mut order: Axes = (0..axes.len()).collect();
    for (i, &axis) in axes.iter().enumerate() {
        order[axis] = i;
    }
    transpose(g, value, &order)
}
