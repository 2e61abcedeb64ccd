//! What is done to loops before warps work on them column by column: operands are rounded once for all, and what all threads do comes first.

use super::Strips;
use crate::narrow::Kept;
use crate::products::Once;
use nestor_ir::entity::Arena;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{
    Access, Affine, Expr, Extent, Kernel, Matrix, Place, ScalarKind, ScalarOp, Shape,
    Sink, Stmt, Tile, TileData,
};
use nestor_ir::ty::Elem;

/// The kernel with operands that lie wide in memory, or of which a part is zero, as tiles of their own, and with what all threads do in a loop's turn
/// before what warps do, where neither takes what the other gives. Operands of other products (`Once`) are treated alike where that is asked for.
pub fn arranged(kernel: &Kernel, strips: &Strips, once: Once, kept: &Kept) -> Kernel {
    let mut out = kernel.clone();
    let body = std::mem::take(&mut out.body);
    let how = How { strips, once, kept };
    out.body = inside(body, false, &mut out.tiles, how);
    out
}

/// What decides it.
#[derive(Clone, Copy)]
struct How<'k> {
    strips: &'k Strips,
    once: Once,
    kept: &'k Kept,
}

impl How<'_> {
    /// Whether operands of a statement's products are rounded once.
    fn rounds(self, stmt: &Stmt) -> bool {
        let once = |s: &Stmt| match s {
            Stmt::Product { m, n, k, .. } => self.once.is_of([*m, *n, *k]),
            _ => false,
        };
        let first = match stmt {
            Stmt::Together { body } => body.first(),
            stmt => Some(stmt),
        };
        self.strips.takes(stmt) || first.is_some_and(once)
    }
}

fn inside(
    body: Vec<Stmt>,
    is_turn: bool,
    tiles: &mut Arena<Tile, TileData>,
    how: How<'_>,
) -> Vec<Stmt> {
    let mut body = rounded(body, tiles, how);
    for stmt in &mut body {
        let is_turn = matches!(stmt, Stmt::Loop { .. });
        if let Stmt::Loop { body, .. } | Stmt::When { body, .. } = stmt {
            *body = inside(std::mem::take(body), is_turn, tiles, how);
        }
    }
    match is_turn && how.strips.columns > 0 {
        true => shared_first(body, how.strips),
        false => body,
    }
}

fn shared_first(body: Vec<Stmt>, strips: &Strips) -> Vec<Stmt> {
    let mut first: Vec<Stmt> = Vec::new();
    let mut passed: Vec<(Stmt, Touches)> = Vec::new();
    for stmt in body {
        let own = touches(&stmt);
        let free = passed.iter().all(|(_, other)| own.apart(other));
        match !strips.takes(&stmt) && free {
            true => first.push(stmt),
            false => passed.push((stmt, own)),
        }
    }
    first.extend(passed.into_iter().map(|(stmt, _)| stmt));
    first
}

/// A body with the operands of such products rounded once for all warps: each as a tile that nothing but products reads.
fn rounded(
    body: Vec<Stmt>,
    tiles: &mut Arena<Tile, TileData>,
    how: How<'_>,
) -> Vec<Stmt> {
    let How { strips, once, kept } = how;
    let mut known: Vec<(Stored, Tile)> = Vec::new();
    let mut out = Vec::new();
    for mut stmt in body {
        let (is_ours, is_of_columns) = (how.rounds(&stmt), strips.takes(&stmt));
        let products = match &mut stmt {
            Stmt::Together { body } => &mut body[..],
            stmt => std::slice::from_mut(stmt),
        };
        for product in products.iter_mut().filter(|_| is_ours) {
            let Stmt::Product { m, n, k, left, right, shape, .. } = product else {
                continue;
            };
            // What is zero of an operand is so in its tile; of a result it stays said, but where warps have its columns.
            let own = match *shape {
                Shape::OutputLower => Shape::Full,
                own => own,
            };
            if *shape != Shape::OutputLower || is_of_columns {
                *shape = Shape::Full;
            }
            // A group's warps have right operands in registers, each its own columns.
            let has = is_of_columns && strips.groups;
            let operands =
                [(left, [*m, *k], own, false), (right, [*k, *n], Shape::Full, has)];
            for (x, extent, shape, has) in operands {
                let lies = matches!(x.place, Place::Tile(_))
                    && kept.is_narrow(x.place)
                    && shape == Shape::Full;
                if lies || has || strips.tile(x.place).is_some() {
                    continue;
                }
                let stored = Stored::of(x, extent, shape);
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
        let writes = touches(&stmt).writes;
        let is_kept = strips.columns > 0 || !once.anew;
        known.retain(|(stored, _)| is_kept && !writes.contains(&stored.from.place));
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
    /// Of its entries those above or below the diagonal are zero.
    shape: Shape,
}

impl Stored {
    fn of(x: &Matrix, [m, n]: [Extent; 2], shape: Shape) -> Self {
        let turned = x.row.as_number() == Some(1);
        let mut from = x.access();
        let mut space = [m, n];
        if turned {
            from.strides.reverse();
            space.reverse();
        }
        Self { turned, space, from, shape }
    }

    /// Whether the same numbers lie alike, whichever way products take them.
    fn is_also(&self, other: &Self) -> bool {
        let alike = self.shape == other.shape
            && (self.shape == Shape::Full || self.turned == other.turned);
        self.space == other.space && self.from == other.from && alike
    }

    /// Which of the copy's dimensions is below the other where entries are zero.
    fn zeros(&self) -> Option<[usize; 2]> {
        match (self.shape, self.turned) {
            (Shape::Full | Shape::OutputLower, _) => None,
            (Shape::LeftLower, false) | (Shape::LeftUpper, true) => Some([0, 1]),
            (Shape::LeftLower, true) | (Shape::LeftUpper, false) => Some([1, 0]),
        }
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
        let mut root = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        if let Some(sides) = self.zeros() {
            expr.offsets.push(Affine::default());
            let [low, high] =
                sides.map(|d| expr.add(ScalarOp::Index(d, 0), &[], ScalarKind::Real));
            let is_zero = expr.add(ScalarOp::Less, &[low, high], ScalarKind::Bool);
            let zero = expr.add(ScalarOp::Constant(0.0), &[], ScalarKind::Real);
            root = expr.add(ScalarOp::Select, &[is_zero, zero, root], ScalarKind::Real);
        }
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
