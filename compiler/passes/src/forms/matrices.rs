//! The algebra of matrices that are never built, and what of a token's values is one.
//!
//! A value that is known is taken apart by how it was made: an outer product is a term, a number
//! repeated over a matrix is a gate, a learned matrix is a state that never changes. A small
//! value (a vector, a number) is a term by itself.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a matrix is recognised by the few ops it is made with; all others make none"
)]

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Factor, Matrix, Right, Row, Slot, Source, Term};
use crate::build::reshape;
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axes, Op, Value};
use nestor_ir::ty::Dims;

impl Chunk<'_> {
    /// A token's value as a matrix.
    pub(super) fn matrix(&mut self, value: Value) -> Result<Matrix, Reason> {
        match self.value(value) {
            Abstract::Matrix(matrix) => Ok(matrix),
            Abstract::Known(known) => {
                if let Some(found) = &self.factored[value.index()] {
                    return Ok(found.clone());
                }
                let found = self.factors(value, known)?;
                self.factored[value.index()] = Some(found.clone());
                Ok(found)
            }
            Abstract::Row(row) if row.rows.is_empty() && row.columns.len() < 2 => {
                let dims = row.columns.clone();
                Ok(self.single_term(dims, None, Right::Affine(row.affine)))
            }
            Abstract::Function if self.body.ty(value).rank() < 2 => {
                let dims = self.body.ty(value).dims.clone();
                Ok(self.single_term(dims, None, Right::Function(value, None)))
            }
            Abstract::Row(_) | Abstract::Function => {
                Err(Reason::new("a read of rows is added to a state"))
            }
            Abstract::Top(reason) => Err(reason),
        }
    }

    /// How a known value is made of terms.
    fn factors(&mut self, value: Value, known: Mapped) -> Result<Matrix, Reason> {
        let dims = self.body.ty(value).dims.clone();
        if crate::build::uniform(self.body, value) == Some(0.0) {
            return Ok(Matrix { dims, sources: Vec::new(), terms: Vec::new() });
        }
        if dims.len() < 2 {
            let axes: Vec<usize> = (0..dims.len()).collect();
            let right = self.flat(known, &[], &axes)?;
            return Ok(self.single_term(dims, None, Right::Known(right)));
        }
        let node = self.body.def(value).clone();
        let x = &node.operands;
        match &node.op {
            Op::Neg => {
                let a = self.matrix(x[0])?;
                let minus = self.minus_one();
                self.matrix_scaled(a, &minus)
            }
            Op::Add | Op::Sub => self.matrices_added(x[0], x[1], node.op == Op::Sub),
            Op::Mul => {
                let product = self.broadcast_product(x[0], x[1], dims);
                if product.is_ok() {
                    return product;
                }
                let Some((factor, other)) = self.factor_of(x[0], x[1]) else {
                    return self.constant(value, known);
                };
                if factor.axes.len() > 1 {
                    return self.constant(value, known);
                }
                let a = self.matrix(other)?;
                self.matrix_scaled(a, &factor)
            }
            Op::Div => match self.factor(x[1]) {
                Some(by) if by.axes.len() < 2 => {
                    let a = self.matrix(x[0])?;
                    let by = self.inverse(&by)?;
                    self.matrix_scaled(a, &by)
                }
                _ => self.constant(value, known),
            },
            // What is held over the chunk is no choice any more.
            Op::Select if known.mapped => match self.factor(x[0]) {
                Some(when) if when.axes.is_empty() => {
                    self.matrices_chosen(&when, x[1], x[2])
                }
                _ => self.constant(value, known),
            },
            Op::Contract { batch, sum } if batch.is_empty() => {
                let (l, r): (Vec<usize>, Vec<usize>) = sum.iter().copied().unzip();
                let sides = [l, r];
                let free = |side: usize, chunk: &Self| -> Vec<usize> {
                    let rank = chunk.body.ty(x[side]).rank();
                    (0..rank).filter(|a| !sides[side].contains(a)).collect()
                };
                let (fa, fb) = (free(0, self), free(1, self));
                if fa.is_empty() || fb.is_empty() {
                    return self.constant(value, known);
                }
                let (Abstract::Known(a), Abstract::Known(b)) =
                    (self.value(x[0]), self.value(x[1]))
                else {
                    return self.constant(value, known);
                };
                let left = self.flat(a, &sides[0], &fa)?;
                let right = self.flat(b, &sides[1], &fb)?;
                let rank = self.rank_of(left)?;
                let split = fa.len();
                let term = Term {
                    left: Some(left),
                    left_axes: (0..split).collect(),
                    right: Right::Known(right),
                    right_axes: (split..dims.len()).collect(),
                    rank,
                };
                Ok(self.of_term(dims, term))
            }
            Op::Transpose { order } => {
                let inner = self.matrix(x[0])?;
                self.matrix_turned(inner, order)
            }
            _ => self.constant(value, known),
        }
    }

    /// `a[i] b[j]` written as a product of repetitions.
    fn broadcast_product(
        &mut self,
        a: Value,
        b: Value,
        dims: Dims,
    ) -> Result<Matrix, Reason> {
        let repeated = |v: Value| match &self.body.def(v).op {
            Op::Broadcast { axes, .. } => {
                Some((self.body.def(v).operands[0], axes.clone()))
            }
            _ => None,
        };
        let outer = "a write that is no sum of outer products";
        let (Some((a, left_axes)), Some((b, right_axes))) = (repeated(a), repeated(b))
        else {
            return Err(Reason::new(outer));
        };
        let apart = left_axes.iter().all(|i| !right_axes.contains(i));
        let (Abstract::Known(x), Abstract::Known(y)) = (self.value(a), self.value(b))
        else {
            return Err(Reason::new(outer));
        };
        if !apart || left_axes.len() + right_axes.len() != dims.len() {
            return Err(Reason::new(outer));
        }
        let all = |axes: &Axes| (0..axes.len()).collect::<Vec<_>>();
        let left = Some(self.flat(x, &[], &all(&left_axes))?);
        let right = Right::Known(self.flat(y, &[], &all(&right_axes))?);
        let term = Term { left, left_axes, right, right_axes, rank: 1 };
        Ok(self.of_term(dims, term))
    }

    /// A learned matrix: a state that never changes.
    fn constant(&mut self, value: Value, known: Mapped) -> Result<Matrix, Reason> {
        if known.mapped {
            return Err(Reason::new("a write that is no sum of outer products"));
        }
        // A state may begin with the same value, but does not stay it.
        let constant = |s: &Slot| s.next.is_none() && s.start == known.value;
        let slot = self.slots.iter().position(constant);
        let slot = slot.unwrap_or_else(|| {
            self.slots.push(Slot {
                input: value,
                next: None,
                start: known.value,
                solved: None,
            });
            self.slots.len() - 1
        });
        let one = self.one();
        let dims = self.body.ty(value).dims.clone();
        Ok(super::reads::as_it_stands(&dims, Source { slot, after: false }, one))
    }

    /// `factor a`
    pub(super) fn matrix_scaled(
        &mut self,
        a: Matrix,
        factor: &Factor,
    ) -> Result<Matrix, Reason> {
        let mut out = a;
        for (_, gate) in &mut out.sources {
            *gate = self.times(gate, factor, &out.dims)?;
        }
        for (id, by) in &mut out.terms {
            if factor.axes.is_empty() {
                let before = Factor { value: *by, axes: Axes::new() };
                *by = self.times(&before, factor, &out.dims)?.value;
            } else {
                let term = self.term_scaled(*id, factor, &out.dims)?;
                self.terms.push(term);
                *id = self.terms.len() - 1;
            }
        }
        Ok(out)
    }

    /// `a + b` or `a - b`
    pub(super) fn matrices_added(
        &mut self,
        a: Value,
        b: Value,
        minus: bool,
    ) -> Result<Matrix, Reason> {
        let mut out = self.matrix(a)?;
        let mut b = self.matrix(b)?;
        let dims = out.dims.clone();
        if minus {
            let minus = self.minus_one();
            b = self.matrix_scaled(b, &minus)?;
        }
        for (source, gate) in b.sources {
            match out.sources.iter().position(|s| s.0 == source) {
                Some(at) => {
                    let both = [&out.sources[at].1, &gate];
                    match (self.constant_gate(both[0]), self.constant_gate(both[1])) {
                        (Some(a), Some(b)) if a + b == 0.0 => {
                            out.sources.remove(at);
                        }
                        (Some(a), Some(b)) => {
                            out.sources[at].1.value = self.number(a + b);
                        }
                        _ => {
                            let sum = self.combined(&Op::Add, &both, &dims)?;
                            out.sources[at].1 = sum;
                        }
                    }
                }
                None => out.sources.push((source, gate)),
            }
        }
        for (term, by) in b.terms {
            match out.terms.iter().position(|t| t.0 == term) {
                Some(at) => {
                    out.terms[at].1 = self.all(&Op::Add, &[out.terms[at].1, by])?
                }
                None => out.terms.push((term, by)),
            }
        }
        Ok(out)
    }

    /// The number that a gate is, where it is one.
    fn constant_gate(&self, gate: &Factor) -> Option<f64> {
        if gate.axes.is_empty() { self.uniform(gate.value) } else { None }
    }

    /// `-1`
    pub(super) fn minus_one(&mut self) -> Factor {
        Factor { value: self.number(-1.0), axes: Axes::new() }
    }

    /// `if when then a else b`, the condition known.
    pub(super) fn matrices_chosen(
        &mut self,
        when: &Factor,
        a: Value,
        b: Value,
    ) -> Result<Matrix, Reason> {
        let (a, b) = (self.matrix(a)?, self.matrix(b)?);
        let dims = a.dims.clone();
        let zero = Factor { value: self.number(0.0), axes: Axes::new() };
        let mut out = Matrix { dims: dims.clone(), sources: vec![], terms: vec![] };
        let mut sources: Vec<Source> =
            a.sources.iter().chain(&b.sources).map(|s| s.0).collect();
        sources.dedup();
        for (k, &source) in sources.iter().enumerate() {
            if sources[..k].contains(&source) {
                continue;
            }
            let of = |m: &Matrix| {
                let found = m.sources.iter().find(|s| s.0 == source);
                found.map_or(zero.clone(), |s| s.1.clone())
            };
            let gate = self.combined(&Op::Select, &[when, &of(&a), &of(&b)], &dims)?;
            out.sources.push((source, gate));
        }
        if !when.axes.is_empty() {
            if a.terms.is_empty() && b.terms.is_empty() {
                return Ok(out);
            }
            return Err(Reason::new("a choice of writes that differs within the state"));
        }
        let terms: Vec<usize> = a.terms.iter().chain(&b.terms).map(|t| t.0).collect();
        for (k, &term) in terms.iter().enumerate() {
            if terms[..k].contains(&term) {
                continue;
            }
            let of = |m: &Matrix| {
                m.terms.iter().find(|t| t.0 == term).map_or(zero.value, |t| t.1)
            };
            let by = self.all(&Op::Select, &[when.value, of(&a), of(&b)])?;
            out.terms.push((term, by));
        }
        Ok(out)
    }

    /// A matrix of terms alone with its axes exchanged.
    pub(super) fn matrix_turned(
        &mut self,
        a: Matrix,
        order: &[usize],
    ) -> Result<Matrix, Reason> {
        if !a.sources.is_empty() {
            return Err(Reason::new("a state is transposed"));
        }
        let to = |axes: &Axes| -> Axes {
            axes.iter().filter_map(|a| order.iter().position(|o| o == a)).collect()
        };
        let dims: Dims = order.iter().map(|&o| a.dims[o]).collect();
        let mut terms = Vec::new();
        for (id, by) in a.terms {
            let mut term = self.terms[id].clone();
            term.left_axes = to(&term.left_axes);
            term.right_axes = to(&term.right_axes);
            let ascending = |axes: &Axes| axes.windows(2).all(|w| w[0] < w[1]);
            if !ascending(&term.left_axes) || !ascending(&term.right_axes) {
                return Err(Reason::new("the axes of a write are mixed"));
            }
            self.terms.push(term);
            terms.push((self.terms.len() - 1, by));
        }
        Ok(Matrix { dims, sources: Vec::new(), terms })
    }

    /// A known value as a gate: along as few axes as it is made of.
    pub(super) fn factor(&mut self, value: Value) -> Option<Factor> {
        let Abstract::Known(known) = self.value(value) else { return None };
        let rank = self.body.ty(value).rank();
        if rank > 0
            && let Some(n) = crate::build::uniform(self.body, value)
        {
            return Some(Factor { value: self.number(n), axes: Axes::new() });
        }
        let node = self.body.def(value);
        if let Op::Broadcast { axes, .. } = &node.op {
            let inner = self.factor(node.operands[0])?;
            let axes = inner.axes.iter().map(|&a| axes[a]).collect();
            return Some(Factor { value: inner.value, axes });
        }
        Some(Factor { value: known, axes: (0..rank).collect() })
    }

    /// A known value as a gate, and the other operand.
    pub(super) fn factor_of(&mut self, a: Value, b: Value) -> Option<(Factor, Value)> {
        match (self.factor(a), self.factor(b)) {
            (Some(x), Some(y)) if y.axes.len() < x.axes.len() => Some((y, a)),
            (Some(x), _) => Some((x, b)),
            (None, Some(y)) => Some((y, a)),
            (None, None) => None,
        }
    }

    /// `1 / a`
    pub(super) fn inverse(&mut self, a: &Factor) -> Result<Factor, Reason> {
        let one = self.number(1.0);
        let shape = self.g.ty(a.value.value).dims.clone();
        let lead = usize::from(a.value.mapped);
        let op = Op::Broadcast { dims: shape[lead..].into(), axes: Axes::new() };
        let one = self.all(&op, &[one])?;
        Ok(Factor { value: self.all(&Op::Div, &[one, a.value])?, axes: a.axes.clone() })
    }

    /// A known factor of a value of this shape: a number for every row, `[C Q]`, where it is the
    /// same along the columns, and one for every entry, `[C Q, V]`, otherwise.
    pub(super) fn row_factor(
        &mut self,
        value: Value,
        row: &Row,
    ) -> Result<Option<Value>, Reason> {
        let count = super::flat::size(&row.rows)?;
        let (rows, columns) = row.axes();
        let Some(factor) = self.factor(value) else { return Ok(None) };
        if factor.axes.is_empty() {
            return Ok(Some(self.per_row(factor.value, count)));
        }
        let dims = self.body.ty(value).dims.clone();
        if factor.axes.iter().all(|a| rows.contains(a)) {
            let value = self.along(&factor, &rows, &dims)?;
            let value = self.lifted(value);
            let flat = [Dim::Fixed(self.rows * count)];
            return Ok(Some(reshape(&mut self.g, value, &flat)));
        }
        let all: Vec<usize> = (0..dims.len()).collect();
        let value = self.along(&factor, &all, &dims)?;
        self.flat(value, &rows, &columns).map(Some)
    }
}
