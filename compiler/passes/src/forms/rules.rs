//! The abstract interpretation: one rule per op that keeps a value in the domain.
//!
//! Known operands give a known result, computed for all tokens of the chunk at once. Sums, gates
//! and outer products of matrices stay matrices; products with a matrix are reads; affine
//! functions of reads stay rows. Everything else waits until what it reads is solved.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; all others leave the domain"
)]

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Affine, Matrix, Reader, Right, Row};
use super::flat::size;
use super::gates::plus;
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, NodeData, Op, Value};
use nestor_ir::ty::Dims;

impl Chunk<'_> {
    /// Interprets the node with what is known now.
    pub(super) fn visit(&mut self, node: &NodeData) {
        let known = |a: &Option<Abstract>| matches!(a, Some(Abstract::Known(_)));
        if node.results.iter().all(|r| known(&self.values[r.index()])) {
            return;
        }
        if self.clocked.iter().any(|c| node.results.contains(&c.next)) {
            return;
        }
        if let [result] = node.results[..]
            && let Some(state) = self.solved_next(result)
        {
            self.values[result.index()] = Some(Abstract::Matrix(state));
            return;
        }
        let operands: Vec<Abstract> =
            node.operands.iter().map(|&v| self.value(v)).collect();
        let found = self.apply(node, &operands);
        match found {
            Ok(values) => {
                for (result, value) in node.results.iter().zip(values) {
                    self.values[result.index()] = Some(value);
                }
            }
            Err(reason) => {
                for result in &node.results {
                    self.values[result.index()] = Some(Abstract::Top(reason.clone()));
                }
            }
        }
    }

    fn apply(
        &mut self,
        node: &NodeData,
        operands: &[Abstract],
    ) -> Result<Vec<Abstract>, Reason> {
        if let Some(reason) = operands.iter().find_map(|o| match o {
            Abstract::Top(reason) => Some(reason.clone()),
            _ => None,
        }) {
            return Err(reason);
        }
        if let Some(known) = all_known(operands) {
            return self.repeated(&node.op, &known);
        }
        let result = node.results[0];
        match self.matrix_rule(node, operands, result) {
            Ok(Some(found)) => return Ok(vec![found]),
            Ok(None) => {}
            Err(reason) => {
                let fits = |o: &Abstract| match o {
                    Abstract::Matrix(m) if m.dims.len() > 1 => self.is_solved(m),
                    _ => true,
                };
                if !operands.iter().all(fits) {
                    return Err(reason);
                }
            }
        }
        let mut plain = Vec::new();
        for operand in operands {
            plain.push(match operand {
                Abstract::Matrix(matrix) => self.materialised(matrix)?,
                other => other.clone(),
            });
        }
        if let Some(known) = all_known(&plain) {
            return self.repeated(&node.op, &known);
        }
        let found = self.row_rule(node, &plain, result);
        if found.is_ok() || !self.substitute {
            return found.map(|found| vec![found]);
        }
        self.function_rule(node, &plain, result)
    }

    /// What is no affine function of reads is a function of them.
    fn function_rule(
        &mut self,
        node: &NodeData,
        operands: &[Abstract],
        result: Value,
    ) -> Result<Vec<Abstract>, Reason> {
        if let Op::Contract { batch, sum } = &node.op
            && batch.is_empty()
            && sum.is_empty()
        {
            let known = match operands {
                [Abstract::Function, Abstract::Known(known)] => Some((0, *known)),
                [Abstract::Known(known), Abstract::Function] => Some((1, *known)),
                _ => None,
            };
            if let Some((at, known)) = known
                && self.body.ty(node.operands[at]).rank() == 1
            {
                let dims = self.body.ty(result).dims.clone();
                let value = node.operands[at];
                let written = self.function_written(value, known, at == 0, dims)?;
                return Ok(vec![Abstract::Matrix(written)]);
            }
        }
        if self.body.ty(result).rank() > 1 {
            return Err(Reason::new("a write that is not an error times a key"));
        }
        Ok(vec![Abstract::Function; node.results.len()])
    }

    fn repeated(&mut self, op: &Op, known: &[Mapped]) -> Result<Vec<Abstract>, Reason> {
        let lead = [self.dim()];
        let found = crate::vectorise::vectorise_node(&mut self.g, op, known, &lead)
            .map_err(|e| Reason::new(e.to_string()))?;
        Ok(found.into_iter().map(Abstract::Known).collect())
    }

    /// What stays a matrix or reads one.
    fn matrix_rule(
        &mut self,
        node: &NodeData,
        operands: &[Abstract],
        result: Value,
    ) -> Result<Option<Abstract>, Reason> {
        let is = |o: &Abstract| matches!(o, Abstract::Matrix(_));
        if !operands.iter().any(is) {
            return Ok(None);
        }
        let x = &node.operands;
        let matrix = match &node.op {
            Op::Neg => {
                let a = self.matrix(x[0])?;
                let minus = self.minus_one();
                self.matrix_scaled(a, &minus)?
            }
            Op::Add | Op::Sub => self.matrices_added(x[0], x[1], node.op == Op::Sub)?,
            Op::Mul => {
                let (factor, other) = self
                    .factor_of(x[0], x[1])
                    .ok_or_else(|| Reason::new("a gate that depends on the state"))?;
                let a = self.matrix(other)?;
                self.matrix_scaled(a, &factor)?
            }
            Op::Div => {
                let by = self
                    .factor(x[1])
                    .ok_or_else(|| Reason::new("a divisor that depends on the state"))?;
                let a = self.matrix(x[0])?;
                let by = self.inverse(&by)?;
                self.matrix_scaled(a, &by)?
            }
            Op::Select => {
                let when = self
                    .factor(x[0])
                    .ok_or_else(|| Reason::new("a choice that depends on the state"))?;
                self.matrices_chosen(&when, x[1], x[2])?
            }
            Op::Transpose { order } => {
                let a = self.matrix(x[0])?;
                self.matrix_turned(a, order)?
            }
            Op::Contract { batch, sum } => {
                let large =
                    |o: &Abstract| matches!(o, Abstract::Matrix(m) if m.dims.len() > 1);
                let side = match (large(&operands[0]), large(&operands[1])) {
                    (false, false) => return Ok(None),
                    (true, true) => return Err(Reason::new("a state times a state")),
                    (true, false) => 0,
                    (false, true) => 1,
                };
                if !batch.is_empty() {
                    return Err(Reason::new("a state is read element by element"));
                }
                let sums: (Vec<usize>, Vec<usize>) = sum
                    .iter()
                    .map(|&(l, r)| if side == 0 { (l, r) } else { (r, l) })
                    .unzip();
                let Abstract::Matrix(matrix) = &operands[side] else { return Ok(None) };
                let reader = match &operands[1 - side] {
                    Abstract::Known(known) => *known,
                    Abstract::Matrix(small) => match self.materialised(small)? {
                        Abstract::Known(known) => known,
                        _ => return Err(Reason::new(DEPENDENT)),
                    },
                    _ => return Err(Reason::new(DEPENDENT)),
                };
                return self.contraction(matrix, reader, &sums, side == 0).map(Some);
            }
            Op::Reduce { fold: Fold::Sum, axes } => {
                let matrix = self.matrix(x[0])?;
                if matrix.dims.len() < 2 {
                    return Ok(None);
                }
                let dims: Dims = axes.iter().map(|&a| matrix.dims[a]).collect();
                let ones = crate::build::constant(&mut self.g, 1.0, &dims);
                let sums = (axes.to_vec(), (0..axes.len()).collect());
                let found =
                    self.contraction(&matrix, Mapped::shared(ones), &sums, true)?;
                return Ok(Some(found));
            }
            _ => {
                let name = node.op.info().name;
                return Err(Reason::new(format!("a state under `{name}`")));
            }
        };
        debug_assert_eq!(matrix.dims, self.body.ty(result).dims);
        Ok(Some(Abstract::Matrix(matrix)))
    }

    /// A product with a matrix is a read.
    fn contraction(
        &mut self,
        matrix: &Matrix,
        known: Mapped,
        (summed, with): &(Vec<usize>, Vec<usize>),
        matrix_first: bool,
    ) -> Result<Abstract, Reason> {
        let rank = self.g.ty(known.value).rank() - usize::from(known.mapped);
        let free: Vec<usize> = (0..rank).filter(|a| !with.contains(a)).collect();
        let mut pairs: Vec<(usize, usize)> =
            summed.iter().copied().zip(with.iter().copied()).collect();
        pairs.sort_unstable();
        let columns: Vec<usize> = pairs.iter().map(|p| p.1).collect();
        let lead = usize::from(known.mapped);
        let rows: Dims =
            free.iter().map(|&a| self.g.ty(known.value).dims[a + lead]).collect();
        let vector = self.flat(known, &free, &columns)?;
        let reader = Reader {
            vector: Some(vector),
            axes: pairs.iter().map(|p| p.0).collect(),
            rows: size(&rows)?,
        };
        let left = super::reads::columns_of(&matrix.dims, &reader);
        let affine = self.read(matrix, &reader)?;
        Ok(self.answered(affine, &rows, &left, matrix_first && !rows.is_empty()))
    }

    /// Affine functions of reads that wait.
    fn row_rule(
        &mut self,
        node: &NodeData,
        operands: &[Abstract],
        result: Value,
    ) -> Result<Abstract, Reason> {
        let x = &node.operands;
        let nonlinear = || {
            let name = node.op.info().name;
            Reason::new(format!("`{name}` of a read feeds back: the error is not affine"))
        };
        match &node.op {
            Op::Neg => {
                let Abstract::Row(row) = &operands[0] else { return Err(nonlinear()) };
                Ok(Abstract::Row(self.negated(row)))
            }
            Op::Add | Op::Sub => {
                let minus = node.op == Op::Sub;
                let shape = operands.iter().find_map(|o| match o {
                    Abstract::Row(row) => Some(row.clone()),
                    _ => None,
                });
                let Some(shape) = shape else { return Err(nonlinear()) };
                let a = self.as_row(&operands[0], &shape)?;
                let mut b = self.as_row(&operands[1], &shape)?;
                if minus {
                    b = self.negated(&b);
                }
                Ok(Abstract::Row(self.rows_added(a, b)))
            }
            Op::Mul | Op::Div => {
                let at = match operands {
                    [Abstract::Row(_), Abstract::Known(_)] => 0,
                    [Abstract::Known(_), Abstract::Row(_)] if node.op == Op::Mul => 1,
                    _ => return Err(nonlinear()),
                };
                let Abstract::Row(row) = &operands[at] else { return Err(nonlinear()) };
                let Some(mut factor) = self.row_factor(x[1 - at], row)? else {
                    return Err(Reason::new("a factor of the error differs by column"));
                };
                if node.op == Op::Div {
                    let one = crate::build::full_like(&mut self.g, factor, 1.0);
                    factor = crate::build::div(&mut self.g, one, factor);
                }
                let affine = self.affine_scaled(&row.affine, factor);
                Ok(Abstract::Row(Row { affine, ..row.clone() }))
            }
            Op::Contract { batch, sum } if batch.is_empty() => {
                let (row, known, first) = match operands {
                    [Abstract::Row(row), Abstract::Known(known)] => (row, *known, true),
                    [Abstract::Known(known), Abstract::Row(row)] => (row, *known, false),
                    _ => return Err(Reason::new("an error times an error")),
                };
                let sums: (Vec<usize>, Vec<usize>) =
                    sum.iter().map(|&(l, r)| if first { (l, r) } else { (r, l) }).unzip();
                let dims = self.body.ty(result).dims.clone();
                let sums = (&sums.0[..], &sums.1[..]);
                let written = self.written(row, known, sums, first, dims)?;
                Ok(Abstract::Matrix(written))
            }
            Op::Transpose { order } => {
                let Abstract::Row(row) = &operands[0] else { return Err(nonlinear()) };
                let v = row.columns.len();
                let q = row.rows.len();
                let flipped = if row.columns_first {
                    (v..v + q).chain(0..v).eq(order.iter().copied())
                } else {
                    (q..v + q).chain(0..q).eq(order.iter().copied())
                };
                if !flipped {
                    return Err(nonlinear());
                }
                let columns_first = !row.columns_first;
                Ok(Abstract::Row(Row { columns_first, ..row.clone() }))
            }
            _ => Err(nonlinear()),
        }
    }

    fn negated(&mut self, row: &Row) -> Row {
        let reads = row
            .affine
            .reads
            .iter()
            .map(|&(read, by)| (read, self.negative(by)))
            .collect();
        let free = row.affine.free.map(|free| self.negative(free));
        Row { affine: Affine { reads, free }, ..row.clone() }
    }

    /// A value of the same shape, known or not.
    fn as_row(&mut self, value: &Abstract, like: &Row) -> Result<Row, Reason> {
        match value {
            Abstract::Row(row)
                if row.rows == like.rows
                    && row.columns == like.columns
                    && row.columns_first == like.columns_first =>
            {
                Ok(row.clone())
            }
            Abstract::Known(known) => {
                let (rows, columns) = like.axes();
                let free = Some(self.flat(*known, &rows, &columns)?);
                let affine = Affine { reads: Vec::new(), free };
                Ok(Row { affine, ..like.clone() })
            }
            _ => Err(Reason::new("reads of different shapes are added")),
        }
    }

    fn rows_added(&mut self, a: Row, b: Row) -> Row {
        let mut out = a;
        for (read, by) in b.affine.reads {
            self.gather(&mut out.affine, read, by);
        }
        if let Some(free) = b.affine.free {
            out.affine.free = plus(&mut self.g, out.affine.free, free);
        }
        out
    }

    /// Whether all states in the matrix and all its terms are solved.
    fn is_solved(&self, matrix: &Matrix) -> bool {
        let known =
            |t: &(usize, Mapped)| matches!(self.terms[t.0].right, Right::Known(_));
        matrix.sources.iter().all(|s| self.slots[s.0.slot].solved.is_some())
            && matrix.terms.iter().all(known)
    }

    /// `[C]` as a dimension.
    pub(super) fn dim(&self) -> Dim {
        Dim::Fixed(self.rows)
    }
}

const DEPENDENT: &str = "a state is read with a vector that depends on it";

fn all_known(operands: &[Abstract]) -> Option<Vec<Mapped>> {
    let one = |o: &Abstract| match o {
        Abstract::Known(known) => Some(*known),
        _ => None,
    };
    operands.iter().map(one).collect()
}
