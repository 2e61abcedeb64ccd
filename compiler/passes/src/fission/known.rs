//! What a walk without states computes, and an earlier one of the same chunks has handed to others: it is taken from there.
//!
//! ```text
//! before   forward's first part: T, P (handed)      backward's first part: T, P again, G
//! after    forward's first part: T, P               backward's first part: G
//! ```
//!
//! It is kept from the one to the other for that, so that only what costs far more than to read it is taken: the inverse of a
//! system above all.

use super::cost::Rates;
use super::cut::{Cut, Where};
use super::part::Part;
use crate::autodiff::body_inputs;
use crate::build::every_step;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Layout, Op, Scan, Value, Yield};
use rustc_hash::FxHashMap;

/// How much more than it costs to read it is what is kept feared to take room.
const FEARED: f64 = 4.0;

/// What stands for the results of a walk that is to be added to a graph, added; nothing where no earlier one has computed anything of it.
pub(super) fn taken(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Value],
    rates: &Rates,
) -> Option<Vec<Value>> {
    let whole = scan.feeds.iter().all(|(f, _)| !f.is_of_steps());
    if scan.states().next().is_some() || !whole {
        return None;
    }
    let mut told = Told::default();
    let own = told.all(scan, operands);
    let mut there: Vec<Option<Value>> = vec![None; scan.body.values.len()];
    for node in g.nodes.values() {
        let Op::Scan { scan: other } = &node.op else { continue };
        let alike =
            (&other.map, other.time, other.stride) == (&scan.map, scan.time, scan.stride);
        if !alike || other.states().next().is_some() {
            continue;
        }
        let its = told.all(other, &node.operands);
        let yields = other.yields.iter().zip(&other.body.outputs).zip(&node.results);
        for (((kind, layout), output), result) in yields {
            let rank = other.body.ty(output.value).rank();
            if *kind != Yield::Step || *layout != every_step(other, rank) {
                continue;
            }
            for (v, known) in there.iter_mut().enumerate() {
                if known.is_none() && own[v] == its[output.value.index()] {
                    *known = Some(*result);
                }
            }
        }
    }
    let body = &scan.body;
    let place = |v: Value| match (&body.def(v).op, there[v.index()]) {
        (Op::Input { .. } | Op::Constant { .. }, _) => Where::Fed,
        (_, Some(_)) => Where::Elsewhere(1.0),
        (_, None) => Where::Here,
    };
    let wanted: Vec<Value> = body.outputs.iter().map(|o| o.value).collect();
    let mut handed = Vec::new();
    Cut { body, rates, feared: FEARED, place: &place }.take(&wanted, &mut handed);
    if handed.is_empty() {
        return None;
    }
    let given = handed.iter().filter_map(|v| Some((*v, there[v.index()]?))).collect();
    // What is yielded as it was taken is what it was taken from.
    let as_taken = |(kind, layout): &(Yield, Layout), v: Value| {
        let whole = *layout == every_step(scan, body.ty(v).rank());
        (*kind == Yield::Step && whole && handed.contains(&v))
            .then(|| there[v.index()])?
    };
    let found: Vec<Option<Value>> =
        scan.yields.iter().zip(&wanted).map(|(how, v)| as_taken(how, *v)).collect();
    let others = scan.yields.iter().zip(&wanted).zip(&found);
    let yields = others
        .filter(|(_, found)| found.is_none())
        .map(|(((kind, layout), v), _)| (*v, *kind, layout.clone()));
    let mut part = Part { given, yields: yields.collect() };
    let mut made = part.add(g, scan, operands, false).into_iter();
    found.into_iter().map(|found| found.or_else(|| made.next())).collect()
}

/// Values by what they are: two of the same number are the same at every step.
#[derive(Default)]
struct Told<'s> {
    inputs: Vec<(Input<'s>, usize)>,
    /// By the numbers of operands: what is done to them, and the number of its first result.
    nodes: FxHashMap<Vec<usize>, Vec<(&'s Op, usize)>>,
    count: usize,
}

/// What a body sees of an operand, or one of what every body is told of its chunk.
#[derive(PartialEq)]
enum Input<'s> {
    Fed(Feed, &'s Layout, Value),
    OfChunk(usize),
}

impl<'s> Told<'s> {
    /// The number of each value of a walk's body.
    fn all(&mut self, scan: &'s Scan, operands: &[Value]) -> Vec<usize> {
        let body = &scan.body;
        let mut out = vec![0; body.values.len()];
        let fed = body_inputs(scan);
        for ((input, (feed, layout)), operand) in
            fed.iter().zip(&scan.feeds).zip(operands)
        {
            if let Some(input) = input {
                out[input.index()] = self.input(Input::Fed(*feed, layout, *operand));
            }
        }
        let count = fed.iter().flatten().count();
        for (n, input) in body.inputs[count..].iter().enumerate() {
            out[input.value.index()] = self.input(Input::OfChunk(n));
        }
        for node in body.nodes.values() {
            if matches!(node.op, Op::Input { .. }) {
                continue;
            }
            let of = node.operands.iter().map(|o| out[o.index()]).collect();
            let found = self.nodes.entry(of).or_default();
            let first = match found.iter().find(|(op, _)| **op == node.op) {
                Some((_, first)) => *first,
                None => {
                    found.push((&node.op, self.count));
                    self.count += node.results.len();
                    self.count - node.results.len()
                }
            };
            for (n, result) in node.results.iter().enumerate() {
                out[result.index()] = first + n;
            }
        }
        out
    }

    fn input(&mut self, input: Input<'s>) -> usize {
        if let Some((_, number)) = self.inputs.iter().find(|(i, _)| *i == input) {
            return *number;
        }
        self.inputs.push((input, self.count));
        self.count += 1;
        self.count - 1
    }
}
