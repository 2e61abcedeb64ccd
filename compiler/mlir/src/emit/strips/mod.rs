//! Statements that warps work on column by column, what they make of them held in registers: see [`strips`](crate::strips).
//!
//! A held tile is pieces of sixteen rows and eight columns, as instructions leave sums: a lane has two neighbours of row `lane / 4`, and two
//! eight rows below. Two neighbours are a register of a left operand as they are, and turned within the warp a register of a right one.
//!
//! By groups of warps (`wgmma`) it is the same turned: a lane has two neighbours of one of sixteen columns, one below the other, and two of the
//! column two further on. Columns go to an instruction's rows so that four lanes that turn what they have (`crossed`) have sixteen beside one another.

mod crossed;
mod folds;
mod maps;
mod order;
mod products;

pub(super) use products::operands;

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::map::Map;
use super::number::Num;
use crate::strips::{DEPTH, begins};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Place, Stmt, Tile};

/// Numbers of a piece that a lane has.
const OWN: usize = 4;

/// Two neighbours of a held tile: the first one's row and column, and where they are among a lane's numbers.
#[derive(Clone, Copy)]
struct Pair<'c, 'a> {
    row: Num<'c, 'a>,
    column: Num<'c, 'a>,
    at: usize,
}

/// What a lane has at a time: a pair, or two, and then where, turned within the warp, it has four beside one another.
struct Spot<'c, 'a> {
    pairs: Vec<Pair<'c, 'a>>,
    across: Option<[Num<'c, 'a>; 2]>,
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

    /// How many numbers a lane has of a tile; of one with a number for each column, that of each of its columns.
    fn held_numbers(&self, tile: Tile) -> usize {
        let strips = &self.about.placement.strips;
        match strips.rows(tile) {
            1 => self.own_count(),
            rows => rows * strips.width / 32,
        }
    }

    /// Columns of which a lane has numbers.
    fn own_count(&self) -> usize {
        if self.about.placement.strips.groups { 2 } else { 2 * self.across() }
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
                let p = Product::of_all(body);
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
        let strips = &self.about.placement.strips;
        let all = map.loads.iter().chain(map.sinks.iter().map(|(_, sink)| sink.to()));
        let rows = all.filter_map(|a| strips.tile(a.place)).map(|tile| strips.rows(tile));
        rows.max().expect("it touches one")
    }

    /// Pieces of a warp beside one another.
    fn across(&self) -> usize {
        self.about.placement.strips.width / 8
    }

    fn first_column(&mut self) -> Num<'c, 'a> {
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        self.mul(warp, Num::Known(self.about.placement.strips.width as i64))
    }

    /// What a lane has of a tile of so many rows, in the order of its numbers.
    fn spots(&mut self, rows: usize) -> Vec<Spot<'c, 'a>> {
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let (group, within) =
            (self.div(lane, Num::Known(4)), self.rem(lane, Num::Known(4)));
        let first = self.first_column();
        match self.about.placement.strips.groups {
            true => self.spots_of_groups(rows, first, [group, within]),
            false => self.plain_spots(rows, first, [group, within]),
        }
    }

    fn plain_spots(
        &mut self,
        rows: usize,
        first: Num<'c, 'a>,
        [group, within]: [Num<'c, 'a>; 2],
    ) -> Vec<Spot<'c, 'a>> {
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
                    let pairs = vec![Pair { row, column, at }];
                    out.push(Spot { pairs, across: None });
                }
            }
        }
        out
    }
}
