//! Products and the maps over their entries as one statement, for machines whose threads have the entries at hand.
//!
//! ```text
//! before   product [32, 32, 128] t2 = t1 @ t0;  map [32, 32] t4 = b3 * t2 - b5;  ..  map [32, 32] b7 = t2
//! after    together { product t2 = t1 @ t0;  map { t4 = b3 * t2 - b5, b7 = t2 } }
//!
//! before   map [128, 32] t0 = b8 * t0;  product [128, 32, 32] t0 += t5 @ t3
//! after    together { product t9 = t5 @ t3;  map t0 = b8 * t0 + t9 }
//!
//! before   product [32, 32, 128] t3 = t4 @ t0;  product [32, 32, 32] t3 += b5 @ t2
//! after    together { product t3 = t4 @ t0;  product t3 += b5 @ t2 }
//! ```
//!
//! An entry is then neither stored to be loaded again nor waited for by all threads. What is added to is made on the way where a map makes it
//! and nothing looks at it in between. Maps of many operations stay by themselves: a thread has many entries, and each has code of its own.

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::{touches, writes};
use nestor_ir::tile::together::{is_entry, parts, point, verify};
use nestor_ir::tile::{
    Access, Affine, Expr, ExprId, Extent, Kernel, Matrix, Place, ScalarKind, ScalarOp,
    Sink, Stmt, Tile, TileData,
};
use nestor_ir::ty::Elem;
use smallvec::SmallVec;
use std::ops::Range;

/// Operations of a map that is worked on with a product, at most.
const MOST_SCALARS: usize = 12;

/// The kernel with its products and maps together.
#[must_use]
pub fn together(mut kernel: Kernel) -> Kernel {
    let mut body = std::mem::take(&mut kernel.body);
    let reads = count_reads(&body, kernel.tiles.len());
    within(&mut body, &mut kernel, &reads);
    kernel.body = body;
    kernel
}

/// How many statements read each tile.
fn count_reads(body: &[Stmt], tiles: usize) -> Vec<usize> {
    fn walk(body: &[Stmt], out: &mut [usize]) {
        for stmt in body {
            if !stmt.inner().is_empty() {
                walk(stmt.inner(), out);
                continue;
            }
            let read = touches(stmt).reads;
            for (n, place) in read.iter().enumerate() {
                if let Place::Tile(t) = place
                    && !read[..n].contains(place)
                {
                    out[t.index()] += 1;
                }
            }
        }
    }
    let mut out = vec![0; tiles];
    walk(body, &mut out);
    out
}

/// Joins what a body, and those that it holds, have to join.
fn within(body: &mut Vec<Stmt>, kernel: &mut Kernel, reads: &[usize]) {
    for stmt in body.iter_mut() {
        if let Stmt::Loop { body, .. } | Stmt::When { body, .. } = stmt {
            within(body, kernel, reads);
        }
    }
    let mut at = 0;
    while at < body.len() {
        if let Some(joined) = added(body, at, kernel) {
            at = joined;
        } else if !ended(body, at, reads) {
            at += 1;
        }
    }
}

/// Joins a product that adds to something with the statement before it that makes that: a map, another product, or several
/// together. Gives where they stand then.
fn added(body: &mut Vec<Stmt>, at: usize, kernel: &mut Kernel) -> Option<usize> {
    let Stmt::Product { m, n, out, accumulate: true, .. } = &body[at] else {
        return None;
    };
    let first = (0..at).rev().find(|i| writes(&body[*i], out.place))?;
    let place = match (apart(body, first, first + 1..at), apart(body, at, first + 1..at))
    {
        (true, _) => at,
        (false, true) => first,
        (false, false) => return None,
    };
    let new = Tile::new(kernel.tiles.len());
    let entry = entry_of(new, *n)?;
    let entries = [*m, *n];
    let both = match &body[first] {
        map @ Stmt::Map { .. } => {
            let map = with_added(map, [out, &entry], entries)?;
            vec![into(&body[at], &entry, false), map]
        }
        Stmt::Product { out: sum, accumulate: false, .. } if sum == out => {
            vec![body[first].clone(), body[at].clone()]
        }
        Stmt::Product { out: sum, accumulate: true, .. } if sum == out => {
            let map = with_added(&as_it_is(out, entries)?, [out, &entry], entries)?;
            let products = [(first, false), (at, true)];
            let products = products.map(|(of, adds)| into(&body[of], &entry, adds));
            products.into_iter().chain([map]).collect()
        }
        Stmt::Together { body: before } => {
            let (products, map) = parts(before);
            let Stmt::Product { out: sum, .. } = &products[0] else { return None };
            if !map.map_or(sum == out, |map| adds_last(map, [out, sum], entries)) {
                return None;
            }
            let more = into(&body[at], sum, true);
            products.iter().chain([&more]).chain(map).cloned().collect()
        }
        Stmt::Product { .. }
        | Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. }
        | Stmt::Loop { .. }
        | Stmt::When { .. } => return None,
    };
    verify(&both).ok()?;
    if both.iter().any(|s| writes(s, entry.place)) {
        let (name, dims) = ("entry".to_owned(), entries.into_iter().collect());
        kernel.tiles.push(TileData { name, elem: Elem::Real, dims });
    }
    body[place] = Stmt::Together { body: both };
    body.remove(first + at - place);
    Some(if place == at { at - 1 } else { place })
}

/// A tile of entries as a matrix.
fn entry_of(tile: Tile, columns: Extent) -> Option<Matrix> {
    Some(Matrix {
        place: Place::Tile(tile),
        origin: Affine::default(),
        row: Affine::number(columns.fixed()? as i64),
        column: Affine::number(1),
    })
}

/// A product with its result elsewhere.
fn into(product: &Stmt, to: &Matrix, adds: bool) -> Stmt {
    let mut product = product.clone();
    if let Stmt::Product { out, accumulate, .. } = &mut product {
        out.clone_from(to);
        *accumulate = adds;
    }
    product
}

/// The map that puts every entry of a matrix where it is.
fn as_it_is(matrix: &Matrix, entries: [Extent; 2]) -> Option<Stmt> {
    entries[0].fixed()?;
    let access = matrix.access();
    let mut expr = Expr::default();
    let root = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    let sinks = vec![(root, Sink::Store(access.clone()))];
    let space = entries.into_iter().collect();
    Some(Stmt::Map { space, expr, loads: vec![access], sinks })
}

/// Whether what a map stores as entries of a matrix, whole, is something and, added last, the entries that it takes.
fn adds_last(map: &Stmt, [to, entry]: [&Matrix; 2], entries: [Extent; 2]) -> bool {
    let Stmt::Map { space, expr, loads, sinks } = map else { return false };
    let Some(point) = point(space, entries) else { return false };
    let takes = |id: &ExprId| match expr.scalars[*id].op {
        ScalarOp::Load(n) => loads[n].place == entry.place,
        _ => false,
    };
    // Taken for nothing else, they may be more than they were.
    let users = expr.scalars.values().flat_map(|s| &s.operands).filter(|o| takes(o));
    let alone = users.count() == 1 && !sinks.iter().any(|(root, _)| takes(root));
    let own = |(root, sink): &(ExprId, Sink)| {
        let scalar = &expr.scalars[*root];
        let sum = scalar.op == ScalarOp::Add && takes(&scalar.operands[1]);
        sum && matches!(sink, Sink::Store(stored) if is_entry(stored, to, &point))
    };
    alone && sinks.iter().filter(|s| own(s)).count() == 1
}

/// A map with entries added to what it stores as those of a matrix, whole; nothing where it does not, or has much to do.
fn with_added(
    map: &Stmt,
    [to, entry]: [&Matrix; 2],
    entries: [Extent; 2],
) -> Option<Stmt> {
    let mut map = map.clone();
    if !is_light(&map) {
        return None;
    }
    let Stmt::Map { space, expr, loads, sinks } = &mut map else { return None };
    let point = point(space, entries)?;
    let mut own = sinks.iter_mut().filter(|(_, s)| s.to().place == to.place);
    let (root, sink) = own.next()?;
    let fits = own.next().is_none()
        && matches!(sink, Sink::Store(stored) if is_entry(stored, to, &point));
    let side = |side: &Option<usize>| match side {
        Some(0) => entry.row.clone(),
        Some(_) => entry.column.clone(),
        None => Affine::default(),
    };
    loads.push(Access {
        place: entry.place,
        origin: Affine::default(),
        strides: point.iter().map(side).collect(),
        bounds: SmallVec::new(),
        pad: 0.0,
    });
    let load = expr.add(ScalarOp::Load(loads.len() - 1), &[], ScalarKind::Real);
    *root = expr.add(ScalarOp::Add, &[*root, load], ScalarKind::Real);
    fits.then_some(map)
}

/// Joins a product and the next map that may be joined with it; whether there is one.
fn ended(body: &mut Vec<Stmt>, at: usize, reads: &[usize]) -> bool {
    let products: Vec<Stmt> = match &body[at] {
        product @ Stmt::Product { .. } => vec![product.clone()],
        Stmt::Together { body } if parts(body).1.is_none() => body.clone(),
        _ => return false,
    };
    let Stmt::Product { out, .. } = &products[0] else { return false };
    let Place::Tile(tile) = out.place else { return false };
    // Reads of those that add to it are none.
    let own = products.len() - 1;
    for second in at + 1..body.len() {
        if takes(&body[second], out.place) && is_light(&body[second]) {
            let mut both = products.clone();
            both.push(body[second].clone());
            let early = apart(body, second, at + 1..second);
            if (early || apart(body, at, at + 1..second)) && verify(&both).is_ok() {
                if reads.get(tile.index()).is_none_or(|n| *n > 1 + own)
                    && let Some(map) = both.last_mut()
                {
                    keep(map, out.place);
                }
                let (place, gone) = if early { (at, second) } else { (second, at) };
                body[place] = Stmt::Together { body: both };
                body.remove(gone);
                return true;
            }
        }
        if writes(&body[second], out.place) {
            return false;
        }
    }
    false
}

/// Has a map store the entries that it takes as well: others read them.
fn keep(map: &mut Stmt, place: Place) {
    let Stmt::Map { expr, loads, sinks, .. } = map else { return };
    if sinks.iter().any(|(_, s)| s.to().place == place) {
        return;
    }
    let Some(n) = loads.iter().position(|l| l.place == place) else { return };
    let taken = expr.scalars.iter().find(|(_, s)| s.op == ScalarOp::Load(n));
    let load = match taken {
        Some((known, _)) => known,
        None => expr.add(ScalarOp::Load(n), &[], ScalarKind::Real),
    };
    sinks.push((load, Sink::Store(loads[n].clone())));
}

/// Whether a statement is a map that loads from a place.
fn takes(stmt: &Stmt, place: Place) -> bool {
    matches!(stmt, Stmt::Map { loads, .. } if loads.iter().any(|l| l.place == place))
}

/// Whether a statement is a map of few operations.
fn is_light(stmt: &Stmt) -> bool {
    let Stmt::Map { expr, .. } = stmt else { return false };
    let is_one = |op: ScalarOp| !matches!(op, ScalarOp::Load(_) | ScalarOp::Constant(_));
    let ops = expr.scalars.values().filter(|s| is_one(s.op)).count();
    ops <= MOST_SCALARS && !expr.scalars.values().any(|s| s.op.is_transcendental())
}

/// Whether a statement may change places with all of some others.
fn apart(body: &[Stmt], one: usize, mut others: Range<usize>) -> bool {
    let own = touches(&body[one]);
    others.all(|other| touches(&body[other]).apart(&own))
}
