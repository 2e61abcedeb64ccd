//! Boxes of buffers that are copied at one thread's word, and the barriers at which the block's threads wait for their bytes.
//!
//! A loop has a barrier for the turns of even numbers and one for the others, as its tiles have two places. A phase of one is a turn: the thread
//! that begins the turn's copies announces their bytes, and every thread waits until all have come. So a turn takes a block a few
//! instructions of one thread, whatever the boxes' size. What reads them needs no fence: they came as tensor cores read.

use super::Emit;
use super::build::V;
use super::number::Num;
use crate::ahead::target;
use crate::boxes::{Boxed, Bulk, Early};
use nestor_ir::tile::{Place, Stmt};

/// Copies of a loop: those that are boxes, and the others.
pub(super) struct Begun<'s, 'k> {
    pub(super) boxes: Vec<&'k Boxed>,
    pub(super) others: Vec<&'s Stmt>,
}

impl<'c: 'a, 'a, 'k> Emit<'c, 'a, 'k> {
    pub(super) fn split_copies<'s>(&self, copies: &'s [Stmt]) -> Begun<'s, 'k> {
        let mut out = Begun { boxes: Vec::new(), others: Vec::new() };
        for copy in copies {
            match target(copy).and_then(|t| self.about.bulk.of_turns(t)) {
                Some(boxed) => out.boxes.push(boxed),
                None => out.others.push(copy),
            }
        }
        out
    }

    /// Makes all barriers of a kernel.
    pub(super) fn make_barriers(&mut self) {
        let all = &self.about.bulk.barriers;
        if all.is_empty() {
            return;
        }
        self.by_one(|e| {
            for at in all {
                let at = e.counter_at(Num::Known(*at));
                e.b.make_counter(at);
            }
        });
        self.b.fenced_barrier();
    }

    /// Begins the copies of no loop whose places are free, at a statement behind whatever barrier stands before it.
    pub(super) fn begin_early(&mut self, here: usize) {
        if !self.about.bulk.is_own(here) {
            return;
        }
        if self.before[here] {
            self.passed = here;
        }
        let all = &self.about.bulk.early;
        let is_due = |n: &usize| {
            let early = &all[*n];
            !self.early[*n] && (early.after <= self.passed || early.number == here)
        };
        let due: Vec<usize> = (0..all.len()).filter(is_due).collect();
        if due.is_empty() {
            return;
        }
        if due.iter().any(|n| all[*n].after > self.passed) {
            self.b.barrier();
            self.passed = here;
        }
        self.by_one(|e| {
            for n in &due {
                e.begin_boxes_at(&[&all[*n].boxed], Num::Known(0));
            }
        });
        due.into_iter().for_each(|n| self.early[n] = true);
    }

    /// Every thread waits for what a copy of no loop brings.
    pub(super) fn wait_for_early(&mut self, early: &Early) {
        let counter = self.counter(&early.boxed, Num::Known(0));
        let first = self.b.constant(64, 0);
        self.b.wait_for_bytes(counter, first);
    }

    /// One thread announces a turn's boxes and begins to copy them.
    pub(super) fn begin_boxes(&mut self, boxes: &[&'k Boxed], turn: Num<'c, 'a>) {
        if !boxes.is_empty() {
            self.by_one(|e| {
                let stage = e.rem(turn, Num::Known(2));
                e.begin_boxes_at(boxes, stage);
            });
        }
    }

    fn begin_boxes_at(&mut self, boxes: &[&'k Boxed], stage: Num<'c, 'a>) {
        let bytes = boxes.iter().map(|boxed| boxed.bytes).sum();
        let counter = self.counter(boxes[0], stage);
        self.b.expect_bytes(counter, bytes);
        for boxed in boxes {
            let to = self.base(Place::Tile(boxed.tile));
            let place = [&boxed.row, &boxed.steps].map(|a| {
                let n = self.affine(a);
                self.value(n)
            });
            let map = self.maps[boxed.map];
            self.b.begin_box(to, map, place, counter);
        }
    }

    /// Every thread waits for a turn's boxes.
    pub(super) fn wait_for_boxes(&mut self, boxes: &[&'k Boxed], turn: Num<'c, 'a>) {
        let Some(first) = boxes.first() else { return };
        let stage = self.rem(turn, Num::Known(2));
        let counter = self.counter(first, stage);
        // Of turns at one barrier, every other phase has the same parity.
        let phase = self.div(turn, Num::Known(2));
        let parity = self.rem(phase, Num::Known(2));
        let parity = self.value(parity);
        self.b.wait_for_bytes(counter, parity);
    }

    /// The barrier that counts a copy's bytes, in a loop that of a stage.
    fn counter(&mut self, boxed: &Boxed, stage: Num<'c, 'a>) -> V<'c, 'a> {
        let behind = self.mul(stage, Num::Known(Bulk::APART));
        let at = self.add(behind, Num::Known(boxed.barrier));
        self.counter_at(at)
    }

    /// The barrier at a byte of shared memory.
    fn counter_at(&mut self, at: Num<'c, 'a>) -> V<'c, 'a> {
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
