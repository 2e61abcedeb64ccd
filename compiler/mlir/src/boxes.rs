//! Copies ahead that a device does by itself: one thread says which box of a buffer, and where to, and all wait for its bytes at a barrier
//! that counts them.
//!
//! A copy is a box where its tile lies as hardware writes one: in lines of 128 bytes whose parts are exchanged by their number, or straight. Rows that a
//! bound leaves out are rows that the buffer does not have, and become zeros. Where a box begins is a row, and steps of sixteen bytes for all else:
//! heads and batches are no dimensions of their own, since their places may be any sums.

use crate::ahead::{copies, target};
use crate::barriers::count;
use crate::exchange::{Exchange, Exchanged, LINE};
use crate::narrow::Kept;
use crate::near::copied;
use crate::placement::{Home, PATTERN, Placement, width};
use crate::target::Options;
use nestor_ir::artifact::{Boxes, STEP};
use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{Access, Affine, Extent, Kernel, Monomial, Place, Stmt, Tile};
use nestor_ir::ty::Elem;

/// Numbers of a box along a dimension, at most.
const MOST: usize = 256;
/// Boxes of a kernel: each has a map of 128 bytes among its parameters, of which there are 4096.
const MOST_MAPS: usize = 24;

/// Bytes of a turn for each thread of a block, at least: what one thread says instead, and all wait for, is as much work as two copies of each.
const LEAST: i64 = 32;

/// The same of a copy of no loop, whose threads would have more to do with it.
const LEAST_EARLY: i64 = 16;

/// Bytes of a barrier.
const BARRIER: i64 = 8;

/// A copy of boxes.
#[derive(Clone, PartialEq, Debug)]
pub struct Boxed {
    /// Where it goes.
    pub tile: Tile,
    /// Which of the kernel's boxes.
    pub map: usize,
    /// From which byte of shared memory on the barrier lies that counts its bytes: in a loop the first of two, which turns use by turns.
    pub barrier: i64,
    /// Bytes of one.
    pub bytes: i64,
    /// Its first row.
    pub row: Affine,
    /// Steps behind that.
    pub steps: Affine,
}

/// A copy that no loop holds: it may begin long before its statement, as soon as its place is free.
#[derive(Clone, PartialEq, Debug)]
pub struct Early {
    /// The number of its statement, as `barriers` numbers them.
    pub number: usize,
    /// Statements of lower numbers are done with its place when a barrier behind them is passed.
    pub after: usize,
    /// The copy.
    pub boxed: Boxed,
}

/// The copies of a kernel that are boxes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bulk {
    /// What is copied of buffers.
    pub boxes: Vec<Boxes>,
    /// Those of loops.
    turns: Vec<Boxed>,
    /// Those of no loop, in their order.
    pub early: Vec<Early>,
    /// The numbers of statements that no other one holds.
    own: Vec<usize>,
    /// Where all barriers lie.
    pub barriers: Vec<i64>,
    /// Bytes of shared memory with all barriers.
    pub shared: i64,
}

impl Bulk {
    /// The copy of a loop's turns to a tile.
    pub fn of_turns(&self, tile: Tile) -> Option<&Boxed> {
        self.turns.iter().find(|boxed| boxed.tile == tile)
    }
    /// The copy of no loop that a statement is.
    pub fn early_at(&self, number: usize) -> Option<&Early> {
        self.early.iter().find(|e| e.number == number)
    }
    /// Whether boxes go to places that threads may have touched: in turns they do, and behind other statements.
    pub fn reuses(&self) -> bool {
        !self.turns.is_empty() || self.early.iter().any(|early| early.after > 0)
    }
    /// Whether no statement holds the one of a number.
    pub fn is_own(&self, number: usize) -> bool {
        self.own.binary_search(&number).is_ok()
    }
    /// Bytes between the barriers of a loop.
    pub const APART: i64 = BARRIER;

    /// The first of so many barriers more, where there is room for them and for the maps of so many boxes.
    fn more(&mut self, count: i64, boxes: usize, most: i64) -> Option<i64> {
        if self.boxes.len() + boxes > MOST_MAPS {
            return None;
        }
        // Whole lines before the first, so that nothing else shares one.
        let at = match self.barriers.is_empty() {
            true => (self.shared + LINE - 1) / LINE * LINE,
            false => self.shared,
        };
        let end = at + count * BARRIER;
        if end > most {
            return None;
        }
        self.barriers.extend((0..count).map(|n| at + n * BARRIER));
        self.shared = end;
        Some(at)
    }

    /// A copy whose bytes a barrier counts.
    fn add(&mut self, barrier: i64, (boxes, boxed): (Boxes, Boxed)) -> Boxed {
        self.boxes.push(boxes);
        Boxed { map: self.boxes.len() - 1, barrier, ..boxed }
    }
}

/// Finds them, of a block of so many threads: those of loops that it comes to once, where there are enough of them, and those of no loop.
pub fn bulk(
    kernel: &Kernel,
    placement: &Placement,
    (kept, exchanged): (&Kept, &Exchanged),
    (threads, options): (u32, Options),
) -> Bulk {
    let mut out = Bulk { shared: placement.shared, ..Bulk::default() };
    if !options.target.copies_boxes() {
        return out;
    }
    let most = options.target.shared();
    let enough = |bytes: i64, least: i64| bytes >= least * i64::from(threads);
    let found = |copy: &Stmt, places: i64| {
        let (tile, from, space) = parts(copy)?;
        let width = width(kernel.tiles[tile].elem, kept.is_narrow(Place::Tile(tile)));
        let (boxes, boxed) = boxed((tile, from, space), width, exchanged[tile.index()])?;
        let Home::Shared(first, bytes) = placement.homes[tile.index()] else {
            return None;
        };
        let pattern = if boxes.exchanged { PATTERN } else { LINE };
        let lies = first % pattern == 0 && (places == 1 || boxed.bytes % pattern == 0);
        (lies && bytes == places * boxed.bytes).then_some((boxes, boxed))
    };
    let mut number = 0;
    for stmt in &kernel.body {
        let here = number;
        out.own.push(here);
        number += 1 + count(stmt.inner());
        if let Stmt::Loop { body, .. } = stmt {
            let copies = body[..copies(body, placement)].iter();
            let all: Vec<_> = copies.filter_map(|copy| found(copy, 2)).collect();
            let bytes = all.iter().map(|(_, boxed)| boxed.bytes).sum();
            if !all.is_empty()
                && enough(bytes, LEAST)
                && let Some(at) = out.more(2, all.len(), most)
            {
                for one in all {
                    let boxed = out.add(at, one);
                    out.turns.push(boxed);
                }
            }
        } else if is_early(stmt, kernel, placement, kept)
            && let Some(one) = found(stmt, 1)
            && enough(one.1.bytes, LEAST_EARLY)
            && let Some(at) = out.more(1, 1, most)
        {
            let boxed = out.add(at, one);
            let after = free_from(kernel, placement, boxed.tile, here);
            out.early.push(Early { number: here, after, boxed });
        }
    }
    out
}

/// Tiles to which copies of no loop go that may be boxes.
pub fn early_tiles<'a>(
    kernel: &'a Kernel,
    placement: &'a Placement,
    kept: &'a Kept,
) -> impl Iterator<Item = Tile> + 'a {
    let early = kernel.body.iter().filter(|s| is_early(s, kernel, placement, kept));
    early.filter_map(target)
}

/// Whether a statement is a copy of reals that may be boxes: nobody else has to do it.
fn is_early(stmt: &Stmt, kernel: &Kernel, placement: &Placement, kept: &Kept) -> bool {
    copied(stmt, kernel, kept).is_some_and(|(tile, from, _)| {
        from.pad == 0.0
            && kernel.tiles[tile].elem == Elem::Real
            && !placement.strips.takes(stmt)
            && !placement.ahead.contains(&tile)
    })
}

/// From which statement on nothing before another one touches what lies where a tile does.
fn free_from(kernel: &Kernel, placement: &Placement, tile: Tile, until: usize) -> usize {
    let overlaps = |place: &Place| match place {
        Place::Tile(other) => placement.overlap(tile, *other),
        Place::Buffer(_) => false,
    };
    let (mut number, mut free) = (0, 0);
    for stmt in &kernel.body {
        if number == until {
            break;
        }
        number += 1 + count(stmt.inner());
        let touched = touches(stmt);
        if touched.reads.iter().chain(&touched.writes).any(overlaps) {
            free = number;
        }
    }
    free
}

/// The tile of a copy, what goes there, and how much.
fn parts(copy: &Stmt) -> Option<(Tile, &Access, &[Extent])> {
    let Stmt::Map { space, loads, .. } = copy else { return None };
    let [from] = &loads[..] else { return None };
    Some((target(copy)?, from, space))
}

/// A copy of rows to a tile as boxes, the kernel's first, whose bytes nothing counts so far.
fn boxed(
    (tile, from, space): (Tile, &Access, &[Extent]),
    width: i64,
    exchange: Option<Exchange>,
) -> Option<(Boxes, Boxed)> {
    let Place::Buffer(buffer) = from.place else { return None };
    let ([Extent::Fixed(rows), Extent::Fixed(columns)], [apart, across]) =
        (space, &from.strides[..])
    else {
        return None;
    };
    let (rows, columns) = (*rows, *columns);
    let apart = apart.as_number().filter(|n| *n > 0)?;
    if across.as_number() != Some(1) {
        return None;
    }
    let step = STEP as i64 / width;
    let (row, there) = match &from.bounds[..] {
        [] => (Affine::default(), vec![Monomial::number(rows as i64)]),
        [bound] => {
            let is_rows = bound.strides[..] == [1, 0]
                && bound.low.as_number() == Some(0)
                && bound.high.terms.is_empty();
            (is_rows.then(|| bound.offset.clone())?, bound.high.constant.to_vec())
        }
        _ => return None,
    };
    // What is not said by the row.
    let rest = from.origin.clone().plus(&row.clone().scaled(-apart));
    let factors = rest.constant.iter().chain(rest.terms.iter().map(|(_, m)| m));
    let is_behind = factors.clone().all(|m| m.factor >= 0 && m.factor % step == 0);
    let line = match exchange {
        None => columns,
        Some(exchange) => {
            lines(exchange, rows as i64).then_some((LINE / width) as usize)?
        }
    };
    let fits = is_behind
        && apart % step == 0
        && columns.is_multiple_of(line)
        && (line as i64 * width) % STEP as i64 == 0
        && [line, columns / line, rows].iter().all(|n| (1..=MOST).contains(n));
    let shape = [line, columns / line, rows];
    let mut steps = rest;
    let of_steps =
        steps.constant.iter_mut().chain(steps.terms.iter_mut().map(|t| &mut t.1));
    of_steps.for_each(|m| m.factor /= step);
    fits.then(|| {
        let (width, apart) = (width as usize, apart as usize);
        let exchanged = exchange.is_some();
        let buffer = buffer.index();
        let boxes = Boxes { buffer, width, shape, apart, rows: there, exchanged };
        let bytes = boxes.bytes() as i64;
        (boxes, Boxed { tile, map: 0, barrier: 0, bytes, row, steps })
    })
}

/// Whether a tile of so many rows is exchanged as hardware exchanges boxes: by parts of [`STEP`] bytes, in lines one behind the other.
fn lines(exchange: Exchange, rows: i64) -> bool {
    let whole = exchange.planes().is_none() || exchange.plane() == rows * LINE;
    exchange.part() == STEP as i64 && exchange.is_of_lines() && whole
}
