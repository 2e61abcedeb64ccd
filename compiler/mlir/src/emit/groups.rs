//! Products by groups of four warps, whose operands the tensor cores read from shared memory themselves (sm_90a: `wgmma`).
//!
//! A group has sixty-four rows of a block of the result, a warp the same sixteen of them, and the same columns, as where each warp loads
//! registers of its own (`staged`); so nothing but the terms is different. An operand is told by where it begins and how its lines lie: 128
//! bytes each, eight of them a pattern of 1024 bytes in which parts of sixteen bytes are exchanged by the line's number. That is how room has
//! them, and tiles of as wide rows, or of planes of such (`exchange`).
//!
//! ```text
//! described                straight: lines are rows             turned: lines are terms
//! sixteen terms further    32 bytes; every 64 terms a plane     sixteen lines
//! eight lines further      1024 bytes (stride)                  1024 bytes (stride)
//! 64 rows further          64 lines                             a plane (leading)
//! ```
//!
//! What threads have written is seen by the cores behind a fence and a barrier: every barrier of such a kernel has one before it.

use super::Emit;
use super::about::About;
use super::blocks::Product;
use super::build::V;
use super::direct::{Direct, direct, every_product};
use super::number::Num;
use super::operands::{self, DEPTH, Layout, Operand, ROW, SIDE};
use super::strips;
use crate::exchange::{EIGHT, Exchange};
use crate::placement::PATTERN;
use melior::dialect::llvm::r#type as types;
use melior::ir::attribute::DenseI64ArrayAttribute;
use nestor_ir::tile::{Kernel, Tile};
use std::fmt::Write;

/// Warps of a group.
const WARPS: i64 = 4;
/// Times sixteen terms of what is in registers that are multiplied at once.
const AT_ONCE: usize = 8;

/// Whether groups compute a product that is brought or loaded by lines (`staged`): they have rows enough, and all operands lie as they read them.
pub(super) fn suits(
    p: Product<'_>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
    threads: u32,
) -> bool {
    let (layout, operands) = operands::operands(p, threads, false);
    let lies = |x: &Operand<'_>| match direct(kernel, exchanged, x, p) {
        // Room is of such lines.
        None => true,
        Some(d) => lies(x, d, kernel),
    };
    layout.down == WARPS && operands.iter().all(lies)
}

/// What columns that a group holds (`strips`) are multiplied by, where it lies as the cores read it: it is the right operand of the product turned.
pub(super) fn by_columns<'k>(
    p: Product<'k>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
) -> Option<Operand<'k>> {
    let [left, _] = strips::operands(p);
    read_itself(left, p, kernel, exchanged)
}

/// The columns, where a group does not hold them and they lie so: it is the left operand of the product turned.
pub(super) fn of_columns<'k>(
    p: Product<'k>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
) -> Option<Operand<'k>> {
    let [_, right] = strips::operands(p);
    read_itself(right, p, kernel, exchanged)
}

/// An operand that cores read where it lies.
fn read_itself<'k>(
    x: Operand<'k>,
    p: Product<'_>,
    kernel: &Kernel,
    exchanged: &[Option<Exchange>],
) -> Option<Operand<'k>> {
    let found = direct(kernel, exchanged, &x, p).filter(|d| lies(&x, *d, kernel))?;
    Some(Operand { direct: Some(found), ..x })
}

/// Whether a tile's rows can be lines of whole patterns, from the operand's first one on; whole patterns begin at one (`placement`).
fn lies(x: &Operand<'_>, d: Direct, kernel: &Kernel) -> bool {
    d.apart >= SIDE
        && rows(kernel, d.tile) % EIGHT == 0
        && x.matrix.origin.is_multiple_of(EIGHT * d.apart)
}

/// Rows of a tile.
pub(super) fn rows(kernel: &Kernel, tile: Tile) -> i64 {
    let dims = kernel.tiles[tile].dims.iter().rev().skip(1);
    dims.map(|dim| dim.fixed().unwrap_or(0)).product::<usize>() as i64
}

/// Whether groups compute some product of a kernel.
pub(super) fn some(about: &About<'_>) -> bool {
    let About { kernel, exchanged, placement, threads, .. } = *about;
    let mut some = false;
    if !about.groups {
        return some;
    }
    every_product(&kernel.body, &placement.strips, &mut |p, by_strips| {
        let brought = || {
            about.staged
                && operands::suits(p, kernel, exchanged, threads)
                && p.all().iter().any(|one| suits(*one, kernel, exchanged, threads))
        };
        some |= if by_strips { placement.strips.groups } else { brought() };
    });
    some
}

/// An operand as the cores are told of it.
struct Described<'c, 'a> {
    /// Where its first sixteen terms begin, and how its lines lie.
    first: V<'c, 'a>,
    turned: bool,
    /// Bytes between lines that follow one another in a row of its tile.
    plane: i64,
}

/// Sixteen terms of an operand: told, and whether its lines are terms, or a warp's own rows in its registers, two numbers each.
#[derive(Clone, Copy)]
enum Terms<'c, 'a> {
    Told(V<'c, 'a>, bool),
    Own([V<'c, 'a>; 4]),
}

/// Sixteen terms of both operands.
type Step<'c, 'a> = [Terms<'c, 'a>; 2];

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether groups compute a product whose operands are at hand.
    pub(super) fn by_groups(&self, p: Product<'_>) -> bool {
        let About { kernel, exchanged, threads, groups, .. } = self.about;
        groups && suits(p, kernel, exchanged, threads)
    }

    /// The terms of products added to a warp's sums of a block: of each so many times sixteen, from one of its operands' terms on.
    pub(super) fn group_terms(
        &mut self,
        layout: Layout,
        products: &[(&[Operand<'_>; 2], Num<'c, 'a>, i64)],
        [row, column]: [Num<'c, 'a>; 2],
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let [_, beside] = self.warp_at(layout);
        let mut all = Vec::new();
        for ([left, right], first, steps) in products {
            let left = self.described(left, [row, Num::Known(0)], layout.columns, *first);
            let right = self.described(right, [column, beside], layout.columns, *first);
            all.extend(
                (0..*steps).map(|step| [&left, &right].map(|x| self.told(x, step))),
            );
        }
        self.multiplied(layout.columns, &all, sums)
    }

    /// The terms of a product turned, of what a group has in its registers and what lies, added to sums of so many columns.
    pub(super) fn column_terms(
        &mut self,
        own: &[V<'c, 'a>],
        x: &Operand<'_>,
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let none = Num::Known(0);
        let described = self.described(x, [none, none], x.extent, none);
        let steps = own.chunks_exact(4).zip(0..);
        let steps: Vec<Step<'c, 'a>> = steps
            .map(|(own, step)| {
                let own = [own[0], own[1], own[2], own[3]];
                [Terms::Own(own), self.told(&described, step)]
            })
            .collect();
        // What is multiplied at once is in registers at once.
        steps
            .chunks(AT_ONCE)
            .fold(sums.to_vec(), |sums, some| self.multiplied(x.extent, some, &sums))
    }

    /// The same where a group's columns lie, too, from this one on.
    pub(super) fn told_terms(
        &mut self,
        (columns, first): (&Operand<'_>, Num<'c, 'a>),
        x: &Operand<'_>,
        terms: usize,
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let none = Num::Known(0);
        let columns = self.described(columns, [first, none], x.extent, none);
        let described = self.described(x, [none, none], x.extent, none);
        let steps = 0..terms as i64 / DEPTH;
        let steps: Vec<Step<'c, 'a>> = steps
            .map(|step| [&columns, &described].map(|x| self.told(x, step)))
            .collect();
        self.multiplied(x.extent, &steps, sums)
    }

    /// What tells of an operand so many times sixteen terms further.
    fn told(&mut self, x: &Described<'c, 'a>, step: i64) -> Terms<'c, 'a> {
        let (plane, within) = (step / (SIDE / DEPTH), step % (SIDE / DEPTH));
        let bytes = match x.turned {
            true => step * DEPTH * ROW,
            false => plane * x.plane + within * 2 * DEPTH,
        };
        let further = self.b.constant(64, bytes / UNIT);
        Terms::Told(self.b.two("llvm.add", x.first, further), x.turned)
    }

    /// How an operand lies from a row and a term on: the row of a block and, within that, of the group.
    fn described(
        &mut self,
        x: &Operand<'_>,
        [block, group]: [Num<'c, 'a>; 2],
        columns: i64,
        term: Num<'c, 'a>,
    ) -> Described<'c, 'a> {
        let (at, turned, plane) = match x.direct {
            None => {
                let turned = x.is_turned();
                let group = self.mul(group, Num::Known(if turned { 2 } else { ROW }));
                let at = self.add(group, Num::Known(x.at));
                (self.at_room(at), turned, ROW)
            }
            Some(d) => {
                let at = self.in_tile(x, d, [block, group, term], columns);
                (self.at_direct(d, at), d.turned, self.apart(d)[1])
            }
        };
        let word = self.b.int(32);
        let at = self.b.cast("llvm.ptrtoint", at, word);
        let (mask, four) = (self.b.constant(32, ADDRESS), self.b.constant(32, 4));
        let at = self.b.two("llvm.and", at, mask);
        let at = self.b.two("llvm.lshr", at, four);
        let long = self.b.int(64);
        let at = self.b.cast("llvm.zext", at, long);
        let lies = self.b.constant(64, how_it_lies(plane));
        let first = self.b.two("llvm.or", at, lies);
        Described { first, turned, plane }
    }

    /// The byte of a tile at which an operand's rows of a block and of the group begin, from a term on.
    fn in_tile(
        &mut self,
        x: &Operand<'_>,
        d: Direct,
        [block, group, term]: [Num<'c, 'a>; 3],
        columns: i64,
    ) -> Num<'c, 'a> {
        let [_, plane] = self.apart(d);
        // What lies along lines is in another plane every sixty-four numbers; across them, a line each.
        let along = Num::Known(plane / SIDE);
        let across = Num::Known(ROW);
        let (of_rows, of_terms) =
            if d.turned { (along, across) } else { (across, along) };
        // Groups beside one another may have parts of the same lines.
        let within = d.turned && columns < SIDE;
        let of_group = if within { Num::Known(2) } else { of_rows };
        let origin = self.affine(&x.matrix.origin);
        let origin = self.mul(origin, Num::Known(2));
        // A row of the tile is so many lines, each in a plane of its own.
        let mut at = self.div(origin, Num::Known(d.apart / SIDE));
        for (n, each) in [(block, of_rows), (term, of_terms), (group, of_group)] {
            let further = self.mul(n, each);
            at = self.add(at, further);
        }
        at
    }

    /// All products of a sum, one behind the other, and the wait for them: no register of theirs is touched meanwhile.
    fn multiplied(
        &mut self,
        columns: i64,
        steps: &[Step<'c, 'a>],
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let (count, zero) = (sums.len(), self.b.real(0.0));
        // Sums that begin with nothing are not given.
        let given = if sums.iter().all(|sum| *sum == zero) { &[] } else { sums };
        let registers: Vec<String> = (0..count).map(|n| format!("${n}")).collect();
        let registers = registers.join(", ");
        let mut text = "wgmma.fence.sync.aligned;".to_owned();
        let mut brought = Vec::new();
        let first = count + given.len();
        for (n, step) in steps.iter().enumerate() {
            let (mut places, mut flags) = (Vec::new(), String::new());
            for terms in step {
                let next = first + brought.len();
                match terms {
                    Terms::Told(told, turned) => {
                        places.push(format!("${next}"));
                        write!(flags, ", {}", i64::from(*turned)).expect("it takes it");
                        brought.push(("l", *told));
                    }
                    Terms::Own(own) => {
                        let all: Vec<String> =
                            (next..).take(own.len()).map(|n| format!("${n}")).collect();
                        places.push(format!("{{{}}}", all.join(", ")));
                        brought.extend(own.map(|x| ("r", x)));
                    }
                }
            }
            let added = i64::from(n > 0 || !given.is_empty());
            let places = places.join(", ");
            write!(
                text,
                "\n\twgmma.mma_async.sync.aligned.m64n{columns}k{DEPTH}.f32.bf16.bf16 \
                 {{{registers}}}, {places}, {added}, 1, 1{flags};"
            )
            .expect("a string takes it");
        }
        text.push_str("\n\twgmma.commit_group.sync.aligned;");
        text.push_str("\n\twgmma.wait_group.sync.aligned 0;");
        // The first instruction writes sums before the last one has read its operands: no register is both.
        let outputs = std::iter::repeat_n("=&f".to_owned(), count);
        let inputs = (0..given.len()).map(|n| n.to_string());
        let places = brought.iter().map(|(kind, _)| (*kind).to_owned());
        let all: Vec<String> = outputs.chain(inputs).chain(places).collect();
        let brought = brought.iter().map(|(_, x)| *x);
        let operands: Vec<V<'c, 'a>> = given.iter().copied().chain(brought).collect();
        let float = self.b.float();
        let made = types::r#struct(self.b.context, &vec![float; count], false);
        let made = self.b.fixed(&text, &all.join(","), &operands, made);
        (0..count as i64)
            .map(|n| {
                let at = DenseI64ArrayAttribute::new(self.b.context, &[n]).into();
                self.b.made("llvm.extractvalue", &[made], float, &[("position", at)])
            })
            .collect()
    }
}

/// Bytes of an address that are told.
const ADDRESS: i64 = 0x3ffff;
/// Bytes are told in sixteens.
const UNIT: i64 = 16;

/// What is told of an operand besides its address: bytes to the next plane, to the next eight lines, and that parts are exchanged within 128 bytes.
fn how_it_lies(plane: i64) -> i64 {
    (plane / UNIT) << 16 | (PATTERN / UNIT) << 32 | 1 << 62
}
