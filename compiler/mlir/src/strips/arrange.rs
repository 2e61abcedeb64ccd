//! What is done to loops before warps work on them column by column: operands are rounded once for all, and what all threads do comes first.

use super::Strips;
use crate::narrow::Kept;
use nestor_ir::entity::Arena;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{
    Access, Affine, Expr, Extent, Kernel, Matrix, Place, ScalarKind, ScalarOp, Sink,
    Stmt, Tile, TileData,
};
use nestor_ir::ty::Elem;

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
