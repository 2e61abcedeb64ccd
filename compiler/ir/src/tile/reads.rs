//! Who reads and who writes: whether a kernel builds on what is in a buffer, or only on what it has put there itself; what a statement touches.

use crate::tile::{Buffer, Kernel, Place, Sink, Stmt, Tile};

/// Whether some statement reads `buffer` before any has written to it, in the order of the text.
pub fn reads_first(kernel: &Kernel, buffer: Buffer) -> bool {
    first(&kernel.body, Place::Buffer(buffer)) == Some(true)
}

/// Whether some statement of a body reads a place before any has written to it, in the order of the text.
pub fn reads_first_of(body: &[Stmt], place: Place) -> bool {
    first(body, place) == Some(true)
}

/// Whether the first statement that touches a place reads it; nothing where none touches it.
fn first(body: &[Stmt], place: Place) -> Option<bool> {
    body.iter().find_map(|stmt| match stmt {
        Stmt::Loop { body, .. } | Stmt::When { body, .. } | Stmt::Together { body } => {
            first(body, place)
        }
        Stmt::Map { .. }
        | Stmt::Product { .. }
        | Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. } => {
            let Touches { reads, writes } = touches(stmt);
            let read = reads.contains(&place);
            (read || writes.contains(&place)).then_some(read)
        }
    })
}

/// Whether a statement, or one that it holds, writes to a place.
pub fn writes(stmt: &Stmt, place: Place) -> bool {
    touches(stmt).writes.contains(&place)
}

/// The places that a statement touches.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Touches {
    /// What it reads.
    pub reads: Vec<Place>,
    /// What it writes.
    pub writes: Vec<Place>,
}

impl Touches {
    /// Whether two statements may change places.
    #[must_use]
    pub fn apart(&self, other: &Touches) -> bool {
        let free = |a: &Touches, b: &Touches| {
            !a.writes.iter().any(|p| b.reads.contains(p) || b.writes.contains(p))
        };
        free(self, other) && free(other, self)
    }
}

/// What a statement, and what it holds, reads and writes.
pub fn touches(stmt: &Stmt) -> Touches {
    let mut found = Touches::default();
    add_touches(stmt, &mut found);
    found
}

fn add_touches(stmt: &Stmt, found: &mut Touches) {
    let tiles =
        |list: &[Tile]| -> Vec<Place> { list.iter().map(|t| Place::Tile(*t)).collect() };
    match stmt {
        Stmt::Map { loads, sinks, .. } => {
            found.reads.extend(loads.iter().map(|l| l.place));
            for (_, sink) in sinks {
                if matches!(sink, Sink::Fold { accumulate: true, .. }) {
                    found.reads.push(sink.to().place);
                }
                found.writes.push(sink.to().place);
            }
        }
        Stmt::Product { left, right, out, accumulate, .. } => {
            found.reads.extend([left.place, right.place]);
            found.reads.extend(accumulate.then_some(out.place));
            found.writes.push(out.place);
        }
        Stmt::SolveUnitLower { lower, x, .. } => {
            found.reads.extend(tiles(&[*lower, *x]));
            found.writes.extend(tiles(&[*x]));
        }
        Stmt::Eliminate { a, x, .. } => {
            found.reads.extend(tiles(&[*a, *x]));
            found.writes.extend(tiles(&[*a, *x]));
        }
        Stmt::InverseRoot { a, basis, .. } => {
            found.reads.extend(tiles(&[*a]));
            found.writes.extend(tiles(&[*a, *basis]));
        }
        Stmt::LinearScan { a, b, init, y, .. } => {
            found.reads.extend(tiles(&[*a, *b, *init]));
            found.writes.extend(tiles(&[*y]));
        }
        Stmt::Gather { table, index, out, .. } => {
            found.reads.extend([Place::Buffer(*table), index.place]);
            found.writes.push(out.place);
        }
        Stmt::ScatterAdd { table, index, values, .. } => {
            found.reads.extend([Place::Buffer(*table), index.place, values.place]);
            found.writes.push(Place::Buffer(*table));
        }
        Stmt::Total { tiles: all } => {
            found.reads.extend(tiles(all));
            found.writes.extend(tiles(all));
        }
        Stmt::Loop { body, .. } | Stmt::When { body, .. } | Stmt::Together { body } => {
            body.iter().for_each(|s| add_touches(s, found));
        }
    }
}
