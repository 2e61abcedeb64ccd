//! Products on tensor cores with operands of bfloat16 brought to shared memory first.
//!
//! A block of threads computes 64 (or 32) rows and 64 (or 32, or 16) columns at a time, over 64 terms at a time: both operands are
//! rounded on their way into room of their own, once for all warps, and each warp loads its registers from there, sixteen bytes
//! a lane. Where a result has fewer pieces than there are warps, the others compute what some of them do, and store nothing. A row of room is 128 bytes; its parts of sixteen bytes are exchanged by the row's number, so that the eight
//! rows of a load lie in different banks.

use super::Emit;
use super::about::About;
use super::blocks::Product;
use super::build::V;
use super::direct::direct;
use super::number::Num;
use super::operands::{
    DEPTH, Layout, Operand, PART, ROW, SIDE, TWO, is_one, lie, operands,
};
use super::wide;
use crate::placement::ROOM;
use crate::target::Products;
use melior::dialect::llvm::r#type as types;
use melior::ir::Attribute;
use melior::ir::attribute::DenseI64ArrayAttribute;
use nestor_ir::tile::Shape;

/// How the eight by eight numbers of a load reach the lanes.
const STRAIGHT: &str = "#nvvm.mma_layout<row>";
const TURNED: &str = "#nvvm.mma_layout<col>";

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn product_staged(&mut self, p: Product<'_>) {
        let [m, n, _] = p.extent.map(|d| d.fixed().expect("of known size") as i64);
        let About { kernel, exchanged, threads, .. } = self.about;
        let (products, lie) = (p.all(), lie(p, kernel, exchanged, threads));
        let all: Vec<(Product<'_>, [Operand<'_>; 2])> =
            products.iter().map(|one| (*one, self.operands_at(*one, lie))).collect();
        let brought = all.iter().flat_map(|(_, both)| both).any(|x| x.direct.is_none());
        let layout = operands(p, threads, lie).0;
        let (high, wide) = (all[0].1[0].rows, all[0].1[1].rows);
        let down_blocks = Num::Known((m + high - 1) / high);
        let across_blocks = Num::Known((n + wide - 1) / wide);
        self.turns(down_blocks, false, |e, i| {
            e.turns(across_blocks, false, |e, j| {
                let at = [e.mul(i, Num::Known(high)), e.mul(j, Num::Known(wide))];
                let has_part = layout.spare.then(|| e.has_part(layout));
                // The others help to bring what is brought, and wait for it.
                let sums_alone = has_part.filter(|_| !brought);
                let opened = sums_alone.map(|has_part| e.b.open_if(has_part, &[]));
                let zero = e.b.real(0.0);
                let mut sums = vec![zero; 4 * (layout.columns / 8) as usize];
                let mut rest = &all[..];
                while let [(one, operands), others @ ..] = rest {
                    let at_once = rest.iter().position(|(p, x)| !e.is_at_once(*p, x));
                    match at_once.unwrap_or(rest.len()) {
                        0 => {
                            sums = e.summed(*one, layout, operands, at, sums);
                            rest = others;
                        }
                        n => {
                            let terms = rest[..n].iter().map(|(p, x)| {
                                let k = p.extent[2].fixed().expect("of known size");
                                (x, Num::Known(0), k as i64 / DEPTH)
                            });
                            let terms: Vec<_> = terms.collect();
                            sums = e.group_terms(layout, &terms, at, &sums);
                            rest = &rest[n..];
                        }
                    }
                }
                let opened = opened.or_else(|| Some(e.b.open_if(has_part?, &[])));
                e.put_block(p, layout, &all[0].1, at, sums);
                if let Some(opened) = opened {
                    e.b.close(opened, &[]);
                }
            });
        });
    }

    /// Whether a warp has a part of a block.
    fn has_part(&mut self, layout: Layout) -> V<'c, 'a> {
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        self.less(warp, Num::Known(layout.down * layout.across))
    }

    /// A product's operands and where they are brought to, where they are.
    fn operands_at<'k>(&mut self, p: Product<'k>, lie: bool) -> [Operand<'k>; 2] {
        let k = p.extent[2].fixed().expect("of known size") as i64;
        let mut operands = operands(p, self.about.threads, lie).1;
        let mut at = 0;
        for operand in &mut operands {
            operand.direct = direct(self.about.kernel, self.about.exchanged, operand, p);
            if operand.direct.is_none() {
                let narrow = self.is_narrow(operand.matrix.place);
                operand.lines = wide::lines(operand, k, self.about.threads, narrow);
                operand.at = at;
                at += SIDE * ROW;
            }
        }
        operands
    }

    /// The first row and column of a warp within a block.
    pub(super) fn warp_at(&mut self, layout: Layout) -> [Num<'c, 'a>; 2] {
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        let below = self.rem(warp, Num::Known(layout.down));
        let beside = self.div(warp, Num::Known(layout.down));
        let beside = match layout.spare {
            true => self.rem(beside, Num::Known(layout.across)),
            false => beside,
        };
        [self.mul(below, Num::Known(DEPTH)), self.mul(beside, Num::Known(layout.columns))]
    }

    /// Whether groups take all terms of a product at once: nothing of it is brought or left away.
    fn is_at_once(&self, p: Product<'_>, operands: &[Operand<'_>; 2]) -> bool {
        let whole = match p.shape {
            Shape::Full => true,
            Shape::OutputLower => operands.iter().all(|x| x.rows >= x.extent),
            Shape::LeftLower | Shape::LeftUpper => false,
        };
        whole && operands.iter().all(|x| x.direct.is_some()) && self.by_groups(p)
    }

    /// The terms of a warp's sums in a block added to these.
    fn summed(
        &mut self,
        p: Product<'_>,
        layout: Layout,
        operands: &[Operand<'_>; 2],
        [row, column]: [Num<'c, 'a>; 2],
        start: Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        let [left, right] = operands;
        let k = p.extent[2].fixed().expect("of known size") as i64;
        let depth = Num::Known(k);
        let (from, to) = match p.shape {
            Shape::Full => (Num::Known(0), depth),
            Shape::LeftLower => {
                let end = self.add(row, Num::Known(left.rows));
                (Num::Known(0), self.min(end, depth))
            }
            Shape::LeftUpper => {
                // Terms are brought from a multiple of sixty-four on.
                let begin = self.div(row, Num::Known(SIDE));
                (self.mul(begin, Num::Known(SIDE)), depth)
            }
            Shape::OutputLower => {
                let end = self.add(row, Num::Known(left.rows));
                let wanted = self.less(column, end);
                let (some, none) = (self.value(depth), self.value(Num::Known(0)));
                (Num::Known(0), Num::Run(self.b.select(wanted, some, none)))
            }
        };
        let brought = [(left, row, p.shape), (right, column, Shape::Full)];
        let brought = brought.iter().filter(|(x, ..)| x.direct.is_none());
        let bounds = [from, to, Num::Known(SIDE)].map(|q| self.value(q));
        let (opened, first, sums) = self.b.open_for(bounds, &start);
        let first = Num::Run(first);
        if brought.clone().next().is_some() {
            self.b.barrier();
            for (x, at, shape) in brought {
                self.bring_operand(x, [*at, first], k, *shape);
            }
            self.b.barrier();
        }
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let [below, beside] = self.warp_at(layout);
        // A loop, which the assembler writes out: written out here, it is most of a kernel of many products.
        let steps = ((k + DEPTH - 1) / DEPTH).min(SIDE / DEPTH);
        if self.by_groups(p) {
            let terms = [(operands, first, steps)];
            let sums = self.group_terms(layout, &terms, [row, column], &sums);
            return self.b.close(opened, &sums);
        }
        let bounds = [0, steps, 1].map(|n| self.value(Num::Known(n)));
        let (inner, step, mut sums) = self.b.open_for(bounds, &sums);
        let step = if steps == 1 { Num::Known(0) } else { Num::Run(step) };
        let a = self.registers(left, [row, below], first, step, lane);
        for pair in 0..layout.columns / TWO {
            let across = self.add(beside, Num::Known(16 * pair));
            let b = self.registers(right, [column, across], first, step, lane);
            for half in 0..2 {
                let at = 4 * (2 * pair + half) as usize;
                let b = &b[2 * half as usize..][..2];
                let sum = self.multiply(Products::Brain, &a, b, &sums[at..at + 4]);
                sums.splice(at..at + 4, sum);
            }
        }
        let sums = self.b.close(inner, &sums);
        self.b.close(opened, &sums)
    }

    /// Stores a warp's sums of a block.
    fn put_block(
        &mut self,
        p: Product<'_>,
        layout: Layout,
        [left, right]: &[Operand<'_>; 2],
        [row, column]: [Num<'c, 'a>; 2],
        sums: Vec<V<'c, 'a>>,
    ) {
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let [below, beside] = self.warp_at(layout);
        let (group, within) =
            (self.div(lane, Num::Known(4)), self.rem(lane, Num::Known(4)));
        let row = self.add(row, below);
        let column = self.add(column, beside);
        let extent = [left.extent, right.extent].map(Num::Known);
        let mut own = Vec::with_capacity(sums.len());
        for (n, sum) in sums.into_iter().enumerate() {
            let column = self.add(column, Num::Known(8 * (n as i64 / 4)));
            let piece = super::cores::Piece { row, column, group, within };
            own.push((piece, n as i64 % 4, sum));
        }
        // Entries of a row beside one another.
        own.sort_by_key(|(_, n, _)| n / 2);
        self.finish(p, own, extent, [left.rows, right.rows]);
    }

    /// Brings sixty-four terms of an operand's rows to room, two of a row at a time; zero where there are none.
    fn bring_operand(
        &mut self,
        x: &Operand<'_>,
        [row, term]: [Num<'c, 'a>; 2],
        terms: i64,
        shape: Shape,
    ) {
        let pairs = SIDE / 2;
        if let Some(lines) = x.lines {
            return self.bring_lines(x, lines, [row, term], shape);
        }
        let (along, across) = x.strides();
        // Neighbours among threads read neighbours in memory, where there are some.
        let by_rows = is_one(across) && !is_one(along);
        let words = Num::Known(x.rows * pairs);
        let bounds =
            [Num::Run(self.thread), words, Num::Known(i64::from(self.about.threads))];
        let bounds = bounds.map(|q| self.value(q));
        let (opened, n, _) = self.b.open_for(bounds, &[]);
        let n = Num::Run(n);
        let (r, pair) = match by_rows {
            true => (self.rem(n, Num::Known(x.rows)), self.div(n, Num::Known(x.rows))),
            false => (self.div(n, Num::Known(pairs)), self.rem(n, Num::Known(pairs))),
        };
        let at = self.add(row, r);
        let twice = self.mul(pair, Num::Known(2));
        let values: Vec<V<'c, 'a>> = (0..2)
            .map(|one| {
                let l = self.add(term, twice);
                let l = self.add(l, Num::Known(one));
                let zero = match shape {
                    Shape::Full | Shape::OutputLower => None,
                    Shape::LeftLower => Some(self.less(at, l)),
                    Shape::LeftUpper => Some(self.less(l, at)),
                };
                let (entry, extent) = match x.right {
                    false => ([at, l], [x.extent, terms]),
                    true => ([l, at], [terms, x.extent]),
                };
                let multiples = match x.right {
                    false => [x.rows, SIDE],
                    true => [SIDE, x.rows],
                };
                self.guarded(x.matrix, entry, extent.map(Num::Known), multiples, zero)
            })
            .collect();
        let word = self.rounded(Products::Brain, &values)[0];
        let (which, rest) =
            (self.div(pair, Num::Known(4)), self.rem(pair, Num::Known(4)));
        let to = self.part_of_room(x.at, r, which);
        let rest = self.mul(rest, Num::Known(4));
        let to = self.add(to, rest);
        let to = self.at_room(to);
        self.b.store(word, to);
        self.b.close(opened, &[]);
    }

    /// The byte of room where part `which` of a row lies.
    pub(super) fn part_of_room(
        &mut self,
        at: i64,
        row: Num<'c, 'a>,
        which: Num<'c, 'a>,
    ) -> Num<'c, 'a> {
        let turn = self.rem(row, Num::Known(8));
        let place = self.exchanged(which, turn);
        let place = self.mul(place, Num::Known(PART));
        let line = self.mul(row, Num::Known(ROW));
        let place = self.add(place, line);
        self.add(place, Num::Known(at))
    }

    /// Numbers whose bits differ where those of two differ.
    pub(super) fn exchanged(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> Num<'c, 'a> {
        if let Num::Known(0) = b {
            return a;
        }
        let (a, b) = (self.value(a), self.value(b));
        Num::Run(self.b.two("llvm.xor", a, b))
    }

    pub(super) fn at_room(&mut self, byte: Num<'c, 'a>) -> V<'c, 'a> {
        let all = self.b.address_of(super::SHARED, 3);
        let from = Num::Known(self.about.placement.room.expect(ROOM));
        let byte = self.add(byte, from);
        let byte = self.value(byte);
        let of = self.b.int(8);
        self.b.element(all, byte, of)
    }

    /// The registers of sixteen rows and sixteen terms. Of a left operand: rows, rows + 8, then both of terms + 8. Of
    /// a right one: terms, terms + 8, then both of rows + 8, which are two pieces.
    fn registers(
        &mut self,
        x: &Operand<'_>,
        [block, row]: [Num<'c, 'a>; 2],
        first: Num<'c, 'a>,
        step: Num<'c, 'a>,
        lane: Num<'c, 'a>,
    ) -> Vec<V<'c, 'a>> {
        let own = self.own_line(x.right, lane);
        let [rows, terms, eighth] = own;
        if let Some(d) = x.direct {
            let row = self.add(block, row);
            let from = self.direct_from(x, d, [row, first], own, step);
            return self.loaded(from, d.turned, 4);
        }
        let turned = x.is_turned();
        // Rows begin at multiples of eight: what `part_of_room` exchanges parts by is a lane's own. Steps change two bits of a part's
        // number that terms leave alone, or move the line by a known number of bytes, so that little is computed for each.
        let (line, part, further) = match turned {
            false => {
                let rows = self.mul(rows, Num::Known(8));
                let at = self.add(row, eighth);
                let part = self.exchanged(terms, eighth);
                let part = self.mul(part, Num::Known(PART));
                let turn = self.mul(step, Num::Known(2 * PART));
                let part = self.exchanged(part, turn);
                (self.add(at, rows), part, Num::Known(0))
            }
            // Lines are terms; along them, eight rows a part.
            true => {
                let terms = self.mul(terms, Num::Known(8));
                let which = self.div(row, Num::Known(8));
                let which = self.add(which, rows);
                let part = self.exchanged(which, eighth);
                let part = self.mul(part, Num::Known(PART));
                (self.add(terms, eighth), part, self.mul(step, Num::Known(DEPTH * ROW)))
            }
        };
        let line = self.mul(line, Num::Known(ROW));
        let from = self.add(line, part);
        let from = self.add(from, further);
        let from = self.add(from, Num::Known(x.at));
        let from = self.at_room(from);
        self.loaded(from, turned, 4)
    }

    /// Which of the eights of rows and terms a lane's line is of, and its number among eight.
    pub(super) fn own_line(
        &mut self,
        right: bool,
        lane: Num<'c, 'a>,
    ) -> [Num<'c, 'a>; 3] {
        let eighth = self.rem(lane, Num::Known(8));
        let second = self.div(lane, Num::Known(8));
        let second = self.rem(second, Num::Known(2));
        let last = self.div(lane, Num::Known(16));
        if right { [last, second, eighth] } else { [second, last, eighth] }
    }

    /// Four registers or two, eight by eight numbers each, from where the lanes' lines are.
    pub(super) fn loaded(
        &mut self,
        from: V<'c, 'a>,
        turned: bool,
        count: i64,
    ) -> Vec<V<'c, 'a>> {
        let context = self.b.context;
        let parsed = |text: &str| Attribute::parse(context, text).expect("an attribute");
        let attributes = [
            ("num", parsed(&format!("{count} : i32"))),
            ("layout", parsed(if turned { TURNED } else { STRAIGHT })),
            ("shape", parsed("#nvvm.ld_st_matrix_shape<m = 8, n = 8>")),
            ("eltType", parsed("#nvvm.ld_st_matrix_elt_type<b16>")),
        ];
        let word = self.b.int(32);
        let words = vec![word; count as usize];
        let all = types::r#struct(context, &words, false);
        let all = self.b.made("nvvm.ldmatrix", &[from], all, &attributes);
        (0..count)
            .map(|n| {
                let at = DenseI64ArrayAttribute::new(context, &[n]).into();
                self.b.made("llvm.extractvalue", &[all], word, &[("position", at)])
            })
            .collect()
    }
}
