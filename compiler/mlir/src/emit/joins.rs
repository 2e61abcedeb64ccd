//! Unit triangular systems by blocks of sixteen equations, joined on tensor cores.
//!
//! The sixteen by sixteen blocks on the diagonal are inverted first, all at once, a thread for every column, in float32. Then
//! each warp has sixteen right-hand sides of its own, in registers from the first equation to the last: a block of unknowns is what is
//! left there times the inverse, and its share is taken from all blocks that come after it. No thread waits for another meanwhile.
//!
//! What is in registers are right-hand sides by equations: a result of such a product is the left operand of the next one as it is,
//! where the terms of a step are numbered as columns of results are. Lane `w` of four has equations `4 w` to `4 w + 3` of a
//! block, so that it finds four neighbours of the matrix in one load.
//!
//! Where products are of bfloat16, those here are of tf32 in two parts: an inverse is rounded at every join, and what is lost is
//! lost for all that is computed of it.

use super::Emit;
use super::build::V;
use super::number::Num;
use super::solve::{BLOCK, System, WIDE};
use crate::products::joined;
use crate::target::Products;
use melior::dialect::arith::CmpiPredicate;
use melior::ir::Type;
use nestor_ir::tile::{Extent, Kernel, Stmt};

/// Numbers of a block, and bytes of one.
const ENTRIES: i64 = BLOCK * BLOCK;
const NUMBER: i64 = 4;
/// Bytes of room that inverses of a kernel's systems need.
pub(super) fn room(kernel: &Kernel, products: Products) -> i64 {
    fn most(body: &[Stmt], products: Products) -> i64 {
        let of = |stmt: &Stmt| match stmt {
            Stmt::SolveUnitLower { n, m, .. } if joined(*n, *m, products) => {
                blocks(*n as i64) * ENTRIES * NUMBER
            }
            stmt => most(stmt.inner(), products),
        };
        body.iter().map(of).max().unwrap_or(0)
    }
    most(&kernel.body, products)
}

fn blocks(n: i64) -> i64 {
    (n + BLOCK - 1) / BLOCK
}

/// What a warp has of sixteen right-hand sides: by block of equations and piece of eight, four numbers of a lane.
type Own<'c, 'a> = Vec<[Vec<V<'c, 'a>>; 2]>;

/// A lane's place: which of eight rows of a piece, and which of four pairs of its columns.
#[derive(Clone, Copy)]
struct Lane<'c, 'a> {
    group: Num<'c, 'a>,
    within: Num<'c, 'a>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether a system is solved so: it is worth it, and there is room.
    pub(super) fn by_joins(&self, n: usize, m: usize) -> bool {
        let there =
            self.about.placement.room.map_or(0, |at| self.about.placement.shared - at);
        let needed = blocks(n as i64) * ENTRIES * NUMBER;
        joined(n, m, self.about.products) && there >= needed
    }

    pub(super) fn solve_by_joins(&mut self, s: System) {
        // The room may be what another statement has just read.
        self.b.barrier();
        self.invert_blocks(s);
        self.b.barrier();
        let how = match self.about.products {
            Products::Tf32 | Products::Float32 => Products::Tf32,
            Products::Brain | Products::Tf32x3 => Products::Tf32x3,
        };
        let thread = Num::Run(self.thread);
        let lane = self.rem(thread, Num::Known(32));
        let warp = self.div(thread, Num::Known(32));
        let group = self.div(lane, Num::Known(4));
        let within = self.rem(lane, Num::Known(4));
        let lane = Lane { group, within };
        let (strips, warps) = (blocks(s.m), i64::from(self.about.threads) / 32);
        // A loop keeps its index; where no warp has two turns, none is kept.
        let (opened, strip) = match strips <= warps {
            true => {
                let has_one = self.less(warp, Num::Known(strips));
                (self.b.open_if(has_one, &[]), warp)
            }
            false => {
                let bounds = [warp, Num::Known(strips), Num::Known(warps)];
                let bounds = bounds.map(|q| self.value(q));
                let (opened, strip, _) = self.b.open_for(bounds, &[]);
                (opened, Num::Run(strip))
            }
        };
        let first = self.mul(strip, Num::Known(BLOCK));
        self.strip(s, how, lane, first);
        self.b.close(opened, &[]);
    }

    /// Inverses of the blocks on the diagonal, or of their transposes, to room; equations that there are not leave alone what they meet.
    fn invert_blocks(&mut self, s: System) {
        let all = blocks(s.n) * BLOCK;
        self.shared(&[Extent::Fixed(all as usize)], |e, point| {
            let block = e.div(point[0], Num::Known(BLOCK));
            let column = e.rem(point[0], Num::Known(BLOCK));
            let first = e.mul(block, Num::Known(BLOCK));
            let sums: Vec<V<'c, 'a>> = (0..BLOCK)
                .map(|r| {
                    let (here, own) = (e.value(Num::Known(r)), e.value(column));
                    let same = e.b.compare_whole(CmpiPredicate::Eq, here, own);
                    let (one, zero) = (e.b.real(1.0), e.b.real(0.0));
                    e.b.select(same, one, zero)
                })
                .collect();
            let sums = e.among(s, first, sums);
            let to = e.mul(block, Num::Known(ENTRIES));
            let to = e.add(to, column);
            for (r, sum) in sums.into_iter().enumerate() {
                let to = e.add(to, Num::Known(r as i64 * BLOCK));
                let to = e.mul(to, Num::Known(NUMBER));
                let to = e.at_room(to);
                e.b.store(sum, to);
            }
        });
    }

    /// Sixteen right-hand sides from one on.
    fn strip(
        &mut self,
        s: System,
        how: Products,
        lane: Lane<'c, 'a>,
        first: Num<'c, 'a>,
    ) {
        let count = blocks(s.n);
        let mut own: Own<'c, 'a> = Vec::new();
        for block in 0..count {
            own.push([0, 1].map(|piece| {
                (0..4)
                    .map(|n| self.side(s, lane, first, [block, piece, n], None))
                    .collect()
            }));
        }
        let order: Vec<i64> = match s.transpose {
            false => (0..count).collect(),
            true => (0..count).rev().collect(),
        };
        for (done, &block) in order.iter().enumerate() {
            let left = self.as_left(how, &own[block as usize], false);
            let zero = vec![self.b.real(0.0); 4];
            let found = [0, 1].map(|piece| {
                let right = self.inverse(lane, block, piece);
                self.joined(how, &left, &right, &zero)
            });
            // Before the others get their share: of the unknowns, their parts are left then.
            for (piece, sums) in found.iter().enumerate() {
                for (n, sum) in sums.iter().enumerate() {
                    let which = [block, piece as i64, n as i64];
                    self.side(s, lane, first, which, Some(*sum));
                }
            }
            let rest = &order[done + 1..];
            if !rest.is_empty() {
                let left = self.as_left(how, &found, true);
                for &other in rest {
                    for piece in 0..2 {
                        let right = self.beside(s, lane, [block, other], piece);
                        let sums = &mut own[other as usize][piece as usize];
                        *sums = self.joined(how, &left, &right, sums);
                    }
                }
            }
        }
    }

    /// Reads number `n` of a lane's piece of a block of equations, or writes it; zero where there is none.
    fn side(
        &mut self,
        s: System,
        lane: Lane<'c, 'a>,
        first: Num<'c, 'a>,
        [block, piece, n]: [i64; 3],
        new: Option<V<'c, 'a>>,
    ) -> V<'c, 'a> {
        let (half, second) = (n / 2, n % 2);
        let zero = self.b.real(0.0);
        if 8 * half >= s.m {
            return zero;
        }
        let row = self.mul(lane.within, Num::Known(WIDE));
        let row = self.add(row, Num::Known(BLOCK * block + 2 * piece + second));
        let column = self.add(first, lane.group);
        let column = self.add(column, Num::Known(8 * half));
        let mut inside: Option<V<'c, 'a>> = None;
        let inner = BLOCK * (block + 1) <= s.n;
        let narrow = s.m % BLOCK == 0 || (s.m % 8 == 0 && half == 0);
        for (there, at, end) in [(inner, row, s.n), (narrow, column, s.m)] {
            if there {
                continue;
            }
            let here = self.less(at, Num::Known(end));
            inside = Some(match inside {
                None => here,
                Some(before) => self.b.two("llvm.and", before, here),
            });
        }
        let float = self.b.float();
        let types: &[Type<'c>] = if new.is_some() { &[] } else { &[float] };
        let opened = inside.map(|inside| self.b.open_if(inside, types));
        let at = self.mul(row, Num::Known(s.m));
        let at = self.add(at, column);
        let read = match new {
            None => self.read(s.x, at),
            Some(new) => {
                self.write(s.x, at, new);
                new
            }
        };
        match (opened, new) {
            (None, _) => read,
            (Some(opened), Some(new)) => {
                self.b.close(opened, &[]);
                new
            }
            (Some(opened), None) => {
                self.b.otherwise(&opened, &[read]);
                self.b.close(opened, &[zero])[0]
            }
        }
    }

    /// Both pieces of a block as left operands of two steps of eight terms, in their parts; or what is to be taken away.
    fn as_left(
        &mut self,
        how: Products,
        own: &[Vec<V<'c, 'a>>; 2],
        away: bool,
    ) -> Vec<Vec<Vec<V<'c, 'a>>>> {
        // Registers: rows, rows + 8, then both of the second half of the terms.
        let step = |e: &mut Self, piece: &Vec<V<'c, 'a>>| {
            let one = |e: &mut Self, n: usize| {
                let value = match away {
                    true => e.b.one("llvm.fneg", piece[n]),
                    false => piece[n],
                };
                e.rounded(how, &[value])
            };
            [0, 2, 1, 3].map(|n| one(e, n)).to_vec()
        };
        own.iter().map(|piece| step(self, piece)).collect()
    }

    /// Sums with a block's sixteen terms more.
    fn joined(
        &mut self,
        how: Products,
        left: &[Vec<Vec<V<'c, 'a>>>],
        right: &[V<'c, 'a>],
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let mut sums = sums.to_vec();
        for (step, left) in left.iter().enumerate() {
            let right: Vec<Vec<V<'c, 'a>>> =
                (0..2).map(|n| self.rounded(how, &[right[2 * step + n]])).collect();
            sums = self.all_parts(how, [left, &right], &sums);
        }
        sums
    }

    /// The equation of a block that a lane's column of a right operand is.
    fn equation(&mut self, lane: Lane<'c, 'a>, piece: i64) -> Num<'c, 'a> {
        let four = self.div(lane.group, Num::Known(2));
        let four = self.mul(four, Num::Known(WIDE));
        let one = self.rem(lane.group, Num::Known(2));
        let at = self.add(four, one);
        self.add(at, Num::Known(2 * piece))
    }

    /// Four terms of an inverse.
    fn inverse(&mut self, lane: Lane<'c, 'a>, block: i64, piece: i64) -> Vec<V<'c, 'a>> {
        let row = self.equation(lane, piece);
        let row = self.mul(row, Num::Known(BLOCK));
        let column = self.mul(lane.within, Num::Known(WIDE));
        let at = self.add(row, column);
        let at = self.add(at, Num::Known(block * ENTRIES));
        let at = self.mul(at, Num::Known(NUMBER));
        let at = self.at_room(at);
        self.four(at)
    }

    /// Four terms of what a block of unknowns contributes to another block of equations.
    fn beside(
        &mut self,
        s: System,
        lane: Lane<'c, 'a>,
        [unknown, equation]: [i64; 2],
        piece: i64,
    ) -> Vec<V<'c, 'a>> {
        let row = self.equation(lane, piece);
        let row = self.add(row, Num::Known(BLOCK * equation));
        let column = self.mul(lane.within, Num::Known(WIDE));
        let column = self.add(column, Num::Known(BLOCK * unknown));
        match s.transpose {
            false => self.factors(s, row, column, WIDE, BLOCK * (equation + 1) > s.n),
            true => (0..WIDE)
                .map(|l| {
                    let line = self.add(column, Num::Known(l));
                    let outside = BLOCK * (unknown + 1) > s.n;
                    self.factors(s, line, row, 1, outside)[0]
                })
                .collect(),
        }
    }
}
