//! Where tiles lie: in the block's shared memory as far as it reaches, else in global memory that is
//! the block's own.
//!
//! Tiles that are not alive together share their place. The smallest tiles go to shared memory first: they are touched most
//! often for their size (a guess, not measured).

use crate::narrow::Kept;
use crate::strips::Strips;
use nestor_ir::entity::Entity;
use nestor_ir::tile::lifetimes::{self, LINE, Turn};
use nestor_ir::tile::size::elements;
use nestor_ir::tile::together::passing;
use nestor_ir::tile::{ExprId, Extent, Kernel, Monomial, Place, Sink, Stmt, Tile};
use nestor_ir::ty::Elem;

/// The place of a tile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Home {
    /// From this byte of shared memory on, so many bytes.
    Shared(i64, i64),
    /// From this byte of the block's scratch memory on: the sum of these, each rounded up to a line.
    Scratch(Vec<Monomial>),
    /// None: entries of a product pass to its map.
    Nowhere,
    /// Registers: each warp has columns of it.
    Held,
}

/// The places of all tiles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// By tile.
    pub homes: Vec<Home>,
    /// Bytes of shared memory.
    pub shared: i64,
    /// From this byte of shared memory on, a statement's own numbers; nothing where none has some.
    pub room: Option<i64>,
    /// Bytes of scratch memory, each rounded up to a line.
    pub scratch: Vec<Monomial>,
    /// Tiles with two places each, the second behind the first: what is copied ahead of a loop's next turn.
    pub ahead: Vec<Tile>,
    /// Which tiles are held.
    pub strips: Strips,
}

impl Placement {
    /// Whether two tiles have bytes in common.
    pub fn overlap(&self, a: Tile, b: Tile) -> bool {
        match (&self.homes[a.index()], &self.homes[b.index()]) {
            (Home::Shared(s, m), Home::Shared(t, n)) => *s < t + n && *t < s + m,
            (Home::Nowhere | Home::Held, _) | (_, Home::Nowhere | Home::Held) => false,
            (a, b) => a == b,
        }
    }
}

/// Tiles of whole multiples of so many bytes begin at one, and so does room: what groups of warps read is exchanged by the address itself, and such a
/// pattern repeats after so many.
pub const PATTERN: i64 = 1024;

/// Said where a statement's own numbers have no place, which is our mistake.
pub const ROOM: &str =
    "a kernel whose statements keep numbers of their own has room for them";

/// Places a kernel's tiles into at most `limit` bytes of shared memory, `room` of them for statements at least; those that are
/// copied ahead have two places, and share them with no other; those that are held have none.
pub fn place(
    kernel: &Kernel,
    kept: &Kept,
    (limit, room): (i64, i64),
    ahead: &[Tile],
    (strips, turn): (&Strips, Turn),
) -> Placement {
    let room = room.max(own_room(&kernel.body));
    let fixed = |tile: &Tile| {
        kernel.tiles[*tile].dims.iter().map(|d| d.fixed()).product::<Option<usize>>()
    };
    let width =
        |tile: Tile| width(kernel.tiles[tile].elem, kept.is_narrow(Place::Tile(tile)));
    let twice =
        |tile: &Tile| 2 * lifetimes::size(kernel, *tile, width(*tile)).unwrap_or(0);
    // What is copied ahead lies before all others where it is whole patterns, else behind.
    let (large, small): (Vec<Tile>, Vec<Tile>) =
        ahead.iter().partition(|t| twice(t) % (2 * PATTERN) == 0);
    let double = |tiles: &[Tile]| tiles.iter().map(twice).sum::<i64>();
    let (before, behind) = (double(&large), double(&small));
    let before_room = |bytes: i64| match room {
        0 => bytes,
        _ => (bytes + PATTERN - 1) / PATTERN * PATTERN,
    };
    let passing = passing(kernel);
    let mut inside: Vec<Tile> = kernel
        .tiles
        .keys()
        .filter(|t| fixed(t).is_some() && !ahead.contains(t) && !passing[t.index()])
        .filter(|t| !strips.is_held(*t))
        .collect();
    inside.sort_by_key(|t| fixed(t).map(|n| n as i64 * width(*t)));
    // As many of the smallest as fit, found by halves: to place them takes a while.
    let placed = |count: usize| {
        let mut shared =
            lifetimes::shared_of(kernel, &width, &inside[..count], (PATTERN, turn));
        shared.bytes += before + behind;
        // Nothing is left to leave where what is copied ahead alone is too much.
        (before_room(shared.bytes) + room <= limit || count == 0).then_some(shared)
    };
    let (mut few, mut many) = (0, inside.len());
    let mut best = placed(many);
    while best.is_none() && many - few > 1 {
        let half = few.midpoint(many);
        match placed(half).is_some() {
            true => few = half,
            false => many = half,
        }
    }
    let shared = best.take().or_else(|| placed(few)).expect("none of them fit");
    let mut scratch: Vec<Monomial> = Vec::new();
    let homes = kernel.tiles.iter().map(|(tile, data)| {
        let among = |tiles: &[Tile]| tiles.iter().position(|t| *t == tile);
        if let Some(n) = among(&large) {
            return Home::Shared(double(&large[..n]), twice(&tile));
        }
        if let Some(n) = among(&small) {
            let others = shared.bytes - behind;
            return Home::Shared(others + double(&small[..n]), twice(&tile));
        }
        if strips.is_held(tile) {
            return Home::Held;
        }
        if passing[tile.index()] {
            return Home::Nowhere;
        }
        let bytes = elements(&data.dims).times(Monomial::number(width(tile)));
        match shared.offsets[tile.index()] {
            Some(at) => Home::Shared(before + at, bytes.factor.max(1)),
            None => {
                let home = Home::Scratch(scratch.clone());
                scratch.push(bytes);
                home
            }
        }
    });
    let homes = homes.collect();
    let bytes = before_room(shared.bytes);
    let own = (room > 0).then_some(bytes);
    let (ahead, strips) = (ahead.to_vec(), strips.clone());
    Placement { homes, shared: bytes + room, room: own, scratch, ahead, strips }
}

/// Bytes that a statement needs for itself, whole lines: a root of a matrix keeps the rotation of each pair of rows.
fn own_room(body: &[Stmt]) -> i64 {
    let of = |stmt: &Stmt| match stmt {
        Stmt::InverseRoot { n, .. } => {
            (2 * n.div_ceil(2) as i64 * 4 + LINE - 1) / LINE * LINE
        }
        Stmt::Loop { body, .. } | Stmt::When { body, .. } | Stmt::Together { body } => {
            own_room(body)
        }
        // A number of each fold and warp.
        Stmt::Map { space, sinks, .. } if by_all(space, sinks) => {
            (sinks.len() as i64 * 4 * WARPS + LINE - 1) / LINE * LINE
        }
        Stmt::Map { .. }
        | Stmt::Product { .. }
        | Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. } => 0,
    };
    body.iter().map(of).max().unwrap_or(0)
}

/// Warps of a block at most.
const WARPS: i64 = 8;

/// Whether all warps of a block share a map that is folded as a whole, each of its folds to one number: alone, a warp would
/// walk too long.
pub fn by_all(space: &[Extent], sinks: &[(ExprId, Sink)]) -> bool {
    let fixed =
        |space: &[Extent]| space.iter().map(|d| d.fixed()).product::<Option<usize>>();
    let whole = sinks.iter().all(|(_, sink)| match sink {
        Sink::Store(_) => false,
        Sink::Fold { axes, .. } => fixed(&space[..space.len() - axes]) == Some(1),
    });
    whole && !sinks.is_empty() && fixed(space).is_some_and(|n| n >= LONG)
}

/// Numbers from which a fold is long.
const LONG: usize = 1024;

/// Bytes of an element.
pub fn width(elem: Elem, narrow: bool) -> i64 {
    match elem {
        Elem::Real if narrow => 2,
        Elem::Real | Elem::Int => 4,
        Elem::Bool => 1,
    }
}
