//! Moves of axes behind element-wise ops, where that takes as many away as it brings.
//!
//! ```text
//! before   y = transpose div (transpose x, broadcast transpose l)
//! after    y = div x, broadcast l
//! ```
//!
//! A walk gives tokens first, as whoever takes it from a graph's inputs and outputs has them; products of pairs gave them behind heads.

use crate::build::{broadcast, transpose, users};
use crate::schedule::scalar_op;
use crate::simplify::prune;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axes, Graph, Op, Value};
use nestor_ir::ty::Dims;
use smallvec::smallvec;

/// The graph with element-wise ops in the order of axes in which they are taken.
pub(super) fn upright(graph: &Graph) -> Graph {
    let users = users(graph);
    let is_moved = |v: &Value| matches!(graph.def(*v).op, Op::Transpose { .. });
    let made = graph.rebuilt(|r, _, node| {
        let Op::Transpose { order } = &node.op else { return None };
        let inner = graph.def(node.operands[0]);
        let alone = users[node.operands[0].index()].len() == 1;
        let gains = inner.operands.iter().any(is_moved);
        if scalar_op(&inner.op).is_none() || !alone || !gains {
            return None;
        }
        let operands = r.operands(inner);
        let turned: Vec<Value> =
            operands.iter().map(|v| turned(&mut r.graph, *v, order)).collect();
        Some(smallvec![r.graph.add(inner.op.clone(), &turned)])
    });
    prune(&made)
}

/// A value with its axes in this order, of what it is a move of.
fn turned(g: &mut Graph, v: Value, order: &[usize]) -> Value {
    let node = g.def(v).clone();
    match &node.op {
        Op::Transpose { order: before } => {
            let both: Axes = order.iter().map(|&axis| before[axis]).collect();
            transpose(g, node.operands[0], &both)
        }
        Op::Broadcast { dims, axes } => {
            let place = |axis: &usize| order.iter().position(|o| o == axis);
            let places: Vec<usize> = axes.iter().filter_map(place).collect();
            let mut own: Axes = (0..axes.len()).collect();
            own.sort_by_key(|&n| places[n]);
            let to: Vec<usize> = own.iter().map(|&n| places[n]).collect();
            let dims: Dims = order.iter().map(|&axis| dims[axis]).collect();
            let inner = turned(g, node.operands[0], &own);
            broadcast(g, inner, &dims, &to)
        }
        _ => transpose(g, v, order),
    }
}
