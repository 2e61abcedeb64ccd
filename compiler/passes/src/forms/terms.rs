//! Writes: products of low rank, of which one factor may wait for reads.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Affine, Factor, Matrix, Right, Row, Term};
use crate::build::{mul, reshape};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Op, Value};
use nestor_ir::ty::Dims;

impl Chunk<'_> {
    /// The outer product of a waiting read with something known: `row` summed over its rows.
    pub(super) fn written(
        &mut self,
        row: &Row,
        known: Mapped,
        (row_sums, known_sums): (&[usize], &[usize]),
        row_first: bool,
        dims: Dims,
    ) -> Result<Matrix, Reason> {
        let (rows, _) = row.axes();
        let mut pairs: Vec<(usize, usize)> =
            row_sums.iter().copied().zip(known_sums.iter().copied()).collect();
        pairs.sort_unstable();
        if !pairs.iter().map(|p| p.0).eq(rows.iter().copied()) {
            return Err(Reason::new("an error is multiplied by a matrix"));
        }
        let rank = self.g.ty(known.value).rank() - usize::from(known.mapped);
        let sums: Vec<usize> = pairs.iter().map(|p| p.1).collect();
        let free: Vec<usize> = (0..rank).filter(|a| !sums.contains(a)).collect();
        let flat = self.flat(known, &sums, &free)?;
        let rank = self.rank_of(flat)?;
        let v = row.columns.len();
        let mut affine = row.affine.clone();
        let mut left = Some(flat);
        if free.is_empty() {
            let dim = self.g.ty(flat).dims[0];
            let factor = reshape(&mut self.g, flat, &[dim]);
            affine = self.affine_scaled(&affine, factor);
            left = None;
        }
        let (left_axes, right_axes): (Axes, Axes) = if row_first {
            ((v..dims.len()).collect(), (0..v).collect())
        } else {
            ((0..free.len()).collect(), (free.len()..dims.len()).collect())
        };
        let term =
            Term { left, left_axes, right: Right::Affine(affine), right_axes, rank };
        Ok(self.of_term(dims, term))
    }

    /// The outer product of a function of reads with something known.
    pub(super) fn function_written(
        &mut self,
        value: Value,
        known: Mapped,
        function_first: bool,
        dims: Dims,
    ) -> Result<Matrix, Reason> {
        let rank = self.g.ty(known.value).rank() - usize::from(known.mapped);
        let all: Vec<usize> = (0..rank).collect();
        let left = Some(self.flat(known, &[], &all)?);
        let split = if function_first { dims.len() - rank } else { rank };
        let (a, b): (Axes, Axes) = ((0..split).collect(), (split..dims.len()).collect());
        let (left_axes, right_axes) = if function_first { (b, a) } else { (a, b) };
        let right = Right::Function(value, None);
        let term = Term { left, left_axes, right, right_axes, rank: 1 };
        Ok(self.of_term(dims, term))
    }

    /// An affine value with every row multiplied by its own number.
    pub(super) fn affine_scaled(&mut self, affine: &Affine, factor: Value) -> Affine {
        let mut reads = Vec::new();
        for &(read, by) in &affine.reads {
            reads.push((read, self.factors_joined(Op::Mul, by, factor)));
        }
        let free = affine.free.map(|free| self.scaled_rows(factor, free));
        Affine { reads, free }
    }

    /// A term with a gate moved into the factor that lies along its axes.
    pub(super) fn term_scaled(
        &mut self,
        id: usize,
        factor: &Factor,
        dims: &[Dim],
    ) -> Result<Term, Reason> {
        let mut term = self.terms[id].clone();
        let value = self.lifted(factor.value);
        let along = |axes: &Axes| -> Result<[Dim; 2], Reason> {
            let all: Vec<Dim> = axes.iter().map(|&a| dims[a]).collect();
            Ok([Dim::Fixed(self.rows), Dim::Fixed(super::flat::size(&all)?)])
        };
        let shape = along(&factor.axes)?;
        let value = reshape(&mut self.g, value, &shape);
        let value = self.channels_per_row(value, term.rank);
        if factor.axes == term.left_axes {
            term.left = term.left.map(|left| mul(&mut self.g, left, value));
        } else if factor.axes == term.right_axes {
            term.right = match term.right {
                Right::Known(right) => Right::Known(mul(&mut self.g, right, value)),
                Right::Affine(affine) => {
                    Right::Affine(self.affine_scaled(&affine, value))
                }
                Right::Function(error, factor) => {
                    let value = match factor {
                        Some(factor) => mul(&mut self.g, factor, value),
                        None => value,
                    };
                    Right::Function(error, Some(value))
                }
            };
        } else {
            return Err(Reason::new("a gate that lies across the factors of a write"));
        }
        Ok(term)
    }

    /// A small value, written as it is.
    pub(super) fn single_term(
        &mut self,
        dims: Dims,
        left: Option<Value>,
        right: Right,
    ) -> Matrix {
        let right_axes = (0..dims.len()).collect();
        let term = Term { left, left_axes: Axes::new(), right, right_axes, rank: 1 };
        self.of_term(dims, term)
    }

    /// The term alone, as a matrix.
    pub(super) fn of_term(&mut self, dims: Dims, term: Term) -> Matrix {
        self.terms.push(term);
        let one = self.number(1.0);
        Matrix { dims, sources: Vec::new(), terms: vec![(self.terms.len() - 1, one)] }
    }

    /// Rows a token of something flat.
    pub(super) fn rank_of(&self, flat: Value) -> Result<usize, Reason> {
        let rows = self.g.ty(flat).dims[0].fixed();
        Ok(rows.ok_or_else(|| Reason::new("rows of run-time size"))? / self.rows)
    }
}
