//! Copies ahead that a device does by itself: one thread says which box of a buffer, and where to, and all wait for its bytes at a barrier
//! that counts them.
//!
//! A copy is a box where its tile lies as hardware writes one: in lines of 128 bytes whose parts are exchanged by their number, or straight. Rows that a
//! bound leaves out are rows that the buffer does not have, and become zeros. Where a box begins is a row, and steps of sixteen bytes for all else:
//! heads and batches are no dimensions of their own, since their places may be any sums.

use crate::ahead::copies;
use crate::exchange::{Exchange, Exchanged, LINE};
use crate::narrow::Kept;
use crate::placement::{Home, PATTERN, Placement, width};
use crate::target::Options;
use nestor_ir::artifact::{Boxes, STEP};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{
    Access, Affine, Extent, Kernel, Monomial, Place, Sink, Stmt, Tile,
};

/// Numbers of a box along a dimension, at most.
const MOST: usize = 256;

/// Bytes of a turn for each thread of a block, at least: what one thread says instead, and all wait for, is as much work as four copies of each.
const LEAST: i64 = 64;

/// Bytes of a barrier.
const BARRIER: i64 = 8;

/// A copy of boxes.
#[derive(Clone, PartialEq, Debug)]
pub struct Boxed {
    /// Which of the kernel's boxes.
    pub map: usize,
    /// Bytes of one.
    pub bytes: i64,
    /// Its first row.
    pub row: Affine,
    /// Steps behind that.
    pub steps: Affine,
}

/// The copies of a kernel that are boxes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bulk {
    /// What is copied of buffers.
    pub boxes: Vec<Boxes>,
    /// By tile, the copy to it.
    copies: Vec<Option<Boxed>>,
    /// By tile, the first byte of shared memory of the barriers that the loop of its copy waits at by turns.
    barriers: Vec<i64>,
    /// Bytes of shared memory with all barriers.
    pub shared: i64,
}

impl Bulk {
    /// The copy to a tile that is one of boxes.
    pub fn of(&self, tile: Tile) -> Option<&Boxed> {
        self.copies.get(tile.index())?.as_ref()
    }
    /// The first of the two barriers that count what comes to a tile; the other one lies behind it.
    pub fn barrier(&self, tile: Tile) -> i64 {
        self.barriers[tile.index()]
    }
    /// Bytes between the barriers of a loop.
    pub const APART: i64 = BARRIER;
}

/// Finds them, of a block of so many threads: those of loops that it comes to once, where there are enough of them.
pub fn bulk(
    kernel: &Kernel,
    placement: &Placement,
    (kept, exchanged): (&Kept, &Exchanged),
    (threads, options): (u32, Options),
) -> Bulk {
    let count = kernel.tiles.len();
    let (copies_of, barriers) = (vec![None; count], vec![0; count]);
    let shared = placement.shared;
    let mut out = Bulk { boxes: vec![], copies: copies_of, barriers, shared };
    if !options.target.copies_boxes() {
        return out;
    }
    // Whole lines, so that nothing else shares one.
    let mut at = (shared + LINE - 1) / LINE * LINE;
    for stmt in &kernel.body {
        let Stmt::Loop { body, .. } = stmt else { continue };
        let found = body[..copies(body, placement)].iter().filter_map(|copy| {
            let (tile, from, space) = parts(copy)?;
            let width = width(kernel.tiles[tile].elem, kept.is_narrow(Place::Tile(tile)));
            let (boxes, boxed) = boxed(from, space, width, exchanged[tile.index()])?;
            let Home::Shared(first, twice) = placement.homes[tile.index()] else {
                return None;
            };
            let pattern = if boxes.exchanged { PATTERN } else { LINE };
            let lies = first % pattern == 0 && (twice / 2) % pattern == 0;
            lies.then_some((tile, boxes, boxed))
        });
        let found: Vec<_> = found.collect();
        let bytes: i64 = found.iter().map(|(_, _, boxed)| boxed.bytes).sum();
        if bytes < LEAST * i64::from(threads)
            || at + 2 * BARRIER > options.target.shared()
        {
            continue;
        }
        for (tile, boxes, boxed) in found {
            out.copies[tile.index()] = Some(Boxed { map: out.boxes.len(), ..boxed });
            out.boxes.push(boxes);
            out.barriers[tile.index()] = at;
        }
        at += 2 * BARRIER;
        out.shared = at;
    }
    out
}

/// The tile of a copy, what goes there, and how much.
fn parts(copy: &Stmt) -> Option<(Tile, &Access, &[Extent])> {
    let Stmt::Map { space, loads, sinks, .. } = copy else { return None };
    let ([from], [(_, Sink::Store(to))]) = (&loads[..], &sinks[..]) else { return None };
    let Place::Tile(tile) = to.place else { return None };
    Some((tile, from, space))
}

/// A copy of rows as boxes, the kernel's first.
fn boxed(
    from: &Access,
    space: &[Extent],
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
        (boxes, Boxed { map: 0, bytes, row, steps })
    })
}

/// Whether a tile of so many rows is exchanged as hardware exchanges boxes: by parts of [`STEP`] bytes, in lines one behind the other.
fn lines(exchange: Exchange, rows: i64) -> bool {
    let whole = exchange.planes().is_none() || exchange.plane() == rows * LINE;
    exchange.part() == STEP as i64 && exchange.is_of_lines() && whole
}
