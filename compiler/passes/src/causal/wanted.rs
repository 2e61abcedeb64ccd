//! Which part of a matrix nobody looks at: what is above a diagonal, through all that is made of it.
//!
//! Gates' gradients are such: a product of all pairs of tokens meets a mask only after pads, sums and a
//! linear recurrence that runs back.

use super::Question;
use super::zero::{moved, same_axis, size, zero};
use nestor_ir::tensor::{Graph, NodeData, Op, Value};

/// Whether no user of a value looks at `column > row + offset` of the first columns.
pub(super) fn unwanted(graph: &Graph, v: Value, q: Question) -> bool {
    if q.columns <= 0 {
        return true;
    }
    if q.fuel == 0 || graph.outputs.iter().any(|o| o.value == v) {
        return false;
    }
    let q = Question { fuel: q.fuel - 1, ..q };
    graph.nodes.values().filter(|n| n.operands.contains(&v)).all(|user| {
        // As each of its operands that it is.
        (0..user.operands.len())
            .filter(|&place| user.operands[place] == v)
            .all(|place| not_by(graph, user, place, q))
    })
}

/// Whether a user does not look there at its operand of this place.
fn not_by(graph: &Graph, user: &NodeData, place: usize, q: Question) -> bool {
    let (v, result) = (user.operands[place], user.results[0]);
    let at = |q: Question| unwanted(graph, result, q);
    match &user.op {
        Op::SolveUnitLower { .. } => {
            place == 0 && (q.row, q.column) == (0, 1) && q.offset >= 0
        }
        Op::Mul => zero(graph, user.operands[1 - place], q) || at(q),
        Op::Add | Op::Sub | Op::Neg | Op::Stop => at(q),
        Op::Div => place == 0 && at(q),
        Op::Select => place != 0 && (zero(graph, result, q) || at(q)),
        Op::Contract { batch, sum } => {
            let of = |pair: &(usize, usize)| {
                if place == 0 { *pair } else { (pair.1, pair.0) }
            };
            let there = |axis: usize| {
                let mut pairs = batch.iter().chain(sum).map(of);
                pairs.find(|(own, _)| *own == axis).map(|(_, other)| other)
            };
            match (there(q.row), there(q.column)) {
                (Some(row), Some(column)) => {
                    zero(graph, user.operands[1 - place], Question { row, column, ..q })
                }
                (None, _) | (_, None) => false,
            }
        }
        Op::Transpose { order } => {
            let to = |axis: usize| order.iter().position(|&o| o == axis);
            on_axes(q, to(q.row), to(q.column), at)
        }
        Op::Broadcast { axes, .. } => {
            let to = |axis: usize| axes.get(axis).copied();
            on_axes(q, to(q.row), to(q.column), at)
        }
        Op::Reshape { dims } => {
            let to = |axis: usize| same_axis(dims, &graph.ty(v).dims, axis);
            on_axes(q, to(q.row), to(q.column), at)
        }
        Op::Slice { axis, start, size } => {
            at(moved(q, *axis, *start as i64, Some(*size as i64)))
        }
        // Columns of the result before those of the operand are asked for, too: more than needed.
        Op::Pad { axis, before, .. } => at(further(q, *axis, *before as i64)),
        Op::Shift { axis, by } => at(further(q, *axis, *by)),
        Op::Concat { axis } => {
            let sizes = user.operands[..place].iter().map(|&o| size(graph, o, *axis));
            let before: Option<i64> = sizes.sum();
            before.is_some_and(|before| at(further(q, *axis, before)))
        }
        // What comes in at a row goes to the rows before it, which want less of it.
        Op::LinearScan { reverse: true } => {
            place == 1 && (q.row, q.column) == (0, 2) && at(q)
        }
        _ => false,
    }
}

fn on_axes(
    q: Question,
    row: Option<usize>,
    column: Option<usize>,
    at: impl Fn(Question) -> bool,
) -> bool {
    match (row, column) {
        (Some(row), Some(column)) => at(Question { row, column, ..q }),
        (None, _) | (_, None) => false,
    }
}

/// The question to a value in which this one lies `before` further along an axis.
fn further(q: Question, axis: usize, before: i64) -> Question {
    let mut q = q;
    if axis == q.row {
        q.offset -= before;
    }
    if axis == q.column {
        q.offset += before;
        q.columns += before;
    }
    q
}
