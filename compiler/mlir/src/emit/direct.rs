//! Operands of products loaded from where they lie: tiles of bfloat16 in shared memory, without room of their own.
//!
//! Parts of sixteen bytes are exchanged in such a tile, as those of room are (`staged`): the eight rows that are loaded at a time lie in
//! different banks, along rows or across them.

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::groups;
use super::number::Num;
use super::operands::{self, DEPTH, Operand, PART, SIDE, is_one};
use super::strips;
use crate::boxes;
use crate::exchange::{EIGHT, Exchange, Exchanged, LINE};
use crate::narrow::Kept;
use crate::placement::{Home, Placement};
use crate::products::on_cores;
use crate::strips::Strips;
use crate::target::{Options, Products};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Kernel, Place, Shape, Stmt, Tile};
use nestor_ir::ty::Elem;

/// A lane touches eight bytes at a time of a tile of float32 that products on tensor cores take from or put to, and the lanes of a warp eight
/// rows of thirty-two bytes: exchanged by parts of so many, those of half a warp lie in different banks.
const WIDE_PART: i64 = 32;

/// How an operand's tile lies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Direct {
    pub(super) tile: Tile,
    /// Its rows are terms; along them lie the rows of the result.
    pub(super) turned: bool,
    /// Numbers of a row.
    pub(super) apart: i64,
}

/// The tiles that some product loads from where they lie, where operands are brought, and those of float32 that registers of products are loaded
/// from or put to number by number.
pub(super) fn exchanged(
    kernel: &Kernel,
    kept: &Kept,
    placement: &Placement,
    (threads, options, staged): (u32, Options, bool),
) -> Exchanged {
    let candidate = |(tile, home): (Tile, &Home)| {
        let data = &kernel.tiles[tile];
        let dims: Option<Vec<i64>> =
            data.dims.iter().map(|d| d.fixed().map(|n| n as i64)).collect();
        let dims = dims?;
        let narrow = kept.is_narrow(Place::Tile(tile));
        let (width, part, least) =
            if narrow { (2, PART, LINE / 4) } else { (4, WIDE_PART, LINE / 2) };
        let bytes = width * dims.iter().product::<i64>();
        let row = width * dims.last()?;
        let fits = data.elem == Elem::Real
            && matches!(home, Home::Shared(..))
            && row.count_ones() == 1
            && row >= least
            && bytes % LINE == 0;
        fits.then(|| Exchange::of(row, part))
    };
    let all: Exchanged =
        kernel.tiles.keys().zip(&placement.homes).map(candidate).collect();
    let mut used = vec![None; all.len()];
    every_product(&kernel.body, &placement.strips, &mut |p, by_strips| {
        let operands = match by_strips {
            true => strips::operands(p),
            false if staged && operands::suits(p, kernel, &all, threads) => {
                operands::operands(p, threads, false).1
            }
            false => return,
        };
        let by_groups = match by_strips {
            true => placement.strips.groups,
            false => options.groups() && groups::suits(p, kernel, &all, threads),
        };
        for operand in &operands {
            if let Some(direct) = direct(kernel, &all, operand, p) {
                let n = direct.tile.index();
                let lines = groups::rows(kernel, direct.tile);
                let in_planes = all[n].filter(|x| by_groups && !x.is_of_lines());
                let in_planes = in_planes.map(|x| x.in_planes(lines));
                // Who else touches it finds it in planes, too.
                used[n] = in_planes.or(used[n]).or(all[n]);
            }
        }
    });
    // Hardware writes lines: what it may copy lies in planes, too.
    if options.target.copies_boxes() {
        for tile in boxes::early_tiles(kernel, placement, kept) {
            let rows = groups::rows(kernel, tile);
            let fits = |x: &Exchange| !x.is_of_lines() && rows % EIGHT == 0;
            let of = &mut used[tile.index()];
            *of = of.map(|x| if fits(&x) { x.in_planes(rows) } else { x });
        }
    }
    let brought = |p: Product<'_>| staged && operands::suits(p, kernel, &all, threads);
    each_by_lanes(&kernel.body, (options.products, &brought), &mut |place| {
        if let Place::Tile(tile) = place
            && all[tile.index()].is_some_and(|x| x.part() == WIDE_PART)
        {
            used[tile.index()] = all[tile.index()];
        }
    });
    used
}

/// Visits what lanes touch for products on tensor cores number by number: what entries are put to or are put together with, and operands, where
/// they are not brought.
fn each_by_lanes(
    body: &[Stmt],
    (products, brought): (Products, &dyn Fn(Product<'_>) -> bool),
    each: &mut dyn FnMut(Place),
) {
    for stmt in body {
        match Product::of(stmt) {
            Some(p) if on_cores(p.extent, products) => {
                each(p.out.place);
                if !brought(p) {
                    each(p.left.place);
                    each(p.right.place);
                }
            }
            _ => each_by_lanes(stmt.inner(), (products, brought), each),
        }
        let Stmt::Together { body } = stmt else { continue };
        if let Some(Stmt::Map { loads, sinks, .. }) = body.last() {
            loads.iter().for_each(|a| each(a.place));
            sinks.iter().for_each(|(_, sink)| each(sink.to().place));
        }
    }
}

/// Visits the products of a body, each with whether warps work on it column by column.
pub(super) fn every_product(
    body: &[Stmt],
    strips: &Strips,
    each: &mut dyn FnMut(Product<'_>, bool),
) {
    for stmt in body {
        let by_strips = strips.takes(stmt);
        match stmt {
            Stmt::Together { body } => {
                body.iter().filter_map(Product::of).for_each(|p| each(p, by_strips));
            }
            stmt => match Product::of(stmt) {
                Some(p) => each(p, by_strips),
                None => every_product(stmt.inner(), strips, each),
            },
        }
    }
}

/// How an operand is loaded from its tile; nothing where it is brought to room first.
pub(super) fn direct(
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
    x: &Operand<'_>,
    p: Product<'_>,
) -> Option<Direct> {
    let Place::Tile(tile) = x.matrix.place else { return None };
    exchanged[tile.index()].filter(|x| x.part() == PART)?;
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
    // Shorter lines are not exchanged alike sixteen further on.
    let fits = x.extent % x.rows == 0
        && terms % DEPTH == 0
        && (terms < SIDE || terms % SIDE == 0)
        && along <= apart
        && (apart >= SIDE / 2 || terms == DEPTH && x.extent == DEPTH)
        && x.matrix.origin.is_multiple_of(least)
        && !zeros;
    fits.then_some(Direct { tile, turned, apart })
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// The byte of a place at which a number of so many bytes lies.
    pub(super) fn byte_of(
        &mut self,
        place: Place,
        n: Num<'c, 'a>,
        width: i64,
    ) -> Num<'c, 'a> {
        let byte = self.mul(n, Num::Known(width));
        let Some(exchange) = self.exchange_of(place) else { return byte };
        let (down, bits) = exchange.moved();
        // So many bytes further on the same parts are exchanged.
        let (byte, further, turned) = match byte {
            Num::Known(byte) => return Num::Known(exchange.byte(byte)),
            Num::Run(v) => (v, 0, 0),
            Num::Further(v, n) => {
                let rest = n.rem_euclid(exchange.period());
                match self.b.zeros(v) & rest as u64 == rest as u64 {
                    // Nothing is carried: what is added is exchanged by itself.
                    true => {
                        let there = exchange.byte(rest);
                        let further = exchange.of_periods(n - rest);
                        (v, further + (there & !bits), there & bits)
                    }
                    false => {
                        let further = exchange.of_periods(n - rest);
                        (self.value(Num::Further(v, rest)), further, 0)
                    }
                }
            }
        };
        let byte = self.in_planes(exchange, byte);
        let down = self.b.constant(64, i64::from(down));
        let moved = self.b.two("llvm.lshr", byte, down);
        let bits = self.b.constant(64, bits);
        let moved = self.b.two("llvm.and", moved, bits);
        let mut there = self.b.two("llvm.xor", byte, moved);
        if turned != 0 {
            let turned = self.b.constant(64, turned);
            there = self.b.two("llvm.xor", there, turned);
        }
        self.add(Num::Run(there), Num::Known(further))
    }

    /// Where a byte of rows one behind the other lies in planes, where there are some.
    fn in_planes(&mut self, exchange: Exchange, byte: V<'c, 'a>) -> V<'c, 'a> {
        let Some((row, count)) = exchange.planes() else { return byte };
        let bytes = Num::Run(byte);
        let line = self.div(bytes, Num::Known(1 << row));
        let line = self.mul(line, Num::Known(LINE));
        let within = self.rem(bytes, Num::Known(LINE));
        let there = self.add(line, within);
        let plane = self.div(bytes, Num::Known(LINE));
        let plane = self.rem(plane, Num::Known(count));
        let plane = self.mul(plane, Num::Known(exchange.plane()));
        let there = self.add(there, plane);
        self.value(there)
    }

    /// How a place's parts are exchanged.
    pub(super) fn exchange_of(&self, place: Place) -> Option<Exchange> {
        let Place::Tile(tile) = place else { return None };
        self.about.exchanged.get(tile.index()).copied().flatten()
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
        let first = self.direct_byte(x, d, [row, term], [rows, terms, eighth]);
        let byte = match d.turned {
            // So many lines further, by which the same bits are exchanged.
            true => {
                let [pitch, _] = self.apart(d);
                let further = self.mul(step, Num::Known(DEPTH * pitch));
                self.add(first, further)
            }
            false => {
                let further = self.mul(step, Num::Known(2 * DEPTH));
                self.exchanged(first, further)
            }
        };
        self.at_direct(d, byte)
    }

    /// Bytes between its rows, and between lines of 128 bytes that follow one another in a row.
    pub(super) fn apart(&self, d: Direct) -> [i64; 2] {
        let exchange = self.exchange_of(Place::Tile(d.tile));
        let exchange = exchange.expect("it is exchanged");
        [exchange.pitch().min(2 * d.apart), exchange.plane()]
    }

    /// The byte of its tile at which a lane's first line is.
    pub(super) fn direct_byte(
        &mut self,
        x: &Operand<'_>,
        d: Direct,
        [row, term]: [Num<'c, 'a>; 2],
        [rows, terms, eighth]: [Num<'c, 'a>; 3],
    ) -> Num<'c, 'a> {
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
        self.byte_of(Place::Tile(d.tile), n, 2)
    }

    /// The address of a byte of a tile that is loaded from where it lies.
    pub(super) fn at_direct(&mut self, d: Direct, byte: Num<'c, 'a>) -> V<'c, 'a> {
        let base = self.base(Place::Tile(d.tile));
        let (byte, of) = (self.value(byte), self.b.int(8));
        self.b.element(base, byte, of)
    }
}
