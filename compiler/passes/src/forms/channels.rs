//! Gates that differ along an axis of the state: one product of matrices for every scale.
//!
//! Every pair of tokens s < t meets at one boundary m of blocks of `2 h` tokens, s in the first
//! half and t in the second, h = 1, 2, 4 ...; what is left at t of what s wrote is then
//! `P(m..t) P(s..m)`, two factors that are running products within their halves. So the weights of
//! a scale are a mask times a product of scaled readers with scaled writers, no channel of which
//! is ever a quotient.

use super::chunk::Chunk;
use super::gates::{Family, Level, columns_scaled, take};
use crate::build::{broadcast, constant, full_like, mul, reshape, select};
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
        let gate = select(&mut self.g, there, gate, one);
        let mut running = Running { before: one, after: gate, rest: one };
        let mut levels = vec![Vec::new(); factors.len()];
        let mut levels_after = vec![Vec::new(); factors.len()];
        let mut half = 1;
        while half < self.rows {
            let mask = self.meeting(half);
            for (k, &factor) in factors.iter().enumerate() {
                let pairs = columns_scaled(&mut self.g, mask, factor);
                let of = |now| Level { pairs, channels: Some((now, running.rest)) };
                levels[k].push(of(running.before));
                levels_after[k].push(of(running.after));
            }
            running = self.doubled(running, half);
            half *= 2;
        }
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

    /// Products within blocks of twice the size.
    fn doubled(&mut self, r: Running, half: usize) -> Running {
        let d = self.g.ty(r.after).dims[1];
        let all = [self.dim(), d];
        let n = Dim::Fixed(self.rows / (2 * half));
        let blocks = [n, Dim::Fixed(2), Dim::Fixed(half), d];
        let split = |chunk: &mut Self, value: Value| {
            let value = reshape(&mut chunk.g, value, &blocks);
            [0, 1].map(|k| take(&mut chunk.g, value, 1, k, 1))
        };
        let [after_first, after_second] = split(self, r.after);
        let [before_first, before_second] = split(self, r.before);
        let [rest_first, rest_second] = split(self, r.rest);
        let whole = |chunk: &mut Self, half_of: Value| {
            let last = take(&mut chunk.g, half_of, 2, half - 1, 1);
            let last = reshape(&mut chunk.g, last, &[n, d]);
            let dims = [n, Dim::Fixed(1), Dim::Fixed(half), d];
            broadcast(&mut chunk.g, last, &dims, &[0, 3])
        };
        let (first, second) = (whole(self, after_first), whole(self, after_second));
        let join = |chunk: &mut Self, a: Value, b: Value| {
            let both = chunk.g.add(Op::Concat { axis: 1 }, &[a, b]);
            reshape(&mut chunk.g, both, &all)
        };
        let after_second = mul(&mut self.g, after_second, first);
        let before_second = mul(&mut self.g, before_second, first);
        let rest_first = mul(&mut self.g, rest_first, second);
        Running {
            before: join(self, before_first, before_second),
            after: join(self, after_first, after_second),
            rest: join(self, rest_first, rest_second),
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
            (crate::build::sub(&mut chunk.g, at, phase), phase)
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
