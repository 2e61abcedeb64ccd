//! Ops that look back in time, for whole sequences: windows over the tokens' dimension.

#![allow(clippy::wildcard_enum_match_arm, reason = "the groups were told apart before")]

use super::{Lead, Mapped, lift};
use crate::build::{broadcast, broadcast_leading, constant, select_or_zero, transpose};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Graph, Op, Value};
use nestor_ir::ty::Dims;
use smallvec::smallvec;

/// The position of every token, where tokens are repeated over.
pub(super) fn position(g: &mut Graph, op: &Op, lead: &Lead) -> Mapped {
    let repeated = match op {
        Op::Position { dims } => dims.is_empty(),
        _ => true,
    };
    let Some(time) = lead.time.filter(|_| repeated) else {
        return Mapped::shared(g.add(op.clone(), &[]));
    };
    let positions = g.add(Op::Position { dims: smallvec![lead.dims[time]] }, &[]);
    Mapped::all(broadcast(g, positions, &lead.dims, &[time]))
}

/// `recent`, `block` and `exists`.
pub(super) fn look_back(
    g: &mut Graph,
    op: &Op,
    operands: &[Mapped],
    lead: &Lead,
) -> Result<Mapped, PassError> {
    let Some(time) = lead.time else {
        let name = op.info().name;
        return Err(PassError::bug("vectorise", format!("`{name}` without time")));
    };
    Ok(Mapped::all(match op {
        Op::Recent { size } => window(g, operands[0], *size, time, lead),
        Op::Block { size } => {
            let window = window(g, operands[0], Dim::Fixed(*size), time, lead);
            let there = exists(g, Dim::Fixed(*size), true, time, lead);
            let dims = g.ty(window).dims.clone();
            let there = broadcast_leading(g, there, &dims);
            select_or_zero(g, there, window)
        }
        Op::Exists { size, block } => exists(g, *size, *block, time, lead),
        other => {
            let name = other.info().name;
            return Err(PassError::bug("vectorise", format!("`{name}` looks not back")));
        }
    }))
}

/// The new axis stands after all leading ones, as it stood first in one token's value.
fn window(g: &mut Graph, a: Mapped, size: Dim, time: usize, lead: &Lead) -> Value {
    let a = lift(g, a, &lead.dims);
    let window = g.add(Op::Window { axis: time, size }, &[a]);
    let rank = g.ty(window).rank();
    let n = lead.dims.len();
    let mut order: Axes = (0..rank).filter(|&i| i != time + 1).collect();
    order.insert(n, time + 1);
    transpose(g, window, &order)
}

/// Entry `j` is there from position j on; of a block, from j places after its boundary on.
fn exists(g: &mut Graph, size: Dim, block: bool, time: usize, lead: &Lead) -> Value {
    let t = lead.dims[time];
    let dims: Dims = smallvec![t, size];
    let mut since = g.add(Op::Position { dims: smallvec![t] }, &[]);
    if let (true, Some(n)) = (block, size.fixed()) {
        let length = constant(g, n as f64, &[t]);
        since = g.add(Op::Rem, &[since, length]);
    }
    let since = broadcast(g, since, &dims, &[0]);
    let age = g.add(Op::Iota { axis: 1, dims }, &[]);
    let there = g.add(Op::LessEqual, &[age, since]);
    let all: Dims = lead.dims.iter().copied().chain([size]).collect();
    broadcast(g, there, &all, &[time, lead.dims.len()])
}
