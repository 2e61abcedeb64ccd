//! What holds of every tile kernel. Checked where one is made.
//!
//! 1. Every index is of the grid or of one loop, below `indices`; a statement's quantities use
//!    indices of the grid and of the loops around it only.
//! 2. Every place exists, and is used as it is declared: what is `read` is not written, what is
//!    `write` is not read (a result that starts from what is there is read).
//! 3. An access of a map has a stride, and each bound one, for every dimension of the map; of a
//!    fold, for every dimension that stays. A fold folds no more dimensions than there are, and reals.
//! 4. A scalar's operands come before it, as many as its operation takes, of the kinds it takes;
//!    its own kind is the one that the operation gives. Loads, dimensions and offsets exist. What is
//!    stored has the kind of its place.
//! 5. Matrices of products are real, and a product does not overwrite a tile that it reads.
//! 6. Tiles of solves and linear scans are real, have as many elements as the statement says, one
//!    after another, and the result is not the matrix.
//! 7. A table has `rows * width` elements, indices are whole numbers named by one dimension, and rows
//!    are added to a table in a kernel of one point.
//! 8. What is worked on together is a product into a tile, others that add to it, and a map that takes each entry at its own point.
//! 9. What a team sums are tiles of reals of known size, the grid's last index being of a team whose size is known.
//! 10. No access without bounds leaves its place, whatever the indices are, at a few sizes
//!     of batch, time and start.

mod extent;
mod scalar;

use crate::dim::Sizes;
use crate::entity::Entity;
use crate::tile::expr::kind_of;
use crate::tile::size::elements;
use crate::tile::{
    Access, Affine, Expr, ExprId, Extent, Index, Kernel, Matrix, Monomial, Part, Place,
    Shape, Sink, Stmt, Tile, Use, together,
};
use crate::ty::{Dims, Elem};
use extent::Reach;

/// The first violation, in words.
///
/// # Errors
/// Where an invariant does not hold.
pub fn verify(kernel: &Kernel) -> Result<(), String> {
    let mut check = Check { kernel, known: vec![false; kernel.indices], scope: vec![] };
    for (index, extent) in &kernel.grid {
        check.enter(*index, *extent)?;
    }
    check.body(&kernel.body, false)?;
    match together::missed(kernel) {
        Some(tile) => Err(format!("entries of {tile} pass, but are touched elsewhere")),
        None => Ok(()),
    }
}

type Checked = Result<(), String>;

/// A kernel being checked, and the indices around the statement.
struct Check<'k> {
    kernel: &'k Kernel,
    /// Indices that the grid or a loop has introduced.
    known: Vec<bool>,
    scope: Vec<(Index, Extent)>,
}

impl Check<'_> {
    /// The index that a loop's turns end or begin at counts as many as the loop does.
    fn part(&self, part: Part, extent: Extent) -> Checked {
        let (Part::Before(index) | Part::After(index)) = part else { return Ok(()) };
        match self.scope.contains(&(index, extent)) {
            true => Ok(()),
            false => {
                Err(format!("a loop to {extent} by {index}, which is no such index"))
            }
        }
    }

    fn enter(&mut self, index: Index, extent: Extent) -> Checked {
        match self.known.get_mut(index.index()) {
            Some(known) if !*known => *known = true,
            Some(_) => return Err(format!("{index} is introduced twice")),
            None => return Err(format!("{index} is not below {}", self.known.len())),
        }
        self.scope.push((index, extent));
        Ok(())
    }

    fn body(&mut self, body: &[Stmt], guarded: bool) -> Checked {
        for (n, stmt) in body.iter().enumerate() {
            let what = match stmt {
                Stmt::Loop { index, extent, part, body, .. } => {
                    self.part(*part, *extent)?;
                    self.enter(*index, *extent)?;
                    self.body(body, guarded)?;
                    self.scope.pop();
                    continue;
                }
                Stmt::When { value, low, high, body } => {
                    [value, low, high].into_iter().try_for_each(|q| self.quantity(q))?;
                    self.body(body, true)?;
                    continue;
                }
                Stmt::Together { body } => {
                    together::verify(body)
                        .map_err(|why| format!("statements worked on as one: {why}"))?;
                    self.body(body, guarded)?;
                    continue;
                }
                Stmt::Map { .. } => "map",
                Stmt::Product { .. } => "product",
                Stmt::SolveUnitLower { .. } => "solve",
                Stmt::Eliminate { .. } => "eliminate",
                Stmt::InverseRoot { .. } => "inverse root",
                Stmt::LinearScan { .. } => "linear scan",
                Stmt::Gather { .. } => "gather",
                Stmt::ScatterAdd { .. } => "scatter",
                Stmt::Total { .. } => "total",
            };
            self.statement(stmt, guarded)
                .map_err(|why| format!("{what}, statement {n} of its block: {why}"))?;
        }
        Ok(())
    }

    fn statement(&self, stmt: &Stmt, guarded: bool) -> Checked {
        let reach = (!guarded).then_some(Reach { scope: &self.scope });
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                self.map(space, expr, loads, sinks, reach)
            }
            Stmt::Product { m, n, k, left, right, out, accumulate, shape, .. } => {
                self.matrix(left, [*m, *k], reach)?;
                self.matrix(right, [*k, *n], reach)?;
                self.matrix(out, [*m, *n], reach)?;
                [left, right].iter().try_for_each(|x| self.reads(x.place))?;
                self.writes(out.place, *accumulate)?;
                let is_tile = matches!(out.place, Place::Tile(_));
                if is_tile && (out.place == left.place || out.place == right.place) {
                    return Err(format!("{} is overwritten and read", out.place));
                }
                match shape {
                    Shape::Full
                    | Shape::OutputLower
                    | Shape::LeftLower
                    | Shape::LeftUpper => Ok(()),
                }
            }
            Stmt::SolveUnitLower { lower, x, n, m, .. } => {
                self.tile(*lower, n * n)?;
                self.tile(*x, n * m)?;
                if lower == x { Err(format!("{x} solves itself")) } else { Ok(()) }
            }
            Stmt::Eliminate { a, x, n, m } => {
                self.tile(*a, n * n)?;
                self.tile(*x, n * m)?;
                if a == x { Err(format!("{x} solves itself")) } else { Ok(()) }
            }
            Stmt::InverseRoot { a, basis, n, .. } => {
                self.tile(*a, n * n)?;
                self.tile(*basis, n * n)?;
                if a == basis { Err(format!("{a} is its own basis")) } else { Ok(()) }
            }
            Stmt::LinearScan { a, b, init, y, extent: (steps, n, m), .. } => {
                self.tile(*a, steps * n * n)?;
                self.tile(*b, steps * n * m)?;
                self.tile(*init, n * m)?;
                self.tile(*y, steps * n * m)?;
                if y == a { Err(format!("{y} is its own factor")) } else { Ok(()) }
            }
            Stmt::Gather { table, rows, index, count, width, out } => {
                let table = Place::Buffer(*table);
                self.table(table, *rows, *width)?;
                self.index_of_rows(index, *count, reach)?;
                self.reads(table)?;
                self.rows(out, *count, *width, reach)?;
                self.writes(out.place, false)
            }
            Stmt::ScatterAdd { table, rows, index, count, width, values, share } => {
                let table = Place::Buffer(*table);
                self.table(table, *rows, *width)?;
                self.index_of_rows(index, *count, reach)?;
                self.rows(values, *count, *width, reach)?;
                self.reads(values.place)?;
                let owns = |point: &(Index, Extent)| {
                    let shared = share.is_some_and(|(i, n)| *point == (i, n.into()));
                    shared || point.1 == Extent::Fixed(1)
                };
                if !self.kernel.grid.iter().all(owns) {
                    return Err("rows are added by many points".to_owned());
                }
                if let Some((index, _)) = share
                    && !self.kernel.grid.iter().any(|(i, _)| i == index)
                {
                    return Err(format!("rows are shared by {index}, no point's"));
                }
                self.writes(table, true)
            }
            Stmt::Total { tiles } => {
                let last = self.kernel.grid.last().and_then(|(_, d)| d.fixed());
                last.ok_or("nobody knows how many points are a team")?;
                tiles.iter().try_for_each(|t| self.summed(*t))
            }
            Stmt::Loop { .. } | Stmt::When { .. } | Stmt::Together { .. } => Ok(()),
        }
    }

    /// A tile that a team sums.
    fn summed(&self, tile: Tile) -> Checked {
        let (dims, elem) = self.place(Place::Tile(tile))?;
        let known = dims.iter().all(|d| d.fixed().is_some());
        match known && elem == Elem::Real {
            true => Ok(()),
            false => Err(format!("{tile} is not of reals and of known size")),
        }
    }

    fn map(
        &self,
        space: &[Extent],
        expr: &Expr,
        loads: &[Access],
        sinks: &[(ExprId, Sink)],
        reach: Option<Reach<'_>>,
    ) -> Checked {
        for load in loads {
            self.access(load, space, reach)?;
            self.reads(load.place)?;
        }
        expr.offsets.iter().try_for_each(|offset| self.quantity(offset))?;
        let elems: Vec<Elem> =
            loads.iter().map(|l| self.elem(l.place)).collect::<Result<_, _>>()?;
        scalar::verify(expr, &elems, space.len())?;
        for (root, sink) in sinks {
            let (to, reads) = match sink {
                Sink::Store(to) => {
                    self.access(to, space, reach)?;
                    (to, false)
                }
                Sink::Fold { axes, to, accumulate, .. } => {
                    let kept = space.len().checked_sub(*axes).ok_or_else(|| {
                        format!("{axes} of {} dimensions are folded", space.len())
                    })?;
                    self.access(to, &space[..kept], reach)?;
                    (to, *accumulate)
                }
            };
            self.writes(to.place, reads)?;
            let elem = self.elem(to.place)?;
            if matches!(sink, Sink::Fold { .. }) && elem != Elem::Real {
                return Err(format!("a fold into {}, {elem:?}", to.place));
            }
            let kind = expr.scalars.get(*root).map(|s| s.kind);
            if kind != Some(kind_of(elem)) {
                return Err(format!("{root} is stored in {}, {elem:?}", to.place));
            }
        }
        Ok(())
    }

    /// Dimensions of a place and what its elements are.
    fn place(&self, place: Place) -> Result<(&Dims, Elem), String> {
        let found = match place {
            Place::Buffer(b) => self.kernel.buffers.get(b).map(|b| (&b.dims, b.elem)),
            Place::Tile(t) => self.kernel.tiles.get(t).map(|t| (&t.dims, t.elem)),
        };
        found.ok_or_else(|| format!("there is no {place}"))
    }

    fn elem(&self, place: Place) -> Result<Elem, String> {
        Ok(self.place(place)?.1)
    }

    fn size(&self, place: Place) -> Result<Monomial, String> {
        Ok(elements(self.place(place)?.0))
    }

    fn reads(&self, place: Place) -> Checked {
        match place {
            Place::Buffer(b) if self.kernel.buffers[b].usage == Use::Write => {
                Err(format!("{place} is read, but declared as only written"))
            }
            Place::Buffer(_) | Place::Tile(_) => Ok(()),
        }
    }

    fn writes(&self, place: Place, from_what_is_there: bool) -> Checked {
        self.place(place)?;
        if from_what_is_there {
            self.reads(place)?;
        }
        match place {
            Place::Buffer(b) if self.kernel.buffers[b].usage == Use::Read => {
                Err(format!("{place} is written, but declared as only read"))
            }
            Place::Buffer(_) | Place::Tile(_) => Ok(()),
        }
    }

    fn quantity(&self, quantity: &Affine) -> Checked {
        let seen = |index: &Index| self.scope.iter().any(|(i, _)| i == index);
        match quantity.terms.iter().find(|(i, _)| !seen(i)) {
            Some((i, _)) => Err(format!("{i} of {quantity} is not in scope")),
            None => Ok(()),
        }
    }

    fn access(&self, a: &Access, space: &[Extent], reach: Option<Reach<'_>>) -> Checked {
        let size = self.size(a.place)?;
        let rank = space.len();
        self.quantity(&a.origin)?;
        a.strides.iter().try_for_each(|s| self.quantity(s))?;
        if a.strides.len() != rank {
            return Err(format!("{a} has not the rank of its statement, {rank}"));
        }
        for b in &a.bounds {
            [&b.offset, &b.low, &b.high]
                .into_iter()
                .try_for_each(|q| self.quantity(q))?;
            if b.strides.len() != rank {
                return Err(format!("a bound of {a} has not rank {rank}"));
            }
        }
        match reach.filter(|_| a.bounds.is_empty()) {
            Some(reach) => reach.inside(&a.origin, &a.strides, space, size),
            None => Ok(()),
        }
        .map_err(|why| format!("{a} {why}"))
    }

    fn matrix(
        &self,
        x: &Matrix,
        space: [Extent; 2],
        reach: Option<Reach<'_>>,
    ) -> Checked {
        let size = self.size(x.place)?;
        if self.elem(x.place)? != Elem::Real {
            return Err(format!("{} is no matrix of reals", x.place));
        }
        [&x.origin, &x.row, &x.column].into_iter().try_for_each(|q| self.quantity(q))?;
        match reach {
            Some(reach) => {
                reach.inside(&x.origin, &[x.row.clone(), x.column.clone()], &space, size)
            }
            None => Ok(()),
        }
        .map_err(|why| format!("{x} {why}"))
    }

    fn tile(&self, tile: Tile, count: usize) -> Checked {
        let place = Place::Tile(tile);
        let size = self.size(place)?;
        if size != Monomial::number(count as i64) || self.elem(place)? != Elem::Real {
            return Err(format!("{tile} is not {count} reals"));
        }
        Ok(())
    }

    fn table(&self, table: Place, rows: usize, width: usize) -> Checked {
        let size = self.size(table)?;
        if size != Monomial::number((rows * width) as i64) {
            return Err(format!("{table} is not {rows} rows of {width}"));
        }
        if self.elem(table)? != Elem::Real {
            return Err(format!("{table} is no table of reals"));
        }
        Ok(())
    }

    fn index_of_rows(
        &self,
        index: &Access,
        count: Extent,
        reach: Option<Reach<'_>>,
    ) -> Checked {
        self.access(index, &[count], reach)?;
        self.reads(index.place)?;
        match self.elem(index.place)? {
            Elem::Int => Ok(()),
            other => Err(format!("{} are no indices: {other:?}", index.place)),
        }
    }

    /// Rows one after another from the origin on.
    fn rows(
        &self,
        rows: &Access,
        count: Extent,
        width: usize,
        reach: Option<Reach<'_>>,
    ) -> Checked {
        let size = self.size(rows.place)?;
        self.quantity(&rows.origin)?;
        let strides = [width as i64, 1].map(Affine::number);
        match reach {
            Some(reach) => {
                reach.inside(&rows.origin, &strides, &[count, Extent::Fixed(width)], size)
            }
            None => Ok(()),
        }
        .map_err(|why| format!("{rows} {why}"))
    }
}

/// Sizes at which accesses are followed: the smallest call, and two that divide nothing.
const SAMPLES: &[Sizes] = &[
    Sizes { batch: 1, time: 1, start: 0 },
    Sizes { batch: 2, time: 7, start: 5 },
    Sizes { batch: 3, time: 101, start: 64 },
];
