//! Which tiles may share scratch: those that are not alive together.
//!
//! A chunk's working set then stays in the first cache, where tiles side by side would not fit.
//! Statements are numbered in order. A tile lives from its first to its last statement; where a
//! loop repeats, a tile that is also used outside of it, or that the loop reads before it has
//! written it, lives for the whole loop.

use crate::artifact::Precision;
use crate::dim::Dim;
use crate::entity::Entity;
use crate::tile::size::elements;
use crate::tile::{Access, Kernel, Monomial, Place, Sink, Stmt, Tile};

/// Tiles begin on a cache line.
pub const LINE: i64 = 64;

/// Where tiles of fixed size lie, and how many bytes they take together.
pub struct Shared {
    /// By tile; nothing for tiles whose size is known at run time only.
    pub offsets: Vec<Option<i64>>,
    /// Bytes.
    pub bytes: i64,
}

/// First and last statement.
type Life = (usize, usize);

/// Places tiles of fixed size.
pub fn shared(kernel: &Kernel, precision: Precision) -> Shared {
    let all: Vec<Tile> = kernel.tiles.keys().collect();
    let width = |tile: Tile| precision.bytes_of(kernel.tiles[tile].elem) as i64;
    shared_of(kernel, &width, &all, (LINE, Turn::ByBegin))
}

/// Which tiles are placed first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Those that are written first.
    ByBegin,
    /// The largest: fewer gaps are left in some kernels, and more in others.
    BySize,
}

/// Places those of these tiles that have a fixed size; `width` is how many bytes a tile's elements have. Tiles of whole multiples of `whole` bytes begin
/// at one.
pub fn shared_of(
    kernel: &Kernel,
    width: &dyn Fn(Tile) -> i64,
    tiles: &[Tile],
    (whole, turn): (i64, Turn),
) -> Shared {
    let lives = lives(kernel);
    let sized = |t: &Tile| Some((*t, size(kernel, *t, width(*t))?));
    let mut order: Vec<(Tile, i64)> = tiles.iter().filter_map(sized).collect();
    order.sort_by_key(|(t, size)| {
        let size = if turn == Turn::BySize { *size } else { 0 };
        (-size, lives[t.index()].map_or(0, |l| l.0), *t)
    });
    // Where tiles begin and end, in that order, and when they live.
    let mut placed: Vec<(i64, i64, Life)> = Vec::new();
    let mut offsets = vec![None; kernel.tiles.len()];
    let mut bytes = 0;
    for (tile, size) in order {
        let Some(life) = lives[tile.index()] else {
            offsets[tile.index()] = Some(0);
            continue;
        };
        // The lowest gap among those that live at the same time.
        let beside = placed.iter().filter(|(.., l)| l.0 <= life.1 && life.0 <= l.1);
        let multiple = if size % whole == 0 { whole } else { LINE };
        let mut at = 0;
        for &(from, to, _) in beside {
            if at + size <= from {
                break;
            }
            at = at.max((to + multiple - 1) / multiple * multiple);
        }
        offsets[tile.index()] = Some(at);
        let place = (at, at + size, life);
        placed.insert(placed.partition_point(|p| *p < place), place);
        bytes = bytes.max(at + size);
    }
    Shared { offsets, bytes }
}

/// Bytes of a tile of fixed size whose elements have so many each, whole cache lines.
pub fn size(kernel: &Kernel, tile: Tile, each: i64) -> Option<i64> {
    let data = &kernel.tiles[tile];
    let count: Option<usize> = data.dims.iter().map(|d| d.fixed()).product();
    count.map(|n| (n as i64 * each + LINE - 1) / LINE * LINE)
}

/// What is known of a tile while statements are walked.
#[derive(Clone, Copy)]
struct Seen {
    life: Life,
    /// The first thing that happened to it was that it was written, whatever happened before.
    written_first: bool,
}

fn lives(kernel: &Kernel) -> Vec<Option<Life>> {
    let mut seen = vec![None; kernel.tiles.len()];
    let mut number = 0;
    body(kernel, &kernel.body, &mut number, &mut seen, true);
    seen.into_iter().map(|s| s.map(|s: Seen| s.life)).collect()
}

fn body(
    kernel: &Kernel,
    stmts: &[Stmt],
    number: &mut usize,
    seen: &mut [Option<Seen>],
    always: bool,
) {
    for stmt in stmts {
        *number += 1;
        match stmt {
            Stmt::Loop { .. } => repeated(kernel, stmt.inner(), number, seen, always),
            // Entries are stored while others' operands are read.
            Stmt::Together { body: both } => {
                body(kernel, both, number, seen, always);
                for stmt in both {
                    touched(kernel, stmt, |tile, _| {
                        if let Some(seen) = &mut seen[tile.index()] {
                            seen.life.1 = *number;
                        }
                    });
                }
            }
            _ => {
                body(kernel, stmt.inner(), number, seen, false);
                touched(kernel, stmt, |tile, written| {
                    let now = Seen {
                        life: (*number, *number),
                        written_first: written && always,
                    };
                    let entry = seen[tile.index()].get_or_insert(now);
                    entry.life.1 = *number;
                });
            }
        }
    }
}

fn repeated(
    kernel: &Kernel,
    inner: &[Stmt],
    number: &mut usize,
    seen: &mut [Option<Seen>],
    always: bool,
) {
    let start = *number;
    let mut here = vec![None; seen.len()];
    body(kernel, inner, number, &mut here, always);
    *number += 1;
    let end = *number;
    for (outer, inside) in seen.iter_mut().zip(here) {
        let Some(inside) = inside else { continue };
        match outer {
            Some(outer) => outer.life.1 = end,
            None => {
                // Written whole in every turn before it is read, it is nobody's between two turns.
                let life = if inside.written_first { inside.life } else { (start, end) };
                *outer = Some(Seen { life, ..inside });
            }
        }
    }
}

/// Tiles that a statement touches, those of statements that it holds left aside; whether it writes all of one without having read it. A part
/// would not do: the rest may be what an earlier turn of a loop has left.
pub fn touched(kernel: &Kernel, stmt: &Stmt, mut act: impl FnMut(Tile, bool)) {
    let mut place = |p: Place, written: Option<usize>| {
        if let Place::Tile(tile) = p {
            let all = || elements(&kernel.tiles[tile].dims);
            act(tile, written.is_some_and(|n| Monomial::number(n as i64) == all()));
        }
    };
    let count = |dims: &[Dim]| dims.iter().map(|d| d.fixed()).product::<Option<usize>>();
    let stored = |to: &Access, dims: &[Dim]| match to.bounds.is_empty() {
        true => count(dims),
        false => None,
    };
    match stmt {
        Stmt::Map { space, loads, sinks, .. } => {
            for load in loads {
                place(load.place, None);
            }
            for (_, sink) in sinks {
                match sink {
                    Sink::Store(to) => place(to.place, stored(to, space)),
                    Sink::Fold { to, accumulate: true, .. } => place(to.place, None),
                    Sink::Fold { to, axes, .. } => {
                        place(to.place, stored(to, &space[..space.len() - axes]));
                    }
                }
            }
        }
        Stmt::Product { m, n, left, right, out, accumulate, .. } => {
            place(left.place, None);
            place(right.place, None);
            let written = if *accumulate { None } else { count(&[*m, *n]) };
            place(out.place, written);
        }
        Stmt::SolveUnitLower { lower, x, .. } => {
            place(Place::Tile(*lower), None);
            place(Place::Tile(*x), None);
        }
        Stmt::Eliminate { a, x, .. } => {
            place(Place::Tile(*a), None);
            place(Place::Tile(*x), None);
        }
        Stmt::InverseRoot { a, basis, n, .. } => {
            place(Place::Tile(*a), None);
            place(Place::Tile(*basis), Some(n * n));
        }
        Stmt::LinearScan { a, b, init, y, extent: (steps, slots, columns), .. } => {
            for tile in [a, b, init] {
                place(Place::Tile(*tile), None);
            }
            place(Place::Tile(*y), Some(steps * slots * columns));
        }
        Stmt::Gather { index, count: rows, width, out, .. } => {
            place(index.place, None);
            place(out.place, rows.fixed().map(|n| n * width));
        }
        Stmt::ScatterAdd { index, values, .. } => {
            place(index.place, None);
            place(values.place, None);
        }
        Stmt::Total { tiles } => {
            tiles.iter().for_each(|tile| place(Place::Tile(*tile), None));
        }
        Stmt::Loop { .. } | Stmt::When { .. } | Stmt::Together { .. } => {}
    }
}
