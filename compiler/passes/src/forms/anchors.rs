//! States that change at most once in a chunk: at its first row.
//!
//! ```text
//! token    Wa' = if position mod N = 0 then f(W, ..) else Wa
//! chunk    Wa' = if row 0 is there and stands at the boundary then f(W at the chunk's start, ..) else Wa
//! ```
//!
//! Chunks are aligned to absolute positions, so where C divides N no other row is at a boundary.
//! When row 0 is not there, the call that had it has already made the change.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "one shape of update is looked for; all others have no boundary"
)]

use super::chunk::Chunk;
use super::gates::take;
use crate::build::{broadcast, reshape, select, uniform};
use crate::vectorise::Mapped;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Op, Scan, Value};

/// The distances of boundaries at which states of the walk are held between; chunks must divide
/// all of them.
pub fn periods(scan: &Scan) -> Vec<usize> {
    let inputs = crate::autodiff::state_inputs(scan);
    let mut out: Vec<usize> = inputs
        .iter()
        .zip(&scan.body.outputs)
        .filter_map(|(&input, next)| {
            boundary_of(&scan.body, next.value).filter(|b| b.otherwise == input)
        })
        .map(|boundary| boundary.period)
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Where a state's next value is another than everywhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Boundary {
    /// Every so many tokens.
    pub(super) period: usize,
    /// Where `position mod period` is this.
    pub(super) at: usize,
    /// The next value everywhere else; the state itself, where it is held between boundaries.
    pub(super) otherwise: Value,
}

/// The boundaries of a state whose next value is chosen by position.
pub(super) fn boundary_of(body: &Graph, next: Value) -> Option<Boundary> {
    let node = body.def(next);
    let &[when, _, otherwise] = &node.operands[..] else { return None };
    if node.op != Op::Select {
        return None;
    }
    let mut when = when;
    while let Op::Broadcast { .. } = body.def(when).op {
        when = body.def(when).operands[0];
    }
    let equal = body.def(when);
    if equal.op != Op::Equal {
        return None;
    }
    let (rest, at) = with_number(body, &equal.operands)?;
    let rem = body.def(rest);
    if rem.op != Op::Rem {
        return None;
    }
    let period = uniform(body, rem.operands[1]).filter(|p| *p >= 1.0)?;
    let position = body.inputs.last()?.value;
    let later = if rem.operands[0] == position {
        0.0
    } else {
        let sum = body.def(rem.operands[0]);
        let (counted, by) = with_number(body, &sum.operands)?;
        match sum.op {
            Op::Add if counted == position => by,
            Op::Sub if sum.operands[0] == position => -by,
            _ => return None,
        }
    };
    let whole = [period, at, later].iter().all(|n| n.fract() == 0.0);
    let at = (at - later).rem_euclid(period);
    whole.then_some(Boundary { period: period as usize, at: at as usize, otherwise })
}

/// An operand and the number that the other one is.
fn with_number(body: &Graph, operands: &[Value]) -> Option<(Value, f64)> {
    let &[a, b] = operands else { return None };
    match (uniform(body, a), uniform(body, b)) {
        (_, Some(n)) => Some((a, n)),
        (Some(n), None) => Some((b, n)),
        (None, None) => None,
    }
}

impl Chunk<'_> {
    /// The value of a held state within the chunk; `always` where every chunk begins at a boundary.
    pub(super) fn held(
        &mut self,
        next: Value,
        start: Value,
        arguments: &[Mapped],
        always: bool,
    ) -> Value {
        // The state that is chosen at a boundary.
        let next = if always { self.body.def(next).operands[1] } else { next };
        let first: Vec<Value> = arguments
            .iter()
            .map(|a| if a.mapped { self.first_row(a.value) } else { a.value })
            .collect();
        let map = self.g.splice(self.body, &first);
        let changed = map[next.index()];
        if always {
            return changed;
        }
        let there = self.first_row(self.valid);
        let dims = self.g.ty(start).dims.clone();
        let there = broadcast(&mut self.g, there, &dims, &[]);
        select(&mut self.g, there, changed, start)
    }

    fn first_row(&mut self, value: Value) -> Value {
        let rest = self.g.ty(value).dims[1..].to_vec();
        let row = take(&mut self.g, value, 0, 0, 1);
        reshape(&mut self.g, row, &rest)
    }
}
