//! Quantities: numbers known now, and values of 64 bits known when the kernel runs.

use super::Emit;
use super::build::V;
use melior::dialect::arith::CmpiPredicate;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Monomial};

/// A whole number.
#[derive(Clone, Copy)]
pub(super) enum Num<'c, 'a> {
    Known(i64),
    Run(V<'c, 'a>),
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn value(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        match n {
            Num::Known(n) => self.b.constant(64, n),
            Num::Run(v) => v,
        }
    }
    pub(super) fn add(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a + b),
            (Num::Known(0), n) | (n, Num::Known(0)) => n,
            (a, b) => self.both("llvm.add", a, b),
        }
    }
    pub(super) fn mul(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a * b),
            (Num::Known(0), _) | (_, Num::Known(0)) => Num::Known(0),
            (Num::Known(1), n) | (n, Num::Known(1)) => n,
            (a, b) => self.both("llvm.mul", a, b),
        }
    }
    pub(super) fn sub(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a - b),
            (n, Num::Known(0)) => n,
            (a, b) => self.both("llvm.sub", a, b),
        }
    }
    /// Of numbers that are not negative.
    pub(super) fn div(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a / b),
            (n, Num::Known(1)) => n,
            (a, b) => self.both("llvm.udiv", a, b),
        }
    }
    pub(super) fn rem(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a % b),
            (_, Num::Known(1)) => Num::Known(0),
            (a, b) => self.both("llvm.urem", a, b),
        }
    }
    pub(super) fn min(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a.min(b)),
            (a, b) => self.both("llvm.intr.smin", a, b),
        }
    }
    fn both(&mut self, op: &str, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        let (a, b) = (self.value(a), self.value(b));
        Num::Run(self.b.two(op, a, b))
    }
    /// `a < b`
    pub(super) fn less(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> V<'c, 'a> {
        let (a, b) = (self.value(a), self.value(b));
        self.b.compare_whole(CmpiPredicate::Slt, a, b)
    }
    /// `low <= n < high`
    pub(super) fn within(
        &mut self,
        n: Num<'c, 'a>,
        low: Num<'c, 'a>,
        high: Num<'c, 'a>,
    ) -> V<'c, 'a> {
        let (value, low) = (self.value(n), self.value(low));
        let above = self.b.compare_whole(CmpiPredicate::Sle, low, value);
        let below = self.less(n, high);
        self.b.two("llvm.and", above, below)
    }

    pub(super) fn extent(&mut self, dim: Dim) -> Num<'c, 'a> {
        self.monomial(&Monomial::dim(dim))
    }

    pub(super) fn monomial(&mut self, m: &Monomial) -> Num<'c, 'a> {
        let [batch, time, start] = self.sizes;
        let (time, start) = match m.every {
            1 => (time, start),
            every => {
                let every = Num::Known(every as i64);
                let rest = self.rem(start, every);
                let rows = self.add(rest, time);
                (self.div(rows, every), self.div(start, every))
            }
        };
        let mut out = Num::Known(m.factor);
        for (n, power) in [(batch, m.batch), (time, m.time), (start, m.start)] {
            for _ in 0..power {
                out = self.mul(out, n);
            }
        }
        for _ in 0..m.whole {
            let whole = self.add(start, time);
            out = self.mul(out, whole);
        }
        let (c, power) = m.chunks;
        if power > 0 {
            let c = Num::Known(c as i64);
            let phase = self.rem(start, c);
            let rows = self.add(phase, time);
            let up = self.sub(c, Num::Known(1));
            let rows = self.add(rows, up);
            let chunks = self.div(rows, c);
            for _ in 0..power {
                out = self.mul(out, chunks);
            }
        }
        if m.phase > 0 {
            let phase = self.rem(start, Num::Known(m.phase as i64));
            out = self.mul(out, phase);
        }
        out
    }

    pub(super) fn affine(&mut self, a: &Affine) -> Num<'c, 'a> {
        let mut out = Num::Known(0);
        for m in &a.constant {
            let m = self.monomial(m);
            out = self.add(out, m);
        }
        for (index, m) in &a.terms {
            let m = self.monomial(m);
            let index = self.indices[index.index()].expect("an index in scope");
            let term = self.mul(index, m);
            out = self.add(out, term);
        }
        out
    }
}
