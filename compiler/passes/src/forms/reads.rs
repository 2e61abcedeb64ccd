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
use super::domain::{Abstract, Affine, Matrix, Read, Reader, Right, Row, Source, Term};
use super::flat::{reshape, size};
use super::gates::{Family, Weights, plus};
use crate::build::{broadcast, broadcast_leading, contract, mul};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::Value;
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
        for &(source, gate) in &matrix.sources {
            let gate = self.per_row(gate, reader.rows);
            let solved = self.slots[source.slot].solved;
            match solved {
                Some((family, place)) => {
                    let family = self.families[family].clone();
                    let weights =
                        if source.after { &family.after } else { &family.before };
                    let found = self.state_read(&family, weights, place, reader)?;
                    let found = self.scaled_rows(gate, found);
                    out.free = plus(&mut self.g, out.free, found);
                }
                None => {
                    let read = Read { slot: source.slot, reader: reader.clone() };
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
            return Err(Reason::new("a state of matrices enters a function as it is"));
        }
        let affine = self.read(matrix, &reader)?;
        Ok(self.answered(affine, &[], &matrix.dims, false))
    }

    /// `factor read` more.
    pub(super) fn gather(&mut self, out: &mut Affine, read: usize, factor: Value) {
        match out.reads.iter_mut().find(|r| r.0 == read) {
            Some(found) => found.1 = crate::build::add(&mut self.g, found.1, factor),
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
                Right::Affine(affine) => {
                    if let Some(free) = affine.free {
                        let found = self.scaled_rows(factor, free);
                        out.free = plus(&mut self.g, out.free, found);
                    }
                    for (read, by) in affine.reads {
                        let by = mul(&mut self.g, factor, by);
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
            let Some(pairs) = weights.terms[place][e] else { continue };
            let term = self.terms[id].clone();
            let (weighted, right) = self.term_weights(pairs, &term, reader)?;
            let Right::Known(e) = right else {
                return Err(Reason::new("a term of a solved state is not known"));
            };
            let found = self.product(weighted, e);
            total = plus(&mut self.g, total, found);
        }
        total.ok_or_else(|| Reason::new("a state that holds nothing"))
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
            let left = self.per_row(crate::vectorise::Mapped::all(left), reader.rows);
            let found = self.scaled_rows(left, found);
            total = plus(&mut self.g, total, found);
        }
        Ok(total)
    }

    /// `Gamma o (G W')` of a term, and the factor that it multiplies.
    pub(super) fn term_weights(
        &mut self,
        pairs: Value,
        term: &Term,
        reader: &Reader,
    ) -> Result<(Value, Right), Reason> {
        let (left, right) = met(term, reader)?;
        let products = match (reader.vector, left) {
            (Some(g), Some(w)) => Some(self.by_rows(g, w)),
            _ => None,
        };
        Ok((self.weighted(pairs, reader.rows, term.rank, products), right))
    }

    /// The state at the chunk's end.
    pub(super) fn end_of(
        &mut self,
        family: &Family,
        place: usize,
        dims: &[Dim],
    ) -> Result<Value, Reason> {
        let last = |chunk: &mut Self, value: Value| {
            let found = super::gates::take(&mut chunk.g, value, 0, chunk.rows - 1, 1);
            let rest = chunk.g.ty(value).dims[1..].to_vec();
            reshape(&mut chunk.g, found, &rest)
        };
        let mut total = None;
        for (j, &slot) in family.slots.iter().enumerate() {
            let Some(left) = family.after.start[place][j] else { continue };
            let left = last(self, left);
            let start = self.slots[slot].start;
            let left = broadcast_leading(&mut self.g, left, dims);
            let found = mul(&mut self.g, left, start);
            total = plus(&mut self.g, total, found);
        }
        for (e, &id) in family.terms.iter().enumerate() {
            let Some(pairs) = family.after.terms[place][e] else { continue };
            let left = last(self, pairs);
            let term = self.terms[id].clone();
            let Right::Known(e) = term.right else {
                return Err(Reason::new("a term of a solved state is not known"));
            };
            let left = self.per_row(crate::vectorise::Mapped::all(left), term.rank);
            let found = match term.left {
                Some(w) => {
                    let w = self.scaled_rows(left, w);
                    let first = term.left_axes.first() < term.right_axes.first();
                    let (a, b) =
                        if first || term.right_axes.is_empty() { (w, e) } else { (e, w) };
                    contract(&mut self.g, a, b, &[], &[(0, 0)])
                }
                None => contract(&mut self.g, left, e, &[], &[(0, 0)]),
            };
            let found = reshape(&mut self.g, found, dims);
            total = plus(&mut self.g, total, found);
        }
        total.ok_or_else(|| Reason::new("a state that holds nothing"))
    }
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
        (Right::Known(_) | Right::Affine(_), _) => {
            Err(Reason::new("a state with feedback is read along the axis of its errors"))
        }
    }
}

/// A state before the token, as a matrix.
pub(super) fn as_it_stands(
    dims: &[Dim],
    source: Source,
    one: crate::vectorise::Mapped,
) -> Matrix {
    Matrix { dims: Dims::from(dims), sources: vec![(source, one)], terms: Vec::new() }
}
