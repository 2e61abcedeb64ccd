//! Which tiles may share scratch: those that are not alive together.
//!
//! A chunk's working set then stays in the first cache, where tiles side by side would not fit.
//! Statements are numbered in order. A tile lives from its first to its last statement; where a
//! loop repeats, a tile that is also used outside of it, or that the loop reads before it has
//! written it, lives for the whole loop.

use nestor_ir::artifact::Precision;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Kernel, Matrix, Place, Sink, Stmt, Tile};
use nestor_ir::ty::Elem;

/// Tiles begin on a cache line.
pub(crate) const LINE: i64 = 64;

/// Where tiles of fixed size lie, and how many bytes they take together.
pub(crate) struct Shared {
    /// By tile; nothing for tiles whose size is known at run time only.
    pub(crate) offsets: Vec<Option<i64>>,
    /// Bytes.
    pub(crate) bytes: i64,
}

/// First and last statement.
type Life = (usize, usize);

/// Places tiles of fixed size.
pub(crate) fn shared(kernel: &Kernel, precision: Precision) -> Shared {
    let lives = lives(kernel);
    let mut placed: Vec<(Life, i64, i64)> = Vec::new();
    let mut offsets = vec![None; kernel.tiles.len()];
    let mut bytes = 0;
    let mut order: Vec<Tile> = kernel.tiles.keys().collect();
    order.sort_by_key(|t| lives[t.index()].map_or(0, |l| l.0));
    for tile in order {
        let Some(size) = size(kernel, tile, precision) else { continue };
        let Some(life) = lives[tile.index()] else {
            offsets[tile.index()] = Some(0);
            continue;
        };
        // The lowest gap among those that live at the same time.
        let mut beside: Vec<(i64, i64)> = placed
            .iter()
            .filter(|(l, ..)| l.0 <= life.1 && life.0 <= l.1)
            .map(|&(_, from, to)| (from, to))
            .collect();
        beside.sort_unstable();
        let mut at = 0;
        for (from, to) in beside {
            if at + size <= from {
                break;
            }
            at = at.max(to);
        }
        offsets[tile.index()] = Some(at);
        placed.push((life, at, at + size));
        bytes = bytes.max(at + size);
    }
    Shared { offsets, bytes }
}

/// Bytes of a tile of fixed size, whole cache lines.
fn size(kernel: &Kernel, tile: Tile, precision: Precision) -> Option<i64> {
    let data = &kernel.tiles[tile];
    let each = match data.elem {
        Elem::Real => precision.bytes() as i64,
        Elem::Int => 4,
        Elem::Bool => 1,
    };
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
    body(&kernel.body, &mut number, &mut seen, true);
    seen.into_iter().map(|s| s.map(|s: Seen| s.life)).collect()
}

fn body(stmts: &[Stmt], number: &mut usize, seen: &mut [Option<Seen>], always: bool) {
    for stmt in stmts {
        *number += 1;
        match stmt {
            Stmt::Loop { body: inner, .. } => {
                repeated(inner, number, seen, always);
            }
            Stmt::When { body: inner, .. } => body(inner, number, seen, false),
            Stmt::Map { .. }
            | Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. } => {
                touched(stmt, |tile, written| {
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

fn repeated(inner: &[Stmt], number: &mut usize, seen: &mut [Option<Seen>], always: bool) {
    let start = *number;
    let mut here = vec![None; seen.len()];
    body(inner, number, &mut here, always);
    *number += 1;
    let end = *number;
    for (outer, inside) in seen.iter_mut().zip(here) {
        let Some(inside) = inside else { continue };
        match outer {
            Some(outer) => outer.life.1 = end,
            None => {
                // Used later too, it lives on: it is then not this loop's alone, which the
                // caller sees by its own statements, so the whole loop is taken at once.
                let life = if inside.written_first { inside.life } else { (start, end) };
                *outer = Some(Seen { life, ..inside });
            }
        }
    }
}

/// Tiles that a statement touches; whether it writes them without having read them.
fn touched(stmt: &Stmt, mut act: impl FnMut(Tile, bool)) {
    let mut place = |p: Place, written: bool| {
        if let Place::Tile(tile) = p {
            act(tile, written);
        }
    };
    match stmt {
        Stmt::Map { loads, sinks, .. } => {
            for Access { place: p, .. } in loads {
                place(*p, false);
            }
            for (_, sink) in sinks {
                match sink {
                    Sink::Store(to) => place(to.place, true),
                    Sink::Fold { to, accumulate, .. } => place(to.place, !accumulate),
                }
            }
        }
        Stmt::Product { left, right, out, accumulate, .. } => {
            let matrix = |m: &Matrix| m.place;
            place(matrix(left), false);
            place(matrix(right), false);
            place(matrix(out), !accumulate);
        }
        Stmt::SolveUnitLower { lower, x, .. } => {
            act(*lower, false);
            act(*x, false);
        }
        Stmt::LinearScan { a, b, init, y, .. } => {
            for tile in [a, b, init] {
                act(*tile, false);
            }
            act(*y, true);
        }
        Stmt::Gather { index, out, .. } => {
            place(index.place, false);
            place(out.place, true);
        }
        Stmt::ScatterAdd { index, values, .. } => {
            place(index.place, false);
            place(values.place, false);
        }
        Stmt::Loop { .. } | Stmt::When { .. } => {}
    }
}
