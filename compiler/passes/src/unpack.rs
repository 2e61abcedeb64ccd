//! Operands of products read where they lie, for machines whose products take any strides.
//!
//! ```text
//! before   map [128, 32] t13[0; 32, 1] = t5[0; 1, 128]
//!          product t12 = t5[0; 128, 1] @ t13[0; 32, 1]
//! after    product t12 = t5[0; 128, 1] @ t5[0; 1, 128]
//! ```
//!
//! A CPU's products want their right operand's rows side by side, and copies pay. A GPU brings operands to its cores in the
//! order that the instruction wants, in any case: copies cost barriers, and the room that states need.

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::writes;
use nestor_ir::tile::{
    Access, Affine, Kernel, Matrix, Monomial, Place, ScalarOp, Sink, Stmt, Tile,
    lifetimes,
};

/// The kernel without copies that only products read.
#[must_use]
pub fn unpacked(mut kernel: Kernel) -> Kernel {
    let copies = only_operands(&kernel);
    let mut body = std::mem::take(&mut kernel.body);
    for tile in copies {
        let all = takers(&body, tile);
        without(&mut body, tile, all, &kernel);
    }
    kernel.body = body;
    kernel
}

/// Tiles that are written once and otherwise only operands of products.
pub(crate) fn only_operands(kernel: &Kernel) -> Vec<Tile> {
    // How often each is written whole, and whether anything else is done with it.
    let mut found = vec![(0, false); kernel.tiles.len()];
    fn walk(body: &[Stmt], kernel: &Kernel, found: &mut [(usize, bool)]) {
        for stmt in body {
            match stmt {
                Stmt::Product { out, .. } => {
                    if let Place::Tile(tile) = out.place {
                        found[tile.index()].1 = true;
                    }
                }
                Stmt::Loop { .. } | Stmt::When { .. } | Stmt::Together { .. } => {
                    walk(stmt.inner(), kernel, found);
                }
                Stmt::Map { .. }
                | Stmt::SolveUnitLower { .. }
                | Stmt::Eliminate { .. }
                | Stmt::InverseRoot { .. }
                | Stmt::LinearScan { .. }
                | Stmt::Gather { .. }
                | Stmt::ScatterAdd { .. }
                | Stmt::Total { .. } => {
                    lifetimes::touched(kernel, stmt, |tile, wrote| {
                        let (written, other) = &mut found[tile.index()];
                        *written += usize::from(wrote);
                        *other |= !wrote;
                    });
                }
            }
        }
    }
    walk(&kernel.body, kernel, &mut found);
    kernel.tiles.keys().filter(|t| found[t.index()] == (1, false)).collect()
}

/// Takes the copy in a tile out of a body, or out of one that it holds, where that is sound: all products that take it come
/// behind it there, none in the loop's next turn or after the loop.
fn without(body: &mut Vec<Stmt>, tile: Tile, all: usize, kernel: &Kernel) {
    let here = body.iter().position(|s| copied(s, tile, kernel).is_some());
    let Some(at) = here else {
        for stmt in body {
            if let Stmt::Loop { body, .. } | Stmt::When { body, .. } = stmt {
                without(body, tile, all, kernel);
            }
        }
        return;
    };
    let Some(source) = copied(&body[at], tile, kernel) else { return };
    if takers(&body[at + 1..], tile) != all {
        return;
    }
    let takes = |s: &Stmt| takers(std::slice::from_ref(s), tile) > 0;
    let last = body.iter().rposition(takes).unwrap_or(at);
    let between = &body[at + 1..=last.max(at)];
    let same = !between.iter().any(|s| writes(s, source.place));
    let [_, columns] = kernel.tiles[tile].dims[..] else { return };
    let columns = Monomial::dim(columns);
    let mut rest = body[at + 1..].to_vec();
    if same && rest.iter_mut().all(|s| placed(s, tile, &source, columns)) {
        body.truncate(at);
        body.append(&mut rest);
    }
}

/// What a statement copies to a whole tile of two dimensions, one number for each.
fn copied(stmt: &Stmt, tile: Tile, kernel: &Kernel) -> Option<Access> {
    let Stmt::Map { space, expr, loads, sinks } = stmt else { return None };
    let ([from], [(root, Sink::Store(to))]) = (&loads[..], &sinks[..]) else {
        return None;
    };
    let dims = &kernel.tiles[tile].dims;
    let [_, columns] = dims[..] else { return None };
    let whole = to.place == Place::Tile(tile)
        && space[..] == dims[..]
        && to.origin == Affine::default()
        && to.strides[..]
            == [Monomial::dim(columns), Monomial::number(1)].map(Affine::from);
    let plain = matches!(expr.scalars[*root].op, ScalarOp::Load(0))
        && from.bounds.is_empty()
        && to.bounds.is_empty();
    (whole && plain).then(|| from.clone())
}

/// How many products have the tile as an operand.
fn takers(body: &[Stmt], tile: Tile) -> usize {
    let of = |m: &Matrix| m.place == Place::Tile(tile);
    let each = |stmt: &Stmt| match stmt {
        Stmt::Product { left, right, .. } => usize::from(of(left) || of(right)),
        _ => takers(stmt.inner(), tile),
    };
    body.iter().map(each).sum()
}

/// Reads the source in place of the tile; whether that could be said.
fn placed(stmt: &mut Stmt, tile: Tile, source: &Access, columns: Monomial) -> bool {
    let (along, down) = (Affine::number(1), Affine::from(columns));
    let put = |matrix: &mut Matrix| {
        if matrix.place != Place::Tile(tile) {
            return true;
        }
        let turned = match (&matrix.row, &matrix.column) {
            _ if matrix.origin != Affine::default() || down == along => return false,
            (row, column) if *row == down && *column == along => false,
            (row, column) if *row == along && *column == down => true,
            _ => return false,
        };
        let [first, second] = &source.strides[..] else { return false };
        let (row, column) = if turned { (second, first) } else { (first, second) };
        *matrix = Matrix {
            place: source.place,
            origin: source.origin.clone(),
            row: row.clone(),
            column: column.clone(),
        };
        true
    };
    match stmt {
        Stmt::Product { left, right, .. } => put(left) && put(right),
        Stmt::Loop { body, .. } | Stmt::When { body, .. } | Stmt::Together { body } => {
            body.iter_mut().all(|s| placed(s, tile, source, columns))
        }
        Stmt::Map { .. }
        | Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. } => true,
    }
}
