//! Maps whose numbers follow from the same columns of others, as one map over columns, for machines whose threads wait for one another between
//! statements.
//!
//! ```text
//! before   map [8, 2, 128] t1 = t0 * b0;  map [8, 128] t2 = t1[..] + t1[128..];  map [8, 2, 128] t3 = t1 * t2
//! after    map [1, 128] { sixteen rows of t1, eight of t2 and sixteen of t3 are scalars; t3 is stored }
//! ```
//!
//! So are cumulative products of a chunk's gates, and their derivatives: twenty maps of few rows each, which hand one another tiles. A thread then has
//! a column's numbers of all of them in its registers, and only what others read goes to a tile. Maps of one kernel are joined, not those of loops: there,
//! what is written in parts would be taken for what an earlier turn has left.

mod unrolled;

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{Kernel, Place, Stmt, Tile};
use unrolled::Columns;

/// Numbers of a column that a thread has at a time, at most: addresses take as many registers again.
const MOST_HELD: usize = 96;

/// How much there must be of it for joining to pay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Least {
    /// Maps: a column's numbers are loaded one by one, those of a map by itself four at once.
    pub maps: usize,
    /// Columns: those are a block's threads that have something to do.
    pub columns: usize,
}

impl Least {
    /// For blocks of warps.
    pub const WARPS: Self = Self { maps: 3, columns: 32 };
    /// Whatever can be joined.
    pub const ANY: Self = Self { maps: 2, columns: 1 };
}

/// The kernel with such maps joined.
#[must_use]
pub fn columnwise(mut kernel: Kernel, least: Least) -> Kernel {
    let body = std::mem::take(&mut kernel.body);
    let last = last_reads(&body, kernel.tiles.len());
    let mut at = 0;
    while at < body.len() {
        let Some(run) = Run::of(&body, at, least, &last) else {
            kernel.body.push(body[at].clone());
            at += 1;
            continue;
        };
        let end = at + run.statements;
        kernel.body.extend(run.before);
        let passed = run.behind.iter().flat_map(|stmt| touches(stmt).reads);
        let passed: Vec<Place> = passed.collect();
        let wanted =
            |tile: Tile| last[tile.index()] >= end || passed.contains(&Place::Tile(tile));
        kernel.body.push(run.columns.stmt(wanted));
        kernel.body.extend(run.behind);
        at = end;
    }
    kernel
}

/// The last statement of a body that reads each tile; the first where none does.
fn last_reads(body: &[Stmt], tiles: usize) -> Vec<usize> {
    let mut last = vec![0; tiles];
    for (n, stmt) in body.iter().enumerate() {
        for place in touches(stmt).reads {
            if let Place::Tile(tile) = place {
                last[tile.index()] = n;
            }
        }
    }
    last
}

/// In how many lanes rows may lie: a thread has those of one.
const LANES: [usize; 4] = [1, 2, 4, 8];

/// Statements of a body that are joined.
struct Run {
    columns: Columns,
    /// How many statements there are in all.
    statements: usize,
    /// Those of them that take nothing of the joined ones: they come first.
    before: Vec<Stmt>,
    /// Those that take something of them, but give them nothing: they come last.
    behind: Vec<Stmt>,
}

impl Run {
    /// The longest run from a statement on, where it is long enough.
    fn of(body: &[Stmt], at: usize, least: Least, last: &[usize]) -> Option<Self> {
        let all = LANES.map(|lanes| (lanes, Numbers::of(body, at, least, lanes, last)));
        let long = all.into_iter().filter(|(_, n)| {
            n.joined.len() >= least.maps && n.passed(body) <= n.joined.len()
        });
        // The first of those that join as many.
        let (lanes, found) = long.rev().max_by_key(|(_, n)| n.joined.len())?;
        let mut columns = Columns::of(least.columns, lanes);
        for &n in &found.joined {
            columns.add(&body[n])?;
        }
        let own = |list: &[usize]| list.iter().map(|&n| body[n].clone()).collect();
        let (before, behind) = (own(&found.before), own(&found.behind));
        Some(Self { columns, statements: found.statements, before, behind })
    }
}

/// The statements of a run by number.
#[derive(Default)]
struct Numbers {
    statements: usize,
    joined: Vec<usize>,
    before: Vec<usize>,
    behind: Vec<usize>,
}

impl Numbers {
    /// How many maps are among them that are not joined, in whose place others might be.
    fn passed(&self, body: &[Stmt]) -> usize {
        let all = self.before.iter().chain(&self.behind);
        all.filter(|n| matches!(body[**n], Stmt::Map { .. })).count()
    }

    /// Those from one on, for so many lanes.
    fn of(body: &[Stmt], at: usize, least: Least, lanes: usize, last: &[usize]) -> Self {
        let mut columns = Columns::of(least.columns, lanes);
        let mut touched: Vec<Touches> = Vec::new();
        let mut found = Self::default();
        for n in at..body.len() {
            let stmt = &body[n];
            touched.push(touches(stmt));
            let own = &touched[n - at];
            let apart = |from: &[usize]| from.iter().all(|m| own.apart(&touched[m - at]));
            let wanted = |tile: Tile| last[tile.index()] > n;
            if columns.suit(stmt) {
                let fits = apart(&found.behind)
                    && columns.add(stmt).is_some()
                    && columns.held(wanted) <= MOST_HELD;
                if !fits {
                    break;
                }
                found.joined.push(n);
            } else if n > at && apart(&found.joined) && apart(&found.behind) {
                found.before.push(n);
            } else if n > at && !matches!(stmt, Stmt::Loop { .. } | Stmt::When { .. }) {
                found.behind.push(n);
            } else {
                break;
            }
        }
        let end = found.joined.last().map_or(at, |n| n + 1);
        found.statements = end - at;
        let meet =
            |n: usize, m: usize| n != m && !touched[n - at].apart(&touched[m - at]);
        let all = std::mem::take(&mut found.joined);
        let connected = |n: &usize| all.iter().any(|m| meet(*n, *m));
        let (joined, alone): (Vec<_>, Vec<_>) = all.iter().copied().partition(connected);
        found.joined = joined;
        found.before.extend(alone);
        found.before.sort_unstable();
        found.before.retain(|n| *n < end);
        found.behind.retain(|n| *n < end);
        found
    }
}
