//! Memories of one layer that nothing outside can tell apart are drawn as one:
//!
//! ```text
//! box.k ⇄ box.v ⇄ box.eta, each ← pretrain      box.{k, v, eta} ← pretrain
//! ```

use super::{Drawing, Edge, Node, word};
use std::collections::BTreeSet;

/// A flow seen from one end: whether it leaves, where the other end is, what flows.
type Flow = (bool, usize, &'static str);

/// The drawing with such memories as one node each.
pub(super) fn grouped(drawing: Drawing) -> Drawing {
    let mut first: Vec<usize> = (0..drawing.nodes.len()).collect();
    for n in 0..drawing.nodes.len() {
        let all = beside(&drawing, n);
        if all.len() > 1 && all[0] == n && alike(&drawing, &all) {
            all.iter().for_each(|&m| first[m] = n);
        }
    }
    let kept: Vec<usize> = (0..first.len()).filter(|&n| first[n] == n).collect();
    let place = |n: usize| kept.iter().position(|&k| k == first[n]).unwrap_or(0);
    let mut edges: Vec<Edge> = Vec::new();
    for edge in &drawing.edges {
        let (from, to, kind) = (place(edge.from), place(edge.to), edge.kind);
        let known = edges.iter().any(|e| (e.from, e.to, e.kind) == (from, to, kind));
        if from != to && !known {
            edges.push(Edge { from, to, kind });
        }
    }
    let mutual = |n: usize| {
        let inside = |e: &&Edge| e.from != e.to && (first[e.from], first[e.to]) == (n, n);
        drawing.edges.iter().any(|e| inside(&e))
    };
    let mutual: Vec<bool> = (0..first.len()).map(mutual).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for (n, node) in drawing.nodes.into_iter().enumerate() {
        match first[n] == n {
            true => nodes.push(Node { mutual: mutual[n], ..node }),
            false => join(&mut nodes[place(n)], &node),
        }
    }
    Drawing { title: drawing.title, nodes, edges }
}

/// A name without its last part, and that part.
fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

fn join(into: &mut Node, node: &Node) {
    if into.members.is_empty() {
        let (layer, own) = parts(&into.name);
        (into.members, into.name) = (vec![own.to_owned()], layer.to_owned());
    }
    into.members.push(parts(&node.name).1.to_owned());
    into.holds += node.holds;
    into.states += node.states;
}

/// The memories of the same layer and clock, itself among them.
fn beside(drawing: &Drawing, n: usize) -> Vec<usize> {
    let own = &drawing.nodes[n];
    let layer = parts(&own.name).0;
    let same = |m: &usize| {
        let other = &drawing.nodes[*m];
        other.memory
            && (other.clock, other.count) == (own.clock, own.count)
            && parts(&other.name).0 == layer
    };
    match own.memory && !layer.is_empty() {
        true => (0..drawing.nodes.len()).filter(same).collect(),
        false => vec![n],
    }
}

/// Whether all have the same flows with the rest, and every two of them the same with one another.
fn alike(drawing: &Drawing, all: &[usize]) -> bool {
    let flows = |n: usize| -> BTreeSet<Flow> {
        let seen = |e: &Edge| match (e.from == n, e.to == n) {
            (true, _) => Some((true, e.to, word(e.kind))),
            (_, true) => Some((false, e.from, word(e.kind))),
            _ => None,
        };
        drawing.edges.iter().filter_map(seen).collect()
    };
    let outside = |n: usize| -> BTreeSet<Flow> {
        flows(n).into_iter().filter(|(_, other, _)| !all.contains(other)).collect()
    };
    let between = |n: usize, m: usize| -> BTreeSet<(bool, &'static str)> {
        let own = flows(n).into_iter().filter(|(_, other, _)| *other == m);
        own.map(|(leaves, _, kind)| (leaves, kind)).collect()
    };
    let inside = between(all[0], all[1]);
    let pairs = all.iter().flat_map(|&n| all.iter().map(move |&m| (n, m)));
    all.iter().all(|&n| outside(n) == outside(all[0]))
        && pairs.filter(|(n, m)| n != m).all(|(n, m)| between(n, m) == inside)
}
