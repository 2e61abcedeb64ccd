//! Maps that only move bfloat16 to where it is bfloat16: sixteen bytes at a time, as they are.

use super::Emit;
use super::build::V;
use super::map::{MANY, Map};
use super::number::Num;
use melior::ir::Type;
use nestor_ir::tile::{Extent, ScalarOp, Sink};

/// Numbers of sixteen bytes.
const PART: i64 = 8;
/// Parts that a thread loads before it stores the first of them, where there are so many.
const AT_ONCE: i64 = 4;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether a map is such a move, with parts enough for all threads.
    pub(super) fn moves_parts(&self, map: Map<'_>) -> bool {
        let ([from], [(root, Sink::Store(to))]) = (map.loads, map.sinks) else {
            return false;
        };
        let points: Option<usize> = map.space.iter().map(|d| d.fixed()).product();
        let enough =
            points.is_some_and(|n| n as i64 >= PART * i64::from(self.about.threads));
        let last = map.space.last().and_then(|d| d.fixed()).unwrap_or(0);
        enough
            && last.is_multiple_of(PART as usize)
            && matches!(map.expr.scalars[*root].op, ScalarOp::Load(0))
            && [from, to].iter().all(|a| {
                self.is_narrow(a.place) && a.bounds.is_empty() && self.is_beside(a, PART)
            })
    }

    /// Moves it.
    pub(super) fn map_moved(&mut self, map: Map<'_>) {
        let [(_, Sink::Store(to))] = map.sinks else { return };
        let from = &map.loads[0];
        let mut space = map.space.to_vec();
        if let Some(Extent::Fixed(last)) = space.last_mut() {
            *last /= PART as usize;
        }
        let threads = i64::from(self.about.threads);
        let parts: usize = space.iter().filter_map(|d| d.fixed()).product();
        let parts = parts as i64;
        let mut several = [AT_ONCE, AT_ONCE / 2].into_iter();
        let at_once = several.find(|n| parts % (n * threads) == 0).unwrap_or(1);
        let extents: Vec<Num<'c, 'a>> = space.iter().map(|d| self.extent(*d)).collect();
        let mut total = Num::Known(parts);
        if parts % threads == 0 && parts / (at_once * threads) >= MANY {
            total = self.unknown(parts);
        }
        let bounds = [Num::Run(self.thread), total, Num::Known(at_once * threads)];
        let bounds = bounds.map(|n| self.value(n));
        let part = Type::vector(&[4], self.b.int(32));
        let (opened, first, _) = self.b.open_for(bounds, &[]);
        let mut all: Vec<(Vec<Num<'c, 'a>>, V<'c, 'a>)> = Vec::new();
        for turn in 0..at_once {
            let n = self.add(Num::Run(first), Num::Known(turn * threads));
            let mut point = self.unravelled(n, &extents);
            if let Some(last) = point.last_mut() {
                *last = self.mul(*last, Num::Known(PART));
            }
            let (n, _) = self.spot(from, &point);
            let (at, _) = self.address(from.place, n);
            all.push((point, self.b.load(at, part)));
        }
        for (point, loaded) in all {
            let (n, _) = self.spot(to, &point);
            let (at, _) = self.address(to.place, n);
            self.b.store(loaded, at);
        }
        self.b.close(opened, &[]);
    }
}
