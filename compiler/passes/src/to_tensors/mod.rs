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
mod body;
mod feeds;
mod history;
mod inline;
mod instance;
mod order;
mod past;
mod samples;
mod states;
mod walk;
mod whole;

use crate::build::{broadcast, unary};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, vectorise_values};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Clock, MemoryId, Program};
use nestor_ir::tensor::{Axes, Graph, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Type};

/// What the graph is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// States start as inputs `state.<name>` `[B, ..]`, not as the initial weights.
    pub resume: bool,
    /// States of walks and of windows of fixed length are inputs in any case; what they start as is an
    /// output `start.state.<name>`.
    pub open: bool,
}

/// The dimensions that the code is repeated over.
const LEAD: [Dim; 2] = [Dim::Batch, Dim::Time];
/// Which of them is time.
const TIME: usize = 1;

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
            other => {
                let name = other.info().name;
                Err(PassError::bug("to_tensors", format!("`{name}` was handed over")))
            }
        }
    };
    let known =
        vectorise_values(&mut g, &ordered, &arguments, &LEAD, Some(TIME), &mut hook)?;
    let whole = |g: &mut Graph, v: Value| {
        let found = known[v.index()].ok_or_else(|| {
            PassError::bug("to_tensors", "an output that no node gives")
        })?;
        Ok::<Value, PassError>(lift(g, found, &LEAD))
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
    walked.finish(&mut g)?;
    past::handed_over(&g, options)
}

/// Streams and weights, as the code's inputs in order.
fn inputs(program: &Program, g: &mut Graph) -> Vec<Mapped> {
    let mut arguments = Vec::new();
    for input in &program.inputs {
        let lead: &[Dim] =
            if input.clock == Clock::Sequence { &LEAD[..1] } else { &LEAD };
        let dims: Dims = lead.iter().chain(&input.ty.dims).copied().collect();
        let value = g.input(input.name.clone(), Type { elem: input.ty.elem, dims });
        let value = if lead.len() == 1 {
            let dims: Dims = LEAD.iter().chain(&input.ty.dims).copied().collect();
            let axes: Axes = (0..dims.len()).filter(|&a| a != TIME).collect();
            broadcast(g, value, &dims, &axes)
        } else {
            value
        };
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
        let dims: Dims = LEAD.iter().chain(&input.ty.dims).copied().collect();
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
