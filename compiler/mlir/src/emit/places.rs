//! How good the places of a kernel's tiles are: what is in shared memory, and how many blocks a processor has room for.

use super::{direct, joins, operands};
use crate::Options;
use crate::exchange::LINE;
use crate::narrow::Kept;
use crate::placement::{Placement, place};
use crate::strips::Strips;
use nestor_ir::tile::lifetimes::Turn;
use nestor_ir::tile::{Kernel, Tile};

/// Where tiles lie, and whether operands of products are brought to room of their own: not where tiles would have to
/// leave shared memory for it. Inverses of systems' blocks lie in the same room, or in some of their own.
pub(super) fn placed(
    (kernel, kept): (&Kernel, &Kept),
    threads: u32,
    options: Options,
    ahead: &[Tile],
    strips: &Strips,
) -> (Placement, bool) {
    let how = (kernel, kept);
    let of = |turn| placed_by(turn, how, threads, options, ahead, strips);
    let worth = |p: &Placement| (p.scratch.is_empty(), blocks(p, options));
    let by_begin = of(Turn::ByBegin);
    if worth(&by_begin.0) == (true, 2) {
        return by_begin;
    }
    // The largest first where all tiles are in shared memory only then, or leave room for another block.
    let by_size = of(Turn::BySize);
    let better = by_size.1 >= by_begin.1 && worth(&by_size.0) > worth(&by_begin.0);
    if better { by_size } else { by_begin }
}

/// The same, tiles placed in turn.
fn placed_by(
    turn: Turn,
    (kernel, kept): (&Kernel, &Kept),
    threads: u32,
    options: Options,
    ahead: &[Tile],
    strips: &Strips,
) -> (Placement, bool) {
    let limit = options.target.shared();
    let place = |room| place(kernel, kept, (limit, room), ahead, (strips, turn));
    let plain = place(0);
    let fits = |roomy: &Placement| roomy.scratch.len() == plain.scratch.len();
    let how = (threads, options, true);
    let direct = |placement: &Placement| direct::exchanged(kernel, kept, placement, how);
    let inverses = joins::room(kernel, options.products);
    let found = direct(&plain);
    let room = operands::room((kernel, strips), threads, options.products, &found);
    if let Some(room) = room {
        let mut roomy = place(room.max(inverses));
        if direct(&roomy) != found {
            roomy = place(operands::BYTES.max(inverses));
        }
        if fits(&roomy) {
            return (roomy, true);
        }
    }
    if inverses > 0 {
        let roomy = place(inverses);
        if fits(&roomy) {
            return (roomy, false);
        }
    }
    (plain, false)
}

/// Blocks that a processor has room for, up to two, whatever barriers of boxes a kernel has.
pub(super) fn blocks(placement: &Placement, options: Options) -> i64 {
    let barriers = if options.target.copies_boxes() { BARRIERS } else { 0 };
    blocks_of(placement.shared + barriers, options)
}

/// The same of blocks with so many bytes of shared memory.
pub(super) fn blocks_of(shared: i64, options: Options) -> i64 {
    options.target.blocks(shared).clamp(1, 2)
}

/// Bytes of a few barriers, with the line that they begin at.
const BARRIERS: i64 = 2 * LINE;

/// How good a placement is: no tile in the block's own part of memory that could be in shared memory, operands in
/// room, and as many blocks on a processor as there is use for.
pub(super) fn goodness(
    kernel: &Kernel,
    placement: &Placement,
    staged: bool,
    options: Options,
) -> i64 {
    let few = options.target.has_some_free(kernel);
    let blocks = if few { 2 } else { blocks(placement, options) };
    let inside = -(placement.scratch.len() as i64);
    8 * inside + 4 * i64::from(staged) + blocks
}
