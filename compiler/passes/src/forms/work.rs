//! What a walk costs a token: operations, and numbers that come from and go to memory.
//!
//! Products count two operations a multiplication, everything else one an element; moves count
//! nothing. States stay on chip, so bytes are those of streams and yields, in single precision.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops of a kind cost alike; those that do not are named"
)]

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axis, Feed, Graph, Group, NodeData, Op, Scan, Stride};
use nestor_ir::ty::Type;

/// Per token of one sequence, all instances together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Operations.
    pub flops: u64,
    /// Bytes.
    pub bytes: u64,
    /// Operations in a row, within one step of the walk, that the next step waits for.
    pub depth: u64,
}

/// The work of a walk whose operands have these types.
pub(super) fn work(scan: &Scan, operands: &[Type]) -> Work {
    let instances = sizes(&scan.map);
    let tokens = match scan.stride {
        Stride::Token => 1.0,
        Stride::Chunk(n) => n as f64,
    };
    let mut numbers = 0.0;
    for ((feed, layout), ty) in scan.feeds.iter().zip(operands) {
        if matches!(feed, Feed::Stream | Feed::Step) {
            let moved = layout.iter().zip(&ty.dims).filter(|(a, _)| **a != Axis::Time);
            numbers += moved.map(|(_, d)| size(*d)).product::<f64>();
        }
    }
    let yields = &scan.body.outputs[scan.states().count()..];
    for output in yields {
        numbers += sizes(&scan.body.ty(output.value).dims) / tokens * instances;
    }
    Work {
        flops: (flops(&scan.body) / tokens * instances).round() as u64,
        bytes: (4.0 * numbers).round() as u64,
        depth: depth(scan),
    }
}

/// The longest chain of operations from a state to what the states are next. What no state is
/// needed for is done for all steps at once; a product counts one, a solve or a walk in the body
/// as many as it has rows or steps.
fn depth(scan: &Scan) -> u64 {
    let body = &scan.body;
    let states = scan.states().count();
    // Nothing: no state is needed.
    let mut chain: Vec<Option<u64>> = vec![None; body.values.len()];
    let mut feeds = scan.feeds.iter().zip(&body.inputs);
    for (_, input) in feeds.by_ref().filter(|((feed, _), _)| *feed == Feed::Initial) {
        chain[input.value.index()] = Some(0);
    }
    for node in body.nodes.values() {
        let from = node.operands.iter().filter_map(|v| chain[v.index()]).max();
        let Some(from) = from else { continue };
        let to = from + waits(body, node);
        node.results.iter().for_each(|v| chain[v.index()] = Some(to));
    }
    let ends = body.outputs[..states].iter();
    ends.filter_map(|o| chain[o.value.index()]).max().unwrap_or(0)
}

/// Operations in a row of a node.
fn waits(graph: &Graph, node: &NodeData) -> u64 {
    let rows =
        |n: usize| graph.ty(node.operands[n]).dims.last().map_or(1, |d| size(*d) as u64);
    match &node.op {
        Op::Scan { scan } => depth(scan).max(1) * scan.time.fixed().unwrap_or(1) as u64,
        Op::SolveUnitLower { .. } | Op::Solve => rows(0),
        Op::InverseRoot { .. } | Op::Eigenvectors => 10 * rows(0),
        Op::LinearScan { .. } => {
            graph.ty(node.operands[0]).dims.first().map_or(1, |d| size(*d) as u64)
        }
        op => match op.info().group {
            Group::Leaf | Group::Move | Group::Mark => 0,
            _ => 1,
        },
    }
}

fn size(dim: Dim) -> f64 {
    dim.fixed().unwrap_or(1) as f64
}

fn sizes(dims: &[Dim]) -> f64 {
    dims.iter().map(|d| size(*d)).product()
}

/// Operations of one evaluation of a graph.
fn flops(graph: &Graph) -> f64 {
    graph.nodes.values().map(|node| of_node(graph, node)).sum()
}

fn of_node(graph: &Graph, node: &NodeData) -> f64 {
    let dims = |n: usize| &graph.ty(node.operands[n]).dims;
    let result = node.results.first().map_or(0.0, |&v| sizes(&graph.ty(v).dims));
    match &node.op {
        Op::Contract { sum, .. } => {
            let depth: f64 = sum.iter().map(|(l, _)| size(dims(0)[*l])).product();
            if sum.is_empty() { result } else { 2.0 * result * depth }
        }
        Op::Scan { scan } => {
            flops(&scan.body) * sizes(&scan.map) * scan.time.fixed().unwrap_or(1) as f64
        }
        Op::SolveUnitLower { .. } => result * dims(0).last().map_or(1.0, |d| size(*d)),
        Op::Solve => {
            let n = dims(0).last().map_or(1.0, |d| size(*d));
            2.0 * result * n + 2.0 / 3.0 * sizes(dims(0)) * n
        }
        Op::InverseRoot { .. } | Op::Eigenvectors => {
            60.0 * result * dims(0).last().map_or(1.0, |d| size(*d))
        }
        Op::LinearScan { .. } => 2.0 * result * dims(0).last().map_or(1.0, |d| size(*d)),
        op => match op.info().group {
            Group::Unary | Group::Binary | Group::Select => result,
            Group::Reduce => sizes(dims(0)),
            _ => 0.0,
        },
    }
}
