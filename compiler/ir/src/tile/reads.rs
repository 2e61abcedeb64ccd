//! Who reads and who writes: whether a kernel builds on what is in a buffer, or only on what it has put there itself.

use crate::tile::{Buffer, Kernel, Place, Sink, Stmt, Tile};

/// Whether some statement reads `buffer` before any has written to it, in the order of the text.
pub fn reads_first(kernel: &Kernel, buffer: Buffer) -> bool {
    first(&kernel.body, Place::Buffer(buffer)) == Some(true)
}

/// Whether the first statement that touches a place reads it; nothing where none touches it.
fn first(body: &[Stmt], place: Place) -> Option<bool> {
    body.iter().find_map(|stmt| match stmt {
        Stmt::Map { loads, sinks, .. } => {
            let from_there = sinks.iter().any(|(_, sink)| match sink {
                Sink::Store(_) => false,
                Sink::Fold { to, accumulate, .. } => *accumulate && to.place == place,
            });
            let stored = sinks.iter().any(|(_, sink)| {
                let (Sink::Store(to) | Sink::Fold { to, .. }) = sink;
                to.place == place
            });
            let read = from_there || loads.iter().any(|l| l.place == place);
            (read || stored).then_some(read)
        }
        Stmt::Product { left, right, out, accumulate, .. } => {
            let read = [left, right].iter().any(|x| x.place == place);
            let written = out.place == place;
            (read || written).then_some(read || *accumulate)
        }
        Stmt::SolveUnitLower { lower, x, .. } => {
            [lower, x].iter().any(|t| Place::Tile(**t) == place).then_some(true)
        }
        Stmt::Eliminate { a, x, .. } => {
            [a, x].iter().any(|t| Place::Tile(**t) == place).then_some(true)
        }
        Stmt::InverseRoot { a, basis, .. } => {
            let read = Place::Tile(*a) == place;
            (read || Place::Tile(*basis) == place).then_some(read)
        }
        Stmt::LinearScan { a, b, init, y, .. } => {
            let read = [a, b, init].iter().any(|t| Place::Tile(**t) == place);
            (read || Place::Tile(*y) == place).then_some(read)
        }
        Stmt::Gather { table, index, out, .. } => {
            let read = Place::Buffer(*table) == place || index.place == place;
            (read || out.place == place).then_some(read)
        }
        Stmt::ScatterAdd { table, index, values, .. } => {
            let places = [Place::Buffer(*table), index.place, values.place];
            places.contains(&place).then_some(true)
        }
        Stmt::Loop { body, .. } | Stmt::When { body, .. } => first(body, place),
    })
}

/// Whether a statement, or one that it holds, writes to a place.
pub fn writes(stmt: &Stmt, place: Place) -> bool {
    let tile = |t: &Tile| Place::Tile(*t) == place;
    match stmt {
        Stmt::Map { sinks, .. } => sinks.iter().any(|(_, sink)| {
            let (Sink::Store(to) | Sink::Fold { to, .. }) = sink;
            to.place == place
        }),
        Stmt::Product { out, .. } => out.place == place,
        Stmt::SolveUnitLower { x, .. } => tile(x),
        Stmt::Eliminate { a, x, .. } => tile(a) || tile(x),
        Stmt::InverseRoot { a, basis, .. } => tile(a) || tile(basis),
        Stmt::LinearScan { y, .. } => tile(y),
        Stmt::Gather { out, .. } => out.place == place,
        Stmt::ScatterAdd { table, .. } => Place::Buffer(*table) == place,
        Stmt::Loop { body, .. } | Stmt::When { body, .. } => {
            body.iter().any(|s| writes(s, place))
        }
    }
}
