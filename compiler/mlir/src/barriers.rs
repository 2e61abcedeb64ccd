//! Where the threads of a block wait for one another.
//!
//! A statement is worked on by all threads, each with elements of its own; so one that touches what another has
//! written since the last barrier, or writes what another has touched, begins with a barrier. What is
//! touched at the end of a loop's body counts at its beginning too; where a loop's turns begin with what was copied ahead, all
//! threads wait for it there.

use crate::ahead::copies;
use crate::placement::Placement;
use nestor_ir::tile::{Kernel, Place, Stmt};

/// Whether a barrier stands before each statement; statements are numbered as they are written, one that
/// has a body before it.
pub fn barriers(kernel: &Kernel, placement: &Placement) -> Vec<bool> {
    let mut walk = Walk { placement, before: Vec::new(), number: 0 };
    walk.before.resize(count(&kernel.body), false);
    walk.body(&kernel.body, Touched::default());
    walk.before
}

/// Statements of a body, with those that they hold.
pub(crate) fn count(body: &[Stmt]) -> usize {
    body.iter().map(|s| 1 + count(s.inner())).sum()
}

/// Places touched since the last barrier.
#[derive(Clone, PartialEq, Default)]
struct Touched {
    read: Vec<Place>,
    written: Vec<Place>,
}

impl Touched {
    fn add(&mut self, other: &Touched) {
        for (mine, theirs) in
            [(&mut self.read, &other.read), (&mut self.written, &other.written)]
        {
            for place in theirs {
                if !mine.contains(place) {
                    mine.push(*place);
                }
            }
        }
    }
}

struct Walk<'p> {
    placement: &'p Placement,
    before: Vec<bool>,
    number: usize,
}

impl Walk<'_> {
    /// What is touched behind a body, given what was touched before it.
    fn body(&mut self, body: &[Stmt], mut touched: Touched) -> Touched {
        for stmt in body {
            let here = self.number;
            self.number += 1;
            match stmt {
                Stmt::Loop { body, .. } if copies(body, self.placement) > 0 => {
                    // Every turn begins with a barrier; there may be none.
                    let skipped = copies(body, self.placement);
                    self.number += skipped;
                    let end = self.body(&body[skipped..], Touched::default());
                    touched.add(&end);
                }
                Stmt::Loop { body, .. } => {
                    // Twice: the second time with what the first has left.
                    let mut entry = touched.clone();
                    loop {
                        self.number = here + 1;
                        let end = self.body(body, entry.clone());
                        let mut joined = entry.clone();
                        joined.add(&end);
                        if joined == entry {
                            break;
                        }
                        entry = joined;
                    }
                    touched = entry;
                }
                Stmt::When { body, .. } => {
                    let end = self.body(body, touched.clone());
                    touched.add(&end);
                }
                // All threads of a team wait, before and behind.
                Stmt::Total { .. } => touched = Touched::default(),
                stmt => {
                    let mut now = uses(stmt);
                    let meets = |a: &[Place], b: &[Place]| {
                        a.iter().any(|a| b.iter().any(|b| self.overlap(*a, *b)))
                    };
                    let waits = meets(&now.read, &touched.written)
                        || meets(&now.written, &touched.written)
                        || meets(&now.written, &touched.read);
                    self.before[here] |= waits;
                    if !self.before[here] {
                        now.add(&touched);
                    }
                    touched = now;
                    self.number += stmt.inner().len();
                }
            }
        }
        touched
    }

    fn overlap(&self, a: Place, b: Place) -> bool {
        match (a, b) {
            (Place::Tile(a), Place::Tile(b)) => self.placement.overlap(a, b),
            (a, b) => a == b,
        }
    }
}

/// What a statement touches.
fn uses(stmt: &Stmt) -> Touched {
    let mut out = Touched::default();
    match stmt {
        Stmt::Map { loads, sinks, .. } => {
            out.read.extend(loads.iter().map(|l| l.place));
            out.written.extend(sinks.iter().map(|(_, sink)| sink.to().place));
        }
        Stmt::Product { left, right, out: to, .. } => {
            out.read.extend([left.place, right.place]);
            out.written.push(to.place);
        }
        Stmt::SolveUnitLower { lower, x, .. } => {
            out.read.push(Place::Tile(*lower));
            out.written.push(Place::Tile(*x));
        }
        Stmt::Eliminate { a, x, .. } | Stmt::InverseRoot { a, basis: x, .. } => {
            out.written.extend([a, x].map(|t| Place::Tile(*t)));
        }
        Stmt::LinearScan { a, b, init, y, .. } => {
            out.read.extend([a, b, init].map(|t| Place::Tile(*t)));
            out.written.push(Place::Tile(*y));
        }
        Stmt::Gather { table, index, out: to, .. } => {
            out.read.extend([Place::Buffer(*table), index.place]);
            out.written.push(to.place);
        }
        Stmt::ScatterAdd { table, index, values, .. } => {
            out.read.extend([index.place, values.place]);
            out.written.push(Place::Buffer(*table));
        }
        Stmt::Together { body } => body.iter().for_each(|s| out.add(&uses(s))),
        Stmt::Loop { .. } | Stmt::When { .. } | Stmt::Total { .. } => {}
    }
    out
}
