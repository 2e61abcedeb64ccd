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

use crate::autodiff::{keep_boundaries, pullback};
use crate::build::{scalar, zeros_like};
use crate::error::PassError;
use crate::simplify::simplify;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Op, Value};

/// Replaces all `gradient` and `anchor` marks, in the bodies of scans too, and simplifies.
///
/// # Errors
/// Where an objective has no derivative that is known.
pub fn derive(graph: &Graph) -> Result<Graph, PassError> {
    Ok(simplify(&marks_gone(graph)?))
}

fn marks_gone(graph: &Graph) -> Result<Graph, PassError> {
    let inner = bodies_derived(graph)?;
    let has = |op: fn(&Op) -> bool| inner.nodes.values().any(|n| op(&n.op));
    if !has(|op| matches!(op, Op::Gradient | Op::Anchor)) {
        return Ok(inner);
    }
    // An objective may itself hold a walk, which reverse mode takes back from its boundaries.
    let inner = if has(|op| matches!(op, Op::Gradient))
        && has(|op| matches!(op, Op::Scan { .. }))
    {
        keep_boundaries(&inner)
    } else {
        inner
    };
    let derived = copied(&inner, |g, op, operands| match op {
        Op::Gradient => {
            let one = scalar(g, 1.0);
            let found = pullback(g, &[(operands[0], one)], &[operands[1]])?;
            let gradient = found[0].unwrap_or_else(|| zeros_like(g, operands[1]));
            Ok(Some(vec![gradient]))
        }
        _ => Ok(None),
    })?;
    copied(&derived, |_, op, operands| match op {
        Op::Anchor => Ok(Some(vec![operands[0]])),
        _ => Ok(None),
    })
}

fn bodies_derived(graph: &Graph) -> Result<Graph, PassError> {
    copied(graph, |g, op, operands| match op {
        Op::Scan { scan } => {
            let mut scan = scan.clone();
            scan.body = marks_gone(&scan.body)?;
            Ok(Some(g.add_many(Op::Scan { scan }, operands).into_vec()))
        }
        _ => Ok(None),
    })
}

/// A copy of the graph in which `replace` may say what stands for a node's results.
fn copied(
    graph: &Graph,
    mut replace: impl FnMut(
        &mut Graph,
        &Op,
        &[Value],
    ) -> Result<Option<Vec<Value>>, PassError>,
) -> Result<Graph, PassError> {
    let mut out = Graph::new();
    let mut map: Vec<Value> = vec![Value::new(0); graph.values.len()];
    for node in graph.nodes.values() {
        let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
        let results = match replace(&mut out, &node.op, &operands)? {
            Some(results) => results,
            None => out.add_many(node.op.clone(), &operands).into_vec(),
        };
        for (&from, to) in node.results.iter().zip(results) {
            map[from.index()] = to;
            if out.values[to].name.is_none() {
                out.values[to].name.clone_from(&graph.values[from].name);
            }
        }
    }
    let renamed = |list: &[Named]| {
        let one = |n: &Named| Named { name: n.name.clone(), value: map[n.value.index()] };
        list.iter().map(one).collect()
    };
    out.inputs = renamed(&graph.inputs);
    out.outputs = renamed(&graph.outputs);
    Ok(out)
}
