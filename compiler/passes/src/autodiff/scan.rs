//! The reverse of a scan is a scan walked the other way.
//!
//! ```text
//! forward    s' = f(s, w, x_t)     y_t = g(s, w, x_t)          yields s too (the boundary)
//! reverse    carries  ds, dw;  is fed  s at the step's start, w, x_t, dy_t
//!            recomputes f and g,  pulls (ds, dy_t) back,  ds <- ds of s,  dw <- dw + dw of w
//!            yields  dx_t
//! ```
//!
//! What a chunk computed and kept is fed, too, and taken instead of what is computed again. A
//! state as a chunk left it is what the step walked before, the next one in time, found: it is carried.
//!
//! An operand that lacks a mapped dimension is shared by all walks along it: each walk gives its
//! part, and a sum over that dimension follows. Rows of a partial chunk that are no tokens are fed
//! zero cotangents, because what the forward walk computed there went nowhere.

use super::boundaries::{body_inputs, boundary, kept, state_inputs};
use super::keep::ends_worth_carrying;
use super::pullback::pullback;
use crate::build::{add, is_real, replace, sum, transpose, zeros};
use crate::error::PassError;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, NodeData, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Elem, Type};

/// Cotangents of a scan's operands from those of its results.
pub(super) fn reverse_scan(
    g: &mut Graph,
    scan: &Scan,
    node: &NodeData,
    cotangents: &[Option<Value>],
    wanted: &[bool],
) -> Result<Vec<Option<Value>>, PassError> {
    let states: Vec<usize> = scan.states().collect();
    let inputs = body_inputs(scan);
    let mut r = Reverse {
        scan: Scan {
            map: scan.map.clone(),
            time: scan.time,
            stride: scan.stride,
            reverse: !scan.reverse,
            feeds: Vec::new(),
            yields: Vec::new(),
            body: Graph::new(),
        },
        operands: Vec::new(),
    };
    // The forward body's inputs, fed as they were; states as each step found them.
    let mut arguments = Vec::new();
    let mut state = 0;
    for (k, (feed, layout)) in scan.feeds.iter().enumerate() {
        let (feed, layout, value) = match feed {
            Feed::Initial => {
                let y = boundary(scan, state).ok_or_else(|| {
                    PassError::bug("pullback", "a scan keeps no boundaries of its states")
                })?;
                state += 1;
                (Feed::Step, scan.yields[y].1.clone(), node.results[states.len() + y])
            }
            Feed::Shared | Feed::Stream | Feed::Step | Feed::Mask | Feed::Reach(_) => {
                (*feed, layout.clone(), node.operands[k])
            }
        };
        arguments.extend(r.feed(g, format!("x{k}"), feed, layout, value));
    }
    // What was computed at each step and kept.
    let mut found_again = Vec::new();
    for y in kept(scan) {
        let layout = scan.yields[y].1.clone();
        let value = node.results[states.len() + y];
        let input = r.feed(g, format!("kept{y}"), Feed::Step, layout, value);
        let output = scan.body.outputs[states.len() + y].value;
        found_again.extend(input.map(|input| (output, input)));
    }
    // Cotangents of what was yielded.
    let mut seeds = Vec::new();
    for (y, (kind, layout)) in scan.yields.iter().enumerate() {
        if let Some(d) = cotangents[states.len() + y] {
            let feed = match kind {
                Yield::Stream => Feed::Stream,
                Yield::Step => Feed::Step,
            };
            let d = r.feed(g, format!("dy{y}"), feed, layout.clone(), d);
            seeds.extend(d.map(|d| (states.len() + y, d)));
        }
    }
    // Cotangents of the states, carried.
    let mut carried = Vec::new();
    for (k, &input) in state_inputs(scan).iter().enumerate() {
        if !is_real(&scan.body, input) {
            continue;
        }
        let ty = scan.body.ty(input).clone();
        let (layout, value) = match cotangents[k] {
            Some(d) => (all_maps(scan, ty.rank(), &[]), d),
            None => ((0..ty.rank()).map(|_| Axis::Body).collect(), zeros(g, &ty)),
        };
        let d = r.feed(g, format!("ds{k}"), Feed::Initial, layout, value);
        seeds.extend(d.map(|d| (k, d)));
        carried.push(k);
    }
    // Sums over steps for what every step sees.
    let real = |k: usize| inputs[k].is_some_and(|v| is_real(&scan.body, v));
    let shared: Vec<usize> = (0..scan.feeds.len())
        .filter(|&k| scan.feeds[k].0 == Feed::Shared && wanted[k] && real(k))
        .collect();
    let mut totals = Vec::new();
    for &k in &shared {
        let (_, layout) = &scan.feeds[k];
        let ty = seen_by_body(scan, Feed::Shared, layout, g.ty(node.operands[k]));
        let none = zeros(g, &ty);
        let layout = (0..ty.rank()).map(|_| Axis::Body).collect();
        totals.extend(r.feed(g, format!("total{k}"), Feed::Initial, layout, none));
    }
    // States as the step left them.
    let ends = match scan.stride {
        Stride::Chunk(_) => ends_worth_carrying(&scan.body, states.len()),
        Stride::Token => vec![],
    };
    let mut left = Vec::new();
    for &k in &ends {
        let layout = all_maps(scan, scan.body.ty(state_inputs(scan)[k]).rank(), &[]);
        let end = r.feed(g, format!("end{k}"), Feed::Initial, layout, node.results[k]);
        left.extend(end.map(|end| (k, end)));
    }
    let rows = match scan.stride {
        Stride::Token => None,
        Stride::Chunk(c) => Some(nestor_ir::dim::Dim::Fixed(c)),
    };
    let body = &mut r.scan.body;
    arguments.push(body.input("valid", Type::bool(rows)));
    arguments.push(body.input("position", Type::real(rows)));
    // One step forward, then back.
    let map = body.splice(&scan.body, &arguments);
    let at = |v: Value| map[nestor_ir::entity::Entity::index(v)];
    let seeds: Vec<(Value, Value)> =
        seeds.into_iter().map(|(k, d)| (at(scan.body.outputs[k].value), d)).collect();
    let flowing: Vec<usize> = (0..scan.feeds.len())
        .filter(|&k| match scan.feeds[k].0 {
            Feed::Stream | Feed::Step => wanted[k] && real(k),
            Feed::Shared | Feed::Initial | Feed::Mask | Feed::Reach(_) => false,
        })
        .collect();
    let wrt: Vec<Value> = carried
        .iter()
        .map(|&k| states[k])
        .chain(shared.iter().copied())
        .chain(flowing.iter().copied())
        .filter_map(|k| inputs[k])
        .map(at)
        .collect();
    let back = pullback(body, &seeds, &wrt)?;
    let (of_states, rest) = back.split_at(carried.len());
    let (of_shared, of_flowing) = rest.split_at(shared.len());
    for ((&k, found), v) in carried.iter().zip(of_states).zip(&wrt) {
        let ty = body.ty(*v).clone();
        let next = found.unwrap_or_else(|| zeros(body, &ty));
        body.output(format!("ds{k}"), next);
    }
    for ((&k, found), &total) in shared.iter().zip(of_shared).zip(&totals) {
        let next = found.map_or(total, |d| add(body, total, d));
        body.output(format!("total{k}"), next);
    }
    for &(k, _) in &left {
        body.output(format!("end{k}"), at(state_inputs(scan)[k]));
    }
    let mut arrived = Vec::new();
    for (&k, found) in flowing.iter().zip(of_flowing) {
        let Some(d) = *found else { continue };
        let (feed, layout) = &scan.feeds[k];
        let kind = if *feed == Feed::Step { Yield::Step } else { Yield::Stream };
        r.scan.body.output(format!("dx{k}"), d);
        let mut full: Layout = missing(scan, layout).map(Axis::Map).collect();
        full.extend(layout.iter().copied());
        r.scan.yields.push((kind, full));
        arrived.push(k);
    }
    // Only the way through a kept value's own op still needs what it was computed from.
    for (k, end) in left.iter().copied() {
        found_again.push((scan.body.outputs[k].value, end));
    }
    for (output, input) in found_again {
        replace(&mut r.scan.body, at(output), input);
    }
    let results = g.add_many(Op::Scan { scan: Box::new(r.scan) }, &r.operands);
    let mut out = vec![None; node.operands.len()];
    let carried_operands = carried.iter().map(|&k| states[k]);
    for (k, &result) in carried_operands.chain(shared.iter().copied()).zip(&results) {
        out[k] = Some(to_layout(g, scan, result, &scan.feeds[k].1));
    }
    for (&k, &result) in
        arrived.iter().zip(&results[carried.len() + shared.len() + left.len()..])
    {
        let n = missing(scan, &scan.feeds[k].1).count();
        out[k] = Some(sum(g, result, &(0..n).collect::<Axes>()));
    }
    for (slot, &operand) in out.iter_mut().zip(&node.operands) {
        if g.ty(operand).elem != Elem::Real {
            *slot = None;
        }
    }
    Ok(out)
}

/// The scan being built, with its operands.
struct Reverse {
    scan: Scan,
    operands: Vec<Value>,
}

impl Reverse {
    /// Adds an operand and its body input; a mask has none.
    fn feed(
        &mut self,
        g: &Graph,
        name: String,
        feed: Feed,
        layout: Layout,
        value: Value,
    ) -> Option<Value> {
        let ty = seen_by_body(&self.scan, feed, &layout, g.ty(value));
        self.scan.feeds.push((feed, layout));
        self.operands.push(value);
        (!feed.is_of_steps()).then(|| self.scan.body.input(name, ty))
    }
}

/// The mapped dimensions that a layout lacks.
fn missing<'a>(scan: &Scan, layout: &'a Layout) -> impl Iterator<Item = usize> + use<'a> {
    (0..scan.map.len()).filter(|&m| !layout.contains(&Axis::Map(m)))
}

/// All mapped dimensions, `then`, and the body's axes.
fn all_maps(scan: &Scan, rank: usize, then: &[Axis]) -> Layout {
    let maps = (0..scan.map.len()).map(Axis::Map);
    maps.chain(then.iter().copied()).chain((0..rank).map(|_| Axis::Body)).collect()
}

/// From mapped dimensions first, then the body's, to an operand's layout; what the layout lacks
/// is summed over.
fn to_layout(g: &mut Graph, scan: &Scan, value: Value, layout: &Layout) -> Value {
    let lacking: Axes = missing(scan, layout).collect();
    let mut order = lacking.clone();
    let mut body = scan.map.len();
    for axis in layout {
        match axis {
            Axis::Map(m) => order.push(*m),
            Axis::Body => {
                order.push(body);
                body += 1;
            }
            Axis::Time => {}
        }
    }
    let value = transpose(g, value, &order);
    sum(g, value, &(0..lacking.len()).collect::<Axes>())
}
