//! What is done to every token alone, in one pass over memory.
//!
//! ```text
//! before   r = reduce{sum (2)} mul x, x;  y = mul (div x, broadcast sqrt r), broadcast gain     x [B, T, D]
//! after    y = scan{map B, chunks of 16 tokens} x, gain { the same of x [16, D] }
//! ```
//!
//! A norm, or a softmax, folds a token's numbers and then takes them again, so that it would go over all tokens once for
//! every fold and once for what follows. Ops that let each token be, and hang together or take the same numbers without another op
//! between them, are the body of a walk without states instead: its chunks are points of a kernel's grid, and what it computes on
//! its way stays in tiles. What of it others need is yielded, or computed there again where that reads no more (`Groups`); of what
//! is summed over all tokens, as for the gradient of a gain, each chunk yields its share. Neighbours are fed as what lies so many
//! tokens away (`schedule::neighbours`), so that a short convolution goes with the norm or the gate behind it.

mod cheap;
mod connected;
mod groups;
mod users;
mod walk;

use crate::build::sum;
use crate::schedule::Calls;
use crate::simplify::prune;
use groups::Groups;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Node, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use walk::walk;

/// Tokens of a chunk at most, where calls have many.
const CHUNK: usize = 64;

/// The graph with ops that fold tokens one by one, and what belongs to them, as walks without states.
#[must_use]
pub(crate) fn tokenwise(graph: &Graph, calls: Calls) -> Graph {
    let groups = Groups::of(graph);
    if groups.all.is_empty() {
        return graph.clone();
    }
    let mut made = Made {
        graph,
        groups: &groups,
        most: if calls == Calls::OfOneToken { 1 } else { CHUNK },
        out: Graph::new(),
        map: vec![None; graph.values.len()],
    };
    for unit in in_order(graph, &groups) {
        match unit {
            Unit::Node(node) => made.node(node),
            Unit::Group(n) => made.group(n),
        }
    }
    let named = |made: &mut Made<'_>, list: &[Named]| -> Vec<Named> {
        let one = |n: &Named| Named { name: n.name.clone(), value: made.at(n.value) };
        list.iter().map(one).collect()
    };
    let inputs = named(&mut made, &graph.inputs);
    let outputs = named(&mut made, &graph.outputs);
    prune(&Graph { inputs, outputs, ..made.out })
}

/// What is added to the new graph at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Node(Node),
    Group(usize),
}

/// Nodes and groups, each behind what it takes, otherwise as they stood.
fn in_order(graph: &Graph, groups: &Groups) -> Vec<Unit> {
    let unit = |node: Node| match groups.of[node.index()] {
        Some(n) => Unit::Group(n),
        None => Unit::Node(node),
    };
    let mut first = vec![None; groups.all.len()];
    for id in graph.nodes.keys() {
        if let Some(n) = groups.of[id.index()] {
            first[n] = first[n].or(Some(id.index()));
        }
    }
    let place = |unit: Unit| match unit {
        Unit::Node(node) => Some(node.index()),
        Unit::Group(n) => first[n],
    };
    let place = |unit: Unit| place(unit).expect("a group has members");
    let mut users: Vec<Vec<Unit>> = vec![vec![]; graph.nodes.len()];
    let mut waits = vec![0_usize; graph.nodes.len()];
    for (id, node) in graph.nodes.iter() {
        let to = unit(id);
        for operand in &node.operands {
            let from = unit(graph.values[*operand].node);
            if from != to {
                users[place(from)].push(to);
                waits[place(to)] += 1;
            }
        }
    }
    let heads = graph.nodes.keys().map(unit).filter(|u| waits[place(*u)] == 0);
    let mut ready: BinaryHeap<_> = heads.map(|u| Reverse((place(u), u))).collect();
    let mut out = Vec::new();
    while let Some(Reverse((at, unit))) = ready.pop() {
        // A group stands in the list of heads once for every member.
        if out.last() == Some(&unit) {
            continue;
        }
        out.push(unit);
        for &user in &users[at] {
            waits[place(user)] -= 1;
            if waits[place(user)] == 0 {
                ready.push(Reverse((place(user), user)));
            }
        }
    }
    out
}

/// The graph being made.
struct Made<'g> {
    graph: &'g Graph,
    groups: &'g Groups,
    /// Tokens of a chunk at most.
    most: usize,
    out: Graph,
    map: Vec<Option<Value>>,
}

impl Made<'_> {
    /// What stands for a value; one of a group that is not yielded is computed here again.
    fn at(&mut self, v: Value) -> Value {
        if self.map[v.index()].is_none() {
            self.node(self.graph.values[v].node);
        }
        self.map[v.index()].expect("operands first")
    }

    fn node(&mut self, id: Node) {
        let node = &self.graph.nodes[id];
        let operands: Vec<Value> = node.operands.iter().map(|&v| self.at(v)).collect();
        let results = self.out.add_many(node.op.clone(), &operands);
        self.named(&node.results, &results);
    }

    fn group(&mut self, n: usize) {
        let group = &self.groups.all[n];
        let (scan, fed) = walk(self.graph, group, self.most);
        let operands: Vec<Value> = fed.into_iter().map(|v| self.at(v)).collect();
        let op = nestor_ir::tensor::Op::Scan { scan: Box::new(scan) };
        let results = self.out.add_many(op, &operands);
        self.named(&group.yields, &results);
        let totals = group.totals.iter().map(|id| self.graph.nodes[*id].results[0]);
        for (total, shares) in totals.zip(&results[group.yields.len()..]) {
            let value = sum(&mut self.out, *shares, &[1]);
            self.named(&[total], &[value]);
        }
    }

    fn named(&mut self, from: &[Value], to: &[Value]) {
        for (&from, &to) in from.iter().zip(to) {
            self.map[from.index()] = Some(to);
            self.out.values[to].name.clone_from(&self.graph.values[from].name);
        }
    }
}
