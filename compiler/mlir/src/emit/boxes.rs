//! Boxes of buffers that are copied at one thread's word, and the barriers at which the block's threads wait for their bytes.
//!
//! A loop has a barrier for the turns of even numbers and one for the others, as its tiles have two places. A phase of one is a turn: the thread
//! that begins the turn's copies announces their bytes, and every thread waits until all have come. So a turn takes a block a few
//! instructions of one thread, whatever the boxes' size. What reads them needs no fence: they came as tensor cores read.

use super::Emit;
use super::build::V;
use super::number::Num;
use crate::boxes::{Boxed, Bulk};
use nestor_ir::tile::{Place, Sink, Stmt, Tile};

/// Copies of a loop: those that are boxes, with their tiles, and the others.
pub(super) struct Begun<'s, 'k> {
    pub(super) boxes: Vec<(Tile, &'k Boxed)>,
    pub(super) others: Vec<&'s Stmt>,
}

impl<'c: 'a, 'a, 'k> Emit<'c, 'a, 'k> {
    pub(super) fn split_copies<'s>(&self, copies: &'s [Stmt]) -> Begun<'s, 'k> {
        let mut out = Begun { boxes: Vec::new(), others: Vec::new() };
        for copy in copies {
            match target(copy).and_then(|t| Some((t, self.about.bulk.of(t)?))) {
                Some(boxed) => out.boxes.push(boxed),
                None => out.others.push(copy),
            }
        }
        out
    }

    /// Makes the barriers of a loop's boxes.
    pub(super) fn make_barriers(&mut self, boxes: &[(Tile, &'k Boxed)]) {
        let Some((tile, _)) = boxes.first() else { return };
        self.by_one(|e| {
            for stage in [0, 1] {
                let at = e.counter(*tile, Num::Known(stage));
                e.b.make_counter(at);
            }
        });
        self.b.fenced_barrier();
    }

    /// One thread announces a turn's boxes and begins to copy them.
    pub(super) fn begin_boxes(&mut self, boxes: &[(Tile, &'k Boxed)], turn: Num<'c, 'a>) {
        let Some((first, _)) = boxes.first() else { return };
        let bytes = boxes.iter().map(|(_, boxed)| boxed.bytes).sum();
        self.by_one(|e| {
            let stage = e.rem(turn, Num::Known(2));
            let counter = e.counter(*first, stage);
            e.b.expect_bytes(counter, bytes);
            for (tile, boxed) in boxes {
                let to = e.base(Place::Tile(*tile));
                let place = [&boxed.row, &boxed.steps].map(|a| {
                    let n = e.affine(a);
                    e.value(n)
                });
                let map = e.maps[boxed.map];
                e.b.begin_box(to, map, place, counter);
            }
        });
    }

    /// Every thread waits for a turn's boxes.
    pub(super) fn wait_for_boxes(
        &mut self,
        boxes: &[(Tile, &'k Boxed)],
        turn: Num<'c, 'a>,
    ) {
        let Some((first, _)) = boxes.first() else { return };
        let stage = self.rem(turn, Num::Known(2));
        let counter = self.counter(*first, stage);
        // Of turns at one barrier, every other phase has the same parity.
        let phase = self.div(turn, Num::Known(2));
        let parity = self.rem(phase, Num::Known(2));
        let parity = self.value(parity);
        self.b.wait_for_bytes(counter, parity);
    }

    /// The barrier of a stage of the loop that copies to a tile.
    fn counter(&mut self, tile: Tile, stage: Num<'c, 'a>) -> V<'c, 'a> {
        let first = self.about.bulk.barrier(tile);
        let behind = self.mul(stage, Num::Known(Bulk::APART));
        let at = self.add(behind, Num::Known(first));
        let (at, byte) = (self.value(at), self.b.int(8));
        let all = self.b.address_of(super::SHARED, 3);
        self.b.element(all, at, byte)
    }

    /// What the block's first thread does alone.
    fn by_one(&mut self, work: impl FnOnce(&mut Self)) {
        self.anew_for(|e| {
            let own = Num::Run(e.thread);
            let is_first = e.less(own, Num::Known(1));
            let opened = e.b.open_if(is_first, &[]);
            work(e);
            e.b.close(opened, &[]);
        });
    }
}

/// The tile that a copy goes to.
fn target(copy: &Stmt) -> Option<Tile> {
    let Stmt::Map { sinks, .. } = copy else { return None };
    let [(_, Sink::Store(to))] = &sinks[..] else { return None };
    match to.place {
        Place::Tile(tile) => Some(tile),
        Place::Buffer(_) => None,
    }
}
