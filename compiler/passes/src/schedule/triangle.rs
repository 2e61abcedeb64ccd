//! Which matrices of a walk are zero above their diagonal, and of which nothing else is wanted:
//! what a token may see of later ones. Half of the products of a chunk need not be computed.
//!
//! Zeros are proved from the graph: from comparisons of indices, through element-wise products and
//! moves, and through linear recurrences, whose result at a step holds what was put in by then.

use super::lower::Lower;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, NodeData, Op, Value};
use nestor_ir::tile::Shape;

/// Nodes that a proof looks at, at most, one behind the other.
const FUEL: usize = 40;

/// The question whether a value is zero at every `column > row + offset` of the first columns.
#[derive(Clone, Copy)]
struct Question {
    row: usize,
    column: usize,
    offset: i64,
    columns: i64,
    fuel: usize,
}

impl Lower<'_> {
    /// What is known to be zero, or not wanted, of a product of two matrices.
    pub(super) fn shape_of(&self, node: &NodeData) -> Shape {
        let Op::Contract { batch, sum } = &node.op else { return Shape::Full };
        let dims = |v: Value| &self.graph.ty(v).dims;
        let (a, v) = (node.operands[0], node.results[0]);
        let matrices = batch.is_empty()
            && sum.len() == 1
            && node.operands.iter().all(|&o| dims(o).len() == 2);
        if !matrices {
            return Shape::Full;
        }
        let summed = sum[0].0;
        let (rows, columns) = if summed == 1 { (0, 1) } else { (1, 0) };
        // A matrix that is summed over its rows is used turned.
        if summed == 1 && lower(self.graph, a, rows, columns) {
            return Shape::LeftLower;
        }
        if summed == 0 && lower(self.graph, a, columns, rows) {
            return Shape::LeftUpper;
        }
        if only_lower_is_wanted(self.graph, v, FUEL) {
            return Shape::OutputLower;
        }
        Shape::Full
    }
}

/// Whether a value is zero wherever the index of `column` is larger than that of `row`.
fn lower(graph: &Graph, v: Value, row: usize, column: usize) -> bool {
    let Some(columns) = size(graph, v, column) else { return false };
    zero(graph, v, Question { row, column, offset: 0, columns, fuel: FUEL })
}

fn size(graph: &Graph, v: Value, axis: usize) -> Option<i64> {
    graph.ty(v).dims[axis].fixed().map(|n| n as i64)
}

/// Whether all users of a matrix look at its lower part alone.
fn only_lower_is_wanted(graph: &Graph, v: Value, fuel: usize) -> bool {
    let dims = &graph.ty(v).dims;
    if fuel == 0 || dims.len() != 2 || graph.outputs.iter().any(|o| o.value == v) {
        return false;
    }
    graph.nodes.values().filter(|n| n.operands.contains(&v)).all(|user| {
        let result = user.results[0];
        let further = || only_lower_is_wanted(graph, result, fuel - 1);
        match &user.op {
            Op::SolveUnitLower { .. } => user.operands[0] == v && user.operands[1] != v,
            Op::Mul => {
                let others = user.operands.iter().filter(|&&o| o != v);
                others.into_iter().any(|&o| lower(graph, o, 0, 1)) || further()
            }
            Op::Add | Op::Sub | Op::Neg => further(),
            Op::Select if user.operands[0] != v => {
                lower(graph, result, 0, 1) || further()
            }
            _ => false,
        }
    })
}

fn zero(graph: &Graph, v: Value, q: Question) -> bool {
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
        Op::LinearScan { reverse: false } if q.row == 0 && q.column == 2 => {
            let first = (q.offset + 1).max(0);
            zero(graph, node.operands[1], q)
                && all_zero(graph, node.operands[2], 1, first, q.columns)
        }
        _ => false,
    }
}

/// The question to a value that lies `before` further along an axis in the one it was put to.
fn moved(q: Question, axis: usize, before: i64, inner: Option<i64>) -> Question {
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
fn same_axis(from: &[Dim], to: &[Dim], axis: usize) -> Option<usize> {
    let long = |dims: &[Dim]| -> Vec<usize> {
        (0..dims.len()).filter(|&i| dims[i] != Dim::Fixed(1)).collect()
    };
    let (a, b) = (long(from), long(to));
    let same = a.len() == b.len() && a.iter().zip(&b).all(|(&i, &j)| from[i] == to[j]);
    let place = b.iter().position(|&j| j == axis)?;
    same.then(|| a[place])
}
