//! Tiles whose columns are held in registers, sixteen by each warp, from statement to statement and from turn to turn of a loop.
//!
//! ```text
//! loop i { t2 = t1 @ t0;  t4 = b3 * t2 - b5;  t3 = b6 @ t4;  t0 = b9 * t0 + t1' @ t3 }     a warp has columns of t0, t2, t3, t4
//! ```
//!
//! Where each column of what a statement writes follows from the same column of what it reads, warps need not wait for one another, and
//! nothing of it lies in shared memory: sums of a product's pieces are turned within the warp to be the next product's right operand. What
//! has no such columns (t1) is brought by all threads, before them in every turn where nothing stands in the way.

use crate::narrow::Kept;
use crate::products::on_cores;
use crate::target::Products;
use nestor_ir::entity::{Arena, Entity};
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::together::{parts, point};
use nestor_ir::tile::{
    Access, Affine, Expr, Extent, Kernel, Matrix, Place, ScalarKind, ScalarOp, Shape,
    Sink, Stmt, Tile, TileData,
};
use nestor_ir::ty::Elem;

/// Columns of a warp: two pieces, of which both are multiplied by what is loaded of the left operand.
pub const WIDTH: usize = 16;
/// Rows of a piece, and terms of an instruction.
pub const DEPTH: usize = 16;
/// Warps of a block at most.
const WARPS: usize = 8;
/// Numbers of a thread in what a loop carries, at most: of 255 registers.
const MOST: usize = 128;

/// What a kernel holds in registers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strips {
    /// Columns of all warps; none where nothing is held.
    pub columns: usize,
    /// By tile.
    held: Vec<bool>,
}

impl Strips {
    /// Warps that have columns.
    pub fn warps(&self) -> usize {
        self.columns / WIDTH
    }

    /// Whether a tile is held.
    pub fn is_held(&self, tile: Tile) -> bool {
        self.held.get(tile.index()).is_some_and(|h| *h)
    }

    /// The tile of a place, where that is held.
    pub fn tile(&self, place: Place) -> Option<Tile> {
        match place {
            Place::Tile(tile) => Some(tile).filter(|t| self.is_held(*t)),
            Place::Buffer(_) => None,
        }
    }

    /// Whether a statement that holds no loop is worked on by warps, each for its columns.
    pub fn takes(&self, stmt: &Stmt) -> bool {
        let is_one = !matches!(stmt, Stmt::Loop { .. } | Stmt::When { .. });
        self.columns > 0 && is_one && !self.held_by(&touches(stmt)).is_empty()
    }

    /// The held tiles that a body writes, each once.
    pub fn written(&self, body: &[Stmt]) -> Vec<Tile> {
        if self.columns == 0 {
            return vec![];
        }
        let mut out: Vec<Tile> = Vec::new();
        for place in body.iter().flat_map(|stmt| touches(stmt).writes) {
            out.extend(self.tile(place).filter(|t| !out.contains(t)));
        }
        out
    }

    fn held_by(&self, touched: &Touches) -> Vec<Tile> {
        let all = touched.reads.iter().chain(&touched.writes);
        all.filter_map(|place| self.tile(*place)).collect()
    }
}

/// Which tiles of a kernel are held: of columns with which most of its loops' products are; those that are copied ahead are not.
pub fn strips(kernel: &Kernel, products: Products, ahead: &[Tile]) -> Strips {
    let mut best = (0, Strips::default());
    if products != Products::Brain || !kernel.body.iter().any(is_loop) {
        return best.1;
    }
    let mut tried: Vec<usize> = Vec::new();
    for columns in kernel.tiles.values().filter_map(|t| t.dims.last()?.fixed()) {
        let fits = columns.is_multiple_of(WIDTH) && columns <= WARPS * WIDTH;
        if columns == 0 || !fits || tried.contains(&columns) {
            continue;
        }
        tried.push(columns);
        let found = of_columns(kernel, columns, ahead);
        let worth = found.worth(kernel);
        if worth > best.0 {
            best = (worth, found);
        }
    }
    best.1
}

fn is_loop(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Loop { extent, .. } if extent.fixed().is_none_or(|n| n > 1))
}

/// The most tiles of so many columns that can be held.
fn of_columns(kernel: &Kernel, columns: usize, ahead: &[Tile]) -> Strips {
    let may = |tile: Tile| {
        let data = &kernel.tiles[tile];
        let wide = data.dims.last().is_some_and(|d| d.fixed() == Some(columns));
        let rows = rows(kernel, tile).is_some_and(|n| n > 0 && n.is_multiple_of(DEPTH));
        wide && rows && data.elem == Elem::Real && !ahead.contains(&tile)
    };
    let held = kernel.tiles.keys().map(may).collect();
    let mut strips = Strips { columns, held };
    loop {
        let mut out: Vec<Tile> = Vec::new();
        for stmt in &kernel.body {
            match stmt {
                Stmt::Loop { body, .. } => {
                    out.extend(body.iter().flat_map(|s| strips.unfit(kernel, s)));
                }
                stmt => out.extend(strips.unfit(kernel, stmt)),
            }
        }
        if out.is_empty() {
            return strips;
        }
        out.into_iter().for_each(|tile| strips.held[tile.index()] = false);
    }
}

/// The statements that are worked on as one.
fn each(stmt: &Stmt) -> &[Stmt] {
    match stmt {
        Stmt::Together { body } => body,
        stmt => std::slice::from_ref(stmt),
    }
}

/// Rows of a tile as a matrix.
fn rows(kernel: &Kernel, tile: Tile) -> Option<usize> {
    let (_, before) = kernel.tiles[tile].dims.split_last()?;
    before.iter().map(|d| d.fixed()).product()
}

impl Strips {
    /// Products of loops whose right operands are held, where some loop carries what is held from turn to turn and that is not too much; each with
    /// how much it is.
    fn worth(&self, kernel: &Kernel) -> usize {
        let mut worth = 0;
        let loops = kernel.body.iter().filter(|s| is_loop(s));
        for body in loops.map(Stmt::inner) {
            let carried: usize =
                self.carried(body).iter().map(|t| self.numbers(kernel, *t)).sum();
            if carried > 0 && carried <= MOST {
                worth += body.iter().map(|stmt| self.work(stmt)).sum::<usize>();
            } else if !self.written(body).is_empty() {
                return 0;
            }
        }
        worth
    }

    /// Numbers of a held tile that a thread has.
    fn numbers(&self, kernel: &Kernel, tile: Tile) -> usize {
        rows(kernel, tile).unwrap_or(0) * WIDTH / 32
    }

    /// Held tiles that a loop's body reads before it writes them.
    fn carried(&self, body: &[Stmt]) -> Vec<Tile> {
        let (mut out, mut written) = (Vec::new(), Vec::new());
        for touched in body.iter().flat_map(each).map(touches) {
            let reads = touched.reads.iter().filter_map(|place| self.tile(*place));
            out.extend(reads.filter(|t| !written.contains(t)).collect::<Vec<_>>());
            written.extend(touched.writes.iter().filter_map(|place| self.tile(*place)));
        }
        out.sort_unstable();
        out.dedup();
        out.retain(|t| written.contains(t));
        out
    }

    fn work(&self, stmt: &Stmt) -> usize {
        match stmt {
            Stmt::Product { m, k, right, .. } if self.tile(right.place).is_some() => {
                m.fixed().unwrap_or(0) * k.fixed().unwrap_or(0)
            }
            Stmt::Together { body } => body.iter().map(|s| self.work(s)).sum(),
            _ => 0,
        }
    }

    /// What stands in the way of a statement being worked on column by column; nothing where it touches none that is held, or is so.
    fn unfit(&self, kernel: &Kernel, stmt: &Stmt) -> Vec<Tile> {
        let all = self.held_by(&touches(stmt));
        if all.is_empty() {
            return all;
        }
        match stmt {
            Stmt::Product { .. } => self.unfit_product(kernel, stmt).unwrap_or(all),
            Stmt::Map { .. } => {
                let high = rows(kernel, all[0]).map(Extent::Fixed);
                let high = high.filter(|_| {
                    all.iter().all(|t| rows(kernel, *t) == rows(kernel, all[0]))
                });
                high.and_then(|high| self.unfit_map(stmt, high, None)).unwrap_or(all)
            }
            Stmt::Together { body } => {
                let (products, map) = parts(body);
                let mut out = Vec::new();
                for product in products {
                    match self.unfit_product(kernel, product) {
                        Some(some) => out.extend(some),
                        None => return all,
                    }
                }
                let Some(map) = map else { return out };
                let Stmt::Product { m, out: own, .. } = &products[0] else { return all };
                match self.unfit_map(map, *m, Some(own.place)) {
                    Some(some) => out.extend(some),
                    None => return all,
                }
                out
            }
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Loop { .. }
            | Stmt::When { .. } => all,
        }
    }

    /// Of a product whose columns are the kernel's: operands and results that are not whole. Nothing where it is another product.
    fn unfit_product(&self, kernel: &Kernel, stmt: &Stmt) -> Option<Vec<Tile>> {
        let Stmt::Product { m, n, k, left, right, out, shape, .. } = stmt else {
            return None;
        };
        let whole = |d: &Extent| d.fixed().is_some_and(|n| n.is_multiple_of(DEPTH));
        let fits = on_cores([*m, *n, *k], Products::Brain)
            && *n == Extent::Fixed(self.columns)
            && whole(m)
            && whole(k)
            && *shape == Shape::Full;
        if !fits {
            return None;
        }
        let mut unfit: Vec<Tile> = self.tile(left.place).into_iter().collect();
        for (x, high) in [(right, k), (out, m)] {
            let is_whole =
                |tile: Tile| rows(kernel, tile) == high.fixed() && self.is_entry(x);
            unfit.extend(self.tile(x.place).filter(|tile| !is_whole(*tile)));
        }
        Some(unfit)
    }

    fn is_entry(&self, x: &Matrix) -> bool {
        let is = |a: &Affine, n: usize| a.as_number() == Some(n as i64);
        is(&x.origin, 0) && is(&x.row, self.columns) && is(&x.column, 1)
    }

    /// Of a map with a point for each row and column: what is not touched at its point. Nothing where it is another map.
    fn unfit_map(
        &self,
        stmt: &Stmt,
        high: Extent,
        own: Option<Place>,
    ) -> Option<Vec<Tile>> {
        let Stmt::Map { space, loads, sinks, .. } = stmt else { return None };
        let sides = point(space, [high, Extent::Fixed(self.columns)])?;
        let folds = sinks.iter().any(|(_, sink)| matches!(sink, Sink::Fold { .. }));
        if folds || sides.last() != Some(&Some(1)) {
            return None;
        }
        let here = |a: &Access| {
            let is = |a: &Affine, n: usize| a.as_number() == Some(n as i64);
            let strides = [self.columns, 1];
            let moves = |(side, stride): (&Option<usize>, &Affine)| {
                side.is_none_or(|s| is(stride, strides[s]))
            };
            is(&a.origin, 0)
                && a.bounds.is_empty()
                && sides.iter().zip(&a.strides).all(moves)
        };
        let all = loads.iter().chain(sinks.iter().map(|(_, sink)| sink.to()));
        let other = all.filter(|a| Some(a.place) != own && !here(a));
        Some(other.filter_map(|a| self.tile(a.place)).collect())
    }
}

/// The kernel with operands that lie wide in memory as tiles of their own, and with what all threads do in a loop's turn before what warps do, where
/// neither takes what the other gives.
pub fn arranged(kernel: &Kernel, strips: &Strips, kept: &Kept) -> Kernel {
    let mut out = kernel.clone();
    if strips.columns == 0 {
        return out;
    }
    for n in 0..out.body.len() {
        let Stmt::Loop { body, .. } = &mut out.body[n] else { continue };
        let body = std::mem::take(body);
        let all = rounded(body, &mut out.tiles, strips, kept);
        let (mut first, mut passed): (Vec<Stmt>, Vec<(Stmt, Touches)>) =
            Default::default();
        for stmt in all {
            let own = touches(&stmt);
            let free = passed.iter().all(|(_, other)| own.apart(other));
            match !strips.takes(&stmt) && free {
                true => first.push(stmt),
                false => passed.push((stmt, own)),
            }
        }
        first.extend(passed.into_iter().map(|(stmt, _)| stmt));
        if let Stmt::Loop { body, .. } = &mut out.body[n] {
            *body = first;
        }
    }
    out
}

/// A loop's body with the operands of its strips rounded once for all warps: each as a tile that nothing but products reads.
fn rounded(
    body: Vec<Stmt>,
    tiles: &mut Arena<Tile, TileData>,
    strips: &Strips,
    kept: &Kept,
) -> Vec<Stmt> {
    let ours = body.iter().filter(|s| strips.takes(s));
    let twice = body.iter().chain(ours);
    let writes: Vec<Place> = twice.flat_map(|s| touches(s).writes).collect();
    // What is written but once in a turn, and not by warps for themselves.
    let is_still =
        |place: Place| writes.iter().filter(|p| **p == place).take(2).count() < 2;
    let mut known: Vec<(Stored, Tile)> = Vec::new();
    let mut out = Vec::new();
    for mut stmt in body {
        let products = match &mut stmt {
            Stmt::Together { body } => &mut body[..],
            stmt => std::slice::from_mut(stmt),
        };
        let is_ours = products.iter().any(|s| strips.takes(s));
        for product in products.iter_mut().filter(|_| is_ours) {
            let Stmt::Product { m, n, k, left, right, .. } = product else { continue };
            for (x, extent) in [(left, [*m, *k]), (right, [*k, *n])] {
                let wide = strips.tile(x.place).is_none() && !kept.is_narrow(x.place);
                if !wide || !is_still(x.place) {
                    continue;
                }
                let stored = Stored::of(x, extent);
                let found = known.iter().find(|(a, _)| a.is_also(&stored));
                let tile = found.map(|(_, tile)| *tile).unwrap_or_else(|| {
                    let dims = stored.space.into_iter().collect();
                    let name = "operand".to_owned();
                    let tile = tiles.push(TileData { name, elem: Elem::Real, dims });
                    out.push(stored.copied(tile));
                    known.push((stored.clone(), tile));
                    tile
                });
                *x = stored.matrix(tile);
            }
        }
        out.push(stmt);
    }
    out
}

/// A matrix as memory has it: turned where its rows lie beside one another.
#[derive(Clone, Debug)]
struct Stored {
    turned: bool,
    space: [Extent; 2],
    from: Access,
}

impl Stored {
    fn of(x: &Matrix, [m, n]: [Extent; 2]) -> Self {
        let turned = x.row.as_number() == Some(1);
        let mut from = x.access();
        let mut space = [m, n];
        if turned {
            from.strides.reverse();
            space.reverse();
        }
        Self { turned, space, from }
    }

    /// Whether the same numbers lie alike, whichever way products take them.
    fn is_also(&self, other: &Self) -> bool {
        self.space == other.space && self.from == other.from
    }

    /// Elements between lines of a tile that it is copied to.
    fn apart(&self) -> Affine {
        Affine::number(self.space[1].fixed().unwrap_or(0) as i64)
    }

    /// The matrix in such a tile.
    fn matrix(&self, tile: Tile) -> Matrix {
        let (apart, one) = (self.apart(), Affine::number(1));
        let [row, column] = if self.turned { [one, apart] } else { [apart, one] };
        Matrix { place: Place::Tile(tile), origin: Affine::default(), row, column }
    }

    /// The copy to it.
    fn copied(&self, tile: Tile) -> Stmt {
        let mut expr = Expr::default();
        let root = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        let to = Access {
            place: Place::Tile(tile),
            origin: Affine::default(),
            strides: [self.apart(), Affine::number(1)].into_iter().collect(),
            ..self.from.clone()
        };
        let space = self.space.into_iter().collect();
        let sinks = vec![(root, Sink::Store(to))];
        Stmt::Map { space, expr, loads: vec![self.from.clone()], sinks }
    }
}
