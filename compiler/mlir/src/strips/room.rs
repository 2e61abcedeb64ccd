//! Whether what warps have of columns finds room in their registers, and whether it is worth it.

use super::begins::begins;
use super::{DEPTH, Strips, is_loop};
use crate::target::Options;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{Kernel, Place, Stmt, Tile};

/// Registers of a thread for what is held and for addresses of its statements' operands, at most: of 255 (found by trying).
const MOST: usize = 136;
const ADDRESSES: usize = 8;
/// The same where the cores read operands themselves.
const MOST_OF_GROUPS: usize = 240;
/// Instructions that multiply matrices, at most: each is written out, and the code generator takes long for more.
const MANY: usize = 144;
/// Columns of such an instruction.
const COLUMNS: usize = 8;

/// Rows from which groups of warps multiply what lies in shared memory, where there are such: then that takes fewer instructions.
const LEAST_OF_GROUPS: usize = 33;

/// Where nothing is carried, and there is no loop, warps that work, at least, half of a block, and statements that are written out for them, at
/// most: more of them may be calls. Nor is it worth it for products of few rows, which others find as they lie.
const BUSY: usize = 4;
const FEW: usize = 8;

/// The statements that are worked on as one.
fn each(stmt: &Stmt) -> &[Stmt] {
    match stmt {
        Stmt::Together { body } => body,
        stmt => std::slice::from_ref(stmt),
    }
}

impl Strips {
    /// Work of products that are summed in registers, where a thread has room for all that is held.
    pub(super) fn worth(&self, kernel: &Kernel, options: Options) -> usize {
        let mut all = Vec::new();
        self.taken(&kernel.body, &mut all);
        let worth: usize = all.iter().map(|stmt| work(stmt)).sum();
        let is_high = |stmt: &&Stmt| height(stmt) > DEPTH;
        let by_groups = |stmt: &&Stmt| height(stmt) >= LEAST_OF_GROUPS;
        let keeps_busy = self.warps() >= BUSY
            && !(options.groups() && all.iter().all(by_groups))
            && !kernel.body.iter().any(is_loop)
            && all.len() <= FEW
            && all.iter().any(is_high);
        let written = worth / (DEPTH * DEPTH) * self.width / COLUMNS;
        let registers = self.most(kernel);
        let fits = match self.groups {
            true => self.is_thin(kernel) && registers <= MOST_OF_GROUPS,
            false => {
                let pays = keeps_busy || self.carries(kernel);
                pays && written <= MANY && registers <= MOST
            }
        };
        if fits { worth } else { 0 }
    }

    /// Statements with products that warps work on.
    pub(super) fn taken<'k>(&self, body: &'k [Stmt], out: &mut Vec<&'k Stmt>) {
        for stmt in body {
            match self.takes(stmt) {
                true if work(stmt) > 0 => out.push(stmt),
                true => {}
                false => self.taken(stmt.inner(), out),
            }
        }
    }

    /// Whether a loop of a kernel carries what is held from turn to turn.
    pub fn carries(&self, kernel: &Kernel) -> bool {
        let carries =
            |stmt: &Stmt| is_loop(stmt) && !self.carried(stmt.inner()).is_empty();
        self.columns > 0 && kernel.body.iter().any(carries)
    }

    /// Whether all threads do little in its loops: they bring what warps take, and no more.
    pub fn is_thin(&self, kernel: &Kernel) -> bool {
        let brings = |stmt: &Stmt| self.takes(stmt) || matches!(stmt, Stmt::Map { .. });
        let loops = kernel.body.iter().filter(|stmt| is_loop(stmt));
        self.carries(kernel) && loops.flat_map(Stmt::inner).all(brings)
    }

    /// The most numbers that a thread has at a time, with addresses of operands.
    fn most(&self, kernel: &Kernel) -> usize {
        let outer = Lives::of(self, &kernel.body);
        let count = |tile: &Tile| self.rows(*tile) * self.width / 32;
        let all: Vec<Tile> = kernel.tiles.keys().filter(|t| self.is_held(*t)).collect();
        let products = |body: &[Stmt]| body.iter().filter(|s| work(s) > 0).count();
        let of = |(n, stmt): (usize, &Stmt)| {
            let beside = all.iter().filter(|t| !outer.0[n].contains(t));
            let beside: usize = beside.filter(|t| outer.is_around(n, t)).map(count).sum();
            let own: Vec<Tile> = outer.0[n].clone();
            let Stmt::Loop { body, .. } = stmt else {
                let own = own.iter().map(count).sum::<usize>();
                return beside + own + ADDRESSES * products(&kernel.body);
            };
            let (inner, carried) = (Lives::of(self, body), self.carried(body));
            let stays = |t: &Tile| carried.contains(t) || outer.is_elsewhere(n, t);
            let at = |here: usize| -> usize {
                let there = |t: &&Tile| {
                    stays(t) || inner.0[here].contains(t) || inner.is_around(here, t)
                };
                let there: Vec<&Tile> = own.iter().filter(there).collect();
                let some = |which: &dyn Fn(&Tile) -> bool| -> usize {
                    let some = there.iter().copied().filter(|t| which(t));
                    some.map(count).sum()
                };
                // What a map makes of numbers takes the place of those that nobody takes any more.
                let is_map = matches!(body[here], Stmt::Map { .. });
                let ends = |t: &Tile| is_map && !stays(t) && inner.ends(here, t);
                let begins = |t: &Tile| is_map && !stays(t) && inner.begins(here, t);
                let others = some(&|t| !ends(t) && !begins(t));
                others + some(&ends).max(some(&|t| begins(t) && !ends(t)))
            };
            let most = (0..body.len()).map(at).max().unwrap_or(0usize);
            beside + most + ADDRESSES * products(body)
        };
        kernel.body.iter().enumerate().map(of).max().unwrap_or(0)
    }

    /// Held tiles that a loop's body reads before it writes them, and writes.
    fn carried(&self, body: &[Stmt]) -> Vec<Tile> {
        let (mut out, mut written) = (Vec::new(), Vec::new());
        for touched in body.iter().flat_map(each).map(touches) {
            let reads = touched.reads.iter().filter_map(|place| self.tile(*place));
            out.extend(reads.filter(|t| !written.contains(t)).collect::<Vec<_>>());
            written.extend(touched.writes.iter().filter_map(|place| self.tile(*place)));
        }
        out.retain(|t| written.contains(t));
        out
    }
}

/// Rows of a statement's products.
fn height(stmt: &Stmt) -> usize {
    match stmt {
        Stmt::Product { m, .. } => m.fixed().unwrap_or(0),
        stmt => stmt.inner().first().map_or(0, height),
    }
}

/// Products of a row and a term of a statement.
fn work(stmt: &Stmt) -> usize {
    match stmt {
        Stmt::Product { m, k, .. } => m.fixed().unwrap_or(0) * k.fixed().unwrap_or(0),
        Stmt::Together { body } => body.iter().map(work).sum(),
        _ => 0,
    }
}

/// The held tiles of each statement of a body.
struct Lives(Vec<Vec<Tile>>);

impl Lives {
    fn of(strips: &Strips, body: &[Stmt]) -> Self {
        let of = |stmt: &Stmt| {
            let mut out = strips.held_by(&touches(stmt));
            // Entries that are added to what is held have no numbers of their own.
            if let Stmt::Together { body } = stmt
                && let Some(begins) = begins(strips, body)
            {
                out.retain(|t| Place::Tile(*t) != begins.own);
            }
            out.sort_unstable();
            out.dedup();
            out
        };
        Self(body.iter().map(of).collect())
    }

    /// Whether a tile is touched before a statement and behind it.
    fn is_around(&self, n: usize, tile: &Tile) -> bool {
        let there = |side: &[Vec<Tile>]| side.iter().any(|s| s.contains(tile));
        there(&self.0[..n]) && there(&self.0[n + 1..])
    }

    /// Whether a statement is the last to touch a tile.
    fn ends(&self, n: usize, tile: &Tile) -> bool {
        self.0[n].contains(tile) && !self.0[n + 1..].iter().any(|s| s.contains(tile))
    }

    /// Whether it is the first.
    fn begins(&self, n: usize, tile: &Tile) -> bool {
        self.0[n].contains(tile) && !self.0[..n].iter().any(|s| s.contains(tile))
    }

    /// Whether another statement touches a tile.
    fn is_elsewhere(&self, n: usize, tile: &Tile) -> bool {
        self.0.iter().enumerate().any(|(m, s)| m != n && s.contains(tile))
    }
}
