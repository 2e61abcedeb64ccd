//! Maps: a loop nest, vectorised along its innermost dimension.
//!
//! The innermost loop is cut where bounds begin and end to hold: in the middle part every element
//! is there and nothing is tested; before and after it each access is tested a vector at a time.

use crate::access::{Lane, Reach};
use crate::emitter::{Emitter, Num, ROW};
use crate::eval::{Inner, Point};
use crate::reduce::{ABREAST, Accumulator};
use crate::stages::{self, Stages};
use crate::transpose;
use cranelift_codegen::ir::Value;
use nestor_ir::tile::{Access, Expr, ExprId, Sink};

/// Where a root goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// To every point's element.
    Store(Reach),
    /// Folded over trailing dimensions, from `begin` on.
    Fold { to: Reach, begin: usize, accumulate: bool, sums: Option<Accumulator> },
}

/// What all points of a map share.
pub(crate) struct Nest<'m> {
    /// The extents.
    pub(crate) space: Vec<Num>,
    /// The program.
    pub(crate) expr: &'m Expr,
    /// Its stages.
    pub(crate) stages: Stages,
    sinks: &'m [(ExprId, Sink)],
    offsets: Vec<Num>,
}

/// Where the roots of one stage go.
pub(crate) enum Ends<'s> {
    /// To row buffers, by number.
    Rows(&'s [(ExprId, usize)]),
    /// To their targets.
    Targets(&'s [(ExprId, End)]),
}

/// Where a root of the last stage goes, along the innermost dimension.
pub(crate) enum End {
    /// To memory.
    Store(Lane),
    /// Into accumulators.
    Fold(Accumulator),
}

impl Emitter<'_> {
    /// Emits a map whose iteration space has at least one dimension.
    pub(crate) fn map(
        &mut self,
        space: &[nestor_ir::dim::Dim],
        expr: &Expr,
        loads: &[Access],
        sinks: &[(ExprId, Sink)],
    ) {
        let roots: Vec<ExprId> = sinks.iter().map(|(r, _)| *r).collect();
        let nest = Nest {
            space: space.iter().map(|d| self.extent(*d)).collect(),
            expr,
            stages: stages::plan(expr, &roots),
            sinks,
            offsets: expr.offsets.iter().map(|a| self.affine(a)).collect(),
        };
        let loads: Vec<Reach> = loads.iter().map(|a| self.reach(a)).collect();
        let targets = sinks.iter().map(|(_, sink)| match sink {
            Sink::Store(to) => Target::Store(self.reach(to)),
            Sink::Fold { axes, to, accumulate, .. } => Target::Fold {
                to: self.reach(to),
                begin: space.len() - axes,
                accumulate: *accumulate,
                sums: None,
            },
        });
        let targets: Vec<Target> = targets.collect();
        self.nest(&nest, &mut Vec::new(), loads, targets);
    }

    fn nest(
        &mut self,
        m: &Nest<'_>,
        outer: &mut Vec<Value>,
        loads: Vec<Reach>,
        mut targets: Vec<Target>,
    ) {
        let d = outer.len();
        let last = d + 1 == m.space.len();
        if let ([Target::Store(store)], true) = (&targets[..], d + 2 == m.space.len()) {
            let what = (m.expr, m.sinks[0].0);
            let extents = (m.space[d], m.space[d + 1]);
            if let Some(t) = transpose::turned(self, what, &loads, store, d, extents) {
                self.turn(&t);
                return;
            }
        }
        self.begin(m, &mut targets, d);
        if self.rows_together(m, outer, &loads, &targets) {
            // Done, several rows at a time.
        } else if last {
            self.innermost(m, outer, &loads, &targets);
        } else {
            self.count(Num::Const(0), m.space[d], 1, |e, i| {
                let loads = loads.iter().map(|r| e.step(r, d, i)).collect();
                let targets = e.step_targets(&targets, d, i);
                outer.push(i);
                e.nest(m, outer, loads, targets);
                outer.pop();
            });
        }
        self.end(&targets, d);
    }

    /// Empties the accumulators of folds over dimensions from `d` on.
    pub(crate) fn begin(&mut self, m: &Nest<'_>, targets: &mut [Target], d: usize) {
        for (target, (_, sink)) in targets.iter_mut().zip(m.sinks) {
            if let (Target::Fold { begin, sums, .. }, Sink::Fold { fold, .. }) =
                (target, sink)
                && *begin == d
            {
                let vectors = self.abreast(m.space[m.space.len() - 1]);
                *sums = Some(self.accumulator(*fold, vectors));
            }
        }
    }

    /// Stores what was folded over dimensions from `d` on.
    pub(crate) fn end(&mut self, targets: &[Target], d: usize) {
        for target in targets {
            if let Target::Fold { to, begin, accumulate, sums: Some(sums) } = target
                && *begin == d
            {
                self.finish(sums, to, *accumulate);
            }
        }
    }

    /// Goes into dimension `d` with all targets.
    pub(crate) fn step_targets(
        &mut self,
        targets: &[Target],
        d: usize,
        i: Value,
    ) -> Vec<Target> {
        let step = |t: &Target| match t {
            Target::Store(r) => Target::Store(self.step(r, d, i)),
            Target::Fold { to, begin, accumulate, sums } => Target::Fold {
                to: if d < *begin { self.step(to, d, i) } else { to.clone() },
                begin: *begin,
                accumulate: *accumulate,
                sums: sums.clone(),
            },
        };
        targets.iter().map(step).collect()
    }

    /// How many vectors of a fold go abreast in a loop of this extent.
    fn abreast(&self, n: Num) -> usize {
        let lanes = self.lanes() as i64;
        match n {
            Num::Const(n) if n < lanes => 0,
            Num::Const(n) if n < lanes * ABREAST as i64 => 1,
            Num::Const(_) | Num::Run(_) => ABREAST,
        }
    }

    /// What the points of the innermost loop share.
    pub(crate) fn inner<'n>(
        &mut self,
        m: &'n Nest<'_>,
        outer: &'n [Value],
        loads: &[Reach],
    ) -> Inner<'n> {
        let d = outer.len();
        let n = m.space[d];
        let loads = loads.iter().map(|r| {
            let mut lane = self.lane(r, d, n);
            self.hoist(&mut lane, r, d);
            lane
        });
        Inner {
            expr: m.expr,
            stages: &m.stages,
            loads: loads.collect(),
            rows: Vec::new(),
            outer,
            offsets: &m.offsets,
            longest: match n {
                Num::Const(n) => n,
                Num::Run(_) => i64::MAX,
            },
        }
    }

    /// Where the roots go along the innermost dimension.
    pub(crate) fn ends(
        &mut self,
        m: &Nest<'_>,
        targets: &[Target],
        d: usize,
    ) -> Vec<(ExprId, End)> {
        let end = |((root, _), t): (&(ExprId, Sink), &Target)| match t {
            Target::Store(r) => (*root, End::Store(self.lane(r, d, m.space[d]))),
            Target::Fold { sums, .. } => {
                (*root, End::Fold(sums.clone().expect("begun before")))
            }
        };
        m.sinks.iter().zip(targets).map(end).collect()
    }

    fn innermost(
        &mut self,
        m: &Nest<'_>,
        outer: &[Value],
        loads: &[Reach],
        targets: &[Target],
    ) {
        let d = outer.len();
        let n = m.space[d];
        let mut inner = self.inner(m, outer, loads);
        let ends = self.ends(m, targets, d);
        if m.stages.calls.is_empty() {
            self.span(&inner, &Ends::Targets(&ends), Num::Const(0), n);
            return;
        }
        match n {
            Num::Const(short) if short <= ROW => {
                self.block(m, &mut inner, &ends, Num::Const(0), n);
            }
            Num::Const(_) | Num::Run(_) => {
                let end = self.add(n, Num::Const(ROW - 1));
                self.count(Num::Const(0), end, ROW, |e, from| {
                    let to = e.add(Num::Run(from), Num::Const(ROW));
                    let to = e.min(to, n);
                    e.block(m, &mut inner, &ends, Num::Run(from), to);
                });
            }
        }
    }

    /// One stage for indices `from .. to`, cut where bounds begin and end to hold.
    pub(crate) fn span(&mut self, m: &Inner<'_>, ends: &Ends<'_>, from: Num, to: Num) {
        let roots: Vec<ExprId> = match ends {
            Ends::Rows(rows) => rows.iter().map(|(r, _)| *r).collect(),
            Ends::Targets(ends) => ends.iter().map(|(r, _)| *r).collect(),
        };
        let needed = stages::loads(m.expr, m.stages, &roots, m.loads.len());
        let mut ranges: Vec<(Num, Num)> = Vec::new();
        ranges.extend(
            m.loads.iter().zip(&needed).filter(|(_, n)| **n).filter_map(|(l, _)| l.range),
        );
        if let Ends::Targets(ends) = ends {
            ranges.extend(ends.iter().filter_map(|(_, e)| match e {
                End::Store(lane) => lane.range,
                End::Fold(_) => None,
            }));
        }
        if ranges.is_empty() {
            self.sweep(m, ends, from, to, false);
            return;
        }
        let (mut low, mut high) = (from, to);
        for (l, h) in ranges {
            low = self.max(low, l);
            high = self.min(high, h);
        }
        let low = self.min(low, to);
        let high = self.max(high, low);
        self.sweep(m, ends, from, low, true);
        self.sweep(m, ends, low, high, false);
        self.sweep(m, ends, high, to, true);
    }

    /// One stage for indices `from .. to`: vectors abreast, vectors, and what is left.
    fn sweep(
        &mut self,
        m: &Inner<'_>,
        ends: &Ends<'_>,
        from: Num,
        to: Num,
        masked: bool,
    ) {
        let lanes = self.lanes();
        let mut at = from;
        let step = (lanes * ABREAST) as i64;
        if !masked && m.longest >= step {
            at = self.count(at, to, step, |e, i| {
                for abreast in 0..ABREAST {
                    let i = e.add(Num::Run(i), Num::Const((abreast * lanes) as i64));
                    e.body(m, ends, i, (lanes, abreast), false);
                }
            });
        }
        if m.longest >= lanes as i64 {
            at = self.count(at, to, lanes as i64, |e, i| {
                e.body(m, ends, Num::Run(i), (lanes, 0), masked);
            });
        }
        self.count(at, to, 1, |e, i| e.body(m, ends, Num::Run(i), (1, 0), masked));
    }

    fn body(
        &mut self,
        m: &Inner<'_>,
        ends: &Ends<'_>,
        at: Num,
        (lanes, abreast): (usize, usize),
        masked: bool,
    ) {
        let mut p = Point::new(m, at, lanes, masked);
        match ends {
            Ends::Rows(rows) => {
                for (root, row) in *rows {
                    let v = self.eval(m, &mut p, *root);
                    self.store_lanes(&m.rows[*row], v, at, lanes);
                }
            }
            Ends::Targets(ends) => {
                let values: Vec<Value> =
                    ends.iter().map(|(root, _)| self.eval(m, &mut p, *root)).collect();
                for ((_, end), v) in ends.iter().zip(values) {
                    match end {
                        End::Store(lane) if masked => {
                            self.store_masked(lane, v, at, lanes)
                        }
                        End::Store(lane) => self.store_lanes(lane, v, at, lanes),
                        End::Fold(sums) => self.gather(sums, abreast, v, lanes),
                    }
                }
            }
        }
    }
}
