//! Sums of a team as late as may be, so that those that come one after another are one.

use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{Place, Stmt, Tile};

/// A body with every total before the first statement that touches one of its tiles.
pub(super) fn late(body: Vec<Stmt>) -> Vec<Stmt> {
    let mut out = Vec::new();
    let mut open: Vec<Tile> = Vec::new();
    for mut stmt in body {
        if let Stmt::Total { tiles } = stmt {
            open.extend(tiles);
            continue;
        }
        let touched = touches(&stmt);
        let meets = |t: &Tile| {
            let place = Place::Tile(*t);
            touched.reads.contains(&place) || touched.writes.contains(&place)
        };
        if stmt.meets() || open.iter().any(meets) {
            put(&mut out, &mut open);
        }
        if let Stmt::Loop { body, .. } | Stmt::When { body, .. } = &mut stmt {
            *body = late(std::mem::take(body));
        }
        out.push(stmt);
    }
    put(&mut out, &mut open);
    out
}

fn put(out: &mut Vec<Stmt>, open: &mut Vec<Tile>) {
    if !open.is_empty() {
        out.push(Stmt::Total { tiles: std::mem::take(open) });
    }
}
