//! Operands of products loaded from where they lie: tiles of bfloat16 in shared memory, without room of their own.
//!
//! Parts of sixteen bytes within a line of 128 are exchanged by the number of their row, as those of room are (`staged`), whoever
//! touches such a tile: the eight rows that are loaded at a time lie in different banks, along rows or across them.

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::number::Num;
use super::staged::{self, DEPTH, Operand, PART, SIDE, is_one};
use crate::narrow::Kept;
use crate::placement::{Home, Placement};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Kernel, Place, Shape, Stmt, Tile};

/// Bytes of a line whose parts are exchanged, and the bit at which its number begins.
const LINE: i64 = 128;
const LINE_BITS: u32 = LINE.trailing_zeros();

/// By tile: from which bit on the number lies by which its parts are exchanged; nothing where they are not.
pub(super) type Exchanged = Vec<Option<u32>>;

/// How an operand's tile lies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Direct {
    tile: Tile,
    /// Its rows are terms; along them lie the rows of the result.
    pub(super) turned: bool,
    /// Numbers of a row.
    apart: i64,
}

/// The tiles that some product loads from where they lie.
pub(super) fn exchanged(
    kernel: &Kernel,
    kept: &Kept,
    placement: &Placement,
    threads: u32,
) -> Exchanged {
    let candidate = |(tile, home): (Tile, &Home)| {
        let dims: Option<Vec<i64>> =
            kernel.tiles[tile].dims.iter().map(|d| d.fixed().map(|n| n as i64)).collect();
        let dims = dims?;
        let bytes = 2 * dims.iter().product::<i64>();
        let row = 2 * dims.last()?;
        let fits = kept.is_narrow(Place::Tile(tile))
            && matches!(home, Home::Shared(..))
            && row.count_ones() == 1
            && row >= LINE / 2
            && bytes % LINE == 0;
        fits.then(|| row.trailing_zeros().max(LINE_BITS))
    };
    let all: Exchanged =
        kernel.tiles.keys().zip(&placement.homes).map(candidate).collect();
    let mut used = vec![None; all.len()];
    every_product(&kernel.body, &mut |p| {
        if !staged::fits(p.extent, threads) {
            return;
        }
        for operand in &staged::operands(p, threads).1 {
            if let Some(direct) = direct(kernel, &all, operand, p) {
                used[direct.tile.index()] = all[direct.tile.index()];
            }
        }
    });
    used
}

/// Visits the products of a body.
pub(super) fn every_product(body: &[Stmt], each: &mut dyn FnMut(Product<'_>)) {
    for stmt in body {
        if let Some(p) = Product::of(stmt) {
            each(p);
        }
        every_product(stmt.inner(), each);
    }
}

/// How an operand is loaded from its tile; nothing where it is brought to room first.
pub(super) fn direct(
    kernel: &Kernel,
    exchanged: &[Option<u32>],
    x: &Operand<'_>,
    p: Product<'_>,
) -> Option<Direct> {
    let Place::Tile(tile) = x.matrix.place else { return None };
    exchanged[tile.index()]?;
    let apart = kernel.tiles[tile].dims.last()?.fixed()? as i64;
    let (along, across) = x.strides();
    let is_apart = |a: &Affine| a.as_number() == Some(apart);
    let turned = match (is_one(along) && is_apart(across), is_one(across)) {
        (true, _) => false,
        (false, true) if is_apart(along) => true,
        (false, _) => return None,
    };
    let terms = p.extent[2].fixed()? as i64;
    // Steps move bits of a straight line that nothing else moves.
    let least = if turned { PART / 2 } else { SIDE };
    let zeros = !x.right && matches!(p.shape, Shape::LeftLower | Shape::LeftUpper);
    let along = if turned { x.extent } else { terms };
    let fits = x.extent % x.rows == 0
        && terms % DEPTH == 0
        && (terms < SIDE || terms % SIDE == 0)
        && along <= apart
        && x.matrix.origin.is_multiple_of(least)
        && !zeros;
    fits.then_some(Direct { tile, turned, apart })
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// The byte of a narrow place at which a number lies.
    pub(super) fn byte_of(&mut self, place: Place, n: Num<'c, 'a>) -> Num<'c, 'a> {
        let byte = self.mul(n, Num::Known(2));
        let Place::Tile(tile) = place else { return byte };
        let Some(bit) = self.about.exchanged[tile.index()] else { return byte };
        let (lines, part) = (LINE / PART, PART.trailing_zeros());
        if let Num::Known(byte) = byte {
            return Num::Known(byte ^ (((byte >> bit) & (lines - 1)) << part));
        }
        let byte = self.value(byte);
        // The number's bits, moved to where a part's are.
        let down = self.b.constant(64, i64::from(bit - part));
        let moved = self.b.two("llvm.lshr", byte, down);
        let mask = self.b.constant(64, (lines - 1) << part);
        let moved = self.b.two("llvm.and", moved, mask);
        Num::Run(self.b.two("llvm.xor", byte, moved))
    }

    /// Where a lane begins to load registers of sixteen rows and sixteen terms; see [`Emit::registers`](staged).
    pub(super) fn direct_from(
        &mut self,
        x: &Operand<'_>,
        d: Direct,
        [row, term]: [Num<'c, 'a>; 2],
        [rows, terms, eighth]: [Num<'c, 'a>; 3],
        step: Num<'c, 'a>,
    ) -> V<'c, 'a> {
        let place = Place::Tile(d.tile);
        let (rows, terms) =
            (self.mul(rows, Num::Known(8)), self.mul(terms, Num::Known(8)));
        let (row, term) = (self.add(row, rows), self.add(term, terms));
        let (line, within) = if d.turned { (term, row) } else { (row, term) };
        let line = self.add(line, eighth);
        let line = self.mul(line, Num::Known(d.apart));
        let n = self.affine(&x.matrix.origin);
        let n = self.add(n, line);
        let n = self.add(n, within);
        let n = Num::Run(self.value(n));
        let first = self.byte_of(place, n);
        let byte = match d.turned {
            // So many lines further, by which the same bits are exchanged.
            true => {
                let further = self.mul(step, Num::Known(2 * DEPTH * d.apart));
                self.add(first, further)
            }
            false => {
                let further = self.mul(step, Num::Known(2 * DEPTH));
                self.exchanged(first, further)
            }
        };
        let base = self.base(place);
        let (byte, of) = (self.value(byte), self.b.int(8));
        self.b.element(base, byte, of)
    }
}
