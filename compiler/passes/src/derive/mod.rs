//! Inner gradients become the update equations they stand for.
//!
//! ```text
//! before   a = anchor W;  e = a k - v;  l = sum(e e) / 2;  G = gradient l, a
//! after    e = W k - v;   G = outer(e, k)
//! ```
//!
//! What does not depend on the anchor is a constant of the derivative; anchors themselves are
//! only places and vanish once every gradient is known.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "marks are looked for; every other op is copied"
)]

mod logarithms;

use crate::autodiff::{Keeping, keep_boundaries, pullback};
use crate::build::{scalar, zeros_like};
use crate::error::PassError;
use crate::simplify::{prune, simplify};
use nestor_ir::tensor::{Graph, Op};

/// Replaces all `gradient` and `anchor` marks, in the bodies of scans too, and simplifies.
///
/// # Errors
/// Where an objective has no derivative that is known.
pub fn derive(graph: &Graph) -> Result<Graph, PassError> {
    Ok(simplify(&marks_gone(graph)?))
}

fn marks_gone(graph: &Graph) -> Result<Graph, PassError> {
    let mut inner = bodies_derived(graph)?;
    if inner.nodes.values().any(|n| n.op == Op::Log) {
        inner = in_range(&inner);
    }
    let has = |op: fn(&Op) -> bool| inner.nodes.values().any(|n| op(&n.op));
    if !has(|op| matches!(op, Op::Gradient | Op::Anchor)) {
        return Ok(inner);
    }
    // An objective may itself hold a walk, which reverse mode takes back from its boundaries.
    let inner = if has(|op| matches!(op, Op::Gradient))
        && has(|op| matches!(op, Op::Scan { .. }))
    {
        keep_boundaries(&inner, Keeping::default())
    } else {
        inner
    };
    let derived = inner.try_rebuilt(|r, _, node| {
        if node.op != Op::Gradient {
            return Ok(None);
        }
        let [objective, anchor] = [0, 1].map(|n| r.at(node.operands[n]));
        let one = scalar(&mut r.graph, 1.0);
        let found = pullback(&mut r.graph, &[(objective, one)], &[anchor])?;
        let gradient = found[0].unwrap_or_else(|| zeros_like(&mut r.graph, anchor));
        Ok::<_, PassError>(Some([gradient].into()))
    })?;
    Ok(derived.rebuilt(|r, _, node| match &node.op {
        Op::Anchor => Some([r.at(node.operands[0])].into()),
        _ => None,
    }))
}

/// Logarithms without the exponentials they would undo.
fn in_range(graph: &Graph) -> Graph {
    graph.rebuilt(|r, _, node| {
        if node.op != Op::Log {
            return None;
        }
        let inside = r.at(node.operands[0]);
        Some([logarithms::without_exponentials(&mut r.graph, inside)?].into())
    })
}

fn bodies_derived(graph: &Graph) -> Result<Graph, PassError> {
    graph.try_rebuilt(|r, _, node| {
        let Op::Scan { scan } = &node.op else { return Ok(None) };
        let mut scan = scan.clone();
        // What no gradient needs would be taken back by the gradients of every walk around it.
        scan.body = prune(&marks_gone(&scan.body)?);
        let operands = r.operands(node);
        Ok(Some(r.graph.add_many(Op::Scan { scan }, &operands)))
    })
}
