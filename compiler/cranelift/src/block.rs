//! Stages of a map, a row buffer at a time: compute arguments, call routines, go on.
//!
//! Where the innermost dimension is short, several of its rows share one buffer, so that a
//! routine is called for hundreds of elements and not for a few.

use crate::access::{Lane, Reach};
use crate::emitter::{Emitter, Num, ROW};
use crate::eval::Inner;
use crate::map::{End, Ends, Nest, Target};
use crate::stages::routine;
use cranelift_codegen::ir::{InstBuilder, Value};
use nestor_ir::entity::Entity;
use nestor_ir::tile::ExprId;
use nestor_ir::ty::Elem;

impl Emitter<'_> {
    /// All stages for indices `from .. to`, at most a row of them.
    pub(crate) fn block(
        &mut self,
        m: &Nest<'_>,
        inner: &mut Inner<'_>,
        ends: &[(ExprId, End)],
        from: Num,
        to: Num,
    ) {
        let bases = self.bases(m);
        inner.rows = self.row_lanes(&bases, from);
        let length = self.sub(to, from);
        for calls in &m.stages.calls {
            self.span(inner, &Ends::Rows(&arguments(m, calls)), from, to);
            self.call_all(m, calls, &bases, length);
        }
        self.span(inner, &Ends::Targets(ends), from, to);
    }

    /// The last two dimensions, several short rows at a time; says whether that was worth it.
    pub(crate) fn rows_together(
        &mut self,
        m: &Nest<'_>,
        outer: &mut Vec<Value>,
        loads: &[Reach],
        targets: &[Target],
    ) -> bool {
        let d = outer.len();
        let (Some(&count), Some(&Num::Const(n))) = (m.space.get(d), m.space.get(d + 1))
        else {
            return false;
        };
        if d + 2 != m.space.len()
            || m.stages.calls.is_empty()
            || !(1..=ROW / 2).contains(&n)
        {
            return false;
        }
        let each = ROW / n;
        match count {
            Num::Const(few) if few <= each => {
                self.rows_block(m, outer, (loads, targets), (Num::Const(0), count), n);
            }
            Num::Const(_) | Num::Run(_) => {
                let end = self.add(count, Num::Const(each - 1));
                self.count(Num::Const(0), end, each, |e, from| {
                    let to = e.add(Num::Run(from), Num::Const(each));
                    let to = e.min(to, count);
                    e.rows_block(m, outer, (loads, targets), (Num::Run(from), to), n);
                });
            }
        }
        true
    }

    /// All stages for rows `from .. to` of `n` elements.
    fn rows_block(
        &mut self,
        m: &Nest<'_>,
        outer: &mut Vec<Value>,
        (loads, targets): (&[Reach], &[Target]),
        (from, to): (Num, Num),
        n: i64,
    ) {
        let d = outer.len();
        let n = Num::Const(n);
        let bases = self.bases(m);
        let rows = self.sub(to, from);
        let length = self.mul(rows, n);
        for calls in &m.stages.calls {
            let roots = arguments(m, calls);
            self.count(from, to, 1, |e, r| {
                e.one_row(m, outer, (loads, &bases), (r, from), |e, inner, _| {
                    e.span(inner, &Ends::Rows(&roots), Num::Const(0), n);
                });
            });
            self.call_all(m, calls, &bases, length);
        }
        self.count(from, to, 1, |e, r| {
            let mut targets = e.step_targets(targets, d, r);
            e.begin(m, &mut targets, d + 1);
            e.one_row(m, outer, (loads, &bases), (r, from), |e, inner, d| {
                let ends = e.ends(m, &targets, d);
                e.span(inner, &Ends::Targets(&ends), Num::Const(0), n);
            });
            e.end(&targets, d + 1);
        });
    }

    /// One row of a block that began at row `from`.
    fn one_row(
        &mut self,
        m: &Nest<'_>,
        outer: &mut Vec<Value>,
        (loads, bases): (&[Reach], &[Value]),
        (r, from): (Value, Num),
        act: impl FnOnce(&mut Self, &Inner<'_>, usize),
    ) {
        let d = outer.len();
        let loads: Vec<Reach> = loads.iter().map(|l| self.step(l, d, r)).collect();
        let before = self.sub(from, Num::Run(r));
        let before = self.mul(before, m.space[d + 1]);
        let rows = self.row_lanes(bases, before);
        outer.push(r);
        let mut inner = self.inner(m, outer, &loads);
        inner.rows = rows;
        act(self, &inner, d + 1);
        outer.pop();
    }

    /// Addresses of the row buffers.
    fn bases(&mut self, m: &Nest<'_>) -> Vec<Value> {
        let arity =
            |id: &ExprId| routine(m.expr.scalars[*id].op).map_or(0, |(_, arity)| arity);
        let count: usize = m.stages.calls.iter().flatten().map(arity).sum();
        (0..count).map(|r| self.row(r)).collect()
    }
    /// Row buffers whose first element belongs to index `from`.
    fn row_lanes(&mut self, bases: &[Value], from: Num) -> Vec<Lane> {
        let bytes = self.bytes(Elem::Real);
        let back = self.mul(from, Num::Const(-bytes));
        let lane = |base: &Value| Lane {
            address: self.offset(*base, back),
            stride: Num::Const(bytes),
            elem: Elem::Real,
            pad: 0.0,
            range: None,
            invariant: None,
        };
        bases.iter().map(lane).collect()
    }
    /// Calls the routines of a stage.
    fn call_all(&mut self, m: &Nest<'_>, calls: &[ExprId], bases: &[Value], length: Num) {
        let n = self.value(length);
        for id in calls {
            let row = m.stages.row[id.index()].expect("has a row");
            let (name, arity) = routine(m.expr.scalars[*id].op).expect("a routine");
            let mut arguments: Vec<Value> = bases[row..row + arity].to_vec();
            arguments.push(n);
            let routine = self.routines.get(name);
            self.b.ins().call(routine, &arguments);
        }
    }
}

/// What the routines of a stage are called with, and in which row it goes.
fn arguments(m: &Nest<'_>, calls: &[ExprId]) -> Vec<(ExprId, usize)> {
    let mut roots = Vec::new();
    for id in calls {
        let row = m.stages.row[id.index()].expect("has a row");
        let operands = m.expr.scalars[*id].operands.iter().enumerate();
        roots.extend(operands.map(|(k, operand)| (*operand, row + k)));
    }
    roots
}
