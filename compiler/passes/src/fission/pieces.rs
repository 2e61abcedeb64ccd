//! A walk by pieces of its columns: the pieces are a dimension of its map.

use super::columns::Columns;
use super::cost::Rates;
use super::part::Part;
use crate::autodiff::body_inputs;
use crate::simplify::{alone, ordered};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Fold, Graph, Layout, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};

/// Adds the walk of a part, in pieces where that pays; gives its results as those of the whole.
pub(super) fn split(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Value],
    part: &Part,
    rates: &Rates,
) -> Vec<Value> {
    let (walk, operands) = part.scan(g, scan, operands, true);
    let (walk, kept) = alone(&walk);
    let operands: Vec<Value> = kept.iter().map(|&k| operands[k]).collect();
    match Columns::of(&walk, rates) {
        Some(columns) => columns.add(g, &walk, &operands),
        None => g.add_many(Op::Scan { scan: Box::new(walk) }, &operands).to_vec(),
    }
}

impl Columns {
    /// Adds a walk in pieces; gives its results as those of the whole.
    pub(super) fn add(
        &self,
        g: &mut Graph,
        walk: &Scan,
        operands: &[Value],
    ) -> Vec<Value> {
        Pieces { walk, columns: self }.add(g, operands)
    }
}

/// A walk by pieces of its columns.
struct Pieces<'a> {
    walk: &'a Scan,
    columns: &'a Columns,
}

impl Pieces<'_> {
    fn add(&self, g: &mut Graph, operands: &[Value]) -> Vec<Value> {
        let walk = self.walk;
        let piece = walk.map.len();
        let mut out = Scan { feeds: vec![], yields: vec![], ..walk.clone() };
        out.map.push(Dim::Fixed(self.columns.pieces));
        let inputs = body_inputs(walk);
        let mut fed = Vec::new();
        for (((feed, layout), input), operand) in
            walk.feeds.iter().zip(&inputs).zip(operands)
        {
            let cut = input.and_then(|v| self.columns.group[v.index()]);
            let place = cut.map(|axis| self.place(layout, axis, *feed == Feed::Stream));
            match place {
                None => {
                    out.feeds.push((*feed, layout.clone()));
                    fed.push(*operand);
                }
                Some(at) => {
                    let mut layout = layout.clone();
                    layout.insert(at, Axis::Map(piece));
                    out.feeds.push((*feed, layout));
                    fed.push(self.in_pieces(g, *operand, at));
                }
            }
        }
        // What is cheapest to multiply first may be another thing where there are fewer columns.
        out.body = ordered(&self.body());
        let states = walk.states().count();
        let mut places = Vec::new();
        for ((kind, layout), output) in
            walk.yields.iter().zip(&walk.body.outputs[states..])
        {
            let axis = self.columns.group[output.value.index()];
            let place = axis.map(|axis| self.place(layout, axis, *kind == Yield::Stream));
            let mut layout = layout.clone();
            layout.insert(place.unwrap_or(0), Axis::Map(piece));
            out.yields.push((*kind, layout));
            places.push(place);
        }
        let results = g.add_many(Op::Scan { scan: Box::new(out) }, &fed);
        let mut whole = Vec::new();
        for (k, &result) in results.iter().enumerate() {
            if k < states {
                // Pieces come before the body's axes.
                let axis = self.columns.group[walk.body.outputs[k].value.index()];
                let to = piece + axis.expect("states have columns");
                let rank = g.ty(result).rank();
                let mut order: Axes = (0..rank).filter(|a| *a != piece).collect();
                order.insert(to, piece);
                let moved = g.add(Op::Transpose { order }, &[result]);
                whole.push(self.joined(g, moved, to));
            } else {
                whole.push(match places[k - states] {
                    Some(at) => self.joined(g, result, at),
                    None => {
                        let axes = Axes::from_slice(&[0]);
                        g.add(Op::Reduce { fold: Fold::Sum, axes }, &[result])
                    }
                });
            }
        }
        whole
    }

    /// Where in a layout the body's axis stands.
    fn place(&self, layout: &Layout, axis: usize, stream: bool) -> usize {
        let chunked = stream && matches!(self.walk.stride, Stride::Chunk(_));
        let nth = axis - usize::from(chunked);
        let body = layout.iter().enumerate().filter(|(_, a)| **a == Axis::Body);
        body.map(|(at, _)| at).nth(nth).expect("a layout has the body's axes")
    }

    fn in_pieces(&self, g: &mut Graph, v: Value, at: usize) -> Value {
        let mut dims = g.ty(v).dims.clone();
        dims[at] = self.piece_of(dims[at]);
        dims.insert(at, Dim::Fixed(self.columns.pieces));
        g.add(Op::Reshape { dims }, &[v])
    }

    fn joined(&self, g: &mut Graph, v: Value, at: usize) -> Value {
        let mut dims = g.ty(v).dims.clone();
        dims.remove(at);
        let each = dims[at].fixed().expect("columns are counted");
        dims[at] = Dim::Fixed(self.columns.pieces * each);
        g.add(Op::Reshape { dims }, &[v])
    }

    /// A piece of columns, with what is laid out behind them.
    fn piece_of(&self, all: Dim) -> Dim {
        Dim::Fixed(all.fixed().expect("columns are counted") / self.columns.pieces)
    }

    /// The body on a piece.
    fn body(&self) -> Graph {
        let from = &self.walk.body;
        let mut to = Graph::new();
        let mut map: Vec<Value> = Vec::new();
        let cut = |dims: &Dims, v: Value| -> Dims {
            let mut dims = dims.clone();
            if let Some(axis) = self.columns.group[v.index()] {
                dims[axis] = self.piece_of(dims[axis]);
            }
            dims
        };
        for input in &from.inputs {
            let ty = from.ty(input.value);
            let ty = Type { elem: ty.elem, dims: cut(&ty.dims, input.value) };
            to.input(input.name.clone(), ty);
        }
        for node in from.nodes.values() {
            let v = node.results[0];
            let op = match &node.op {
                Op::Input { index, .. } => {
                    map.push(to.inputs[*index].value);
                    continue;
                }
                Op::Constant { value, ty } => {
                    let ty = Type { elem: ty.elem, dims: cut(&ty.dims, v) };
                    Op::Constant { value: *value, ty }
                }
                Op::Iota { axis, dims } => Op::Iota { axis: *axis, dims: cut(dims, v) },
                Op::Broadcast { dims, axes } => {
                    Op::Broadcast { dims: cut(dims, v), axes: axes.clone() }
                }
                Op::Reshape { dims } => Op::Reshape { dims: cut(dims, v) },
                op => op.clone(),
            };
            let operands: Vec<Value> =
                node.operands.iter().map(|o| map[o.index()]).collect();
            let results = to.add_many(op, &operands);
            for (from_v, made) in node.results.iter().zip(&results) {
                to.values[*made].name.clone_from(&from.values[*from_v].name);
            }
            map.extend(results);
        }
        for output in &from.outputs {
            to.output(output.name.clone(), map[output.value.index()]);
        }
        to
    }
}
