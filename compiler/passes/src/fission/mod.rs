//! A walk as up to three: what does not depend on the carried state leaves it.
//!
//! ```text
//! before   walk: S' = a S + K' E,  E = T (V - K S),  T = (I + L)^-1,  Y = Q S + P E
//! after    all chunks at once:  T, P                      no state
//!          walk:                E, S' ;  S, E are yielded  thin
//!          all chunks at once:  Y                         no state
//! ```
//!
//! A walk without states is as many independent pieces of work as it has steps, and a GPU has use for them; the one that
//! is left does little at each step, and where the columns of its states do not meet, each group of them is walked by
//! itself (`columns`). What one part computes and another needs is handed over, once a step, or computed again where that
//! costs less (`cut`); what the way back would compute as the way forth has is taken from there (`known`). A system of equations whose matrix does not depend on the state is solved for the identity, so that
//! its right-hand sides are met by a product (`inverse`). Nothing here is done where it does not pay (`Rates`).

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "walks are looked for; every other op is copied"
)]

mod columns;
mod cost;
mod cut;
mod inverse;
mod known;
mod part;
mod pieces;
mod tail;

pub use cost::{Rates, WarpGroup};
pub(crate) use part::copy;

use crate::autodiff::state_inputs;
use crate::build::every_step;
use crate::simplify::prune;
use columns::Columns;
use cut::{Cut, Where};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, Layout, Op, Scan, Stride, Value, Yield};
use part::Part;
use std::cell::LazyCell;

/// How much more than it costs handing over is feared, one after the other until no more is handed over than that.
const FEARED: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// The same of what the walk hands to the last part.
const SPARED: [f64; 4] = [1.0, 8.0, 64.0, 512.0];

/// The graph with walks by chunks as several, and others by pieces of their columns, where that pays.
pub fn fission(graph: &Graph, rates: &Rates) -> Graph {
    let parted = rewalked(graph, &mut |g, scan, operands| match Parts::of(scan, rates) {
        Some(parts) => Some(parts.add(g, operands, rates)),
        None => Columns::of(scan, rates).map(|all| all.add(g, scan, operands)),
    });
    rewalked(&parted, &mut |g, scan, operands| known::taken(g, scan, operands, rates))
}

/// The graph with every walk by pieces of its columns where that pays, none of them parted.
pub fn in_pieces(graph: &Graph, rates: &Rates) -> Graph {
    rewalked(graph, &mut |g, scan, operands| {
        Columns::of(scan, rates).map(|all| all.add(g, scan, operands))
    })
}

/// What stands for a walk's results, added to a graph; nothing where the walk stays as it is.
type Rewalk<'a> = &'a mut dyn FnMut(&mut Graph, &Scan, &[Value]) -> Option<Vec<Value>>;

fn rewalked(graph: &Graph, made: Rewalk<'_>) -> Graph {
    let mut changed = false;
    let out = graph.rebuilt(|r, _, node| {
        let Op::Scan { scan } = &node.op else { return None };
        let operands = r.operands(node);
        let results = made(&mut r.graph, scan, &operands)?;
        changed = true;
        Some(results.into())
    });
    if changed { prune(&out) } else { graph.clone() }
}

/// A walk that is worth parting.
pub(crate) struct Parts {
    /// With a body in which systems are products.
    scan: Scan,
    plan: Plan,
}

impl Parts {
    /// Nothing where it stays one.
    pub(crate) fn of(scan: &Scan, rates: &Rates) -> Option<Self> {
        plan(scan, rates).map(|(scan, plan)| Self { scan, plan })
    }

    /// Adds the parts to a graph; gives what stands for the walk's results.
    pub(crate) fn add(
        &self,
        g: &mut Graph,
        operands: &[Value],
        rates: &Rates,
    ) -> Vec<Value> {
        build(g, &self.scan, operands, &self.plan, rates)
    }
}

/// Who computes what.
struct Plan {
    /// Depends on the state, and the next state on it; or belongs to the walk because that costs less.
    walked: Vec<bool>,
    /// Handed from the first part to the walk.
    to_walk: Vec<Value>,
    /// Handed from the first part to the last.
    to_last: Vec<Value>,
    /// Handed from the walk to the last part, states as a step finds them among them.
    on: Vec<Value>,
}

/// The walk with a body in which systems are products, and who computes what of it; nothing where it stays one.
fn plan(scan: &Scan, rates: &Rates) -> Option<(Scan, Plan)> {
    let by_chunks = matches!(scan.stride, Stride::Chunk(_));
    let whole = scan.feeds.iter().all(|(f, _)| !f.is_of_steps());
    let states = scan.states().count();
    if !by_chunks || !whole || states == 0 || !cost::sized(&scan.body) {
        return None;
    }
    let mut scan = scan.clone();
    scan.body = inverse::inverted(&scan.body, &carried(&scan));
    let body = &scan.body;
    let carried = carried(&scan);
    let nexts: Vec<Value> = body.outputs[..states].iter().map(|o| o.value).collect();
    let yields: Vec<Value> = body.outputs[states..].iter().map(|o| o.value).collect();
    let needed = behind(body, &nexts, &carried);
    let inputs = state_inputs(&scan);
    let all = behind(body, &[&nexts[..], &yields[..]].concat(), &carried);
    let yielded = |v: Value| yields.contains(&v);
    let fed = |v: Value| body.def(v).op.info().group == Group::Leaf;
    let streams = cost::streams(&scan);
    // Numbers that are fed and that a value is computed of.
    let everything = vec![true; body.values.len()];
    let fed_for = LazyCell::new(|| -> Vec<f64> {
        let of = |v: Value| {
            let behind = behind(body, &[v], &everything);
            let inputs = body.inputs.iter().filter(|i| behind[i.value.index()]);
            inputs.map(|i| cost::size(body, i.value)).sum()
        };
        body.values.keys().map(of).collect()
    });
    let handed = |walked: &[bool], feared: f64| -> (Plan, f64) {
        let mut to_walk = Vec::new();
        let mut wanted = nexts.clone();
        wanted.extend(yields.iter().filter(|v| walked[v.index()]));
        let taken = tail::taken(body, walked, &carried);
        wanted.extend(body.values.keys().filter(|v| taken[v.index()]));
        let place = |v: Value| match (fed(v), carried[v.index()]) {
            (true, _) => Where::Fed,
            (_, true) => Where::Here,
            (_, false) => Where::Elsewhere(2.0),
        };
        let cut = Cut { body, rates, feared, place: &place };
        let mut costs = cut.take(&wanted, &mut to_walk);
        let rest: Vec<Value> =
            yields.iter().copied().filter(|v| !walked[v.index()]).collect();
        let of_first = behind(body, &to_walk, &everything);
        let place = |v: Value| {
            // What is written anyway is only read.
            let there = to_walk.contains(&v) || walked[v.index()] && yielded(v);
            let times = if there { 1.0 } else { 2.0 };
            let here = carried[v.index()] && !walked[v.index()] || rest.contains(&v);
            let asked = of_first[v.index()] || walked[v.index()];
            match (here, fed(v) && !inputs.contains(&v)) {
                (true, _) => Where::Here,
                (_, true) => Where::Fed,
                (_, false) if asked => Where::Elsewhere(times),
                // A first part that is there for the walk has most of it anyway.
                (_, false) if !to_walk.is_empty() => Where::Either(times, 0.0),
                (_, false) => Where::Either(times, fed_for[v.index()]),
            }
        };
        let mut found = Vec::new();
        let cut = Cut { body, rates, feared, place: &place };
        costs += cut.take(&rest, &mut found);
        let (on, to_last) = found.into_iter().partition(|v: &Value| carried[v.index()]);
        let plan = Plan { walked: walked.to_vec(), to_walk, to_last, on };
        let work = |which: &dyn Fn(usize) -> bool| cost::work(body, rates, which);
        costs += rates.waits(&scan) * work(&|v| walked[v]);
        costs += work(&|v| !walked[v]);
        // What is kept for every step at once must fit beside what is kept anyway.
        let new = |v: &&Value| !yielded(**v);
        let kept = plan.to_walk.iter().chain(&plan.to_last).chain(&plan.on);
        let kept: f64 = kept.filter(new).map(|v| cost::size(body, *v)).sum();
        if kept > cost::MOST * streams && !rates.always {
            costs = f64::INFINITY;
        }
        (plan, costs)
    };
    let least = |walked: &[bool]| {
        let mut all = FEARED.iter().map(|feared| handed(walked, *feared));
        let first = all.next().expect("there are several");
        if first.1.is_finite() {
            first
        } else {
            all.find(|p| p.1.is_finite()).unwrap_or(first)
        }
    };
    let with_states = |mut walked: Vec<bool>| {
        inputs.iter().for_each(|v| walked[v.index()] = true);
        walked
    };
    let needed = with_states(needed);
    let sides = [&needed[..], &all, &carried];
    let between = SPARED.map(|spared| tail::staying(&scan, rates, spared, sides));
    let mut plans = vec![with_states(all), needed];
    plans.extend(between);
    let mut plans: Vec<(Plan, f64)> = plans.iter().map(|walked| least(walked)).collect();
    let first = plans.remove(0);
    let better = |a: (Plan, f64), b: (Plan, f64)| if b.1 < a.1 { b } else { a };
    let (plan, costs) = plans.into_iter().fold(first, better);
    let one = rates.waits(&scan) * cost::work(body, rates, &|_| true);
    (costs < one).then_some((scan, plan))
}

/// Which values depend on a state.
fn carried(scan: &Scan) -> Vec<bool> {
    let mut carried = vec![false; scan.body.values.len()];
    state_inputs(scan).iter().for_each(|v| carried[v.index()] = true);
    for node in scan.body.nodes.values() {
        if node.operands.iter().any(|o| carried[o.index()]) {
            node.results.iter().for_each(|v| carried[v.index()] = true);
        }
    }
    carried
}

/// Which of some values are needed for others.
fn behind(body: &Graph, wanted: &[Value], among: &[bool]) -> Vec<bool> {
    let mut needed = vec![false; body.values.len()];
    wanted.iter().for_each(|v| needed[v.index()] = among[v.index()]);
    for node in body.nodes.values().rev() {
        if node.results.iter().any(|v| needed[v.index()]) {
            for o in node.operands.iter().filter(|o| among[o.index()]) {
                needed[o.index()] = true;
            }
        }
    }
    needed
}

/// The parts of a walk, and what stands for its results.
fn build(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Value],
    plan: &Plan,
    rates: &Rates,
) -> Vec<Value> {
    let body = &scan.body;
    let states = scan.states().count();
    let step = |v: Value| (v, Yield::Step, every_step(scan, body.ty(v).rank()));
    // First what is handed on and no state is needed for.
    let mut first: Vec<Value> = plan.to_walk.clone();
    first.extend(plan.to_last.iter().filter(|v| !plan.to_walk.contains(v)));
    let mut part =
        Part { given: vec![], yields: first.iter().map(|v| step(*v)).collect() };
    let found = part.add(g, scan, operands, false);
    let handed: Vec<(Value, Value)> = first.iter().copied().zip(found).collect();
    // Then the walk: its own yields, and what the last part takes of it.
    let own: Vec<usize> = (0..scan.yields.len())
        .filter(|y| plan.walked[body.outputs[states + y].value.index()])
        .collect();
    let of = |y: usize| -> (Value, Yield, Layout) {
        let (kind, layout) = scan.yields[y].clone();
        (body.outputs[states + y].value, kind, layout)
    };
    let mut yields: Vec<_> = own.iter().map(|y| of(*y)).collect();
    let place = |v: Value, yields: &[(Value, Yield, Layout)]| {
        yields.iter().position(|y| *y == step(v))
    };
    for v in &plan.on {
        if place(*v, &yields).is_none() {
            yields.push(step(*v));
        }
    }
    let among = |list: &[Value]| -> Vec<(Value, Value)> {
        handed.iter().filter(|(v, _)| list.contains(v)).copied().collect()
    };
    part = Part { given: among(&plan.to_walk), yields };
    let walk = pieces::split(g, scan, operands, &part, rates);
    let (finals, of_walk) = walk.split_at(states);
    let mut given = among(&plan.to_last);
    for v in &plan.on {
        given.extend(place(*v, &part.yields).map(|at| (*v, of_walk[at])));
    }
    // The rest.
    let others: Vec<usize> =
        (0..scan.yields.len()).filter(|y| !own.contains(y)).collect();
    let mut last = Part { given, yields: others.iter().map(|y| of(*y)).collect() };
    let of_last = last.add(g, scan, operands, false);
    let mut out = finals.to_vec();
    for y in 0..scan.yields.len() {
        let result = match own.iter().position(|o| *o == y) {
            Some(at) => of_walk[at],
            None => of_last[others.iter().position(|o| *o == y).expect("a yield")],
        };
        out.push(result);
    }
    out
}
