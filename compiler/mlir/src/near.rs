//! What a kernel copies to a tile is read there by all who read it: once from memory.
//!
//! ```text
//! before   map [128] t0[p0] = sum over p1 of b0 * b1;  map [128, 128] t1 = b0;  product t2 = x @ t1;  map [128, 128] t3 = b1;  product t4 = y @ t3
//! after    map [128, 128] t1 = b0;  map [128, 128] t3 = b1;  map [128] t0[p0] = sum over p1 of t1 * t3;  product t2 = x @ t1;  product t4 = y @ t3
//! ```
//!
//! Copies come first then, and may begin before anything else (`boxes`).

use crate::narrow::Kept;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{
    Access, Affine, Extent, Kernel, Place, ScalarOp, Sink, Stmt, Tile, Use,
};

/// The kernel with maps that read tiles instead of the buffers that these are copies of, outside of loops.
pub fn near(kernel: &Kernel, kept: &Kept) -> Kernel {
    let mut first = Vec::new();
    let mut rest = kernel.body.clone();
    let mut at = 0;
    while at < rest.len() {
        let copy = Copy::of(&rest[at], kernel, kept);
        let found = copy.is_some_and(|copy| {
            let others = rest.iter_mut().enumerate().filter(|(n, _)| *n != at);
            others.fold(false, |found, (_, stmt)| copy.redirect(stmt) || found)
        });
        match found {
            true => first.push(rest.remove(at)),
            false => at += 1,
        }
    }
    first.extend(rest);
    Kernel { body: first, ..kernel.clone() }
}

/// A tile that holds so many numbers of a buffer that is only read, one behind the other, as they lie there.
struct Copy {
    tile: Tile,
    from: Access,
    count: i64,
}

impl Copy {
    /// Nothing for what is no such copy.
    fn of(stmt: &Stmt, kernel: &Kernel, kept: &Kept) -> Option<Self> {
        let (tile, from, space) = copied(stmt, kernel, kept)?;
        let [Extent::Fixed(rows), Extent::Fixed(columns)] = space[..] else {
            return None;
        };
        let lines = [columns as i64, 1].map(Affine::number);
        let plain = from.bounds.is_empty() && from.strides[..] == lines;
        let count = (rows * columns) as i64;
        plain.then(|| Self { tile, from: from.clone(), count })
    }

    /// Whether a map now reads the tile.
    fn redirect(&self, stmt: &mut Stmt) -> bool {
        let Stmt::Map { space, loads, .. } = stmt else { return false };
        let mut found = false;
        for load in loads.iter_mut().filter(|load| self.holds(load, space)) {
            load.place = Place::Tile(self.tile);
            load.origin = Affine::default();
            found = true;
        }
        found
    }

    /// Whether all that is loaded at some points is of the copy.
    fn holds(&self, load: &Access, space: &[Extent]) -> bool {
        let furthest = load.strides.iter().zip(space).map(|(stride, n)| {
            let stride = stride.as_number().filter(|n| *n >= 0)?;
            Some(stride * (n.fixed()? as i64 - 1))
        });
        let furthest: Option<i64> = furthest.sum();
        load.place == self.from.place
            && load.origin == self.from.origin
            && load.bounds.is_empty()
            && furthest.is_some_and(|n| n < self.count)
    }
}

/// The tile, what goes there, and how much, of a statement that is nothing but the copy of a buffer that is only read, as memory has it, to a whole
/// tile that nothing else writes.
pub fn copied<'s>(
    stmt: &'s Stmt,
    kernel: &Kernel,
    kept: &Kept,
) -> Option<(Tile, &'s Access, &'s [Extent])> {
    let Stmt::Map { space, expr, loads, sinks } = stmt else { return None };
    let ([from], [(root, Sink::Store(to))]) = (&loads[..], &sinks[..]) else {
        return None;
    };
    let (Place::Buffer(buffer), Place::Tile(tile)) = (from.place, to.place) else {
        return None;
    };
    let columns = space.last().and_then(|d| d.fixed()).unwrap_or(0) as i64;
    let writes = |s: &&Stmt| touches(s).writes.contains(&to.place);
    let whole = to.origin.as_number() == Some(0)
        && to.bounds.is_empty()
        && to.strides[..] == [columns, 1].map(Affine::number);
    let is_copy = matches!(expr.scalars[*root].op, ScalarOp::Load(0))
        && kernel.buffers[buffer].usage == Use::Read
        && kept.is_narrow(from.place) == kept.is_narrow(to.place)
        && whole
        && kernel.body.iter().filter(writes).count() == 1;
    is_copy.then_some((tile, from, space))
}
