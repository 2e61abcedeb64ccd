//! Linear systems, matrix roots, and rows by index.

use super::bug;
use super::frame::{Coord, access, place_of};
use super::lower::{Known, Lower};
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::plan::Launch;
use nestor_ir::tensor::{Group, NodeData, Op};
use nestor_ir::tile::{Affine, Index, Monomial, Part, Place, Stmt, Tile};
use nestor_ir::ty::{Dims, Type};

/// The matrix of a linear system.
#[derive(Clone, Copy)]
pub(super) enum System {
    /// `I + tril(L, -1)`, or its transpose.
    UnitLower { transpose: bool },
    /// All of it.
    Whole,
}

impl Lower<'_> {
    /// `A^-1 X`, for every index of the leading dimensions.
    pub(super) fn solve(
        &mut self,
        node: &NodeData,
        system: System,
    ) -> Result<(), PassError> {
        let a = self.whole_rows(node.operands[0])?;
        let x = self.whole_rows(node.operands[1])?;
        let v = node.results[0];
        let rank = x.dims.len();
        let extent = (fixed(&x.dims, rank - 2)?, fixed(&x.dims, rank - 1)?);
        if self.nested && rank == 2 {
            let out = if self.is_free(node.operands[1], &x) {
                x
            } else {
                self.copied(&x, "solution")?
            };
            let Home::Tile(x) = out.home else {
                return Err(bug("a solution outside of scratch"));
            };
            self.solve_tile(system, &a, x, extent);
            self.known[v.index()] = Some(Known::At(out));
            return Ok(());
        }
        let out = self.room(&self.name(v), &self.graph.ty(v).clone());
        self.begin();
        let lead: Dims = x.dims[..rank - 2].iter().copied().collect();
        self.for_each(&lead, |l, at| {
            let (a, x, out) = (inner(&a, at), inner(&x, at), inner(&out, at));
            let (solution, tile) = l.in_tile(&x, "x");
            l.solve_tile(system, &a, tile, extent);
            l.copy_flat(&solution, &out);
        });
        self.end("solve");
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// Replaces the right-hand sides in a tile by the solution.
    fn solve_tile(&mut self, system: System, a: &View, x: Tile, (n, m): (usize, usize)) {
        let stmt = match system {
            System::UnitLower { transpose } => {
                let lower = self.scratch(a, "lower");
                Stmt::SolveUnitLower { lower, x, n, m, transpose }
            }
            // Elimination uses the matrix up, so it gets one of its own.
            System::Whole => Stmt::Eliminate { a: self.in_tile(a, "system").1, x, n, m },
        };
        self.frame.body.push(stmt);
    }

    /// `A^(-1/p)`, or its eigenvectors where p is infinite, for every index of the leading dimensions.
    pub(super) fn inverse_root(
        &mut self,
        node: &NodeData,
        p: f64,
    ) -> Result<(), PassError> {
        let a = self.whole_rows(node.operands[0])?;
        let v = node.results[0];
        let rank = a.dims.len();
        let n = fixed(&a.dims, rank - 1)?;
        let out = self.room(&self.name(v), &self.graph.ty(v).clone());
        self.begin();
        let lead: Dims = a.dims[..rank - 2].iter().copied().collect();
        self.for_each(&lead, |l, at| {
            let (a, out) = (inner(&a, at), inner(&out, at));
            let (root, tile) = l.in_tile(&a, "root");
            let room = Type { elem: a.elem, dims: a.dims.clone() };
            let vectors = l.frame.tile("basis", &room);
            let Home::Tile(basis) = vectors.home else { return };
            l.frame.body.push(Stmt::InverseRoot { a: tile, basis, n, p });
            l.copy_flat(if p.is_infinite() { &vectors } else { &root }, &out);
        });
        self.end(node.op.info().name);
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// A stored operand, every row of which may be reached: rows of a chunk that are no tokens are
    /// zeros in a tile of their own.
    pub(super) fn whole_rows(
        &mut self,
        v: nestor_ir::tensor::Value,
    ) -> Result<View, PassError> {
        let view = self.settled(v)?;
        if view.limit.is_some() { self.copied(&view, "rows") } else { Ok(view) }
    }

    /// Whether a tile holds a value that nothing else reads, so that it may be overwritten.
    fn is_free(&self, v: nestor_ir::tensor::Value, at: &View) -> bool {
        let op = &self.graph.def(v).op;
        let own = !matches!(op.info().group, Group::Leaf | Group::Move | Group::Control);
        let tile = matches!(at.home, Home::Tile(_)) && at.is_whole();
        own && *op != Op::Stop && tile && self.uses[v.index()] == 1
    }

    /// Runs statements for every index of some dimensions: the grid outside of walks, else loops.
    pub(super) fn for_each(
        &mut self,
        lead: &Dims,
        act: impl FnOnce(&mut Self, &[Affine]),
    ) {
        let indices: Vec<Index> = lead.iter().map(|_| self.frame.index()).collect();
        let at: Vec<Affine> =
            indices.iter().zip(lead).map(|(i, dim)| place_of(*i, *dim)).collect();
        if !self.nested {
            self.frame.grid = indices.into_iter().zip(lead.iter().copied()).collect();
            let nested = std::mem::replace(&mut self.nested, true);
            act(self, &at);
            self.nested = nested;
            return;
        }
        let before = std::mem::take(&mut self.frame.body);
        act(self, &at);
        let mut body = std::mem::replace(&mut self.frame.body, before);
        for (&index, &extent) in indices.iter().zip(lead).rev() {
            body =
                vec![Stmt::Loop { index, extent, part: Part::All, reverse: false, body }];
        }
        self.frame.body.extend(body);
    }

    /// The elements in a tile of their own.
    fn in_tile(&mut self, view: &View, name: &str) -> (View, Tile) {
        let ty = Type { elem: view.elem, dims: view.dims.clone() };
        let to = self.frame.tile(name, &ty);
        self.copy_flat(view, &to);
        match to.home {
            Home::Tile(tile) => (to, tile),
            Home::Tensor(_) => (to, Tile::new(0)),
        }
    }

    /// The elements in a tile, which may be the one they are in.
    pub(super) fn scratch(&mut self, view: &View, name: &str) -> Tile {
        match view.home {
            Home::Tile(tile) if view.is_whole() => tile,
            Home::Tile(_) | Home::Tensor(_) => self.in_tile(view, name).1,
        }
    }

    /// A copy inside the kernel being built.
    pub(super) fn copy_flat(&mut self, from: &View, to: &View) {
        let nested = std::mem::replace(&mut self.nested, true);
        self.copy(from, to);
        self.nested = nested;
    }

    /// Rows of a table.
    pub(super) fn gather(&mut self, node: &NodeData) -> Result<(), PassError> {
        let v = node.results[0];
        let mut table = self.settled(node.operands[0])?;
        if !table.is_whole() {
            table = self.copied(&table, "table")?;
        }
        let index = self.settled(node.operands[1])?;
        let ty = self.graph.ty(v).clone();
        let out = self.room(&self.name(v), &ty);
        let width = row(&table.dims)?;
        let rows = fixed(&table.dims, 0)?;
        self.begin();
        let (count, at_index, at_out) = self.rows(&index, width)?;
        let Place::Buffer(buffer) = self.place(table.home, false) else {
            return Err(limited("rows of a table within a walk"));
        };
        let place = self.place(out.home, true);
        let to = nestor_ir::tile::Access {
            place,
            origin: at_out,
            strides: [Affine::number(width as i64), Affine::number(1)]
                .into_iter()
                .collect(),
            bounds: Default::default(),
            pad: 0.0,
        };
        let mut body = vec![Stmt::Gather {
            table: buffer,
            rows,
            index: at_index,
            count,
            width,
            out: to,
        }];
        if self.nested {
            // The grid is the walk's: here the leading axes are loops.
            let lead = std::mem::take(&mut self.frame.grid);
            for (index, extent) in lead.into_iter().rev() {
                body = vec![Stmt::Loop {
                    index,
                    extent,
                    part: Part::All,
                    reverse: false,
                    body,
                }];
            }
        }
        self.frame.body.extend(body);
        self.end("gather");
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// Rows added to a table of zeros.
    pub(super) fn scatter(
        &mut self,
        node: &NodeData,
        rows: usize,
    ) -> Result<(), PassError> {
        let v = node.results[0];
        let mut values = self.settled(node.operands[0])?;
        if !values.is_whole() {
            values = self.copied(&values, "rows")?;
        }
        let index = self.settled(node.operands[1])?;
        let ty = self.graph.ty(v).clone();
        let out = self.room(&self.name(v), &ty);
        let width = row(&ty.dims)?;
        let Home::Tensor(tensor) = out.home else {
            return Err(limited("rows added to a table within a walk"));
        };
        self.session.plan.launches.push(Launch::Zero(tensor));
        self.begin();
        let (count, at_index, at_values) = self.rows(&index, width)?;
        // One point: rows are added in order.
        let grid = std::mem::take(&mut self.frame.grid);
        self.place(out.home, false);
        let Place::Buffer(buffer) = self.place(out.home, true) else {
            return Err(bug("a table in scratch"));
        };
        let place = self.place(values.home, false);
        let values = nestor_ir::tile::Access {
            place,
            origin: at_values,
            strides: [Affine::number(width as i64), Affine::number(1)]
                .into_iter()
                .collect(),
            bounds: Default::default(),
            pad: 0.0,
        };
        let mut body = vec![Stmt::ScatterAdd {
            table: buffer,
            rows,
            index: at_index,
            count,
            width,
            values,
            share: None,
        }];
        for (index, extent) in grid.into_iter().rev() {
            body =
                vec![Stmt::Loop { index, extent, part: Part::All, reverse: false, body }];
        }
        self.frame.body.extend(body);
        self.end("scatter_add");
        self.known[v.index()] = Some(Known::At(out));
        Ok(())
    }

    /// The last axis of the indices as a count, the others as the grid; first index and first row.
    fn rows(
        &mut self,
        index: &View,
        width: usize,
    ) -> Result<(nestor_ir::dim::Dim, nestor_ir::tile::Access, Affine), PassError> {
        let n = index.dims.len();
        let (count, lead) = match index.dims.split_last() {
            Some((count, lead)) => (*count, lead.to_vec()),
            None => (nestor_ir::dim::Dim::Fixed(1), vec![]),
        };
        let one = Monomial::number(1);
        let mut coords = Vec::new();
        let mut row = Affine::default();
        let own = nestor_ir::tile::size::strides(&index.dims);
        for (axis, dim) in lead.iter().enumerate() {
            let i = self.frame.index();
            self.frame.grid.push((i, *dim));
            coords.push(Coord::fixed(Affine::index(i, one), 1));
            row = row
                .plus(&Affine::index(i, own[axis].times(Monomial::number(width as i64))));
        }
        if n > 0 {
            coords.push(Coord::along(0, 1));
        }
        let place = self.place(index.home, false);
        Ok((count, access(index, place, &coords, 1), row))
    }
}

pub(super) fn inner(view: &View, at: &[Affine]) -> View {
    at.iter().fold(view.clone(), |v, i| v.at(i))
}

pub(super) fn fixed(dims: &Dims, axis: usize) -> Result<usize, PassError> {
    dims.get(axis)
        .and_then(|d| d.fixed())
        .ok_or_else(|| bug("a size that is not fixed in a solve or a table"))
}

fn row(dims: &Dims) -> Result<usize, PassError> {
    (1..dims.len()).map(|i| fixed(dims, i)).product()
}

fn limited(what: &str) -> PassError {
    PassError::limitation("L-no-kernel", what, "run it with the interpreter")
}
