//! Run-time quantities: monomials of the sizes and affine functions of the indices.
//!
//! They are computed where they are needed; common ones are joined and moved out of loops by
//! Cranelift, which sees that they are pure.

use crate::emitter::{Emitter, Num};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Monomial};

impl Emitter<'_> {
    /// `T` and `t0` in ticks of every so many tokens.
    fn ticks(&mut self, every: usize) -> (Value, Value) {
        let (time, start) = (self.sizes[1], self.sizes[2]);
        if every == 1 {
            return (time, start);
        }
        let rest = self.phase(start, every);
        let time = self.b.ins().iadd(rest, time);
        (self.divided(time, every), self.divided(start, every))
    }
    /// `n / by`, rounded down.
    fn divided(&mut self, n: Value, by: usize) -> Value {
        let by = i64::try_from(by).expect("a chunk fits 63 bits");
        if by.count_ones() == 1 {
            let shift = self.b.ins().iconst(types::I64, i64::from(by.trailing_zeros()));
            return self.b.ins().ushr(n, shift);
        }
        let by = self.b.ins().iconst(types::I64, by);
        self.b.ins().udiv(n, by)
    }
    /// `t0 mod c`.
    fn phase(&mut self, start: Value, c: usize) -> Value {
        let c = i64::try_from(c).expect("a chunk fits 63 bits");
        if c.count_ones() == 1 {
            let mask = self.b.ins().iconst(types::I64, c - 1);
            return self.b.ins().band(start, mask);
        }
        let c = self.b.ins().iconst(types::I64, c);
        self.b.ins().urem(start, c)
    }
    /// `ceil((t0 mod c + T) / c)`.
    fn chunks(&mut self, time: Value, start: Value, c: usize) -> Value {
        let phase = self.phase(start, c);
        let rows = self.b.ins().iadd(phase, time);
        let up = i64::try_from(c).expect("a chunk fits 63 bits") - 1;
        let rows = self.b.ins().iadd_imm_s(rows, up);
        self.divided(rows, c)
    }
    /// A dimension's size.
    pub(crate) fn extent(&mut self, dim: Dim) -> Num {
        self.monomial(&Monomial::dim(dim))
    }
    /// A monomial's value.
    pub(crate) fn monomial(&mut self, m: &Monomial) -> Num {
        let mut n = Num::Const(m.factor);
        let (time, start) = self.ticks(m.every);
        for _ in 0..m.batch {
            n = self.mul(n, Num::Run(self.sizes[0]));
        }
        for _ in 0..m.time {
            n = self.mul(n, Num::Run(time));
        }
        if m.chunks.1 > 0 {
            let chunks = self.chunks(time, start, m.chunks.0);
            for _ in 0..m.chunks.1 {
                n = self.mul(n, Num::Run(chunks));
            }
        }
        if m.phase > 0 {
            let phase = self.phase(start, m.phase);
            n = self.mul(n, Num::Run(phase));
        }
        for _ in 0..m.start {
            n = self.mul(n, Num::Run(start));
        }
        if m.whole > 0 {
            let whole = self.b.ins().iadd(start, time);
            for _ in 0..m.whole {
                n = self.mul(n, Num::Run(whole));
            }
        }
        n
    }
    /// An affine function's value.
    pub(crate) fn affine(&mut self, a: &Affine) -> Num {
        let mut n = Num::Const(0);
        for m in &a.constant {
            let term = self.monomial(m);
            n = self.add(n, term);
        }
        for (index, m) in &a.terms {
            let by = self.monomial(m);
            let index = self.indices[index.index()].expect("the index is in scope");
            let term = self.mul(by, Num::Run(index));
            n = self.add(n, term);
        }
        n
    }
}
