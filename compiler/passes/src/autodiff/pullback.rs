//! Reverse mode: from seeds back to what is asked for, only along paths between them.
//!
//! ```text
//! before   y = f(x)                 seeds (y, d), wrt x
//! after    y = f(x), x' = f'(x)* d  gives x'
//! ```

use super::scan::reverse_scan;
use crate::build::{accumulate, is_real};
use crate::derivative::{Derivative, derivative};
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, NodeData, Op, Value};

/// The cotangent of every value of `wrt`, given the cotangents `seeds` of some values: pairs of a
/// value and its cotangent. Nothing where no gradient arrives. The nodes are appended.
///
/// Scans with state on the way must yield their boundaries; see
/// [`keep_boundaries`](super::keep_boundaries).
///
/// # Errors
/// Where something on the way has no derivative that is known.
pub fn pullback(
    graph: &mut Graph,
    seeds: &[(Value, Value)],
    wrt: &[Value],
) -> Result<Vec<Option<Value>>, PassError> {
    let last = graph.nodes.len();
    let active = reached(graph, wrt);
    let mut adjoint: Vec<Option<Value>> = vec![None; active.len()];
    for &(value, seed) in seeds {
        if graph.ty(value) != graph.ty(seed) {
            let (a, b) = (graph.ty(value), graph.ty(seed));
            return Err(PassError::bug("pullback", format!("seed {b} for {a}")));
        }
        if active[value.index()] {
            let total = accumulate(graph, adjoint[value.index()], seed);
            adjoint[value.index()] = Some(total);
        }
    }
    for n in (0..last).rev() {
        let node: NodeData = {
            let node = &graph.nodes[nestor_ir::tensor::Node::new(n)];
            if !node.results.iter().any(|r| adjoint[r.index()].is_some()) {
                continue;
            }
            node.clone()
        };
        let wanted: Vec<bool> = node.operands.iter().map(|v| active[v.index()]).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let cotangents: Vec<Option<Value>> =
            node.results.iter().map(|r| adjoint[r.index()]).collect();
        let operands = match (&node.op, cotangents[..].first()) {
            (Op::Scan { scan }, _) => {
                reverse_scan(graph, scan, &node, &cotangents, &wanted)?
            }
            (_, Some(&Some(d))) => match derivative(graph, &node, d, &wanted)? {
                Derivative::Of(operands) => operands,
                Derivative::None(_) => continue,
            },
            _ => continue,
        };
        for ((&operand, cotangent), wanted) in
            node.operands.iter().zip(operands).zip(wanted)
        {
            if let (Some(cotangent), true) = (cotangent, wanted) {
                debug_assert_eq!(
                    graph.ty(operand),
                    graph.ty(cotangent),
                    "cotangent of an operand of {}",
                    node.op.info().name
                );
                let total = accumulate(graph, adjoint[operand.index()], cotangent);
                adjoint[operand.index()] = Some(total);
            }
        }
    }
    Ok(wrt.iter().map(|v| adjoint[v.index()]).collect())
}

/// For every value, whether a gradient could go from it to one of `wrt`.
fn reached(graph: &Graph, wrt: &[Value]) -> Vec<bool> {
    let mut active = vec![false; graph.values.len()];
    for &value in wrt {
        active[value.index()] = is_real(graph, value);
    }
    for node in graph.nodes.values() {
        if blocks(&node.op) || !node.operands.iter().any(|v| active[v.index()]) {
            continue;
        }
        for &result in &node.results {
            if is_real(graph, result) {
                active[result.index()] = true;
            }
        }
    }
    active
}

/// Whether no gradient passes, whatever the operands are.
fn blocks(op: &Op) -> bool {
    op.info().group == Group::Leaf
        || matches!(op, Op::Stop | Op::Sign | Op::Floor | Op::Real)
}
