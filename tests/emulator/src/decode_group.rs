//! Instructions of groups of four warps: their text to what is done.

use crate::decode::Decoder;
use crate::module::{GroupOp, GroupProduct, Left, Matrix};

/// What stands behind `wgmma.`, with its operands.
pub(crate) fn group_op(d: &mut Decoder, tail: &str, list: &[String]) -> Option<GroupOp> {
    match (tail, list) {
        ("fence.sync.aligned", []) => Some(GroupOp::Fence),
        ("commit_group.sync.aligned", []) => Some(GroupOp::Commit),
        ("wait_group.sync.aligned", [left]) => Some(GroupOp::Wait(left.parse().ok()?)),
        _ => product(d, columns(tail)?, list).map(GroupOp::Product),
    }
}

/// Columns of B and D.
fn columns(tail: &str) -> Option<usize> {
    let shape = tail.strip_prefix("mma_async.sync.aligned.m64n")?;
    let columns: usize = shape.strip_suffix("k16.f32.bf16.bf16")?.parse().ok()?;
    ((8..=256).contains(&columns) && columns.is_multiple_of(8)).then_some(columns)
}

/// The operands, with A in shared memory or in registers; signs of A and B are not of the subset.
fn product(d: &mut Decoder, columns: usize, list: &[String]) -> Option<GroupProduct> {
    let (a, b, adds, turned_b) = match list {
        [_, a, b, adds, one, same, turned_a, turned_b] if one == "1" && same == "1" => {
            (Left::Shared(matrix(d, a, turned_a)?), b, adds, turned_b)
        }
        [_, a, b, adds, one, same, turned_b] if one == "1" && same == "1" => {
            (Left::Registers(d.sources(a)?), b, adds, turned_b)
        }
        _ => return None,
    };
    let to = d.sources(&list[0])?;
    let right = to.len() == columns / 2
        && match &a {
            Left::Registers(parts) => parts.len() == 4,
            Left::Shared(_) => true,
        };
    let b = matrix(d, b, turned_b)?;
    let adds = match adds.as_str() {
        "0" | "1" => d.source(adds)?,
        predicate => d.register(predicate),
    };
    right.then_some(GroupProduct { to, a, b, adds })
}

fn matrix(d: &mut Decoder, descriptor: &str, turned: &str) -> Option<Matrix> {
    let turned = match turned {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    Some(Matrix { descriptor: d.source(descriptor)?, turned })
}
