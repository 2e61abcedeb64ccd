//! What is left to do once gradients are taken.
//!
//! ```text
//! before   stop(a)                           after   a
//! before   scan(l) { S' = e^l S + .. }       after   scan(e^l) { S' = a S + .. }     l is used for nothing else
//! ```
//!
//! Marks say how gradients flow, and there are none to come; factors that stood there for their slopes alone then
//! cancel. An exponential of what is fed is taken once outside, not by every walk over it.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "marks and scans are looked for; every other op is copied"
)]

use crate::autodiff::body_inputs;
use crate::build::{replace, unary, users};
use crate::simplify::{prune, simplify};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Op, Scan, Value};

/// The graph as it is run: no more gradients are taken of it.
pub fn settled(graph: &Graph) -> Graph {
    if !is_marked(graph) {
        return graph.clone();
    }
    prune(&exponentials_outside(&simplify(&unmarked(graph))))
}

/// Whether something in the graph says how gradients flow.
fn is_marked(graph: &Graph) -> bool {
    graph.nodes.values().any(|node| match &node.op {
        Op::Stop => true,
        Op::Scan { scan } => is_marked(&scan.body),
        _ => false,
    })
}

fn unmarked(graph: &Graph) -> Graph {
    graph.rebuilt(|r, _, node| match &node.op {
        Op::Stop => Some(r.operands(node).into_vec().into()),
        Op::Scan { scan } => {
            let scan = Scan { body: unmarked(&scan.body), ..scan.as_ref().clone() };
            let operands = r.operands(node);
            Some(r.graph.add_many(Op::Scan { scan: Box::new(scan) }, &operands))
        }
        _ => None,
    })
}

/// The graph with exponentials of what walks are fed taken before they are fed.
fn exponentials_outside(graph: &Graph) -> Graph {
    graph.rebuilt(|r, _, node| {
        let Op::Scan { scan } = &node.op else { return None };
        let mut operands = r.operands(node);
        let mut out = scan.as_ref().clone();
        for (k, input) in body_inputs(scan).into_iter().enumerate() {
            let fed = matches!(scan.feeds[k].0, Feed::Stream | Feed::Step | Feed::Shared);
            let Some(input) = input.filter(|_| fed) else { continue };
            if let Some(exponential) = exponential(&out.body, input) {
                replace(&mut out.body, exponential, input);
                operands[k] = unary(&mut r.graph, Op::Exp, operands[k]);
            }
        }
        Some(r.graph.add_many(Op::Scan { scan: Box::new(out) }, &operands))
    })
}

/// The one value that a body makes of an input, where that is its exponential.
fn exponential(body: &Graph, input: Value) -> Option<Value> {
    let given = body.outputs.iter().any(|o| o.value == input);
    let users = &users(body)[input.index()];
    match users[..] {
        [user] if !given && body.nodes[user].op == Op::Exp => {
            Some(body.nodes[user].results[0])
        }
        _ => None,
    }
}
