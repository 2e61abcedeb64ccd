//! Whole systems and roots of matrices: statements whose threads wait for one another inside.
//!
//! Every wait is one of the whole block: what decides a turn is read by all threads from the same numbers.

use super::Emit;
use super::build::V;
use super::number::Num;
use crate::placement::ROOM;
use melior::dialect::arith::{CmpfPredicate, CmpiPredicate};
use nestor_ir::tile::{Extent, Place, Tile};

/// Rounds of rotations at most; each squares what is left beside the diagonal.
const ROUNDS: i64 = 24;
/// What may be left beside the diagonal, squared, for all that there is, squared.
const REST: f64 = 1e-16;

/// Two rows that are turned together in a step of a round, and whether the second one is there.
struct Pair<'c, 'a> {
    rows: [Num<'c, 'a>; 2],
    both: Option<V<'c, 'a>>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Element (row, column) of a contiguous matrix.
    fn cell(
        &mut self,
        row: Num<'c, 'a>,
        width: usize,
        column: Num<'c, 'a>,
    ) -> Num<'c, 'a> {
        let row = self.mul(row, Num::Known(width as i64));
        self.add(row, column)
    }

    fn same(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> V<'c, 'a> {
        let (a, b) = (self.value(a), self.value(b));
        self.b.compare_whole(CmpiPredicate::Eq, a, b)
    }

    fn when(&mut self, condition: V<'c, 'a>, body: impl FnOnce(&mut Self)) {
        let opened = self.b.open_if(condition, &[]);
        body(self);
        self.b.close(opened, &[]);
    }

    /// `X <- A^-1 X`: column by column, the largest entry's row comes up, and all other rows lose their share
    /// of it. Of A, only what is right of the column is kept up; its diagonal is divided by at the end.
    pub(super) fn eliminate(&mut self, a: Tile, x: Tile, n: usize, m: usize) {
        let (a, x) = (Place::Tile(a), Place::Tile(x));
        let (rows, square, right) =
            (Num::Known(n as i64), Extent::Fixed(n), Extent::Fixed(m));
        self.turns(rows, false, |e, i| {
            e.b.barrier();
            let pivot = e.pivot(a, n, i);
            e.b.barrier();
            for (place, width) in [(a, n), (x, m)] {
                e.shared(&[Extent::Fixed(width)], |e, point| {
                    let upper = e.cell(i, width, point[0]);
                    let lower = e.cell(pivot, width, point[0]);
                    let (above, below) = (e.read(place, upper), e.read(place, lower));
                    e.write(place, upper, below);
                    e.write(place, lower, above);
                });
            }
            e.b.barrier();
            e.shared(&[square, square], |e, point| {
                let beyond = e.less(i, point[1]);
                e.when(beyond, |e| e.clear((a, n), (a, n), i, point));
            });
            e.shared(&[square, right], |e, point| {
                // The pivot's row of A is not written here: no wait in between.
                e.clear((a, n), (x, m), i, point);
            });
        });
        self.b.barrier();
        self.shared(&[square, right], |e, point| {
            let own = e.cell(point[0], n, point[0]);
            let at = e.cell(point[0], m, point[1]);
            let (divisor, value) = (e.read(a, own), e.read(x, at));
            let value = e.b.two("llvm.fdiv", value, divisor);
            e.write(x, at, value);
        });
    }

    /// The row of the largest entry of column `i`, from row `i` on.
    fn pivot(&mut self, a: Place, n: usize, i: Num<'c, 'a>) -> Num<'c, 'a> {
        let first = self.cell(i, n, i);
        let first = self.read(a, first);
        let first = self.b.one("llvm.intr.fabs", first);
        let from = self.add(i, Num::Known(1));
        let bounds = [from, Num::Known(n as i64), Num::Known(1)].map(|q| self.value(q));
        let start = self.value(i);
        let (opened, row, best) = self.b.open_for(bounds, &[first, start]);
        let at = self.cell(Num::Run(row), n, i);
        let here = self.read(a, at);
        let here = self.b.one("llvm.intr.fabs", here);
        let larger = self.b.compare(CmpfPredicate::Ogt, here, best[0]);
        let size = self.b.select(larger, here, best[0]);
        let which = self.b.select(larger, row, best[1]);
        Num::Run(self.b.close(opened, &[size, which])[1])
    }

    /// Takes from an entry its row's share of the pivot's row; the pivot's row keeps what it has.
    fn clear(
        &mut self,
        (a, n): (Place, usize),
        (place, width): (Place, usize),
        i: Num<'c, 'a>,
        point: &[Num<'c, 'a>],
    ) {
        let here = self.same(i, point[0]);
        let one = self.b.constant(1, 1);
        let other = self.b.two("llvm.xor", here, one);
        let (row, column) = (point[0], point[1]);
        self.when(other, |e| {
            let [share, own, from, to] =
                [(row, n, i), (i, n, i), (i, width, column), (row, width, column)]
                    .map(|(r, w, c)| e.cell(r, w, c));
            let (share, own) = (e.read_alone(a, share), e.read_alone(a, own));
            let factor = e.b.two("llvm.fdiv", share, own);
            let factor = e.b.one("llvm.fneg", factor);
            let (taken, before) = (e.read(place, from), e.read(place, to));
            let after = e.b.fma(factor, taken, before);
            e.write(place, to, after);
        });
    }

    /// `A <- A^(-1/p)`: rotations of pairs of rows that have no row in common are made together, until
    /// what is beside the diagonal is gone; then A is made of its vectors again.
    pub(super) fn inverse_root(&mut self, a: Tile, basis: Tile, n: usize, p: f64) {
        let (a, basis) = (Place::Tile(a), Place::Tile(basis));
        let square = [Extent::Fixed(n), Extent::Fixed(n)];
        self.shared(&square, |e, point| {
            let diagonal = e.same(point[0], point[1]);
            let (one, zero) = (e.b.real(1.0), e.b.real(0.0));
            let value = e.b.select(diagonal, one, zero);
            let at = e.cell(point[0], n, point[1]);
            e.write(basis, at, value);
        });
        self.b.barrier();
        self.turns(Num::Known(ROUNDS), false, |e, _| {
            let rest = e.rest(a, n);
            e.when(rest, |e| e.round(a, basis, n));
        });
        // Eigenvectors alone: they are there.
        if p.is_infinite() {
            return;
        }
        self.shared(&square, |e, point| {
            let (own, at) =
                (e.cell(point[1], n, point[1]), e.cell(point[0], n, point[1]));
            let power = e.b.real(-0.5 / p);
            let value = e.read(a, own);
            let half = e.pow(value, power);
            let before = e.read(basis, at);
            let after = e.b.two("llvm.fmul", before, half);
            e.write(basis, at, after);
        });
        self.b.barrier();
        self.shared(&square, |e, point| {
            let zero = e.b.real(0.0);
            let rows = Num::Known(n as i64);
            let sum = e.sum(Num::Known(0), rows, zero, |e, k| {
                let (l, r) = (e.cell(point[0], n, k), e.cell(point[1], n, k));
                [e.read(basis, l), e.read(basis, r)]
            });
            let at = e.cell(point[0], n, point[1]);
            e.write(a, at, sum);
        });
    }

    /// Whether anything is left beside the diagonal; every thread looks at all of it.
    fn rest(&mut self, a: Place, n: usize) -> V<'c, 'a> {
        let count = Num::Known((n * n) as i64);
        let bounds = [Num::Known(0), count, Num::Known(1)].map(|q| self.value(q));
        let zero = self.b.real(0.0);
        let (opened, at, sums) = self.b.open_for(bounds, &[zero, zero]);
        let at = Num::Run(at);
        let value = self.read(a, at);
        let all = self.b.fma(value, value, sums[0]);
        // Every diagonal entry is n + 1 after the one before.
        let place = self.rem(at, Num::Known(n as i64 + 1));
        let diagonal = self.same(place, Num::Known(0));
        let more = self.b.fma(value, value, sums[1]);
        let beside = self.b.select(diagonal, sums[1], more);
        let sums = self.b.close(opened, &[all, beside]);
        let part = self.b.real(REST);
        let bound = self.b.two("llvm.fmul", sums[0], part);
        self.b.compare(CmpfPredicate::Ogt, sums[1], bound)
    }

    /// Every pair of rows once: as in a tournament, where one stays and the others go round.
    fn round(&mut self, a: Place, basis: Place, n: usize) {
        let half = n.div_ceil(2);
        let steps = 2 * half as i64 - 1;
        let pairs = Extent::Fixed(half);
        self.turns(Num::Known(steps), false, |e, step| {
            e.shared(&[pairs], |e, point| {
                let pair = e.pair(step, point[0], n);
                e.of_both(&pair, |e, [p, q]| {
                    let [c, d] = e.angle(a, n, [p, q]);
                    e.keep(point[0], c);
                    let second = e.add(point[0], Num::Known(half as i64));
                    e.keep(second, d);
                });
            });
            e.b.barrier();
            e.shared(&[Extent::Fixed(n), pairs], |e, point| {
                let pair = e.pair(step, point[1], n);
                e.of_both(&pair, |e, [p, q]| {
                    let turn = e.kept(point[1], half);
                    for place in [a, basis] {
                        let at = [p, q].map(|c| e.cell(point[0], n, c));
                        e.turn(place, at, turn, None);
                    }
                });
            });
            e.b.barrier();
            e.shared(&[pairs, Extent::Fixed(n)], |e, point| {
                let pair = e.pair(step, point[0], n);
                e.of_both(&pair, |e, [p, q]| {
                    let turn = e.kept(point[0], half);
                    let at = [p, q].map(|r| e.cell(r, n, point[1]));
                    // What a rotation clears is nothing, whatever rounding says.
                    let cleared = [q, p].map(|c| e.same(c, point[1]));
                    e.turn(a, at, turn, Some(cleared));
                });
            });
            e.b.barrier();
        });
    }

    /// Pair number `k` of a step.
    fn pair(&mut self, step: Num<'c, 'a>, k: Num<'c, 'a>, n: usize) -> Pair<'c, 'a> {
        let round = 2 * n.div_ceil(2) as i64 - 1;
        let around = Num::Known(round);
        let first = self.add(step, k);
        let first = self.rem(first, around);
        let second = self.add(step, around);
        let second = self.sub(second, k);
        let second = self.rem(second, around);
        let stays = self.same(k, Num::Known(0));
        let (staying, going) = (self.value(around), self.value(second));
        let second = Num::Run(self.b.select(stays, staying, going));
        // Of an odd number, one row has no partner.
        let both = (n % 2 == 1).then(|| self.less(second, Num::Known(n as i64)));
        Pair { rows: [first, second], both }
    }

    fn of_both(
        &mut self,
        pair: &Pair<'c, 'a>,
        body: impl FnOnce(&mut Self, [Num<'c, 'a>; 2]),
    ) {
        match pair.both {
            None => body(self, pair.rows),
            Some(both) => self.when(both, |e| body(e, pair.rows)),
        }
    }

    /// Cosine and sine of the rotation that clears entry (p, q).
    fn angle(&mut self, a: Place, n: usize, [p, q]: [Num<'c, 'a>; 2]) -> [V<'c, 'a>; 2] {
        let [first, second, beside] =
            [(p, p), (q, q), (p, q)].map(|(r, c)| self.cell(r, n, c));
        let [first, second, beside] = [first, second, beside].map(|at| self.read(a, at));
        let (zero, one, two) = (self.b.real(0.0), self.b.real(1.0), self.b.real(2.0));
        let difference = self.b.two("llvm.fsub", second, first);
        let twice = self.b.two("llvm.fmul", two, beside);
        let theta = self.b.two("llvm.fdiv", difference, twice);
        let root = self.b.fma(theta, theta, one);
        let root = self.b.one("llvm.intr.sqrt", root);
        let size = self.b.one("llvm.intr.fabs", theta);
        let size = self.b.two("llvm.fadd", size, root);
        let t = self.b.two("llvm.fdiv", one, size);
        let t = self.b.two("llvm.intr.copysign", t, theta);
        let none = self.b.compare(CmpfPredicate::Oeq, beside, zero);
        let t = self.b.select(none, zero, t);
        let length = self.b.fma(t, t, one);
        let length = self.b.one("llvm.intr.sqrt", length);
        let c = self.b.two("llvm.fdiv", one, length);
        [c, self.b.two("llvm.fmul", t, c)]
    }

    /// Combines two entries by a rotation; where told so, an entry becomes zero.
    fn turn(
        &mut self,
        place: Place,
        at: [Num<'c, 'a>; 2],
        [c, d]: [V<'c, 'a>; 2],
        cleared: Option<[V<'c, 'a>; 2]>,
    ) {
        let [p, q] = at.map(|n| self.read(place, n));
        let (first, second) =
            (self.b.two("llvm.fmul", c, p), self.b.two("llvm.fmul", c, q));
        let minus = self.b.one("llvm.fneg", d);
        let mut turned = [self.b.fma(minus, q, first), self.b.fma(d, p, second)];
        if let Some(cleared) = cleared {
            let zero = self.b.real(0.0);
            for (value, gone) in turned.iter_mut().zip(cleared) {
                *value = self.b.select(gone, zero, *value);
            }
        }
        for (n, value) in at.into_iter().zip(turned) {
            self.write(place, n, value);
        }
    }

    /// Keeps a number in the room that statements have for themselves.
    fn keep(&mut self, n: Num<'c, 'a>, x: V<'c, 'a>) {
        let at = self.room(n);
        self.b.store(x, at);
    }

    /// The rotation of pair `k`.
    fn kept(&mut self, k: Num<'c, 'a>, half: usize) -> [V<'c, 'a>; 2] {
        let second = self.add(k, Num::Known(half as i64));
        [k, second].map(|n| {
            let at = self.room(n);
            let float = self.b.float();
            self.b.load(at, float)
        })
    }

    fn room(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        let all = self.b.address_of(super::SHARED, 3);
        let from = self.b.constant(64, self.about.placement.room.expect(ROOM));
        let byte = self.b.int(8);
        let all = self.b.element(all, from, byte);
        let n = self.value(n);
        let float = self.b.float();
        self.b.element(all, n, float)
    }
}
