//! Tiles whose columns are held in registers, eight or sixteen by each warp, from statement to statement and from turn to turn of a loop.
//!
//! ```text
//! loop i { t2 = t1 @ t0;  t4 = b3 * t2 - b5;  t3 = b6 @ t4;  t0 = b9 * t0 + t1' @ t3 }     a warp has columns of t0, t2, t3, t4
//! ```
//!
//! Where each column of what a statement writes follows from the same column of what it reads, warps need not wait for one another, and
//! nothing of it lies in shared memory: sums of a product's pieces are turned within the warp to be the next product's right operand. What
//! has no such columns (t1) is brought by all threads, before them in every turn where nothing stands in the way. What columns are folded to,
//! a number for each, is held beside them by all lanes that have some of the column, and what follows from it is worked out by each.
//!
//! Where groups of four warps multiply together, a group has sixty-four columns, and its sums are of the product turned: columns are an
//! instruction's rows, so that what was summed is the next product's left operand as it is, and the cores read `t1` themselves, once for all four.

mod arrange;
mod begins;
mod fit;
mod room;

pub use arrange::arranged;
pub use begins::{Begins, begins};

use crate::Options;
use crate::target::Products;
use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{Kernel, Place, Stmt, Tile};
use nestor_ir::ty::Elem;

/// Columns of a warp: two pieces, of which both are multiplied by what is loaded of the left operand, or one, so that more warps share the work.
const WIDTHS: [usize; 2] = [16, 8];
/// Rows of a piece, and terms of an instruction.
pub const DEPTH: usize = 16;
/// Warps of a block at most.
const WARPS: usize = 8;
/// Columns of a group of four warps.
pub const GROUP: usize = 4 * WIDTHS[0];

/// What a kernel holds in registers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strips {
    /// Columns of all warps; none where nothing is held.
    pub columns: usize,
    /// Columns of a warp.
    pub width: usize,
    /// Whether groups of four warps multiply together.
    pub groups: bool,
    /// By tile: its rows where it is held, one of a number for each column.
    held: Vec<usize>,
}

impl Strips {
    /// Warps that have columns.
    pub fn warps(&self) -> usize {
        self.columns / self.width.max(1)
    }

    /// Whether a tile is held.
    pub fn is_held(&self, tile: Tile) -> bool {
        self.rows(tile) > 0
    }

    /// Rows of a tile that is held; none of another one.
    pub fn rows(&self, tile: Tile) -> usize {
        self.held.get(tile.index()).copied().unwrap_or(0)
    }

    /// The tile of a place, where that is held.
    pub fn tile(&self, place: Place) -> Option<Tile> {
        match place {
            Place::Tile(tile) => Some(tile).filter(|t| self.is_held(*t)),
            Place::Buffer(_) => None,
        }
    }

    /// Whether a statement is worked on by warps, each for its columns: a product of as many columns, or what touches a tile that is held.
    pub fn takes(&self, stmt: &Stmt) -> bool {
        match stmt {
            _ if self.columns == 0 => false,
            Stmt::Loop { .. } | Stmt::When { .. } => false,
            Stmt::Product { .. } => self.is_of_columns(stmt),
            Stmt::Together { body } => self.are_of_columns(body),
            stmt => !self.held_by(&touches(stmt)).is_empty(),
        }
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

/// Which tiles of a kernel are held, by warps or by groups of them: of columns with which most of its products are; those that are copied ahead are not.
pub fn strips(kernel: &Kernel, options: Options, ahead: &[Tile], groups: bool) -> Strips {
    let mut best = (0, Strips::default());
    if options.products != Products::Brain {
        return best.1;
    }
    let mut tried: Vec<usize> = Vec::new();
    for columns in kernel.tiles.values().filter_map(|t| t.dims.last()?.fixed()) {
        let fits = columns.is_multiple_of(WIDTHS[0]) && columns <= WARPS * WIDTHS[0];
        if columns == 0 || !fits || tried.contains(&columns) {
            continue;
        }
        tried.push(columns);
        let found = of_columns(kernel, columns, ahead);
        for width in widths(&found, kernel, options, groups) {
            let found = Strips { width, groups, ..found.clone() };
            let worth = found.worth(kernel, options);
            if worth > best.0 {
                best = (worth, found);
            }
        }
    }
    best.1
}

/// The columns that a warp may have, the better first: few where there are processors to spare, or warps.
fn widths(
    strips: &Strips,
    kernel: &Kernel,
    options: Options,
    groups: bool,
) -> Vec<usize> {
    if groups {
        return [WIDTHS[0]].into_iter().filter(|_| strips.suits_groups(kernel)).collect();
    }
    let spare = match strips.carries(kernel) {
        true => options.target.has_some_free(kernel),
        false => strips.columns < WARPS * WIDTHS[0],
    };
    let mut out: Vec<usize> =
        WIDTHS.into_iter().filter(|w| strips.columns <= WARPS * w).collect();
    if spare {
        out.reverse();
    }
    out
}

fn is_loop(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Loop { extent, .. } if extent.fixed().is_none_or(|n| n > 1))
}

/// The most tiles of so many columns that can be held.
fn of_columns(kernel: &Kernel, columns: usize, ahead: &[Tile]) -> Strips {
    let may = |tile: Tile| {
        let data = &kernel.tiles[tile];
        let wide = data.dims.last().is_some_and(|d| d.fixed() == Some(columns));
        let rows = rows(kernel, tile).filter(|n| *n == 1 || n.is_multiple_of(DEPTH));
        let fits = wide && data.elem == Elem::Real && !ahead.contains(&tile);
        rows.filter(|_| fits).unwrap_or(0)
    };
    let held = kernel.tiles.keys().map(may).collect();
    let mut strips = Strips { columns, width: WIDTHS[0], groups: false, held };
    loop {
        let mut out: Vec<Tile> = Vec::new();
        for stmt in &kernel.body {
            match stmt {
                Stmt::Loop { body, .. } => {
                    out.extend(body.iter().flat_map(|s| strips.unfit(s)));
                }
                stmt => out.extend(strips.unfit(stmt)),
            }
        }
        if out.is_empty() {
            return strips;
        }
        out.into_iter().for_each(|tile| strips.held[tile.index()] = 0);
    }
}

/// Rows of a tile as a matrix.
fn rows(kernel: &Kernel, tile: Tile) -> Option<usize> {
    let (_, before) = kernel.tiles[tile].dims.split_last()?;
    before.iter().map(|d| d.fixed()).product()
}
