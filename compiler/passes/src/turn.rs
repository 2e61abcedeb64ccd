//! Copies that only products read, laid as memory has them, for machines whose products take any strides.
//!
//! ```text
//! before   map [128, 32] t1[0; 32, 1] = b0[4096*i0; 1, 128]      product t2 = t1[0; 32, 1] @ t0[0; 32, 1]
//! after    map [32, 128] t1[0; 128, 1] = b0[4096*i0; 128, 1]     product t2 = t1[0; 1, 128] @ t0[0; 32, 1]
//! ```
//!
//! Threads side by side read what lies side by side then, and such a copy can be made while something else is worked on.

use crate::unpack::only_operands;
use nestor_ir::tile::{
    Access, Affine, Kernel, Matrix, Monomial, Place, ScalarOp, Sink, Stmt, Tile,
};

/// The kernel with its copies turned.
#[must_use]
pub fn turned(mut kernel: Kernel) -> Kernel {
    for tile in only_operands(&kernel) {
        let [rows, columns] = kernel.tiles[tile].dims[..] else { continue };
        let sides = [rows, columns].map(Monomial::dim);
        if !is_copied(&kernel.body, tile) {
            continue;
        }
        let mut body = kernel.body.clone();
        if body.iter_mut().all(|s| turn(s, tile, sides)) {
            kernel.body = body;
            kernel.tiles[tile].dims.reverse();
        }
    }
    kernel
}

/// Whether some statement does nothing but copy a buffer to a tile.
fn is_copied(body: &[Stmt], tile: Tile) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Map { loads, sinks, .. } => {
            matches!(&sinks[..], [(_, Sink::Store(to))] if to.place == Place::Tile(tile))
                && matches!(&loads[..], [from] if matches!(from.place, Place::Buffer(_)))
        }
        _ => is_copied(stmt.inner(), tile),
    })
}

/// Turns a tile in a statement and in those that it holds; whether that can be said and pays.
fn turn(stmt: &mut Stmt, tile: Tile, sides: [Monomial; 2]) -> bool {
    let place = Place::Tile(tile);
    match stmt {
        Stmt::Product { left, right, .. } => {
            let own = |m: &&mut Matrix| m.place == place;
            [left, right].into_iter().filter(own).all(|m| turn_matrix(m, sides))
        }
        Stmt::Map { space, expr, loads, sinks } => {
            if !sinks.iter().any(|(_, sink)| sink.to().place == place) {
                return true;
            }
            let [(root, Sink::Store(to))] = &mut sinks[..] else { return false };
            let ([from], ScalarOp::Load(0)) = (&mut loads[..], expr.scalars[*root].op)
            else {
                return false;
            };
            let straight = [sides[1], Monomial::number(1)].map(Affine::from);
            let pays = space.len() == 2
                && from.strides[0].as_number() == Some(1)
                && from.strides[1].as_number() != Some(0)
                && matches!(from.place, Place::Buffer(_));
            if !pays || to.strides[..] != straight || to.origin != Affine::default() {
                return false;
            }
            space.reverse();
            turn_access(from);
            turn_access(to);
            to.strides =
                [sides[0], Monomial::number(1)].map(Affine::from).into_iter().collect();
            true
        }
        Stmt::Loop { body, .. } | Stmt::When { body, .. } | Stmt::Together { body } => {
            body.iter_mut().all(|s| turn(s, tile, sides))
        }
        Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. } => true,
    }
}

fn turn_access(access: &mut Access) {
    access.strides.reverse();
    access.bounds.iter_mut().for_each(|b| b.strides.reverse());
}

fn turn_matrix(matrix: &mut Matrix, [rows, columns]: [Monomial; 2]) -> bool {
    let one = Affine::number(1);
    let turned = |stride: &Affine| match stride {
        s if *s == Affine::from(columns) => Some(one.clone()),
        s if *s == one => Some(Affine::from(rows)),
        _ => None,
    };
    let (Some(row), Some(column)) = (turned(&matrix.row), turned(&matrix.column)) else {
        return false;
    };
    let known = columns != Monomial::number(1) && matrix.origin == Affine::default();
    (matrix.row, matrix.column) = (row, column);
    known
}
