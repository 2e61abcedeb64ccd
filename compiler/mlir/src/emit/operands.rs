//! How warps share a product on tensor cores whose operands are loaded by lines, and those operands (`staged`).

use super::blocks::Product;
use super::direct::{Direct, direct, every_product};
use super::wide::Lines;
use crate::exchange::Exchange;
use crate::products::is_low;
use crate::strips::Strips;
use crate::target::Products;
use nestor_ir::tile::{Affine, Extent, Kernel, Matrix, Monomial, Shape};

/// Columns of a block, and terms at a time.
pub(super) const SIDE: i64 = 64;
/// Bytes of a row of room, and of the part that a lane loads.
pub(super) const ROW: i64 = 2 * SIDE;
pub(super) const PART: i64 = 16;
/// Terms of an instruction.
pub(super) const DEPTH: i64 = 16;
/// Columns of two pieces.
pub(super) const TWO: i64 = 16;
/// Bytes of room: both operands.
pub(super) const BYTES: i64 = 2 * SIDE * ROW;

/// Whether operands of a product are brought: it is large, of known size, and has warps enough.
pub(super) fn fits(extent: [Extent; 3], threads: u32) -> bool {
    let [m, n, k] = extent.map(|d| d.fixed().unwrap_or(0));
    let high = m > 16 && n >= 16 && k >= 16;
    (high || is_low(extent)) && threads >= 128
}

/// Whether a product's operands are loaded by lines, brought or from where they lie: those of a low one only where all lie so.
pub(super) fn suits(
    p: Product<'_>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
    threads: u32,
) -> bool {
    fits(p.extent, threads) && (!is_low(p.extent) || lie(p, kernel, exchanged, threads))
}

/// Whether all operands of products that are worked on together are loaded from where they lie.
pub(super) fn lie(
    p: Product<'_>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
    threads: u32,
) -> bool {
    let lie = |one: &Product<'_>| {
        let all = operands(*one, threads, false).1;
        all.iter().all(|x| direct(kernel, exchanged, x, *one).is_some())
    };
    p.all().iter().all(lie)
}

/// Bytes of room that a kernel's products need, where it has such products: of operands that are not loaded from where they lie.
pub(super) fn room(
    (kernel, strips): (&Kernel, &Strips),
    threads: u32,
    products: Products,
    exchanged: &[Option<Exchange>],
) -> Option<i64> {
    if products != Products::Brain {
        return None;
    }
    let mut most = None;
    every_product(&kernel.body, strips, &mut |p, by_strips| {
        if !by_strips && suits(p, kernel, exchanged, threads) {
            let operands = operands(p, threads, false).1;
            let brought =
                operands.iter().filter(|x| direct(kernel, exchanged, x, p).is_none());
            let bytes = brought.count() as i64 * SIDE * ROW;
            most = most.max(Some(bytes));
        }
    });
    most
}

/// How warps share a block of the result.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Warps below one another, sixteen rows each.
    pub(super) down: i64,
    /// Columns of a warp.
    pub(super) columns: i64,
    /// Warps beside one another.
    pub(super) across: i64,
    /// Whether there are more warps than that.
    pub(super) spare: bool,
}

/// An operand as it is brought: rows of the result's rows or columns, along them its terms.
pub(super) struct Operand<'k> {
    pub(super) matrix: &'k Matrix,
    /// The right operand's terms are its rows.
    pub(super) right: bool,
    /// Rows in room, and how many there are in all.
    pub(super) rows: i64,
    pub(super) extent: i64,
    /// Where it lies in room.
    pub(super) at: i64,
    /// How it is brought, where not number by number.
    pub(super) lines: Option<Lines>,
    /// How it is loaded from where it lies, where it is.
    pub(super) direct: Option<Direct>,
}

impl Operand<'_> {
    /// Elements between its terms, and between its rows.
    pub(super) fn strides(&self) -> (&Affine, &Affine) {
        match self.right {
            false => (&self.matrix.column, &self.matrix.row),
            true => (&self.matrix.row, &self.matrix.column),
        }
    }
    /// Whether its lines in room are terms.
    pub(super) fn is_turned(&self) -> bool {
        self.lines.is_some_and(|lines| lines.turned)
    }
}

/// How warps share the blocks of a product, and its operands, of which nothing is brought where all lie.
pub(super) fn operands(
    p: Product<'_>,
    threads: u32,
    lie: bool,
) -> (Layout, [Operand<'_>; 2]) {
    let [m, n, _] = p.extent.map(|d| d.fixed().expect("of known size") as i64);
    let warps = i64::from(threads) / 32;
    let down = [1, 2].into_iter().find(|down| m <= DEPTH * down).unwrap_or(4);
    // No wider than the result, so that what is brought is whole; a warp has at least two pieces, which are loaded together. Room ends
    // what is brought of a right operand; what is above the diagonal is left away by blocks.
    let most = match p.shape {
        _ if down == 1 => TWO * warps,
        Shape::OutputLower => SIDE,
        Shape::Full | Shape::LeftLower | Shape::LeftUpper => SIDE * warps / down,
    };
    let side = if lie && n % most == 0 { SIDE.max(most) } else { SIDE };
    let wide = [TWO, 2 * TWO].into_iter().find(|wide| n <= *wide).unwrap_or(side);
    let columns = (wide * down / warps).max(TWO);
    let across = wide / columns;
    let layout = Layout { down, columns, across, spare: down * across < warps };
    let left = operand(p.left, false, DEPTH * down, m);
    (layout, [left, operand(p.right, true, wide, n)])
}

/// An operand of which so many rows are taken at a time, of how many.
pub(super) fn operand(
    matrix: &Matrix,
    right: bool,
    rows: i64,
    extent: i64,
) -> Operand<'_> {
    Operand { matrix, right, rows, extent, at: 0, lines: None, direct: None }
}

/// Whether a stride is one element.
pub(super) fn is_one(stride: &Affine) -> bool {
    stride.terms.is_empty() && stride.constant.as_slice() == [Monomial::number(1)]
}
