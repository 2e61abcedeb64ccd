//! Products of one sum and the map over its entries that are worked on together: when statements may be so, and which tiles are then
//! never stored.

use crate::entity::Entity;
use crate::tile::reads::touches;
use crate::tile::{
    Access, Affine, Extent, Kernel, Matrix, Place, Shape, Sink, Stmt, Tile,
};

/// Terms from which products are brought to their operands in one way; those of fewer are summed together where they have as many.
const MANY: usize = 16;

/// The products of a body worked on as one, and the map behind them.
pub fn parts(body: &[Stmt]) -> (&[Stmt], Option<&Stmt>) {
    match body.split_last() {
        Some((map @ Stmt::Map { .. }, products)) => (products, Some(map)),
        _ => (body, None),
    }
}

/// The first thing that stands in the way of products and a map being one, in words.
///
/// # Errors
/// Where there is one.
pub fn verify(body: &[Stmt]) -> Result<(), String> {
    let (products, map) = parts(body);
    let Some((Stmt::Product { m, n, out, accumulate, .. }, others)) =
        products.split_first()
    else {
        return Err("the first is no product".to_owned());
    };
    if body.len() < 2 {
        return Err("there is nothing else".to_owned());
    }
    if *accumulate || !matches!(out.place, Place::Tile(_)) {
        return Err(format!("{} is more than a tile of entries", out.place));
    }
    others.iter().try_for_each(|other| adds(other, &products[0]))?;
    let Some(Stmt::Map { space, loads, sinks, .. }) = map else { return Ok(()) };
    let Some(point) = point(space, [*m, *n]) else {
        return Err("the map has other points than the product has entries".to_owned());
    };
    let own = |a: &Access| a.place != out.place || is_entry(a, out, &point);
    let taken = loads.iter().any(|l| l.place == out.place);
    if !taken || !loads.iter().all(own) {
        return Err(format!("entries of {} are not taken at their points", out.place));
    }
    for (_, sink) in sinks {
        let Sink::Store(to) = sink else { return Err("the map folds".to_owned()) };
        if !own(to) {
            return Err(format!("entries of {} are stored elsewhere", out.place));
        }
        let reads = |product: &Stmt| match product {
            Stmt::Product { left, right, .. } => {
                [left.place, right.place].contains(&to.place)
            }
            _ => false,
        };
        if products.iter().any(reads) {
            return Err(format!("{} is read by a product", to.place));
        }
    }
    Ok(())
}

/// Whether a product adds to the sum that another begins, so that both have the same entries at hand.
fn adds(product: &Stmt, first: &Stmt) -> Result<(), String> {
    let (
        Stmt::Product { m, n, k, alpha, out, accumulate, shape, left, right },
        Stmt::Product {
            m: rows,
            n: columns,
            k: terms,
            alpha: factor,
            out: sum,
            shape: as_first,
            ..
        },
    ) = (product, first)
    else {
        return Err("one in between is no product".to_owned());
    };
    if [left.place, right.place].contains(&out.place) {
        return Err(format!("{} is read before it is summed", out.place));
    }
    if !accumulate || out != sum || (m, n) != (rows, columns) {
        return Err(format!("a product does not add to {}", sum.place));
    }
    let many = |d: &Extent| d.fixed().is_some_and(|n| n >= MANY);
    let half = |shape: &Shape| *shape == Shape::OutputLower;
    let alike = (k == terms || many(k) && many(terms)) && half(shape) == half(as_first);
    match alike && alpha.to_bits() == factor.to_bits() {
        true => Ok(()),
        false => Err(format!("products into {} are of other kinds", out.place)),
    }
}

/// Which side of a product each dimension of a map runs along: its rows (0) or columns (1), or none where it has one point. Nothing where
/// the map's points are not the product's entries.
pub fn point(space: &[Extent], entries: [Extent; 2]) -> Option<Vec<Option<usize>>> {
    let is_one = |n: &Extent| *n == Extent::Fixed(1);
    let mut sides = (0..2).filter(|s| !is_one(&entries[*s]));
    let mut out = Vec::with_capacity(space.len());
    for n in space {
        out.push(match is_one(n) {
            true => None,
            false => Some(sides.next().filter(|s| entries[*s] == *n)?),
        });
    }
    sides.next().is_none().then_some(out)
}

/// Whether an access is a matrix's entry at every point.
pub fn is_entry(access: &Access, matrix: &Matrix, point: &[Option<usize>]) -> bool {
    let strides = [&matrix.row, &matrix.column];
    let moves = |(side, stride): (&Option<usize>, &Affine)| {
        side.is_none_or(|s| stride == strides[s])
    };
    access.place == matrix.place
        && access.origin == matrix.origin
        && access.bounds.is_empty()
        && point.iter().zip(&access.strides).all(moves)
}

/// By tile: whether it holds nothing but entries that go from a product to its map, so that it needs no place.
pub fn passing(kernel: &Kernel) -> Vec<bool> {
    let (through, kept) = taken(kernel);
    through.into_iter().zip(kept).map(|(through, kept)| through && !kept).collect()
}

/// A tile of entries that only pass, and that something else touches nevertheless.
pub fn missed(kernel: &Kernel) -> Option<Tile> {
    let (through, kept) = taken(kernel);
    kernel.tiles.keys().find(|t| through[t.index()] && kept[t.index()])
}

/// By tile: whether entries pass through it to a map that does not store them, and whether anything else touches it.
fn taken(kernel: &Kernel) -> (Vec<bool>, Vec<bool>) {
    let mut through = vec![false; kernel.tiles.len()];
    let mut kept = vec![false; kernel.tiles.len()];
    fn walk(body: &[Stmt], through: &mut [bool], kept: &mut [bool]) {
        for stmt in body {
            let mut own = None;
            if let Stmt::Together { body } = stmt
                && let (_, Some(map)) = parts(body)
                && let [Stmt::Product { out, .. }, ..] = &body[..]
                && !touches(map).writes.contains(&out.place)
            {
                own = Some(out.place);
            }
            if let Some(Place::Tile(t)) = own {
                through[t.index()] = true;
            }
            if matches!(stmt, Stmt::Loop { .. } | Stmt::When { .. }) {
                walk(stmt.inner(), through, kept);
                continue;
            }
            let touched = touches(stmt);
            for place in touched.reads.into_iter().chain(touched.writes) {
                if let Place::Tile(t) = place
                    && own != Some(place)
                {
                    kept[t.index()] = true;
                }
            }
        }
    }
    walk(&kernel.body, &mut through, &mut kept);
    (through, kept)
}
