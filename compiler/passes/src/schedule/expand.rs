//! Ops rewritten into those that have good kernels, in the graph and in the bodies of its walks.
//!
//! ```text
//! before   contract{batch=(2:2), sum=(0:0, 1:1)} a, b          no matrix in it
//! after    reduce{sum (0)} reduce{sum (1)} mul a, b             a point of the grid for every row
//! ```
//!
//! A product in which one side has no axis of its own is a sum of element-wise products, in the
//! order in which the larger operand lies in memory. A sum over batch and time is taken in two
//! steps, the first with a point of the grid for every sequence.

use super::neighbours::{by_ages, later};
use crate::build::{broadcast, mul, sum, transpose};
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Graph, Op, Value};

/// The graph with these ops rewritten.
pub(super) fn expanded(graph: &Graph) -> Graph {
    prune(&expand(graph, false))
}

fn expand(graph: &Graph, nested: bool) -> Graph {
    graph.rebuilt(|r, _, node| {
        let operands = r.operands(node);
        let out = &mut r.graph;
        match &node.op {
            Op::Reduce { fold: Fold::Sum, axes } if !nested => {
                Some([sum_in_two(out, operands[0], axes)].into())
            }
            Op::Shift { axis, by } if !nested => {
                Some([later(out, operands[0], *axis, *by)].into())
            }
            Op::Contract { batch, sum } if !sum.is_empty() || !nested => {
                vectors(out, &operands, batch, sum, nested).map(|value| [value].into())
            }
            Op::Transpose { order } => {
                // What a product had in another order may lie as it is wanted now.
                let Op::Transpose { order: before } = &out.def(operands[0]).op else {
                    return None;
                };
                let order: Vec<usize> = order.iter().map(|a| before[*a]).collect();
                let from = out.def(operands[0]).operands[0];
                Some([transpose(out, from, &order)].into())
            }
            Op::Scan { scan } => {
                let mut scan = scan.clone();
                scan.body = expand(&scan.body, true);
                Some(out.add_many(Op::Scan { scan }, &operands))
            }
            _ => None,
        }
    })
}

/// Elements of a result beyond which a copy of it for every sequence costs too much.
const MANY: usize = 1 << 16;

/// A sum over `axes`; over the first axis and others, the others first.
fn sum_in_two(out: &mut Graph, x: Value, axes: &[usize]) -> Value {
    let dims = out.ty(x).dims.clone();
    let kept = dims.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    if axes.iter().all(|a| dims[*a] == Dim::Fixed(1)) {
        let dims = kept.map(|(_, d)| *d).collect();
        return out.add(Op::Reshape { dims }, &[x]);
    }
    let kept: usize = kept.map(|(_, d)| d.fixed().unwrap_or(MANY)).product();
    let worth = axes.len() > 1 && dims[axes[0]] != Dim::Fixed(1) && kept < MANY;
    if !worth {
        return sum(out, x, axes);
    }
    let rows = sum(out, x, &axes[1..]);
    sum(out, rows, &axes[..1])
}

/// A product as a sum of element-wise products, where one side has no axis of its own.
fn vectors(
    out: &mut Graph,
    operands: &[Value],
    batch: &[(usize, usize)],
    pairs: &[(usize, usize)],
    nested: bool,
) -> Option<Value> {
    let (a, b) = (operands[0], operands[1]);
    let (da, db) = (out.ty(a).dims.clone(), out.ty(b).dims.clone());
    let own = |rank: usize, pick: fn(&(usize, usize)) -> usize| -> Vec<usize> {
        let taken: Vec<usize> = batch.iter().chain(pairs).map(pick).collect();
        (0..rank).filter(|i| !taken.contains(i)).collect()
    };
    let (left, right) = (own(da.len(), |p| p.0), own(db.len(), |p| p.1));
    let flat =
        |dims: &[Dim], own: &[usize]| own.iter().all(|&i| dims[i] == Dim::Fixed(1));
    let walked = batch.iter().any(|p| da[p.0].ticks_of().is_some());
    let batched = nested || !batch.is_empty() || (left.is_empty() && right.is_empty());
    let one_sided = flat(&da, &left) || flat(&db, &right);
    // Nothing is summed: each token's numbers times the same entries.
    let tokens = |dims: &[Dim]| dims.get(1).is_some_and(|d| d.ticks_of().is_some());
    let known = |dims: &[Dim]| dims.iter().all(|d| d.fixed().is_some());
    let outer =
        pairs.is_empty() && (tokens(&da) && known(&db) || known(&da) && tokens(&db));
    let product = !pairs.is_empty() && (batched && one_sided || walked && !nested);
    if !(outer || product) {
        return None;
    }
    // The axes of the side that lies in memory in its own order, then the other's own.
    let swap = match outer {
        true => known(&da),
        false => flat(&da, &left) && !flat(&db, &right),
    };
    let ((first, df, own_first), (second, own_second)) = if swap {
        ((b, &db, &right), (a, &left))
    } else {
        ((a, &da, &left), (b, &right))
    };
    let pair = |p: &(usize, usize)| if swap { (p.1, p.0) } else { *p };
    // A row times a matrix that lies row by row: a product goes along its rows, a sum would jump.
    let jumps = own_first.iter().max() > pairs.iter().map(|p| pair(p).0).max().as_ref();
    if nested && batch.is_empty() && jumps {
        return None;
    }
    let batch: Vec<(usize, usize)> = batch.iter().map(pair).collect();
    let pairs: Vec<(usize, usize)> = pairs.iter().map(pair).collect();
    let ds = if swap { &da } else { &db };
    let mut dims: Vec<Dim> = df.to_vec();
    let mut axes = vec![0; ds.len()];
    for &(f, s) in batch.iter().chain(&pairs) {
        axes[s] = f;
    }
    for &s in own_second {
        axes[s] = dims.len();
        dims.push(ds[s]);
    }
    let mut summed: Vec<usize> = pairs.iter().map(|p| p.0).collect();
    summed.sort_unstable();
    let apart = !nested && own_second.is_empty();
    let shown = apart.then(|| by_ages(out, (first, second), &axes, &pairs)).flatten();
    let total = match shown {
        Some(total) => total,
        None => {
            let wide = broadcast(out, first, &dims, &(0..df.len()).collect::<Vec<_>>());
            let other = ordered(out, second, &dims, &axes);
            let terms = mul(out, wide, other);
            match nested {
                true => sum(out, terms, &summed),
                false => sum_in_two(out, terms, &summed),
            }
        }
    };
    // As the product orders its result: batch, the left's own axes, the right's.
    let place = |axis: usize| axis - summed.iter().filter(|&&s| s < axis).count();
    let mut order: Vec<usize> = batch.iter().map(|p| place(p.0)).collect();
    let firsts: Vec<usize> = own_first.iter().map(|&i| place(i)).collect();
    let seconds: Vec<usize> = own_second.iter().map(|&i| place(axes[i])).collect();
    let (left, right) = if swap { (seconds, firsts) } else { (firsts, seconds) };
    order.extend(left);
    order.extend(right);
    Some(transpose(out, total, &order))
}

/// A broadcast whose axes may lie in any order.
pub(super) fn ordered(out: &mut Graph, x: Value, dims: &[Dim], axes: &[usize]) -> Value {
    let mut order: Vec<usize> = (0..axes.len()).collect();
    order.sort_by_key(|&i| axes[i]);
    let sorted: Vec<usize> = order.iter().map(|&i| axes[i]).collect();
    let x = transpose(out, x, &order);
    broadcast(out, x, dims, &sorted)
}
