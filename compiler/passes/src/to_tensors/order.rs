//! Reorders the code so that a memory can be walked at once.
//!
//! ```text
//! before   a = f(x);  y = read M (a);  b = g(x);  write M (b)
//! after    a = f(x);  b = g(x);  y = read M (a);  write M (b)
//! ```
//!
//! All that a memory's reads and writes take stands before the first of them; they themselves
//! keep their order. Where a memory is written with what was read from it, no such order exists.

use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::level::{MemoryId, Program, Statement};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Node, Op, Value};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The same code in such an order.
///
/// # Errors
/// Where a memory is written with what depends on its own answer.
pub(super) fn memories_together(
    program: &Program,
    code: &Graph,
) -> Result<Graph, PassError> {
    let mut graph: DiGraph<Node, ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = code.nodes.keys().map(|n| graph.add_node(n)).collect();
    let source = |v: Value| nodes[code.values[v].node.index()];
    let mut acts: Vec<(MemoryId, Vec<Node>)> = Vec::new();
    for (id, node) in code.nodes.iter() {
        for &operand in &node.operands {
            graph.add_edge(source(operand), nodes[id.index()], ());
        }
        let memory = match &node.op {
            Op::Read { memory, .. } => Some(*memory),
            Op::Write { statement } => Some(match &program.statements[*statement] {
                Statement::Minimize(m) => m.memory,
                Statement::Update(u) => u.memory,
            }),
            _ => None,
        };
        let Some(memory) = memory else { continue };
        match acts.iter_mut().find(|(m, _)| *m == memory) {
            Some((_, list)) => list.push(id),
            None => acts.push((memory, vec![id])),
        }
    }
    for (_, list) in &acts {
        for pair in list.windows(2) {
            graph.add_edge(nodes[pair[0].index()], nodes[pair[1].index()], ());
        }
        for &taken in list {
            for &operand in &code.nodes[taken].operands {
                graph.add_edge(source(operand), nodes[list[0].index()], ());
            }
        }
    }
    // Kahn's order, the earliest node of the text first.
    let mut open: Vec<usize> = vec![0; code.nodes.len()];
    for edge in graph.edge_references() {
        open[edge.target().index()] += 1;
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..open.len()).filter(|&n| open[n] == 0).map(Reverse).collect();
    let mut out = Graph::new();
    let mut map: Vec<Option<Value>> = vec![None; code.values.len()];
    let mut placed = 0;
    while let Some(Reverse(n)) = ready.pop() {
        let node = &code.nodes[Node::new(n)];
        let operands: Vec<Value> =
            node.operands.iter().filter_map(|v| map[v.index()]).collect();
        let results = out.add_many(node.op.clone(), &operands);
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = Some(to);
            out.values[to].name.clone_from(&code.values[from].name);
        }
        placed += 1;
        for edge in graph.edges(nodes[n]) {
            let to = edge.target().index();
            open[to] -= 1;
            if open[to] == 0 {
                ready.push(Reverse(to));
            }
        }
    }
    if placed < open.len() {
        let stuck = acts.iter().find(|(_, l)| l.iter().any(|n| open[n.index()] > 0));
        let path = stuck.map_or("", |(m, _)| program.memories[*m].path.as_str());
        return Err(PassError::limitation(
            "L-own-answer",
            format!("the memory `{path}` is written with what was read from it"),
            "write it with values that do not depend on its answers at the same token",
        ));
    }
    let renamed = |list: &[Named]| {
        let one = |n: &Named| {
            Some(Named { name: n.name.clone(), value: map[n.value.index()]? })
        };
        list.iter().filter_map(one).collect()
    };
    out.inputs = renamed(&code.inputs);
    out.outputs = renamed(&code.outputs);
    Ok(out)
}
