//! Products: to the library outside of walks, to the tile product inside.

use super::bug;
use super::frame::matrix;
use super::lower::{Known, Lower};
use super::view::{Home, View, collapse};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, Launch};
use nestor_ir::tensor::{NodeData, Op};
use nestor_ir::tile::{Affine, Monomial, Part, Shape, Stmt};
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

/// Sizes of a product, and what becomes of it.
struct How {
    m: Monomial,
    n: Monomial,
    k: Monomial,
    alpha: f64,
    accumulate: bool,
    shape: Shape,
}

/// Which operand of a product, and how it may lie.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    /// The right one of few rows: the product transposes the left one and the result where that is less.
    Turned,
}

/// Whether the left operand and the result are smaller than the right operand, which need not be turned then.
fn few_rows(how: &How) -> bool {
    let fixed =
        |m: Monomial| (Affine::from(m) == Affine::number(m.factor)).then_some(m.factor);
    match (fixed(how.m), fixed(how.n), fixed(how.k)) {
        (Some(m), Some(n), Some(k)) => {
            how.shape == Shape::Full && m >= 4 && m * (n + k) < n * k
        }
        _ => false,
    }
}

impl Lower<'_> {
    /// `sum over pairs of a b`, in a place of its own.
    pub(super) fn contract(&mut self, node: &NodeData) -> Result<(), PassError> {
        let v = node.results[0];
        let out = self.room(&self.name(v), &self.graph.ty(v).clone());
        self.product(node, &out, 1.0, false)?;
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// `out = alpha a b (+ out)`
    pub(super) fn product(
        &mut self,
        node: &NodeData,
        out: &View,
        alpha: f64,
        accumulate: bool,
    ) -> Result<(), PassError> {
        let Op::Contract { batch, sum } = &node.op else {
            return Err(bug("a product of another op"));
        };
        let (a, b) = (node.operands[0], node.operands[1]);
        let (da, db) = (self.graph.ty(a).dims.clone(), self.graph.ty(b).dims.clone());
        let sides = |n: usize, pick: fn(&(usize, usize)) -> usize| {
            let batch: Vec<usize> = batch.iter().map(pick).collect();
            let sum: Vec<usize> = sum.iter().map(pick).collect();
            let free =
                (0..n).filter(|i| !batch.contains(i) && !sum.contains(i)).collect();
            Sides { batch, free, sum }
        };
        let (left, right) = (sides(da.len(), |p| p.0), sides(db.len(), |p| p.1));
        let size = |dims: &Dims, axes: &[usize]| {
            axes.iter().fold(Monomial::number(1), |n, &i| n.times(Monomial::dim(dims[i])))
        };
        let extents: Vec<Dim> = batch.iter().map(|p| da[p.0]).collect();
        let (shape, exchanged) = match self.shape_of(node) {
            // What is added to is there as a whole.
            (Shape::OutputLower, _) if accumulate && !self.nested => (Shape::Full, false),
            found => found,
        };
        let how = How {
            m: size(&da, &left.free),
            n: size(&db, &right.free),
            k: size(&db, &right.sum),
            alpha,
            accumulate,
            shape,
        };
        let few = batch.is_empty() && few_rows(&how);
        let left = self.operand(a, &left, Side::Left)?;
        let right =
            self.operand(b, &right, if few { Side::Turned } else { Side::Right })?;
        if self.nested {
            self.tile_product(&extents, &how, &left, &right, out)
        } else {
            self.dense(&extents, &how, [&left, &right], out, exchanged)
        }
    }

    /// An operand whose axes of one kind can be walked as one; copied where they cannot.
    fn operand(
        &mut self,
        v: nestor_ir::tensor::Value,
        sides: &Sides,
        side: Side,
    ) -> Result<Operand, PassError> {
        let view = self.settled(v)?;
        if let Some(operand) = self.as_matrices(&view, sides, side) {
            return Ok(operand);
        }
        let (second, third) = match side {
            Side::Left => (&sides.free, &sides.sum),
            Side::Right | Side::Turned => (&sides.sum, &sides.free),
        };
        let order: Vec<usize> =
            sides.batch.iter().chain(second).chain(third).copied().collect();
        let turned = view.transposed(&order);
        let known = self.packs.iter().find(|(of, _)| *of == turned);
        let copy = match known.map(|(_, copy)| copy.clone()) {
            Some(copy) => copy,
            None => {
                let copy = self.copied(&turned, "pack")?;
                self.packs.push((turned, copy.clone()));
                copy
            }
        };
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
        self.as_matrices(&seen, sides, side).ok_or_else(|| bug("a packed operand"))
    }

    fn as_matrices(&self, view: &View, sides: &Sides, side: Side) -> Option<Operand> {
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
        // The tile product walks rows of its right operand one element after another, or columns where it turns
        // the others.
        let wide = sides.free.iter().any(|&i| view.dims[i] != Dim::Fixed(1));
        let one = Monomial::number(1);
        let walked = match side {
            Side::Left => true,
            Side::Right => free == one,
            Side::Turned => free == one || sum == one,
        };
        if self.nested && wide && !walked {
            return None;
        }
        Some(Operand { view: view.clone(), batch, free, sum })
    }

    /// A product of the library; `exchanged` is `outᵀ = rightᵀ leftᵀ`.
    fn dense(
        &mut self,
        batch: &[Dim],
        &How { m, n, k, alpha, accumulate, shape }: &How,
        [left, right]: [&Operand; 2],
        out: &View,
        exchanged: bool,
    ) -> Result<(), PassError> {
        let operand = |view: &View, batch: Monomial, row: Monomial, column: Monomial| {
            let Home::Tensor(tensor) = view.home else {
                return Err(bug("a product of scratch outside of a kernel"));
            };
            Ok(DenseOperand { tensor, origin: view.origin.clone(), batch, row, column })
        };
        let one = Monomial::number(1);
        let (area, [row, column]) =
            (m.times(n), if exchanged { [one, n] } else { [n, one] });
        let ([left, right], [m, n]) =
            if exchanged { ([right, left], [n, m]) } else { ([left, right], [m, n]) };
        let dense = Dense {
            batch: batch.iter().fold(one, |n, d| n.times(Monomial::dim(*d))),
            m,
            n,
            k,
            alpha,
            left: operand(&left.view, left.batch[0], left.free, left.sum)?,
            right: operand(&right.view, right.batch[0], right.sum, right.free)?,
            out: operand(out, area, row, column)?,
            accumulate,
            shape,
        };
        self.session.plan.launches.push(Launch::Dense(dense));
        Ok(())
    }

    fn tile_product(
        &mut self,
        batch: &[Dim],
        &How { m, n, k, alpha, accumulate, shape }: &How,
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
            if extent != Dim::Fixed(1) {
                for (at, step) in at.iter_mut().zip(steps) {
                    *at = std::mem::take(at).plus(&Affine::index(index, step));
                }
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
            alpha,
            left: matrix(left_place, left_at, left.free, left.sum),
            right: matrix(right_place, right_at, right.sum, right.free),
            out: matrix(out_place, out_at, n, one),
            accumulate,
            shape,
        }];
        for (index, extent) in loops.into_iter().rev() {
            body =
                vec![Stmt::Loop { index, extent, part: Part::All, reverse: false, body }];
        }
        self.frame.body.extend(body);
        Ok(())
    }
}
