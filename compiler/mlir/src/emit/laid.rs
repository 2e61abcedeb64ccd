//! Where everything of a kernel is while it runs: whether warps hold columns, what is copied ahead, and where tiles lie.

use super::about::threads;
use super::places::{blocks, goodness, placed};
use super::{direct, groups, operands};
use crate::ahead::{Ahead, ahead};
use crate::exchange::Exchanged;
use crate::narrow::{Kept, with_ahead};
use crate::near::near;
use crate::order::by_room;
use crate::placement::{PATTERN, Placement, width};
use crate::products::Once;
use crate::strips::{Strips, arranged, strips};
use crate::{Options, Products};
use nestor_ir::entity::Entity;
use nestor_ir::tile::lifetimes::{self, Turn, shared_of};
use nestor_ir::tile::together::passing;
use nestor_ir::tile::{Kernel, Place, Stmt, Tile};

/// A kernel with that.
pub(super) struct Laid {
    /// Its copies ahead first in their loops, operands of what warps work on as tiles.
    pub(super) kernel: Kernel,
    pub(super) kept: Kept,
    pub(super) placement: Placement,
    /// Operands of large products are brought to room.
    pub(super) staged: bool,
    pub(super) threads: u32,
    /// Operands of products might have been rounded less often, by so many ways.
    often: usize,
}

impl Laid {
    /// How tiles are exchanged.
    pub(super) fn exchanged(&self, options: Options) -> Exchanged {
        let Self { kernel, kept, placement, staged, threads, .. } = self;
        direct::exchanged(kernel, kept, placement, (*threads, options, *staged))
    }

    /// Whether what is multiplied by columns that groups of warps have lies as these read it.
    fn lies_for_groups(&self, options: Options) -> bool {
        let Self { kernel, placement, .. } = self;
        let exchanged = self.exchanged(options);
        let mut all = true;
        direct::every_product(&kernel.body, &placement.strips, &mut |p, by_strips| {
            all &= !by_strips || groups::by_columns(p, kernel, &exchanged).is_some();
        });
        all
    }

    fn lacks(&self, options: Options) -> Lacks {
        let Self { kernel, placement, staged, threads, often, .. } = self;
        let exchanged = self.exchanged(options);
        let parts = (kernel, &placement.strips);
        let room = operands::room(parts, *threads, options.products, &exchanged);
        Lacks {
            room: room.is_some() && !staged,
            tiles: placement.scratch.len(),
            once: *often,
        }
    }
}

/// Decides that; of the kernel's statements in another order, where they find no room as they are, and more do then, or where a processor has room
/// for a second block then.
pub(super) fn laid(kernel: &Kernel, narrow: Option<&[bool]>, options: Options) -> Laid {
    let found = in_order(Order::AsWritten, kernel, narrow, options);
    let worth = |laid: &Laid| {
        let Lacks { room, tiles, once } = laid.lacks(options);
        (room, tiles, -blocks(&laid.placement, options), once)
    };
    let own = worth(&found);
    // Nothing is lacking, and there is room for two.
    if own == (false, 0, -2, 0) {
        return found;
    }
    let other = in_order(Order::ByRoom, kernel, narrow, options);
    if worth(&other) < own { other } else { found }
}

/// The order of a kernel's statements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    AsWritten,
    /// In which less is kept at a time.
    ByRoom,
}

/// What a kernel has no room for, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Lacks {
    /// Room that operands of products are brought to.
    room: bool,
    /// Tiles that are not in shared memory.
    tiles: usize,
    /// That operands are rounded once, or at least as tiles of their own.
    once: usize,
}

/// The same; warps hold no columns where tiles would have to leave shared memory for it.
fn in_order(
    order: Order,
    kernel: &Kernel,
    narrow: Option<&[bool]>,
    options: Options,
) -> Laid {
    let none = Strips::default();
    let plain = || by(order, kernel, narrow, options, &none);
    let held = |groups: bool| {
        let found = strips(kernel, options, &[], groups);
        (found.columns > 0).then(|| by(order, kernel, narrow, options, &found))
    };
    let by_groups = || held(true).filter(|laid| laid.lies_for_groups(options));
    let found = options.groups().then(by_groups).flatten();
    let Some(held) = found.or_else(|| held(false)) else { return plain() };
    let outside = |laid: &Laid| laid.placement.scratch.len();
    match outside(&held) {
        0 => held,
        some => Some(plain()).filter(|p| outside(p) < some).unwrap_or(held),
    }
}

/// The kernel with its statements in an order in which less is kept at a time.
fn in_little_room(kernel: &Kernel, kept: &Kept, held: &Strips) -> Kernel {
    let passing = passing(kernel);
    let each =
        |tile: Tile| width(kernel.tiles[tile].elem, kept.is_narrow(Place::Tile(tile)));
    let all = kernel.tiles.keys();
    let inside: Vec<Tile> =
        all.filter(|t| !passing[t.index()] && !held.is_held(*t)).collect();
    let bytes = |tile: Tile| match inside.contains(&tile) {
        true => lifetimes::size(kernel, tile, each(tile)).unwrap_or(0),
        false => 0,
    };
    let room = |kernel: &Kernel| {
        let of = |turn| shared_of(kernel, &each, &inside, (PATTERN, turn)).bytes;
        of(Turn::ByBegin).min(of(Turn::BySize))
    };
    by_room(kernel, &bytes, &room)
}

fn by(
    order: Order,
    kernel: &Kernel,
    narrow: Option<&[bool]>,
    options: Options,
    first: &Strips,
) -> Laid {
    let threads = threads(kernel, first, options.products);
    let kept = |kernel: &Kernel, ahead: &[Tile]| match narrow {
        Some(narrow) => with_ahead(kernel, options.products, narrow, ahead),
        None => Kept::wide(kernel),
    };
    let rounds = narrow.is_some() && options.products == Products::Brain;
    let all = Once { low: true, high: options.groups(), anew: false, near: false };
    // The best first; none is the last. What is rounded anew in a loop is so in every turn, and takes registers beside what turns carry.
    let loops = kernel.body.iter().any(|s| matches!(s, Stmt::Loop { .. }));
    let ways = match rounds && threads >= 128 && all.is_in(&kernel.body) {
        true if loops => vec![all],
        true => vec![Once { near: true, ..all }, all, Once { anew: true, ..all }],
        false => vec![],
    };
    let rounded: Vec<Once> = ways.iter().copied().filter(|way| !way.near).collect();
    let with_once = |kernel: &Kernel, tiles: &[Tile], once: Once| {
        let (mut held, mut own) = (Strips::default(), kept(kernel, tiles));
        let mut kernel = kernel.clone();
        if first.columns > 0 {
            held = strips(&kernel, options, tiles, first.groups);
        }
        if once != Once::default() || first.columns > 0 {
            kernel = arranged(&kernel, &held, once, &own);
            own = kept(&kernel, tiles);
        }
        if once.near {
            kernel = near(&kernel, &own);
        }
        if order == Order::ByRoom {
            kernel = in_little_room(&kernel, &own, &held);
        }
        let (placement, staged) = placed((&kernel, &own), threads, options, tiles, &held);
        let often = rounded.iter().position(|way| way.rounds_as(once));
        let often = often.unwrap_or(rounded.len());
        Laid { kernel, kept: own, placement, staged, threads, often }
    };
    // Not where something finds no room for it, or a second block on a processor finds none because of what is nearer.
    let tried = |once: Once| {
        let laid = with_once(kernel, &[], once);
        let lacks = Lacks { once: 0, ..laid.lacks(options) };
        (lacks, blocks(&laid.placement, options))
    };
    let least = (!ways.is_empty()).then(|| tried(Once::default()).0);
    let fits = ways.iter().find(|way| {
        let (lacks, beside) = tried(**way);
        let others = || tried(Once { near: false, ..**way }).1;
        Some(lacks) <= least && (!way.near || beside >= others())
    });
    let once = fits.copied().unwrap_or_default();
    let with = |kernel: &Kernel, tiles: &[Tile]| with_once(kernel, tiles, once);
    let good = |kernel: &Kernel, tiles: &[Tile]| {
        let Laid { kernel, placement, staged, .. } = with(kernel, tiles);
        match placement.shared <= options.target.shared() {
            true => goodness(&kernel, &placement, staged, options),
            false => i64::MIN,
        }
    };
    let wide = vec![false; kernel.buffers.len()];
    let Ahead { kernel, tiles } = ahead(kernel, narrow.unwrap_or(&wide), &good);
    with(&kernel, &tiles)
}
