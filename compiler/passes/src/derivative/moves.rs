//! Derivatives of ops that move elements: the way back, sums where an element went to several
//! places.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "every op is named where the table begins; these are its groups"
)]

use super::{Derivative, left};
use crate::build::{accumulate, sum, zeros};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, NodeData, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// Up to this size the adjoint of a window is a sum of shifts.
const UNROLLED: usize = 16;

pub(super) fn moved(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
) -> Result<Derivative, PassError> {
    let a = node.operands[0];
    let from = g.ty(a).clone();
    let da = match &node.op {
        Op::Reshape { .. } => g.add(Op::Reshape { dims: from.dims }, &[d]),
        Op::Transpose { order } => {
            let mut back: Axes = (0..order.len()).collect();
            for (i, &axis) in order.iter().enumerate() {
                back[axis] = i;
            }
            g.add(Op::Transpose { order: back }, &[d])
        }
        Op::Broadcast { dims, axes } => {
            let new: Axes = (0..dims.len()).filter(|i| !axes.contains(i)).collect();
            sum(g, d, &new)
        }
        Op::Slice { axis, start, size } => {
            let n = length(&from, *axis)?;
            let op = Op::Pad { axis: *axis, before: *start, after: n - start - size };
            g.add(op, &[d])
        }
        Op::Fit { axis, .. } => {
            g.add(Op::Fit { axis: *axis, size: from.dims[*axis] }, &[d])
        }
        Op::Pad { axis, before, .. } => {
            let size = length(&from, *axis)?;
            g.add(Op::Slice { axis: *axis, start: *before, size }, &[d])
        }
        Op::Concat { axis } if is_past(g.ty(node.operands[0]).dims[*axis]) => {
            return Err(PassError::limitation(
                "L-past-gradient",
                "gradients through all of a past that was handed over",
                "run the sequence in one call",
            ));
        }
        Op::Concat { axis } => {
            let mut start = 0;
            let mut parts = Vec::new();
            for &operand in &node.operands {
                let size = length(g.ty(operand), *axis)?;
                parts.push(Some(g.add(Op::Slice { axis: *axis, start, size }, &[d])));
                start += size;
            }
            return Ok(Derivative::Of(parts));
        }
        Op::Shift { axis, by } => g.add(Op::Shift { axis: *axis, by: -by }, &[d]),
        Op::Window { axis, size } => match size.fixed() {
            Some(n) if n <= UNROLLED => unrolled(g, d, *axis, n),
            _ => walked(g, d, *axis, *size),
        },
        other => return Err(left(other)),
    };
    Ok(Derivative::one(da))
}

fn is_past(dim: Dim) -> bool {
    dim.of_tokens().0 == Dim::Past
}

fn length(ty: &Type, axis: usize) -> Result<usize, PassError> {
    let fixed = ty.dims.get(axis).and_then(|d| d.fixed());
    fixed.ok_or_else(|| PassError::bug("derivative", format!("axis {axis} of {ty}")))
}

/// `sum over j of shift(d[.., j, ..], -j)`
fn unrolled(g: &mut Graph, d: Value, axis: usize, size: usize) -> Value {
    let mut total = None;
    for age in 0..size {
        let entry = g.add(Op::Slice { axis: axis + 1, start: age, size: 1 }, &[d]);
        let entry = sum(g, entry, &[axis + 1]);
        let entry = if age == 0 {
            entry
        } else {
            let by = -i64::try_from(age).unwrap_or(i64::MAX);
            g.add(Op::Shift { axis, by }, &[entry])
        };
        total = Some(accumulate(g, total, entry));
    }
    total.unwrap_or_else(|| {
        let mut ty = g.ty(d).clone();
        ty.dims.remove(axis + 1);
        zeros(g, &ty)
    })
}

/// The same sum as a walk from the last token to the first: what is still owed to the token `j` places back
/// stands in entry j of the state. All other axes but the last are walked apart.
fn walked(g: &mut Graph, d: Value, axis: usize, size: Dim) -> Value {
    let ty = g.ty(d).clone();
    let rank = ty.rank();
    let after = axis + 2;
    let apart: Vec<usize> = (0..axis).chain(after..rank.max(after + 1) - 1).collect();
    let state_dims: Dims = std::iter::once(size)
        .chain(ty.dims.get(after..).and_then(<[Dim]>::last).copied())
        .collect();
    let state = Type::real(state_dims.iter().copied());
    let mut body = Graph::new();
    let entry = body.input("d", state.clone());
    let owed = body.input("owed", state.clone());
    body.input("valid", Type::bool([]));
    body.input("position", Type::real([]));
    let moved = body.add(Op::Shift { axis: 0, by: -1 }, &[owed]);
    let next = body.add(Op::Add, &[moved, entry]);
    // Entry 0 is picked by a sum, because the size may be known at run time only.
    let ages = body.add(Op::Iota { axis: 0, dims: smallvec![size] }, &[]);
    let zero = zeros(&mut body, &Type::real([size]));
    let first = body.add(Op::Equal, &[ages, zero]);
    let op = Op::Broadcast { dims: state_dims, axes: smallvec![0] };
    let first = body.add(op, &[first]);
    let picked = crate::build::select_or_zero(&mut body, first, next);
    let now = sum(&mut body, picked, &[0]);
    body.output("owed", next);
    body.output("a", now);
    let place = |i: usize| match apart.iter().position(|&a| a == i) {
        Some(map) => Axis::Map(map),
        None if i == axis => Axis::Time,
        None => Axis::Body,
    };
    let whole: Layout = (0..rank).map(place).collect();
    let scan = Scan {
        map: apart.iter().map(|&a| ty.dims[a]).collect(),
        time: ty.dims[axis],
        stride: Stride::Token,
        reverse: true,
        feeds: vec![
            (Feed::Stream, whole),
            (Feed::Initial, (0..state.rank()).map(|_| Axis::Body).collect()),
        ],
        yields: vec![(
            Yield::Stream,
            (0..rank).filter(|&i| i != axis + 1).map(place).collect(),
        )],
        body,
    };
    let none = zeros(g, &state);
    g.add_many(Op::Scan { scan: Box::new(scan) }, &[d, none])[1]
}

pub(super) fn indexed(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
) -> Result<Derivative, PassError> {
    let (a, index) = (node.operands[0], node.operands[1]);
    let da = match &node.op {
        Op::Gather => {
            let rows = length(g.ty(a), 0)?;
            g.add(Op::ScatterAdd { rows }, &[d, index])
        }
        Op::ScatterAdd { .. } => g.add(Op::Gather, &[d, index]),
        other => return Err(left(other)),
    };
    Ok(Derivative::Of(vec![Some(da), None]))
}
