//! Moves: compositions, moves of constants, and element-wise work done before a repetition
//! rather than after it.
//!
//! ```text
//! before   exp(broadcast a)                   after   broadcast(exp a)
//! before   transpose(transpose a)             after   a, or one transposition
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::driver::Rewriter;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Group, Op, Value};
use nestor_ir::ty::{Dims, Type};

/// What stands for the node, where a rule applies.
pub(super) fn rule(rw: &mut Rewriter, op: &Op, x: &[Value]) -> Option<Value> {
    match op.info().group {
        Group::Unary | Group::Binary | Group::Select => before_repetition(rw, op, x),
        Group::Move => moved(rw, op, x),
        Group::Leaf
        | Group::Reduce
        | Group::Contract
        | Group::Index
        | Group::Solve
        | Group::Control
        | Group::Mark
        | Group::Token => None,
    }
}

/// Where all operands are repeated along some axis, the op is applied before.
fn before_repetition(rw: &mut Rewriter, op: &Op, x: &[Value]) -> Option<Value> {
    let dims = rw.graph.ty(x[0]).dims.clone();
    let mut union: Vec<bool> = vec![false; dims.len()];
    let mut repeated = false;
    for &v in x {
        match rw.op(v) {
            Op::Constant { .. } => {}
            Op::Broadcast { axes, .. } => {
                repeated = true;
                axes.iter().for_each(|&a| union[a] = true);
            }
            _ => return None,
        }
    }
    if !repeated || union.iter().all(|&u| u) {
        return None;
    }
    let axes: Axes = (0..dims.len()).filter(|&i| union[i]).collect();
    let inner_dims: Dims = axes.iter().map(|&i| dims[i]).collect();
    let inner: Vec<Value> =
        x.iter().map(|&v| without_axes(rw, v, &axes, &inner_dims)).collect();
    let value = rw.emit(op.clone(), &inner);
    Some(rw.emit(Op::Broadcast { dims, axes }, &[value]))
}

/// A constant or broadcast value restricted to some of its axes.
fn without_axes(rw: &mut Rewriter, v: Value, kept: &[usize], dims: &Dims) -> Value {
    let elem = rw.graph.ty(v).elem;
    match rw.op(v).clone() {
        Op::Constant { value, .. } => {
            rw.emit(Op::Constant { value, ty: Type { elem, dims: dims.clone() } }, &[])
        }
        Op::Broadcast { axes, .. } => {
            let to = |a: &usize| kept.iter().position(|k| k == a).unwrap_or(0);
            let axes: Axes = axes.iter().map(to).collect();
            let inner = rw.operand(v, 0);
            rw.emit(Op::Broadcast { dims: dims.clone(), axes }, &[inner])
        }
        _ => v,
    }
}

fn moved(rw: &mut Rewriter, op: &Op, x: &[Value]) -> Option<Value> {
    let a = x[0];
    let from = rw.graph.ty(a).clone();
    let result = {
        let tys: Vec<Type> = x.iter().map(|&v| rw.graph.ty(v).clone()).collect();
        let refs: Vec<&Type> = tys.iter().collect();
        nestor_ir::tensor::infer::infer(op, &refs).ok()?[0].clone()
    };
    // A constant stays one where no zero is moved in.
    if let Some(value) = rw.constant_of(a) {
        let fills = matches!(
            op,
            Op::Pad { .. } | Op::Fit { .. } | Op::Shift { .. } | Op::Window { .. }
        );
        let all_same = x.iter().all(|&v| rw.constant_of(v) == Some(value));
        if all_same && (!fills || value == 0.0) {
            return Some(rw.emit(Op::Constant { value, ty: result }, &[]));
        }
    }
    let inner = rw.op(a).clone();
    match op {
        Op::Reshape { dims } => {
            if *dims == from.dims {
                return Some(a);
            }
            let Op::Reshape { .. } = inner else { return None };
            let first = rw.operand(a, 0);
            Some(rw.emit(Op::Reshape { dims: dims.clone() }, &[first]))
        }
        Op::Transpose { order } => transposed(rw, a, &inner, order, result.dims),
        Op::Broadcast { dims, axes } => {
            if *dims == from.dims {
                return Some(a);
            }
            match inner {
                Op::Broadcast { axes: first, .. } => {
                    let axes = first.iter().map(|&i| axes[i]).collect();
                    let source = rw.operand(a, 0);
                    Some(rw.emit(Op::Broadcast { dims: dims.clone(), axes }, &[source]))
                }
                Op::Iota { axis, .. } => {
                    Some(rw.emit(Op::Iota { axis: axes[axis], dims: dims.clone() }, &[]))
                }
                _ => None,
            }
        }
        Op::Slice { axis, start, size } => sliced(rw, a, &inner, (*axis, *start, *size)),
        Op::Pad { before, after, .. } => (before + after == 0).then_some(a),
        Op::Fit { axis, size } => (from.dims[*axis] == *size).then_some(a),
        Op::Concat { .. } => (x.len() == 1).then_some(a),
        Op::Shift { by, .. } => (*by == 0).then_some(a),
        _ => None,
    }
}

fn transposed(
    rw: &mut Rewriter,
    a: Value,
    inner: &Op,
    order: &Axes,
    dims: Dims,
) -> Option<Value> {
    if order.iter().copied().eq(0..order.len()) {
        return Some(a);
    }
    match inner {
        Op::Transpose { order: first } => {
            let order = order.iter().map(|&i| first[i]).collect();
            let source = rw.operand(a, 0);
            Some(rw.emit(Op::Transpose { order }, &[source]))
        }
        Op::Iota { axis, .. } => {
            let axis = order.iter().position(|o| o == axis)?;
            Some(rw.emit(Op::Iota { axis, dims }, &[]))
        }
        Op::Broadcast { axes, .. } => {
            let place = |o: &usize| axes.iter().position(|x| x == o);
            let to: Axes =
                (0..order.len()).filter(|&i| axes.contains(&order[i])).collect();
            let inner: Axes = order.iter().filter_map(place).collect();
            let source = rw.operand(a, 0);
            let source = rw.emit(Op::Transpose { order: inner }, &[source]);
            Some(rw.emit(Op::Broadcast { dims, axes: to }, &[source]))
        }
        Op::Neg | Op::Mul => {
            let (x, c) = super::algebra::factor(rw, a)?;
            let x = rw.emit(Op::Transpose { order: order.clone() }, &[x]);
            Some(super::algebra::times(rw, x, c))
        }
        _ => None,
    }
}

/// Whether each entry of a product is that of one entry of each factor.
fn is_outer(op: &Op) -> bool {
    matches!(op, Op::Contract { sum, .. } if sum.is_empty())
}

fn sliced(
    rw: &mut Rewriter,
    a: Value,
    inner: &Op,
    (axis, start, size): (usize, usize, usize),
) -> Option<Value> {
    if rw.graph.ty(a).dims[axis] == Dim::Fixed(size) {
        return Some(a);
    }
    match inner {
        Op::Slice { axis: same, start: first, .. } if *same == axis => {
            let source = rw.operand(a, 0);
            Some(rw.emit(Op::Slice { axis, start: start + first, size }, &[source]))
        }
        Op::Broadcast { dims, axes } => {
            let mut dims = dims.clone();
            dims[axis] = Dim::Fixed(size);
            let mut source = rw.operand(a, 0);
            if let Some(at) = axes.iter().position(|&x| x == axis) {
                source = rw.emit(Op::Slice { axis: at, start, size }, &[source]);
            }
            Some(rw.emit(Op::Broadcast { dims, axes: axes.clone() }, &[source]))
        }
        Op::Concat { axis: same } if *same == axis => {
            let parts = rw.graph.def(a).operands.clone();
            let mut first = 0;
            for part in parts {
                let n = rw.graph.ty(part).dims[axis].fixed()?;
                if start >= first && start + size <= first + n {
                    let start = start - first;
                    return Some(rw.emit(Op::Slice { axis, start, size }, &[part]));
                }
                first += n;
            }
            None
        }
        Op::Transpose { order } if is_outer(rw.op(rw.operand(a, 0))) => {
            let source = rw.operand(a, 0);
            let source = rw.emit(Op::Slice { axis: order[axis], start, size }, &[source]);
            Some(rw.emit(Op::Transpose { order: order.clone() }, &[source]))
        }
        Op::Contract { batch, .. } if is_outer(inner) => {
            let mut factors = [rw.operand(a, 0), rw.operand(a, 1)];
            // Batch, the left's own axes, the right's.
            let own = |v: Value, taken: &dyn Fn(usize) -> bool| -> Vec<usize> {
                (0..rw.graph.ty(v).rank()).filter(|i| !taken(*i)).collect()
            };
            let left = own(factors[0], &|i| batch.iter().any(|p| p.0 == i));
            let right = own(factors[1], &|i| batch.iter().any(|p| p.1 == i));
            let (of, at) = match axis.checked_sub(batch.len())? {
                n if n < left.len() => (0, left[n]),
                n => (1, right[n - left.len()]),
            };
            factors[of] = rw.emit(Op::Slice { axis: at, start, size }, &[factors[of]]);
            Some(rw.emit(inner.clone(), &factors))
        }
        Op::Pad { axis: same, before, .. } if *same == axis => {
            let source = rw.operand(a, 0);
            let n = rw.graph.ty(source).dims[axis].fixed()?;
            if start >= *before && start + size <= before + n {
                let start = start - before;
                return Some(rw.emit(Op::Slice { axis, start, size }, &[source]));
            }
            if start + size <= *before || start >= before + n {
                let mut ty = rw.graph.ty(source).clone();
                ty.dims[axis] = Dim::Fixed(size);
                return Some(rw.emit(Op::Constant { value: 0.0, ty }, &[]));
            }
            None
        }
        _ => super::places::sliced(rw, a, (axis, start, size)),
    }
}
