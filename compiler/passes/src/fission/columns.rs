//! Columns of a walk's states that do not meet, walked by themselves.
//!
//! ```text
//! before   walk over (b, h):      S [128, 128],  E = T (V - K S)
//! after    walk over (b, h, p):   S [128, 32],   E and V are [C, 32] of each piece p
//! ```
//!
//! Axes that operations make correspond are one group. A group that is summed over, indexed or laid out anew holds columns
//! that meet; one that is not, and that every state and everything yielded has once, can be a dimension of the grid.

use super::cost::{Rates, walks};
use super::part::Part;
use crate::autodiff::{body_inputs, state_inputs};
use crate::axes::Groups;
use crate::simplify::alone;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};

/// Columns below which a product on tensor cores is not worth its loads (not measured).
const NARROWEST: usize = 32;

/// Adds the walk of a part, in pieces where that pays; gives its results as those of the whole.
pub(super) fn split(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Value],
    part: &mut Part,
    rates: &Rates,
) -> Vec<Value> {
    let (walk, operands) = part.scan(g, scan, operands, true);
    let (walk, kept) = alone(&walk);
    let operands: Vec<Value> = kept.iter().map(|&k| operands[k]).collect();
    let Some((group, width)) = free(&walk) else {
        return g.add_many(Op::Scan { scan: Box::new(walk) }, &operands).to_vec();
    };
    let pieces = pieces(width, walks(&walk), rates);
    if pieces == 1 {
        return g.add_many(Op::Scan { scan: Box::new(walk) }, &operands).to_vec();
    }
    Pieces { walk: &walk, group: &group, pieces, width: width / pieces }.add(g, &operands)
}

/// Into how many pieces so many columns go: enough for every processor, none too narrow.
fn pieces(width: usize, walks: usize, rates: &Rates) -> usize {
    let mut pieces = 1;
    let least = if rates.always { 2 } else { NARROWEST };
    while width.is_multiple_of(2 * pieces)
        && width / (2 * pieces) >= least
        && (walks * pieces < rates.processors)
    {
        pieces *= 2;
    }
    pieces
}

/// Which axes of a walk's body correspond.
fn groups(walk: &Scan) -> Groups {
    let body = &walk.body;
    let mut out = Groups::of(body);
    for (input, next) in state_inputs(walk).iter().zip(&body.outputs) {
        out.along(body, *input, next.value);
    }
    // Rows of a chunk are what the walk goes along.
    if matches!(walk.stride, Stride::Chunk(_)) {
        let streams = walk.feeds.iter().zip(body_inputs(walk));
        for ((feed, _), input) in streams {
            if let (Feed::Stream, Some(v)) = (feed, input) {
                out.bind(v, 0);
            }
        }
        let last = &body.inputs[body.inputs.len() - 2..];
        last.iter().for_each(|i| out.bind(i.value, 0));
        let yields = walk.yields.iter().zip(&body.outputs[walk.states().count()..]);
        for ((kind, _), output) in yields {
            if *kind == Yield::Stream {
                out.bind(output.value, 0);
            }
        }
    }
    out
}

/// The axis of every value that is of one free group, and how long it is; the last one of the first state that there is.
fn free(walk: &Scan) -> Option<(Vec<Option<usize>>, usize)> {
    let (groups, body) = (groups(walk), &walk.body);
    let state = *state_inputs(walk).first()?;
    (0..body.ty(state).rank()).rev().find_map(|axis| {
        let root = groups.of_axis(state, axis);
        if groups.is_bound(root) {
            return None;
        }
        let width = body.ty(state).dims[axis].fixed()?;
        let of = |v: Value| -> Vec<usize> {
            let rank = body.ty(v).rank();
            (0..rank).filter(|a| groups.of_axis(v, *a) == root).collect()
        };
        let mut group = Vec::new();
        for (v, data) in body.values.iter() {
            match of(v)[..] {
                [] => group.push(None),
                [a] if data.ty.dims[a] == Dim::Fixed(width) => group.push(Some(a)),
                _ => return None,
            }
        }
        let has = |v: Value| group[v.index()].is_some();
        let all = body.outputs.iter().all(|o| has(o.value));
        all.then_some((group, width))
    })
}

/// A walk by pieces of so many columns.
struct Pieces<'a> {
    walk: &'a Scan,
    group: &'a [Option<usize>],
    pieces: usize,
    width: usize,
}

impl Pieces<'_> {
    fn add(&self, g: &mut Graph, operands: &[Value]) -> Vec<Value> {
        let walk = self.walk;
        let piece = walk.map.len();
        let mut out = Scan { feeds: vec![], yields: vec![], ..walk.clone() };
        out.map.push(Dim::Fixed(self.pieces));
        let inputs = body_inputs(walk);
        let mut fed = Vec::new();
        for (((feed, layout), input), operand) in
            walk.feeds.iter().zip(&inputs).zip(operands)
        {
            let cut = input.and_then(|v| self.group[v.index()]);
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
        out.body = self.body();
        let states = walk.states().count();
        let mut places = Vec::new();
        for ((kind, layout), output) in
            walk.yields.iter().zip(&walk.body.outputs[states..])
        {
            let axis = self.group[output.value.index()].expect("yields have columns");
            let at = self.place(layout, axis, *kind == Yield::Stream);
            let mut layout = layout.clone();
            layout.insert(at, Axis::Map(piece));
            out.yields.push((*kind, layout));
            places.push(at);
        }
        let results = g.add_many(Op::Scan { scan: Box::new(out) }, &fed);
        let mut whole = Vec::new();
        for (k, &result) in results.iter().enumerate() {
            if k < states {
                // Pieces come before the body's axes.
                let axis = self.group[walk.body.outputs[k].value.index()];
                let to = piece + axis.expect("states have columns");
                let rank = g.ty(result).rank();
                let mut order: Axes = (0..rank).filter(|a| *a != piece).collect();
                order.insert(to, piece);
                let moved = g.add(Op::Transpose { order }, &[result]);
                whole.push(self.joined(g, moved, to));
            } else {
                whole.push(self.joined(g, result, places[k - states]));
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
        dims[at] = Dim::Fixed(self.width);
        dims.insert(at, Dim::Fixed(self.pieces));
        g.add(Op::Reshape { dims }, &[v])
    }

    fn joined(&self, g: &mut Graph, v: Value, at: usize) -> Value {
        let mut dims = g.ty(v).dims.clone();
        dims.remove(at);
        dims[at] = Dim::Fixed(self.pieces * self.width);
        g.add(Op::Reshape { dims }, &[v])
    }

    /// The body on a piece.
    fn body(&self) -> Graph {
        let from = &self.walk.body;
        let mut to = Graph::new();
        let mut map: Vec<Value> = Vec::new();
        let cut = |dims: &Dims, v: Value| -> Dims {
            let mut dims = dims.clone();
            if let Some(axis) = self.group[v.index()] {
                dims[axis] = Dim::Fixed(self.width);
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
