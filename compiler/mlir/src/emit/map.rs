//! Maps: the points that stay are shared among the threads; what is folded, each thread walks through
//! alone, or where it is long, each warp together.

use super::Emit;
use super::beside::WIDE;
use super::build::V;
use super::number::Num;
use crate::placement::by_all;
use crate::target;
use melior::dialect::arith::CmpiPredicate;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{Access, Expr, ExprId, Extent, Sink};

/// Threads of a warp.
pub(super) const LANES: i64 = 32;

/// How many of them may share a point: eight lanes' sixteen bytes are all banks, or a line of memory. Where they load single numbers, half a warp
/// has few in the same bank; of longer rows the whole of it does not mind to put its parts together.
const SHARING: [i64; 2] = [8, 16];
const HALF: i64 = LANES / 2;
const LONG: usize = 256;
/// How many share a point where neighbours have points beside one another: as many as leave them all numbers that are fetched at a time.
const ACROSS: Sharing = Sharing { lanes: 4, apart: 8 };

/// Points of a thread in one turn, where little is done at each, and how many scalars are little (not measured).
const AT_ONCE: i64 = 4;
const FEW: usize = 8;

/// Turns of so many loads whose number the assembler is not told: it would write all of them one after the other, and load for
/// all of them before it stores, with more registers than there are.
pub(super) const MANY: i64 = 8;

/// A map's parts.
#[derive(Clone, Copy)]
pub(super) struct Map<'k> {
    pub(super) space: &'k [Extent],
    pub(super) expr: &'k Expr,
    pub(super) loads: &'k [Access],
    pub(super) sinks: &'k [(ExprId, Sink)],
}

/// A fold under way: which sink, and its value so far.
#[derive(Clone, Copy)]
pub(super) struct Running<'c, 'a> {
    pub(super) sink: usize,
    pub(super) value: V<'c, 'a>,
}

/// How many threads share a point, and how far apart they are.
#[derive(Clone, Copy)]
pub(super) struct Sharing {
    lanes: i64,
    apart: i64,
}

impl Sharing {
    pub(super) fn neighbours(lanes: i64) -> Self {
        Self { lanes, apart: 1 }
    }
    /// Whether whole warps share so many points.
    fn divides(self, points: i64) -> bool {
        points % (LANES / self.lanes) == 0
    }
}

/// Whether more of what a map touches lies along its last point that stays than along what is folded.
fn lies_across(map: Map<'_>, kept: usize) -> bool {
    let stored = map.sinks.iter().filter_map(|(_, sink)| match sink {
        Sink::Store(to) => Some(to),
        Sink::Fold { .. } => None,
    });
    let along = |a: &Access, dim: usize| a.strides[dim].as_number() == Some(1);
    let all: Vec<&Access> = map.loads.iter().chain(stored).collect();
    let count = |dim: usize| all.iter().filter(|a| along(a, dim)).count();
    kept > 0 && count(kept - 1) > count(map.space.len() - 1)
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn map(&mut self, map: Map<'_>) {
        let folded = map.sinks.iter().map(|(_, sink)| match sink {
            Sink::Store(_) => 0,
            Sink::Fold { axes, .. } => *axes,
        });
        let kept = map.space.len() - folded.max().unwrap_or(0);
        if self.is_inner(map) {
            return self.inner(map);
        }
        if self.by_warps(map, kept) {
            return self.map_by_warps(map, kept);
        }
        if kept == map.space.len() && self.lies_beside(map) {
            return self.map_beside(map);
        }
        if kept == map.space.len() && self.together(map) {
            return self.map_together(map);
        }
        if kept == map.space.len() && self.lies_in_pairs(map) {
            return self.map_in_pairs(map);
        }
        self.shared(&map.space[..kept], |e, point| {
            e.level(map, point.to_vec(), Vec::new());
        });
    }

    /// Whether a thread has several points in one turn: there are enough of them, and little is done at each, so that
    /// the time is that of its loads.
    fn together(&self, map: Map<'_>) -> bool {
        let points: Option<usize> = map.space.iter().map(|d| d.fixed()).product();
        let turn = AT_ONCE as usize * self.about.threads as usize;
        points.is_some_and(|n| n > 0 && n % turn == 0)
            && map.expr.scalars.len() <= FEW
            && !map.loads.is_empty()
    }

    /// All that a thread computes in a turn is loaded before the first of it is stored.
    fn map_together(&mut self, map: Map<'_>) {
        let extents: Vec<Num<'c, 'a>> =
            map.space.iter().map(|d| self.extent(*d)).collect();
        let points: usize = map.space.iter().filter_map(|d| d.fixed()).product();
        let threads = i64::from(self.about.threads);
        let turns = points as i64 / (AT_ONCE * threads);
        let mut extent = Num::Known(turns);
        if turns >= MANY {
            extent = self.unknown(turns);
        }
        self.turns(extent, false, |e, turn| {
            let first = e.mul(turn, Num::Known(AT_ONCE * threads));
            let first = e.add(first, Num::Run(e.thread));
            let further = (0..AT_ONCE).map(|n| n * threads);
            let points = e.unravelled_from(first, further, &extents);
            let all: Vec<(Vec<Num<'c, 'a>>, Vec<V<'c, 'a>>)> = points
                .into_iter()
                .map(|point| {
                    let values = e.scalars(map, &point);
                    (point, values)
                })
                .collect();
            for (point, values) in all {
                e.stored(map, &point, &values);
            }
        });
    }

    /// A number that the assembler does not know: it has the threads that a block was started with as a factor.
    pub(super) fn unknown(&mut self, n: i64) -> Num<'c, 'a> {
        let threads = Num::Run(self.b.special("ntid.x", target::THREADS + 1));
        let all = self.mul(threads, Num::Known(n));
        self.div(all, Num::Known(i64::from(self.about.threads)))
    }

    pub(super) fn stored(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        values: &[V<'c, 'a>],
    ) {
        for (root, sink) in map.sinks {
            if let Sink::Store(to) = sink {
                self.store(to, point, values[root.index()]);
            }
        }
    }

    /// Whether a warp walks through what is folded together: it is long enough, and all folds are of the same dimensions. Sequences of a
    /// call are few.
    fn by_warps(&self, map: Map<'_>, kept: usize) -> bool {
        let folds = map.sinks.iter().filter_map(|(_, sink)| match sink {
            Sink::Store(_) => None,
            Sink::Fold { axes, .. } => Some(map.space.len() - axes),
        });
        let numbers = |d: &Extent| match d {
            Extent::Batch => Some(1),
            d => d.fixed(),
        };
        let length: Option<usize> = map.space[kept..].iter().map(numbers).product();
        let long = length.is_none_or(|n| n >= LANES as usize);
        kept < map.space.len() && long && folds.into_iter().all(|depth| depth == kept)
    }

    /// Each warp, or part of one, has points that stay; its lanes share what is folded, and put their parts together. Where no more
    /// than one point stays, all warps share it.
    fn map_by_warps(&mut self, map: Map<'_>, kept: usize) {
        let thread = Num::Run(self.thread);
        let threads = i64::from(self.about.threads);
        if by_all(map.space, map.sinks) && threads > LANES {
            let (lane, warp) = (
                self.rem(thread, Num::Known(LANES)),
                self.div(thread, Num::Known(LANES)),
            );
            let point = vec![Num::Known(0); kept];
            let sharing = Sharing::neighbours(threads);
            let mut parts = self.folded_by(map, &point, thread, sharing);
            self.of_all_warps(map, &mut parts, [lane, warp], threads / LANES);
            return self.ended_by(map, &point, parts, thread);
        }
        let sharing = self.sharing(map, kept);
        let Sharing { lanes, apart } = sharing;
        let lane = self.div(thread, Num::Known(apart));
        let lane = self.rem(lane, Num::Known(lanes));
        let group = self.div(thread, Num::Known(apart * lanes));
        let group = self.mul(group, Num::Known(apart));
        let within = self.rem(thread, Num::Known(apart));
        let group = self.add(group, within);
        let groups = [group, Num::Known(threads / lanes)];
        self.strided(&map.space[..kept], groups, |e, point| {
            let parts = e.folded_by(map, point, lane, sharing);
            e.ended_by(map, point, parts, lane);
        });
    }

    /// How lanes share a point: few, so that little is put together, where there are points for all threads and what is folded lies
    /// beside one another. The lanes of a warp come to their ends together.
    fn sharing(&self, map: Map<'_>, kept: usize) -> Sharing {
        let points: usize = map.space[..kept].iter().filter_map(|d| d.fixed()).product();
        let points = points as i64;
        let fits = |sharing: &Sharing| {
            sharing.divides(points)
                && points * sharing.lanes >= i64::from(self.about.threads)
        };
        let beside = |s: &Sharing| fits(s) && self.folds_beside(map, kept, s.lanes);
        let folded: Option<usize> = map.space[kept..].iter().map(|d| d.fixed()).product();
        let short = folded.is_some_and(|n| n < LONG && n as i64 % HALF == 0);
        let row = kept.checked_sub(1).and_then(|last| map.space[last].fixed());
        let across = lies_across(map, kept)
            && row.is_some_and(|n| n as i64 % ACROSS.apart == 0)
            && fits(&ACROSS);
        let half = Sharing::neighbours(HALF);
        match SHARING.map(Sharing::neighbours).into_iter().find(beside) {
            Some(found) => found,
            None if across => ACROSS,
            None if short && fits(&half) => half,
            None => Sharing::neighbours(LANES),
        }
    }

    /// The folds of a point, as far as the lanes of a warp that share it have walked for them: shares begin at a number and are as far
    /// apart as there are lanes.
    fn folded_by(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        from: Num<'c, 'a>,
        sharing: Sharing,
    ) -> Vec<Running<'c, 'a>> {
        let apart = sharing.lanes;
        let kept = point.len();
        let mut running = self.begun(map, kept);
        let carried: Vec<V<'c, 'a>> = running.iter().map(|r| r.value).collect();
        let mut extents: Vec<Num<'c, 'a>> =
            map.space[kept..].iter().map(|d| self.extent(*d)).collect();
        // What lies beside one another is loaded at once, where all lanes have some of it.
        let folded: Option<usize> = map.space[kept..].iter().map(|d| d.fixed()).product();
        let enough = folded.is_some_and(|n| n as i64 % (2 * WIDE * apart) == 0);
        let wide = self.folds_beside(map, kept, apart);
        let wide = wide.then(|| self.points_beside(map, enough));
        if let (Some(wide), Some(last)) = (wide, extents.last_mut()) {
            *last = self.div(*last, Num::Known(wide));
        }
        let mut total = Num::Known(1);
        for extent in &extents {
            total = self.mul(total, *extent);
        }
        // Several at once where their number divides, so that their loads are under way together; all of them, where they are few.
        let few = AT_ONCE.min(2 * MANY / map.loads.len().max(1) as i64);
        let several = if wide.is_some() { AT_ONCE / 2 } else { AT_ONCE };
        let turns = match total {
            Num::Known(n) if n % apart == 0 && n / apart <= few => n / apart,
            Num::Known(n) if n % (several * apart) == 0 => several,
            _ => 1,
        };
        let bounds = [from, total, Num::Known(apart * turns)].map(|n| self.value(n));
        let (opened, n, values) = self.b.open_for(bounds, &carried);
        for (r, value) in running.iter_mut().zip(values) {
            r.value = value;
        }
        let further = (0..turns).map(|turn| turn * apart);
        for rest in self.unravelled_from(Num::Run(n), further, &extents) {
            let mut inner = point.to_vec();
            inner.extend(rest);
            match wide {
                Some(wide) => {
                    let (first, all) = self.values_beside(map, inner, wide);
                    self.stored_beside(map, &first, &all);
                    for values in all {
                        self.fold_in(map, &values, &mut running);
                    }
                }
                None => self.point(map, &inner, &mut running),
            }
        }
        let values: Vec<V<'c, 'a>> = running.iter().map(|r| r.value).collect();
        let values = self.b.close(opened, &values);
        for (r, value) in running.iter_mut().zip(values) {
            let Sink::Fold { fold, .. } = &map.sinks[r.sink].1 else { continue };
            r.value = self.of_lanes(*fold, value, sharing);
        }
        running
    }

    /// What the lanes that share a point have folded, put together: each has all of it.
    pub(super) fn of_lanes(
        &mut self,
        fold: Fold,
        mut value: V<'c, 'a>,
        sharing: Sharing,
    ) -> V<'c, 'a> {
        for bit in [16, 8, 4, 2, 1].into_iter().filter(|bit| *bit < sharing.lanes) {
            let other = self.b.shuffled(value, bit * sharing.apart);
            value = self.folded(fold, value, other);
        }
        value
    }

    /// What each warp has folded, put together through room that is the statement's own.
    pub(super) fn of_all_warps(
        &mut self,
        map: Map<'_>,
        parts: &mut [Running<'c, 'a>],
        [lane, warp]: [Num<'c, 'a>; 2],
        warps: i64,
    ) {
        let first = self.is_zero(lane);
        // The room may be what another statement has just read.
        self.b.barrier();
        let opened = self.b.open_if(first, &[]);
        for (n, part) in parts.iter().enumerate() {
            let at = self.add(warp, Num::Known(n as i64 * warps));
            let at = self.in_room(at);
            self.b.store(part.value, at);
        }
        self.b.close(opened, &[]);
        self.b.barrier();
        for (n, part) in parts.iter_mut().enumerate() {
            let Sink::Fold { fold, .. } = &map.sinks[part.sink].1 else { continue };
            let float = self.b.float();
            for warp in 0..warps {
                let at = self.in_room(Num::Known(n as i64 * warps + warp));
                let other = self.b.load(at, float);
                part.value = match warp {
                    0 => other,
                    _ => self.folded(*fold, part.value, other),
                };
            }
        }
    }

    /// The first of those that share a point stores its folds.
    pub(super) fn ended_by(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        parts: Vec<Running<'c, 'a>>,
        who: Num<'c, 'a>,
    ) {
        let first = self.is_zero(who);
        let opened = self.b.open_if(first, &[]);
        parts.into_iter().for_each(|r| self.ended(map, point, r));
        self.b.close(opened, &[]);
    }

    pub(super) fn is_zero(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        self.is_equal(n, Num::Known(0))
    }

    pub(super) fn is_equal(&mut self, a: Num<'c, 'a>, b: Num<'c, 'a>) -> V<'c, 'a> {
        let (a, b) = (self.value(a), self.value(b));
        self.b.compare_whole(CmpiPredicate::Eq, a, b)
    }

    /// A number of the statement's own room.
    fn in_room(&mut self, n: Num<'c, 'a>) -> V<'c, 'a> {
        let byte = self.mul(n, Num::Known(4));
        self.at_room(byte)
    }

    /// The folds that begin at a depth.
    fn begun(&mut self, map: Map<'_>, depth: usize) -> Vec<Running<'c, 'a>> {
        let mut out = Vec::new();
        for (n, (_, sink)) in map.sinks.iter().enumerate() {
            if let Sink::Fold { fold, axes, .. } = sink
                && map.space.len() - axes == depth
            {
                let value = self.b.real(match fold {
                    Fold::Sum => 0.0,
                    Fold::Max => f64::NEG_INFINITY,
                    Fold::Min => f64::INFINITY,
                });
                out.push(Running { sink: n, value });
            }
        }
        out
    }

    /// Stores a fold.
    pub(super) fn ended(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        r: Running<'c, 'a>,
    ) {
        let Sink::Fold { fold, to, accumulate, .. } = &map.sinks[r.sink].1 else {
            unreachable!("a fold is under way");
        };
        let value = match accumulate {
            true => {
                let before = self.load(to, point);
                self.folded(*fold, before, r.value)
            }
            false => r.value,
        };
        self.store(to, point, value);
    }

    /// One dimension after the other: folds that begin here are opened, walked and stored. Gives the folds of outer
    /// dimensions.
    fn level(
        &mut self,
        map: Map<'_>,
        point: Vec<Num<'c, 'a>>,
        mut running: Vec<Running<'c, 'a>>,
    ) -> Vec<Running<'c, 'a>> {
        let depth = point.len();
        let outer = running.len();
        running.extend(self.begun(map, depth));
        if depth == map.space.len() {
            self.point(map, &point, &mut running);
        } else {
            let carried: Vec<V<'c, 'a>> = running.iter().map(|r| r.value).collect();
            let extent = self.extent(map.space[depth]);
            let bounds = [Num::Known(0), extent, Num::Known(1)].map(|n| self.value(n));
            let (opened, index, values) = self.b.open_for(bounds, &carried);
            for (r, value) in running.iter_mut().zip(values) {
                r.value = value;
            }
            let mut inner = point.clone();
            inner.push(Num::Run(index));
            let after = self.level(map, inner, running.clone());
            let values: Vec<V<'c, 'a>> = after.iter().map(|r| r.value).collect();
            for (r, value) in running.iter_mut().zip(self.b.close(opened, &values)) {
                r.value = value;
            }
        }
        for r in running.split_off(outer) {
            self.ended(map, &point, r);
        }
        running
    }

    /// The program at one point.
    fn point(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        running: &mut [Running<'c, 'a>],
    ) {
        let values = self.scalars(map, point);
        self.stored(map, point, &values);
        self.fold_in(map, &values, running);
    }

    fn fold_in(
        &mut self,
        map: Map<'_>,
        values: &[V<'c, 'a>],
        running: &mut [Running<'c, 'a>],
    ) {
        for r in running {
            let (root, sink) = &map.sinks[r.sink];
            if let Sink::Fold { fold, .. } = sink {
                r.value = self.folded(*fold, r.value, values[root.index()]);
            }
        }
    }

    pub(super) fn folded(&mut self, fold: Fold, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        // What is no number stays so.
        match fold {
            Fold::Sum => self.b.contracted("llvm.fadd", a, b),
            Fold::Max => self.b.two("llvm.intr.maximum", a, b),
            Fold::Min => self.b.two("llvm.intr.minimum", a, b),
        }
    }
}
