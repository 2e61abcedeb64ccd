//! What is zero above a diagonal, proved from the graph: from comparisons of indices, through
//! element-wise products and moves, and through linear recurrences, whose result at a step holds what
//! was put in by then.

use super::Question;
use crate::build::uniform;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Op, Value};

/// Whether a value is zero wherever the index of `column` is larger than that of `row`.
pub(crate) fn lower(graph: &Graph, v: Value, row: usize, column: usize) -> bool {
    let Some(columns) = columns(graph, v, row, column) else { return false };
    zero(graph, v, Question { row, column, ..Question::above(columns) })
}

/// Whether a value is as small as none can be wherever the index of `column` is larger than that of `row`.
pub(crate) fn never_above(graph: &Graph, v: Value, row: usize, column: usize) -> bool {
    let node = graph.def(v);
    let (Op::Select, Some(columns)) = (&node.op, columns(graph, v, row, column)) else {
        return false;
    };
    let asked = Question { row, column, ..Question::above(columns) };
    uniform(graph, node.operands[2]) == Some(f64::NEG_INFINITY)
        && never(graph, node.operands[0], asked)
}

/// How many columns there are; of tokens beside tokens, which are as many, more than any sequence has.
pub(super) fn columns(graph: &Graph, v: Value, row: usize, column: usize) -> Option<i64> {
    const EVERY: i64 = i64::MAX / 4;
    let dims = &graph.ty(v).dims;
    let tokens = dims[row] == dims[column] && dims[row].ticks_of().is_some();
    if tokens { Some(EVERY) } else { size(graph, v, column) }
}

pub(super) fn size(graph: &Graph, v: Value, axis: usize) -> Option<i64> {
    graph.ty(v).dims[axis].fixed().map(|n| n as i64)
}

pub(super) fn zero(graph: &Graph, v: Value, q: Question) -> bool {
    if q.columns <= 0 {
        return true;
    }
    if q.fuel == 0 {
        return false;
    }
    let node = graph.def(v);
    let q = Question { fuel: q.fuel - 1, ..q };
    let of = |n: usize| zero(graph, node.operands[n], q);
    match &node.op {
        Op::Constant { value, .. } => *value == 0.0,
        Op::Real => never(graph, node.operands[0], q),
        Op::Neg | Op::Stop => of(0),
        Op::Mul => of(0) || of(1),
        Op::Div => of(0),
        Op::Add | Op::Sub => of(0) && of(1),
        Op::Select => of(2) && (of(1) || never(graph, node.operands[0], q)),
        Op::Broadcast { axes, .. } => {
            let from = |axis: usize| axes.iter().position(|&a| a == axis);
            match (from(q.row), from(q.column)) {
                (Some(row), Some(column)) => {
                    zero(graph, node.operands[0], Question { row, column, ..q })
                }
                (None, _) | (_, None) => false,
            }
        }
        Op::Transpose { order } => {
            let (row, column) = (order[q.row], order[q.column]);
            zero(graph, node.operands[0], Question { row, column, ..q })
        }
        Op::Reshape { dims } => {
            let from = &graph.ty(node.operands[0]).dims;
            let at = |axis: usize| same_axis(from, dims, axis);
            match (at(q.row), at(q.column)) {
                (Some(row), Some(column)) => {
                    zero(graph, node.operands[0], Question { row, column, ..q })
                }
                (None, _) | (_, None) => false,
            }
        }
        Op::Slice { axis, start, .. } => {
            zero(graph, node.operands[0], moved(q, *axis, -(*start as i64), None))
        }
        Op::Pad { axis, before, .. } => {
            let inner = size(graph, node.operands[0], *axis);
            zero(graph, node.operands[0], moved(q, *axis, *before as i64, inner))
        }
        Op::Shift { axis, by } => {
            let inner = size(graph, node.operands[0], *axis);
            zero(graph, node.operands[0], moved(q, *axis, *by, inner))
        }
        Op::Concat { axis } => {
            let mut before = 0;
            node.operands.iter().all(|&part| {
                let Some(inner) = size(graph, part, *axis) else { return false };
                let yes = zero(graph, part, moved(q, *axis, before, Some(inner)));
                before += inner;
                yes
            })
        }
        Op::Contract { batch, sum } if sum.is_empty() => {
            let ranks = [0, 1].map(|n| graph.ty(node.operands[n]).rank());
            (0..2).any(|n| {
                let from = |axis: usize| operand_axis(batch, ranks, n, axis);
                let operand = node.operands[n];
                match (from(q.row), from(q.column)) {
                    (Some(row), Some(column)) => {
                        zero(graph, operand, Question { row, column, ..q })
                    }
                    (None, Some(column)) => {
                        let first = (q.offset + 1).max(0);
                        all_zero(graph, operand, column, first, q.columns)
                    }
                    (_, None) => false,
                }
            })
        }
        Op::LinearScan { reverse: false } if q.row == 0 && q.column == 2 => {
            let first = (q.offset + 1).max(0);
            zero(graph, node.operands[1], q)
                && all_zero(graph, node.operands[2], 1, first, q.columns)
        }
        _ => false,
    }
}

/// The axis of operand n that is an axis of a product without sums.
fn operand_axis(
    batch: &[(usize, usize)],
    ranks: [usize; 2],
    n: usize,
    axis: usize,
) -> Option<usize> {
    let own = |pair: &(usize, usize)| if n == 0 { pair.0 } else { pair.1 };
    if let Some(pair) = batch.get(axis) {
        return Some(own(pair));
    }
    let before = batch.len() + if n == 0 { 0 } else { ranks[0] - batch.len() };
    let mut free = (0..ranks[n]).filter(|a| !batch.iter().any(|p| own(p) == *a));
    free.nth(axis.checked_sub(before)?)
}

/// The question to a value that lies `before` further along an axis in the one it was put to.
pub(super) fn moved(
    q: Question,
    axis: usize,
    before: i64,
    inner: Option<i64>,
) -> Question {
    let mut q = q;
    if axis == q.row {
        q.offset += before;
    }
    if axis == q.column {
        q.offset -= before;
        q.columns -= before;
        if let Some(inner) = inner {
            q.columns = q.columns.min(inner);
        }
    }
    q
}

/// Whether a condition holds nowhere at `column > row + offset`.
fn never(graph: &Graph, v: Value, q: Question) -> bool {
    let node = graph.def(v);
    let axis = |n: usize| match &graph.def(node.operands[n]).op {
        Op::Iota { axis, .. } => Some(*axis),
        _ => None,
    };
    match node.op {
        Op::And => node.operands.iter().any(|&o| never(graph, o, q)),
        Op::Broadcast { ref axes, .. } => {
            let from = |axis: usize| axes.iter().position(|&a| a == axis);
            match (from(q.row), from(q.column)) {
                (Some(row), Some(column)) => {
                    never(graph, node.operands[0], Question { row, column, ..q })
                }
                (None, _) | (_, None) => false,
            }
        }
        Op::Equal | Op::Less | Op::LessEqual => {
            let column_first = axis(0) == Some(q.column) && axis(1) == Some(q.row);
            let row_first = axis(0) == Some(q.row) && axis(1) == Some(q.column);
            match node.op {
                Op::Equal => (column_first || row_first) && q.offset >= 0,
                Op::Less => column_first && q.offset >= -1,
                _ => column_first && q.offset >= 0,
            }
        }
        _ => false,
    }
}

/// Whether a value is zero at indices `from .. to` of an axis.
fn all_zero(graph: &Graph, v: Value, axis: usize, from: i64, to: i64) -> bool {
    let node = graph.def(v);
    if from >= to {
        return true;
    }
    match &node.op {
        Op::Constant { value, .. } => *value == 0.0,
        Op::Pad { axis: padded, before, .. } if *padded == axis => {
            let before = *before as i64;
            let inner = size(graph, node.operands[0], axis);
            to <= before || inner.is_some_and(|n| from >= before + n)
        }
        Op::Reshape { dims } => {
            let from_dims = &graph.ty(node.operands[0]).dims;
            same_axis(from_dims, dims, axis)
                .is_some_and(|a| all_zero(graph, node.operands[0], a, from, to))
        }
        _ => false,
    }
}

/// The axis of `from` that became `axis` of `to`, where nothing but axes of one element came or went.
pub(super) fn same_axis(from: &[Dim], to: &[Dim], axis: usize) -> Option<usize> {
    let long = |dims: &[Dim]| -> Vec<usize> {
        (0..dims.len()).filter(|&i| dims[i] != Dim::Fixed(1)).collect()
    };
    let (a, b) = (long(from), long(to));
    let same = a.len() == b.len() && a.iter().zip(&b).all(|(&i, &j)| from[i] == to[j]);
    let place = b.iter().position(|&j| j == axis)?;
    same.then(|| a[place])
}
