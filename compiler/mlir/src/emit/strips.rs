//! Statements that warps work on column by column, what they make of them held in registers: see [`strips`](crate::strips).
//!
//! A held tile is pieces of sixteen rows and eight columns, as instructions leave sums: a lane has two neighbours of row `lane / 4`, and two
//! eight rows below. Two neighbours are a register of a left operand as they are, and turned within the warp a register of a right one.

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::cores::Piece;
use super::direct::{Direct, direct};
use super::map::Map;
use super::number::Num;
use super::staged::{Operand, PART, SIDE, operand};
use super::together::under_way;
use crate::strips::{Begins, DEPTH, begins};
use crate::target::Products;
use nestor_ir::entity::Entity;
use nestor_ir::tile::together::{parts, point};
use nestor_ir::tile::{Access, ExprId, Extent, Place, Sink, Stmt, Tile};

/// Numbers of a piece that a lane has.
const OWN: usize = 4;

/// The operands of a product, sixteen rows of each at a time.
pub(super) fn operands(p: Product<'_>) -> [Operand<'_>; 2] {
    let [m, n, _] = p.extent.map(|d| d.fixed().expect("of known size") as i64);
    let of = |matrix, right, extent| operand(matrix, right, DEPTH as i64, extent);
    [of(p.left, false, m), of(p.right, true, n)]
}

/// How registers of an operand are brought.
enum Source<'c, 'a> {
    /// They are held.
    Held(Vec<V<'c, 'a>>),
    /// From where it lies, beginning at this byte of its tile.
    Direct(Direct, Num<'c, 'a>),
    /// Number by number.
    Single,
}

/// Two neighbours of a held tile: their row, the first one's column, and where they are among a lane's numbers.
#[derive(Clone, Copy)]
struct Pair<'c, 'a> {
    row: Num<'c, 'a>,
    column: Num<'c, 'a>,
    at: usize,
}

/// What the map behind a product takes: at this place its sums; or nothing yet, where those begin with what it gives.
enum Own<'c, 'a> {
    Sums(Place, Vec<V<'c, 'a>>),
    Begins(Begins),
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// How many of a body's first statements are worked on so, none waiting for another.
    pub(super) fn strips_of(&self, body: &[Stmt]) -> usize {
        let mut number = self.number;
        let mut count = 0;
        for stmt in body {
            let waits = count > 0 && self.before[number];
            if waits || !self.about.placement.strips.takes(stmt) {
                break;
            }
            number += 1 + stmt.inner().len();
            count += 1;
        }
        count
    }

    /// Each warp that has columns works on these statements, one after the other.
    pub(super) fn strips(&mut self, body: &[Stmt]) {
        let placement = self.about.placement;
        let warps = i64::from(self.about.threads) / 32;
        let own = placement.strips.warps() as i64;
        if own == warps {
            return body.iter().for_each(|stmt| self.in_columns(stmt));
        }
        let written = placement.strips.written(body);
        let before = self.numbers_of(&written);
        let types = vec![self.b.float(); before.len()];
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        let some = self.less(warp, Num::Known(own));
        let opened = self.b.open_if(some, &types);
        body.iter().for_each(|stmt| self.in_columns(stmt));
        let after = self.numbers_of(&written);
        let results = match before.is_empty() {
            true => self.b.close(opened, &[]),
            false => {
                self.b.otherwise(&opened, &after);
                self.b.close(opened, &before)
            }
        };
        self.hold(&written, &results);
    }

    /// What a thread has of some held tiles, one after the other; zeros of those that nothing has written.
    pub(super) fn numbers_of(&mut self, tiles: &[Tile]) -> Vec<V<'c, 'a>> {
        let mut out = Vec::new();
        for tile in tiles {
            match self.held[tile.index()].clone() {
                Some(numbers) => out.extend(numbers),
                None => out.extend(vec![self.b.real(0.0); self.held_numbers(*tile)]),
            }
        }
        out
    }

    /// From now on these are what a thread has of some held tiles.
    pub(super) fn hold(&mut self, tiles: &[Tile], numbers: &[V<'c, 'a>]) {
        let mut rest = numbers;
        for tile in tiles {
            let (own, others) = rest.split_at(self.held_numbers(*tile));
            self.held[tile.index()] = Some(own.to_vec());
            rest = others;
        }
    }

    fn held_numbers(&self, tile: Tile) -> usize {
        let dims = &self.about.kernel.tiles[tile].dims;
        let strips = &self.about.placement.strips;
        let all: usize = dims.iter().filter_map(|d| d.fixed()).product();
        all / strips.columns * strips.width / 32
    }

    fn held_at(&self, place: Place) -> Option<(Tile, Vec<V<'c, 'a>>)> {
        let tile = self.about.placement.strips.tile(place)?;
        let numbers = self.held[tile.index()].clone();
        Some((tile, numbers.expect("what is held is written before it is read")))
    }

    fn in_columns(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                let map = Map { space, expr, loads, sinks };
                self.strip_map(map, self.rows_of(map), None);
            }
            Stmt::Together { body } => {
                let (products, map) = parts(body);
                let then = map.and_then(|map| match map {
                    Stmt::Map { space, expr, loads, sinks } => {
                        Some(Map { space, expr, loads, sinks })
                    }
                    _ => None,
                });
                let first = Product::of(&products[0]).expect("the first is a product");
                let p = Product { more: &products[1..], then, ..first };
                match begins(&self.about.placement.strips, body) {
                    Some(begins) => self.strip_added(p, begins),
                    None => self.strip_product(p),
                }
            }
            stmt => {
                let product = Product::of(stmt).expect("it is one");
                self.strip_product(product);
            }
        }
    }

    /// Rows of what a map touches of held tiles.
    fn rows_of(&self, map: Map<'_>) -> usize {
        let all = map.loads.iter().chain(map.sinks.iter().map(|(_, sink)| sink.to()));
        let tile = all.filter_map(|a| self.about.placement.strips.tile(a.place)).next();
        let numbers = self.held_numbers(tile.expect("it touches one"));
        numbers * 32 / self.about.placement.strips.width
    }

    /// What a map adds products to is made first, and their sums begin with that.
    fn strip_added(&mut self, p: Product<'_>, begins: Begins) {
        let rows = p.extent[0].fixed().expect("of known size");
        let map = p.then.expect("it adds them to something");
        self.strip_map(map, rows, Some(Own::Begins(begins)));
        let mut sums = self.held_at(Place::Tile(begins.tile)).expect("it is held").1;
        for one in p.all() {
            sums = self.strip_terms(one, sums);
        }
        self.held[begins.tile.index()] = Some(sums);
    }

    fn strip_product(&mut self, p: Product<'_>) {
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
            let pairs = self.pairs(rows);
            let two = |pair: &Pair<'c, 'a>| [(*pair, 0), (*pair, 1)];
            let entries = pairs.iter().flat_map(two).map(|(pair, n)| {
                (
                    pair.row,
                    self.add(pair.column, Num::Known(n)),
                    sums[pair.at + n as usize],
                )
            });
            let entries: Vec<_> = entries.collect();
            return self.put_entries(p, &entries);
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
            Some(map) => self.strip_map(map, rows, Some(Own::Sums(p.out.place, sums))),
            None => self.held[held.expect("it is held").index()] = Some(sums),
        }
    }

    /// A product's terms added to sums.
    fn strip_terms(
        &mut self,
        p: Product<'_>,
        mut sums: Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        let [rows, _, terms] = p.extent.map(|d| d.fixed().expect("of known size"));
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let column = self.first_column();
        let operands = operands(p);
        let [left, right] = [(&operands[0], Num::Known(0)), (&operands[1], column)]
            .map(|(x, row)| (x, row, self.source(x, p, row, lane)));
        for step in 0..terms / DEPTH {
            let b = self.strip_registers(p, &right, [0, step], lane);
            for piece in 0..rows / DEPTH {
                let a = self.strip_registers(p, &left, [piece, step], lane);
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

    /// Pieces of a warp beside one another.
    fn across(&self) -> usize {
        self.about.placement.strips.width / 8
    }

    fn first_column(&mut self) -> Num<'c, 'a> {
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        self.mul(warp, Num::Known(self.about.placement.strips.width as i64))
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
        lane: Num<'c, 'a>,
    ) -> Vec<V<'c, 'a>> {
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
                let further =
                    parts / in_line * part * in_line + 2 * DEPTH as i64 * lines * d.apart;
                let byte = self.add(byte, Num::Known(further));
                let from = self.at_direct(*d, byte);
                let count = if x.right { 2 * self.across() } else { 4 };
                self.loaded(from, d.turned, count as i64)
            }
            Source::Single => {
                let group = self.div(lane, Num::Known(4));
                let within = self.rem(lane, Num::Known(4));
                let [m, n, k] = p.extent.map(|d| self.extent(d));
                let first = self.add(*row, Num::Known((DEPTH * piece) as i64));
                let term = Num::Known((DEPTH * step) as i64);
                let mut out = Vec::new();
                if !x.right {
                    let piece =
                        Piece { row: first, column: Num::Known(0), group, within };
                    for r in 0..4 {
                        out.extend(self.left(p, Products::Brain, piece, [m, k], term, r));
                    }
                    return out;
                }
                for across in 0..self.across() as i64 {
                    let column = self.add(first, Num::Known(8 * across));
                    let piece = Piece { row: Num::Known(0), column, group, within };
                    for r in 0..2 {
                        out.extend(self.right(
                            p,
                            Products::Brain,
                            piece,
                            [k, n],
                            term,
                            r,
                        ));
                    }
                }
                out
            }
        }
    }

    /// The pairs of a lane in a tile of so many rows, in the order of its numbers.
    fn pairs(&mut self, rows: usize) -> Vec<Pair<'c, 'a>> {
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let (group, within) =
            (self.div(lane, Num::Known(4)), self.rem(lane, Num::Known(4)));
        let first = self.first_column();
        let twice = self.mul(within, Num::Known(2));
        let first = self.add(first, twice);
        let mut out = Vec::new();
        for piece in 0..rows / DEPTH {
            for across in 0..self.across() {
                for half in 0..2 {
                    let below = (DEPTH * piece + 8 * half) as i64;
                    let row = self.add(group, Num::Known(below));
                    let column = self.add(first, Num::Known(8 * across as i64));
                    let at = OWN * (self.across() * piece + across) + 2 * half;
                    out.push(Pair { row, column, at });
                }
            }
        }
        out
    }

    /// A map at the points of a warp's columns.
    fn strip_map(&mut self, map: Map<'_>, rows: usize, own: Option<Own<'c, 'a>>) {
        let strips = &self.about.placement.strips;
        let entries = [rows, strips.columns].map(Extent::Fixed);
        let sides = point(map.space, entries).expect("it is a map of these");
        let held: Vec<Option<Vec<V<'c, 'a>>>> = map
            .loads
            .iter()
            .map(|from| match &own {
                Some(Own::Sums(place, sums)) if from.place == *place => {
                    Some(sums.clone())
                }
                Some(Own::Begins(begins)) if from.place == begins.own => {
                    Some(vec![self.b.real(0.0); rows * self.across() / 4])
                }
                _ => Some(self.held_at(from.place)?.1),
            })
            .collect();
        // What is given of a scalar.
        let given = |root: ExprId| match &own {
            Some(Own::Begins(begins)) if begins.sum == root => begins.other,
            _ => root,
        };
        let moves = |load: &Access| load.strides.iter().any(|s| s.as_number() != Some(0));
        let loads = map.loads.iter().zip(&held).filter(|(a, h)| h.is_none() && moves(a));
        let count = under_way(loads.count()) / 2;
        let mut made: Vec<(Tile, usize, Vec<V<'c, 'a>>)> = Vec::new();
        for (n, (_, sink)) in map.sinks.iter().enumerate() {
            if let Some(tile) = strips.tile(sink.to().place) {
                made.push((tile, n, Vec::new()));
            }
        }
        for some in self.pairs(rows).chunks(count) {
            let mut all = Vec::with_capacity(some.len());
            for pair in some {
                let side = |side: &Option<usize>| match side {
                    Some(0) => pair.row,
                    Some(_) => pair.column,
                    None => Num::Known(0),
                };
                let at: Vec<Num<'c, 'a>> = sides.iter().map(side).collect();
                let brought =
                    map.loads.iter().zip(&held).map(|(from, held)| match held {
                        Some(numbers) => numbers[pair.at..pair.at + 2].to_vec(),
                        None => self.loads_of_two(from, &at),
                    });
                let brought = brought.collect();
                all.push((self.scalars_beside(map, &at, brought, 2), at));
            }
            for (values, at) in all {
                for (n, (root, sink)) in map.sinks.iter().enumerate() {
                    let two = [0, 1].map(|lane| values[lane][given(*root).index()]);
                    match made.iter_mut().find(|(_, sink, _)| *sink == n) {
                        Some((.., numbers)) => numbers.extend(two),
                        None => self.store_two(sink, &at, two),
                    }
                }
            }
        }
        for (tile, _, numbers) in made {
            self.held[tile.index()] = Some(numbers);
        }
    }

    /// What a load gives at two points beside one another.
    fn loads_of_two(&mut self, from: &Access, at: &[Num<'c, 'a>]) -> Vec<V<'c, 'a>> {
        match self.is_some_beside(from, 2) {
            true => self.loads_at(from, at, 2),
            false => [0, 1]
                .map(|lane| {
                    let at = self.further(at, lane);
                    self.load(from, &at)
                })
                .to_vec(),
        }
    }

    fn store_two(&mut self, sink: &Sink, at: &[Num<'c, 'a>], two: [V<'c, 'a>; 2]) {
        let to = sink.to();
        if self.is_beside(to, 2) {
            return self.store_beside(to, at, &two);
        }
        for (lane, x) in (0..).zip(two) {
            let at = self.further(at, lane);
            self.store(to, &at, x);
        }
    }

    /// The point so many further along the last dimension.
    fn further(&mut self, at: &[Num<'c, 'a>], lane: i64) -> Vec<Num<'c, 'a>> {
        let mut at = at.to_vec();
        if let Some(last) = at.last_mut() {
            *last = self.add(*last, Num::Known(lane));
        }
        at
    }
}
