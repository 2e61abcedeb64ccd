//! A kernel as what each point of a team does of it.

use super::axes::{Dealt, Work, matched};
use super::{entries, totals};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::size::strides;
use nestor_ir::tile::{
    Access, Affine, Bound, Expr, Extent, Index, Kernel, Matrix, Monomial, Place,
    ScalarKind, ScalarOp, Sink, Stmt, Tile, TileData,
};
use nestor_ir::ty::{Dims, Elem};
use smallvec::SmallVec;

/// The kernel with a group dealt out in so many pieces.
pub(super) fn cut(mut kernel: Kernel, dealt: &Dealt, pieces: usize) -> Kernel {
    let body = std::mem::take(&mut kernel.body);
    let member = Index::new(kernel.indices);
    let before = kernel.clone();
    let piece = dealt.width / pieces;
    for (tile, axis) in
        kernel.tiles.keys().collect::<Vec<_>>().into_iter().zip(&dealt.tiles)
    {
        if let Some(axis) = axis {
            kernel.tiles[tile].dims[*axis] = Dim::Fixed(piece);
        }
    }
    kernel.indices += 1;
    kernel.grid.push((member, Dim::Fixed(pieces)));
    let mut knife = Knife { before, kernel, dealt, piece, member, number: 0 };
    let body = knife.body(body);
    let mut kernel = knife.kernel;
    kernel.body = totals::late(body);
    kernel
}

struct Knife<'d> {
    /// The kernel as it was, without its body.
    before: Kernel,
    kernel: Kernel,
    dealt: &'d Dealt,
    piece: usize,
    member: Index,
    /// The next statement's.
    number: usize,
}

impl Knife<'_> {
    fn body(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::new();
        for mut stmt in body {
            let dim = self.dealt.stmts[self.number];
            self.number += 1;
            match (&mut stmt, dim) {
                (Stmt::Loop { body, .. } | Stmt::When { body, .. }, _) => {
                    *body = self.body(std::mem::take(body));
                    out.push(stmt);
                }
                (_, Some(d)) => self.piece_of(stmt, d, &mut out),
                (_, None) => out.push(self.by_one(stmt)),
            }
        }
        out
    }

    /// What is done for a piece along dimension `d`, and the sums over it made whole.
    fn piece_of(&mut self, mut stmt: Stmt, d: usize, out: &mut Vec<Stmt>) {
        let work = Work::of(&stmt).expect("only these have dimensions");
        let mut parts = Parts::default();
        match &mut stmt {
            Stmt::Map { space, loads, sinks, .. } => {
                loads.iter_mut().for_each(|a| self.moved(a, &work.space, d));
                space[d] = Dim::Fixed(self.piece);
                for (_, sink) in sinks {
                    match sink {
                        Sink::Fold { axes, to, accumulate, .. }
                            if d + *axes >= work.space.len() =>
                        {
                            let kept = &work.space[..work.space.len() - *axes];
                            self.part(to, kept, accumulate, &mut parts);
                        }
                        sink => self.moved(sink.to_mut(), &work.space, d),
                    }
                }
            }
            Stmt::Product { m, n, k, left, right, out: to, accumulate, .. } => {
                self.moved_matrix(left, &work.space, [0, 2], d);
                self.moved_matrix(right, &work.space, [2, 1], d);
                if d == 2 {
                    let mut access = to.access();
                    self.part(&mut access, &work.space[..2], accumulate, &mut parts);
                    *to = Matrix::of(access, [0, 1]);
                } else {
                    self.moved_matrix(to, &work.space, [0, 1], d);
                }
                *[m, n, k][d] = Dim::Fixed(self.piece);
            }
            _ => unreachable!("only these have dimensions"),
        }
        out.push(stmt);
        if !parts.tiles.is_empty() {
            out.push(Stmt::Total { tiles: parts.tiles });
        }
        out.extend(parts.added);
    }

    /// A sum over the pieces: to where it goes where that is all of a tile, else to a tile of its own, and from there once it is whole.
    fn part(
        &mut self,
        to: &mut Access,
        kept: &[Extent],
        accumulate: &mut bool,
        parts: &mut Parts,
    ) {
        let count: Option<usize> = kept.iter().map(|d| d.fixed()).product();
        if let Place::Tile(tile) = to.place
            && !*accumulate
            && to.bounds.is_empty()
            && count.is_some()
            && count == entries(&self.kernel, tile)
        {
            parts.tiles.push(tile);
            return;
        }
        let dims: Dims = kept.iter().copied().collect();
        let name = "part".to_owned();
        let strides = strides(&dims).into_iter().map(Affine::from).collect();
        let tile = self.kernel.tiles.push(TileData { name, elem: Elem::Real, dims });
        let (place, origin) = (Place::Tile(tile), Affine::default());
        let own = Access { place, origin, strides, bounds: SmallVec::new(), pad: 0.0 };
        let whole = std::mem::replace(to, own.clone());
        let add = std::mem::replace(accumulate, false);
        let mut expr = Expr::default();
        let mut loads = vec![own];
        let mut root = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        if add {
            loads.push(Access { pad: 0.0, ..whole.clone() });
            let before = expr.add(ScalarOp::Load(1), &[], ScalarKind::Real);
            root = expr.add(ScalarOp::Add, &[before, root], ScalarKind::Real);
        }
        let sinks = vec![(root, Sink::Store(whole))];
        let map = Stmt::Map { space: kept.iter().copied().collect(), expr, loads, sinks };
        parts.tiles.push(tile);
        parts.added.push(self.by_one(map));
    }

    /// What every point does for itself, and one of them stores.
    fn by_one(&self, mut stmt: Stmt) -> Stmt {
        match &mut stmt {
            Stmt::Map { sinks, .. } => {
                for (_, sink) in sinks {
                    let to = sink.to_mut();
                    if let Place::Buffer(_) = to.place {
                        to.bounds.push(self.first(to.strides.len()));
                    }
                }
                stmt
            }
            Stmt::Product { out: Matrix { place: Place::Buffer(_), .. }, .. } => {
                let (low, high) = (Affine::number(0), Affine::number(1));
                Stmt::When { value: self.at(1), low, high, body: vec![stmt] }
            }
            _ => stmt,
        }
    }

    /// Holds of a team's first point.
    fn first(&self, rank: usize) -> Bound {
        let (low, high) = (Affine::number(0), Affine::number(1));
        Bound { offset: self.at(1), strides: SmallVec::from_elem(0, rank), low, high }
    }

    /// The point's number in its team, so many times.
    fn at(&self, times: i64) -> Affine {
        Affine::index(self.member, Monomial::number(times))
    }

    /// An access of a statement as that of a piece along a dimension of it.
    fn moved(&self, a: &mut Access, space: &[Extent], d: usize) {
        for bound in &mut a.bounds {
            let by = bound.strides.get(d).copied().unwrap_or(0) * self.piece as i64;
            bound.offset = bound.offset.clone().plus(&self.at(by));
        }
        match a.place {
            Place::Tile(tile) => self.restrided(a, tile, space),
            Place::Buffer(_) => {
                let Some(stride) = a.strides.get(d) else { return };
                for m in &stride.constant {
                    let by = m.times(Monomial::number(self.piece as i64));
                    let moved = Affine::index(self.member, by);
                    a.origin = std::mem::take(&mut a.origin).plus(&moved);
                }
            }
        }
    }

    /// A tile that is a piece is that much smaller.
    fn restrided(&self, a: &mut Access, tile: Tile, space: &[Extent]) {
        if self.dealt.tiles[tile.index()].is_none() {
            return;
        }
        let pairs = matched(&self.before, a, space).expect("it runs along axes");
        let own = strides(&self.kernel.tiles[tile].dims);
        for (axis, d) in pairs {
            a.strides[d] = Affine::from(own[axis]);
        }
    }

    fn moved_matrix(&self, x: &mut Matrix, space: &[Extent], of: [usize; 2], d: usize) {
        let mut access = x.over(space.len(), of);
        self.moved(&mut access, space, d);
        *x = Matrix::of(access, of);
    }
}

/// What is left to do of a statement's sums.
#[derive(Default)]
struct Parts {
    tiles: Vec<Tile>,
    /// From tiles of their own to where they go.
    added: Vec<Stmt>,
}
