//! Gates that differ along an axis of the state: one product of matrices for every scale.
//!
//! Every pair of tokens s < t meets at one boundary m of blocks of `2 h` tokens, s in the first
//! half and t in the second, h = 1, 2, 4 ...; what is left at t of what s wrote is then
//! `P(m..t) P(s..m)`, two factors that are running products within their halves. So the weights of
//! a scale are a mask times a product of scaled readers with scaled writers, no channel of which
//! is ever a quotient.
//!
//! Where a gate is known to be an exponential, `e^l`, with the sums `b` of l, what is left at t of what s wrote is
//! `e^(b_t - b_s)`, whatever the boundary. The slopes of l are then those of `b_t` at all readers, which is each times
//! its own slope, and of `-b_s` at all writers, likewise; products of gates are constants to them (`led`):
//!
//! ```text
//! dl_t = sum over u >= t of (q_u o dq_u - k_u o dk_u)
//! ```
//!
//! Readers and writers are scaled from each scale to the next, by what is left over a block that lies
//! between: a half of them at a time, and gates alone are never multiplied up. Readers count in second
//! halves and writers in first ones, so that those of a scale are one matrix, times itself.

use super::chunk::Chunk;
use super::decays::logarithm;
use super::gates::{Channels, Family, Level, Weights, columns_scaled, take};
use crate::build::{
    add, broadcast, constant, full_like, mul, neg, reshape, select, select_or_zero, sub,
};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};
use smallvec::smallvec;

/// Running products of gates within blocks of some size, `[C, D]` each.
#[derive(Clone, Copy)]
struct Running {
    /// From the block's start to the token, without it.
    before: Value,
    /// The same with it.
    after: Value,
    /// Behind the token to the block's end.
    rest: Value,
}

/// What blocks of tokens leave of a state, by channel.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// For every scale, from single tokens to the whole chunk: `[C / size, D]`.
    left: Vec<Value>,
    /// The numbers by token that terms are scaled by, `[C]` each.
    factors: Vec<Value>,
    /// Where gates are exponentials: of what.
    exponents: Option<Exponents>,
}

/// Sums of the exponents of gates from the chunk's start to each token, `[C, D]`.
#[derive(Clone, Copy, Debug)]
struct Exponents {
    /// Without the token itself.
    before: Value,
    /// With it.
    after: Value,
}

/// Which half of a block is scaled when two of them become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Readers in the second half, by what the first one leaves.
    Second,
    /// Writers in the first half, by what the second one leaves.
    First,
}

impl Chunk<'_> {
    /// Fills in the weights of a family of one slot; `gate` is `[C, D]`, C a power of two.
    pub(super) fn channel_weights(
        &mut self,
        family: &mut Family,
        gate: Mapped,
        factors: &[Value],
    ) {
        let gate = self.lifted(gate);
        let one = full_like(&mut self.g, gate, 1.0);
        let dims = self.g.ty(gate).dims.clone();
        let there = broadcast(&mut self.g, self.valid, &dims, &[0]);
        let exponent = logarithm(&mut self.g, gate);
        let exponents = exponent.map(|l| {
            let l = select_or_zero(&mut self.g, there, l);
            self.exponents(l)
        });
        let gate = select(&mut self.g, there, gate, one);
        let mut running = Running { before: one, after: gate, rest: one };
        let mut left = vec![match exponents {
            Some(_) => self.g.add(Op::Stop, &[gate]),
            None => gate,
        }];
        let mut levels = vec![Vec::new(); factors.len()];
        let mut levels_after = vec![Vec::new(); factors.len()];
        let mut half = 1;
        while half < self.rows {
            let meet = self.meeting(half);
            let scale = left.len() - 1;
            for (k, &factor) in factors.iter().enumerate() {
                let pairs = columns_scaled(&mut self.g, meet, factor);
                let then = running.rest;
                let of = |now| {
                    let channels = Channels { now, then, scale };
                    Level { pairs, channels: Some(channels) }
                };
                levels[k].push(of(running.before));
                levels_after[k].push(of(running.after));
            }
            running = self.doubled(running, half);
            let [first, second] = self.halves(left[scale], 1, 1);
            let both = mul(&mut self.g, first, second);
            let dims = [Dim::Fixed(self.rows / (2 * half)), dims[1]];
            left.push(reshape(&mut self.g, both, &dims));
            half *= 2;
        }
        let along = |t: &usize| self.terms[*t].left_axes[..] == *family.axis.as_slice();
        family.blocks = family.terms.iter().any(along).then(|| Blocks {
            left,
            factors: factors.to_vec(),
            exponents,
        });
        let own = self.same();
        for (k, &factor) in factors.iter().enumerate() {
            let pairs = columns_scaled(&mut self.g, own, factor);
            levels_after[k].push(Level { pairs, channels: None });
        }
        family.before.start = vec![vec![Some(running.before)]];
        family.after.start = vec![vec![Some(running.after)]];
        family.before.terms = vec![levels];
        family.after.terms = vec![levels_after];
        let mut last = Vec::new();
        for &factor in factors {
            let factor = broadcast(&mut self.g, factor, &dims, &[0]);
            last.push(Some(mul(&mut self.g, running.rest, factor)));
        }
        family.last = vec![last];
    }

    /// What all scales weigh of what a term wrote when it is read along the axis of the gates: `[C Q, C R]`.
    /// `vector` is `[C Q, D]`, `left` is `[C R, D]` of term e.
    pub(super) fn weighed(
        &mut self,
        blocks: &Blocks,
        (weights, e): (&Weights, usize),
        (vector, rows): (Value, usize),
        (left, rank): (Value, usize),
    ) -> Option<Value> {
        let readers = self.readers(blocks, weights.after, vector, rows);
        let writers = self.writers(blocks, e, left, rank);
        let levels = &weights.terms[0][e];
        let mut total = levels.iter().find(|l| l.channels.is_none()).map(|own| {
            let products = self.by_rows(vector, left);
            self.weighted(own.pairs, rows, rank, Some(products))
        });
        for channels in levels.iter().filter_map(|l| l.channels) {
            let (now, then) = (readers[channels.scale], writers[channels.scale]);
            let products = if rows == rank {
                let half = 1 << channels.scale;
                let [first, _] = self.halves(then, half, rows);
                let [_, second] = self.halves(now, half, rows);
                let both = self.joined_halves(first, second);
                self.by_rows(both, both)
            } else {
                self.by_rows(now, then)
            };
            let there = self.before_block(channels.scale, rows, rank);
            total = Some(match total {
                Some(total) => select(&mut self.g, there, products, total),
                None => select_or_zero(&mut self.g, there, products),
            });
        }
        total
    }

    /// Whether then is before the block of this scale that now is in: `[C Q, C R]`. Of those that are, the ones that are
    /// not before a block of the next scale meet at this one.
    fn before_block(&mut self, scale: usize, rows: usize, rank: usize) -> Value {
        let size = 1 << scale;
        let blocks = smallvec![Dim::Fixed(self.rows / size), Dim::Fixed(size)];
        let block = self.g.add(Op::Iota { axis: 0, dims: blocks }, &[]);
        let c = self.dim();
        let block = reshape(&mut self.g, block, &[c]);
        let [now, then] = [rows, rank].map(|n| self.per_row(Mapped::all(block), n));
        let all = [rows, rank].map(|n| Dim::Fixed(self.rows * n));
        let now = broadcast(&mut self.g, now, &all, &[0]);
        let then = broadcast(&mut self.g, then, &all, &[1]);
        self.g.add(Op::Less, &[then, now])
    }

    /// Vectors that read, scaled by what is left from the start of their blocks on, for every scale.
    pub(super) fn readers(
        &mut self,
        blocks: &Blocks,
        after: bool,
        vector: Value,
        rows: usize,
    ) -> Vec<Value> {
        let sums = blocks.exponents.map(|e| if after { e.after } else { e.before });
        let vector = self.led(vector, sums, rows);
        let vector = if after {
            let gate = self.channels_per_row(blocks.left[0], rows);
            mul(&mut self.g, vector, gate)
        } else {
            vector
        };
        self.scaled(blocks, vector, rows, Side::Second)
    }

    /// Vectors that term e writes, scaled by what is left at the ends of their blocks, for every scale.
    pub(super) fn writers(
        &mut self,
        blocks: &Blocks,
        e: usize,
        left: Value,
        rank: usize,
    ) -> Vec<Value> {
        let factor = self.per_row(Mapped::all(blocks.factors[e]), rank);
        let left = self.scaled_rows(factor, left);
        let sums = blocks.exponents.map(|e| neg(&mut self.g, e.after));
        let left = self.led(left, sums, rank);
        self.scaled(blocks, left, rank, Side::First)
    }

    /// What all tokens of the chunk leave of a state, `[1, D]`.
    pub(super) fn left_at_end(&mut self, blocks: &Blocks) -> Value {
        let left = *blocks.left.last().expect("a token is a block");
        let sums = self.sums_at_end(blocks);
        self.led(left, sums, 1)
    }

    /// As [`Chunk::writers`], at the chunk's end: `[C R, D]`.
    pub(super) fn writers_at_end(
        &mut self,
        blocks: &Blocks,
        e: usize,
        left: Value,
        rank: usize,
    ) -> Value {
        let writers = self.writers(blocks, e, left, rank);
        let last = *writers.last().expect("a token is a block");
        let sums = self.sums_at_end(blocks).map(|sums| {
            let dims = self.g.ty(blocks.left[0]).dims.clone();
            let sums = reshape(&mut self.g, sums, &dims[1..]);
            broadcast(&mut self.g, sums, &dims, &[1])
        });
        self.led(last, sums, rank)
    }

    /// The sums of all exponents, `[1, D]`.
    fn sums_at_end(&mut self, blocks: &Blocks) -> Option<Value> {
        blocks.exponents.map(|e| take(&mut self.g, e.after, 0, self.rows - 1, 1))
    }

    /// The same value, whose slope to `sums` is that of `value e^sums`; what it is multiplied by besides holds such powers,
    /// as constants.
    fn led(&mut self, value: Value, sums: Option<Value>, rows: usize) -> Value {
        let Some(sums) = sums else { return value };
        let as_constant = self.g.add(Op::Stop, &[sums]);
        let none = sub(&mut self.g, sums, as_constant);
        let none = self.channels_per_row(none, rows);
        let slope = mul(&mut self.g, value, none);
        add(&mut self.g, value, slope)
    }

    /// `l` is `[C, D]`.
    fn exponents(&mut self, l: Value) -> Exponents {
        let dims = self.g.ty(l).dims.clone();
        let one = Dim::Fixed(1);
        let each = reshape(&mut self.g, l, &[dims[0], one, dims[1]]);
        let same = constant(&mut self.g, 1.0, &[dims[0], one, one]);
        let none = constant(&mut self.g, 0.0, &[one, dims[1]]);
        let scan = Op::LinearScan { reverse: false };
        let after = self.g.add(scan, &[same, each, none]);
        let after = reshape(&mut self.g, after, &dims);
        Exponents { before: sub(&mut self.g, after, l), after }
    }

    /// The last row of each half, in all of its rows: `[n, 1, half, D]`.
    fn last_of(&mut self, halves: Value) -> Value {
        let dims = self.g.ty(halves).dims.clone();
        let half = dims[2].fixed().expect("a chunk's rows are known");
        let last = take(&mut self.g, halves, 2, half - 1, 1);
        let last = reshape(&mut self.g, last, &[dims[0], dims[3]]);
        broadcast(&mut self.g, last, &dims, &[0, 3])
    }

    /// For every scale, `[C n, D]`.
    fn scaled(
        &mut self,
        blocks: &Blocks,
        vector: Value,
        rows: usize,
        side: Side,
    ) -> Vec<Value> {
        let mut out = vec![vector];
        for (scale, &left) in blocks.left[..blocks.left.len() - 1].iter().enumerate() {
            let [mut first, mut second] = self.halves(out[scale], 1 << scale, rows);
            let of_blocks = self.halves(left, 1, 1);
            let (part, by) = match side {
                Side::Second => (&mut second, of_blocks[0]),
                Side::First => (&mut first, of_blocks[1]),
            };
            let shape = self.g.ty(*part).dims.clone();
            let by = reshape(&mut self.g, by, &[shape[0], shape[3]]);
            let by = broadcast(&mut self.g, by, &shape, &[0, 3]);
            *part = mul(&mut self.g, *part, by);
            out.push(self.joined_halves(first, second));
        }
        out
    }

    /// Blocks of these halves, as `[C n, D]`.
    fn joined_halves(&mut self, first: Value, second: Value) -> Value {
        let both = self.g.add(Op::Concat { axis: 1 }, &[first, second]);
        let dims = self.g.ty(both).dims.clone();
        let rows = dims[..3].iter().filter_map(|d| d.fixed()).product();
        reshape(&mut self.g, both, &[Dim::Fixed(rows), dims[3]])
    }

    /// Both halves of all blocks of twice as many tokens: `[n, 1, half rows, D]`.
    fn halves(&mut self, value: Value, half: usize, rows: usize) -> [Value; 2] {
        let dims = self.g.ty(value).dims.clone();
        let half = half * rows;
        let n = dims[0].fixed().expect("a chunk's rows are known") / (2 * half);
        let blocks = [Dim::Fixed(n), Dim::Fixed(2), Dim::Fixed(half), dims[1]];
        let value = reshape(&mut self.g, value, &blocks);
        [0, 1].map(|k| take(&mut self.g, value, 1, k, 1))
    }

    /// Products within blocks of twice the size.
    fn doubled(&mut self, r: Running, half: usize) -> Running {
        let [after_first, after_second] = self.halves(r.after, half, 1);
        let [before_first, before_second] = self.halves(r.before, half, 1);
        let [rest_first, rest_second] = self.halves(r.rest, half, 1);
        let (first, second) = (self.last_of(after_first), self.last_of(after_second));
        let after_second = mul(&mut self.g, after_second, first);
        let before_second = mul(&mut self.g, before_second, first);
        let rest_first = mul(&mut self.g, rest_first, second);
        Running {
            before: self.joined_halves(before_first, before_second),
            after: self.joined_halves(after_first, after_second),
            rest: self.joined_halves(rest_first, rest_second),
        }
    }

    /// One where now is in the second and then in the first half of a block of `2 half`.
    fn meeting(&mut self, half: usize) -> Value {
        let c = self.dim();
        let dims = smallvec![c, c];
        let now = self.g.add(Op::Iota { axis: 0, dims }, &[]);
        let dims = smallvec![c, c];
        let then = self.g.add(Op::Iota { axis: 1, dims }, &[]);
        let (size, whole) = (half as f64, 2.0 * half as f64);
        let h = constant(&mut self.g, size, &[c, c]);
        let w = constant(&mut self.g, whole, &[c, c]);
        let within = |chunk: &mut Self, at: Value| {
            let phase = chunk.g.add(Op::Rem, &[at, w]);
            (sub(&mut chunk.g, at, phase), phase)
        };
        let (block_now, phase_now) = within(self, now);
        let (block_then, phase_then) = within(self, then);
        let same = self.g.add(Op::Equal, &[block_now, block_then]);
        let second = self.g.add(Op::LessEqual, &[h, phase_now]);
        let first = self.g.add(Op::Less, &[phase_then, h]);
        let both = self.g.add(Op::And, &[second, first]);
        let meet = self.g.add(Op::And, &[same, both]);
        self.g.add(Op::Real, &[meet])
    }

    fn same(&mut self) -> Value {
        let c = self.dim();
        let now = self.g.add(Op::Iota { axis: 0, dims: smallvec![c, c] }, &[]);
        let then = self.g.add(Op::Iota { axis: 1, dims: smallvec![c, c] }, &[]);
        let same = self.g.add(Op::Equal, &[now, then]);
        self.g.add(Op::Real, &[same])
    }
}
