//! A graph with some of its nodes as one: each behind what it takes, otherwise as they stood.

use crate::simplify::prune;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Node, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The graph that is being made.
pub(crate) struct Remade<'g> {
    graph: &'g Graph,
    pub(crate) out: Graph,
    map: Vec<Option<Value>>,
}

/// The graph with each unit as what `make` adds for it; `of` tells a node's unit, if it is of one, and `takes` what each unit takes of others.
/// No unit may wait for itself.
pub(crate) fn remade(
    graph: &Graph,
    of: &[Option<usize>],
    takes: &[Vec<Value>],
    make: &mut dyn FnMut(&mut Remade<'_>, usize),
) -> Graph {
    let mut made =
        Remade { graph, out: Graph::new(), map: vec![None; graph.values.len()] };
    for unit in in_order(graph, of, takes) {
        match unit {
            Unit::Node(node) => made.node(node),
            Unit::Group(n) => make(&mut made, n),
        }
    }
    let named = |made: &mut Remade<'_>, list: &[Named]| -> Vec<Named> {
        let one = |n: &Named| Named { name: n.name.clone(), value: made.at(n.value) };
        list.iter().map(one).collect()
    };
    let inputs = named(&mut made, &graph.inputs);
    let outputs = named(&mut made, &graph.outputs);
    prune(&Graph { inputs, outputs, ..made.out })
}

impl Remade<'_> {
    /// What stands for a value; one of a unit that does not give it is computed here again.
    pub(crate) fn at(&mut self, v: Value) -> Value {
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

    /// Says what stands for some values.
    pub(crate) fn named(&mut self, from: &[Value], to: &[Value]) {
        for (&from, &to) in from.iter().zip(to) {
            self.map[from.index()] = Some(to);
            self.out.values[to].name.clone_from(&self.graph.values[from].name);
        }
    }
}

/// What is added to the new graph at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Node(Node),
    Group(usize),
}

fn in_order(graph: &Graph, of: &[Option<usize>], takes: &[Vec<Value>]) -> Vec<Unit> {
    let unit = |node: Node| of[node.index()].map_or(Unit::Node(node), Unit::Group);
    let mut first = vec![None; takes.len()];
    for id in graph.nodes.keys() {
        if let Some(n) = of[id.index()] {
            first[n] = first[n].or(Some(id.index()));
        }
    }
    let place = |unit: Unit| match unit {
        Unit::Node(node) => Some(node.index()),
        Unit::Group(n) => first[n],
    };
    let place = |unit: Unit| place(unit).expect("a unit has members");
    let mut users: Vec<Vec<Unit>> = vec![vec![]; graph.nodes.len()];
    let mut waits = vec![0_usize; graph.nodes.len()];
    let mut wait = |to: Unit, operands: &[Value]| {
        for operand in operands {
            users[place(unit(graph.values[*operand].node))].push(to);
            waits[place(to)] += 1;
        }
    };
    for (id, node) in graph.nodes.iter() {
        if let Unit::Node(_) = unit(id) {
            wait(unit(id), &node.operands);
        }
    }
    takes.iter().enumerate().for_each(|(n, taken)| wait(Unit::Group(n), taken));
    let heads = graph.nodes.keys().map(unit).filter(|u| waits[place(*u)] == 0);
    let mut ready: BinaryHeap<_> = heads.map(|u| Reverse((place(u), u))).collect();
    let mut out = Vec::new();
    while let Some(Reverse((at, unit))) = ready.pop() {
        // A unit stands in the list of heads once for every member.
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
