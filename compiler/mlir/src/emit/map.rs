//! Maps: the points that stay are shared among the threads; what is folded, each thread walks through
//! alone, or where it is long, each warp together.

use super::Emit;
use super::build::V;
use super::number::Num;
use melior::dialect::arith::{CmpfPredicate, CmpiPredicate};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{Access, Expr, ExprId, Extent, Sink};

/// Threads of a warp.
const LANES: i64 = 32;

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
struct Running<'c, 'a> {
    sink: usize,
    value: V<'c, 'a>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn map(&mut self, map: Map<'_>) {
        let folded = map.sinks.iter().map(|(_, sink)| match sink {
            Sink::Store(_) => 0,
            Sink::Fold { axes, .. } => *axes,
        });
        let kept = map.space.len() - folded.max().unwrap_or(0);
        if self.by_warps(map, kept) {
            return self.map_by_warps(map, kept);
        }
        self.shared(&map.space[..kept], |e, point| {
            e.level(map, point.to_vec(), Vec::new());
        });
    }

    /// Whether a warp walks through what is folded together: it is long enough, and all folds are of the same dimensions.
    fn by_warps(&self, map: Map<'_>, kept: usize) -> bool {
        let folds = map.sinks.iter().filter_map(|(_, sink)| match sink {
            Sink::Store(_) => None,
            Sink::Fold { axes, .. } => Some(map.space.len() - axes),
        });
        let length: Option<usize> = map.space[kept..].iter().map(|d| d.fixed()).product();
        let long = length.is_none_or(|n| n >= LANES as usize);
        kept < map.space.len() && long && folds.into_iter().all(|depth| depth == kept)
    }

    /// Each warp has points that stay; its lanes share what is folded, and put their parts together.
    fn map_by_warps(&mut self, map: Map<'_>, kept: usize) {
        let thread = Num::Run(self.thread);
        let (lane, warp) =
            (self.rem(thread, Num::Known(LANES)), self.div(thread, Num::Known(LANES)));
        let warps = Num::Known(i64::from(self.threads) / LANES);
        self.strided(&map.space[..kept], [warp, warps], |e, point| {
            let mut running = e.begun(map, kept);
            let carried: Vec<V<'c, 'a>> = running.iter().map(|r| r.value).collect();
            let extents: Vec<Num<'c, 'a>> =
                map.space[kept..].iter().map(|d| e.extent(*d)).collect();
            let mut total = Num::Known(1);
            for extent in &extents {
                total = e.mul(total, *extent);
            }
            let bounds = [lane, total, Num::Known(LANES)].map(|n| e.value(n));
            let (opened, n, values) = e.b.open_for(bounds, &carried);
            for (r, value) in running.iter_mut().zip(values) {
                r.value = value;
            }
            let mut inner = point.to_vec();
            inner.extend(e.unravelled(Num::Run(n), &extents));
            e.point(map, &inner, &mut running);
            let values: Vec<V<'c, 'a>> = running.iter().map(|r| r.value).collect();
            let values = e.b.close(opened, &values);
            for (r, value) in running.iter_mut().zip(values) {
                let Sink::Fold { fold, .. } = &map.sinks[r.sink].1 else { continue };
                r.value = value;
                for apart in [16, 8, 4, 2, 1] {
                    let other = e.b.shuffled(r.value, apart);
                    r.value = e.folded(*fold, r.value, other);
                }
            }
            let zero = e.value(Num::Known(0));
            let own = e.value(lane);
            let first = e.b.compare_whole(CmpiPredicate::Eq, own, zero);
            let opened = e.b.open_if(first, &[]);
            running.into_iter().for_each(|r| e.ended(map, point, r));
            e.b.close(opened, &[]);
        });
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
    fn ended(&mut self, map: Map<'_>, point: &[Num<'c, 'a>], r: Running<'c, 'a>) {
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
        for (root, sink) in map.sinks {
            if let Sink::Store(to) = sink {
                self.store(to, point, values[root.index()]);
            }
        }
        for r in running {
            let (root, sink) = &map.sinks[r.sink];
            if let Sink::Fold { fold, .. } = sink {
                r.value = self.folded(*fold, r.value, values[root.index()]);
            }
        }
    }

    fn folded(&mut self, fold: Fold, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        // The second where it goes further, or is no number.
        let how = match fold {
            Fold::Sum => return self.b.two("arith.addf", a, b),
            Fold::Max => CmpfPredicate::Ogt,
            Fold::Min => CmpfPredicate::Olt,
        };
        let further = self.b.compare(how, b, a);
        let is_none = self.b.compare(CmpfPredicate::Uno, b, b);
        let second = self.b.two("arith.ori", further, is_none);
        self.b.select(second, b, a)
    }
}
