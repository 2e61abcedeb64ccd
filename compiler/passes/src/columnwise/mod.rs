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
    let stmts = std::mem::take(&mut kernel.body);
    let body = Body::of(&stmts, kernel.tiles.len());
    let mut at = 0;
    while at < stmts.len() {
        let Some((columns, run)) = joined(&body, at, least) else {
            kernel.body.push(stmts[at].clone());
            at += 1;
            continue;
        };
        let taken_behind = |tile: Tile| {
            let mut behind = run.behind.iter();
            behind.any(|n| body.touched[*n].reads.contains(&Place::Tile(tile)))
        };
        let wanted =
            |tile: Tile| body.last[tile.index()] >= run.end || taken_behind(tile);
        let own = |list: &[usize]| list.iter().map(|&n| stmts[n].clone()).collect();
        let (before, behind): (Vec<Stmt>, Vec<Stmt>) =
            (own(&run.before), own(&run.behind));
        kernel.body.extend(before);
        kernel.body.push(columns.stmt(wanted));
        kernel.body.extend(behind);
        at = run.end;
    }
    kernel
}

/// The statements of a kernel.
struct Body<'a> {
    stmts: &'a [Stmt],
    /// What each of them touches.
    touched: Vec<Touches>,
    /// The last of them that reads each tile; the first where none does.
    last: Vec<usize>,
}

impl<'a> Body<'a> {
    fn of(stmts: &'a [Stmt], tiles: usize) -> Self {
        let touched: Vec<Touches> = stmts.iter().map(touches).collect();
        let mut last = vec![0; tiles];
        for (n, touched) in touched.iter().enumerate() {
            for place in &touched.reads {
                if let Place::Tile(tile) = place {
                    last[tile.index()] = n;
                }
            }
        }
        Self { stmts, touched, last }
    }

    /// Whether a statement may change places with all of some others.
    fn apart(&self, one: usize, others: &[usize]) -> bool {
        others.iter().all(|n| self.touched[one].apart(&self.touched[*n]))
    }
}

/// In how many lanes rows may lie: a thread has those of one.
const LANES: [usize; 4] = [1, 2, 4, 8];

/// The longest run from a statement on as a map over columns, where it is long enough.
fn joined(body: &Body<'_>, at: usize, least: Least) -> Option<(Columns, Run)> {
    let all = LANES.map(|lanes| (lanes, Run::of(body, at, least, lanes)));
    let long = all.into_iter().filter(|(_, run)| {
        run.joined.len() >= least.maps && run.maps_passed(body) <= run.joined.len()
    });
    // The first of those that join as many.
    let (lanes, run) = long.rev().max_by_key(|(_, run)| run.joined.len())?;
    let mut columns = Columns::of(least.columns, lanes);
    for &n in &run.joined {
        columns.add(&body.stmts[n])?;
    }
    Some((columns, run))
}

/// Statements of a body one after the other, by number.
#[derive(Default)]
struct Run {
    joined: Vec<usize>,
    /// Those that take nothing of the joined ones: they come first.
    before: Vec<usize>,
    /// Those that take something of them, but give them nothing: they come last.
    behind: Vec<usize>,
    /// The first statement after all of them.
    end: usize,
}

impl Run {
    /// From a statement on, for so many lanes.
    fn of(body: &Body<'_>, at: usize, least: Least, lanes: usize) -> Self {
        let mut columns = Columns::of(least.columns, lanes);
        let mut run = Self { end: at, ..Self::default() };
        for (n, stmt) in body.stmts.iter().enumerate().skip(at) {
            let wanted = |tile: Tile| body.last[tile.index()] > n;
            if columns.suit(stmt) {
                let fits = body.apart(n, &run.behind)
                    && columns.add(stmt).is_some()
                    && columns.held(wanted) <= MOST_HELD;
                if !fits {
                    break;
                }
                run.joined.push(n);
                run.end = n + 1;
            } else if n > at && body.apart(n, &run.joined) && body.apart(n, &run.behind) {
                run.before.push(n);
            } else if n > at && !matches!(stmt, Stmt::Loop { .. } | Stmt::When { .. }) {
                run.behind.push(n);
            } else {
                break;
            }
        }
        let all = std::mem::take(&mut run.joined);
        let connected = |n: &usize| {
            let mut others = all.iter().filter(|m| *m != n);
            others.any(|m| !body.apart(*n, &[*m]))
        };
        let (joined, alone): (Vec<_>, Vec<_>) = all.iter().copied().partition(connected);
        run.joined = joined;
        run.before.extend(alone);
        run.before.sort_unstable();
        run.before.retain(|n| *n < run.end);
        run.behind.retain(|n| *n < run.end);
        run
    }

    /// How many maps are not joined, in whose place others might be.
    fn maps_passed(&self, body: &Body<'_>) -> usize {
        let all = self.before.iter().chain(&self.behind);
        all.filter(|n| matches!(body.stmts[**n], Stmt::Map { .. })).count()
    }
}
