//! Scans: bodies are simplified, and what every step knows alike is said once.
//!
//! - a shared constant, or a stream of zeros, becomes a constant of the body;
//! - two operands that are one and fed alike become one;
//! - a state that never changes, or stays one number, becomes a shared operand;
//! - a yield of zeros, and a second yield of the same value, vanish.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::driver::Rewriter;
use crate::autodiff::{body_inputs, state_inputs};
use crate::build::uniform;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};
use smallvec::SmallVec;

/// The results of the scan, rewritten, in the graph being built.
pub(super) fn rewritten(
    rw: &mut Rewriter,
    scan: &Scan,
    operands: &[Value],
) -> SmallVec<[Value; 1]> {
    let (scan, operands, finals) = fed_once(rw, scan, operands);
    let scan = match rw.plain.contains(&&scan.body) {
        true => scan,
        false => Scan { body: super::plainer(&scan.body, rw.orders, None), ..scan },
    };
    let states = scan.states().count();
    let known = known_yields(rw, &scan, &operands);
    let op = Op::Scan { scan: Box::new(scan) };
    let results = find_or_add(rw, op, &operands);
    let mut carried = results[..states].iter().copied();
    let mut out: SmallVec<[Value; 1]> = finals
        .into_iter()
        .map(|f| f.or_else(|| carried.next()).unwrap_or(results[0]))
        .collect();
    for (k, known) in known.into_iter().enumerate() {
        out.push(match known {
            Known::Itself => results[states + k],
            Known::Same(other) => results[states + other],
            Known::Value(value) => value,
        });
    }
    out
}

fn find_or_add(rw: &mut Rewriter, op: Op, operands: &[Value]) -> SmallVec<[Value; 1]> {
    let same =
        rw.graph.nodes.values().find(|n| n.operands[..] == *operands && n.op == op);
    match same {
        Some(node) => node.results.clone(),
        None => rw.graph.add_many(op, operands),
    }
}

/// The scan without operands that say nothing new; for every state of the old one its final
/// value where it is known before the walk.
fn fed_once(
    rw: &mut Rewriter,
    scan: &Scan,
    operands: &[Value],
) -> (Scan, Vec<Value>, Vec<Option<Value>>) {
    let inputs = body_inputs(scan);
    let states = state_inputs(scan);
    let mut body = Graph::new();
    let mut out = Scan { feeds: Vec::new(), body: Graph::new(), ..scan.clone() };
    let mut kept = Vec::new();
    let mut arguments: Vec<Value> = Vec::new();
    let mut dropped = Vec::new();
    let mut finals = Vec::new();
    let mut known: Vec<(Feed, Layout, Value, Value)> = Vec::new();
    let mut state = 0;
    for (k, (feed, layout)) in scan.feeds.iter().enumerate() {
        let operand = operands[k];
        let Some(input) = inputs[k] else {
            out.feeds.push((*feed, layout.clone()));
            kept.push(operand);
            continue;
        };
        let mut feed = *feed;
        if feed == Feed::Initial {
            let next = scan.body.outputs[state].value;
            let begins = rw.constant_of(operand);
            let stays = begins.is_some() && uniform(&scan.body, next) == begins;
            let unchanged = next == states[state] || stays;
            dropped.push(unchanged);
            finals.push(unchanged.then(|| final_of(rw, scan, operand, layout)));
            if unchanged {
                feed = Feed::Shared;
            }
            state += 1;
        }
        let ty = scan.body.ty(input).clone();
        if let Some(value) = rw.constant_of(operand)
            && says_nothing(scan, feed, value)
        {
            arguments.push(body.add(Op::Constant { value, ty }, &[]));
            continue;
        }
        let (layout, operand) = unmapped(rw, feed, layout, operand);
        let twin = known
            .iter()
            .find(|(f, l, v, _)| *f == feed && *l == layout && *v == operand)
            .map(|(.., argument)| *argument);
        if let (Some(argument), true) = (twin, feed != Feed::Initial) {
            arguments.push(argument);
            continue;
        }
        let name = name_of(scan, input);
        let argument = body.input(name, ty);
        arguments.push(argument);
        known.push((feed, layout.clone(), operand, argument));
        out.feeds.push((feed, layout));
        kept.push(operand);
    }
    for named in &scan.body.inputs[arguments.len()..] {
        arguments.push(body.input(named.name.clone(), scan.body.ty(named.value).clone()));
    }
    let map = body.splice(&scan.body, &arguments);
    for (k, output) in scan.body.outputs.iter().enumerate() {
        if !dropped.get(k).copied().unwrap_or(false) {
            body.output(output.name.clone(), map[output.value.index()]);
        }
    }
    out.body = body;
    (out, kept, finals)
}

fn name_of(scan: &Scan, input: Value) -> String {
    let named = scan.body.inputs.iter().find(|i| i.value == input);
    named.map_or_else(String::new, |n| n.name.clone())
}

/// Whether a constant operand is the same in every row the body sees; rows that are no tokens
/// read as zero.
fn says_nothing(scan: &Scan, feed: Feed, value: f64) -> bool {
    match feed {
        Feed::Shared => true,
        Feed::Step => true,
        Feed::Stream => scan.stride == Stride::Token || value == 0.0,
        Feed::Initial | Feed::Mask | Feed::Reach(_) => false,
    }
}

/// An operand repeated along mapped dimensions is fed without them.
fn unmapped(
    rw: &mut Rewriter,
    feed: Feed,
    layout: &Layout,
    operand: Value,
) -> (Layout, Value) {
    let Op::Broadcast { dims, axes } = rw.op(operand).clone() else {
        return (layout.clone(), operand);
    };
    let _ = feed;
    let drops = |i: usize| matches!(layout[i], Axis::Map(_)) && !axes.contains(&i);
    let kept: Axes = (0..dims.len()).filter(|&i| !drops(i)).collect();
    if kept.len() == dims.len() {
        return (layout.clone(), operand);
    }
    let source = rw.operand(operand, 0);
    let place = |a: &usize| kept.iter().position(|k| k == a).unwrap_or(0);
    let to: Axes = axes.iter().map(place).collect();
    let shape: Dims = kept.iter().map(|&i| dims[i]).collect();
    let operand = rw.emit(Op::Broadcast { dims: shape, axes: to }, &[source]);
    (kept.iter().map(|&i| layout[i]).collect(), operand)
}

/// The initial value as a final one: all mapped dimensions first, then the body's.
fn final_of(rw: &mut Rewriter, scan: &Scan, operand: Value, layout: &Layout) -> Value {
    let ty = rw.graph.ty(operand).clone();
    let mut places = Vec::new();
    let mut body = scan.map.len();
    for axis in layout {
        match axis {
            Axis::Map(m) => places.push(*m),
            Axis::Body | Axis::Time => {
                places.push(body);
                body += 1;
            }
        }
    }
    let mut order: Axes = (0..places.len()).collect();
    order.sort_unstable_by_key(|&i| places[i]);
    let value = rw.emit(Op::Transpose { order }, &[operand]);
    let mut dims: Dims = scan.map.iter().copied().collect();
    for (axis, dim) in layout.iter().zip(&ty.dims) {
        if *axis == Axis::Body {
            dims.push(*dim);
        }
    }
    places.sort_unstable();
    let axes: Axes = places.into_iter().collect();
    rw.emit(Op::Broadcast { dims, axes }, &[value])
}

/// What a yield is, where that needs no yield of its own.
enum Known {
    Itself,
    Same(usize),
    Value(Value),
}

fn known_yields(rw: &mut Rewriter, scan: &Scan, operands: &[Value]) -> Vec<Known> {
    let states = scan.states().count();
    let ty_of = result_types(rw, scan, operands);
    let mut out = Vec::new();
    for (k, (kind, layout)) in scan.yields.iter().enumerate() {
        let value = scan.body.outputs[states + k].value;
        let same = |j: &usize| -> bool {
            let (other, its): &(Yield, Layout) = &scan.yields[*j];
            other == kind && its == layout && scan.body.outputs[states + j].value == value
        };
        // Steps that a mask skips leave zeros, so only zeros are known there.
        let zero = match &scan.body.def(value).op {
            Op::Constant { value, .. } => *value == 0.0,
            _ => false,
        };
        out.push(if let (true, Some(ty)) = (zero, ty_of.get(states + k)) {
            Known::Value(rw.emit(Op::Constant { value: 0.0, ty: ty.clone() }, &[]))
        } else if let Some(j) = (0..k).find(same) {
            Known::Same(j)
        } else {
            Known::Itself
        });
    }
    out
}

fn result_types(rw: &Rewriter, scan: &Scan, operands: &[Value]) -> Vec<Type> {
    let tys: Vec<&Type> = operands.iter().map(|&v| rw.graph.ty(v)).collect();
    let op = Op::Scan { scan: Box::new(scan.clone()) };
    nestor_ir::tensor::infer::infer(&op, &tys).map(|t| t.into_vec()).unwrap_or_default()
}
