//! Rounds: interpret, solve the states whose update is understood, interpret again.
//!
//! States coupled by gates are a family; a family whose errors read others is solved together
//! with them. Their errors E obey `E = U + L E` with L strictly below the diagonal in time, which
//! one unit triangular solve gives. Families without feedback need none.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Matrix, Right, Solved, Source};
use super::flat::size;
use super::gates::{Family, joined, plus, take};
use super::reads::as_it_stands;
use crate::build::{add, broadcast, constant, mul, reshape, transpose};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};

/// A family before it is solved.
struct Candidate {
    slots: Vec<usize>,
    nexts: Vec<Matrix>,
    /// Reads that its terms wait for.
    reads: Vec<usize>,
}

/// An error that waits for reads.
pub(super) struct Unknown {
    /// How it depends on them.
    pub(super) right: Right,
    /// Rows a token.
    pub(super) rank: usize,
    /// Columns.
    pub(super) width: usize,
    /// The terms that it is a factor of.
    pub(super) terms: Vec<usize>,
}

/// How a family is held over the chunk.
enum Kind {
    /// By weights; the axis that gates differ along.
    Axis(Option<usize>),
    /// Built for every token.
    Run,
}

impl Chunk<'_> {
    /// Solves all slots; in the end every value that can be known is.
    pub(super) fn solve(&mut self) -> Result<(), Reason> {
        loop {
            self.interpret();
            if self.slots.iter().all(|s| s.solved.is_some()) {
                return Ok(());
            }
            self.round()?;
        }
    }

    /// Interprets the token's program with what is known now.
    pub(super) fn interpret(&mut self) {
        let body = self.body;
        for node in body.nodes.values() {
            if !matches!(node.op, Op::Input { .. }) {
                self.visit(node);
            }
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
        for &k in &chosen {
            let candidate = &candidates[k];
            match self.axis_of(candidate)? {
                Kind::Run => {
                    if chosen.len() > 1 || !candidate.reads.is_empty() {
                        return Err(Reason::new(
                            "gates differ within states that feed back",
                        ));
                    }
                    return self.run(&candidate.slots, &candidate.nexts);
                }
                Kind::Axis(axis) => families.push(self.family(
                    &candidate.slots,
                    &candidate.nexts,
                    axis,
                )?),
            }
        }
        self.terms_known(&families)?;
        for family in families {
            for (place, &slot) in family.slots.iter().enumerate() {
                let solved = Solved::Family(self.families.len(), place);
                self.slots[slot].solved = Some(solved);
            }
            self.families.push(family);
        }
        Ok(())
    }

    /// Which axis the gates of a family differ along.
    fn axis_of(&self, candidate: &Candidate) -> Result<Kind, Reason> {
        let mut axes: Vec<usize> = candidate
            .nexts
            .iter()
            .flat_map(|n| &n.sources)
            .flat_map(|s| s.1.axes.iter().copied())
            .collect();
        axes.sort_unstable();
        axes.dedup();
        let single = candidate.slots.len() == 1 && self.rows.is_power_of_two();
        match (&axes[..], candidate.nexts[0].dims.len()) {
            ([], _) => Ok(Kind::Axis(None)),
            (&[axis], rank) if rank > 1 && single => Ok(Kind::Axis(Some(axis))),
            _ => Ok(Kind::Run),
        }
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
                match &self.terms[*term].right {
                    Right::Known(_) => {}
                    Right::Affine(affine) => {
                        reads.extend(affine.reads.iter().map(|r| r.0))
                    }
                    Right::Function(value, _) => reads.extend(self.reads_of(*value)),
                }
            }
            out.push(Candidate { slots, nexts, reads });
        }
        (out, reason)
    }

    fn next_of(&mut self, slot: usize) -> Result<Matrix, Reason> {
        let data = self.slots[slot].clone();
        let one = self.one();
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

    /// Makes the terms of these families known, solving for those that wait for reads.
    fn terms_known(&mut self, families: &[Family]) -> Result<(), Reason> {
        let mut unknown: Vec<Unknown> = Vec::new();
        for family in families {
            for &id in &family.terms {
                let term = &self.terms[id];
                if let Right::Known(_) = term.right {
                    continue;
                }
                if let Some(same) = unknown.iter_mut().find(|u| u.right == term.right) {
                    same.terms.push(id);
                    continue;
                }
                let dims = &family.nexts[0].dims;
                let columns: Vec<Dim> =
                    term.right_axes.iter().map(|&a| dims[a]).collect();
                unknown.push(Unknown {
                    right: term.right.clone(),
                    rank: term.rank,
                    width: size(&columns)?,
                    terms: vec![id],
                });
            }
        }
        let affine = |u: &Unknown| matches!(u.right, Right::Affine(_));
        let solved = if unknown.iter().all(affine) {
            self.solved_terms(families, &unknown)?
        } else {
            self.substituted(families, &unknown)?
        };
        for (unknown, value) in unknown.iter().zip(solved) {
            for &id in &unknown.terms {
                self.terms[id].right = Right::Known(value);
            }
        }
        Ok(())
    }

    /// `E = U + lam (R + N E)`: what is known of every unknown, and its factors of all others.
    fn solved_terms(
        &mut self,
        families: &[Family],
        unknown: &[Unknown],
    ) -> Result<Vec<Value>, Reason> {
        let n = unknown.len();
        let mut systems: Vec<Vec<Option<Value>>> = vec![vec![None; n]; n];
        let mut known = Vec::new();
        for (row, this) in unknown.iter().enumerate() {
            let Right::Affine(affine) = &this.right else {
                return Err(Reason::new("an error that is not affine"));
            };
            let mut total = affine.free;
            for &(id, by) in &affine.reads {
                let read = self.reads[id].clone();
                if read.reader.rows != this.rank {
                    return Err(Reason::new("rows of one token are mixed"));
                }
                let place = families.iter().find_map(|f| {
                    f.slots.iter().position(|&s| s == read.slot).map(|p| (f, p))
                });
                let (family, place) = place
                    .ok_or_else(|| Reason::new("a read of a state that is elsewhere"))?;
                let start =
                    self.start_read(family, &family.before, place, &read.reader)?;
                if let Some(start) = start {
                    let start = self.scaled_rows(by, start);
                    total = plus(&mut self.g, total, start);
                }
                for (e, &term) in family.terms.iter().enumerate() {
                    let column = unknown.iter().position(|u| u.terms.contains(&term));
                    let term = self.terms[term].clone();
                    let (before, reader) = ((&family.before, place), &read.reader);
                    for met in self.met(family, before, e, &term, reader)? {
                        match (met.right, column) {
                            (Right::Known(e), _) => {
                                let found = self.met_product(met.weights, met.columns, e);
                                let found = self.scaled_rows(by, found);
                                total = plus(&mut self.g, total, found);
                            }
                            (Right::Affine(_), Some(column)) => {
                                let found = self.fed_back(by, met.weights, met.columns);
                                let entry = systems[row][column];
                                systems[row][column] = self.blocks_added(entry, found);
                            }
                            (Right::Affine(_), None) | (Right::Function(..), _) => {
                                return Err(Reason::new("a term that is not solved"));
                            }
                        }
                    }
                }
            }
            known.push(total.ok_or_else(|| Reason::new("an error that is nothing"))?);
        }
        self.triangular(&systems, &known, unknown)
    }

    /// The weights of what feeds back: `[C R, C R']`, or `[V, C R, C R']` where they differ by
    /// column.
    fn fed_back(
        &mut self,
        by: Value,
        weights: Value,
        columns: Option<(Value, Value)>,
    ) -> Value {
        let pairs = self.g.ty(weights).dims.clone();
        if columns.is_none() && self.g.ty(by).rank() == 1 {
            let by = broadcast(&mut self.g, by, &pairs, &[0]);
            return mul(&mut self.g, by, weights);
        }
        let now = match columns {
            Some((now, _)) => self.factors_joined(Op::Mul, by, now),
            None => by,
        };
        let width = self.g.ty(now).dims[1];
        let dims = [width, pairs[0], pairs[1]];
        let now = transpose(&mut self.g, now, &[1, 0]);
        let now = broadcast(&mut self.g, now, &dims, &[0, 1]);
        let weights = broadcast(&mut self.g, weights, &dims, &[1, 2]);
        let out = mul(&mut self.g, now, weights);
        match columns {
            Some((_, then)) => {
                let then = transpose(&mut self.g, then, &[1, 0]);
                let then = broadcast(&mut self.g, then, &dims, &[0, 2]);
                mul(&mut self.g, out, then)
            }
            None => out,
        }
    }

    fn blocks_added(&mut self, total: Option<Value>, block: Value) -> Option<Value> {
        let Some(total) = total else { return Some(block) };
        let (a, b) = (self.g.ty(total).dims.clone(), self.g.ty(block).dims.clone());
        let (total, block) = match a.len().cmp(&b.len()) {
            std::cmp::Ordering::Less => {
                (broadcast(&mut self.g, total, &b, &[1, 2]), block)
            }
            std::cmp::Ordering::Greater => {
                (total, broadcast(&mut self.g, block, &a, &[1, 2]))
            }
            std::cmp::Ordering::Equal => (total, block),
        };
        Some(add(&mut self.g, total, block))
    }

    /// Solves `E = known + systems E`; rows are ordered by token first. Where some weights differ
    /// by column, every column is a system of its own.
    fn triangular(
        &mut self,
        systems: &[Vec<Option<Value>>],
        known: &[Value],
        unknown: &[Unknown],
    ) -> Result<Vec<Value>, Reason> {
        let blocks = || systems.iter().flatten().flatten();
        if blocks().next().is_none() {
            return Ok(known.to_vec());
        }
        let width = self.g.ty(known[0]).dims[1];
        if known.iter().any(|&k| self.g.ty(k).dims[1] != width) {
            return Err(Reason::new("errors of different widths feed into one another"));
        }
        let apart = blocks().any(|&b| self.g.ty(b).rank() == 3);
        let counts: Vec<usize> = unknown.iter().map(|u| u.rank).collect();
        let all: usize = counts.iter().sum();
        let dim = self.dim();
        let lead = if apart { vec![width] } else { Vec::new() };
        let l = lead.len();
        let with =
            |rest: &[Dim]| -> Vec<Dim> { lead.iter().chain(rest).copied().collect() };
        let mut rows = Vec::new();
        let mut rights = Vec::new();
        for (i, row) in systems.iter().enumerate() {
            let mut parts = Vec::new();
            for (j, block) in row.iter().enumerate() {
                let (a, b) = (counts[i], counts[j]);
                let flat = with(&[Dim::Fixed(self.rows * a), Dim::Fixed(self.rows * b)]);
                let dims = with(&[dim, Dim::Fixed(a), dim, Dim::Fixed(b)]);
                let block = match *block {
                    Some(block) => {
                        let axes = if self.g.ty(block).rank() == l + 2 { 0 } else { 1 };
                        let axes: Vec<usize> = (axes..l + 2).collect();
                        let block = broadcast(&mut self.g, block, &flat, &axes);
                        self.negative(block)
                    }
                    None => constant(&mut self.g, 0.0, &flat),
                };
                parts.push(reshape(&mut self.g, block, &dims));
            }
            rows.push(joined(&mut self.g, l + 3, &parts));
            let dims = [dim, Dim::Fixed(counts[i]), width];
            rights.push(reshape(&mut self.g, known[i], &dims));
        }
        let flat = Dim::Fixed(self.rows * all);
        let system = joined(&mut self.g, l + 1, &rows);
        let system = reshape(&mut self.g, system, &with(&[flat, flat]));
        let right = joined(&mut self.g, 1, &rights);
        let mut right = reshape(&mut self.g, right, &[flat, width]);
        if apart {
            right = transpose(&mut self.g, right, &[1, 0]);
            right = reshape(&mut self.g, right, &[width, flat, Dim::Fixed(1)]);
        }
        let solve = Op::SolveUnitLower { transpose: false };
        let mut solution = self.g.add(solve, &[system, right]);
        if apart {
            solution = reshape(&mut self.g, solution, &[width, flat]);
            solution = transpose(&mut self.g, solution, &[1, 0]);
        }
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
