//! Folds: one map whose last dimensions are the folded axes, wherever they lay; what goes along
//! vectors is the backend's choice.

use super::expression::Program;
use super::frame::{Coord, access, place_of};
use super::lower::{Known, Lower};
use super::view::View;
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, NodeData, Value};
use nestor_ir::tile::{Affine, Extent, Sink};
use nestor_ir::ty::Dims;
use smallvec::SmallVec;

impl Lower<'_> {
    pub(super) fn reduce(
        &mut self,
        node: &NodeData,
        fold: Fold,
        axes: &[usize],
    ) -> Result<(), PassError> {
        let (x, v) = (node.operands[0], node.results[0]);
        self.prepare(x, !axes.is_empty())?;
        let from = self.graph.ty(x).dims.clone();
        let kept: Vec<usize> = (0..from.len()).filter(|a| !axes.contains(a)).collect();
        let ty = self.graph.ty(v).clone();
        let to = self.room(&self.name(v), &ty);
        self.folded(fold, (x, v, &from), &kept, axes, &to)?;
        self.known[v.index()] = Some(Known::At(to));
        Ok(())
    }

    /// Folds `axes` of `x` away, which makes `made`.
    fn folded(
        &mut self,
        fold: Fold,
        (x, made, from): (Value, Value, &Dims),
        kept: &[usize],
        axes: &[usize],
        to: &View,
    ) -> Result<(), PassError> {
        self.begin();
        let kept_dims: Dims = kept.iter().map(|&a| from[a]).collect();
        let spread_axes =
            if self.nested { 0 } else { spread(&kept_dims).min(kept.len()) };
        let rank = kept.len() - spread_axes + axes.len();
        let mut coords = vec![Coord::fixed(Affine::default(), rank); from.len()];
        let mut space: SmallVec<[Extent; 4]> = SmallVec::new();
        let mut out = Vec::new();
        let folded_rank = kept.len() - spread_axes;
        for (n, &axis) in kept.iter().enumerate() {
            if n < spread_axes {
                let index = self.frame.index();
                self.frame.grid.push((index, from[axis]));
                let at = place_of(index, from[axis]);
                coords[axis] = Coord::fixed(at.clone(), rank);
                out.push(Coord::fixed(at, folded_rank));
            } else {
                coords[axis] = Coord::along(space.len(), rank);
                out.push(Coord::along(space.len(), folded_rank));
                space.push(from[axis]);
            }
        }
        for &axis in axes {
            coords[axis] = Coord::along(space.len(), rank);
            space.push(from[axis]);
        }
        let mut p = Program::new(rank).over(from, &coords);
        let root = self.scalar(&mut p, x, &coords)?;
        let place = self.place(to.home, true);
        let to = access(to, place, &out, folded_rank);
        let sink = Sink::Fold { fold, axes: axes.len(), to, accumulate: false };
        let sinks = self.with_extras(&mut p, &coords, rank, (made, root, sink));
        self.map(space, p, sinks);
        self.end("fold");
        Ok(())
    }
}
/// How many leading axes become the grid: enough work for a point, enough points for workers.
pub(super) fn spread(dims: &Dims) -> usize {
    let inner = |n: usize| -> usize {
        dims[n..].iter().map(|d| d.fixed().unwrap_or(1)).product()
    };
    match (dims.first(), dims.get(1)) {
        (None, _) | (Some(_), None) => 0,
        (Some(Dim::Batch), Some(second))
            if matches!(second.of_tokens().0, Dim::Time | Dim::Whole)
                && dims.len() > 2
                && inner(2) >= 512 =>
        {
            2
        }
        (Some(Dim::Fixed(n)), _) => usize::from(inner(1) >= 256 || n * inner(1) >= 16384),
        (Some(_), _) => 1,
    }
}
