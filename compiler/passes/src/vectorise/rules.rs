//! One rule per op: how it acts on values that have the leading dimensions in front.

use super::{Lead, Mapped, lift};
use crate::build::{broadcast, contract, sum, transpose, zeros};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Axis, AxisPairs, Graph, Layout, Op, Scan, Value};
use nestor_ir::ty::{Dims, Type};

/// The results, mapped; at least one operand is.
pub(super) fn apply(
    g: &mut Graph,
    op: &Op,
    operands: &[Mapped],
    lead: &Lead,
) -> Result<Vec<Value>, PassError> {
    let n = lead.dims.len();
    let with_lead =
        |dims: &Dims| -> Dims { lead.dims.iter().chain(dims).copied().collect() };
    let shifted = |axes: &Axes| -> Axes { axes.iter().map(|a| a + n).collect() };
    let moved = match op {
        Op::Reduce { fold, axes } => Op::Reduce { fold: *fold, axes: shifted(axes) },
        Op::Reshape { dims } => Op::Reshape { dims: with_lead(dims) },
        Op::Transpose { order } => {
            Op::Transpose { order: (0..n).chain(shifted(order)).collect() }
        }
        Op::Broadcast { dims, axes } => Op::Broadcast {
            dims: with_lead(dims),
            axes: (0..n).chain(shifted(axes)).collect(),
        },
        Op::Slice { axis, start, size } => {
            Op::Slice { axis: axis + n, start: *start, size: *size }
        }
        Op::Fit { axis, size } => Op::Fit { axis: axis + n, size: *size },
        Op::Pad { axis, before, after } => {
            Op::Pad { axis: axis + n, before: *before, after: *after }
        }
        Op::Concat { axis } => Op::Concat { axis: axis + n },
        Op::Shift { axis, by } => Op::Shift { axis: axis + n, by: *by },
        Op::Window { axis, size } => Op::Window { axis: axis + n, size: *size },
        Op::Contract { batch, sum } => {
            return Ok(vec![product(g, operands[0], operands[1], (batch, sum), lead)]);
        }
        Op::Gather => return Ok(vec![gather(g, operands[0], operands[1], lead)]),
        Op::ScatterAdd { rows } => {
            return Ok(vec![scatter(g, operands[0], operands[1], *rows, lead)]);
        }
        Op::Scan { scan } => return repeated(g, scan, operands, lead),
        Op::Gradient => return gradient(g, operands, lead).map(|v| vec![v]),
        Op::Input { .. }
        | Op::Constant { .. }
        | Op::Iota { .. }
        | Op::Position { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Recent { .. }
        | Op::Block { .. }
        | Op::Next { .. }
        | Op::Exists { .. }
        | Op::Tick { .. }
        | Op::Gathered { .. }
        | Op::Held { .. }
        | Op::When => {
            let name = op.info().name;
            return Err(PassError::bug("vectorise", format!("no rule for `{name}`")));
        }
        Op::Neg
        | Op::Abs
        | Op::Sign
        | Op::Sqrt
        | Op::Exp
        | Op::Log
        | Op::Sin
        | Op::Cos
        | Op::Tanh
        | Op::Erf
        | Op::Sigmoid
        | Op::Softplus
        | Op::Floor
        | Op::Not
        | Op::Real
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Pow
        | Op::Rem
        | Op::Max
        | Op::Min
        | Op::Less
        | Op::LessEqual
        | Op::Equal
        | Op::And
        | Op::Or
        | Op::Select
        | Op::SolveUnitLower { .. }
        | Op::Solve
        | Op::InverseRoot { .. }
        | Op::Eigenvectors
        | Op::LinearScan { .. }
        | Op::Stop
        | Op::Anchor => op.clone(),
    };
    let operands: Vec<Value> = operands.iter().map(|&m| lift(g, m, &lead.dims)).collect();
    Ok(g.add_many(moved, &operands).into_vec())
}

/// The leading dimensions of both sides run together; of one side they are free.
fn product(
    g: &mut Graph,
    a: Mapped,
    b: Mapped,
    (batch, summed): (&AxisPairs, &AxisPairs),
    lead: &Lead,
) -> Value {
    let n = lead.dims.len();
    let (by_a, by_b) = (if a.mapped { n } else { 0 }, if b.mapped { n } else { 0 });
    let shift = |pairs: &AxisPairs| -> AxisPairs {
        pairs.iter().map(|&(l, r)| (l + by_a, r + by_b)).collect()
    };
    let (inner, sums) = (shift(batch), shift(summed));
    let pairs = batch.len();
    if a.mapped && b.mapped {
        let all: AxisPairs = (0..n).map(|i| (i, i)).chain(inner).collect();
        return contract(g, a.value, b.value, &all, &sums);
    }
    let used = batch.len() + summed.len();
    let (free_a, free_b) =
        (g.ty(a.value).rank() - by_a - used, g.ty(b.value).rank() - by_b - used);
    let swapped =
        |p: &AxisPairs| -> AxisPairs { p.iter().map(|&(l, r)| (r, l)).collect() };
    let (value, first) = if a.mapped {
        (contract(g, a.value, b.value, &inner, &sums), pairs)
    } else if free_a == 0 || free_b == 0 {
        // The mapped side first leaves the leading dimensions in front.
        let value = contract(g, b.value, a.value, &swapped(&inner), &swapped(&sums));
        (value, pairs)
    } else {
        (contract(g, a.value, b.value, &inner, &sums), pairs + free_a)
    };
    let rank = pairs + n + free_a + free_b;
    let lead_first: Axes =
        (first..first + n).chain(0..first).chain(first + n..rank).collect();
    transpose(g, value, &lead_first)
}

/// A mapped index reads a common table; a common index reads mapped tables at once; both mapped
/// read by a product with indicators.
fn gather(g: &mut Graph, table: Mapped, index: Mapped, lead: &Lead) -> Value {
    let n = lead.dims.len();
    if !table.mapped {
        return g.add(Op::Gather, &[table.value, index.value]);
    }
    let rank = g.ty(table.value).rank();
    if !index.mapped {
        let order: Axes = std::iter::once(n).chain(0..n).chain(n + 1..rank).collect();
        let rows_first = transpose(g, table.value, &order);
        let found = g.add(Op::Gather, &[rows_first, index.value]);
        let i = g.ty(index.value).rank();
        let order: Axes = (i..i + n).chain(0..i).chain(i + n..i + rank - 1).collect();
        return transpose(g, found, &order);
    }
    let rows = g.ty(table.value).dims[n];
    let indicators = indicators(g, index.value, rows);
    let last = g.ty(indicators).rank() - 1;
    let pairs: AxisPairs = (0..n).map(|i| (i, i)).collect();
    contract(g, indicators, table.value, &pairs, &[(last, n)])
}

fn scatter(
    g: &mut Graph,
    values: Mapped,
    index: Mapped,
    rows: usize,
    lead: &Lead,
) -> Value {
    let n = lead.dims.len();
    if index.mapped {
        let values = lift(g, values, &lead.dims);
        let i = g.ty(index.value).rank() - n;
        let indicators = indicators(g, index.value, Dim::Fixed(rows));
        let pairs: AxisPairs = (0..n).map(|i| (i, i)).collect();
        let sums: AxisPairs = (n..n + i).map(|i| (i, i)).collect();
        return contract(g, indicators, values, &pairs, &sums);
    }
    let i = g.ty(index.value).rank();
    let rank = g.ty(values.value).rank();
    let order: Axes = (n..n + i).chain(0..n).chain(n + i..rank).collect();
    let index_first = transpose(g, values.value, &order);
    let table = g.add(Op::ScatterAdd { rows }, &[index_first, index.value]);
    let rank = g.ty(table).rank();
    let order: Axes = (1..=n).chain([0]).chain(n + 1..rank).collect();
    transpose(g, table, &order)
}

/// `[index.., rows]`: one where the row is the index, zero elsewhere.
fn indicators(g: &mut Graph, index: Value, rows: Dim) -> Value {
    let mut dims = g.ty(index).dims.clone();
    let last = dims.len();
    dims.push(rows);
    let index = g.add(Op::Real, &[index]);
    let axes: Axes = (0..last).collect();
    let index = broadcast(g, index, &dims, &axes);
    let row = g.add(Op::Iota { axis: last, dims }, &[]);
    let is = g.add(Op::Equal, &[row, index]);
    g.add(Op::Real, &[is])
}

/// The leading dimensions become further mapped ones of the scan; its body stays.
fn repeated(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Mapped],
    lead: &Lead,
) -> Result<Vec<Value>, PassError> {
    let n = lead.dims.len();
    let later = |layout: &Layout| -> Layout {
        let one = |axis: &Axis| match axis {
            Axis::Map(m) => Axis::Map(m + n),
            Axis::Time => Axis::Time,
            Axis::Body => Axis::Body,
        };
        layout.iter().map(one).collect()
    };
    let front = |layout: &Layout| -> Layout {
        (0..n).map(Axis::Map).chain(later(layout)).collect()
    };
    let mut out = scan.clone();
    out.map = lead.dims.iter().chain(&scan.map).copied().collect();
    for ((feed, layout), m) in out.feeds.iter_mut().zip(operands) {
        *layout = if m.mapped { front(layout) } else { later(layout) };
        if feed.is_of_steps() && m.mapped {
            return Err(PassError::limitation(
                "L-mapped-mask",
                "a walk whose skipped tokens differ from one instance to the next",
                "use a condition inside the update instead",
            ));
        }
    }
    for (_, layout) in &mut out.yields {
        *layout = front(layout);
    }
    let values: Vec<Value> = operands.iter().map(|m| m.value).collect();
    Ok(g.add_many(Op::Scan { scan: Box::new(out) }, &values).into_vec())
}

/// Instances are independent, so the gradient of the sum of their objectives is every one's own.
fn gradient(g: &mut Graph, operands: &[Mapped], lead: &Lead) -> Result<Value, PassError> {
    let (objective, anchor) = (operands[0], operands[1]);
    if !anchor.mapped {
        return Err(PassError::bug(
            "vectorise",
            "instances share the place of a gradient",
        ));
    }
    if !objective.mapped {
        let ty: Type = g.ty(anchor.value).clone();
        return Ok(zeros(g, &ty));
    }
    let axes: Axes = (0..lead.dims.len()).collect();
    let total = sum(g, objective.value, &axes);
    Ok(g.add(Op::Gradient, &[total, anchor.value]))
}
