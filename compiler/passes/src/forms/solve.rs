//! Rounds: interpret, solve the states whose update is understood, interpret again.
//!
//! States coupled by gates are a family; a family whose errors read others is solved together
//! with them. The waiting reads P of all of them obey `P = R + L P` with L strictly below the
//! diagonal in time, which one unit triangular solve gives. Families without feedback need none.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Affine, Matrix, Right, Source};
use super::flat::reshape;
use super::gates::{Family, joined, plus, take};
use super::reads::as_it_stands;
use crate::build::{broadcast, mul};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};

/// A family before it is solved.
struct Candidate {
    slots: Vec<usize>,
    nexts: Vec<Matrix>,
    /// Reads that its terms wait for.
    reads: Vec<usize>,
}

impl Chunk<'_> {
    /// Solves all slots; in the end every value that can be known is.
    pub(super) fn solve(&mut self) -> Result<(), Reason> {
        loop {
            let body = self.body;
            for node in body.nodes.values() {
                if !matches!(node.op, Op::Input { .. }) {
                    self.visit(node);
                }
            }
            if self.slots.iter().all(|s| s.solved.is_some()) {
                return Ok(());
            }
            self.round()?;
        }
    }

    /// Solves the smallest set of families that can be.
    fn round(&mut self) -> Result<(), Reason> {
        let (candidates, reason) = self.candidates();
        let of_slot =
            |slot: usize| candidates.iter().position(|c| c.slots.contains(&slot));
        let mut best: Option<Vec<usize>> = None;
        for first in 0..candidates.len() {
            let mut all = vec![first];
            let mut at = 0;
            let mut whole = true;
            while at < all.len() {
                for &read in &candidates[all[at]].reads {
                    match of_slot(self.reads[read].slot) {
                        Some(other) if !all.contains(&other) => all.push(other),
                        Some(_) => {}
                        None => whole = false,
                    }
                }
                at += 1;
            }
            // Constants wait for the states that take them over.
            let rank = |all: &[usize]| {
                let states = all.iter().flat_map(|&k| &candidates[k].slots);
                let real = states.clone().any(|&s| self.slots[s].next.is_some());
                (!real, all.len())
            };
            if whole && best.as_ref().is_none_or(|b| rank(&all) < rank(b)) {
                best = Some(all);
            }
        }
        let Some(chosen) = best else {
            let none = || Reason::new("states that wait for one another");
            return Err(reason.unwrap_or_else(none));
        };
        let mut families = Vec::new();
        let mut reads = Vec::new();
        for &k in &chosen {
            let candidate = &candidates[k];
            families.push(self.family(&candidate.slots, &candidate.nexts)?);
            reads.extend(candidate.reads.iter().copied());
        }
        reads.sort_unstable();
        reads.dedup();
        self.terms_known(&families, &reads)?;
        for family in families {
            for (place, &slot) in family.slots.iter().enumerate() {
                self.slots[slot].solved = Some((self.families.len(), place));
            }
            self.families.push(family);
        }
        Ok(())
    }

    /// Families all of whose updates are understood, and why another is not.
    fn candidates(&mut self) -> (Vec<Candidate>, Option<Reason>) {
        let mut reason = None;
        let mut nexts: Vec<Option<Matrix>> = Vec::new();
        let mut at = 0;
        while at < self.slots.len() {
            let next = self.next_of(at);
            nexts.push(match next {
                Ok(next) => Some(next),
                Err(found) => {
                    reason = reason.or(Some(found));
                    None
                }
            });
            at += 1;
        }
        let mut label: Vec<usize> = (0..self.slots.len()).collect();
        for (i, next) in nexts.iter().enumerate() {
            for (source, _) in next.iter().flat_map(|n| &n.sources) {
                let (from, to) = (label[source.slot], label[i]);
                label.iter_mut().filter(|l| **l == from).for_each(|l| *l = to);
            }
        }
        let mut out = Vec::new();
        for family in 0..self.slots.len() {
            let slots: Vec<usize> =
                (0..self.slots.len()).filter(|&i| label[i] == family).collect();
            let found: Option<Vec<Matrix>> =
                slots.iter().map(|&i| nexts[i].clone()).collect();
            let (Some(nexts), false) = (found, slots.is_empty()) else { continue };
            if slots.iter().any(|&i| self.slots[i].solved.is_some()) {
                continue;
            }
            let mut reads = Vec::new();
            for (term, _) in nexts.iter().flat_map(|n| &n.terms) {
                if let Right::Affine(affine) = &self.terms[*term].right {
                    reads.extend(affine.reads.iter().map(|r| r.0));
                }
            }
            out.push(Candidate { slots, nexts, reads });
        }
        (out, reason)
    }

    fn next_of(&mut self, slot: usize) -> Result<Matrix, Reason> {
        let data = self.slots[slot].clone();
        let one = self.number(1.0);
        let dims = self.g.ty(data.start).dims.clone();
        if data.solved.is_some() {
            return Ok(as_it_stands(&dims, Source { slot, after: false }, one));
        }
        let Some(next) = data.next else {
            return Ok(as_it_stands(&dims, Source { slot, after: false }, one));
        };
        if let Abstract::Top(reason) = self.value(next) {
            return Err(reason);
        }
        let found = self.matrix(next)?;
        if found.sources.iter().any(|(s, _)| self.slots[s.slot].solved.is_some()) {
            return Err(Reason::new("a state takes over one that another reads from"));
        }
        debug_assert_eq!(found.dims, self.body.ty(data.input).dims);
        Ok(found)
    }

    /// Makes the terms of these families known, solving for their reads where they have any.
    fn terms_known(
        &mut self,
        families: &[Family],
        reads: &[usize],
    ) -> Result<(), Reason> {
        let solved = self.reads_solved(families, reads)?;
        let find = |read: usize| {
            reads.iter().position(|&r| r == read).and_then(|k| solved.get(k).copied())
        };
        for family in families {
            for &id in &family.terms {
                if let Right::Affine(affine) = self.terms[id].right.clone() {
                    let value = self.evaluated(&affine, &find)?;
                    self.terms[id].right = Right::Known(value);
                }
            }
        }
        Ok(())
    }

    /// The values of reads, `[C Q, V]` each.
    fn reads_solved(
        &mut self,
        families: &[Family],
        reads: &[usize],
    ) -> Result<Vec<Value>, Reason> {
        if reads.is_empty() {
            return Ok(Vec::new());
        }
        let n = reads.len();
        let mut systems: Vec<Vec<Option<Value>>> = vec![vec![None; n]; n];
        let mut known = Vec::new();
        for (row, &id) in reads.iter().enumerate() {
            let read = self.reads[id].clone();
            let place = families.iter().find_map(|f| {
                f.slots.iter().position(|&s| s == read.slot).map(|p| (f, p))
            });
            let (family, place) = place
                .ok_or_else(|| Reason::new("a read of a state that is elsewhere"))?;
            let mut total =
                self.start_read(family, &family.before, place, &read.reader)?;
            for (e, &term) in family.terms.iter().enumerate() {
                let Some(pairs) = family.before.terms[place][e] else { continue };
                let term = self.terms[term].clone();
                let (weights, right) = self.term_weights(pairs, &term, &read.reader)?;
                let affine = match right {
                    Right::Known(e) => Affine { reads: Vec::new(), free: Some(e) },
                    Right::Affine(affine) => affine,
                };
                if let Some(free) = affine.free {
                    let found = self.product(weights, free);
                    total = plus(&mut self.g, total, found);
                }
                for (other, by) in affine.reads {
                    let column = reads.iter().position(|&r| r == other);
                    let column =
                        column.ok_or_else(|| Reason::new("a read that is not solved"))?;
                    if self.reads[other].reader.rows != term.rank {
                        return Err(Reason::new("rows of one token are mixed"));
                    }
                    let dims = self.g.ty(weights).dims.clone();
                    let by = broadcast(&mut self.g, by, &dims, &[1]);
                    let found = mul(&mut self.g, weights, by);
                    let entry = systems[row][column];
                    systems[row][column] = plus(&mut self.g, entry, found);
                }
            }
            known.push(total.ok_or_else(|| Reason::new("a read of nothing"))?);
        }
        let width = self.g.ty(known[0]).dims[1];
        if known.iter().any(|&k| self.g.ty(k).dims[1] != width) {
            return Err(Reason::new("errors of different widths feed into one another"));
        }
        self.triangular(&systems, &known, reads, width)
    }

    /// Solves `P = known + systems P`; rows are ordered by token first.
    fn triangular(
        &mut self,
        systems: &[Vec<Option<Value>>],
        known: &[Value],
        reads: &[usize],
        width: Dim,
    ) -> Result<Vec<Value>, Reason> {
        let counts: Vec<usize> =
            reads.iter().map(|&r| self.reads[r].reader.rows).collect();
        let all: usize = counts.iter().sum();
        let dim = self.dim();
        let solve = Op::SolveUnitLower { transpose: false };
        if let ([row], [right]) = (systems, known) {
            let Some(system) = row[0] else { return Ok(vec![*right]) };
            let system = self.negative(system);
            return Ok(vec![self.g.add(solve, &[system, *right])]);
        }
        let mut rows = Vec::new();
        let mut rights = Vec::new();
        for (i, row) in systems.iter().enumerate() {
            let mut blocks = Vec::new();
            for (j, block) in row.iter().enumerate() {
                let dims = [dim, Dim::Fixed(counts[i]), dim, Dim::Fixed(counts[j])];
                blocks.push(match block {
                    Some(block) => {
                        let block = self.negative(*block);
                        reshape(&mut self.g, block, &dims)
                    }
                    None => crate::build::constant(&mut self.g, 0.0, &dims),
                });
            }
            rows.push(joined(&mut self.g, 3, &blocks));
            let dims = [dim, Dim::Fixed(counts[i]), width];
            rights.push(reshape(&mut self.g, known[i], &dims));
        }
        let flat = Dim::Fixed(self.rows * all);
        let system = joined(&mut self.g, 1, &rows);
        let system = reshape(&mut self.g, system, &[flat, flat]);
        let right = joined(&mut self.g, 1, &rights);
        let right = reshape(&mut self.g, right, &[flat, width]);
        let solution = self.g.add(solve, &[system, right]);
        let solution = reshape(&mut self.g, solution, &[dim, Dim::Fixed(all), width]);
        let mut at = 0;
        let mut out = Vec::new();
        for count in counts {
            let part = take(&mut self.g, solution, 1, at, count);
            let dims = [Dim::Fixed(self.rows * count), width];
            out.push(reshape(&mut self.g, part, &dims));
            at += count;
        }
        Ok(out)
    }
}
