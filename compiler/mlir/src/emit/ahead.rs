//! Loops whose turns begin with what was copied ahead.
//!
//! Before the first turn its own copies are begun; every turn waits for those of its own, and begins the next one's. The barrier
//! behind the wait lets all threads see what each has copied, and says that nobody reads the other place any more.

use super::Emit;
use super::boxes::Begun;
use super::build::V;
use super::number::Num;
use crate::ahead::{at_once, target};
use crate::placement::width;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Extent, Index, Place, Sink, Stmt};

/// Statements of a loop that are few: of a long one, what stays in registers from end to end takes the code generator twice the time.
const FEW: usize = 24;

fn statements(body: &[Stmt]) -> usize {
    body.iter().map(|stmt| 1 + statements(stmt.inner())).sum()
}

/// Turns of a thread in a copy that are written one after the other.
const MOST_TURNS: usize = 8;

/// The turns of a loop.
#[derive(Clone, Copy)]
struct Turns<'c, 'a> {
    index: Index,
    /// The index of the first one, or where it goes backwards of the last.
    from: Num<'c, 'a>,
    /// How many.
    extent: Num<'c, 'a>,
    reverse: bool,
    /// Whether what the addresses of its copies have in common stays in registers.
    kept: bool,
}

impl<'c: 'a, 'a, 'k> Emit<'c, 'a, 'k> {
    /// The loop, its body without the copies that it begins with.
    pub(super) fn loop_ahead(
        &mut self,
        (index, (from, extent), reverse): (Index, (Num<'c, 'a>, Num<'c, 'a>), bool),
        copies: &[Stmt],
        body: &[Stmt],
    ) {
        self.number += copies.len();
        let none = Num::Known(0);
        if self.loops > 0 {
            // What this loop's last turn has read when it was here before.
            self.b.barrier();
        }
        self.loops += 1;
        let kept = statements(body) <= FEW;
        let turns = Turns { index, from, extent, reverse, kept };
        let begun = self.split_copies(copies);
        self.begin_copies((copies, &begun), none, turns);
        let held = self.about.placement.strips.written(body);
        let start = self.numbers_of(&held);
        let bounds = [none, extent, Num::Known(1)].map(|n| self.value(n));
        let (opened, turn, own) = self.b.open_for(bounds, &start);
        self.hold(&held, &own);
        let turn = Num::Run(turn);
        if !begun.others.is_empty() {
            self.b.wait_for_copies();
        }
        self.wait_for_boxes(&begun.boxes, turn);
        self.b.barrier();
        let next = self.add(turn, Num::Known(1));
        self.begin_copies((copies, &begun), next, turns);
        self.at_turn(turn, turns);
        self.staged_by(copies, turn);
        self.body(body);
        self.loops -= 1;
        let end = self.numbers_of(&held);
        let end = self.b.close(opened, &end);
        self.hold(&held, &end);
    }

    /// From now on the loop's index is that of a turn.
    fn at_turn(&mut self, turn: Num<'c, 'a>, turns: Turns<'c, 'a>) {
        let mut here = turn;
        if turns.reverse {
            let last = self.sub(turns.extent, Num::Known(1));
            here = self.sub(last, turn);
        }
        here = self.add(turns.from, here);
        self.indices[turns.index.index()] = Some(here);
    }

    /// Begins the copies of a turn, where there is such a turn.
    fn begin_copies(
        &mut self,
        (copies, begun): (&[Stmt], &Begun<'_, 'k>),
        turn: Num<'c, 'a>,
        turns: Turns<'c, 'a>,
    ) {
        let there = self.less(turn, turns.extent);
        let opened = self.b.open_if(there, &[]);
        self.at_turn(turn, turns);
        self.staged_by(copies, turn);
        self.begin_boxes(&begun.boxes, turn);
        for copy in &begun.others {
            let Stmt::Map { space, loads, sinks, .. } = copy else { continue };
            let [(_, Sink::Store(to))] = &sinks[..] else { continue };
            match turns.kept {
                true => self.begin_copy(space, &loads[0], to),
                false => self.anew_for(|e| e.begin_copy(space, &loads[0], to)),
            }
        }
        self.b.close(opened, &[]);
    }

    /// From now on the tiles that are copied to are where a turn has them.
    fn staged_by(&mut self, copies: &[Stmt], turn: Num<'c, 'a>) {
        let stage = self.rem(turn, Num::Known(2));
        for tile in copies.iter().filter_map(target) {
            self.stages[tile.index()] = Some(stage);
        }
    }

    /// Every thread begins copies of its own, sixteen or four bytes each, of nothing but zeros where a bound does not hold.
    fn begin_copy(&mut self, space: &[Extent], from: &Access, to: &Access) {
        let width = width(self.elem(from.place), self.is_narrow(from.place));
        let numbers = at_once(from, space, width).expect("it is copied for that");
        let mut parts: Vec<Extent> = space.to_vec();
        if let Some(Extent::Fixed(last)) = parts.last_mut() {
            *last /= numbers as usize;
        }
        let one = |e: &mut Self, point: &[Num<'c, 'a>]| {
            let mut point = point.to_vec();
            if let Some(last) = point.last_mut() {
                *last = e.mul(*last, Num::Known(numbers));
            }
            e.begin_one(from, to, &point, numbers * width);
        };
        let Some((lines, turns)) = self.lines_of_threads(&parts) else {
            return self.shared(&parts, |e, point| one(e, point));
        };
        // A thread's lines are a known number apart: they have their addresses in common.
        let extents: Vec<Num<'c, 'a>> = parts.iter().map(|d| self.extent(*d)).collect();
        let first = self.unravelled(Num::Run(self.thread), &extents);
        for turn in 0..turns {
            let mut point = first.clone();
            let line = point.len() - 2;
            point[line] = self.add(point[line], Num::Known(turn * lines));
            one(self, &point);
        }
    }

    /// Lines that all threads together take at a time, and how often, where that is a known and small number of whole lines of a space that
    /// has no other dimensions.
    fn lines_of_threads(&self, parts: &[Extent]) -> Option<(i64, i64)> {
        let threads = self.about.threads as usize;
        let sizes: Vec<usize> = parts.iter().map(|d| d.fixed()).collect::<Option<_>>()?;
        let [outer @ .., lines, each] = &sizes[..] else { return None };
        let whole = outer.iter().all(|n| *n == 1)
            && *each > 0
            && threads.is_multiple_of(*each)
            && lines.is_multiple_of(threads / each);
        let (at_once, turns) = (threads / each.max(&1), lines * each / threads);
        (whole && turns <= MOST_TURNS).then_some((at_once as i64, turns as i64))
    }

    fn begin_one(
        &mut self,
        from: &Access,
        to: &Access,
        point: &[Num<'c, 'a>],
        bytes: i64,
    ) {
        let (n, condition) = self.spot(from, point);
        let all = self.b.constant(32, bytes);
        // Nothing is read where nothing is copied, wherever that is.
        let copied = match condition {
            None => all,
            Some(condition) => {
                let nothing = self.b.constant(32, 0);
                self.b.select(condition, all, nothing)
            }
        };
        let (source, _) = self.address(from.place, n);
        let (there, _) = self.spot(to, point);
        let (target, _) = self.address(to.place, there);
        self.b.begin_copy(target, source, copied, bytes);
    }

    /// How far behind a tile's first place this turn's is.
    pub(super) fn staged_at(&mut self, place: Place, bytes: i64) -> Option<V<'c, 'a>> {
        let Place::Tile(tile) = place else { return None };
        if !self.about.placement.ahead.contains(&tile) {
            return None;
        }
        let stage = self.stages[tile.index()];
        let stage = stage.expect("what is copied ahead is touched in its loop alone");
        let behind = self.mul(stage, Num::Known(bytes / 2));
        Some(self.value(behind))
    }
}
