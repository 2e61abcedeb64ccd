//! When each node of a level program is evaluated, and what all of them have given so far.

use super::array::Array;
use super::memory::place;
use super::tensor::RunError;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::level::clocks::{known_ahead, of_values};
use crate::level::{Clock, Program, Statement};
use crate::tensor::{Graph, NodeData, Op, Value};
use crate::ty::Type;

/// When a node is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// How often.
    pub(super) clock: Clock,
    /// In which walk over the tokens: what is known of a whole sequence needs one before.
    pub(super) phase: usize,
    /// Before the first token, for what no clock of tokens moves.
    ahead: bool,
}

/// When all nodes are.
pub(super) struct Course {
    /// The clock of every value.
    pub(super) clocks: Vec<Clock>,
    /// By node.
    pub(super) nodes: Vec<When>,
    /// The phase of each memory.
    pub(super) memories: Vec<usize>,
    /// How many there are.
    pub(super) phases: usize,
}

impl Course {
    /// Of a program.
    ///
    /// # Errors
    /// Where something that is known ahead depends on itself.
    pub(super) fn new(program: &Program) -> Result<Self, RunError> {
        let code = &program.code;
        let clocks = of_values(program, code);
        let ahead = known_ahead(code, &clocks);
        let views = code.nodes.values().filter(|n| is_view(n)).count();
        let mut memories = vec![0; program.memories.len()];
        let mut phases = vec![0; code.nodes.len()];
        for round in 0.. {
            let before = (phases.clone(), memories.clone());
            for (n, node) in code.nodes.values().enumerate() {
                let of = |v: &Value| phases[code.values[*v].node.index()];
                let mut phase = node.operands.iter().map(of).max().unwrap_or(0);
                phase += usize::from(is_view(node));
                if let Some(m) = memory_of(program, node) {
                    memories[m] = phase.max(memories[m]);
                    phase = memories[m];
                }
                phases[n] = phase;
            }
            if before == (phases.clone(), memories.clone()) {
                break;
            }
            if round > views * code.nodes.len() + 1 {
                return Err(RunError::Op("gathered"));
            }
        }
        let count = phases.iter().max().map_or(1, |n| n + 1);
        let mut course = Self { clocks, nodes: vec![], memories, phases: count };
        for (node, phase) in code.nodes.values().zip(phases) {
            let clock = course.clock_of(program, node);
            let ahead = match node.results.first() {
                Some(v) => ahead[v.index()],
                None => memory_of(program, node).is_none(),
            };
            course.nodes.push(When { clock, phase, ahead });
        }
        Ok(course)
    }

    /// The clock of a node.
    pub(super) fn clock_of(&self, program: &Program, node: &NodeData) -> Clock {
        match (node.results.first(), memory_of(program, node)) {
            (Some(v), _) => self.clocks[v.index()],
            (None, Some(m)) => {
                let memory = program.memories.values().nth(m);
                memory.map_or(Clock::Tokens(1), |m| m.clock())
            }
            (None, None) => Clock::Once,
        }
    }

    /// Whether a node is evaluated before the tokens of this phase.
    pub(super) fn first(&self, n: usize, phase: usize) -> bool {
        let node = self.nodes[n];
        node.phase == phase && node.ahead && !matches!(node.clock, Clock::Tokens(_))
    }

    /// Whether a node is evaluated after them.
    pub(super) fn last(&self, n: usize, phase: usize) -> bool {
        let node = self.nodes[n];
        node.phase == phase && !node.ahead && !matches!(node.clock, Clock::Tokens(_))
    }
}

fn is_view(node: &NodeData) -> bool {
    matches!(node.op, Op::Gathered { ahead: true, .. })
}

fn memory_of(program: &Program, node: &NodeData) -> Option<usize> {
    match &node.op {
        Op::Read { memory, .. } => Some(place(*memory)),
        Op::Write { statement } => Some(place(match &program.statements[*statement] {
            Statement::Minimize(m) => m.memory,
            Statement::Update(u) => u.memory,
        })),
        _ => None,
    }
}

/// What every value was, at each tick of its clock.
#[derive(Clone)]
pub(super) struct History {
    values: Vec<Vec<Array>>,
    types: Vec<Type>,
    sizes: Sizes,
}

impl History {
    /// Nothing yet.
    pub(super) fn new(code: &Graph, sizes: Sizes) -> Self {
        let types = code.values.values().map(|v| v.ty.clone()).collect();
        Self { values: vec![vec![]; code.values.len()], types, sizes }
    }

    /// Whether a token is the last of a tick.
    pub(super) fn completes(&self, every: usize, token: usize) -> bool {
        (self.sizes.start + token + 1).is_multiple_of(every)
    }

    /// The number, in this call, of the last tick at or before a token.
    pub(super) fn tick(&self, every: usize, token: usize) -> Option<usize> {
        ((self.sizes.start % every + token + 1) / every).checked_sub(1)
    }

    /// Keeps what a node gave.
    pub(super) fn put(&mut self, node: &NodeData, results: Vec<Array>) {
        for (v, result) in node.results.iter().zip(results) {
            self.values[v.index()].push(result);
        }
    }

    /// The value as it stands at a token; zero where it was not yet.
    pub(super) fn now(&self, course: &Course, v: Value, token: usize) -> Array {
        let all = &self.values[v.index()];
        let found = match course.clocks[v.index()] {
            Clock::Tokens(every) => self.tick(every, token).and_then(|n| all.get(n)),
            _ => all.last(),
        };
        found.cloned().unwrap_or_else(|| {
            let ty = &self.types[v.index()];
            Array::zeros(
                ty.elem,
                ty.dims.iter().map(|d| d.size(&self.sizes)).collect::<Vec<_>>(),
            )
        })
    }

    /// The value at another clock, where that is what the node is.
    pub(super) fn meet(
        &self,
        course: &Course,
        node: &NodeData,
        token: usize,
    ) -> Option<Array> {
        let &v = node.operands.first()?;
        if matches!(node.op, Op::Held { .. }) {
            return Some(self.now(course, v, token));
        }
        let Op::Gathered { size, .. } = node.op else { return None };
        let rows = size.size(&self.sizes);
        let all = &self.values[v.index()];
        let until =
            match (course.clocks[v.index()], course.clocks[node.results[0].index()]) {
                (Clock::Tokens(every), Clock::Tokens(_)) => {
                    self.tick(every, token).map_or(0, |n| n + 1)
                }
                _ => all.len(),
            };
        let ty = &self.types[v.index()];
        let own = ty.dims.iter().map(|d| d.size(&self.sizes));
        let dims: Vec<usize> = std::iter::once(rows).chain(own).collect();
        let mut out = Array::zeros(ty.elem, dims);
        for row in 0..rows {
            let Some(value) = (until + row).checked_sub(rows).and_then(|n| all.get(n))
            else {
                continue;
            };
            out.place(value, |i| {
                Some(std::iter::once(row).chain(i.iter().copied()).collect())
            });
        }
        Some(out)
    }

    /// All values of an output, in order: of one that no clock moves, as often as there are tokens.
    pub(super) fn all(&self, course: &Course, v: Value) -> Vec<Array> {
        let all = self.values[v.index()].clone();
        match course.clocks[v.index()] {
            Clock::Tokens(_) | Clock::Sequence => all,
            Clock::Steps(_) | Clock::Once => {
                all.iter().cycle().take(self.sizes.time * all.len()).cloned().collect()
            }
        }
    }
}
