//! Reorders the code so that memories can be walked at once, and says which are walked together.
//!
//! ```text
//! before   a = f(x);  y = read M (a);  b = g(x);  write M (b)
//! after    a = f(x);  b = g(x);  y = read M (a);  write M (b)
//! ```
//!
//! All that a memory's reads and writes take stands before the first of them; they themselves
//! keep their order. Where what is read from a memory comes back to it, by way of other code or of other
//! memories, no such order exists: all on the way is one group, which one walk does token by token.

use super::memory_of;
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::level::{MemoryId, Program};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Node, Value};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Memories that are walked together.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Which, in the order of their first acts.
    pub(super) memories: Vec<MemoryId>,
    /// Their reads and writes and the code between, in the order of the text.
    pub(super) nodes: Vec<Node>,
}

/// The same code in such an order, and the groups of its memories.
///
/// # Errors
/// Never, but for a bug.
pub(super) fn memories_together(
    program: &Program,
    code: &Graph,
) -> Result<(Graph, Vec<Group>), PassError> {
    let mut graph: DiGraph<Node, ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = code.nodes.keys().map(|n| graph.add_node(n)).collect();
    let source = |v: Value| nodes[code.values[v].node.index()];
    for (id, node) in code.nodes.iter() {
        for &operand in &node.operands {
            graph.add_edge(source(operand), nodes[id.index()], ());
        }
    }
    let groups = groups(program, code, &graph);
    for group in &groups {
        for pair in group.nodes.windows(2) {
            graph.add_edge(nodes[pair[0].index()], nodes[pair[1].index()], ());
        }
        let first = nodes[group.nodes[0].index()];
        for &taken in &group.nodes {
            for &operand in &code.nodes[taken].operands {
                if !group.nodes.contains(&code.values[operand].node) {
                    graph.add_edge(source(operand), first, ());
                }
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
    let mut moved: Vec<Option<Node>> = vec![None; code.nodes.len()];
    let mut placed = 0;
    while let Some(Reverse(n)) = ready.pop() {
        let node = &code.nodes[Node::new(n)];
        let operands: Vec<Value> =
            node.operands.iter().filter_map(|v| map[v.index()]).collect();
        moved[n] = Some(Node::new(out.nodes.len()));
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
        return Err(PassError::bug(
            "to_tensors",
            "no order in which memories are walked",
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
    let mut groups = groups;
    for group in &mut groups {
        group.nodes = group.nodes.iter().filter_map(|n| moved[n.index()]).collect();
    }
    Ok((out, groups))
}

/// What goes round in a circle, where all acts of a memory are taken as one.
fn groups(program: &Program, code: &Graph, flow: &DiGraph<Node, ()>) -> Vec<Group> {
    let mut graph = flow.clone();
    let mut last: Vec<(MemoryId, NodeIndex)> = Vec::new();
    for index in flow.node_indices() {
        let Some(memory) = memory_of(program, &code.nodes[flow[index]]) else { continue };
        match last.iter_mut().find(|(m, _)| *m == memory) {
            Some((_, before)) => {
                graph.add_edge(*before, index, ());
                graph.add_edge(index, *before, ());
                *before = index;
            }
            None => last.push((memory, index)),
        }
    }
    let mut out = Vec::new();
    for circle in tarjan_scc(&graph) {
        let mut group = Group::default();
        group.nodes.extend(circle.into_iter().map(|index| graph[index]));
        group.nodes.sort_unstable();
        for &node in &group.nodes {
            let memory = memory_of(program, &code.nodes[node]);
            group.memories.extend(memory.filter(|m| !group.memories.contains(m)));
        }
        if !group.memories.is_empty() {
            out.push(group);
        }
    }
    out
}
