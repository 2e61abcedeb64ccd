//! Makes every scan yield its states as each step finds them, and what of a chunk is worth keeping.
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

use super::keep::{Keeping, worth_keeping};
use crate::build::every_step;
use nestor_ir::tensor::{Axis, Graph, Op, Scan, Stride, Value, Yield};

/// The graph with boundaries yielded by all its scans, nested ones included.
pub fn keep_boundaries(graph: &Graph, keeping: Keeping) -> Graph {
    graph.rebuilt(|r, _, node| {
        let Op::Scan { scan } = &node.op else { return None };
        let op = Op::Scan { scan: Box::new(with_boundaries(scan, keeping)) };
        let operands = r.operands(node);
        Some(r.graph.add_many(op, &operands))
    })
}

fn with_boundaries(scan: &Scan, keeping: Keeping) -> Scan {
    let mut out = scan.clone();
    out.body = keep_boundaries(&scan.body, keeping);
    for (k, input) in state_inputs(&out).into_iter().enumerate() {
        if boundary(&out, k).is_some() {
            continue;
        }
        let rank = out.body.ty(input).rank();
        out.yields.push((Yield::Step, every_step(&out, rank)));
        let name = unused(&out.body, format!("boundary.{k}"));
        out.body.output(name, input);
    }
    let kept = match out.stride {
        Stride::Chunk(_) => worth_keeping(&out.body, keeping),
        // A step of one token is computed again in registers.
        Stride::Token => vec![],
    };
    for (k, value) in kept.into_iter().enumerate() {
        let rank = out.body.ty(value).rank();
        out.yields.push((Yield::Step, every_step(&out, rank)));
        let name = unused(&out.body, format!("kept.{k}"));
        out.body.output(name, value);
    }
    out
}

fn unused(body: &Graph, mut name: String) -> String {
    while body.find_output(&name).is_some() {
        name.push('_');
    }
    name
}

/// Yields that hold what the body computed at each step: the way back takes it from there.
pub(super) fn kept(scan: &Scan) -> Vec<usize> {
    let states = scan.states().count();
    let inputs = body_inputs(scan);
    let whole = |y: &usize| {
        let (kind, layout) = &scan.yields[*y];
        let value = scan.body.outputs[states + y].value;
        *kind == Yield::Step
            && !inputs.contains(&Some(value))
            && *layout == every_step(scan, scan.body.ty(value).rank())
    };
    (0..scan.yields.len()).filter(whole).collect()
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
    let feeds = scan.feeds.iter().map(|(feed, _)| feed);
    feeds
        .map(|feed| match feed.is_of_steps() {
            true => None,
            false => inputs.next().map(|i| i.value),
        })
        .collect()
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
