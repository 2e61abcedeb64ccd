//! Sums and products of tensors: which axes run together, which are summed, which are free.
//!
//! ```text
//! before   sum over j of broadcast(a)[i, j] * broadcast(b)[i, j]      after   contract a, b
//! before   contract(transpose a, broadcast b)                         after   contract a, b
//! ```
//!
//! Every case is read as labels on axes (as in `ij,jk->ik`), moved operands are replaced by what
//! was moved, and [`product`] writes the plainest nodes for the labels: a sum before the product
//! where only one side has the axis, a repetition after it where neither has, scaling where one
//! side's axes are all the other's, and a contraction otherwise.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::algebra::{factor, times};
use super::driver::Rewriter;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, AxisPairs, Fold, Graph, Op, Value};
use nestor_ir::ty::Dims;

/// A value with a label on every axis.
type Labelled = (Value, Vec<usize>);

/// What stands for the node, where a rule applies.
pub(super) fn rule(rw: &mut Rewriter, op: &Op, x: &[Value]) -> Option<Value> {
    match op {
        Op::Reduce { fold: Fold::Sum, axes } => summed(rw, x[0], axes),
        Op::Reduce { fold, axes } => extreme(rw, x[0], *fold, axes),
        Op::Contract { batch, sum } => contracted(rw, x[0], x[1], batch, sum),
        Op::Mul => outer(rw, x[0], x[1]),
        Op::Transpose { order } => swapped(rw, x[0], order),
        _ => None,
    }
}

/// Looks through repetitions and transpositions.
pub(super) fn stripped(graph: &Graph, value: Value, labels: &[usize]) -> Labelled {
    let (mut value, mut labels) = (value, labels.to_vec());
    loop {
        match &graph.def(value).op {
            Op::Broadcast { axes, .. } => {
                labels = axes.iter().map(|&a| labels[a]).collect()
            }
            Op::Transpose { order } => {
                let mut before = vec![0; order.len()];
                for (i, &o) in order.iter().enumerate() {
                    before[o] = labels[i];
                }
                labels = before;
            }
            Op::Constant { .. } if !labels.is_empty() => return (value, Vec::new()),
            _ => return (value, labels),
        }
        value = graph.def(value).operands[0];
    }
}

/// A constant that lost its labels becomes a scalar.
fn scalar_if_constant(rw: &mut Rewriter, (value, labels): Labelled) -> Labelled {
    match rw.constant_of(value) {
        Some(c) if labels.is_empty() && rw.graph.ty(value).rank() > 0 => {
            let ty = nestor_ir::ty::Type::real([]);
            (rw.emit(Op::Constant { value: c, ty }, &[]), labels)
        }
        _ => (value, labels),
    }
}

/// The sum over all labels not in `out` of `a b`, with axes in the order of `out`; `sizes` by
/// label. Labels that are summed must be on one side at least.
pub(super) fn product(
    rw: &mut Rewriter,
    a: Labelled,
    b: Labelled,
    out: &[usize],
    sizes: &[Dim],
) -> Value {
    let a = scalar_if_constant(rw, a);
    let b = scalar_if_constant(rw, b);
    let (a, la) = summed_alone(rw, a, &b.1, out);
    let (b, lb) = summed_alone(rw, b, &la, out);
    let both = |l: &usize| la.contains(l) && lb.contains(l);
    let sums: Vec<usize> =
        la.iter().copied().filter(|l| both(l) && !out.contains(l)).collect();
    let within = |x: &[usize], y: &[usize]| x.iter().all(|l| y.contains(l));
    if sums.is_empty() && (within(&la, &lb) || within(&lb, &la)) {
        let larger: Vec<usize> =
            out.iter().copied().filter(|l| la.contains(l) || lb.contains(l)).collect();
        let x = arranged(rw, a, &la, &larger, sizes);
        let y = arranged(rw, b, &lb, &larger, sizes);
        let value = rw.emit(Op::Mul, &[x, y]);
        return arranged(rw, value, &larger, out, sizes);
    }
    let batch: Vec<usize> = out.iter().copied().filter(both).collect();
    let free =
        |x: &[usize]| -> Vec<usize> { x.iter().copied().filter(|l| !both(l)).collect() };
    let (fa, fb) = (free(&la), free(&lb));
    let straight = [batch.clone(), fa.clone(), fb.clone()].concat();
    let turned = [batch.clone(), fb, fa].concat();
    let wanted: Vec<usize> =
        out.iter().copied().filter(|l| straight.contains(l)).collect();
    let swap = turned == wanted && straight != wanted;
    let (first, second) = if swap { ((b, &lb), (a, &la)) } else { ((a, &la), (b, &lb)) };
    let place =
        |labels: &[usize], l: usize| labels.iter().position(|&x| x == l).unwrap_or(0);
    let pairs = |labels: &[usize]| -> AxisPairs {
        labels.iter().map(|&l| (place(first.1, l), place(second.1, l))).collect()
    };
    let op = Op::Contract { batch: pairs(&batch), sum: pairs(&sums) };
    let value = rw.emit(op, &[first.0, second.0]);
    arranged(rw, value, if swap { &turned } else { &straight }, out, sizes)
}

/// Sums what neither the other side nor the result has.
pub(super) fn summed_alone(
    rw: &mut Rewriter,
    (value, labels): Labelled,
    other: &[usize],
    out: &[usize],
) -> Labelled {
    let gone = |l: &usize| !other.contains(l) && !out.contains(l);
    let axes: Axes = (0..labels.len()).filter(|&i| gone(&labels[i])).collect();
    if axes.is_empty() {
        return (value, labels);
    }
    let kept = labels.iter().copied().filter(|l| !gone(l)).collect();
    (rw.emit(Op::Reduce { fold: Fold::Sum, axes }, &[value]), kept)
}

/// The value with axes in the order of `out`, repeated along those it lacks.
pub(super) fn arranged(
    rw: &mut Rewriter,
    value: Value,
    labels: &[usize],
    out: &[usize],
    sizes: &[Dim],
) -> Value {
    let has: Vec<usize> = out.iter().copied().filter(|l| labels.contains(l)).collect();
    let order: Axes =
        has.iter().filter_map(|l| labels.iter().position(|x| x == l)).collect();
    let value = if order.iter().copied().eq(0..order.len()) {
        value
    } else {
        rw.emit(Op::Transpose { order }, &[value])
    };
    if has.len() == out.len() {
        return value;
    }
    let dims: Dims = out.iter().map(|&l| sizes[l]).collect();
    let axes = (0..out.len()).filter(|&i| labels.contains(&out[i])).collect();
    rw.emit(Op::Broadcast { dims, axes }, &[value])
}

/// Sums of repetitions, products, sums and contractions.
fn summed(rw: &mut Rewriter, a: Value, axes: &Axes) -> Option<Value> {
    if axes.is_empty() {
        return Some(a);
    }
    let dims = rw.graph.ty(a).dims.clone();
    let all: Vec<usize> = (0..dims.len()).collect();
    let out: Vec<usize> = all.iter().copied().filter(|i| !axes.contains(i)).collect();
    match rw.op(a).clone() {
        Op::Constant { value, .. } => {
            let n = crate::build::count(&dims, axes)?;
            let ty = nestor_ir::ty::Type::real(out.iter().map(|&i| dims[i]));
            Some(rw.emit(Op::Constant { value: value * n, ty }, &[]))
        }
        Op::Broadcast { axes: kept, .. } => {
            let new: Vec<usize> =
                axes.iter().copied().filter(|i| !kept.contains(i)).collect();
            if new.is_empty() && kept.len() == dims.len() {
                return None;
            }
            let n = crate::build::count(&dims, &new)?;
            let source = rw.operand(a, 0);
            let (value, labels) = summed_alone(rw, (source, kept.to_vec()), &[], &out);
            let value = times(rw, value, n);
            Some(arranged(rw, value, &labels, &out, &dims))
        }
        Op::Reduce { fold: Fold::Sum, axes: first } => {
            let source = rw.operand(a, 0);
            let rank = rw.graph.ty(source).rank();
            let left: Axes = (0..rank).filter(|i| !first.contains(i)).collect();
            let mut both: Axes = axes.iter().map(|&i| left[i]).collect();
            both.extend(first);
            both.sort_unstable();
            Some(rw.emit(Op::Reduce { fold: Fold::Sum, axes: both }, &[source]))
        }
        Op::Transpose { order } => {
            let source = rw.operand(a, 0);
            let (value, labels) =
                summed_alone(rw, stripped_one(source, &order), &[], &out);
            Some(arranged(rw, value, &labels, &out, &dims))
        }
        Op::Neg => {
            let (x, c) = factor(rw, a)?;
            let total = rw.emit(Op::Reduce { fold: Fold::Sum, axes: axes.clone() }, &[x]);
            Some(times(rw, total, c))
        }
        Op::Mul => {
            let (x, y) = (rw.operand(a, 0), rw.operand(a, 1));
            let (x, y) = (stripped(&rw.graph, x, &all), stripped(&rw.graph, y, &all));
            let covered = axes.iter().all(|i| x.1.contains(i) || y.1.contains(i));
            let full = x.1.len() == all.len() && y.1.len() == all.len();
            (covered && !full).then(|| product(rw, x, y, &out, &dims))
        }
        Op::Div => {
            let (x, y) = (rw.operand(a, 0), rw.operand(a, 1));
            let below = stripped(&rw.graph, y, &all);
            if below.1.iter().any(|l| axes.contains(l)) {
                return None;
            }
            let total = rw.emit(Op::Reduce { fold: Fold::Sum, axes: axes.clone() }, &[x]);
            let below = scalar_if_constant(rw, below);
            let labels: Vec<usize> = out.clone();
            let below = arranged(rw, below.0, &below.1, &labels, &dims);
            Some(rw.emit(Op::Div, &[total, below]))
        }
        Op::Contract { batch, sum } => {
            let (x, y, _) = labels_of(rw, a, &batch, &sum);
            let mut sizes = dims.to_vec();
            for &(l, _) in &sum {
                sizes.push(rw.graph.ty(x.0).dims[l]);
            }
            Some(product(rw, x, y, &out, &sizes))
        }
        _ => None,
    }
}

/// Labels before a transposition whose result's axis i has label i.
fn stripped_one(source: Value, order: &Axes) -> Labelled {
    let mut labels = vec![0; order.len()];
    for (i, &o) in order.iter().enumerate() {
        labels[o] = i;
    }
    (source, labels)
}

/// The operands of a contraction, labelled by the axes of its result; summed axes come after.
fn labels_of(
    rw: &Rewriter,
    value: Value,
    batch: &AxisPairs,
    sum: &AxisPairs,
) -> (Labelled, Labelled, usize) {
    let (a, b) = (rw.operand(value, 0), rw.operand(value, 1));
    let ranks = (rw.graph.ty(a).rank(), rw.graph.ty(b).rank());
    let (la, lb, n) = labels(ranks, batch, sum);
    ((a, la), (b, lb), n)
}

/// A label for every axis of two operands of a contraction: that of the axis of the result, or,
/// where it is summed, one after them; and how many axes the result has.
pub(super) fn labels(
    (rank_a, rank_b): (usize, usize),
    batch: &AxisPairs,
    sum: &AxisPairs,
) -> (Vec<usize>, Vec<usize>, usize) {
    let (mut la, mut lb) = (vec![usize::MAX; rank_a], vec![usize::MAX; rank_b]);
    for (n, &(l, r)) in batch.iter().enumerate() {
        (la[l], lb[r]) = (n, n);
    }
    let result = rank_a + rank_b - batch.len() - 2 * sum.len();
    for (n, &(l, r)) in sum.iter().enumerate() {
        (la[l], lb[r]) = (result + n, result + n);
    }
    let mut next = batch.len();
    for slot in la.iter_mut().chain(lb.iter_mut()) {
        if *slot == usize::MAX {
            *slot = next;
            next += 1;
        }
    }
    (la, lb, result)
}

fn extreme(rw: &mut Rewriter, a: Value, fold: Fold, axes: &Axes) -> Option<Value> {
    if axes.is_empty() {
        return Some(a);
    }
    let dims = rw.graph.ty(a).dims.clone();
    let Op::Broadcast { axes: kept, .. } = rw.op(a).clone() else { return None };
    let new = axes.iter().any(|i| !kept.contains(i));
    if !new && kept.len() == dims.len() {
        return None;
    }
    // Along a new axis all entries are one; it must have an entry.
    let first: Vec<usize> = axes.iter().copied().filter(|i| !kept.contains(i)).collect();
    if first.iter().any(|&i| dims[i] == Dim::Fixed(0)) {
        return None;
    }
    let out: Vec<usize> = (0..dims.len()).filter(|i| !axes.contains(i)).collect();
    let source = rw.operand(a, 0);
    let inner: Axes = (0..kept.len()).filter(|&i| axes.contains(&kept[i])).collect();
    let labels: Vec<usize> = kept.iter().copied().filter(|l| !axes.contains(l)).collect();
    let value = rw.emit(Op::Reduce { fold, axes: inner }, &[source]);
    Some(arranged(rw, value, &labels, &out, &dims))
}

fn contracted(
    rw: &mut Rewriter,
    a: Value,
    b: Value,
    batch: &AxisPairs,
    sum: &AxisPairs,
) -> Option<Value> {
    let ranks = (rw.graph.ty(a).rank(), rw.graph.ty(b).rank());
    let (la, lb, result) = labels(ranks, batch, sum);
    let mut sizes = vec![Dim::Fixed(0); result + sum.len()];
    for (value, labels) in [(a, &la), (b, &lb)] {
        for (&l, &dim) in labels.iter().zip(&rw.graph.ty(value).dims) {
            sizes[l] = dim;
        }
    }
    let out: Vec<usize> = (0..result).collect();
    let (x, y) = (stripped(&rw.graph, a, &la), stripped(&rw.graph, b, &lb));
    let moved = x.0 != a || y.0 != b || x.1.len() < la.len() || y.1.len() < lb.len();
    let within = |x: &[usize], y: &[usize]| x.iter().all(|l| y.contains(l));
    let scaling = sum.is_empty() && (within(&la, &lb) || within(&lb, &la));
    if moved || scaling {
        let lost: Vec<usize> = (result..sizes.len())
            .filter(|l| !x.1.contains(l) && !y.1.contains(l))
            .collect();
        let n = crate::build::count(&sizes, &lost)?;
        let value = product(rw, x, y, &out, &sizes);
        return Some(times(rw, value, n));
    }
    for side in 0..2 {
        if let Some((inner, c)) = factor(rw, if side == 0 { a } else { b }) {
            let operands = if side == 0 { [inner, b] } else { [a, inner] };
            let op = Op::Contract { batch: batch.clone(), sum: sum.clone() };
            let value = rw.emit(op, &operands);
            return Some(times(rw, value, c));
        }
    }
    None
}

/// A product of two repetitions of which neither has all axes of the other is an outer product.
fn outer(rw: &mut Rewriter, a: Value, b: Value) -> Option<Value> {
    let repeated = |v: Value| matches!(rw.op(v), Op::Broadcast { .. });
    if !repeated(a) || !repeated(b) {
        return None;
    }
    let dims = rw.graph.ty(a).dims.clone();
    let all: Vec<usize> = (0..dims.len()).collect();
    let (x, y) = (stripped(&rw.graph, a, &all), stripped(&rw.graph, b, &all));
    let within = |x: &[usize], y: &[usize]| x.iter().all(|l| y.contains(l));
    if within(&x.1, &y.1) || within(&y.1, &x.1) {
        return None;
    }
    Some(product(rw, x, y, &all, &dims))
}

/// A transposed contraction whose operands, exchanged, give the order wanted.
fn swapped(rw: &mut Rewriter, a: Value, order: &Axes) -> Option<Value> {
    let Op::Contract { batch, sum } = rw.op(a).clone() else { return None };
    let (x, y, result) = labels_of(rw, a, &batch, &sum);
    let free = |l: &[usize]| -> Vec<usize> {
        l.iter().copied().filter(|&l| l >= batch.len() && l < result).collect()
    };
    let turned = [(0..batch.len()).collect(), free(&y.1), free(&x.1)].concat();
    if turned[..] != order[..] {
        return None;
    }
    let turn = |pairs: &AxisPairs| pairs.iter().map(|&(l, r)| (r, l)).collect();
    Some(rw.emit(Op::Contract { batch: turn(&batch), sum: turn(&sum) }, &[y.0, x.0]))
}
