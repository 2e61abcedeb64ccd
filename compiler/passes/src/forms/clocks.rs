//! States that change at most once in a chunk: at its last row.
//!
//! ```text
//! token    W' = if (position + 1) mod N = 0 then f(W, G') else W;   y = read(W', q)
//! chunk    Y = read(W, Q), its last row read(W', q);   W' = f(W, G at the chunk's end) where row C - 1 is there
//! ```
//!
//! Within the chunk such a state is a constant, and gradients at it are known at the start. What
//! depends on its next value is computed twice: for all rows as if nothing changed, and for the
//! last row as it is, where everything is one token's own program with states built once.
//!
//! A sum over a window ends the same way: it goes on in every row but the last, where it begins
//! anew, so that it is an affine state without gates, and one product gives what the window wrote.
//!
//! ```text
//! token    P' = if (position + 1) mod N = 0 then 0 else P + x
//! chunk    F = P + all x;   P' = if row C - 1 is there and stands at the boundary then 0 else F
//! ```

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Factor, Matrix, Right, Solved};
use super::gates::{Channels, Family, plus, take};
use crate::build::{add, broadcast, contract, mul, reshape, select};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Op, Value};

/// A state that may change at the chunk's last row.
#[derive(Clone, Debug)]
pub(super) struct Clocked {
    /// The token program's next value.
    pub(super) next: Value,
    /// What it is in all other rows.
    pub(super) otherwise: Otherwise,
    /// What it is at the last row, where that is always at a boundary.
    pub(super) always: Option<Value>,
}

/// What a state that may change at the chunk's last row is before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// The value at the chunk's start.
    Held(Value),
    /// A state that goes on.
    Slot(usize),
}

/// What the last row's values are, by the token program's values.
pub(super) type Rows = Vec<Option<Value>>;

impl Chunk<'_> {
    /// A value of the token's program at the chunk's last row.
    pub(super) fn at_last_row(
        &mut self,
        value: Value,
        known: &mut Rows,
    ) -> Result<Value, Reason> {
        if let Some(found) = known[value.index()] {
            return Ok(found);
        }
        let node = self.body.def(value).clone();
        let found = match self.value(value) {
            Abstract::Known(shared) if !shared.mapped => shared.value,
            Abstract::Known(mapped) if matches!(node.op, Op::Input { .. }) => {
                self.last_row(mapped.value)
            }
            Abstract::Matrix(matrix) if self.is_state(value) => {
                self.matrix_at_last_row(&matrix)?
            }
            // What is made of states is made of them as they are there: as a sum with gates, these would be computed at every row.
            Abstract::Matrix(_)
            | Abstract::Known(_)
            | Abstract::Row(_)
            | Abstract::Function
            | Abstract::Top(_) => {
                if let Op::Input { .. } = node.op {
                    return Err(Reason::new("a state that is not known at a boundary"));
                }
                let clocked = self.clocked.iter().find(|c| c.next == value).cloned();
                let found = match clocked.as_ref().and_then(|c| c.always) {
                    Some(there) => self.at_last_row(there, known)?,
                    None => self.node_at_last_row(value, known)?,
                };
                match clocked {
                    Some(clocked) => {
                        let otherwise = match clocked.otherwise {
                            Otherwise::Held(start) => start,
                            Otherwise::Slot(slot) => self.ended(slot)?,
                        };
                        let dims = self.g.ty(otherwise).dims.clone();
                        let there = self.last_row(self.valid);
                        let there = broadcast(&mut self.g, there, &dims, &[]);
                        select(&mut self.g, there, found, otherwise)
                    }
                    None => found,
                }
            }
        };
        known[value.index()] = Some(found);
        Ok(found)
    }

    /// Whether a value is a state as a token finds or leaves it.
    fn is_state(&self, value: Value) -> bool {
        self.slots.iter().any(|s| s.input == value || s.next == Some(value))
    }

    /// What an op makes of its operands at the last row.
    fn node_at_last_row(
        &mut self,
        value: Value,
        known: &mut Rows,
    ) -> Result<Value, Reason> {
        let node = self.body.def(value).clone();
        let mut operands = Vec::new();
        for &operand in &node.operands {
            operands.push(self.at_last_row(operand, known)?);
        }
        let results = self.g.add_many(node.op.clone(), &operands);
        for (&from, &to) in node.results.iter().zip(&results) {
            known[from.index()] = Some(to);
        }
        let k = node.results.iter().position(|&r| r == value).unwrap_or(0);
        Ok(results[k])
    }

    /// All rows of what is known as if nothing changed, but the last.
    pub(super) fn with_last_row(&mut self, all: Value, last: Value) -> Value {
        let dims: Vec<Dim> = std::iter::once(Dim::Fixed(1))
            .chain(self.g.ty(last).dims.iter().copied())
            .collect();
        let last = reshape(&mut self.g, last, &dims);
        if self.rows == 1 {
            return last;
        }
        let others = take(&mut self.g, all, 0, 0, self.rows - 1);
        self.g.add(Op::Concat { axis: 0 }, &[others, last])
    }

    fn last_row(&mut self, value: Value) -> Value {
        let rest = self.g.ty(value).dims[1..].to_vec();
        let row = take(&mut self.g, value, 0, self.rows - 1, 1);
        reshape(&mut self.g, row, &rest)
    }

    fn number_at_last_row(&mut self, value: Mapped) -> Value {
        if value.mapped { self.last_row(value.value) } else { value.value }
    }

    /// A matrix, built for the last token.
    fn matrix_at_last_row(&mut self, matrix: &Matrix) -> Result<Value, Reason> {
        let dims = matrix.dims.to_vec();
        if dims.len() < 2 {
            return match self.materialised(matrix)? {
                Abstract::Known(known) => Ok(self.number_at_last_row(known)),
                Abstract::Row(_)
                | Abstract::Function
                | Abstract::Matrix(_)
                | Abstract::Top(_) => {
                    Err(Reason::new("a state that is not known at a boundary"))
                }
            };
        }
        let mut total = None;
        for (source, gate) in &matrix.sources {
            let Some(Solved::Family(family, place)) = self.slots[source.slot].solved
            else {
                return Err(Reason::new("a state that is not known at a boundary"));
            };
            let family = self.families[family].clone();
            let state = if source.after {
                self.end_of(&family, place, &dims)?
            } else {
                self.before_last_row(&family, place, &dims)?
            };
            let found = self.gated_at_last_row(gate, state, &dims);
            total = plus(&mut self.g, total, found);
        }
        for &(id, factor) in &matrix.terms {
            let term = self.terms[id].clone();
            let Right::Known(right) = term.right else {
                return Err(Reason::new("a write that is not known at a boundary"));
            };
            let start = (self.rows - 1) * term.rank;
            let right = take(&mut self.g, right, 0, start, term.rank);
            let found = match term.left {
                Some(left) => {
                    let left = take(&mut self.g, left, 0, start, term.rank);
                    let first = term.left_axes.first() < term.right_axes.first();
                    let (a, b) = if first { (left, right) } else { (right, left) };
                    contract(&mut self.g, a, b, &[], &[(0, 0)])
                }
                None => crate::build::sum(&mut self.g, right, &[0]),
            };
            let found = reshape(&mut self.g, found, &dims);
            let factor = self.number_at_last_row(factor);
            let factor = broadcast(&mut self.g, factor, &dims, &[]);
            let found = mul(&mut self.g, factor, found);
            total = plus(&mut self.g, total, found);
        }
        Ok(match total {
            Some(total) => total,
            None => crate::build::constant(&mut self.g, 0.0, &dims),
        })
    }

    fn gated_at_last_row(&mut self, gate: &Factor, state: Value, dims: &[Dim]) -> Value {
        let value = self.number_at_last_row(gate.value);
        let value = broadcast(&mut self.g, value, dims, &gate.axes);
        mul(&mut self.g, value, state)
    }

    /// A state as the last token finds it.
    fn before_last_row(
        &mut self,
        family: &Family,
        place: usize,
        dims: &[Dim],
    ) -> Result<Value, Reason> {
        let mut last = Vec::new();
        for levels in &family.before.terms[place] {
            let mut total: Option<Value> = None;
            for level in levels {
                let mut weights = self.last_row(level.pairs);
                if let Some(Channels { now, then, .. }) = level.channels {
                    let shape = self.g.ty(then).dims.clone();
                    let now = self.last_row(now);
                    let now = broadcast(&mut self.g, now, &shape, &[1]);
                    weights = broadcast(&mut self.g, weights, &shape, &[0]);
                    weights = mul(&mut self.g, weights, now);
                    weights = mul(&mut self.g, weights, then);
                }
                total = Some(match total {
                    Some(total) => add(&mut self.g, total, weights),
                    None => weights,
                });
            }
            last.push(total);
        }
        let mut before = Family { blocks: None, ..family.clone() };
        before.after.start = family.before.start.clone();
        before.last[place] = last;
        self.end_of(&before, place, dims)
    }
}
