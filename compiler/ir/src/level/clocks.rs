//! The clock of every value of a level program's code.
//!
//! An op happens at the fastest clock of its operands; `gathered` and `held` lead from one clock to
//! another, and a memory's reads happen at the memory's. What no clock moves is there once.

use super::{Clock, MemoryId, Program};
use crate::entity::{Arena, Entity};
use crate::level::{Input, Memory};
use crate::tensor::{Graph, NodeData, Op, Value};

/// Clocks of the values of a graph under construction.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    known: Vec<Clock>,
}

impl Clocks {
    /// The clock of a value; all before it become known.
    pub fn of(
        &mut self,
        graph: &Graph,
        inputs: &[Input],
        memories: &Arena<MemoryId, Memory>,
        value: Value,
    ) -> Clock {
        while self.known.len() <= value.index() {
            let next = Value::new(self.known.len());
            let node = graph.def(next);
            let clock = match &node.op {
                Op::Input { index, .. } => {
                    let name = &graph.inputs[*index].name;
                    let input = inputs.iter().find(|i| i.name == *name);
                    input.map_or(Clock::Once, |i| i.clock)
                }
                Op::Read { memory, .. } => memories[*memory].clock(),
                _ => own(node).unwrap_or_else(|| {
                    let operands = node.operands.iter().map(|v| self.known[v.index()]);
                    operands.min().unwrap_or(Clock::Once)
                }),
            };
            self.known.push(clock);
        }
        self.known[value.index()]
    }
}

/// The clock that an op says itself.
fn own(node: &NodeData) -> Option<Clock> {
    if let Op::Tick { every } = node.op {
        return Some(Clock::Tokens(every));
    }
    if let Op::Gathered { every, .. } | Op::Held { every } = node.op {
        return Some(every);
    }
    let tokens = matches!(node.op, Op::Position { .. } | Op::Exists { .. });
    tokens.then_some(Clock::Tokens(1))
}

/// The clock of every value of `code`, the program's own or the same in another order.
pub fn of_values(program: &Program, code: &Graph) -> Vec<Clock> {
    let mut clocks = Clocks::default();
    if let Some(last) = code.values.keys().last() {
        clocks.of(code, &program.inputs, &program.memories, last);
    }
    clocks.known
}

/// Which values are known from the start of a sequence, though no clock of tokens moves them.
pub fn known_ahead(code: &Graph, clocks: &[Clock]) -> Vec<bool> {
    let mut known = vec![false; code.values.len()];
    for node in code.nodes.values() {
        let ahead = match &node.op {
            Op::Gathered { ahead, .. } => *ahead,
            // What was written before it may not be.
            Op::Read { .. } => false,
            _ => node.operands.iter().all(|v| known[v.index()]),
        };
        for v in &node.results {
            let slow = matches!(clocks[v.index()], Clock::Sequence | Clock::Once);
            known[v.index()] = slow && ahead;
        }
    }
    known
}
