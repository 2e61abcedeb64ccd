//! Hands what windows of the past look at from one call to the next.
//!
//! ```text
//! before   w [B, T, n, ..] = window x                          what was before the call is zero
//! after    w, past' = scan over T (x; past [B, n - 1, ..])     where states are handed over
//!          w = window x;  past' = scan over T (x; 0)           where a sequence begins
//! ```
//!
//! `past` is the state `state.past.<number>`: the last `n - 1` values, newest first. Of a window
//! over all of the past it is every value so far, oldest first: `[B, P, ..]` from the calls before,
//! `[B, P+T, ..]` for the next one.

use super::blocks::LEAST;
use super::whole::before;
use super::{LEAD, Options, TIME, ends};
use crate::build::{broadcast, zeros};
use crate::error::PassError;
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Elem, Type};
use smallvec::smallvec;

/// The name of outputs that are windows for the sake of what they hand over alone; no name of a program has a space.
pub(super) const WINDOW: &str = "a window";

/// The graph with the past of its windows as states: inputs where states are handed over, outputs
/// always.
///
/// # Errors
/// Where a window is over what is no stream.
pub(super) fn handed_over(graph: &Graph, options: Options) -> Result<Graph, PassError> {
    let resume = options.resume;
    let graph = prune(graph);
    let mut out = Graph::new();
    let mut map: Vec<Value> = vec![Value::new(0); graph.values.len()];
    let mut seen: Vec<(Value, Dim, Value)> = Vec::new();
    let mut finals: Vec<Value> = Vec::new();
    let mut opened: Vec<(String, Value, Dim)> = Vec::new();
    for node in graph.nodes.values() {
        let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
        let window = match &node.op {
            Op::Input { index, ty } => {
                let name = graph.inputs[*index].name.clone();
                map[node.results[0].index()] = out.input(name, ty.clone());
                continue;
            }
            Op::Window { axis, size } => Some((*axis, *size)),
            _ => None,
        };
        let results = match window {
            Some((TIME, size)) if size.fixed() != Some(1) => {
                let known = seen.iter().find(|(x, m, _)| (*x, *m) == (operands[0], size));
                let value = match known {
                    Some((_, _, value)) => *value,
                    None => {
                        let name = format!("state.past.{}", finals.len());
                        let open = options.open && size.fixed().is_some();
                        if open {
                            opened.push((name.clone(), operands[0], size));
                        }
                        let past = (resume || open).then_some(name);
                        let (value, last) =
                            window_of(&mut out, operands[0], size, past, options.blocks)?;
                        finals.push(last);
                        seen.push((operands[0], size, value));
                        value
                    }
                };
                smallvec![value]
            }
            Some(_) | None => out.add_many(node.op.clone(), &operands),
        };
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = to;
            if out.values[to].name.is_none() {
                out.values[to].name.clone_from(&graph.values[from].name);
            }
        }
    }
    let one = |n: &Named| Named { name: n.name.clone(), value: map[n.value.index()] };
    out.outputs = graph.outputs.iter().filter(|o| o.name != WINDOW).map(one).collect();
    for (k, last) in finals.into_iter().enumerate() {
        out.output(format!("state.past.{k}"), last);
    }
    for (name, stream, size) in opened {
        let ty = out.ty(stream).clone();
        let kept = Dim::Fixed(size.fixed().unwrap_or(1) - 1);
        let own = ty.dims[LEAD.len()..].iter().copied();
        let dims: Dims = std::iter::once(kept).chain(own).collect();
        let none = zeros(&mut out, &Type { elem: ty.elem, dims });
        out.output(format!("start.{name}"), none);
    }
    Ok(out)
}

/// The window of `length` over a stream `[B, T, ..]`, and the last values; the past is an input of
/// this name, where there is one.
fn window_of(
    g: &mut Graph,
    stream: Value,
    length: Dim,
    past: Option<String>,
    blocks: bool,
) -> Result<(Value, Value), PassError> {
    let ty = g.ty(stream).clone();
    if ty.dims.get(TIME).is_none_or(|d| d.ticks_of().is_none()) {
        return Err(PassError::bug("to_tensors", "a window over what is no stream"));
    }
    let Some(size) = length.fixed() else {
        let all = past.map_or(stream, |name| before(g, stream, name));
        return Ok((g.add(Op::Window { axis: TIME, size: length }, &[all]), all));
    };
    if blocks && past.is_none() && size >= LEAST && ty.elem == Elem::Real {
        let last = ends::last(g, stream, size - 1);
        let window = Op::Window { axis: TIME, size: length };
        return Ok((g.add(window, &[stream]), last));
    }
    let own: Dims = ty.dims[LEAD.len()..].iter().copied().collect();
    let kept: Dims = [Dim::Fixed(size - 1)].into_iter().chain(own.clone()).collect();
    let resumed = past.is_some();
    let start = match past {
        Some(name) => {
            let dims = [Dim::Batch].into_iter().chain(kept.clone()).collect();
            g.input(name, Type { elem: ty.elem, dims })
        }
        None => zeros(g, &Type { elem: ty.elem, dims: kept.clone() }),
    };
    let bodies = |n: usize| std::iter::repeat_n(Axis::Body, n);
    let streamed = |n: usize| -> Layout {
        [Axis::Map(0), Axis::Time].into_iter().chain(bodies(n)).collect()
    };
    let handed: Layout =
        resumed.then_some(Axis::Map(0)).into_iter().chain(bodies(kept.len())).collect();
    let mut scan = Scan {
        map: smallvec![Dim::Batch],
        time: ty.dims[TIME],
        stride: Stride::Token,
        reverse: false,
        feeds: vec![(Feed::Stream, streamed(own.len())), (Feed::Initial, handed)],
        yields: vec![],
        body: token(&own, &kept, ty.elem),
    };
    if resumed {
        scan.yields.push((Yield::Stream, streamed(own.len() + 1)));
    } else {
        scan.body.outputs.truncate(1);
    }
    let found = g.add_many(Op::Scan { scan: Box::new(scan) }, &[stream, start]);
    if let Some(&window) = found.get(1) {
        return Ok((window, found[0]));
    }
    let window = Op::Window { axis: TIME, size: Dim::Fixed(size) };
    Ok((g.add(window, &[stream]), found[0]))
}

/// One token: `window = x, past;  past' = window without its oldest`.
fn token(own: &Dims, kept: &Dims, elem: Elem) -> Graph {
    let mut body = Graph::new();
    let x = body.input("x", Type { elem, dims: own.clone() });
    let past = body.input("past", Type { elem, dims: kept.clone() });
    body.input("valid", Type::bool([]));
    body.input("position", Type::real([]));
    let row: Dims = [Dim::Fixed(1)].into_iter().chain(own.clone()).collect();
    let axes: Axes = (1..row.len()).collect();
    let row = broadcast(&mut body, x, &row, &axes);
    let window = body.add(Op::Concat { axis: 0 }, &[row, past]);
    let size = kept[0].fixed().unwrap_or(0);
    let next = body.add(Op::Slice { axis: 0, start: 0, size }, &[window]);
    body.output("state.past", next);
    body.output("window", window);
    body
}
