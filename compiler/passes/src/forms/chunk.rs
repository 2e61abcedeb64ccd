//! The chunk's program while it is built: inputs in, the token's values interpreted, outputs out.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the few ops that zeros break are named; all others are safe"
)]

use super::anchors::{Boundary, boundary_of};
use super::clocks::{Clocked, Otherwise, Rows};
use super::domain::{Abstract, Matrix, Read, Slot, Solved, Source, Term};
use super::gates::{Family, take};
use super::reads::as_it_stands;
use super::{Cut, Reason};
use crate::build::{broadcast_leading, full_like, reshape, select};
use crate::vectorise::Mapped;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Layout, Op, Value};
use nestor_ir::ty::{Elem, Type};

/// Everything known while a chunk's program is built.
pub(super) struct Chunk<'a> {
    /// The token's program.
    pub(super) body: &'a Graph,
    /// The chunk's program.
    pub(super) g: Graph,
    /// Tokens in a chunk.
    pub(super) rows: usize,
    /// Every chunk has its first row.
    from_start: bool,
    /// Whether errors that are not affine are solved row by row.
    pub(super) substitute: bool,
    /// Which rows are there, `[C]`.
    pub(super) valid: Value,
    /// What is fed by tokens: zero in rows that are not there.
    pub(super) streams: Vec<Value>,
    /// What every value of the token's program is.
    pub(super) values: Vec<Option<Abstract>>,
    /// Known values that were taken apart.
    pub(super) factored: Vec<Option<Matrix>>,
    /// States with an affine update.
    pub(super) slots: Vec<Slot>,
    /// All writes.
    pub(super) terms: Vec<Term>,
    /// All reads that had to wait.
    pub(super) reads: Vec<Read>,
    /// Slots that are solved.
    pub(super) families: Vec<Family>,
    /// The states of some families, built before and after every token.
    pub(super) built: Vec<(usize, Vec<(Value, Value)>)>,
    /// States that may change at the last row.
    pub(super) clocked: Vec<Clocked>,
}

/// What was found out about an update on the way to its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Structure {
    /// How many states are advanced together at most.
    pub coupled: usize,
    /// Some states change at the ends of windows alone.
    pub clocked: bool,
    /// Errors depend on what earlier tokens of the chunk wrote.
    pub feedback: bool,
    /// Gates differ along an axis of the state: what a pair of tokens leaves of it is as many numbers.
    pub channels: bool,
}

/// How a state ends.
enum End {
    /// Known at the start.
    Known(Value),
    /// As the next value at the last row.
    Clocked(Value),
    /// As its slot ends.
    Slot(usize),
}

/// The chunk's program for the token's program `body`.
pub(super) fn built(
    body: &Graph,
    feeds: &[(Feed, Layout)],
    types: &[Type],
    cut: Cut,
    substitute: bool,
) -> Result<(Graph, Structure), Reason> {
    let mut g = Graph::new();
    let inputs: Vec<Value> = body
        .inputs
        .iter()
        .zip(types)
        .map(|(input, ty)| g.input(input.name.clone(), ty.clone()))
        .collect();
    let count = inputs.len();
    let (valid, position) = (inputs[count - 2], inputs[count - 1]);
    let size = body.values.len();
    let mut chunk = Chunk {
        body,
        g,
        rows: cut.tokens,
        from_start: cut.from_start,
        substitute,
        valid,
        streams: Vec::new(),
        values: vec![None; size],
        factored: vec![None; size],
        slots: Vec::new(),
        terms: Vec::new(),
        reads: Vec::new(),
        families: Vec::new(),
        built: Vec::new(),
        clocked: Vec::new(),
    };
    let filled = endangered(body);
    let mut ends = Vec::new();
    let mut states = 0;
    let mut arguments = Vec::new();
    for (k, (feed, _)) in feeds.iter().enumerate() {
        let input = body.inputs[k].value;
        let value = match feed {
            Feed::Shared | Feed::Mask | Feed::Reach(_) => Mapped::shared(inputs[k]),
            Feed::Stream | Feed::Step => {
                let mut value = inputs[k];
                if *feed == Feed::Stream {
                    chunk.streams.push(value);
                }
                if filled[input.index()] && types[k].elem == Elem::Real {
                    let dims = types[k].dims.clone();
                    let there = broadcast_leading(&mut chunk.g, valid, &dims);
                    let one = full_like(&mut chunk.g, value, 1.0);
                    value = select(&mut chunk.g, there, value, one);
                }
                Mapped::all(value)
            }
            Feed::Initial => {
                let next = body.outputs[states].value;
                states += 1;
                ends.push((input, next, inputs[k]));
                Mapped::shared(inputs[k])
            }
        };
        arguments.push(value);
        if *feed != Feed::Initial {
            chunk.values[input.index()] = Some(Abstract::Known(value));
        }
    }
    for (k, value) in [(count - 2, valid), (count - 1, position)] {
        let value = Mapped::all(value);
        chunk.values[body.inputs[k].value.index()] = Some(Abstract::Known(value));
        arguments.push(value);
    }
    let mut finals = Vec::new();
    for (input, next, start) in ends {
        if next == input {
            chunk.values[input.index()] = Some(Abstract::Known(Mapped::shared(start)));
            finals.push(End::Known(start));
            continue;
        }
        finals.push(match boundary_of(body, next) {
            Some(b) if b.otherwise == input => {
                chunk.between(b, input, next, start, &arguments)?
            }
            Some(b) if b.at + 1 == b.period && b.period.is_multiple_of(cut.tokens) => {
                let otherwise = chunk.slot(input, b.otherwise, start)?;
                chunk.turns(b, next, Otherwise::Slot(otherwise))
            }
            _ => End::Slot(chunk.slot(input, next, start)?),
        });
    }
    chunk.solve()?;
    let structure = Structure {
        coupled: chunk.families.iter().map(|f| f.slots.len()).max().unwrap_or(0),
        clocked: !chunk.clocked.is_empty(),
        feedback: false,
        channels: chunk.families.iter().any(|f| f.axis.is_some()),
    };
    let graph = chunk.finish(&finals, states)?;
    let solves = |op: &Op| matches!(op, Op::SolveUnitLower { .. });
    let feedback = graph.nodes.values().any(|n| solves(&n.op));
    Ok((graph, Structure { feedback, ..structure }))
}

impl Chunk<'_> {
    /// A state that is held between boundaries, which must lie at the ends of chunks.
    fn between(
        &mut self,
        boundary: Boundary,
        input: Value,
        next: Value,
        start: Value,
        arguments: &[Mapped],
    ) -> Result<End, Reason> {
        let period = boundary.period;
        let whole = period.is_multiple_of(self.rows);
        if whole && boundary.at == 0 {
            let always = self.from_start && period == self.rows;
            let held = self.held(next, start, arguments, always);
            let reason = Reason::new("the state before a boundary is used on its own");
            self.values[input.index()] = Some(Abstract::Top(reason));
            self.values[next.index()] = Some(Abstract::Known(Mapped::shared(held)));
            return Ok(End::Known(held));
        }
        if whole && boundary.at + 1 == period {
            self.values[input.index()] = Some(Abstract::Known(Mapped::shared(start)));
            return Ok(self.turns(boundary, next, Otherwise::Held(start)));
        }
        Err(Reason::new(format!(
            "a boundary every {period} tokens falls within chunks of {}",
            self.rows
        )))
    }

    /// A state that changes to `next` at the chunk's last row at most.
    fn turns(&mut self, at: Boundary, next: Value, otherwise: Otherwise) -> End {
        let reason = Reason::new("what a boundary changes feeds back before it");
        self.values[next.index()] = Some(Abstract::Top(reason));
        // Chunks are aligned to positions: a chunk as long as the distance of boundaries ends at one.
        let chosen = self.body.def(next).operands[1];
        let always = (at.period == self.rows).then_some(chosen);
        self.clocked.push(Clocked { next, otherwise, always });
        End::Clocked(next)
    }

    /// A state that is to be solved.
    fn slot(&mut self, input: Value, next: Value, start: Value) -> Result<usize, Reason> {
        let dims = self.body.ty(input).dims.clone();
        super::flat::size(&dims)?;
        let slot = self.slots.len();
        let one = self.one();
        let itself = as_it_stands(&dims, Source { slot, after: false }, one);
        self.values[input.index()] = Some(Abstract::Matrix(itself));
        self.slots.push(Slot { input, next: Some(next), start, solved: None });
        Ok(slot)
    }

    /// What a value of the token's program is, as far as it is known.
    pub(super) fn value(&self, value: Value) -> Abstract {
        let found = self.values[value.index()].clone();
        found.unwrap_or_else(|| Abstract::Top(Reason::new("a value that nothing gives")))
    }

    /// The next value of a solved slot is the slot as it stands after the token.
    pub(super) fn solved_next(&mut self, value: Value) -> Option<Matrix> {
        let is = |s: &Slot| {
            s.next == Some(value) && matches!(s.solved, Some(Solved::Family(..)))
        };
        let slot = self.slots.iter().position(is)?;
        let one = self.one();
        let dims = self.body.ty(value).dims.clone();
        Some(as_it_stands(&dims, Source { slot, after: true }, one))
    }

    /// A state as the chunk leaves it.
    pub(super) fn ended(&mut self, slot: usize) -> Result<Value, Reason> {
        let dims = self.g.ty(self.slots[slot].start).dims.clone();
        match self.slots[slot].solved {
            Some(Solved::Family(family, place)) => {
                let family = self.families[family].clone();
                self.end_of(&family, place, &dims)
            }
            Some(Solved::Run(after)) => {
                let last = take(&mut self.g, after, 0, self.rows - 1, 1);
                Ok(reshape(&mut self.g, last, &dims))
            }
            None => Err(Reason::new("a state that is not solved")),
        }
    }

    /// Interprets what waits for a boundary as if it changed nothing.
    fn unchanged(&mut self) {
        for clocked in self.clocked.clone() {
            let unchanged = match clocked.otherwise {
                Otherwise::Held(start) => Abstract::Known(Mapped::shared(start)),
                Otherwise::Slot(slot) => {
                    let dims = self.g.ty(self.slots[slot].start).dims.clone();
                    let one = self.one();
                    let source = Source { slot, after: true };
                    Abstract::Matrix(as_it_stands(&dims, source, one))
                }
            };
            self.values[clocked.next.index()] = Some(unchanged);
        }
        if !self.clocked.is_empty() {
            self.interpret();
        }
    }

    fn finish(mut self, finals: &[End], states: usize) -> Result<Graph, Reason> {
        let mut last: Rows = vec![None; self.body.values.len()];
        let mut outputs = Vec::new();
        for end in finals {
            outputs.push(match end {
                End::Known(value) => *value,
                End::Clocked(next) => self.at_last_row(*next, &mut last)?,
                End::Slot(slot) => self.ended(*slot)?,
            });
        }
        let answers: Vec<Value> =
            self.body.outputs[states..].iter().map(|o| o.value).collect();
        let mut changed = Vec::new();
        for &answer in &answers {
            let waits = matches!(self.value(answer), Abstract::Top(_));
            changed.push(if waits && !self.clocked.is_empty() {
                Some(self.at_last_row(answer, &mut last)?)
            } else {
                None
            });
        }
        self.unchanged();
        for (answer, last) in answers.into_iter().zip(changed) {
            let known = match self.value(answer) {
                Abstract::Known(known) => known,
                Abstract::Matrix(matrix) => match self.materialised(&matrix)? {
                    Abstract::Known(known) => known,
                    Abstract::Row(_)
                    | Abstract::Function
                    | Abstract::Matrix(_)
                    | Abstract::Top(_) => {
                        return Err(Reason::new("an answer that is not known"));
                    }
                },
                Abstract::Row(_) | Abstract::Function => {
                    return Err(Reason::new("an answer that waits"));
                }
                Abstract::Top(reason) => return Err(reason),
            };
            let all = self.lifted(known);
            outputs.push(match last {
                Some(last) => self.with_last_row(all, last),
                None => all,
            });
        }
        for (output, value) in self.body.outputs.iter().zip(outputs) {
            self.g.output(output.name.clone(), value);
        }
        Ok(self.g)
    }
}

/// Streams that reach an op which zeros would break: there the rows that are not present hold
/// ones instead, so that neither a value nor a derivative of them is infinite.
fn endangered(body: &Graph) -> Vec<bool> {
    let mut needed = vec![false; body.values.len()];
    let nodes: Vec<_> = body.nodes.values().collect();
    for node in nodes.into_iter().rev() {
        let all = node.results.iter().any(|r| needed[r.index()]);
        for (k, operand) in node.operands.iter().enumerate() {
            let breaks = match node.op {
                Op::Sqrt | Op::Log | Op::Pow => true,
                Op::Div | Op::Rem => k == 1,
                Op::Solve | Op::InverseRoot { .. } => k == 0,
                _ => false,
            };
            needed[operand.index()] |= all || breaks;
        }
    }
    needed
}
