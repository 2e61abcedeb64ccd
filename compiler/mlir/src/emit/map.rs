//! Maps: the points that stay are shared among the threads; what is folded, each thread walks through
//! alone.

use super::Emit;
use super::build::V;
use super::number::Num;
use melior::dialect::arith::CmpfPredicate;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{Access, Expr, ExprId, Extent, Sink};

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
        self.shared(&map.space[..kept], |e, point| {
            e.level(map, point.to_vec(), Vec::new());
        });
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
        for (n, (_, sink)) in map.sinks.iter().enumerate() {
            if let Sink::Fold { fold, axes, .. } = sink
                && map.space.len() - axes == depth
            {
                let value = self.b.real(match fold {
                    Fold::Sum => 0.0,
                    Fold::Max => f64::NEG_INFINITY,
                    Fold::Min => f64::INFINITY,
                });
                running.push(Running { sink: n, value });
            }
        }
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
            let Sink::Fold { fold, to, accumulate, .. } = &map.sinks[r.sink].1 else {
                unreachable!("a fold is under way");
            };
            let value = match accumulate {
                true => {
                    let before = self.load(to, &point);
                    self.folded(*fold, before, r.value)
                }
                false => r.value,
            };
            self.store(to, &point, value);
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
