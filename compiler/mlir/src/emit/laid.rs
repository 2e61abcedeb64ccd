//! Where everything of a kernel is while it runs: whether warps hold columns, what is copied ahead, and where tiles lie.

use super::about::threads;
use super::places::{goodness, placed};
use crate::ahead::{Ahead, ahead};
use crate::narrow::{Kept, with_ahead};
use crate::placement::Placement;
use crate::products::Once;
use crate::strips::{Strips, arranged, strips};
use crate::{Options, Products};
use nestor_ir::tile::{Kernel, Tile};

/// A kernel with that.
pub(super) struct Laid {
    /// Its copies ahead first in their loops, operands of what warps work on as tiles.
    pub(super) kernel: Kernel,
    pub(super) kept: Kept,
    pub(super) placement: Placement,
    /// Operands of large products are brought to room.
    pub(super) staged: bool,
    pub(super) threads: u32,
}

/// Decides that; warps hold no columns where tiles would have to leave shared memory for it.
pub(super) fn laid(kernel: &Kernel, narrow: Option<&[bool]>, options: Options) -> Laid {
    let none = Strips::default();
    let found = strips(kernel, options, &[]);
    let plain = || by(kernel, narrow, options, &none);
    if found.columns == 0 {
        return plain();
    }
    let held = by(kernel, narrow, options, &found);
    let outside = |laid: &Laid| laid.placement.scratch.len();
    match outside(&held) {
        0 => held,
        some => Some(plain()).filter(|p| outside(p) < some).unwrap_or(held),
    }
}

fn by(
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
    let once = match rounds && threads >= 128 {
        true => Once { low: true, high: options.groups() },
        false => Once::default(),
    };
    let with_once = |kernel: &Kernel, tiles: &[Tile], once: Once| {
        let (mut held, mut own) = (Strips::default(), kept(kernel, tiles));
        let mut kernel = kernel.clone();
        if first.columns > 0 {
            held = strips(&kernel, options, tiles);
        }
        if once.is_in(&kernel.body) || first.columns > 0 {
            kernel = arranged(&kernel, &held, once, &own);
            own = kept(&kernel, tiles);
        }
        let (placement, staged) = placed((&kernel, &own), threads, options, tiles, &held);
        Laid { kernel, kept: own, placement, staged, threads }
    };
    // Not where something would have to leave shared memory for it.
    let outside = |once| with_once(kernel, &[], once).placement.scratch.len();
    let once = match once.is_in(&kernel.body).then(|| outside(once)) {
        Some(some) if some > 0 && outside(Once::default()) < some => Once::default(),
        _ => once,
    };
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
