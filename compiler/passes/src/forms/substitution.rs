//! Errors that are functions of reads, solved row by row.
//!
//! ```text
//! before   e = f(k W, v)                                    a token; W holds what all tokens wrote
//! after    walk over the chunk's rows: p = (rho K W_0)[t] + (Gamma o K K')[t] E;  E[t] = f(p, v[t])
//! ```
//!
//! What needs no error (reads of the state at the chunk's start, products of keys) is computed for
//! all rows before; a row of the walk costs C d_v for each read, and nothing of the state's size.

use super::Reason;
use super::chunk::Chunk;
use super::domain::{Abstract, Affine, Factor, Read, Right, Source};
use super::gates::{Family, identity, plus};
use super::solve::Unknown;
use crate::build::{add, broadcast, constant, contract, mul, outer, reshape};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value};
use nestor_ir::ty::{Elem, Type};

/// The program of one row, with what feeds it.
struct Inner {
    body: Graph,
    feeds: Vec<(Feed, Layout)>,
    operands: Vec<Value>,
    /// Operands that are fed already, with their inputs.
    fed: Vec<(Feed, Value, Value)>,
    /// What stands for the values of the token's program.
    values: Vec<Option<Value>>,
    /// What stands for the reads.
    reads: Vec<(usize, Value)>,
}

impl Inner {
    /// The input that an operand of the chunk feeds.
    fn input(&mut self, g: &Graph, feed: Feed, operand: Value) -> Value {
        let found = self.fed.iter().find(|f| f.0 == feed && f.1 == operand);
        if let Some(&(_, _, input)) = found {
            return input;
        }
        let ty = g.ty(operand);
        let lead = usize::from(feed == Feed::Stream);
        let body = Type { elem: ty.elem, dims: ty.dims[lead..].into() };
        let time = (0..lead).map(|_| Axis::Time);
        let layout = time.chain(body.dims.iter().map(|_| Axis::Body)).collect();
        self.feeds.push((feed, layout));
        self.operands.push(operand);
        let input = self.body.input(format!("x{}", self.operands.len()), body);
        if feed != Feed::Initial {
            self.fed.push((feed, operand, input));
        }
        input
    }
}

impl Chunk<'_> {
    /// Reads that a function of them depends on.
    pub(super) fn reads_of(&self, value: Value) -> Vec<usize> {
        let mut out = Vec::new();
        let mut seen = vec![false; self.body.values.len()];
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut seen[value.index()], true) {
                continue;
            }
            match self.value(value) {
                Abstract::Row(row) => out.extend(row.affine.reads.iter().map(|r| r.0)),
                Abstract::Function => open.extend(&self.body.def(value).operands),
                Abstract::Matrix(small) => {
                    let whole = |s: &(Source, Factor)| {
                        let is =
                            |r: &Read| r.slot == s.0.slot && r.reader.vector.is_none();
                        self.reads.iter().position(is)
                    };
                    out.extend(small.sources.iter().filter_map(whole));
                    for (term, _) in &small.terms {
                        match &self.terms[*term].right {
                            Right::Known(_) => {}
                            Right::Affine(affine) => {
                                out.extend(affine.reads.iter().map(|r| r.0))
                            }
                            Right::Function(value, _) => open.push(*value),
                        }
                    }
                }
                Abstract::Known(_) | Abstract::Top(_) => {}
            }
        }
        out
    }

    /// The unknown errors of these families, `[C, V]` each.
    pub(super) fn substituted(
        &mut self,
        families: &[Family],
        unknown: &[Unknown],
    ) -> Result<Vec<Value>, Reason> {
        if unknown.iter().any(|u| u.rank != 1) {
            return Err(Reason::new("several errors of a token are not affine"));
        }
        let c = self.dim();
        let mut inner = Inner {
            body: Graph::new(),
            feeds: vec![(Feed::Mask, std::iter::once(Axis::Time).collect())],
            operands: vec![self.valid],
            fed: Vec::new(),
            values: vec![None; self.body.values.len()],
            reads: Vec::new(),
        };
        let mut errors = Vec::new();
        for this in unknown {
            let width = Dim::Fixed(this.width);
            let none = constant(&mut self.g, 0.0, &[c, width]);
            errors.push(inner.input(&self.g, Feed::Initial, none));
        }
        let eye = identity(&mut self.g, self.rows);
        let own = inner.input(&self.g, Feed::Stream, eye);
        let mut found = Vec::new();
        for this in unknown {
            let row = match &this.right {
                Right::Function(value, factor) => {
                    let found =
                        self.row_value(&mut inner, *value, families, unknown, &errors)?;
                    match factor {
                        Some(factor) => {
                            let factor = inner.input(&self.g, Feed::Stream, *factor);
                            let width = [Dim::Fixed(this.width)];
                            let found = reshape(&mut inner.body, found, &width);
                            mul(&mut inner.body, factor, found)
                        }
                        None => found,
                    }
                }
                Right::Affine(affine) => {
                    self.row_affine(&mut inner, affine, families, unknown, &errors)?
                }
                Right::Known(_) => return Err(Reason::new("an error that is known")),
            };
            found.push(reshape(&mut inner.body, row, &[Dim::Fixed(this.width)]));
        }
        inner.body.input("valid", Type::bool([]));
        inner.body.input("position", Type::real([]));
        for (k, (&error, row)) in errors.iter().zip(found).enumerate() {
            let row = outer(&mut inner.body, own, row);
            let next = add(&mut inner.body, error, row);
            inner.body.output(format!("error{k}"), next);
        }
        let scan = Scan {
            map: std::iter::empty().collect(),
            time: c,
            stride: Stride::Token,
            reverse: false,
            feeds: inner.feeds,
            yields: Vec::new(),
            body: inner.body,
        };
        let op = Op::Scan { scan: Box::new(scan) };
        Ok(self.g.add_many(op, &inner.operands).into_vec())
    }

    /// A value of the token's program in the program of one row.
    fn row_value(
        &mut self,
        inner: &mut Inner,
        value: Value,
        families: &[Family],
        unknown: &[Unknown],
        errors: &[Value],
    ) -> Result<Value, Reason> {
        if let Some(found) = inner.values[value.index()] {
            return Ok(found);
        }
        let found = match self.value(value) {
            Abstract::Known(known) => {
                let feed = if known.mapped { Feed::Stream } else { Feed::Shared };
                inner.input(&self.g, feed, known.value)
            }
            Abstract::Row(row) => {
                if !row.rows.is_empty() {
                    return Err(Reason::new("several errors of a token are not affine"));
                }
                let found =
                    self.row_affine(inner, &row.affine, families, unknown, errors)?;
                reshape(&mut inner.body, found, &row.columns)
            }
            Abstract::Function => {
                let node = self.body.def(value).clone();
                let mut operands = Vec::new();
                for &operand in &node.operands {
                    operands
                        .push(self.row_value(inner, operand, families, unknown, errors)?);
                }
                let results = inner.body.add_many(node.op.clone(), &operands);
                let k = node.results.iter().position(|&r| r == value).unwrap_or(0);
                results[k]
            }
            Abstract::Matrix(matrix) => match self.materialised(&matrix)? {
                Abstract::Row(row) => {
                    let found =
                        self.row_affine(inner, &row.affine, families, unknown, errors)?;
                    reshape(&mut inner.body, found, &row.columns)
                }
                Abstract::Known(known) => {
                    let feed = if known.mapped { Feed::Stream } else { Feed::Shared };
                    inner.input(&self.g, feed, known.value)
                }
                Abstract::Matrix(_) | Abstract::Function | Abstract::Top(_) => {
                    return Err(Reason::new("a state within a function of reads"));
                }
            },
            Abstract::Top(reason) => return Err(reason),
        };
        inner.values[value.index()] = Some(found);
        Ok(found)
    }

    /// An affine value in the program of one row, `[V]`.
    fn row_affine(
        &mut self,
        inner: &mut Inner,
        affine: &Affine,
        families: &[Family],
        unknown: &[Unknown],
        errors: &[Value],
    ) -> Result<Value, Reason> {
        let mut total = affine.free.map(|free| inner.input(&self.g, Feed::Stream, free));
        for &(read, by) in &affine.reads {
            let p = self.row_read(inner, read, families, unknown, errors)?;
            let by = inner.input(&self.g, Feed::Stream, by);
            let dims = inner.body.ty(p).dims.clone();
            let axes: Vec<usize> = (0..inner.body.ty(by).rank()).collect();
            let by = broadcast(&mut inner.body, by, &dims, &axes);
            let p = mul(&mut inner.body, by, p);
            total = plus(&mut inner.body, total, p);
        }
        total.ok_or_else(|| Reason::new("an error that is nothing"))
    }

    /// A read in the program of one row, `[V]`.
    fn row_read(
        &mut self,
        inner: &mut Inner,
        id: usize,
        families: &[Family],
        unknown: &[Unknown],
        errors: &[Value],
    ) -> Result<Value, Reason> {
        if let Some(&(_, found)) = inner.reads.iter().find(|r| r.0 == id) {
            return Ok(found);
        }
        let read = self.reads[id].clone();
        if read.reader.rows != 1 {
            return Err(Reason::new("several errors of a token are not affine"));
        }
        let place = families
            .iter()
            .find_map(|f| f.slots.iter().position(|&s| s == read.slot).map(|p| (f, p)));
        let (family, place) =
            place.ok_or_else(|| Reason::new("a read of a state that is elsewhere"))?;
        let mut known = self.start_read(family, &family.before, place, &read.reader)?;
        let mut waiting = Vec::new();
        for (e, &id) in family.terms.iter().enumerate() {
            let term = self.terms[id].clone();
            let before = (&family.before, place);
            for met in self.met(family, before, e, &term, &read.reader)? {
                if let Right::Known(e) = met.right {
                    let found = self.met_product(met.weights, met.columns, e);
                    known = plus(&mut self.g, known, found);
                } else {
                    let error = unknown.iter().position(|u| u.terms.contains(&id));
                    let error =
                        error.ok_or_else(|| Reason::new("a term that is not solved"))?;
                    waiting.push((met.weights, met.columns, error));
                }
            }
        }
        let mut total = known.map(|known| inner.input(&self.g, Feed::Stream, known));
        for (weights, columns, error) in waiting {
            debug_assert_eq!(self.g.ty(weights).elem, Elem::Real);
            let weights = inner.input(&self.g, Feed::Stream, weights);
            let mut e = errors[error];
            if let Some((_, then)) = columns {
                let then = inner.input(&self.g, Feed::Shared, then);
                e = mul(&mut inner.body, e, then);
            }
            let mut found = contract(&mut inner.body, weights, e, &[], &[(0, 0)]);
            if let Some((now, _)) = columns {
                let now = inner.input(&self.g, Feed::Stream, now);
                found = mul(&mut inner.body, found, now);
            }
            total = plus(&mut inner.body, total, found);
        }
        let total = total.ok_or_else(|| Reason::new("a read of nothing"))?;
        inner.reads.push((id, total));
        Ok(total)
    }
}
