//! Small builders for values of a chunk: numbers per token, flat rows, masks.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Factor, Right, Term};
use crate::build::{
    broadcast, broadcast_leading, contract, mul, reshape, scale, select, transpose,
};
use crate::vectorise::{Mapped, lift, vectorise_node};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Op, Value};
use nestor_ir::ty::Dims;

/// The number of elements of a shape that is known.
pub(super) fn size(dims: &[Dim]) -> Result<usize, Reason> {
    dims.iter()
        .map(|d| d.fixed())
        .product::<Option<usize>>()
        .ok_or_else(|| Reason::new("a state or a read has a size that is not fixed"))
}

impl Chunk<'_> {
    /// `op` on values of all tokens.
    pub(super) fn all(&mut self, op: &Op, operands: &[Mapped]) -> Result<Mapped, Reason> {
        let lead = [self.dim()];
        let found = vectorise_node(&mut self.g, op, operands, &lead)
            .map_err(|e| Reason::new(e.to_string()))?;
        Ok(found[0])
    }

    /// A number that is the same for every token.
    pub(super) fn number(&mut self, value: f64) -> Mapped {
        Mapped::shared(crate::build::scalar(&mut self.g, value))
    }

    /// A gate of one number.
    pub(super) fn one(&mut self) -> Factor {
        Factor { value: self.number(1.0), axes: Axes::new() }
    }

    /// The product of gates of a state of shape `dims`.
    pub(super) fn times(
        &mut self,
        a: &Factor,
        b: &Factor,
        dims: &[Dim],
    ) -> Result<Factor, Reason> {
        if a.axes.is_empty() && self.uniform(a.value) == Some(1.0) {
            return Ok(b.clone());
        }
        if b.axes.is_empty() && self.uniform(b.value) == Some(1.0) {
            return Ok(a.clone());
        }
        if let (true, Some(x), Some(y)) = (
            a.axes.is_empty() && b.axes.is_empty(),
            self.uniform(a.value),
            self.uniform(b.value),
        ) {
            return Ok(Factor { value: self.number(x * y), axes: Axes::new() });
        }
        self.combined(&Op::Mul, &[a, b], dims)
    }

    /// `op` on gates of a state of shape `dims`.
    pub(super) fn combined(
        &mut self,
        op: &Op,
        parts: &[&Factor],
        dims: &[Dim],
    ) -> Result<Factor, Reason> {
        let axes: Axes = (0..dims.len())
            .filter(|a| parts.iter().any(|p| p.axes.contains(a)))
            .collect();
        let mut values = Vec::new();
        for part in parts {
            values.push(self.along(part, &axes, dims)?);
        }
        Ok(Factor { value: self.all(op, &values)?, axes })
    }

    /// A gate repeated along further axes.
    pub(super) fn along(
        &mut self,
        factor: &Factor,
        axes: &[usize],
        dims: &[Dim],
    ) -> Result<Mapped, Reason> {
        if factor.axes[..] == *axes {
            return Ok(factor.value);
        }
        let to =
            factor.axes.iter().filter_map(|a| axes.iter().position(|b| a == b)).collect();
        let dims = axes.iter().map(|&a| dims[a]).collect();
        self.all(&Op::Broadcast { dims, axes: to }, &[factor.value])
    }

    /// The constant, where a number is one.
    pub(super) fn uniform(&self, a: Mapped) -> Option<f64> {
        crate::build::uniform(&self.g, a.value)
    }

    /// `[C]`, whatever it was.
    pub(super) fn lifted(&mut self, a: Mapped) -> Value {
        let lead = [self.dim()];
        lift(&mut self.g, a, &lead)
    }

    /// `[C]`, `otherwise` in the rows that are not there.
    pub(super) fn masked(&mut self, a: Mapped, otherwise: f64) -> Value {
        let is_so = otherwise == 0.0 && self.ends(a.value);
        let a = self.lifted(a);
        if is_so {
            return a;
        }
        let other = crate::build::full_like(&mut self.g, a, otherwise);
        select(&mut self.g, self.valid, a, other)
    }

    /// What a write is multiplied by: zero in rows that are not there, but where it is a number and the write is zero there anyway.
    pub(super) fn write_factor(&mut self, term: usize, factor: Mapped) -> Value {
        let Term { left, right, .. } = &self.terms[term];
        let known = match right {
            Right::Known(right) => Some(*right),
            Right::Affine(_) | Right::Function(..) => None,
        };
        let ends = left.iter().chain(&known).any(|v| self.ends(*v));
        match ends && self.uniform(factor).is_some_and(f64::is_finite) {
            true => self.lifted(factor),
            false => self.masked(factor, 0.0),
        }
    }

    /// Whether a value of tokens is zero in rows that are not there, as what is fed is.
    fn ends(&self, v: Value) -> bool {
        let node = self.g.def(v);
        match node.op {
            Op::Input { .. } => self.streams.contains(&v),
            Op::Neg | Op::Reshape { .. } | Op::Transpose { .. } => {
                self.ends(node.operands[0])
            }
            Op::Mul => {
                let (a, b) = (node.operands[0], node.operands[1]);
                self.ends(a) || a != b && self.ends(b)
            }
            _ => false,
        }
    }

    /// A token's value as flat rows: `[C Q, V]`.
    pub(super) fn flat(
        &mut self,
        value: Mapped,
        rows: &[usize],
        columns: &[usize],
    ) -> Result<Value, Reason> {
        let value = self.lifted(value);
        let dims = self.g.ty(value).dims.clone();
        let order: Vec<usize> =
            std::iter::once(0).chain(rows.iter().chain(columns).map(|a| a + 1)).collect();
        let of = |axes: &[usize]| -> Result<usize, Reason> {
            size(&axes.iter().map(|&a| dims[a + 1]).collect::<Vec<_>>())
        };
        let flat = [Dim::Fixed(self.rows * of(rows)?), Dim::Fixed(of(columns)?)];
        let value = transpose(&mut self.g, value, &order);
        Ok(reshape(&mut self.g, value, &flat))
    }

    /// Flat rows as a token's value with the chunk in front.
    pub(super) fn unflat(
        &mut self,
        value: Value,
        rows: &[Dim],
        columns: &[Dim],
        columns_first: bool,
    ) -> Mapped {
        let dims: Dims =
            [self.dim()].iter().chain(rows).chain(columns).copied().collect();
        let value = reshape(&mut self.g, value, &dims);
        if !columns_first {
            return Mapped::all(value);
        }
        let (q, n) = (rows.len(), dims.len());
        let order: Vec<usize> =
            std::iter::once(0).chain(q + 1..n).chain(1..q + 1).collect();
        Mapped::all(transpose(&mut self.g, value, &order))
    }

    /// A number per token as one per row: `[C]` to `[C Q]`.
    pub(super) fn per_row(&mut self, a: Mapped, rows: usize) -> Value {
        let a = self.lifted(a);
        if rows == 1 {
            return a;
        }
        let dims = [self.dim(), Dim::Fixed(rows)];
        let a = broadcast_leading(&mut self.g, a, &dims);
        reshape(&mut self.g, a, &[Dim::Fixed(self.rows * rows)])
    }

    /// Numbers per row and channel from numbers per token and channel: `[C, D]` to `[C Q, D]`.
    pub(super) fn channels_per_row(&mut self, a: Value, rows: usize) -> Value {
        if rows == 1 {
            return a;
        }
        let d = self.g.ty(a).dims[1];
        let dims = [self.dim(), Dim::Fixed(rows), d];
        let a = broadcast(&mut self.g, a, &dims, &[0, 2]);
        reshape(&mut self.g, a, &[Dim::Fixed(self.rows * rows), d])
    }

    /// Rows times a number each, or one for each entry: `[C Q]` or `[C Q, V]` by `[C Q, V]`.
    pub(super) fn scaled_rows(&mut self, factor: Value, rows: Value) -> Value {
        if crate::build::uniform(&self.g, factor) == Some(1.0) {
            return rows;
        }
        let factor = self.per_entry(factor, rows);
        mul(&mut self.g, factor, rows)
    }

    fn per_entry(&mut self, factor: Value, like: Value) -> Value {
        let dims = self.g.ty(like).dims.clone();
        broadcast_leading(&mut self.g, factor, &dims)
    }

    /// The sum or product of factors of rows, of which either may differ by column.
    pub(super) fn factors_joined(&mut self, op: Op, a: Value, b: Value) -> Value {
        let (a, b) = match self.g.ty(a).rank().cmp(&self.g.ty(b).rank()) {
            std::cmp::Ordering::Less => (self.per_entry(a, b), b),
            std::cmp::Ordering::Greater => (a, self.per_entry(b, a)),
            std::cmp::Ordering::Equal => (a, b),
        };
        self.g.add(op, &[a, b])
    }

    /// Weights of earlier tokens times products of their vectors: `[C Q, C R]` from `[C, C]`.
    pub(super) fn weighted(
        &mut self,
        weights: Value,
        rows: usize,
        rank: usize,
        products: Option<Value>,
    ) -> Value {
        let c = self.dim();
        let mut weights = weights;
        if rows != 1 || rank != 1 {
            let dims = [c, Dim::Fixed(rows), c, Dim::Fixed(rank)];
            weights = broadcast(&mut self.g, weights, &dims, &[0, 2]);
            let flat = [Dim::Fixed(self.rows * rows), Dim::Fixed(self.rows * rank)];
            weights = reshape(&mut self.g, weights, &flat);
        }
        match products {
            Some(products) => mul(&mut self.g, weights, products),
            None => weights,
        }
    }

    /// `-a`
    pub(super) fn negative(&mut self, a: Value) -> Value {
        scale(&mut self.g, a, -1.0)
    }

    /// `a b'`
    pub(super) fn by_rows(&mut self, a: Value, b: Value) -> Value {
        contract(&mut self.g, a, b, &[], &[(1, 1)])
    }

    /// `a b`
    pub(super) fn product(&mut self, a: Value, b: Value) -> Value {
        contract(&mut self.g, a, b, &[], &[(1, 0)])
    }
}
