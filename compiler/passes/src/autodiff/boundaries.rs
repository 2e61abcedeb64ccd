//! Makes every scan yield its states as each step finds them.
//!
//! ```text
//! before   final = scan(x, init)            body (s, x) -> s'
//! after    final, before = scan(x, init)    body (s, x) -> s', s        yielded once a step
//! ```
//!
//! Reverse mode recomputes a step from there. A state's boundary is known by what it is: a `step`
//! yield whose body value is the state's own body input. Nested scans are rewritten too, so that
//! the recomputed step can itself be walked backwards.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "scans are looked for; every other op is copied"
)]

use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axis, Graph, Layout, Op, Scan, Value, Yield};

/// The graph with boundaries yielded by all its scans, nested ones included.
pub fn keep_boundaries(graph: &Graph) -> Graph {
    let mut out = Graph::new();
    let mut map: Vec<Value> = vec![Value::new(0); graph.values.len()];
    for node in graph.nodes.values() {
        let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
        let op = match &node.op {
            Op::Scan { scan } => Op::Scan { scan: Box::new(with_boundaries(scan)) },
            op => op.clone(),
        };
        let results = out.add_many(op, &operands);
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = to;
            out.values[to].name.clone_from(&graph.values[from].name);
        }
    }
    let renamed = |list: &[nestor_ir::tensor::graph::Named]| {
        let one = |n: &nestor_ir::tensor::graph::Named| nestor_ir::tensor::graph::Named {
            name: n.name.clone(),
            value: map[n.value.index()],
        };
        list.iter().map(one).collect()
    };
    out.inputs = renamed(&graph.inputs);
    out.outputs = renamed(&graph.outputs);
    out
}

fn with_boundaries(scan: &Scan) -> Scan {
    let mut out = scan.clone();
    out.body = keep_boundaries(&scan.body);
    for (k, input) in state_inputs(&out).into_iter().enumerate() {
        if boundary(&out, k).is_some() {
            continue;
        }
        let rank = out.body.ty(input).rank();
        let mut layout: Layout = (0..out.map.len()).map(Axis::Map).collect();
        layout.push(Axis::Time);
        layout.extend((0..rank).map(|_| Axis::Body));
        out.yields.push((Yield::Step, layout));
        let mut name = format!("boundary.{k}");
        while out.body.find_output(&name).is_some() {
            name.push('_');
        }
        out.body.output(name, input);
    }
    out
}

/// The body inputs of the states, in order.
pub(crate) fn state_inputs(scan: &Scan) -> Vec<Value> {
    body_inputs(scan)
        .into_iter()
        .zip(&scan.feeds)
        .filter(|(_, (feed, _))| *feed == nestor_ir::tensor::Feed::Initial)
        .filter_map(|(input, _)| input)
        .collect()
}

/// For every operand its body input; nothing for a mask.
pub(crate) fn body_inputs(scan: &Scan) -> Vec<Option<Value>> {
    let mut inputs = scan.body.inputs.iter();
    let of = |feed: &nestor_ir::tensor::Feed| match feed {
        nestor_ir::tensor::Feed::Mask => None,
        nestor_ir::tensor::Feed::Shared
        | nestor_ir::tensor::Feed::Stream
        | nestor_ir::tensor::Feed::Step
        | nestor_ir::tensor::Feed::Initial => inputs.next().map(|i| i.value),
    };
    scan.feeds.iter().map(|(feed, _)| feed).map(of).collect()
}

/// Which yield gives state `k` as each step finds it.
pub(crate) fn boundary(scan: &Scan, k: usize) -> Option<usize> {
    let inputs = state_inputs(scan);
    let states = inputs.len();
    scan.yields.iter().enumerate().position(|(y, (kind, layout))| {
        *kind == Yield::Step
            && scan.body.outputs[states + y].value == inputs[k]
            && layout[..scan.map.len()]
                .iter()
                .copied()
                .eq((0..scan.map.len()).map(Axis::Map))
            && layout[scan.map.len()] == Axis::Time
    })
}
