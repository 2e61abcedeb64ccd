//! States that are built for every token of the chunk: vectors with a gate for every entry, gates
//! that differ along several axes, and states that enter a function whole.
//!
//! ```text
//! before   h' = exp(dt A) h + (dt u) (x) B          one token, h [p, n]
//! after    H = linear scan over the chunk, for every entry by itself      [C, p, n]
//! ```
//!
//! Nothing may feed back; the cost is that of the token's own update, without its walk.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Matrix, Right, Solved};
use super::flat::size;
use super::gates::{joined, plus, take};
use crate::build::{broadcast, contract, mul, reshape, transpose};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Op, Value};

impl Chunk<'_> {
    /// Solves slots that are coupled by gates by building them; sets what their inputs and next
    /// values are.
    pub(super) fn run(
        &mut self,
        slots: &[usize],
        nexts: &[Matrix],
    ) -> Result<(), Reason> {
        let built = self.built_all(slots, nexts)?;
        for (&slot, (before, after)) in slots.iter().zip(built) {
            self.slots[slot].solved = Some(Solved::Run(after));
            let Some(next) = self.slots[slot].next else { continue };
            let input = self.slots[slot].input;
            self.values[input.index()] = Some(Abstract::Known(Mapped::all(before)));
            if next != input {
                self.values[next.index()] = Some(Abstract::Known(Mapped::all(after)));
            }
        }
        Ok(())
    }

    /// Before and after every token, `[C, ..]` each.
    pub(super) fn built_all(
        &mut self,
        slots: &[usize],
        nexts: &[Matrix],
    ) -> Result<Vec<(Value, Value)>, Reason> {
        let (n, c) = (slots.len(), self.dim());
        let dims = nexts[0].dims.clone();
        if nexts.iter().any(|m| m.dims != dims) {
            return Err(Reason::new("coupled states of different shapes"));
        }
        let entries = Dim::Fixed(size(&dims)?);
        let alike = nexts.iter().flat_map(|m| &m.sources).all(|s| s.1.axes.is_empty());
        let axes: Vec<usize> = if alike { Vec::new() } else { (0..dims.len()).collect() };
        let lead = if alike { Dim::Fixed(1) } else { entries };
        let width = if alike { entries } else { Dim::Fixed(1) };
        // Gates [lead, C, n, n], writes [lead, C, n, width], starts [lead, n, width].
        let mut gates = Vec::new();
        let mut writes = Vec::new();
        let mut starts = Vec::new();
        let one = Dim::Fixed(1);
        for (i, next) in nexts.iter().enumerate() {
            let mut row = Vec::new();
            for (j, &slot) in slots.iter().enumerate() {
                let found = next.sources.iter().find(|s| s.0.slot == slot);
                let otherwise = if i == j { 1.0 } else { 0.0 };
                let gate = match found {
                    Some((_, factor)) => self.along(factor, &axes, &dims)?,
                    None => {
                        let shape: Vec<Dim> = axes.iter().map(|&a| dims[a]).collect();
                        Mapped::shared(crate::build::constant(&mut self.g, 0.0, &shape))
                    }
                };
                let gate = self.lifted(gate);
                let gate = reshape(&mut self.g, gate, &[c, lead]);
                let there = broadcast(&mut self.g, self.valid, &[c, lead], &[0]);
                let other = crate::build::full_like(&mut self.g, gate, otherwise);
                let gate = crate::build::select(&mut self.g, there, gate, other);
                let gate = transpose(&mut self.g, gate, &[1, 0]);
                row.push(reshape(&mut self.g, gate, &[lead, c, one, one]));
            }
            gates.push(joined(&mut self.g, 3, &row));
            let written = self.written_whole(next)?;
            let written = reshape(&mut self.g, written, &[c, lead, width]);
            let written = transpose(&mut self.g, written, &[1, 0, 2]);
            writes.push(reshape(&mut self.g, written, &[lead, c, one, width]));
            let start = self.slots[slots[i]].start;
            starts.push(reshape(&mut self.g, start, &[lead, one, width]));
        }
        let gates = joined(&mut self.g, 2, &gates);
        let writes = joined(&mut self.g, 2, &writes);
        let start = joined(&mut self.g, 1, &starts);
        let scan = Op::LinearScan { reverse: false };
        let after = self.g.add(scan, &[gates, writes, start]);
        let first = reshape(&mut self.g, start, &[lead, one, Dim::Fixed(n), width]);
        let before = if self.rows == 1 {
            first
        } else {
            let others = take(&mut self.g, after, 1, 0, self.rows - 1);
            self.g.add(Op::Concat { axis: 1 }, &[first, others])
        };
        let whole: Vec<Dim> = std::iter::once(c).chain(dims.iter().copied()).collect();
        let mut part = |all: Value, i: usize| {
            let one = take(&mut self.g, all, 2, i, 1);
            let one = reshape(&mut self.g, one, &[lead, c, width]);
            let one = transpose(&mut self.g, one, &[1, 0, 2]);
            reshape(&mut self.g, one, &whole)
        };
        Ok((0..n).map(|i| (part(before, i), part(after, i))).collect())
    }

    /// What a token writes into a state, built: `[C, entries]`, zero where rows are not there.
    fn written_whole(&mut self, next: &Matrix) -> Result<Value, Reason> {
        let entries = Dim::Fixed(size(&next.dims)?);
        let dims = [self.dim(), entries];
        let mut total = None;
        for &(id, factor) in &next.terms {
            let found = self.term_whole(id, &next.dims)?;
            let found = reshape(&mut self.g, found, &dims);
            let factor = self.write_factor(id, factor);
            let found = self.scaled_rows(factor, found);
            total = plus(&mut self.g, total, found);
        }
        Ok(match total {
            Some(total) => total,
            None => crate::build::constant(&mut self.g, 0.0, &dims),
        })
    }

    /// A term as it is, `[C, ..]`.
    fn term_whole(&mut self, id: usize, dims: &[Dim]) -> Result<Value, Reason> {
        let term = self.terms[id].clone();
        let Right::Known(right) = term.right else {
            return Err(Reason::new(
                "a state that feeds back has a gate for every entry",
            ));
        };
        let (c, rank) = (self.dim(), Dim::Fixed(term.rank));
        let whole: Vec<Dim> = std::iter::once(c).chain(dims.iter().copied()).collect();
        let split = |chunk: &mut Self, flat: Value| {
            let d = chunk.g.ty(flat).dims[1];
            reshape(&mut chunk.g, flat, &[c, rank, d])
        };
        let right = split(self, right);
        let found = match term.left {
            Some(left) => {
                let left = split(self, left);
                let first = term.left_axes.first() < term.right_axes.first();
                let (a, b) = if first { (left, right) } else { (right, left) };
                contract(&mut self.g, a, b, &[(0, 0)], &[(1, 1)])
            }
            None => crate::build::sum(&mut self.g, right, &[1]),
        };
        Ok(reshape(&mut self.g, found, &whole))
    }

    /// A matrix whose states are all solved, built for every token.
    pub(super) fn whole(&mut self, matrix: &Matrix) -> Result<Mapped, Reason> {
        let all: Vec<usize> = (0..matrix.dims.len()).collect();
        let dims: Vec<Dim> =
            std::iter::once(self.dim()).chain(matrix.dims.iter().copied()).collect();
        let mut total = None;
        for (source, gate) in &matrix.sources {
            let Some(Solved::Family(family, place)) = self.slots[source.slot].solved
            else {
                return Err(Reason::new("a state enters a function as it is"));
            };
            let built = match self.built.iter().find(|b| b.0 == family) {
                Some((_, built)) => built.clone(),
                None => {
                    let data = self.families[family].clone();
                    let built = self.built_all(&data.slots, &data.nexts)?;
                    self.built.push((family, built.clone()));
                    built
                }
            };
            let value = if source.after { built[place].1 } else { built[place].0 };
            let gate = self.along(gate, &all, &matrix.dims)?;
            let gate = self.lifted(gate);
            let found = mul(&mut self.g, gate, value);
            total = plus(&mut self.g, total, found);
        }
        for &(term, factor) in &matrix.terms {
            let found = self.term_whole(term, &matrix.dims)?;
            let factor = self.lifted(factor);
            let factor = broadcast(&mut self.g, factor, &dims, &[0]);
            let found = mul(&mut self.g, factor, found);
            total = plus(&mut self.g, total, found);
        }
        let zero = |chunk: &mut Self| crate::build::constant(&mut chunk.g, 0.0, &dims);
        Ok(Mapped::all(match total {
            Some(total) => total,
            None => zero(self),
        }))
    }
}
