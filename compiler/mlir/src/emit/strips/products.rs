//! Products of a warp's columns: their operands' registers are held, loaded from where operands lie, or put together number by number.

use super::OWN;
use super::maps::Own;
use crate::emit::Emit;
use crate::emit::about::About;
use crate::emit::blocks::Product;
use crate::emit::build::V;
use crate::emit::cores::Piece;
use crate::emit::direct::{Direct, direct};
use crate::emit::groups::{by_columns, of_columns};
use crate::emit::number::Num;
use crate::emit::operands::{Operand, PART, SIDE, operand};
use crate::strips::{Begins, DEPTH, GROUP};
use crate::target::Products;
use nestor_ir::entity::Entity;
use nestor_ir::tile::Place;

/// The operands of a product, sixteen rows of each at a time.
pub(in super::super) fn operands(p: Product<'_>) -> [Operand<'_>; 2] {
    let [m, n, _] = p.extent.map(|d| d.fixed().expect("of known size") as i64);
    let of = |matrix, right, extent| operand(matrix, right, DEPTH as i64, extent);
    [of(p.left, false, m), of(p.right, true, n)]
}

/// Threads of a group of warps.
const THREADS: i64 = 128;

/// How registers of an operand are brought.
enum Source<'c, 'a> {
    /// They are held.
    Held(Vec<V<'c, 'a>>),
    /// From where it lies, beginning at this byte of its tile.
    Direct(Direct, Num<'c, 'a>),
    /// Number by number.
    Single,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// What a map adds products to is made first, and their sums begin with that.
    pub(super) fn strip_added(&mut self, p: Product<'_>, begins: Begins) {
        let rows = p.extent[0].fixed().expect("of known size");
        let map = p.then.expect("it adds them to something");
        self.strip_map(map, rows, Some(&Own::Begins(begins)));
        let mut sums = self.held_at(Place::Tile(begins.tile)).expect("it is held").1;
        for one in p.all() {
            sums = self.strip_terms(one, sums);
        }
        self.held[begins.tile.index()] = Some(sums);
    }

    pub(super) fn strip_product(&mut self, p: Product<'_>) {
        let rows = p.extent[0].fixed().expect("of known size");
        let held = self.about.placement.strips.tile(p.out.place);
        let mut sums = vec![self.b.real(0.0); rows * self.across() / 4];
        // Sums go on from what is held.
        let goes_on = p.accumulate && p.alpha == 1.0 && held.is_some();
        if goes_on && let Some((_, before)) = self.held_at(p.out.place) {
            sums = before;
        }
        for one in p.all() {
            sums = self.strip_terms(one, sums);
        }
        if held.is_none() && p.then.is_none() {
            return self.put_columns(p, rows, &sums);
        }
        if p.alpha != 1.0 {
            let alpha = self.b.real(p.alpha);
            sums = sums.into_iter().map(|x| self.b.two("llvm.fmul", alpha, x)).collect();
        }
        if p.accumulate && !goes_on && p.then.is_none() {
            let (_, before) = self.held_at(p.out.place).expect("it is held");
            let both = sums.into_iter().zip(before);
            sums = both.map(|(x, y)| self.b.two("llvm.fadd", x, y)).collect();
        }
        match p.then {
            Some(map) => {
                self.strip_map(map, rows, Some(&Own::Sums(p.out.place, sums)));
            }
            None => self.held[held.expect("it is held").index()] = Some(sums),
        }
    }

    /// Puts a product's entries to where nothing is held.
    fn put_columns(&mut self, p: Product<'_>, rows: usize, sums: &[V<'c, 'a>]) {
        let groups = self.about.placement.strips.groups;
        let pairs = self.spots(rows).into_iter().flat_map(|spot| spot.pairs);
        for pair in pairs.collect::<Vec<_>>() {
            let further = [0, 1].map(|n| match groups {
                true => (self.add(pair.row, Num::Known(n)), pair.column),
                false => (pair.row, self.add(pair.column, Num::Known(n))),
            });
            let sums = &sums[pair.at..];
            let two: Vec<_> =
                further.into_iter().zip(sums).map(|((r, c), x)| (r, c, *x)).collect();
            match groups {
                true => two.chunks(1).for_each(|one| self.put_entries(p, one)),
                false => self.put_entries(p, &two),
            }
        }
    }

    /// A product's terms added to sums.
    fn strip_terms(
        &mut self,
        p: Product<'_>,
        mut sums: Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        if self.about.placement.strips.groups {
            return self.group_of_columns(p, &sums);
        }
        let [rows, _, terms] = p.extent.map(|d| d.fixed().expect("of known size"));
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let column = self.first_column();
        let operands = operands(p);
        let [left, right] = [(&operands[0], Num::Known(0)), (&operands[1], column)]
            .map(|(x, row)| (x, row, self.source(x, p, row, lane)));
        for step in 0..terms / DEPTH {
            let b = self.strip_registers(p, &right, [0, step]);
            for piece in 0..rows / DEPTH {
                let a = self.strip_registers(p, &left, [piece, step]);
                for (across, b) in b.chunks(2).enumerate() {
                    let at = OWN * (self.across() * piece + across);
                    let own = at..at + OWN;
                    let sum = self.multiply(Products::Brain, &a, b, &sums[own.clone()]);
                    sums.splice(own, sum);
                }
            }
        }
        sums
    }

    /// The same by groups of warps, which have the right operand's columns as rows of the left one of the product turned.
    fn group_of_columns(&mut self, p: Product<'_>, sums: &[V<'c, 'a>]) -> Vec<V<'c, 'a>> {
        let About { kernel, exchanged, .. } = self.about;
        let x = by_columns(p, kernel, exchanged).expect("it lies so");
        if self.in_order
            && let Some(columns) = of_columns(p, kernel, exchanged)
        {
            let group = self.div(Num::Run(self.thread), Num::Known(THREADS));
            let first = self.mul(group, Num::Known(GROUP as i64));
            let terms = p.extent[2].fixed().expect("of known size");
            return self.told_terms((&columns, first), &x, terms, sums);
        }
        let own = self.own_columns(p);
        self.column_terms(&own, &x, sums)
    }

    /// Where a lane finds an operand from one of its rows on.
    fn source(
        &mut self,
        x: &Operand<'_>,
        p: Product<'_>,
        row: Num<'c, 'a>,
        lane: Num<'c, 'a>,
    ) -> Source<'c, 'a> {
        if let Some((_, numbers)) = self.held_at(x.matrix.place) {
            return Source::Held(numbers);
        }
        let found = direct(self.about.kernel, self.about.exchanged, x, p);
        // Pieces along a line are told by bits that nothing else moves.
        let Some(d) = found.filter(|_| x.matrix.origin.is_multiple_of(SIDE)) else {
            return Source::Single;
        };
        let own = self.own_line(x.right, lane);
        Source::Direct(d, self.direct_byte(x, d, [row, Num::Known(0)], own))
    }

    /// The registers of sixteen rows and sixteen terms: those of a right operand are of two pieces.
    fn strip_registers(
        &mut self,
        p: Product<'_>,
        (x, row, source): &(&Operand<'_>, Num<'c, 'a>, Source<'c, 'a>),
        [piece, step]: [usize; 2],
    ) -> Vec<V<'c, 'a>> {
        let [first, term] = [piece, step].map(|n| Num::Known((DEPTH * n) as i64));
        match source {
            Source::Held(numbers) => {
                let own = OWN * self.across();
                let own = &numbers[own * step..][..own];
                let turned = own.chunks(2).map(|two| {
                    let two = self.rounded(Products::Brain, two)[0];
                    self.b.turned(two)
                });
                turned.collect()
            }
            Source::Direct(d, first) => {
                let (lines, parts) = if d.turned { (step, piece) } else { (piece, step) };
                let (lines, parts) = (lines as i64, parts as i64);
                // Sixteen lines further parts are exchanged alike; a line's own bytes are told by bits.
                let part = 2 * PART;
                let in_line = SIDE * 2 / part;
                let byte = self.exchanged(*first, Num::Known(part * (parts % in_line)));
                let [pitch, plane] = self.apart(*d);
                let further = parts / in_line * plane + DEPTH as i64 * lines * pitch;
                let byte = self.add(byte, Num::Known(further));
                let from = self.at_direct(*d, byte);
                let count = if x.right { 2 * self.across() } else { 4 };
                self.loaded(from, d.turned, count as i64)
            }
            Source::Single => self.single_registers(p, x.right, [*row, first], term),
        }
    }

    /// The same, each number by itself.
    fn single_registers(
        &mut self,
        p: Product<'_>,
        right: bool,
        [row, further]: [Num<'c, 'a>; 2],
        term: Num<'c, 'a>,
    ) -> Vec<V<'c, 'a>> {
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let (group, within) =
            (self.div(lane, Num::Known(4)), self.rem(lane, Num::Known(4)));
        let [m, n, k] = p.extent.map(|d| self.extent(d));
        let first = self.add(row, further);
        let (how, none) = (Products::Brain, Num::Known(0));
        if !right {
            let piece = Piece { row: first, column: none, group, within };
            let one = |r| self.left(p, how, piece, [m, k], term, r);
            return (0..4).flat_map(one).collect();
        }
        let mut out = Vec::new();
        for across in 0..self.across() as i64 {
            let column = self.add(first, Num::Known(8 * across));
            let piece = Piece { row: none, column, group, within };
            out.extend((0..2).flat_map(|r| self.right(p, how, piece, [k, n], term, r)));
        }
        out
    }
}
