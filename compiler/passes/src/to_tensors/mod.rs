//! From one token of one sequence to whole batches of sequences.
//!
//! ```text
//! before   code:  y = read M (q);  write M (k, v)                  one token, program order
//! after    y, W = scan over T (q, k, v; W0)                        [B, T, ..], one walk a memory
//! ```
//!
//! The code is repeated over `[B, T]`. Every memory with weights becomes *one* scan by tokens
//! over batch and its own leading dimensions; its body is the definition of a token: reads and
//! writes in the order of the statements, inner gradients as marks for the next pass. Memories that
//! feed one another within a token are one scan, with the code between them in its body. A memory
//! without weights keeps only its past, so it becomes windows over time.
//!
//! Names: streams and `next.<stream>` `[B, T, ..]`, weights by path; outputs under their names,
//! `loss` with `loss.counts` where a condition chooses tokens, and final states `state.<name>`, the
//! past that windows look at among them.

mod acts;
mod apart;
mod attention;
mod blocks;
mod body;
mod clocks;
mod ends;
mod entries;
mod feeds;
mod history;
mod inline;
mod instance;
mod order;
mod past;
mod placed;
mod samples;
mod states;
mod stored;
mod ticks;
mod walk;
mod whole;

use crate::build::unary;
use crate::error::PassError;
use crate::vectorise::{Lead, Mapped, lift, vectorise_each};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::clocks::of_values;
use nestor_ir::level::{Clock, MemoryId, Program};
use nestor_ir::tensor::{Graph, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Type};

pub use whole::bounded;

/// What the graph is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// States start as inputs `state.<name>` `[B, ..]`, not as the initial weights.
    pub resume: bool,
    /// States of walks and of windows of fixed length are inputs in any case; what they start as is an
    /// output `start.state.<name>`.
    pub open: bool,
    /// Memories that are windows of fixed length are read by blocks of tokens, where nothing is handed over.
    pub blocks: bool,
}

/// The dimensions that the code is repeated over.
const LEAD: [Dim; 2] = [Dim::Batch, Dim::Time];
/// Which of them is time.
const TIME: usize = 1;

/// What a value of this clock is repeated over; one that no clock moves, where it is asked for.
fn lead(clock: Clock) -> Dims {
    match clock {
        Clock::Tokens(every) => [Dim::Batch, Dim::time(every)].into_iter().collect(),
        Clock::Sequence => [Dim::Batch].into_iter().collect(),
        Clock::Steps(_) | Clock::Once => LEAD.into_iter().collect(),
    }
}

/// The whole program as one tensor graph, inner gradients as marks.
///
/// # Errors
/// Where a memory asks for what has no whole-sequence meaning yet.
pub fn to_tensors(program: &Program, options: Options) -> Result<Graph, PassError> {
    let (ordered, groups) = order::memories_together(program, &program.code)?;
    let ordered = if options.resume { whole::sized(&ordered) } else { ordered };
    let mut g = Graph::new();
    let arguments = inputs(program, &mut g);
    let weights: Vec<Value> =
        arguments[program.inputs.len()..].iter().map(|m| m.value).collect();
    let mut walked = walk::Walked::new(program, &weights, options, groups);
    let mut ahead = Ahead::default();
    let mut meetings = clocks::Meetings::new(options.resume);
    let clocks = of_values(program, &ordered);
    let at = |v: Value| (clocks[v.index()], lead(clocks[v.index()]));
    let leads: Vec<Lead> = clocks
        .iter()
        .map(|clock| {
            let dims = lead(*clock);
            let time = (dims.len() > TIME).then_some(TIME);
            Lead { dims, time }
        })
        .collect();
    let none = Lead { dims: Dims::new(), time: None };
    let lead_of = |node: &NodeData| match node.results.first() {
        Some(v) => &leads[v.index()],
        None => &none,
    };
    let mut hook = |g: &mut Graph, node: &NodeData, known: &[Option<Mapped>]| {
        let of = |v: Value| {
            known[v.index()]
                .ok_or_else(|| PassError::bug("to_tensors", "an operand not known yet"))
        };
        match &node.op {
            Op::Read { .. } | Op::Write { .. } => {
                walked.results(g, &ordered, node, known)
            }
            Op::Next { by } => Ok(vec![ahead.value(program, g, &ordered, node, *by)?]),
            Op::When => Ok(vec![of(node.operands[0])?]),
            Op::Gathered { every, ahead, .. } => {
                let from = (of(node.operands[0])?, at(node.operands[0]).0);
                let to = (*every, *ahead);
                Ok(vec![meetings.gathered(g, from, to, walked.handed())?])
            }
            Op::Held { every } => {
                let from = (of(node.operands[0])?, at(node.operands[0]).0);
                Ok(vec![meetings.held(g, from, *every)?])
            }
            other => {
                let name = other.info().name;
                Err(PassError::bug("to_tensors", format!("`{name}` was handed over")))
            }
        }
    };
    let known = vectorise_each(&mut g, &ordered, &arguments, &lead_of, &mut hook)?;
    let whole = |g: &mut Graph, v: Value| {
        let found = known[v.index()].ok_or_else(|| {
            PassError::bug("to_tensors", "an output that no node gives")
        })?;
        Ok::<Value, PassError>(lift(g, found, &at(v).1))
    };
    for output in &ordered.outputs {
        let value = whole(&mut g, output.value)?;
        g.output(output.name.clone(), value);
        let node = ordered.def(output.value);
        if node.op == Op::When {
            let there = whole(&mut g, node.operands[1])?;
            let counts = unary(&mut g, Op::Real, there);
            g.output(format!("{}.counts", output.name), counts);
        }
    }
    walked.finish(&mut g, meetings.finals());
    past::handed_over(&g, options)
}

/// Streams and weights, as the code's inputs in order.
fn inputs(program: &Program, g: &mut Graph) -> Vec<Mapped> {
    let mut arguments = Vec::new();
    for input in &program.inputs {
        let dims = lead(input.clock).into_iter().chain(input.ty.dims.iter().copied());
        let ty = Type { elem: input.ty.elem, dims: dims.collect() };
        let value = g.input(input.name.clone(), ty);
        arguments.push(Mapped::all(value));
    }
    for weight in program.weights.values() {
        let ty = Type::real(weight.dims.iter().copied());
        arguments.push(Mapped::shared(g.input(weight.path.clone(), ty)));
    }
    arguments
}

/// Inputs of the future, made where something asks for them.
#[derive(Default)]
struct Ahead {
    made: Vec<(String, Value)>,
}

impl Ahead {
    fn value(
        &mut self,
        program: &Program,
        g: &mut Graph,
        code: &Graph,
        node: &NodeData,
        by: usize,
    ) -> Result<Mapped, PassError> {
        let Op::Input { index, .. } = code.def(node.operands[0]).op else {
            return Err(PassError::bug("to_tensors", "`next` of what is no input"));
        };
        let input = &program.inputs[index];
        let name = if by == 1 {
            format!("next.{}", input.name)
        } else {
            format!("next.{by}.{}", input.name)
        };
        if let Some((_, value)) = self.made.iter().find(|(n, _)| *n == name) {
            return Ok(Mapped::all(*value));
        }
        let dims: Dims =
            lead(input.clock).into_iter().chain(input.ty.dims.iter().copied()).collect();
        let value = g.input(name.clone(), Type { elem: input.ty.elem, dims });
        self.made.push((name, value));
        Ok(Mapped::all(value))
    }
}

/// The memory that a node acts on.
fn memory_of(program: &Program, node: &NodeData) -> Option<MemoryId> {
    use nestor_ir::level::Statement;
    match &node.op {
        Op::Read { memory, .. } => Some(*memory),
        Op::Write { statement } => Some(match &program.statements[*statement] {
            Statement::Minimize(m) => m.memory,
            Statement::Update(u) => u.memory,
        }),
        _ => None,
    }
}
