//! Code between memories that feed one another, as one of their instances sees it.
//!
//! ```text
//! before   k = l2norm (read M)      M maps over [heads]: values are [heads, d]
//! after    k = l2norm (read M)      one head: [d]
//! ```
//!
//! A value made inside of the walk has the memories' dimensions in front, and each op must keep
//! them there and apart. A value from outside is taken by instance or whole, as the op asks.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that keep leading dimensions apart are named; all others are refused"
)]

use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, AxisPairs, Group, NodeData, Op};
use nestor_ir::ty::Dims;

/// An op on one instance.
pub(super) struct Between {
    /// The op.
    pub(super) op: Op,
    /// The rank of every operand in one instance.
    pub(super) ranks: Vec<usize>,
}

/// The op on one instance of `map`; `ranks` are the operands' with all instances, `inside` says
/// which of them are made within the walk.
///
/// # Errors
/// Where instances meet.
pub(super) fn between(
    node: &NodeData,
    ranks: &[usize],
    inside: &[bool],
    map: &[Dim],
) -> Result<Between, PassError> {
    let n = map.len();
    if n == 0 && node.op.info().group != Group::Token {
        return Ok(Between { op: node.op.clone(), ranks: ranks.to_vec() });
    }
    let refused = || {
        let name = node.op.info().name;
        PassError::limitation(
            "L-own-answer",
            format!("`{name}` of one memory's answer meets other memories of its kind"),
            "keep what comes back to a memory within its own leading dimensions",
        )
    };
    if let Op::Contract { batch, sum } = &node.op {
        return product(batch, sum, ranks, inside, n).ok_or_else(refused);
    }
    let op = one(&node.op, map).ok_or_else(refused)?;
    Ok(Between { op, ranks: ranks.iter().map(|r| r - n).collect() })
}

fn one(op: &Op, map: &[Dim]) -> Option<Op> {
    let n = map.len();
    let later = |axes: &[usize]| -> Option<Axes> {
        axes.iter().map(|a| a.checked_sub(n)).collect()
    };
    let rest = |dims: &Dims| -> Option<Dims> {
        dims.strip_prefix(map).map(|d| d.iter().copied().collect())
    };
    let in_front =
        |axes: &[usize]| axes.get(..n).is_some_and(|a| a.iter().copied().eq(0..n));
    Some(match op {
        Op::Reduce { fold, axes } => Op::Reduce { fold: *fold, axes: later(axes)? },
        Op::Reshape { dims } => Op::Reshape { dims: rest(dims)? },
        Op::Transpose { order } if in_front(order) => {
            Op::Transpose { order: later(&order[n..])? }
        }
        Op::Broadcast { dims, axes } if in_front(axes) => {
            Op::Broadcast { dims: rest(dims)?, axes: later(&axes[n..])? }
        }
        Op::Slice { axis, start, size } => {
            Op::Slice { axis: axis.checked_sub(n)?, start: *start, size: *size }
        }
        Op::Pad { axis, before, after } => {
            Op::Pad { axis: axis.checked_sub(n)?, before: *before, after: *after }
        }
        Op::Concat { axis } => Op::Concat { axis: axis.checked_sub(n)? },
        Op::Shift { axis, by } => Op::Shift { axis: axis.checked_sub(n)?, by: *by },
        Op::SolveUnitLower { .. }
        | Op::Solve
        | Op::InverseRoot { .. }
        | Op::Eigenvectors
        | Op::LinearScan { .. }
        | Op::Stop => op.clone(),
        op if matches!(op.info().group, Group::Unary | Group::Binary | Group::Select) => {
            op.clone()
        }
        _ => return None,
    })
}

/// Both sides by instance where the leading dimensions run together; else one side, whose leading
/// dimensions come first in the result.
fn product(
    batch: &AxisPairs,
    sum: &AxisPairs,
    ranks: &[usize],
    inside: &[bool],
    n: usize,
) -> Option<Between> {
    let shifted = |pairs: &[(usize, usize)], a: usize, b: usize| -> Option<AxisPairs> {
        pairs.iter().map(|&(l, r)| Some((l.checked_sub(a)?, r.checked_sub(b)?))).collect()
    };
    let together = batch.len() >= n && (0..n).all(|i| batch[i] == (i, i));
    let (a, b, pairs) = if together {
        (n, n, &batch[n..])
    } else if batch.is_empty() && inside[0] && !inside[1] {
        (n, 0, &batch[..])
    } else if batch.is_empty() && !inside[0] && ranks[0] == sum.len() {
        (0, n, &batch[..])
    } else {
        return None;
    };
    Some(Between {
        op: Op::Contract { batch: shifted(pairs, a, b)?, sum: shifted(sum, a, b)? },
        ranks: vec![ranks[0] - a, ranks[1] - b],
    })
}
