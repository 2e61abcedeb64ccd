//! Sums of what lies apart, which are nowhere added: gradients of slices are padded with zeros.
//!
//! ```text
//! before   pad(a, 0, 3) + pad(b, 2, 0) + pad(c, 2, 0)        after    concat(a, b + c)
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::driver::Rewriter;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};

/// What stands for `a + b`, where a rule applies.
pub(super) fn sum(rw: &mut Rewriter, a: Value, b: Value) -> Option<Value> {
    let (l, r) = (padded(rw, a), padded(rw, b));
    match (l, r) {
        (Some(l), Some(r)) => both(rw, l, r),
        (None, Some(r)) => within(rw, a, r),
        (Some(l), None) => within(rw, b, l),
        (None, None) => None,
    }
}

/// A value between zeros along an axis.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Padded {
    value: Value,
    axis: usize,
    before: usize,
    after: usize,
}

fn padded(rw: &Rewriter, a: Value) -> Option<Padded> {
    let Op::Pad { axis, before, after } = *rw.op(a) else { return None };
    Some(Padded { value: rw.operand(a, 0), axis, before, after })
}

/// Two at the same place, or side by side.
fn both(rw: &mut Rewriter, a: Padded, b: Padded) -> Option<Value> {
    if a.axis != b.axis {
        return None;
    }
    let axis = a.axis;
    if (a.before, a.after) == (b.before, b.after) {
        let value = rw.emit(Op::Add, &[a.value, b.value]);
        let pad = Op::Pad { axis, before: a.before, after: a.after };
        return Some(rw.emit(pad, &[value]));
    }
    let (first, second) = if a.before == 0 { (a, b) } else { (b, a) };
    let size = |x: Padded| rw.graph.ty(x.value).dims[axis];
    let beside = first.before == 0
        && second.after == 0
        && Dim::Fixed(second.before) == size(first)
        && Dim::Fixed(first.after) == size(second);
    beside.then(|| rw.emit(Op::Concat { axis }, &[first.value, second.value]))
}

/// One that is added to a part of others.
fn within(rw: &mut Rewriter, whole: Value, part: Padded) -> Option<Value> {
    if *rw.op(whole) != (Op::Concat { axis: part.axis }) {
        return None;
    }
    let mut parts = rw.graph.def(whole).operands.clone();
    let mut start = 0;
    for n in 0..parts.len() {
        let size = rw.graph.ty(parts[n]).dims[part.axis].fixed()?;
        let own = rw.graph.ty(part.value).dims[part.axis];
        if start == part.before && own == Dim::Fixed(size) {
            parts[n] = rw.emit(Op::Add, &[parts[n], part.value]);
            return Some(rw.emit(Op::Concat { axis: part.axis }, &parts));
        }
        start += size;
    }
    None
}
