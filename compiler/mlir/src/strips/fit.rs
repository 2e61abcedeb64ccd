//! Whether statements are worked on column by column.

use super::{DEPTH, GROUP, Strips};
use crate::products::on_cores;
use crate::target::Products;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::together::{parts, point};
use nestor_ir::tile::{
    Access, Affine, ExprId, Extent, Kernel, Matrix, Place, Shape, Sink, Stmt, Tile,
};

/// Numbers of a line of shared memory, and lines of a pattern, as groups of warps read them.
const LINE: usize = 64;
const LINES: usize = 8;
/// Rows of what a group holds, at most: more of them leave a thread no registers for anything else.
const MOST: usize = 128;

impl Strips {
    /// Whether groups of warps can have the columns: what these are multiplied by can lie as they read it.
    pub(super) fn suits_groups(&self, kernel: &Kernel) -> bool {
        let mut all = Vec::new();
        self.taken(&kernel.body, &mut all);
        let products = all.iter().flat_map(|stmt| match stmt {
            Stmt::Together { body } => parts(body).0,
            stmt => std::slice::from_ref(*stmt),
        });
        let suits = |stmt: &Stmt| match stmt {
            Stmt::Product { m, k, left, .. } => {
                let sides = [m.fixed().unwrap_or(0), k.fixed().unwrap_or(0)];
                let turned = left.row.as_number() == Some(1);
                let [lines, line] = if turned { [sides[1], sides[0]] } else { sides };
                line >= LINE
                    && line.is_power_of_two()
                    && lines.is_multiple_of(LINES)
                    && sides.iter().all(|n| *n <= MOST)
            }
            _ => true,
        };
        self.columns.is_multiple_of(GROUP) && products.into_iter().all(suits)
    }

    /// What stands in the way of a statement being worked on column by column; nothing where it touches none that is held, or is so.
    pub(super) fn unfit(&self, stmt: &Stmt) -> Vec<Tile> {
        let all = self.held_by(&touches(stmt));
        if all.is_empty() {
            return all;
        }
        match stmt {
            Stmt::Product { .. } => self.unfit_product(stmt).unwrap_or(all),
            Stmt::Map { .. } => {
                let high = all.iter().map(|t| self.rows(*t)).max().unwrap_or(0);
                let fits = all.iter().all(|t| [1, high].contains(&self.rows(*t)));
                let unfit = self.unfit_map(stmt, Extent::Fixed(high), None);
                unfit.filter(|_| fits).unwrap_or(all)
            }
            Stmt::Together { body } => self.unfit_together(body).unwrap_or(all),
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. }
            | Stmt::Loop { .. }
            | Stmt::When { .. } => all,
        }
    }

    fn unfit_together(&self, body: &[Stmt]) -> Option<Vec<Tile>> {
        let (products, map) = parts(body);
        let mut out = Vec::new();
        for product in products {
            out.extend(self.unfit_product(product)?);
        }
        if let (Some(map), Stmt::Product { m, out: own, .. }) = (map, &products[0]) {
            out.extend(self.unfit_map(map, *m, Some(own.place))?);
        }
        Some(out)
    }

    /// Whether a product has the kernel's columns, and whole pieces of rows and terms.
    pub(super) fn is_of_columns(&self, stmt: &Stmt) -> bool {
        let Stmt::Product { m, n, k, shape, .. } = stmt else { return false };
        let whole = |d: &Extent| d.fixed().is_some_and(|n| n.is_multiple_of(DEPTH));
        on_cores([*m, *n, *k], Products::Brain)
            && *n == Extent::Fixed(self.columns)
            && whole(m)
            && whole(k)
            && *shape != Shape::OutputLower
    }

    /// Whether products that are worked on together have them, and their map has a point for each entry.
    pub(super) fn are_of_columns(&self, body: &[Stmt]) -> bool {
        let (products, map) = parts(body);
        let Some(Stmt::Product { m, out, .. }) = products.first() else { return false };
        let fits = |map| self.unfit_map(map, *m, Some(out.place)).is_some();
        products.iter().all(|p| self.is_of_columns(p)) && map.is_none_or(fits)
    }

    /// Of a product whose columns are the kernel's: operands and results that are not whole. Nothing where it is another product.
    fn unfit_product(&self, stmt: &Stmt) -> Option<Vec<Tile>> {
        let Stmt::Product { m, k, left, right, out, .. } = stmt else { return None };
        if !self.is_of_columns(stmt) {
            return None;
        }
        let mut unfit: Vec<Tile> = self.tile(left.place).into_iter().collect();
        for (x, high) in [(right, k), (out, m)] {
            let is_whole =
                |tile: Tile| Some(self.rows(tile)) == high.fixed() && self.is_entry(x);
            unfit.extend(self.tile(x.place).filter(|tile| !is_whole(*tile)));
        }
        Some(unfit)
    }

    fn is_entry(&self, x: &Matrix) -> bool {
        self.is_here(&x.access(), &[Some(0), Some(1)])
    }

    /// Whether an access is of the number at its point of a tile of these columns, where dimensions run along rows (0) and columns (1) so.
    fn is_here(&self, a: &Access, sides: &[Option<usize>]) -> bool {
        let is = |a: &Affine, n: usize| a.as_number() == Some(n as i64);
        // What has a number for each column has the same for all rows.
        let high = self.tile(a.place).is_some_and(|t| self.rows(t) > 1);
        let strides = [if high { self.columns } else { 0 }, 1];
        let moves = |(side, stride): (&Option<usize>, &Affine)| {
            side.is_none_or(|s| is(stride, strides[s]))
        };
        is(&a.origin, 0) && a.bounds.is_empty() && sides.iter().zip(&a.strides).all(moves)
    }

    /// Of a map with a point for each row and column: what is not touched at its point. Nothing where it is another map.
    fn unfit_map(
        &self,
        stmt: &Stmt,
        high: Extent,
        own: Option<Place>,
    ) -> Option<Vec<Tile>> {
        let Stmt::Map { space, loads, sinks, .. } = stmt else { return None };
        let (_, elsewhere) = self.sides((space, loads, sinks), high, own)?;
        Some(elsewhere)
    }

    /// Which side each dimension of a map runs along, its rows (0) or columns (1), and the held tiles that it touches elsewhere than at its point.
    /// Columns come last, or first: where it folds them, or fewer tiles are in the way so. A map of a product's entries goes as they do. Nothing where
    /// it is another map.
    pub fn sides(
        &self,
        (space, loads, sinks): Parts<'_>,
        high: Extent,
        own: Option<Place>,
    ) -> Option<(Vec<Option<usize>>, Vec<Tile>)> {
        let entries = [high, Extent::Fixed(self.columns)];
        let elsewhere = |sides: Vec<Option<usize>>| {
            let all = loads.iter().chain(sinks.iter().map(|(_, sink)| sink.to()));
            let other = all.filter(|a| Some(a.place) != own && !self.is_here(a, &sides));
            let mut tiles: Vec<Tile> = other.filter_map(|a| self.tile(a.place)).collect();
            // A row gives no number for its columns: all of them fold one.
            let stores = sinks.iter().filter_map(|(_, sink)| match sink {
                Sink::Store(to) => self.tile(to.place),
                Sink::Fold { .. } => None,
            });
            tiles.extend(stores.filter(|t| Some(self.rows(*t)) != high.fixed()));
            (sides, tiles)
        };
        let folds = |(_, sink): &(ExprId, Sink)| matches!(sink, Sink::Fold { .. });
        let ways = match sinks.iter().any(folds) {
            true => [folded(space, sinks, entries), None],
            false => [
                straight(space, entries),
                turned(space, entries).filter(|_| own.is_none()),
            ],
        };
        ways.into_iter().flatten().map(elsewhere).min_by_key(|(_, tiles)| tiles.len())
    }
}

/// A map's space, and what it reads and writes.
pub(super) type Parts<'m> = (&'m [Extent], &'m [Access], &'m [(ExprId, Sink)]);

/// The sides of a map with columns last.
fn straight(space: &[Extent], entries: [Extent; 2]) -> Option<Vec<Option<usize>>> {
    point(space, entries).filter(|sides| sides.last() == Some(&Some(1)))
}

/// The same with columns first.
fn turned(space: &[Extent], [rows, columns]: [Extent; 2]) -> Option<Vec<Option<usize>>> {
    let sides = straight(space, [columns, rows])?;
    Some(sides.into_iter().map(|s| s.map(|s| 1 - s)).collect())
}

/// The sides of a map that folds columns.
fn folded(
    space: &[Extent],
    sinks: &[(ExprId, Sink)],
    [rows, columns]: [Extent; 2],
) -> Option<Vec<Option<usize>>> {
    let is_whole = |(_, sink): &(ExprId, Sink)| match sink {
        Sink::Fold { axes, accumulate, .. } => *axes == 1 && !accumulate,
        Sink::Store(_) => true,
    };
    let fits = space == [columns, rows] && sinks.iter().all(is_whole);
    fits.then(|| vec![Some(1), Some(0)])
}
