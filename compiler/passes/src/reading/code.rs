//! What depends on the weights that are learned while reading, as a graph over one window of one sequence.
//!
//! ```text
//! before   y [B, T, d] = x [B, T, k] @ W        x depends on no such weight
//! after    inputs W, x [C, k];                  y [1, C, d] = x @ W
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that name a size are listed; all others have it from their operands"
)]

use super::{Inner, Reader};
use crate::build::transpose;
use crate::error::PassError;
use crate::forms::within;
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::Program;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, NodeData, Op, Scan, Stride, Value,
};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// The code of a window. Its inputs are weights, states, streams `[C, ..]`, shared values, positions `[C]`;
/// its outputs the model's outputs `[C, ..]`, then the next states.
pub(super) struct Code {
    pub(super) graph: Graph,
    /// Paths of the weights.
    pub(super) weights: Vec<String>,
    /// Names of the states.
    pub(super) states: Vec<String>,
    /// Values of the whole graph that are fed row by row.
    pub(super) streams: Vec<Value>,
    /// Values of the whole graph that every row sees.
    pub(super) shared: Vec<Value>,
    /// Outputs that are streams, by name.
    pub(super) outputs: Vec<String>,
    /// For every value of the whole graph, whether it is made here.
    pub(super) inside: Vec<bool>,
}

impl Code {
    /// Takes what depends on the weights of `readers` out of the whole graph.
    pub(super) fn new(
        program: &Program,
        open: &Graph,
        readers: &[Reader<'_>],
        inner: Inner,
    ) -> Result<Self, PassError> {
        let rows = readers.last().map_or(1, |r| r.period);
        let targets = readers.iter().flat_map(|r| &r.level.objectives);
        let ids = targets.flat_map(|o| o.targets.iter().map(|t| t.0));
        let weights: Vec<String> =
            ids.map(|id| program.weights[id].path.clone()).collect();
        let inside = inside(open, &weights);
        for node in open.nodes.values() {
            if node.results.iter().any(|v| inside[v.index()]) {
                possible(open, node)?;
            }
        }
        let is_inside = |v: Value| inside[v.index()];
        let mut states = Vec::new();
        let mut outputs = Vec::new();
        // Which tokens an objective exists for is asked inside, whatever it depends on.
        let counts = |name: &str| {
            let of = name.strip_suffix(".counts").and_then(|of| open.find_output(of));
            of.is_some_and(is_inside)
        };
        let asked = |o: &&Named| is_inside(o.value) || counts(&o.name);
        for output in open.outputs.iter().filter(asked) {
            let dims = &open.ty(output.value).dims;
            if output.name.starts_with("state.") {
                // What is only read from a state has no place among states.
                states.extend(open.find_input(&output.name).map(|_| output.name.clone()));
            } else if dims.get(..2) == Some(&[Dim::Batch, Dim::Time][..]) {
                outputs.push(output.name.clone());
            } else {
                return Err(not(format!("`{}` is no stream", output.name)));
            }
        }
        let mut crossing: Vec<Value> = Vec::new();
        for node in open.nodes.values() {
            if node.results.iter().any(|v| is_inside(*v)) && !is_input(node) {
                node.operands
                    .iter()
                    .for_each(|&v| cross(open, v, &inside, &mut crossing));
            }
        }
        for output in open.outputs.iter().filter(|o| counts(&o.name)) {
            cross(open, output.value, &inside, &mut crossing);
        }
        let timed = |v: &Value| open.ty(*v).dims.contains(&Dim::Time);
        let (streams, shared): (Vec<Value>, Vec<Value>) =
            crossing.into_iter().partition(timed);
        let map = vec![None; open.values.len()];
        let mut made = Made { g: Graph::new(), map, rows, inner };
        for path in &weights {
            let value = open.find_input(path).ok_or_else(|| missing(path))?;
            let ty = open.ty(value).clone();
            made.map[value.index()] = Some(made.g.input(path.clone(), ty));
        }
        for name in &states {
            let value = open.find_input(name).ok_or_else(|| missing(name))?;
            let ty = open.ty(value).clone();
            let seen: Dims = ty.dims[1..].iter().copied().collect();
            let input = made.g.input(name.clone(), Type { elem: ty.elem, dims: seen });
            made.arrive(open, value, input);
        }
        for (n, &value) in streams.iter().chain(&shared).enumerate() {
            let ty = open.ty(value);
            let lead = ty.dims.contains(&Dim::Time).then_some(Dim::Fixed(rows));
            let own = ty.dims.iter().copied().filter(|d| d.fixed().is_some());
            let ty = Type { elem: ty.elem, dims: lead.into_iter().chain(own).collect() };
            let input = made.g.input(format!("fed{n}"), ty);
            made.arrive(open, value, input);
        }
        let position = made.g.input("position", Type::real([Dim::Fixed(rows)]));
        for node in open.nodes.values() {
            if node.results.iter().any(|v| is_inside(*v)) && !is_input(node) {
                made.node(open, node, position)?;
            }
        }
        for name in &outputs {
            let value = open.find_output(name).ok_or_else(|| missing(name))?;
            let found = made.of(open, value, position)?;
            let dims: Dims = made.g.ty(found).dims[1..].iter().copied().collect();
            let found = made.g.add(Op::Reshape { dims }, &[found]);
            made.g.output(name.clone(), found);
        }
        for name in &states {
            let value = open.find_output(name).ok_or_else(|| missing(name))?;
            let found = made.of(open, value, position)?;
            let dims: Dims = made.g.ty(found).dims[1..].iter().copied().collect();
            let found = made.g.add(Op::Reshape { dims }, &[found]);
            made.g.output(name.clone(), found);
        }
        let graph = prune(&made.g);
        Ok(Self { graph, weights, states, streams, shared, outputs, inside })
    }
}

fn missing(name: &str) -> PassError {
    PassError::bug("reading", format!("no value `{name}`"))
}

/// What such a level cannot do.
pub(super) fn not(why: impl std::fmt::Display) -> PassError {
    PassError::limitation(
        "L-reading",
        format!("a level that learns weights while reading: {why}"),
        "let the level act at a clock of steps",
    )
}

fn is_input(node: &NodeData) -> bool {
    matches!(node.op, Op::Input { .. })
}

/// Which values depend on the weights, the states of walks among them: these are inputs, and become the
/// walks' own.
fn inside(open: &Graph, weights: &[String]) -> Vec<bool> {
    let mut out = vec![false; open.values.len()];
    for path in weights {
        if let Some(v) = open.find_input(path) {
            out[v.index()] = true;
        }
    }
    loop {
        let mut grew = false;
        for node in open.nodes.values() {
            if node.operands.iter().any(|v| out[v.index()]) {
                for v in &node.results {
                    grew |= !std::mem::replace(&mut out[v.index()], true);
                }
            }
        }
        for output in &open.outputs {
            if output.name.starts_with("state.")
                && out[output.value.index()]
                && let Some(input) = open.find_input(&output.name)
            {
                grew |= !std::mem::replace(&mut out[input.index()], true);
            }
        }
        if !grew {
            return out;
        }
    }
}

/// Whether a value from outside is made again inside, being no more than a constant or a move.
fn light(open: &Graph, v: Value) -> bool {
    let node = open.def(v);
    match &node.op {
        Op::Constant { .. } | Op::Position { .. } => true,
        Op::Iota { axis, dims } => dims[*axis].fixed().is_some(),
        Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } => true,
        _ => false,
    }
}

/// What has to cross for a value from outside to be known inside.
fn cross(open: &Graph, v: Value, inside: &[bool], out: &mut Vec<Value>) {
    if inside[v.index()] || out.contains(&v) {
        return;
    }
    if light(open, v) {
        open.def(v).operands.iter().for_each(|&o| cross(open, o, inside, out));
    } else {
        out.push(v);
    }
}

/// Whether a node means the same over a window as over the whole sequence.
fn possible(open: &Graph, node: &NodeData) -> Result<(), PassError> {
    let fixed = |v: Value, axis: usize| open.ty(v).dims[axis].fixed().is_some();
    let whole = match &node.op {
        Op::Reduce { axes, .. } => axes.iter().all(|&a| fixed(node.operands[0], a)),
        Op::Contract { sum, .. } => sum.iter().all(|&(a, _)| fixed(node.operands[0], a)),
        Op::Slice { axis, .. }
        | Op::Pad { axis, .. }
        | Op::Concat { axis }
        | Op::Shift { axis, .. }
        | Op::Window { axis, .. } => fixed(node.operands[0], *axis),
        Op::LinearScan { .. } => false,
        Op::Scan { scan } => scan.stride == Stride::Token && scan.time == Dim::Time,
        _ => true,
    };
    if !whole {
        return Err(not(format!(
            "`{}` over all of the sequence depends on its weights",
            node.op.info().name
        )));
    }
    for v in &node.results {
        let dims = &open.ty(*v).dims;
        let count = |dim: Dim| dims.iter().filter(|d| **d == dim).count();
        let known =
            dims.iter().all(|d| matches!(d, Dim::Fixed(_) | Dim::Batch | Dim::Time));
        if !known || count(Dim::Time) > 1 || count(Dim::Batch) > 1 {
            return Err(not(
                "what looks back at all of the past depends on its weights; give it a window of so many tokens",
            ));
        }
    }
    Ok(())
}

/// The code being made.
struct Made {
    g: Graph,
    map: Vec<Option<Value>>,
    rows: usize,
    inner: Inner,
}

impl Made {
    fn dim(&self, dim: Dim) -> Dim {
        match dim {
            Dim::Batch => Dim::Fixed(1),
            Dim::Time => Dim::Fixed(self.rows),
            other => other,
        }
    }

    fn dims(&self, dims: &Dims) -> Dims {
        dims.iter().map(|d| self.dim(*d)).collect()
    }

    /// A value that was fed, rows first and without the batch, in the shape that the code knows.
    fn arrive(&mut self, open: &Graph, value: Value, input: Value) {
        let dims = open.ty(value).dims.clone();
        let order: Axes = match dims.iter().position(|d| *d == Dim::Time) {
            None => (0..self.g.ty(input).rank()).collect(),
            Some(at) => {
                let before = dims[..at].iter().filter(|d| d.fixed().is_some()).count();
                let rank = self.g.ty(input).rank();
                (1..=before).chain([0]).chain(before + 1..rank).collect()
            }
        };
        let moved = transpose(&mut self.g, input, &order);
        let dims = self.dims(&dims);
        let shaped = match self.g.ty(moved).dims == dims {
            true => moved,
            false => self.g.add(Op::Reshape { dims }, &[moved]),
        };
        self.map[value.index()] = Some(shaped);
    }

    /// A value inside; what is light is made again.
    fn of(
        &mut self,
        open: &Graph,
        v: Value,
        position: Value,
    ) -> Result<Value, PassError> {
        if let Some(found) = self.map[v.index()] {
            return Ok(found);
        }
        self.node(open, open.def(v), position)?;
        self.map[v.index()].ok_or_else(|| PassError::bug("reading", "a value not known"))
    }

    fn node(
        &mut self,
        open: &Graph,
        node: &NodeData,
        position: Value,
    ) -> Result<(), PassError> {
        let mut operands = Vec::new();
        for &v in &node.operands {
            operands.push(self.of(open, v, position)?);
        }
        let op = match &node.op {
            Op::Position { .. } => {
                self.map[node.results[0].index()] = Some(position);
                return Ok(());
            }
            Op::Constant { value, ty } => {
                let ty = Type { elem: ty.elem, dims: self.dims(&ty.dims) };
                Op::Constant { value: *value, ty }
            }
            Op::Iota { axis, dims } => Op::Iota { axis: *axis, dims: self.dims(dims) },
            Op::Reshape { dims } => Op::Reshape { dims: self.dims(dims) },
            Op::Broadcast { dims, axes } => {
                Op::Broadcast { dims: self.dims(dims), axes: axes.clone() }
            }
            Op::Scan { scan } => {
                let mut scan = (**scan).clone();
                scan.map.iter_mut().for_each(|d| *d = self.dim(*d));
                scan.time = self.dim(scan.time);
                if self.inner == Inner::ByChunks {
                    let types: Vec<Type> =
                        operands.iter().map(|&v| self.g.ty(v).clone()).collect();
                    scan = within(&scan, &types).unwrap_or(scan);
                }
                if positioned(&mut scan) {
                    operands.push(position);
                }
                Op::Scan { scan: Box::new(scan) }
            }
            op => op.clone(),
        };
        let results = self.g.add_many(op, &operands);
        for (&from, &to) in node.results.iter().zip(&results) {
            self.map[from.index()] = Some(to);
            self.g.values[to].name.clone_from(&open.values[from].name);
        }
        Ok(())
    }
}

/// A walk within a window counts from the window's start: where its body asks for the position, it is fed
/// the positions instead.
fn positioned(scan: &mut Scan) -> bool {
    let inputs = scan.body.inputs.len();
    let asked = scan.body.inputs[inputs - 1].value;
    if !scan.body.nodes.values().any(|n| n.operands.contains(&asked)) {
        return false;
    }
    let mut body = Graph::new();
    let mut arguments = Vec::new();
    for input in &scan.body.inputs[..inputs - 2] {
        arguments.push(body.input(input.name.clone(), scan.body.ty(input.value).clone()));
    }
    let ty = scan.body.ty(asked).clone();
    let position = body.input("at", ty.clone());
    arguments.push(body.input("valid", Type::bool(ty.dims.iter().copied())));
    body.input("position", ty);
    arguments.push(position);
    let outputs = body.inline(&scan.body, &arguments);
    for (named, value) in scan.body.outputs.iter().zip(outputs) {
        body.output(named.name.clone(), value);
    }
    scan.body = body;
    let layout: Layout = smallvec![Axis::Time];
    scan.feeds.push((Feed::Stream, layout));
    true
}
