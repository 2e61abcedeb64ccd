//! Linear recurrences.
//!
//! ```text
//! few numbers, many columns      one routine: the columns fill the vectors
//! a number at every index        a loop over the steps, in it a map over all indices: they fill the vectors
//! ```

use super::expression::Program;
use super::frame::{access, kind};
use super::lower::{Known, Lower};
use super::solves::{fixed, inner};
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{NodeData, Value};
use nestor_ir::tile::{Affine, ExprId, Monomial, Part, ScalarOp, Sink, Stmt, Tile};
use nestor_ir::ty::{Dims, Type};

/// Slots that are coupled, at most, where a map takes a step of all of them.
const SLOTS: usize = 4;

impl Lower<'_> {
    /// `y_t = a_t y_{t-1} + b_t`, for every index of the leading dimensions.
    pub(super) fn linear_scan(
        &mut self,
        node: &NodeData,
        reverse: bool,
    ) -> Result<(), PassError> {
        let a = self.whole_rows(node.operands[0])?;
        let b = self.whole_rows(node.operands[1])?;
        let init = self.whole_rows(node.operands[2])?;
        let v = node.results[0];
        let rank = b.dims.len();
        let extent = (
            fixed(&b.dims, rank - 3)?,
            fixed(&b.dims, rank - 2)?,
            fixed(&b.dims, rank - 1)?,
        );
        if self.nested && rank > 3 && extent.1 <= SLOTS && extent.2 == 1 {
            let out = self.scan_at_once(v, [&a, &b, &init], extent, reverse);
            self.known[v.index()] = Some(Known::At(out));
            return Ok(());
        }
        let out = self.room(&self.name(v), &self.graph.ty(v).clone());
        self.begin();
        let lead: Dims = b.dims[..rank - 3].iter().copied().collect();
        self.for_each(&lead, |l, at| {
            let a = l.scratch(&inner(&a, at), "factors");
            let b = l.scratch(&inner(&b, at), "terms");
            let init = l.scratch(&inner(&init, at), "start");
            let out = inner(&out, at);
            let push = |l: &mut Self, y: Tile| {
                l.frame.body.push(Stmt::LinearScan { a, b, init, y, extent, reverse });
            };
            if let (Home::Tile(y), true) = (out.home, out.is_whole()) {
                return push(l, y);
            }
            let ty = Type { elem: out.elem, dims: out.dims.clone() };
            let y = l.frame.tile("scan", &ty);
            let Home::Tile(tile) = y.home else { return };
            push(l, tile);
            l.copy_flat(&y, &out);
        });
        self.end("linear_scan");
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// `a [.., steps, slots, slots]`, `b [.., steps, slots, 1]`, `init [.., slots, 1]`, every index a number of its own.
    fn scan_at_once(
        &mut self,
        v: Value,
        [a, b, init]: [&View; 3],
        (steps, slots, _): (usize, usize, usize),
        reverse: bool,
    ) -> View {
        let (a, b) = (steps_first(a), steps_first(b));
        let lead: Dims = a.dims[1..a.dims.len() - 2].iter().copied().collect();
        let rank = lead.len();
        // Steps and slots outermost, so that indices lie side by side.
        let dims: Dims = [steps, slots]
            .map(Dim::Fixed)
            .into_iter()
            .chain(lead.iter().copied())
            .collect();
        let out = self.room(&self.name(v), &Type { elem: b.elem, dims });
        let one = Type { elem: b.elem, dims: lead.clone() };
        let last: Vec<View> =
            (0..slots).map(|j| self.frame.tile(&format!("last{j}"), &one)).collect();
        for (j, last) in last.iter().enumerate() {
            self.copy(&entry(init, rank, [j, 0]), last);
        }
        let index = self.frame.index();
        let at = Affine::index(index, Monomial::number(1));
        let (a, b, to) = (a.at(&at), b.at(&at), out.at(&at));
        let (coords, space) = self.spread(&lead);
        let mut p = Program::new(space.len());
        let load = |l: &mut Self, p: &mut Program, view: &View| -> ExprId {
            let place = l.place(view.home, false);
            p.load(access(view, place, &coords, coords.len()), kind(view.elem))
        };
        let states: Vec<ExprId> = last.iter().map(|s| load(self, &mut p, s)).collect();
        let mut next = Vec::new();
        for i in 0..slots {
            let mut sum = load(self, &mut p, &entry(&b, rank, [i, 0]));
            for (j, state) in states.iter().enumerate() {
                let factor = load(self, &mut p, &entry(&a, rank, [i, j]));
                let term = p.real(ScalarOp::Mul, &[factor, *state]);
                sum = p.real(ScalarOp::Add, &[sum, term]);
            }
            next.push(sum);
        }
        let mut sinks = Vec::new();
        for (i, (next, last)) in next.iter().zip(&last).enumerate() {
            let slot = to.at(&Affine::number(i as i64));
            for view in [&slot, last] {
                let place = self.place(view.home, true);
                let to = access(view, place, &coords, coords.len());
                sinks.push((*next, Sink::Store(to)));
            }
        }
        let before = std::mem::take(&mut self.frame.body);
        self.map(space, p, sinks);
        let body = std::mem::replace(&mut self.frame.body, before);
        let extent = Dim::Fixed(steps);
        self.frame.body.push(Stmt::Loop {
            index,
            extent,
            part: Part::All,
            reverse,
            body,
        });
        // As it was asked for: indices, steps, slots, a column.
        let order: Vec<usize> = (2..rank + 2).chain([0, 1]).collect();
        let mut whole = out.transposed(&order);
        whole.dims.push(Dim::Fixed(1));
        whole.strides.push(Monomial::number(1));
        whole
    }
}

/// The axis of steps first: `[steps, .., slots, slots]`.
fn steps_first(view: &View) -> View {
    let rank = view.dims.len();
    let mut order: Vec<usize> = (0..rank).filter(|axis| *axis != rank - 3).collect();
    order.insert(0, rank - 3);
    view.transposed(&order)
}

/// One row and column behind the indices.
fn entry(view: &View, rank: usize, at: [usize; 2]) -> View {
    let order: Vec<usize> = [rank, rank + 1].into_iter().chain(0..rank).collect();
    inner(&view.transposed(&order), &at.map(|n| Affine::number(n as i64)))
}
