//! What is taken of other tokens, as moves of what lies in memory.
//!
//! ```text
//! before   reduce{sum (2)} mul window{4} x, taps         after   add (mul x, tap 0), (mul shift{1} x, tap 1), ...
//! before   shift{-1} mul d, broadcast tap                after   mul shift{-1} d, broadcast tap
//! ```
//!
//! Neighbours are found in memory alone: what is made of them, and what follows from it, may then be computed of each token by
//! itself, in one pass with a norm or a gate behind it.

use super::expand::ordered;
use crate::build::{add, mul, reshape};
use nestor_ir::tensor::{Graph, Op, Value};

/// Entries of a window that are few.
const FEW: usize = 8;

/// A sum over the entries of a window as one of products, each with a tensor some tokens away, where there are few of them.
/// `axes` of the window are where the second factor has its own, `pairs` the axes that are summed over.
pub(super) fn by_ages(
    out: &mut Graph,
    (first, second): (Value, Value),
    axes: &[usize],
    pairs: &[(usize, usize)],
) -> Option<Value> {
    let Op::Window { axis, size } = out.def(first).op else { return None };
    let &[(ages, place)] = pairs else { return None };
    let count = size.fixed().filter(|n| *n <= FEW && ages == axis + 1)?;
    let from = out.def(first).operands[0];
    let dims = out.ty(from).dims.clone();
    let mut rest = out.ty(second).dims.clone();
    rest.remove(place);
    let mut axes = axes.to_vec();
    axes.remove(place);
    axes.iter_mut().filter(|a| **a > ages).for_each(|a| *a -= 1);
    let term = |out: &mut Graph, age: usize| {
        let moved = match i64::try_from(age) {
            Ok(by) if by > 0 => out.add(Op::Shift { axis, by }, &[from]),
            _ => from,
        };
        let entry = out.add(Op::Slice { axis: place, start: age, size: 1 }, &[second]);
        let entry = reshape(out, entry, &rest);
        let entry = ordered(out, entry, &dims, &axes);
        mul(out, moved, entry)
    };
    let first = term(out, 0);
    Some((1..count).fold(first, |total, age| {
        let next = term(out, age);
        add(out, total, next)
    }))
}

/// A value some places later along an axis: what it is made of is moved, where the rest of that is the same at all places.
pub(super) fn later(out: &mut Graph, v: Value, axis: usize, by: i64) -> Value {
    let node = out.def(v).clone();
    let same = |g: &Graph, v: Value| match &g.def(v).op {
        Op::Broadcast { axes, .. } => !axes.contains(&axis),
        _ => false,
    };
    match (&node.op, &node.operands[..]) {
        (Op::Mul, &[a, b]) if same(out, a) != same(out, b) => {
            let (moves, stays) = if same(out, b) { (a, b) } else { (b, a) };
            let moved = later(out, moves, axis, by);
            mul(out, moved, stays)
        }
        (op, &[from]) => match place_in_operand(out, v, axis) {
            Some(axis) => {
                let from = later(out, from, axis, by);
                out.add(op.clone(), &[from])
            }
            None => out.add(Op::Shift { axis, by }, &[v]),
        },
        _ => out.add(Op::Shift { axis, by }, &[v]),
    }
}

/// The axis of what a move moves that is an axis of its result as a whole.
fn place_in_operand(g: &Graph, v: Value, axis: usize) -> Option<usize> {
    let node = g.def(v);
    match &node.op {
        Op::Transpose { order } => Some(order[axis]),
        Op::Broadcast { axes, .. } => axes.iter().position(|a| *a == axis),
        Op::Reshape { dims } => {
            let from = &g.ty(node.operands[0]).dims;
            (from.get(..=axis) == dims.get(..=axis)).then_some(axis)
        }
        _ => None,
    }
}
