//! Maps that only move bfloat16 to where it is bfloat16: sixteen bytes at a time, as they are.

use super::Emit;
use super::map::Map;
use super::number::Num;
use melior::ir::Type;
use nestor_ir::tile::{ScalarOp, Sink};

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
        let part = Type::vector(&[4], self.b.int(32));
        self.by_parts(
            (map.space, PART),
            &[AT_ONCE, AT_ONCE / 2],
            |e, mut point| {
                if let Some(last) = point.last_mut() {
                    *last = e.mul(*last, Num::Known(PART));
                }
                let (n, _) = e.spot(from, &point);
                let (at, _) = e.address(from.place, n);
                let loaded = e.b.load(at, part);
                (point, loaded)
            },
            |e, (point, loaded)| {
                let (n, _) = e.spot(to, &point);
                let (at, _) = e.address(to.place, n);
                e.b.store(loaded, at);
            },
        );
    }
}
