//! Places along an axis: some of them, and how they stand to a number.
//!
//! ```text
//! before   row 63 of (iota along 1 <= iota along 0), of [64, 64]      after   true
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::driver::Rewriter;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};
use nestor_ir::ty::Elem;

/// How many operations what is made of places is looked at for.
const DEEPEST: usize = 4;

/// A comparison that is the same at all places.
pub(super) fn compared(rw: &mut Rewriter, op: &Op, a: Value, b: Value) -> Option<Value> {
    let known = |v: Value| Some((rw.constant_of(v)?, rw.constant_of(v)?));
    let of = |v: Value| range(rw, v).or_else(|| known(v));
    let ((low, high), (least, most)) = (of(a)?, of(b)?);
    let (always, never) = match op {
        Op::Less => (high < least, low >= most),
        Op::LessEqual => (high <= least, low > most),
        Op::Equal => (false, high < least || most < low),
        _ => return None,
    };
    let mut ty = rw.graph.ty(a).clone();
    ty.elem = Elem::Bool;
    let value = if always { 1.0 } else { 0.0 };
    (always || never).then(|| rw.emit(Op::Constant { value, ty }, &[]))
}

/// The first and the last of some places.
fn range(rw: &Rewriter, v: Value) -> Option<(f64, f64)> {
    let Op::Iota { axis, dims } = rw.op(v) else { return None };
    let n = dims[*axis].fixed().filter(|n| *n > 0)?;
    Some((0.0, n as f64 - 1.0))
}

/// Some entries of what is made of places alone: made of those.
pub(super) fn sliced(
    rw: &mut Rewriter,
    a: Value,
    part @ (axis, start, size): (usize, usize, usize),
) -> Option<Value> {
    if !of_places(rw, a, DEEPEST) {
        return None;
    }
    let node = rw.graph.def(a).clone();
    let mut ty = rw.graph.ty(a).clone();
    ty.dims[axis] = Dim::Fixed(size);
    match node.op {
        Op::Constant { value, .. } => Some(rw.emit(Op::Constant { value, ty }, &[])),
        Op::Iota { axis: along, .. } => {
            let further = if along == axis { start as f64 } else { 0.0 };
            if along == axis && size == 1 {
                return Some(rw.emit(Op::Constant { value: further, ty }, &[]));
            }
            let from = rw.emit(Op::Iota { axis: along, dims: ty.dims }, &[]);
            let further = rw.constant_like(from, further);
            Some(rw.emit(Op::Add, &[from, further]))
        }
        op => {
            let parts: Option<Vec<Value>> =
                node.operands.iter().map(|v| sliced(rw, *v, part)).collect();
            Some(rw.emit(op, &parts?))
        }
    }
}

/// Whether a value is known from where its entries are.
fn of_places(rw: &Rewriter, v: Value, depth: usize) -> bool {
    let node = rw.graph.def(v);
    match node.op {
        Op::Constant { .. } | Op::Iota { .. } => true,
        Op::Less | Op::LessEqual | Op::Equal | Op::Real | Op::Not | Op::And | Op::Or => {
            depth > 0 && node.operands.iter().all(|o| of_places(rw, *o, depth - 1))
        }
        _ => false,
    }
}
