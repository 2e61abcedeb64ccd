//! Products: to the library outside of walks, to the tile product inside, and as a folding map
//! where there is no matrix in them.

use super::bug;
use super::frame::{Coord, matrix};
use super::lower::{Known, Lower};
use super::view::{Home, View, collapse};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, Launch};
use nestor_ir::tensor::{Fold, NodeData};
use nestor_ir::tile::{Affine, Monomial, ScalarOp, Shape, Stmt};
use nestor_ir::ty::Dims;

/// The axes of an operand by what they are to the product.
struct Sides {
    batch: Vec<usize>,
    free: Vec<usize>,
    sum: Vec<usize>,
}

/// An operand as a batch of matrices.
struct Operand {
    view: View,
    batch: Vec<Monomial>,
    free: Monomial,
    sum: Monomial,
}

impl Lower<'_> {
    /// `sum over pairs of a b`.
    pub(super) fn contract(
        &mut self,
        node: &NodeData,
        batch: &[(usize, usize)],
        sum: &[(usize, usize)],
    ) -> Result<(), PassError> {
        let (a, b, v) = (node.operands[0], node.operands[1], node.results[0]);
        let (da, db) = (self.graph.ty(a).dims.clone(), self.graph.ty(b).dims.clone());
        let sides = |n: usize, pick: fn(&(usize, usize)) -> usize| {
            let batch: Vec<usize> = batch.iter().map(pick).collect();
            let sum: Vec<usize> = sum.iter().map(pick).collect();
            let free =
                (0..n).filter(|i| !batch.contains(i) && !sum.contains(i)).collect();
            Sides { batch, free, sum }
        };
        let (left, right) = (sides(da.len(), |p| p.0), sides(db.len(), |p| p.1));
        let ty = self.graph.ty(v).clone();
        let walked = left.batch.iter().any(|&i| da[i] == Dim::Time);
        if (left.free.is_empty() && right.free.is_empty()) || (walked && !self.nested) {
            return self.fold_products(node, &left, &right, &da, &db);
        }
        let left = self.operand(a, &left, false)?;
        let right_of = self.operand(b, &right, true)?;
        let size = |dims: &Dims, axes: &[usize]| {
            axes.iter().fold(Monomial::number(1), |n, &i| n.times(Monomial::dim(dims[i])))
        };
        let m: Vec<usize> = (0..da.len())
            .filter(|i| batch.iter().all(|p| p.0 != *i) && sum.iter().all(|p| p.0 != *i))
            .collect();
        let (m, n) = (size(&da, &m), size(&db, &right.free));
        let k = size(&db, &right.sum);
        let extents: Vec<Dim> = batch.iter().map(|p| da[p.0]).collect();
        let out = self.room(&self.name(v), &ty);
        if self.nested {
            self.tile_product(&extents, (m, n, k), &left, &right_of, &out)?;
        } else {
            self.dense(&extents, (m, n, k), &left, &right_of, &out)?;
        }
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// An operand whose axes of one kind can be walked as one; copied where they cannot.
    fn operand(
        &mut self,
        v: nestor_ir::tensor::Value,
        sides: &Sides,
        right: bool,
    ) -> Result<Operand, PassError> {
        let view = self.settled(v)?;
        if let Some(operand) = self.as_matrices(&view, sides, right) {
            return Ok(operand);
        }
        let (second, third) =
            if right { (&sides.sum, &sides.free) } else { (&sides.free, &sides.sum) };
        let order: Vec<usize> =
            sides.batch.iter().chain(second).chain(third).copied().collect();
        let copy = self.copied(&view.transposed(&order), "pack")?;
        // A chunk of a stream is loaded once.
        let mut back = vec![0; order.len()];
        for (i, &axis) in order.iter().enumerate() {
            back[axis] = i;
        }
        let seen = copy.transposed(&back);
        let loaded =
            view.limit.is_some() && matches!(self.known[v.index()], Some(Known::At(_)));
        if loaded {
            self.known[v.index()] = Some(Known::At(seen.clone()));
        }
        self.as_matrices(&seen, sides, right).ok_or_else(|| bug("a packed operand"))
    }

    fn as_matrices(&self, view: &View, sides: &Sides, right: bool) -> Option<Operand> {
        if view.limit.is_some() {
            return None;
        }
        let of = |axes: &[usize]| {
            let dims: Vec<Dim> = axes.iter().map(|&i| view.dims[i]).collect();
            let strides: Vec<Monomial> = axes.iter().map(|&i| view.strides[i]).collect();
            (dims, strides)
        };
        let (dims, strides) = of(&sides.free);
        let free = collapse(&dims, &strides)?;
        let (dims, strides) = of(&sides.sum);
        let sum = collapse(&dims, &strides)?;
        let (dims, batch) = of(&sides.batch);
        let batch = if self.nested {
            batch
        } else {
            let one = if dims.is_empty() {
                Monomial::number(0)
            } else {
                collapse(&dims, &batch)?
            };
            vec![one]
        };
        // The tile product walks rows of its right operand one element after another.
        let wide = sides.free.iter().any(|&i| view.dims[i] != Dim::Fixed(1));
        if self.nested && right && wide && free != Monomial::number(1) {
            return None;
        }
        Some(Operand { view: view.clone(), batch, free, sum })
    }

    fn dense(
        &mut self,
        batch: &[Dim],
        (m, n, k): (Monomial, Monomial, Monomial),
        left: &Operand,
        right: &Operand,
        out: &View,
    ) -> Result<(), PassError> {
        let operand = |view: &View, batch: Monomial, row: Monomial, column: Monomial| {
            let Home::Tensor(tensor) = view.home else {
                return Err(bug("a product of scratch outside of a kernel"));
            };
            Ok(DenseOperand { tensor, origin: view.origin.clone(), batch, row, column })
        };
        let one = Monomial::number(1);
        let dense = Dense {
            batch: batch.iter().fold(one, |n, d| n.times(Monomial::dim(*d))),
            m,
            n,
            k,
            alpha: 1.0,
            left: operand(&left.view, left.batch[0], left.free, left.sum)?,
            right: operand(&right.view, right.batch[0], right.sum, right.free)?,
            out: operand(out, m.times(n), n, one)?,
            accumulate: false,
        };
        self.session.plan.launches.push(Launch::Dense(dense));
        Ok(())
    }

    fn tile_product(
        &mut self,
        batch: &[Dim],
        (m, n, k): (Monomial, Monomial, Monomial),
        left: &Operand,
        right: &Operand,
        out: &View,
    ) -> Result<(), PassError> {
        let fixed = |m: Monomial| {
            let n = usize::try_from(m.factor).unwrap_or(0);
            (Affine::from(m) == Affine::number(m.factor))
                .then_some(Dim::Fixed(n))
                .ok_or_else(|| bug("a tile whose size is not fixed"))
        };
        let (m_dim, n_dim, k_dim) = (fixed(m)?, fixed(n)?, fixed(k)?);
        let mut at =
            [left.view.origin.clone(), right.view.origin.clone(), out.origin.clone()];
        let mut loops = Vec::new();
        for (i, &extent) in batch.iter().enumerate() {
            let index = self.frame.index();
            let steps = [left.batch[i], right.batch[i], out.strides[i]];
            for (at, step) in at.iter_mut().zip(steps) {
                *at = std::mem::take(at).plus(&Affine::index(index, step));
            }
            loops.push((index, extent));
        }
        let [left_at, right_at, out_at] = at;
        let one = Monomial::number(1);
        let left_place = self.place(left.view.home, false);
        let right_place = self.place(right.view.home, false);
        let out_place = self.place(out.home, true);
        let mut body = vec![Stmt::Product {
            m: m_dim,
            n: n_dim,
            k: k_dim,
            alpha: 1.0,
            left: matrix(left_place, left_at, left.free, left.sum),
            right: matrix(right_place, right_at, right.sum, right.free),
            out: matrix(out_place, out_at, n, one),
            accumulate: false,
            shape: Shape::Full,
        }];
        for (index, extent) in loops.into_iter().rev() {
            body = vec![Stmt::Loop { index, extent, reverse: false, body }];
        }
        self.frame.body.extend(body);
        Ok(())
    }

    /// As a map that folds products: where one side has no free axis, for every token.
    fn fold_products(
        &mut self,
        node: &NodeData,
        left: &Sides,
        right: &Sides,
        da: &Dims,
        db: &Dims,
    ) -> Result<(), PassError> {
        let (a, b, v) = (node.operands[0], node.operands[1], node.results[0]);
        self.prepare(a)?;
        self.prepare(b)?;
        let ty = self.graph.ty(v).clone();
        let kept = ty.dims.len();
        let mut space = ty.dims.clone();
        space.extend(left.sum.iter().map(|&i| da[i]));
        let to = self.room(&self.name(v), &ty);
        let (nb, nm) = (left.batch.len(), left.free.len());
        let value = |l: &mut Self, p: &mut super::expression::Program, at: &[Coord]| {
            let side = |s: &Sides, rank: usize, free: usize| -> Vec<Coord> {
                let mut out = vec![at[0].clone(); rank];
                for (i, &axis) in s.batch.iter().enumerate() {
                    out[axis] = at[i].clone();
                }
                for (i, &axis) in s.free.iter().enumerate() {
                    out[axis] = at[free + i].clone();
                }
                for (i, &axis) in s.sum.iter().enumerate() {
                    out[axis] = at[kept + i].clone();
                }
                out
            };
            let x = l.scalar(p, a, &side(left, da.len(), nb))?;
            let y = l.scalar(p, b, &side(right, db.len(), nb + nm))?;
            Ok(p.real(ScalarOp::Mul, &[x, y]))
        };
        let kept_axes: Vec<usize> = (0..kept).collect();
        let summed: Vec<usize> = (kept..space.len()).collect();
        self.folded(Fold::Sum, &space, &kept_axes, &summed, &to, value)?;
        self.known[v.index()] = Some(Known::At(to));
        Ok(())
    }
}
