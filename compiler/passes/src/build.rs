//! Small builders over [`Graph`]: what passes write over and over. Each gives the plainest nodes
//! that say it and nothing where nothing is to be done (an identity transposition, a sum over no
//! axes), so that callers need no special cases.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "moves of a constant are looked through; no other op is"
)]

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{
    Axes, Axis, AxisPairs, Fold, Graph, Layout, Node, Op, Scan, Value,
};
use nestor_ir::ty::{Dims, Elem, Type};

/// A real scalar.
pub fn scalar(g: &mut Graph, value: f64) -> Value {
    constant(g, value, &[])
}

/// `value` in every element of a real tensor.
pub fn constant(g: &mut Graph, value: f64, dims: &[Dim]) -> Value {
    g.add(Op::Constant { value, ty: Type::real(dims.iter().copied()) }, &[])
}

/// Zeros of this type.
pub fn zeros(g: &mut Graph, ty: &Type) -> Value {
    g.add(Op::Constant { value: 0.0, ty: ty.clone() }, &[])
}

/// Zeros of a value's type.
pub fn zeros_like(g: &mut Graph, like: Value) -> Value {
    full_like(g, like, 0.0)
}

/// `value` in every element of a value's type.
pub fn full_like(g: &mut Graph, like: Value, value: f64) -> Value {
    let ty = g.ty(like).clone();
    g.add(Op::Constant { value, ty }, &[])
}

/// The shape of a value.
pub fn dims(g: &Graph, value: Value) -> Dims {
    g.ty(value).dims.clone()
}

/// Whether elements are reals.
pub fn is_real(g: &Graph, value: Value) -> bool {
    g.ty(value).elem == Elem::Real
}

/// One op of one operand.
pub fn unary(g: &mut Graph, op: Op, a: Value) -> Value {
    g.add(op, &[a])
}

/// `-a`
pub fn neg(g: &mut Graph, a: Value) -> Value {
    g.add(Op::Neg, &[a])
}

/// `a + b`
pub fn add(g: &mut Graph, a: Value, b: Value) -> Value {
    g.add(Op::Add, &[a, b])
}

/// `a - b`
pub fn sub(g: &mut Graph, a: Value, b: Value) -> Value {
    g.add(Op::Sub, &[a, b])
}

/// `a b`, element by element.
pub fn mul(g: &mut Graph, a: Value, b: Value) -> Value {
    g.add(Op::Mul, &[a, b])
}

/// `a / b`, element by element.
pub fn div(g: &mut Graph, a: Value, b: Value) -> Value {
    g.add(Op::Div, &[a, b])
}

/// `e^a`, element by element.
pub fn exp(g: &mut Graph, a: Value) -> Value {
    g.add(Op::Exp, &[a])
}

/// `factor a`
pub fn scale(g: &mut Graph, a: Value, factor: f64) -> Value {
    let factor = full_like(g, a, factor);
    g.add(Op::Mul, &[a, factor])
}

/// `total + a`, where there is a total.
pub fn accumulate(g: &mut Graph, total: Option<Value>, a: Value) -> Value {
    match total {
        Some(total) => add(g, total, a),
        None => a,
    }
}

/// `if c then a else b`
pub fn select(g: &mut Graph, c: Value, a: Value, b: Value) -> Value {
    g.add(Op::Select, &[c, a, b])
}

/// `a` where `c` holds, zero elsewhere.
pub fn select_or_zero(g: &mut Graph, c: Value, a: Value) -> Value {
    let zero = zeros_like(g, a);
    select(g, c, a, zero)
}

/// Zero where `c` holds, `a` elsewhere.
pub fn zero_or_select(g: &mut Graph, c: Value, a: Value) -> Value {
    let zero = zeros_like(g, a);
    select(g, c, zero, a)
}

/// Axis `i` of `a` becomes axis `axes[i]` of the result.
pub fn broadcast(g: &mut Graph, a: Value, dims: &[Dim], axes: &[usize]) -> Value {
    if g.ty(a).dims[..] == *dims {
        return a;
    }
    let (dims, axes) = (Dims::from(dims), Axes::from(axes));
    g.add(Op::Broadcast { dims, axes }, &[a])
}

/// The axes of `a` become the last axes of the result.
pub fn broadcast_to(g: &mut Graph, a: Value, dims: &[Dim]) -> Value {
    let first = dims.len() - g.ty(a).rank();
    let axes: Axes = (first..dims.len()).collect();
    broadcast(g, a, dims, &axes)
}

/// The axes of `a` become the first axes of the result.
pub fn broadcast_leading(g: &mut Graph, a: Value, dims: &[Dim]) -> Value {
    let axes: Axes = (0..g.ty(a).rank()).collect();
    broadcast(g, a, dims, &axes)
}

/// The sum over `axes`.
pub fn sum(g: &mut Graph, a: Value, axes: &[usize]) -> Value {
    fold(g, Fold::Sum, a, axes)
}

/// Folds `axes` away.
pub fn fold(g: &mut Graph, fold: Fold, a: Value, axes: &[usize]) -> Value {
    if axes.is_empty() {
        return a;
    }
    g.add(Op::Reduce { fold, axes: Axes::from(axes) }, &[a])
}

/// The sum of all elements.
pub fn sum_all(g: &mut Graph, a: Value) -> Value {
    let axes: Axes = (0..g.ty(a).rank()).collect();
    sum(g, a, &axes)
}

/// How many elements lie along these axes, where that is a number.
pub fn count(dims: &[Dim], axes: &[usize]) -> Option<f64> {
    axes.iter().map(|&i| dims[i].fixed().map(|n| n as f64)).product()
}

/// The same elements under another shape.
pub fn reshape(g: &mut Graph, a: Value, dims: &[Dim]) -> Value {
    if g.ty(a).dims[..] == *dims {
        return a;
    }
    g.add(Op::Reshape { dims: Dims::from(dims) }, &[a])
}

/// Axis `i` of the result is axis `order[i]`.
pub fn transpose(g: &mut Graph, a: Value, order: &[usize]) -> Value {
    if order.iter().copied().eq(0..order.len()) {
        return a;
    }
    g.add(Op::Transpose { order: Axes::from(order) }, &[a])
}

/// The layout of what is yielded once a step: mapped dimensions, steps, the body's axes.
pub fn every_step(scan: &Scan, rank: usize) -> Layout {
    let maps = (0..scan.map.len()).map(Axis::Map);
    maps.chain([Axis::Time]).chain((0..rank).map(|_| Axis::Body)).collect()
}

/// The last two axes exchanged.
pub fn transpose_last(g: &mut Graph, a: Value) -> Value {
    let n = g.ty(a).rank();
    let mut order: Axes = (0..n).collect();
    order.swap(n - 1, n - 2);
    transpose(g, a, &order)
}

/// Sum of products over pairs of axes; see [`Op::Contract`].
pub fn contract(
    g: &mut Graph,
    a: Value,
    b: Value,
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
) -> Value {
    let (batch, sum) = (AxisPairs::from(batch), AxisPairs::from(sum));
    g.add(Op::Contract { batch, sum }, &[a, b])
}

/// `[.., n, k] [.., k, m]`, all leading axes equal.
pub fn matmul(g: &mut Graph, a: Value, b: Value) -> Value {
    let lead = g.ty(a).rank() - 2;
    let batch: AxisPairs = (0..lead).map(|i| (i, i)).collect();
    contract(g, a, b, &batch, &[(lead + 1, lead)])
}

/// All axes of `a`, then all of `b`.
pub fn outer(g: &mut Graph, a: Value, b: Value) -> Value {
    contract(g, a, b, &[], &[])
}

/// The constant in every element, where that is what the value is.
pub fn uniform(g: &Graph, value: Value) -> Option<f64> {
    let mut value = value;
    loop {
        let node = g.def(value);
        match &node.op {
            Op::Constant { value, .. } => return Some(*value),
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } => {
                value = node.operands[0];
            }
            _ => return None,
        }
    }
}

/// `[n, n]` conditions: the column lies before the row.
pub fn strictly_lower(g: &mut Graph, n: Dim) -> Value {
    let dims = Dims::from(&[n, n][..]);
    let row = g.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
    let column = g.add(Op::Iota { axis: 1, dims }, &[]);
    g.add(Op::Less, &[column, row])
}

/// Has everything that takes a value take another.
pub fn replace(body: &mut Graph, value: Value, by: Value) {
    for id in body.nodes.keys().collect::<Vec<_>>() {
        let node = &mut body.nodes[id];
        node.operands.iter_mut().filter(|o| **o == value).for_each(|o| *o = by);
    }
    for output in body.outputs.iter_mut().filter(|o| o.value == value) {
        output.value = by;
    }
}

/// The nodes that take each value, once for every time that they do.
pub fn users(g: &Graph) -> Vec<Vec<Node>> {
    let mut users = vec![vec![]; g.values.len()];
    for (id, node) in g.nodes.iter() {
        node.operands.iter().for_each(|v| users[v.index()].push(id));
    }
    users
}
