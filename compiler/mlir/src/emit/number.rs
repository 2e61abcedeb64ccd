//! Quantities: numbers known now, and values of 64 bits known when the kernel runs.

use super::Emit;
use super::build::V;
use melior::dialect::arith::CmpiPredicate;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Index, Monomial, Part};

/// A whole number. What is added last and known stays apart, so that neighbours share all but that, and addresses end in it.
#[derive(Clone, Copy)]
pub(super) enum Num<'c, 'a> {
    Known(i64),
    Run(V<'c, 'a>),
    /// A value, and what is to be added.
    Further(V<'c, 'a>, i64),
}

impl<'c, 'a> Num<'c, 'a> {
    pub(super) fn parts(self) -> (Option<V<'c, 'a>>, i64) {
        match self {
            Num::Known(n) => (None, n),
            Num::Run(v) => (Some(v), 0),
            Num::Further(v, n) => (Some(v), n),
        }
    }
    pub(super) fn of(v: Option<V<'c, 'a>>, n: i64) -> Self {
        match (v, n) {
            (None, n) => Num::Known(n),
            (Some(v), 0) => Num::Run(v),
            (Some(v), n) => Num::Further(v, n),
        }
    }
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn value(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        match n {
            Num::Known(n) => self.b.constant(64, n),
            Num::Run(v) => v,
            Num::Further(v, n) => {
                let n = self.b.constant(64, n);
                self.b.two("llvm.add", v, n)
            }
        }
    }
    pub(super) fn add(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        let ((a, x), (b, y)) = (a.parts(), b.parts());
        let sum = match (a, b) {
            (None, v) | (v, None) => v,
            (Some(a), Some(b)) => Some(self.b.two("llvm.add", a, b)),
        };
        Num::of(sum, x + y)
    }
    pub(super) fn mul(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(0), _) | (_, Num::Known(0)) => Num::Known(0),
            (Num::Known(1), n) | (n, Num::Known(1)) => n,
            (Num::Known(by), n) | (n, Num::Known(by)) => {
                let (v, n) = n.parts();
                let v = v.map(|v| {
                    let by = self.b.constant(64, by);
                    self.b.two("llvm.mul", v, by)
                });
                Num::of(v, n * by)
            }
            (a, b) => self.both("llvm.mul", a, b),
        }
    }
    pub(super) fn sub(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        let ((a, x), (b, y)) = (a.parts(), b.parts());
        match (a, b) {
            (a, None) => Num::of(a, x - y),
            (Some(a), Some(b)) => Num::of(Some(self.b.two("llvm.sub", a, b)), x - y),
            (None, b) => self.both("llvm.sub", Num::Known(x - y), Num::of(b, 0)),
        }
    }
    /// Of numbers that are not negative; without what is to be added to them they may be.
    pub(super) fn div(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a / b),
            (n, Num::Known(1)) => n,
            (n, Num::Known(by)) if self.is_below(n, by) => Num::Known(0),
            (a, b) => self.both("llvm.udiv", a, b),
        }
    }
    pub(super) fn rem(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a % b),
            (_, Num::Known(1)) => Num::Known(0),
            (n, Num::Known(by)) if self.is_below(n, by) => n,
            (a, b) => self.both("llvm.urem", a, b),
        }
    }
    /// Whether a number is known to be below another, and not negative.
    fn is_below(&self, n: Num<'c, 'a>, bound: i64) -> bool {
        let Num::Run(v) = n else { return false };
        self.b.range(v).is_some_and(|(from, below)| from >= 0 && below <= bound)
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

    /// The first turn of a loop, and how many there are.
    pub(super) fn range(
        &mut self,
        extent: Dim,
        part: Part,
    ) -> (Num<'c, 'a>, Num<'c, 'a>) {
        let at = |e: &Self, i: Index| e.indices[i.index()].expect("an index in scope");
        match part {
            Part::All => (Num::Known(0), self.extent(extent)),
            Part::Before(i) => (Num::Known(0), at(self, i)),
            Part::After(i) => {
                let all = self.extent(extent);
                let first = self.add(at(self, i), Num::Known(1));
                (first, self.sub(all, first))
            }
        }
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
