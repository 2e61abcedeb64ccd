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

use super::Reason;
use super::chunk::Chunk;
use super::flat::reshape;
use super::gates::take;
use crate::build::{broadcast, select, uniform};
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
        .filter_map(|(&input, next)| period_of(&scan.body, input, next.value))
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// N, where the state is chosen anew at multiples of N and kept otherwise.
pub(super) fn period_of(body: &Graph, input: Value, next: Value) -> Option<usize> {
    let node = body.def(next);
    let &[when, _, kept] = &node.operands[..] else { return None };
    if node.op != Op::Select || kept != input {
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
    let (a, b) = (equal.operands[0], equal.operands[1]);
    let rest = match (uniform(body, a), uniform(body, b)) {
        (_, Some(0.0)) => a,
        (Some(0.0), _) => b,
        _ => return None,
    };
    let rem = body.def(rest);
    let position = body.inputs.last()?.value;
    if rem.op != Op::Rem || rem.operands[0] != position {
        return None;
    }
    let period = uniform(body, rem.operands[1])?;
    (period >= 1.0 && period.fract() == 0.0).then_some(period as usize)
}

impl Chunk<'_> {
    /// The value of a held state within the chunk.
    pub(super) fn held(
        &mut self,
        next: Value,
        start: Value,
        period: usize,
        arguments: &[Mapped],
    ) -> Result<Value, Reason> {
        if !period.is_multiple_of(self.rows) {
            return Err(Reason::new(format!(
                "a boundary every {period} tokens falls within chunks of {}",
                self.rows
            )));
        }
        let first: Vec<Value> = arguments
            .iter()
            .map(|a| if a.mapped { self.first_row(a.value) } else { a.value })
            .collect();
        let map = self.g.splice(self.body, &first);
        let changed = map[next.index()];
        let there = self.first_row(self.valid);
        let dims = self.g.ty(start).dims.clone();
        let there = broadcast(&mut self.g, there, &dims, &[]);
        Ok(select(&mut self.g, there, changed, start))
    }

    fn first_row(&mut self, value: Value) -> Value {
        let rest = self.g.ty(value).dims[1..].to_vec();
        let row = take(&mut self.g, value, 0, 0, 1);
        reshape(&mut self.g, row, &rest)
    }
}
