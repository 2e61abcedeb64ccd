//! Gates of a chunk: what is left, at every token, of what every earlier token wrote.
//!
//! Slots that feed into one another by gates are a family. With the gates of token t as an
//! `[n, n]` matrix `A_t` and what the terms of token s inject into the n slots as a vector, all
//! weights come from one linear recurrence `y_t = A_t y_{t-1} + b_t`, whose columns are the
//! injections of every token and, last, the states at the chunk's start. They are products of
//! gates and never quotients, so that gates may be zero or negative. Rows that are not there have
//! the identity as their gates and inject nothing.

use super::Reason;
use super::channels::Blocks;
use super::chunk::Chunk;
use super::domain::Matrix;
use crate::build::{add, broadcast, constant, mul, reshape, select_or_zero};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Op, Value};
use smallvec::smallvec;

/// Slots that are coupled by gates, with their weights over the chunk.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// The slots.
    pub(super) slots: Vec<usize>,
    /// Their next values.
    pub(super) nexts: Vec<Matrix>,
    /// The terms that any of them takes.
    pub(super) terms: Vec<usize>,
    /// The axis of the state that gates differ along.
    pub(super) axis: Option<usize>,
    /// What is left by blocks of tokens, where gates differ along an axis.
    pub(super) blocks: Option<Blocks>,
    /// Weights before each token.
    pub(super) before: Weights,
    /// Weights after each token.
    pub(super) after: Weights,
    /// For each slot what is left at the chunk's end of each term, by the token that wrote it:
    /// `[C]` or `[C, D]`.
    pub(super) last: Vec<Vec<Option<Value>>>,
}

/// What a slot holds, by its place in the family.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    /// With what the token itself does.
    pub(super) after: bool,
    /// Of slot j at the chunk's start, `[C]` or `[C, D]`; nothing where none of it arrives.
    pub(super) start: Vec<Vec<Option<Value>>>,
    /// Of each term.
    pub(super) terms: Vec<Vec<Vec<Level>>>,
}

/// A part of a term's weights: `pairs[t, s] now[t, d] then[s, d]`.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// `[C (now), C (then)]`.
    pub(super) pairs: Value,
    /// Where gates differ along an axis; nothing of what a token leaves to itself.
    pub(super) channels: Option<Channels>,
}

/// What of a level's weights differs along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    /// `[C, D]` of now.
    pub(super) now: Value,
    /// `[C, D]` of then.
    pub(super) then: Value,
    /// Its place among the scales.
    pub(super) scale: usize,
}

impl Chunk<'_> {
    /// The weights of these slots, whose next values are `nexts` and whose gates differ along
    /// `axis` at most.
    pub(super) fn family(
        &mut self,
        slots: &[usize],
        nexts: &[Matrix],
        axis: Option<usize>,
    ) -> Result<Family, Reason> {
        let n = slots.len();
        let mut terms: Vec<usize> =
            nexts.iter().flat_map(|m| m.terms.iter().map(|t| t.0)).collect();
        terms.sort_unstable();
        terms.dedup();
        let gate = |i: usize, j: usize| -> Option<Mapped> {
            let found = nexts[i].sources.iter().find(|s| s.0.slot == slots[j]);
            found.map(|s| s.1.value)
        };
        let factor = |i: usize, e: usize| -> Option<Mapped> {
            nexts[i].terms.iter().find(|t| t.0 == terms[e]).map(|t| t.1)
        };
        let reach = closure(n, |i, j| gate(i, j).is_some());
        let taken =
            |i: usize, e: usize| (0..n).any(|j| reach[i][j] && factor(j, e).is_some());
        let mut out = Family {
            slots: slots.to_vec(),
            nexts: nexts.to_vec(),
            terms: terms.clone(),
            axis,
            blocks: None,
            before: Weights::default(),
            after: Weights { after: true, ..Weights::default() },
            last: Vec::new(),
        };
        if n == 1 {
            let mut factors = Vec::new();
            for (e, term) in terms.iter().enumerate() {
                if let Some(factor) = factor(0, e) {
                    factors.push(self.write_factor(*term, factor));
                }
            }
            match (axis, &nexts[0].sources[..]) {
                (Some(_), [(_, gate)]) => {
                    let dims = &nexts[0].dims;
                    let axes: Vec<usize> = axis.into_iter().collect();
                    let gate = self.along(gate, &axes, dims)?;
                    self.channel_weights(&mut out, gate, &factors);
                }
                _ => self.single_weights(&mut out, gate(0, 0), &factors),
            }
            return Ok(out);
        }
        let (c, e) = (self.rows, terms.len());
        let columns = c * e + n;
        let gates = self.table(n, n, gate, true);
        let injected = self.injected(n, e, &factor);
        let start = {
            let eye = identity(&mut self.g, n);
            self.g.add(Op::Pad { axis: 1, before: c * e, after: 0 }, &[eye])
        };
        let scan = Op::LinearScan { reverse: false };
        let after = self.g.add(scan, &[gates, injected, start]);
        let before = self.shifted(after, start, &[Dim::Fixed(n), Dim::Fixed(columns)]);
        for (weights, all) in [(&mut out.before, before), (&mut out.after, after)] {
            let dim = self.dim();
            for (i, reached) in reach.iter().enumerate() {
                let row = take(&mut self.g, all, 1, i, 1);
                let row = reshape(&mut self.g, row, &[dim, Dim::Fixed(columns)]);
                let of_start = |j: usize| {
                    reached[j].then(|| {
                        let found = take(&mut self.g, row, 1, c * e + j, 1);
                        reshape(&mut self.g, found, &[dim])
                    })
                };
                weights.start.push((0..n).map(of_start).collect());
                let of_term = |k: usize| -> Vec<Level> {
                    let pairs = taken(i, k).then(|| take(&mut self.g, row, 1, k * c, c));
                    let level = |pairs| Level { pairs, channels: None };
                    pairs.into_iter().map(level).collect()
                };
                weights.terms.push((0..e).map(of_term).collect());
            }
        }
        self.last_rows(&mut out);
        Ok(out)
    }

    /// What is left at the end, where all terms have weights of one level.
    fn last_rows(&mut self, family: &mut Family) {
        let of = |levels: &Vec<Level>| {
            let pairs = levels.first()?.pairs;
            let row = take(&mut self.g, pairs, 0, self.rows - 1, 1);
            Some(reshape(&mut self.g, row, &[Dim::Fixed(self.rows)]))
        };
        let mut of = of;
        family.last = family
            .after
            .terms
            .iter()
            .map(|terms| terms.iter().map(&mut of).collect())
            .collect();
    }

    fn single_weights(
        &mut self,
        family: &mut Family,
        gate: Option<Mapped>,
        factors: &[Value],
    ) {
        let (before, after) = self.single(gate);
        for (weights, (start, pairs)) in
            [(&mut family.before, before), (&mut family.after, after)]
        {
            weights.start = vec![vec![Some(start)]];
            let of = |&f: &Value| {
                let pairs = columns_scaled(&mut self.g, pairs, f);
                vec![Level { pairs, channels: None }]
            };
            weights.terms = vec![factors.iter().map(of).collect()];
        }
        self.last_rows(family);
    }

    /// One slot: what is left of its start, `[C]`, and of any earlier token, `[C, C]`; before
    /// and after each token.
    fn single(&mut self, gate: Option<Mapped>) -> ((Value, Value), (Value, Value)) {
        let (c, dim) = (self.rows, self.dim());
        let gate = gate.unwrap_or_else(|| self.number(0.0));
        if self.uniform(gate) == Some(1.0) {
            let one = constant(&mut self.g, 1.0, &[dim]);
            let dims = smallvec![dim, dim];
            let now = self.g.add(Op::Iota { axis: 0, dims }, &[]);
            let dims = smallvec![dim, dim];
            let then = self.g.add(Op::Iota { axis: 1, dims }, &[]);
            let earlier = self.g.add(Op::Less, &[then, now]);
            let by_now = self.g.add(Op::LessEqual, &[then, now]);
            let before = self.g.add(Op::Real, &[earlier]);
            let after = self.g.add(Op::Real, &[by_now]);
            return ((one, before), (one, after));
        }
        let gate = self.masked(gate, 1.0);
        let one = Dim::Fixed(1);
        let gate = reshape(&mut self.g, gate, &[dim, one, one]);
        let eye = identity(&mut self.g, c);
        let injected = self.g.add(Op::Pad { axis: 1, before: 0, after: 1 }, &[eye]);
        let injected = reshape(&mut self.g, injected, &[dim, one, Dim::Fixed(c + 1)]);
        let start = constant(&mut self.g, 1.0, &[one, one]);
        let start = self.g.add(Op::Pad { axis: 1, before: c, after: 0 }, &[start]);
        let scan = Op::LinearScan { reverse: false };
        let after = self.g.add(scan, &[gate, injected, start]);
        let before = self.shifted(after, start, &[one, Dim::Fixed(c + 1)]);
        let mut split = |all: Value| {
            let all = reshape(&mut self.g, all, &[dim, Dim::Fixed(c + 1)]);
            let of_start = take(&mut self.g, all, 1, c, 1);
            (reshape(&mut self.g, of_start, &[dim]), take(&mut self.g, all, 1, 0, c))
        };
        (split(before), split(after))
    }

    /// What stood before each token, from what stands after it.
    fn shifted(&mut self, after: Value, start: Value, dims: &[Dim]) -> Value {
        let with: Vec<Dim> =
            std::iter::once(Dim::Fixed(1)).chain(dims.to_vec()).collect();
        let first = reshape(&mut self.g, start, &with);
        if self.rows == 1 {
            return first;
        }
        let others = take(&mut self.g, after, 0, 0, self.rows - 1);
        self.g.add(Op::Concat { axis: 0 }, &[first, others])
    }

    /// `[C, n, m]` from numbers per token; the identity or zero where rows are not there.
    fn table(
        &mut self,
        n: usize,
        m: usize,
        entry: impl Fn(usize, usize) -> Option<Mapped>,
        gates: bool,
    ) -> Value {
        let dim = self.dim();
        let mut rows = Vec::new();
        for i in 0..n {
            let mut entries = Vec::new();
            for j in 0..m {
                let otherwise = if gates && i == j { 1.0 } else { 0.0 };
                let value = match entry(i, j) {
                    Some(value) => value,
                    None => self.number(0.0),
                };
                let value = self.masked(value, otherwise);
                let one = Dim::Fixed(1);
                entries.push(reshape(&mut self.g, value, &[dim, one, one]));
            }
            rows.push(joined(&mut self.g, 2, &entries));
        }
        joined(&mut self.g, 1, &rows)
    }

    /// What every token injects: `[C, n, C e + n]`, a block of columns for each term, of which
    /// token t's own column is not zero.
    fn injected(
        &mut self,
        n: usize,
        e: usize,
        factor: &impl Fn(usize, usize) -> Option<Mapped>,
    ) -> Value {
        let (dim, slots) = (self.dim(), Dim::Fixed(n));
        let dims = [dim, slots, dim];
        let now = self.g.add(Op::Iota { axis: 0, dims: smallvec![dim, slots, dim] }, &[]);
        let then =
            self.g.add(Op::Iota { axis: 2, dims: smallvec![dim, slots, dim] }, &[]);
        let own = self.g.add(Op::Equal, &[now, then]);
        let mut blocks = Vec::new();
        for k in 0..e {
            let factors = self.table(n, 1, |i, _| factor(i, k), false);
            let factors = reshape(&mut self.g, factors, &[dim, slots]);
            let factors = broadcast(&mut self.g, factors, &dims, &[0, 1]);
            blocks.push(select_or_zero(&mut self.g, own, factors));
        }
        blocks.push(constant(&mut self.g, 0.0, &[dim, slots, slots]));
        joined(&mut self.g, 2, &blocks)
    }
}

/// Which slots reach which by any number of steps, none included.
fn closure(n: usize, direct: impl Fn(usize, usize) -> bool) -> Vec<Vec<bool>> {
    let mut reach: Vec<Vec<bool>> =
        (0..n).map(|i| (0..n).map(|j| i == j || direct(i, j)).collect()).collect();
    for via in 0..n {
        for i in 0..n {
            for j in 0..n {
                reach[i][j] |= reach[i][via] && reach[via][j];
            }
        }
    }
    reach
}

/// `size` entries of an axis.
pub(super) fn take(
    g: &mut Graph,
    value: Value,
    axis: usize,
    start: usize,
    size: usize,
) -> Value {
    if start == 0 && g.ty(value).dims[axis] == Dim::Fixed(size) {
        return value;
    }
    g.add(Op::Slice { axis, start, size }, &[value])
}

/// One after another along an axis.
pub(super) fn joined(g: &mut Graph, axis: usize, parts: &[Value]) -> Value {
    if let [only] = parts {
        return *only;
    }
    g.add(Op::Concat { axis }, parts)
}

/// `a + b` where there is an a.
pub(super) fn plus(g: &mut Graph, total: Option<Value>, b: Value) -> Option<Value> {
    Some(total.map_or(b, |a| add(g, a, b)))
}

/// `[n, n]`
pub(super) fn identity(g: &mut Graph, n: usize) -> Value {
    let dims = [Dim::Fixed(n), Dim::Fixed(n)];
    let row = g.add(Op::Iota { axis: 0, dims: dims.as_slice().into() }, &[]);
    let column = g.add(Op::Iota { axis: 1, dims: dims.as_slice().into() }, &[]);
    let same = g.add(Op::Equal, &[row, column]);
    g.add(Op::Real, &[same])
}

/// Every column multiplied by its own number.
pub(super) fn columns_scaled(g: &mut Graph, pairs: Value, factor: Value) -> Value {
    let dims = g.ty(pairs).dims.clone();
    let factor = broadcast(g, factor, &dims, &[1]);
    mul(g, pairs, factor)
}
