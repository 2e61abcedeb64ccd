//! Nodes that let tokens be, by all that hang together.

use super::groups::ticks;
use super::users::{FEW, Users, width};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, NodeData, Op, Value};
use petgraph::unionfind::UnionFind;

/// They are made of one another, or of the same numbers, and have as many other nodes before them on the longest way, so
/// that none of these lies between two of them.
pub(super) fn connected(graph: &Graph, own: &[bool], users: &Users) -> Vec<Vec<Node>> {
    let depth = depths(graph, own, users);
    let count = graph.nodes.len();
    let mut sets = UnionFind::new(count);
    for (v, value) in graph.values.iter() {
        let makes = value.node.index();
        let takes = users.nodes[v.index()].iter().map(|n| n.index());
        let mut members: Vec<usize> = takes.filter(|n| own[*n]).collect();
        if own[makes] {
            members.push(makes);
        } else if !is_read(graph, v) {
            continue;
        }
        // Whoever takes the same numbers reads them once.
        members.sort_by_key(|n| depth[*n]);
        for pair in members.windows(2).filter(|p| depth[p[0]] == depth[p[1]]) {
            sets.union(pair[0], pair[1]);
        }
    }
    let mut out: Vec<Vec<Node>> = vec![vec![]; count];
    for id in graph.nodes.keys().filter(|id| own[id.index()]) {
        out[sets.find(id.index())].push(id);
    }
    out.retain(|members| !members.is_empty());
    out
}

/// Whether a value has numbers of each token that are read from memory, more than a few of them.
fn is_read(graph: &Graph, v: Value) -> bool {
    let made = matches!(
        graph.def(v).op,
        Op::Constant { .. } | Op::Iota { .. } | Op::Broadcast { .. }
    );
    !made && ticks(&graph.ty(v).dims).is_some() && width(graph, v) >= FEW
}

/// How many nodes that do not let tokens be are before each, between others that do. What folds nothing comes as late as those who
/// take it: what only the way back takes of a norm is computed there, with what it is taken with.
fn depths(graph: &Graph, own: &[bool], users: &Users) -> Vec<usize> {
    let step = |from: usize, to: usize| usize::from(own[from] && !own[to]);
    let mut depth = vec![0_usize; graph.nodes.len()];
    for (id, node) in graph.nodes.iter() {
        let id = id.index();
        let before = node.operands.iter().map(|v| graph.values[*v].node.index());
        depth[id] = before.map(|n| depth[n] + step(n, id)).max().unwrap_or(0);
    }
    let mut nodes: Vec<(Node, &NodeData)> = graph.nodes.iter().collect();
    while let Some((id, node)) = nodes.pop() {
        let (id, v) = (id.index(), node.results.first());
        let Some(v) = v.filter(|v| own[id] && !users.output[v.index()]) else { continue };
        if matches!(node.op, Op::Reduce { .. }) {
            continue;
        }
        let after = users.nodes[v.index()].iter().map(|n| n.index());
        if let Some(latest) = after.map(|n| depth[n] - step(id, n)).min() {
            depth[id] = latest;
        }
    }
    depth
}
