//! The driver: rebuilds a graph node by node, asking the rules first.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::order::Orders;
use super::steps::Plan;
use super::{algebra, contraction, moves, walks};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Node, Op, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// A graph being rebuilt, with the nodes that exist already.
#[derive(Default)]
pub(super) struct Rewriter<'g> {
    /// What is built so far.
    pub(super) graph: Graph,
    seen: FxHashMap<(&'static str, SmallVec<[Value; 3]>), Vec<Node>>,
    /// Bodies that are plain already.
    pub(super) plain: Vec<&'g Graph>,
    /// In which orders products are taken in the bodies of scans.
    pub(super) orders: Orders,
}

/// One walk over the graph, which was made from what the walk before has given. Nodes with a plan become what it says.
pub(super) fn rewritten(
    graph: &Graph,
    before: Option<&Graph>,
    orders: Orders,
    plans: &FxHashMap<Node, Plan>,
) -> Graph {
    let plain =
        before.iter().flat_map(|g| g.nodes.values()).filter_map(|n| match &n.op {
            Op::Scan { scan } => Some(&scan.body),
            _ => None,
        });
    let mut rw = Rewriter { plain: plain.collect(), orders, ..Rewriter::default() };
    let mut map: Vec<Value> = vec![Value::new(0); graph.values.len()];
    for (id, node) in graph.nodes.iter() {
        let operands: SmallVec<[Value; 3]> =
            node.operands.iter().map(|v| map[v.index()]).collect();
        let results = match &node.op {
            _ if plans.contains_key(&id) => {
                SmallVec::from_elem(plans[&id].emit(&mut rw, &map), 1)
            }
            Op::Scan { scan } => walks::rewritten(&mut rw, scan, &operands),
            op if node.results.len() == 1 => {
                SmallVec::from_elem(rw.emit(op.clone(), &operands), 1)
            }
            op => rw.graph.add_many(op.clone(), &operands),
        };
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = to;
            if rw.graph.values[to].name.is_none() {
                rw.graph.values[to].name.clone_from(&graph.values[from].name);
            }
        }
    }
    let renamed = |list: &[Named]| {
        let one = |n: &Named| Named { name: n.name.clone(), value: map[n.value.index()] };
        list.iter().map(one).collect()
    };
    rw.graph.inputs = renamed(&graph.inputs);
    rw.graph.outputs = renamed(&graph.outputs);
    rw.graph
}

impl Rewriter<'_> {
    /// A node of one result: what a rule makes of it, or one that is there already, or a new one.
    pub(super) fn emit(&mut self, op: Op, operands: &[Value]) -> Value {
        let ruled = algebra::rule(self, &op, operands)
            .or_else(|| moves::rule(self, &op, operands))
            .or_else(|| contraction::rule(self, &op, operands));
        match ruled {
            Some(value) => value,
            None => self.find_or_add(op, operands),
        }
    }

    fn find_or_add(&mut self, op: Op, operands: &[Value]) -> Value {
        // An input is a place in a list, and an anchor a place of its own.
        if matches!(op, Op::Input { .. } | Op::Anchor) {
            return self.graph.add(op, operands);
        }
        let mut sorted: SmallVec<[Value; 3]> = operands.iter().copied().collect();
        if commutes(&op) {
            sorted.sort_unstable();
        }
        let key = (op.info().name, sorted);
        let known = self.seen.entry(key.clone()).or_default();
        let found = known.iter().copied().find(|&n| self.graph.nodes[n].op == op);
        if let Some(node) = found {
            return self.graph.nodes[node].results[0];
        }
        let value = self.graph.add(op, operands);
        let node = self.graph.values[value].node;
        self.seen.entry(key).or_default().push(node);
        value
    }

    /// The op a value comes from.
    pub(super) fn op(&self, value: Value) -> &Op {
        &self.graph.def(value).op
    }

    /// Operand `n` of the node a value comes from.
    pub(super) fn operand(&self, value: Value, n: usize) -> Value {
        self.graph.def(value).operands[n]
    }

    /// The number that every element is, where it is known.
    pub(super) fn constant_of(&self, value: Value) -> Option<f64> {
        match self.op(value) {
            Op::Constant { value, .. } => Some(*value),
            _ => None,
        }
    }

    /// A constant of the type of another value.
    pub(super) fn constant_like(&mut self, like: Value, value: f64) -> Value {
        let ty = self.graph.ty(like).clone();
        self.emit(Op::Constant { value, ty }, &[])
    }
}

fn commutes(op: &Op) -> bool {
    matches!(op, Op::Add | Op::Mul | Op::Equal | Op::And | Op::Or)
}
