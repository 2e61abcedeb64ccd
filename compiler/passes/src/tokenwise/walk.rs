//! A group of nodes as a walk without states: its body is the nodes, of a chunk's tokens.

use super::groups::Group;
use crate::build::{broadcast, dims, every_step, select_or_zero, sum};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axis, Feed, Graph, Layout, NodeData, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// Numbers of a tile: some of them fit the nearest cache, and a block of threads has a few for each.
const TILE: usize = 2048;
/// The walk, by chunks of so many tokens at most, and the values that it is fed.
pub(super) fn walk(graph: &Graph, group: &Group, most: usize) -> (Scan, Vec<Value>) {
    let tokens = 1 << (TILE / group.width.max(1)).clamp(1, most).ilog2();
    let mut made = Body {
        tokens,
        scan: Scan {
            map: smallvec![Dim::Batch],
            time: group.time,
            stride: Stride::Chunk(tokens),
            reverse: false,
            feeds: vec![],
            yields: vec![],
            body: Graph::new(),
        },
        fed: vec![],
        map: vec![None; graph.values.len()],
    };
    // Inputs come first.
    for id in &group.nodes {
        for &v in &graph.nodes[*id].operands {
            let own = group.nodes.binary_search(&graph.values[v].node).is_ok();
            if !own && made.map[v.index()].is_none() {
                made.feed(graph, v);
            }
        }
    }
    let rows = Dim::Fixed(tokens);
    let valid = made.scan.body.input("valid", Type::bool([rows]));
    made.scan.body.input("position", Type::real([rows]));
    for id in &group.nodes {
        made.add(graph, &graph.nodes[*id]);
    }
    for (n, v) in group.yields.iter().enumerate() {
        let value = made.map[v.index()].expect("a member");
        made.scan.body.output(format!("y{n}"), value);
        made.scan.yields.push((Yield::Stream, layout(&graph.ty(*v).dims)));
    }
    for id in &group.totals {
        made.total(&graph.nodes[*id], valid);
    }
    (made.scan, made.fed)
}

/// The body as it is built.
struct Body {
    tokens: usize,
    scan: Scan,
    fed: Vec<Value>,
    map: Vec<Option<Value>>,
}

/// Sequences are mapped, ticks walked.
fn layout(dims: &Dims) -> Layout {
    let axis = |d: &Dim| match d {
        Dim::Batch => Axis::Map(0),
        d if d.ticks_of().is_some() => Axis::Time,
        _ => Axis::Body,
    };
    dims.iter().map(axis).collect()
}

impl Body {
    fn feed(&mut self, graph: &Graph, v: Value) {
        let ty = graph.ty(v);
        let layout = layout(&ty.dims);
        let feed = if layout.contains(&Axis::Time) { Feed::Stream } else { Feed::Shared };
        let seen = seen_by_body(&self.scan, feed, &layout, ty);
        let name = graph.values[v].name.clone().unwrap_or_default();
        self.map[v.index()] = Some(self.scan.body.input(name, seen));
        self.scan.feeds.push((feed, layout));
        self.fed.push(v);
    }

    /// Adds a sum over all tokens: of those of a chunk, an entry for each.
    fn total(&mut self, node: &NodeData, valid: Value) {
        let Op::Reduce { axes, .. } = &node.op else { return };
        let body = &mut self.scan.body;
        let x = self.map[node.operands[0].index()].expect("operands first");
        let rows = broadcast(body, valid, &dims(body, x), &[0]);
        let x = select_or_zero(body, rows, x);
        let axes: Vec<usize> = axes.iter().map(|a| a - 1).collect();
        let share = sum(body, x, &axes);
        body.output(format!("sum{}", self.scan.yields.len()), share);
        let layout = every_step(&self.scan, self.scan.body.ty(share).rank());
        self.scan.yields.push((Yield::Step, layout));
    }

    /// The shape of a value of the graph in a chunk.
    fn seen(&self, dims: &Dims) -> Dims {
        let walked = dims.iter().any(|d| d.ticks_of().is_some());
        let rows = walked.then_some(Dim::Fixed(self.tokens));
        let own = dims.iter().filter(|d| **d != Dim::Batch && d.ticks_of().is_none());
        rows.into_iter().chain(own.copied()).collect()
    }

    /// Adds a node whose operands are there.
    fn add(&mut self, graph: &Graph, node: &NodeData) {
        let one_less = |axes: &[usize]| axes.iter().skip(1).map(|a| a - 1).collect();
        let op = match &node.op {
            Op::Constant { value, ty } => Op::Constant {
                value: *value,
                ty: Type { elem: ty.elem, dims: self.seen(&ty.dims) },
            },
            Op::Iota { axis, dims } => {
                let before = dims[..*axis].iter().filter(|d| **d == Dim::Batch).count();
                Op::Iota { axis: axis - before, dims: self.seen(dims) }
            }
            Op::Reduce { fold, axes } => {
                Op::Reduce { fold: *fold, axes: axes.iter().map(|a| a - 1).collect() }
            }
            Op::Broadcast { dims, axes } => {
                // Sequences are the first axis of the result, where the operand has them.
                let axes = axes.iter().filter(|a| **a > 0).map(|a| a - 1).collect();
                Op::Broadcast { dims: self.seen(dims), axes }
            }
            Op::Reshape { dims } => Op::Reshape { dims: self.seen(dims) },
            Op::Transpose { order } => Op::Transpose { order: one_less(order) },
            Op::Slice { axis, start, size } => {
                Op::Slice { axis: axis - 1, start: *start, size: *size }
            }
            Op::Pad { axis, before, after } => {
                Op::Pad { axis: axis - 1, before: *before, after: *after }
            }
            Op::Concat { axis } => Op::Concat { axis: axis - 1 },
            op => op.clone(),
        };
        let at = |v: &Value| self.map[v.index()].expect("operands first");
        let operands: Vec<Value> = node.operands.iter().map(at).collect();
        let made = self.scan.body.add(op, &operands);
        let v = node.results[0];
        self.scan.body.values[made].name.clone_from(&graph.values[v].name);
        self.map[v.index()] = Some(made);
    }
}
