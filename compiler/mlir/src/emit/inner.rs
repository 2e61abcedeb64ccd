//! Inner products of the rows of a matrix with the same rows of another one, of bfloat16, on the units that multiply matrices.
//!
//! ```text
//! map [128, 128] t0[p0] = sum over p1 of b0[p0, p1] * b1[p0, p1]
//! ```
//!
//! Threads would take halves of registers apart for most of the time. Units multiply sixteen rows by eight, of which only the products of
//! equal rows are wanted, and are done in an eighth of the instructions. Which terms a register has does not matter, as long as those of both
//! operands are the same: a lane loads sixteen bytes of a row at once, the registers of two instructions.

use super::Emit;
use super::build::V;
use super::map::{LANES, Map, Running, Sharing};
use super::number::Num;
use crate::placement::by_all;
use crate::target::Products;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{Access, ScalarOp, Sink};

/// Threads that have parts of the same row.
const SHARING: i64 = 4;
/// Rows that a warp multiplies at a time.
const ROWS: i64 = 16;
const HALF: i64 = ROWS / 2;
/// Terms of a row that a lane loads at once.
const PART: i64 = 8;
const TERMS: i64 = SHARING * PART;

/// Where a lane is: its row and its part of that.
#[derive(Clone, Copy)]
struct Lane<'c, 'a> {
    row: Num<'c, 'a>,
    part: Num<'c, 'a>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether a map is nothing but such products, or their sum.
    pub(super) fn is_inner(&self, map: Map<'_>) -> bool {
        let [rows, terms] = map.space else { return false };
        let whole = |n: Option<usize>, of: i64| {
            n.is_some_and(|n| n > 0 && n.is_multiple_of(of as usize))
        };
        let [(root, Sink::Fold { fold: Fold::Sum, axes, .. })] = map.sinks else {
            return false;
        };
        // What warps have summed is put together through room.
        let has_room = *axes == 1 || by_all(map.space, map.sinks);
        let product = &map.expr.scalars[*root];
        let mut factors: Vec<ScalarOp> =
            product.operands.iter().map(|o| map.expr.scalars[*o].op).collect();
        factors.sort_by_key(|op| matches!(op, ScalarOp::Load(1)));
        let lies = |a: &Access| {
            self.is_narrow(a.place) && a.bounds.is_empty() && self.is_beside(a, PART)
        };
        self.about.products == Products::Brain
            && has_room
            && whole(rows.fixed(), ROWS)
            && whole(terms.fixed(), TERMS)
            && product.op == ScalarOp::Mul
            && factors == [ScalarOp::Load(0), ScalarOp::Load(1)]
            && map.loads.iter().all(lies)
    }

    /// Each warp has sixteen rows at a time.
    pub(super) fn inner(&mut self, map: Map<'_>) {
        let rows = map.space[0].fixed().expect("the number of rows is known") as i64;
        let summed = matches!(map.sinks, [(_, Sink::Fold { axes: 2, .. })]);
        let (thread, warps) =
            (Num::Run(self.thread), i64::from(self.about.threads) / LANES);
        let warp = self.div(thread, Num::Known(LANES));
        let number = self.rem(thread, Num::Known(LANES));
        let lane = Lane {
            row: self.div(number, Num::Known(SHARING)),
            part: self.rem(number, Num::Known(SHARING)),
        };
        let zero = self.b.real(0.0);
        let bounds =
            [warp, Num::Known(rows / ROWS), Num::Known(warps)].map(|n| self.value(n));
        let carried = if summed { vec![zero] } else { vec![] };
        let (opened, block, so_far) = self.b.open_for(bounds, &carried);
        let first = self.mul(Num::Run(block), Num::Known(ROWS));
        let (equal, found) = self.of_equal_rows(map, first, lane);
        if summed {
            let both = self.b.two("llvm.fadd", found[0], found[1]);
            let both = self.b.select(equal, both, zero);
            let sum = self.b.two("llvm.fadd", so_far[0], both);
            let sum = self.b.close(opened, &[sum])[0];
            return self.sum_of_lanes(map, sum, [thread, number, warp], warps);
        }
        let here = self.b.open_if(equal, &[]);
        for (half, value) in found.into_iter().enumerate() {
            let row = self.add(first, Num::Known(half as i64 * HALF));
            let row = self.add(row, lane.row);
            self.ended(map, &[row], Running { sink: 0, value });
        }
        self.b.close(here, &[]);
        self.b.close(opened, &[]);
    }

    /// Sums of sixteen rows: whether this lane has some, and those of its row and the one eight further on.
    fn of_equal_rows(
        &mut self,
        map: Map<'_>,
        first: Num<'c, 'a>,
        lane: Lane<'c, 'a>,
    ) -> (V<'c, 'a>, [V<'c, 'a>; 2]) {
        let terms = map.space[1].fixed().expect("the number of terms is known") as i64;
        let zero = self.b.real(0.0);
        let mut sums = [vec![zero; 4], vec![zero; 4]];
        for from in (0..terms).step_by(TERMS as usize) {
            let [a, b] = [0, 1].map(|n| {
                [0, HALF].map(|half| self.part(&map.loads[n], first, half, from, lane))
            });
            for two in [0, 2] {
                let left = [a[0][two], a[1][two], a[0][two + 1], a[1][two + 1]];
                for (sums, b) in sums.iter_mut().zip(&b) {
                    *sums = self.multiply(Products::Brain, &left, &b[two..two + 2], sums);
                }
            }
        }
        // A lane has two columns of its row: those of twice its part.
        let column = self.div(lane.row, Num::Known(2));
        let odd = self.rem(lane.row, Num::Known(2));
        let equal = self.is_equal(column, lane.part);
        let even = self.is_zero(odd);
        let [near, far] = sums;
        let found = [[near[0], near[1]], [far[2], far[3]]];
        (equal, found.map(|[x, y]| self.b.select(even, x, y)))
    }

    /// The registers of a lane's part of its row, or of the one so much further on.
    fn part(
        &mut self,
        a: &Access,
        first: Num<'c, 'a>,
        half: i64,
        from: i64,
        lane: Lane<'c, 'a>,
    ) -> Vec<V<'c, 'a>> {
        let row = self.add(first, lane.row);
        let row = self.add(row, Num::Known(half));
        let term = self.mul(lane.part, Num::Known(PART));
        let term = self.add(term, Num::Known(from));
        let (n, _) = self.spot(a, &[row, term]);
        self.registers_beside(a.place, n, PART)
    }

    /// Adds up what all lanes have.
    fn sum_of_lanes(
        &mut self,
        map: Map<'_>,
        sum: V<'c, 'a>,
        [thread, lane, warp]: [Num<'c, 'a>; 3],
        warps: i64,
    ) {
        let value = self.of_lanes(Fold::Sum, sum, Sharing::neighbours(LANES));
        let mut parts = vec![Running { sink: 0, value }];
        if warps > 1 {
            self.of_all_warps(map, &mut parts, [lane, warp], warps);
        }
        self.ended_by(map, &[], parts, thread);
    }
}
