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
use nestor_ir::tile::reads::touches;
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
        at += run.statements;
        kernel.body.extend(run.apart);
        kernel.body.push(run.columns.stmt(|tile| last[tile.index()] >= at));
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

/// Statements of a body that are joined.
struct Run {
    columns: Columns,
    /// How many statements there are in all.
    statements: usize,
    /// Those of them that have nothing to do with others: they stay as they are, and come first.
    apart: Vec<Stmt>,
}

impl Run {
    /// The longest run from a statement on, where it is long enough.
    fn of(body: &[Stmt], at: usize, least: Least, last: &[usize]) -> Option<Self> {
        let statements = length(body, at, least, last);
        let (joined, apart) = connected(&body[at..at + statements]);
        let mut columns = Columns::of(least.columns);
        for stmt in &joined {
            columns.add(stmt)?;
        }
        (joined.len() >= least.maps).then_some(Self { columns, statements, apart })
    }
}

/// How many statements from one on could be one.
fn length(body: &[Stmt], at: usize, least: Least, last: &[usize]) -> usize {
    let mut columns = Columns::of(least.columns);
    let mut fits = |n: &usize| {
        let wanted = |tile: Tile| last[tile.index()] > *n;
        columns.add(&body[*n]).is_some() && columns.held(wanted) <= MOST_HELD
    };
    (at..body.len()).take_while(|n| fits(n)).count()
}

/// Those statements of a run that give others something or take it, and the rest, which may change places with all of them.
fn connected(run: &[Stmt]) -> (Vec<Stmt>, Vec<Stmt>) {
    let all: Vec<_> = run.iter().map(touches).collect();
    let meet = |n: usize, m: usize| n != m && !all[n].apart(&all[m]);
    let is_connected = |n: usize| (0..run.len()).any(|m| meet(n, m));
    let (joined, apart): (Vec<_>, Vec<_>) =
        run.iter().cloned().enumerate().partition(|(n, _)| is_connected(*n));
    let statements = |all: Vec<(usize, Stmt)>| all.into_iter().map(|(_, s)| s).collect();
    (statements(joined), statements(apart))
}
