//! Walks whose states are too large for one block of threads, dealt out among a team of them.
//!
//! ```text
//! before   grid i0 < B          t0 [64, 256], t2 [256, 64] carried
//!   product [64, 256, 64] t5 = t4 @ t0        product [64, 64, 256] t6 = t7 @ t2      map [64, 64] t10 = t6 - ..
//! after    grid i0 < B, i1 < 4  t0 [64, 64], t2 [64, 64] of each point
//!   product [64, 64, 64] t5 = t4 @ t0         product [64, 64, 64] t6 = t7 @ t2       total t6
//!                                                                                      map [64, 64] t10 = t6 - ..
//! ```
//!
//! Axes that statements run along together are one group (`axes`). Where a group runs through the states and its entries meet in sums
//! alone, each point of a team has a piece of it: what runs along it is done for the piece, a sum over it is a part that the team adds up
//! ([`Stmt::Total`]), late, so that several are added at once (`totals`); what does not run along it each point does for itself, and one
//! stores (`cut`). A layer of a memory's network is such a group, found by its form: nothing here knows of networks.

mod axes;
mod cut;
mod totals;

use axes::Axes;
use cut::cut;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Kernel, Place, Stmt, Tile, Use, reads};

/// What teams of a machine are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Teams {
    /// Points of one, at most; a power of two.
    pub most: usize,
    /// Bytes that a point has near it.
    pub near: usize,
    /// Points that run at the same time.
    pub processors: usize,
    /// How often the grid's points of a kernel are there for each that is known (a batch of so many).
    pub sequences: usize,
    /// Entries of a piece, at least: below that products of them are not worth it.
    pub narrowest: usize,
}

impl Teams {
    /// Every point works alone.
    pub const NONE: Self =
        Self { most: 1, near: 0, processors: 1, sequences: 1, narrowest: 1 };
    /// For tests, at whose sizes every state is near: all that can be dealt out is.
    pub const ALWAYS: Self =
        Self { most: 4, near: 0, processors: 64, sequences: 2, narrowest: 1 };
}

/// The kernel dealt out, where its states ask for that and it can be.
#[must_use]
pub fn dealt(kernel: Kernel, teams: &Teams) -> Kernel {
    let carried = carried(&kernel);
    let bytes = |tiles: &[Tile]| -> usize {
        tiles.iter().filter_map(|t| entries(&kernel, *t)).map(|n| 4 * n).sum()
    };
    let all = bytes(&carried);
    // Half of it is for what is not carried.
    let room = teams.near / 2;
    let updated = kernel.buffers.values().any(|b| b.usage == Use::Update);
    if carried.is_empty() || all <= room || teams.most < 2 || updated {
        return kernel;
    }
    let Some(axes) = Axes::of(&kernel) else { return kernel };
    let share = |axes: &axes::Dealt| {
        let own = |t: &Tile| axes.tiles[t.index()].is_some();
        bytes(&carried.iter().copied().filter(own).collect::<Vec<_>>())
    };
    let best = axes.groups(&kernel).into_iter().max_by_key(|d| (share(d), d.width));
    let Some(best) = best else { return kernel };
    let points: Option<usize> =
        kernel.grid.iter().map(|(_, d)| d.fixed().or(Some(teams.sequences))).product();
    let (dealt, points) = (share(&best), points.unwrap_or(1));
    let fits = |pieces: usize| all - dealt + dealt / pieces <= room;
    let mut pieces = 1;
    while pieces < teams.most
        && best.width.is_multiple_of(2 * pieces)
        && best.width / (2 * pieces) >= teams.narrowest
        && (!fits(pieces) || points * pieces < teams.processors)
    {
        pieces *= 2;
    }
    // Otherwise most of the states stay where they are.
    match pieces > 1 && 2 * dealt >= all {
        true => cut(kernel, &best, pieces),
        false => kernel,
    }
}

/// Tiles that a loop of the kernel reads before it writes them, and writes.
fn carried(kernel: &Kernel) -> Vec<Tile> {
    let of = |body: &[Stmt], tile: Tile| {
        let place = Place::Tile(tile);
        reads::reads_first_of(body, place) && body.iter().any(|s| reads::writes(s, place))
    };
    let loops = kernel.body.iter().filter_map(|s| match s {
        Stmt::Loop { body, .. } => Some(body),
        _ => None,
    });
    let loops: Vec<&Vec<Stmt>> = loops.collect();
    kernel.tiles.keys().filter(|t| loops.iter().any(|body| of(body, *t))).collect()
}

/// How many elements a tile has, where that is known.
fn entries(kernel: &Kernel, tile: Tile) -> Option<usize> {
    kernel.tiles[tile].dims.iter().map(|d| d.fixed()).product()
}
