//! Derivatives of linear systems and linear recurrences: each is a system of the same kind,
//! transposed and walked the other way.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "every op is named where the table begins; these are its groups"
)]

use super::{Derivative, left};
use crate::build::{
    accumulate, add, broadcast, broadcast_to, constant, contract, dims, div, fold,
    full_like, matmul, mul, neg, scale, select, select_or_zero, strictly_lower, sub, sum,
    transpose, transpose_last, unary, zeros_like,
};
use crate::error::PassError;
use nestor_ir::tensor::{Axes, AxisPairs, Fold, Graph, NodeData, Op, Value};

pub(super) fn derivative(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    wanted: &[bool],
) -> Result<Derivative, PassError> {
    let y = node.results[0];
    match &node.op {
        Op::SolveUnitLower { transpose } => {
            let l = node.operands[0];
            let dx = g.add(Op::SolveUnitLower { transpose: !transpose }, &[l, d]);
            let dl = wanted[0].then(|| {
                let (left, right) = if *transpose { (y, dx) } else { (dx, y) };
                let right = transpose_last(g, right);
                let full = matmul(g, left, right);
                let full = neg(g, full);
                let shape = dims(g, full);
                let lower = strictly_lower(g, shape[shape.len() - 1]);
                let lower = broadcast_to(g, lower, &shape);
                select_or_zero(g, lower, full)
            });
            Ok(Derivative::Of(vec![dl, Some(dx)]))
        }
        Op::Solve => {
            let dx = g.add(Op::Solve, &[node.operands[0], d]);
            let da = wanted[0].then(|| {
                let y = transpose_last(g, y);
                let full = matmul(g, dx, y);
                neg(g, full)
            });
            Ok(Derivative::Of(vec![da, Some(dx)]))
        }
        Op::InverseRoot { p } => inverse_root(g, y, d, *p),
        Op::Eigenvectors => Ok(eigenvectors(g, node.operands[0], y, d)),
        Op::LinearScan { reverse } => Ok(linear_scan(g, node, d, *reverse, wanted)),
        Op::Scan { .. } => {
            Err(PassError::bug("derivative", "a scan has its own reverse"))
        }
        other => Err(left(other)),
    }
}

/// The largest matrix whose root is differentiated: the system below has its square of unknowns.
const LARGEST: usize = 24;

/// `X = A^(-1/p)` means `X^p = A^-1`, so with `K(Z) = sum over m < p of X^m Z X^(p-1-m)`, which is
/// symmetric, `K(dX) = -X^p dA X^p`: the cotangent of A is `-X^p K^-1(d) X^p`.
fn inverse_root(
    g: &mut Graph,
    x: Value,
    d: Value,
    p: f64,
) -> Result<Derivative, PassError> {
    let shape = dims(g, x);
    let lead = shape.len() - 2;
    let size = shape[lead].fixed().filter(|n| *n <= LARGEST);
    let (Some(n), true) = (size, p >= 1.0 && p.fract() == 0.0) else {
        return Err(PassError::limitation(
            "L-inverse-root",
            format!(
                "the derivative of a root {p} of a matrix of more than {LARGEST} rows"
            ),
            "put the root under `stop`, or keep it out of what is differentiated",
        ));
    };
    let square = [shape[lead], shape[lead]];
    let row = g.add(Op::Iota { axis: 0, dims: square.into_iter().collect() }, &[]);
    let column = g.add(Op::Iota { axis: 1, dims: square.into_iter().collect() }, &[]);
    let same = g.add(Op::Equal, &[row, column]);
    let identity = g.add(Op::Real, &[same]);
    let mut powers = vec![broadcast_to(g, identity, &shape)];
    for m in 0..p as usize {
        let next = if m == 0 { x } else { matmul(g, powers[m], x) };
        powers.push(next);
    }
    let pairs: AxisPairs = (0..lead).map(|i| (i, i)).collect();
    let order: Axes =
        (0..lead).chain([0, 2, 1, 3].into_iter().map(|i| lead + i)).collect();
    let mut system = None;
    for m in 0..p as usize {
        let term = contract(g, powers[m], powers[p as usize - 1 - m], &pairs, &[]);
        let term = transpose(g, term, &order);
        system = Some(accumulate(g, system, term));
    }
    let Some(system) = system else {
        return Err(PassError::bug("derivative", "a root of nothing"));
    };
    let front = || shape[..lead].iter().copied();
    let reshaped = |g: &mut Graph, v: Value, rest: &[usize]| {
        let dims = front().chain(rest.iter().map(|&n| n.into())).collect();
        g.add(Op::Reshape { dims }, &[v])
    };
    let system = reshaped(g, system, &[n * n, n * n]);
    let right = reshaped(g, d, &[n * n, 1]);
    let z = g.add(Op::Solve, &[system, right]);
    let z = reshaped(g, z, &[n, n]);
    let inverse = powers[p as usize];
    let da = matmul(g, inverse, z);
    let da = matmul(g, da, inverse);
    Ok(Derivative::Of(vec![Some(neg(g, da))]))
}

/// Values nearer to each other than this share of the largest are equal: any vectors of their plane are
/// eigenvectors, and no slope says which. Single precision knows values no better.
const EQUAL: f64 = 1e-6;

/// With `A = Q diag(l) Q'` and `Q' dQ = F * (Q' dA Q)`, `F_ij = 1 / (l_j - l_i)`, nothing on the diagonal: the
/// cotangent of A is `Q (F * Q' d) Q'`, of which the symmetric part, as A is.
fn eigenvectors(g: &mut Graph, a: Value, q: Value, d: Value) -> Derivative {
    let shape = dims(g, q);
    let lead = shape.len() - 2;
    let turned = matmul(g, a, q);
    let turned = mul(g, q, turned);
    let values = sum(g, turned, &[lead]);
    let but = |axis: usize| (0..lead + 2).filter(|i| *i != axis).collect::<Axes>();
    let rows = broadcast(g, values, &shape, &but(lead + 1));
    let columns = broadcast(g, values, &shape, &but(lead));
    let gap = sub(g, columns, rows);
    let sizes = unary(g, Op::Abs, values);
    let largest = fold(g, Fold::Max, sizes, &[lead]);
    let bound = scale(g, largest, EQUAL);
    let front: Axes = (0..lead).collect();
    let bound = broadcast(g, bound, &shape, &front);
    let size = unary(g, Op::Abs, gap);
    let apart = g.add(Op::Less, &[bound, size]);
    let one = full_like(g, gap, 1.0);
    let gap = select(g, apart, gap, one);
    let across = transpose_last(g, q);
    let inner = matmul(g, across, d);
    let inner = div(g, inner, gap);
    let inner = select_or_zero(g, apart, inner);
    let outer = matmul(g, q, inner);
    let da = matmul(g, outer, across);
    let other = transpose_last(g, da);
    let both = add(g, da, other);
    Derivative::one(scale(g, both, 0.5))
}

/// With `y_t = a_t y_{t-1} + b_t` and cotangents d: `e_t = d_t + a_{t+1}' e_{t+1}`; then `e` is the
/// cotangent of b, `e_t y_{t-1}'` that of a, and `a_0' e_0` that of the initial value.
fn linear_scan(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    reverse: bool,
    wanted: &[bool],
) -> Derivative {
    let (a, init, y) = (node.operands[0], node.operands[2], node.results[0]);
    let shape = dims(g, y);
    let time = shape.len() - 3;
    let by = if reverse { -1 } else { 1 };
    let turned = transpose_last(g, a);
    let turned = g.add(Op::Shift { axis: time, by: -by }, &[turned]);
    let none = zeros_like(g, init);
    let e = g.add(Op::LinearScan { reverse: !reverse }, &[turned, d, none]);
    // One at the first step that is walked, zero at the others.
    let ones = constant(g, 1.0, &shape[time..=time]);
    let others = g.add(Op::Shift { axis: 0, by }, &[ones]);
    let edge = sub(g, ones, others);
    let da = wanted[0].then(|| {
        let edge = broadcast(g, edge, &shape, &[time]);
        let axes: Axes = (0..shape.len()).filter(|&i| i != time).collect();
        let init = broadcast(g, init, &shape, &axes);
        let at_edge = mul(g, edge, init);
        let before = g.add(Op::Shift { axis: time, by }, &[y]);
        let before = add(g, before, at_edge);
        let before = transpose_last(g, before);
        matmul(g, e, before)
    });
    let dinit = wanted[2].then(|| {
        let shape = dims(g, a);
        let edge = broadcast(g, edge, &shape, &[time]);
        let first = mul(g, edge, a);
        let lead: AxisPairs = (0..time).map(|i| (i, i)).collect();
        contract(g, first, e, &lead, &[(time, time), (time + 1, time + 1)])
    });
    Derivative::Of(vec![da, Some(e), dinit])
}
