//! A walk over the tokens that are folded away, within a step of a walk over those that stay.

use super::Piece;
use super::axes::{own_numbers, seen, within};
use super::cone::Role;
use super::sinks::Sink;
use super::stages::Group;
use super::step::Step;
use crate::build::{constant, transpose};
use crate::causal::{lower, never_above};
use crate::units::Remade;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, Op, Reach, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};

/// Tokens of a chunk, however long what is summed over is: as many as products are good at.
const LEAST_TOKENS: usize = 16;
/// What the largest value so far is before there was any: less than what anything is, and still a number.
const LEAST: f64 = -1e30;

/// Adds the walk of a group.
pub(super) fn walk(graph: &Graph, group: &Group, most: Piece, made: &mut Remade<'_>) {
    let first = &group.sinks[0];
    let chunk = tokens_of(graph, group, most);
    let empty = |map: Dims| Scan {
        map: map.into_iter().collect(),
        time: first.time,
        stride: Stride::Chunk(chunk),
        reverse: false,
        feeds: vec![],
        yields: vec![],
        body: Graph::new(),
    };
    let mut outer = empty(first.maps.clone());
    let mut fed = Vec::new();
    let mut fed_within = Vec::new();
    for &leaf in &group.cone.leaves {
        let roles = &group.cone.roles[&leaf];
        let kept = roles.contains(&Role::Kept);
        let feed = if kept { Feed::Stream } else { Feed::Shared };
        let layout: Layout = roles.iter().map(|role| outside(*role)).collect();
        let ty = seen_by_body(&outer, feed, &layout, graph.ty(leaf));
        fed_within.push(outer.body.input(format!("x{}", fed.len()), ty));
        outer.feeds.push((feed, layout));
        fed.push(made.at(leaf));
    }
    let rows = Dim::Fixed(chunk);
    outer.body.input("valid", Type::bool([rows]));
    let position = outer.body.input("position", Type::real([rows]));
    let mut ends = begun(graph, group, (rows, most.across), &mut outer.body);
    for reach in reaches(graph, group) {
        let walk = empty(Dims::new());
        let step = Step::new(graph, group, (rows, most.across, *reach), (walk, position));
        let (walk, operands) = step.made(&outer.body, &fed_within, &ends);
        ends =
            outer.body.add_many(Op::Scan { scan: Box::new(walk) }, &operands).into_vec();
    }
    let mut backs = Vec::new();
    for (n, sink) in group.sinks.iter().enumerate() {
        // Tokens first, as steps yield them.
        let own = within(&sink.result, most.across);
        let at = own.iter().position(|a| sink.result[*a] == Role::Kept);
        let at = at.expect("it stays");
        let order: Axes =
            [at].into_iter().chain((0..own.len()).filter(|a| *a != at)).collect();
        let end = transpose(&mut outer.body, ends[n], &order);
        outer.body.output(format!("y{n}"), end);
        let (layout, back) = yielded(sink);
        outer.yields.push((Yield::Stream, layout));
        backs.push(back);
    }
    let op = Op::Scan { scan: Box::new(outer) };
    let results = made.out.add_many(op, &fed);
    for ((sink, result), back) in group.sinks.iter().zip(results).zip(backs) {
        let as_asked = transpose(&mut made.out, result, &back);
        made.named(&[sink.value(graph)], &[as_asked]);
    }
}

/// Tokens of a chunk: fewer where what is summed over is long.
fn tokens_of(graph: &Graph, group: &Group, most: Piece) -> usize {
    let own = |v: &Value| own_numbers(&graph.ty(*v).dims, &group.cone.roles[v]);
    let longest = group.cone.leaves.iter().map(own).max().unwrap_or(1);
    let fits = (most.numbers / longest.max(1)).max(LEAST_TOKENS).min(most.tokens);
    1 << fits.ilog2()
}

/// What the states of a group's folds are before there was any token.
fn begun(
    graph: &Graph,
    group: &Group,
    (rows, across): (Dim, bool),
    outer: &mut Graph,
) -> Vec<Value> {
    let of = |sink: &Sink| {
        let begin = if sink.is_largest(graph) { LEAST } else { 0.0 };
        let dims = seen(&graph.ty(sink.value(graph)).dims, &sink.result, rows, across);
        constant(outer, begin, &dims)
    };
    group.sinks.iter().map(of).collect()
}

/// Which tokens are walked, one part after the other: those with which pairs have no say in any of the folds are not.
fn reaches(graph: &Graph, group: &Group) -> &'static [Option<Reach>] {
    let beyond = |later: bool| {
        group.sinks.iter().all(|sink| {
            let [kept, summed] = sink.axes();
            let (row, column) = if later { (kept, summed) } else { (summed, kept) };
            match sink.is_largest(graph) {
                true => never_above(graph, sink.pairs, row, column),
                false => lower(graph, sink.pairs, row, column),
            }
        })
    };
    match () {
        () if beyond(true) => &[Some(Reach::Before), Some(Reach::At)],
        () if beyond(false) => &[Some(Reach::At), Some(Reach::After)],
        () => &[None],
    }
}

/// What an axis is to the walk over the tokens that stay.
fn outside(role: Role) -> Axis {
    match role {
        Role::Map(n) => Axis::Map(n),
        Role::Kept => Axis::Time,
        Role::Summed | Role::Own => Axis::Body,
    }
}

/// The layout of what a walk yields, sequences, tokens, what else it maps, and the order in which its axes are as they were asked for.
fn yielded(sink: &Sink) -> (Layout, Axes) {
    let first = usize::from(sink.maps.first() == Some(&Dim::Batch));
    let maps = (0..sink.maps.len()).map(Role::Map);
    let own = sink.result.iter().filter(|r| **r == Role::Own).copied();
    let mut axes: Vec<Role> = maps.chain(own).collect();
    axes.insert(first, Role::Kept);
    let layout = axes.iter().map(|role| outside(*role)).collect();
    let mut owns = axes.iter().enumerate().filter(|(_, r)| **r == Role::Own);
    let place = |role: &Role| match role {
        Role::Own => owns.next().expect("as many as before").0,
        role => axes.iter().position(|r| r == role).expect("it has all of them"),
    };
    (layout, sink.result.iter().map(place).collect())
}
