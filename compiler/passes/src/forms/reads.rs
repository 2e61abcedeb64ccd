//! Reads of states and of matrices that are never built.
//!
//! ```text
//! before   y = q W               one token; W as every earlier token left it
//! after    Y = rho (Q W_0) + (Gamma o Q K') E          all tokens of the chunk
//! ```
//!
//! Gates and factors of a matrix are numbers per token, so reading it is a sum of reads.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{
    Abstract, Affine, Factor, Matrix, Read, Reader, Right, Row, Solved, Source, Term,
};
use super::flat::size;
use super::gates::{Family, Weights, plus};
use crate::build::{broadcast, contract, mul, reshape};
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value};
use nestor_ir::ty::Dims;

impl Chunk<'_> {
    /// Reads a matrix: affine in reads that wait, or known where none does.
    pub(super) fn read(
        &mut self,
        matrix: &Matrix,
        reader: &Reader,
    ) -> Result<Affine, Reason> {
        let mut out = Affine::default();
        let columns = columns_of(&matrix.dims, reader);
        for (source, gate) in &matrix.sources {
            let (reader, gate) = self.gated(reader, gate, &matrix.dims)?;
            match self.slots[source.slot].solved {
                Some(Solved::Family(family, place)) => {
                    let family = self.families[family].clone();
                    let weights =
                        if source.after { &family.after } else { &family.before };
                    let found = self.state_read(&family, weights, place, &reader)?;
                    let found = self.scaled_rows(gate, found);
                    out.free = plus(&mut self.g, out.free, found);
                }
                Some(Solved::Run(_)) => {
                    return Err(Reason::new("a state that was built is read as a sum"));
                }
                None => {
                    let read = Read { slot: source.slot, reader };
                    let known = self.reads.iter().position(|r| *r == read);
                    let id = known.unwrap_or_else(|| {
                        self.reads.push(read);
                        self.reads.len() - 1
                    });
                    self.gather(&mut out, id, gate);
                }
            }
        }
        for &(term, factor) in &matrix.terms {
            let term = self.terms[term].clone();
            let factor = self.per_row(factor, reader.rows);
            self.own_term(&mut out, &term, factor, reader)?;
        }
        if out.reads.is_empty() && out.free.is_none() {
            let rows = Dim::Fixed(self.rows * reader.rows);
            let dims = [rows, Dim::Fixed(size(&columns)?)];
            out.free = Some(crate::build::constant(&mut self.g, 0.0, &dims));
        }
        Ok(out)
    }

    /// A gate moved onto what reads the state, or onto the answer: a number per row, or one per
    /// row and column.
    fn gated(
        &mut self,
        reader: &Reader,
        gate: &Factor,
        dims: &[Dim],
    ) -> Result<(Reader, Value), Reason> {
        if gate.axes.is_empty() {
            return Ok((reader.clone(), self.per_row(gate.value, reader.rows)));
        }
        let value = self.lifted(gate.value);
        if gate.axes == reader.axes
            && let (Some(vector), 1) = (reader.vector, gate.axes.len())
        {
            let value = self.channels_per_row(value, reader.rows);
            let vector = Some(mul(&mut self.g, vector, value));
            let one = self.number(1.0);
            let factor = self.per_row(one, reader.rows);
            return Ok((Reader { vector, ..reader.clone() }, factor));
        }
        let columns: Vec<usize> =
            (0..dims.len()).filter(|a| !reader.axes.contains(a)).collect();
        if gate.axes[..] != columns[..] {
            return Err(Reason::new(
                "a gate that differs by row and column of the state",
            ));
        }
        let flat = Dim::Fixed(size(&columns_of(dims, reader))?);
        let dims = [self.dim(), flat];
        let value = reshape(&mut self.g, value, &dims);
        Ok((reader.clone(), self.channels_per_row(value, reader.rows)))
    }

    /// A read as a value of the token's program.
    pub(super) fn answered(
        &mut self,
        affine: Affine,
        rows: &[Dim],
        columns: &[Dim],
        columns_first: bool,
    ) -> Abstract {
        match (affine.reads.is_empty(), affine.free) {
            (true, Some(free)) => {
                Abstract::Known(self.unflat(free, rows, columns, columns_first))
            }
            _ => Abstract::Row(Row {
                rows: Dims::from(rows),
                columns: Dims::from(columns),
                columns_first,
                affine,
            }),
        }
    }

    /// A small matrix as an ordinary value.
    pub(super) fn materialised(&mut self, matrix: &Matrix) -> Result<Abstract, Reason> {
        let reader = Reader { vector: None, axes: Default::default(), rows: 1 };
        if matrix.dims.len() > 1 {
            return self.whole(matrix).map(Abstract::Known);
        }
        let affine = self.read(matrix, &reader)?;
        Ok(self.answered(affine, &[], &matrix.dims, false))
    }

    /// `factor read` more.
    pub(super) fn gather(&mut self, out: &mut Affine, read: usize, factor: Value) {
        match out.reads.iter_mut().find(|r| r.0 == read) {
            Some(found) => {
                let before = found.1;
                found.1 = self.factors_joined(Op::Add, before, factor);
            }
            None => out.reads.push((read, factor)),
        }
    }

    /// Reads what this very token writes.
    fn own_term(
        &mut self,
        out: &mut Affine,
        term: &Term,
        factor: Value,
        reader: &Reader,
    ) -> Result<(), Reason> {
        let dim = self.dim();
        let (q, r) = (reader.rows, term.rank);
        let (left, right) = met(term, reader)?;
        if let Right::Function(..) = right {
            return Err(Reason::new(
                "an error that is not affine is read by its own token",
            ));
        }
        // [C, Q, R], as [C] where both are one.
        let products = match (reader.vector, left) {
            (Some(g), Some(w)) if q == 1 && r == 1 => {
                Some(contract(&mut self.g, g, w, &[(0, 0)], &[(1, 1)]))
            }
            (Some(g), Some(w)) => {
                let split = |g: &mut _, value: Value, rows: usize| {
                    let k = nestor_ir::tensor::Graph::ty(g, value).dims[1];
                    reshape(g, value, &[dim, Dim::Fixed(rows), k])
                };
                let (g, w) = (split(&mut self.g, g, q), split(&mut self.g, w, r));
                Some(contract(&mut self.g, g, w, &[(0, 0)], &[(2, 2)]))
            }
            _ => None,
        };
        if q == 1 && r == 1 {
            let factor = match products {
                Some(products) => mul(&mut self.g, factor, products),
                None => factor,
            };
            match right {
                Right::Known(e) => {
                    let found = self.scaled_rows(factor, e);
                    out.free = plus(&mut self.g, out.free, found);
                }
                Right::Function(..) => {}
                Right::Affine(affine) => {
                    if let Some(free) = affine.free {
                        let found = self.scaled_rows(factor, free);
                        out.free = plus(&mut self.g, out.free, found);
                    }
                    for (read, by) in affine.reads {
                        let by = self.factors_joined(Op::Mul, factor, by);
                        self.gather(out, read, by);
                    }
                }
            }
            return Ok(());
        }
        let Right::Known(e) = right else {
            return Err(Reason::new(
                "rows of one token are mixed by a read of what it wrote itself",
            ));
        };
        let all = [dim, Dim::Fixed(q), Dim::Fixed(r)];
        let products = match products {
            Some(products) => products,
            None => crate::build::constant(&mut self.g, 1.0, &all),
        };
        let v = self.g.ty(e).dims[1];
        let e = reshape(&mut self.g, e, &[dim, Dim::Fixed(r), v]);
        let found = contract(&mut self.g, products, e, &[(0, 0)], &[(2, 1)]);
        let found = reshape(&mut self.g, found, &[Dim::Fixed(self.rows * q), v]);
        let found = self.scaled_rows(factor, found);
        out.free = plus(&mut self.g, out.free, found);
        Ok(())
    }

    /// All of what a slot holds, read: `[C Q, V]`.
    fn state_read(
        &mut self,
        family: &Family,
        weights: &Weights,
        place: usize,
        reader: &Reader,
    ) -> Result<Value, Reason> {
        let mut total = self.start_read(family, weights, place, reader)?;
        for (e, &id) in family.terms.iter().enumerate() {
            let term = self.terms[id].clone();
            for met in self.met(family, (weights, place), e, &term, reader)? {
                let Right::Known(e) = met.right else {
                    return Err(Reason::new("a term of a solved state is not known"));
                };
                let found = self.met_product(met.weights, met.columns, e);
                total = plus(&mut self.g, total, found);
            }
        }
        total.ok_or_else(|| Reason::new("a state that holds nothing"))
    }

    /// `now o (weights (then o e))`
    pub(super) fn met_product(
        &mut self,
        weights: Value,
        columns: Option<(Value, Value)>,
        e: Value,
    ) -> Value {
        let Some((now, then)) = columns else { return self.product(weights, e) };
        let e = mul(&mut self.g, then, e);
        let found = self.product(weights, e);
        mul(&mut self.g, now, found)
    }

    /// What is read of the states at the chunk's start.
    pub(super) fn start_read(
        &mut self,
        family: &Family,
        weights: &Weights,
        place: usize,
        reader: &Reader,
    ) -> Result<Option<Value>, Reason> {
        let mut total = None;
        for (j, &slot) in family.slots.iter().enumerate() {
            let Some(left) = weights.start[place][j] else { continue };
            let start = self.slots[slot].start;
            let dims = self.g.ty(start).dims.clone();
            let flat = Dim::Fixed(size(&columns_of(&dims, reader))?);
            let rows = Dim::Fixed(self.rows * reader.rows);
            let along = family.axis.as_slice();
            let (reader, left) = match (&family.blocks, reader.vector) {
                (Some(blocks), Some(vector)) if reader.axes[..] == *along => {
                    let scales = self.readers(blocks, weights.after, vector, reader.rows);
                    let one = self.number(1.0);
                    let one = self.per_row(one, reader.rows);
                    (Reader { vector: scales.last().copied(), ..reader.clone() }, one)
                }
                _ => {
                    let axes = along.into();
                    let left = Factor { value: Mapped::all(left), axes };
                    self.gated(reader, &left, &dims)?
                }
            };
            let found = match (reader.vector, &reader.axes[..]) {
                (Some(vector), &[axis]) => {
                    contract(&mut self.g, vector, start, &[], &[(1, axis)])
                }
                (None, []) => {
                    let row = reshape(&mut self.g, start, &[flat]);
                    broadcast(&mut self.g, row, &[rows, flat], &[1])
                }
                _ => return Err(Reason::new("a read along several axes")),
            };
            let found = reshape(&mut self.g, found, &[rows, flat]);
            let found = self.scaled_rows(left, found);
            total = plus(&mut self.g, total, found);
        }
        Ok(total)
    }

    /// A reader and what the family's term e wrote earlier, by levels of their weights that stay apart.
    pub(super) fn met(
        &mut self,
        family: &Family,
        (weights, place): (&Weights, usize),
        e: usize,
        term: &Term,
        reader: &Reader,
    ) -> Result<Vec<Met>, Reason> {
        let (left, right) = met(term, reader)?;
        let (rows, rank) = (reader.rows, term.rank);
        let (pair, along) = (reader.vector.zip(left), family.axis.as_slice());
        let is_along = reader.axes[..] == *along;
        if let (Some((g, w)), Some(blocks), true) =
            (pair, &family.blocks, is_along && term.left_axes == reader.axes)
        {
            let weights = self.weighed(blocks, (weights, e), (g, rows), (w, rank));
            let met = |weights| Met { weights, columns: None, right };
            return Ok(weights.map(met).into_iter().collect());
        }
        let mut out = Vec::new();
        for level in &weights.terms[place][e] {
            let channels = level.channels.map(|channels| {
                let now = self.channels_per_row(channels.now, rows);
                (now, self.channels_per_row(channels.then, rank))
            });
            let scaled = channels.filter(|_| is_along);
            let products = pair.map(|(g, w)| match scaled {
                Some((now, then)) => {
                    let g = mul(&mut self.g, g, now);
                    let w = mul(&mut self.g, w, then);
                    self.by_rows(g, w)
                }
                None => self.by_rows(g, w),
            });
            let weights = self.weighted(level.pairs, rows, rank, products);
            let columns = channels.filter(|_| !is_along);
            out.push(Met { weights, columns, right: right.clone() });
        }
        Ok(out)
    }

    /// The state at the chunk's end.
    pub(super) fn end_of(
        &mut self,
        family: &Family,
        place: usize,
        dims: &[Dim],
    ) -> Result<Value, Reason> {
        let mut total = None;
        for (j, &slot) in family.slots.iter().enumerate() {
            let Some(left) = family.after.start[place][j] else { continue };
            let row = match &family.blocks {
                Some(blocks) => self.left_at_end(blocks),
                None => super::gates::take(&mut self.g, left, 0, self.rows - 1, 1),
            };
            let rest = self.g.ty(left).dims[1..].to_vec();
            let left = reshape(&mut self.g, row, &rest);
            let start = self.slots[slot].start;
            let axes: Vec<usize> = family.axis.into_iter().collect();
            let left = broadcast(&mut self.g, left, dims, &axes);
            let found = mul(&mut self.g, left, start);
            total = plus(&mut self.g, total, found);
        }
        for (e, &id) in family.terms.iter().enumerate() {
            let Some(left) = family.last[place][e] else { continue };
            let term = self.terms[id].clone();
            let Right::Known(mut right) = term.right else {
                return Err(Reason::new("a term of a solved state is not known"));
            };
            let mut factor = term.left;
            match family.axis {
                Some(axis) if term.left_axes[..] == [axis] => {
                    factor = match (factor, &family.blocks) {
                        (Some(w), Some(blocks)) => {
                            Some(self.writers_at_end(blocks, e, w, term.rank))
                        }
                        (w, _) => {
                            let left = self.channels_per_row(left, term.rank);
                            w.map(|w| mul(&mut self.g, w, left))
                        }
                    };
                }
                Some(_) => {
                    let left = self.channels_per_row(left, term.rank);
                    right = mul(&mut self.g, right, left);
                }
                None => {
                    let left = self.per_row(Mapped::all(left), term.rank);
                    match factor {
                        Some(w) => factor = Some(self.scaled_rows(left, w)),
                        None => right = self.scaled_rows(left, right),
                    }
                }
            }
            let found = match factor {
                Some(w) => {
                    let first = term.left_axes.first() < term.right_axes.first();
                    let (a, b) = if first || term.right_axes.is_empty() {
                        (w, right)
                    } else {
                        (right, w)
                    };
                    contract(&mut self.g, a, b, &[], &[(0, 0)])
                }
                None => crate::build::sum(&mut self.g, right, &[0]),
            };
            let found = reshape(&mut self.g, found, dims);
            total = plus(&mut self.g, total, found);
        }
        total.ok_or_else(|| Reason::new("a state that holds nothing"))
    }
}

/// A reader's products with a term of earlier tokens.
pub(super) struct Met {
    /// `[C Q, C R]`
    pub(super) weights: Value,
    /// Factors of the answer and of the term, `[C Q, V]` and `[C R, V]`.
    pub(super) columns: Option<(Value, Value)>,
    /// What the weights multiply.
    pub(super) right: Right,
}

/// The shape of one row that a reader gets of a state.
pub(super) fn columns_of(dims: &[Dim], reader: &Reader) -> Vec<Dim> {
    (0..dims.len()).filter(|a| !reader.axes.contains(a)).map(|a| dims[a]).collect()
}

/// The factor of a term that meets the reader, and the other one.
fn met(term: &Term, reader: &Reader) -> Result<(Option<Value>, Right), Reason> {
    if term.left_axes == reader.axes {
        return Ok((term.left, term.right.clone()));
    }
    match (&term.right, term.left) {
        (Right::Known(e), Some(w)) if term.right_axes == reader.axes => {
            Ok((Some(*e), Right::Known(w)))
        }
        (Right::Known(_) | Right::Affine(_) | Right::Function(..), _) => {
            Err(Reason::new("a state with feedback is read along the axis of its errors"))
        }
    }
}

/// A state as a matrix.
pub(super) fn as_it_stands(dims: &[Dim], source: Source, one: Factor) -> Matrix {
    Matrix { dims: Dims::from(dims), sources: vec![(source, one)], terms: Vec::new() }
}
