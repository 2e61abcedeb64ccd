//! The product of matrices of any size and strides: what a plan's dense products become where there is no library.
//!
//! A block computes 64 x 64 entries, a thread 4 x 4 of them, 16 apart; or on tensor cores, a warp 16 x 32 of them. Sixteen terms of
//! both operands at a time lie in shared memory, each thread having brought some: along whichever dimension of an
//! operand is contiguous.

use super::build::V;
use super::number::Num;
use super::{About, Emit, SHARED, name, nested, parsed};
use crate::boxes::Bulk;
use crate::narrow::Kept;
use crate::often::Often;
use crate::placement::Placement;
use crate::strips::Strips;
use crate::target::{self, Products};
use crate::{DeviceProduct, Options};
use melior::Context;
use melior::dialect::llvm::r#type as types;
use melior::ir::attribute::{DenseI32ArrayAttribute, TypeAttribute};
use melior::ir::block::BlockLike;
use melior::ir::{Attribute, BlockRef};
use nestor_ir::tile::Kernel;

const SYMBOL: &str = "dense_product";
const THREADS: u32 = 256;
/// Rows and columns of a block, and terms at a time.
const SIDE: i64 = 64;
const DEPTH: i64 = 16;
/// Rows of terms in shared memory are this far apart, so that neighbours lie in different banks.
const PITCH: i64 = SIDE + 1;
/// Entries of a thread along each side; on tensor cores, of each of as many pieces side by side.
const OWN: i64 = 4;
/// Rows and columns of a piece, and warps below one another.
const PIECE: [i64; 2] = [16, 8];
const DOWN: i64 = SIDE / PIECE[0];

/// An operand: address of its first entry, and elements between rows and columns.
#[derive(Clone, Copy)]
struct Operand<'c, 'a> {
    base: V<'c, 'a>,
    row: Num<'c, 'a>,
    column: Num<'c, 'a>,
}

/// Appends the product's function.
pub(super) fn product<'c: 'a, 'a>(
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    options: Options,
) -> DeviceProduct {
    let b = super::Builder::new(context, block);
    let mut arguments = vec![b.pointer(1); 3];
    arguments.extend([b.int(64); 14]);
    let ty = types::function(types::void(context), &arguments, false);
    let unit = Attribute::unit(context);
    let threads = DenseI32ArrayAttribute::new(context, &[THREADS as i32, 1, 1]);
    let attributes = [
        ("sym_name", name(context, SYMBOL)),
        ("function_type", TypeAttribute::new(ty).into()),
        ("linkage", parsed(context, "#llvm.linkage<external>")),
        ("gpu.kernel", unit),
        ("nvvm.kernel", unit),
        ("nvvm.maxntid", threads.into()),
    ];
    let body = nested(context, block, "llvm.func", &attributes, &arguments);
    let empty = Kernel { name: SYMBOL.to_owned(), ..Kernel::default() };
    let placement = Placement {
        homes: vec![],
        shared: 0,
        room: None,
        scratch: vec![],
        ahead: vec![],
        strips: Strips::default(),
    };
    let argument =
        |n: usize| -> V<'c, 'a> { body.argument(n).expect("an argument").into() };
    let about = About {
        symbol: SYMBOL,
        kernel: &empty,
        exchanged: &Vec::new(),
        kept: &Kept::wide(&empty),
        placement: &placement,
        bulk: &Bulk::default(),
        often: &Often::default(),
        threads: THREADS,
        products: options.products,
        groups: false,
        staged: false,
    };
    let mut emit = Emit::new(super::Builder::new(context, body), about);
    emit.dense(&argument);
    emit.b.leave();
    DeviceProduct {
        symbol: SYMBOL.to_owned(),
        threads: THREADS,
        shared: (2 * DEPTH * PITCH * 4) as usize,
        tile: [SIDE as usize, SIDE as usize],
    }
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    fn dense(&mut self, argument: &dyn Fn(usize) -> V<'c, 'a>) {
        let number = |n: usize| Num::Run(argument(n));
        let [m, n, k] = [3, 4, 5].map(number);
        let block = Num::Run(self.b.special("ctaid.x", target::BLOCKS));
        let down = self.tiles(m);
        let across = self.tiles(n);
        let each = self.mul(down, across);
        let repeat = self.div(block, each);
        let rest = self.rem(block, each);
        let (row, column) = (self.div(rest, across), self.rem(rest, across));
        let row = self.mul(row, Num::Known(SIDE));
        let column = self.mul(column, Num::Known(SIDE));
        let float = self.b.float();
        let operands: Vec<Operand<'c, 'a>> = (0..3)
            .map(|o| {
                let [repeats, row, column] = [0, 1, 2].map(|s| number(6 + 3 * o + s));
                let moved = self.mul(repeat, repeats);
                let moved = self.value(moved);
                Operand { base: self.b.element(argument(o), moved, float), row, column }
            })
            .collect();
        let [left, right, out] = [operands[0], operands[1], operands[2]];
        let sums = self.terms([left, right], [row, column], [m, n, k]);
        let word = self.b.int(32);
        let alpha = self.b.cast("llvm.trunc", argument(15), word);
        let alpha = self.b.cast("llvm.bitcast", alpha, float);
        let zero = self.b.constant(64, 0);
        let how = melior::dialect::arith::CmpiPredicate::Ne;
        let adds = self.b.compare_whole(how, argument(16), zero);
        for (at, sum) in sums.into_iter().enumerate() {
            let [row, column] = self.own(at as i64, [row, column]);
            let (inside, below) = (self.less(row, m), self.less(column, n));
            let inside = self.b.two("llvm.and", inside, below);
            let opened = self.b.open_if(inside, &[]);
            let to = self.entry_of(out, row, column);
            let again = self.b.open_if(adds, &[float]);
            let before = self.b.load(to, float);
            self.b.otherwise(&again, &[before]);
            let nothing = self.b.real(0.0);
            let before = self.b.close(again, &[nothing])[0];
            let value = self.b.fma(alpha, sum, before);
            self.b.store(value, to);
            self.b.close(opened, &[]);
        }
    }

    fn tiles(&mut self, n: Num<'c, 'a>) -> Num<'c, 'a> {
        let up = self.add(n, Num::Known(SIDE - 1));
        self.div(up, Num::Known(SIDE))
    }

    /// Row and column of this thread's entry number `at`.
    fn own(&mut self, at: i64, [row, column]: [Num<'c, 'a>; 2]) -> [Num<'c, 'a>; 2] {
        if self.about.products != Products::Float32 {
            let [down, beside, group, within] = self.warp();
            let i = self.add(down, group);
            let i = self.add(i, Num::Known(8 * (at % OWN / 2)));
            let pair = self.mul(within, Num::Known(2));
            let j = self.add(beside, pair);
            let j = self.add(j, Num::Known(PIECE[1] * (at / OWN) + at % 2));
            return [self.add(row, i), self.add(column, j)];
        }
        let thread = Num::Run(self.thread);
        let apart = SIDE / OWN;
        let (i, j) =
            (self.div(thread, Num::Known(apart)), self.rem(thread, Num::Known(apart)));
        let i = self.add(i, Num::Known(apart * (at / OWN)));
        let j = self.add(j, Num::Known(apart * (at % OWN)));
        [self.add(row, i), self.add(column, j)]
    }

    /// First row and column of this thread's warp, and the thread's place in a piece.
    fn warp(&mut self) -> [Num<'c, 'a>; 4] {
        let thread = Num::Run(self.thread);
        let lane = self.rem(thread, Num::Known(32));
        let warp = self.div(thread, Num::Known(32));
        let down = self.rem(warp, Num::Known(DOWN));
        let down = self.mul(down, Num::Known(PIECE[0]));
        let beside = self.div(warp, Num::Known(DOWN));
        let beside = self.mul(beside, Num::Known(OWN * PIECE[1]));
        [down, beside, self.div(lane, Num::Known(4)), self.rem(lane, Num::Known(4))]
    }

    fn entry_of(
        &mut self,
        x: Operand<'c, 'a>,
        row: Num<'c, 'a>,
        column: Num<'c, 'a>,
    ) -> V<'c, 'a> {
        let (down, along) = (self.mul(row, x.row), self.mul(column, x.column));
        let n = self.add(down, along);
        let n = self.value(n);
        let float = self.b.float();
        self.b.element(x.base, n, float)
    }

    /// This thread's sums over all terms.
    fn terms(
        &mut self,
        [left, right]: [Operand<'c, 'a>; 2],
        [row, column]: [Num<'c, 'a>; 2],
        [m, n, k]: [Num<'c, 'a>; 3],
    ) -> Vec<V<'c, 'a>> {
        let zero = self.b.real(0.0);
        let bounds = [Num::Known(0), k, Num::Known(DEPTH)].map(|q| self.value(q));
        let start = vec![zero; (OWN * OWN) as usize];
        let (opened, from, sums) = self.b.open_for(bounds, &start);
        let from = Num::Run(from);
        self.b.barrier();
        // Terms of the right operand are its rows: it is brought as if turned.
        let turned = Operand { row: right.column, column: right.row, ..right };
        self.bring(left, 0, [row, m], [from, k]);
        self.bring(turned, DEPTH * PITCH, [column, n], [from, k]);
        self.b.barrier();
        let added = match self.about.products {
            Products::Float32 => self.by_threads(sums),
            Products::Tf32x3 | Products::Tf32 | Products::Brain => self.by_warps_of(sums),
        };
        self.b.close(opened, &added)
    }

    /// Sums with sixteen terms more, term by term.
    fn by_threads(&mut self, sums: Vec<V<'c, 'a>>) -> Vec<V<'c, 'a>> {
        let bounds =
            [Num::Known(0), Num::Known(DEPTH), Num::Known(1)].map(|q| self.value(q));
        let (inner, l, sums) = self.b.open_for(bounds, &sums);
        let at = self.mul(Num::Run(l), Num::Known(PITCH));
        let [i, j] = self.own(0, [at, at]);
        let apart = SIDE / OWN;
        let part = |e: &mut Self, from: Num<'c, 'a>, base: i64| -> Vec<V<'c, 'a>> {
            (0..OWN)
                .map(|n| {
                    let at = e.add(from, Num::Known(base + n * apart));
                    e.brought(at)
                })
                .collect()
        };
        let (a, b) = (part(self, i, 0), part(self, j, DEPTH * PITCH));
        let added: Vec<V<'c, 'a>> = sums
            .iter()
            .enumerate()
            .map(|(n, sum)| self.b.fma(a[n / OWN as usize], b[n % OWN as usize], *sum))
            .collect();
        self.b.close(inner, &added)
    }

    /// Sums with sixteen terms more, on tensor cores.
    fn by_warps_of(&mut self, mut sums: Vec<V<'c, 'a>>) -> Vec<V<'c, 'a>> {
        let how = self.about.products;
        let [down, beside, group, within] = self.warp();
        let steps = if how == Products::Brain { 1 } else { 2 };
        for step in 0..steps {
            // Registers of eight rows: terms of both halves of the step.
            let eight = |e: &mut Self, row: Num<'c, 'a>, base: i64, half: i64| {
                let terms = e.depths(how, within, half);
                let values: Vec<V<'c, 'a>> = terms
                    .into_iter()
                    .map(|l| {
                        let line = e.mul(l, Num::Known(PITCH));
                        let at = e.add(line, row);
                        let at =
                            e.add(at, Num::Known(base + step * (DEPTH / steps) * PITCH));
                        e.brought(at)
                    })
                    .collect();
                e.rounded(how, &values)
            };
            let left: Vec<Vec<V<'c, 'a>>> = (0..4)
                .map(|r| {
                    let row = self.add(down, group);
                    let row = self.add(row, Num::Known(8 * (r % 2)));
                    eight(self, row, 0, r / 2)
                })
                .collect();
            for piece in 0..OWN {
                let right: Vec<Vec<V<'c, 'a>>> = (0..2)
                    .map(|half| {
                        let column = self.add(beside, group);
                        let column = self.add(column, Num::Known(PIECE[1] * piece));
                        eight(self, column, DEPTH * PITCH, half)
                    })
                    .collect();
                let own = (OWN * piece) as usize..(OWN * (piece + 1)) as usize;
                let sum = self.all_parts(how, [&left, &right], &sums[own.clone()]);
                sums.splice(own, sum);
            }
        }
        sums
    }

    fn brought(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        let at = self.in_shared(n);
        let float = self.b.float();
        self.b.load(at, float)
    }

    fn in_shared(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        let all = self.b.address_of(SHARED, 3);
        let n = self.value(n);
        let float = self.b.float();
        self.b.element(all, n, float)
    }

    /// Brings sixteen terms of sixty-four rows to shared memory, zero where there are none.
    fn bring(
        &mut self,
        x: Operand<'c, 'a>,
        to: i64,
        [row, rows]: [Num<'c, 'a>; 2],
        [term, terms]: [Num<'c, 'a>; 2],
    ) {
        let one = self.b.constant(64, 1);
        let column = self.value(x.column);
        let how = melior::dialect::arith::CmpiPredicate::Eq;
        let along = self.b.compare_whole(how, column, one);
        let float = self.b.float();
        for part in 0..SIDE * DEPTH / i64::from(THREADS) {
            let n =
                self.add(Num::Run(self.thread), Num::Known(part * i64::from(THREADS)));
            let choice = |e: &mut Self, yes: Num<'c, 'a>, no: Num<'c, 'a>| {
                let (yes, no) = (e.value(yes), e.value(no));
                Num::Run(e.b.select(along, yes, no))
            };
            let (high, low) =
                (self.div(n, Num::Known(DEPTH)), self.rem(n, Num::Known(SIDE)));
            let i = choice(self, high, low);
            let (low, high) =
                (self.rem(n, Num::Known(DEPTH)), self.div(n, Num::Known(SIDE)));
            let l = choice(self, low, high);
            let (at, which) = (self.add(row, i), self.add(term, l));
            let (inside, below) = (self.less(at, rows), self.less(which, terms));
            let inside = self.b.two("llvm.and", inside, below);
            let opened = self.b.open_if(inside, &[float]);
            let from = self.entry_of(x, at, which);
            let there = self.b.load(from, float);
            self.b.otherwise(&opened, &[there]);
            let nothing = self.b.real(0.0);
            let value = self.b.close(opened, &[nothing])[0];
            let line = self.mul(l, Num::Known(PITCH));
            let at = self.add(line, i);
            let at = self.add(at, Num::Known(to));
            let at = self.in_shared(at);
            self.b.store(value, at);
        }
    }
}
