//! Products whose sums begin with what their map adds them to: `S = a S + K' E` is summed where S is.

use super::Strips;
use nestor_ir::tile::together::parts;
use nestor_ir::tile::{Access, Expr, ExprId, Place, ScalarOp, Sink, Stmt, Tile};

/// What sums begin with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Begins {
    /// The place from which the map takes entries.
    pub own: Place,
    /// What the map makes of something and an entry, and that something.
    pub sum: ExprId,
    /// That something.
    pub other: ExprId,
    /// The held tile that it stores them in.
    pub tile: Tile,
}

/// What the sums of products that are worked on together begin with, where their map does nothing with an entry but add it to what it stores in a
/// held tile.
pub fn begins(strips: &Strips, body: &[Stmt]) -> Option<Begins> {
    let (products, map) = parts(body);
    let Stmt::Product { alpha, out, .. } = products.first()? else { return None };
    let Stmt::Map { expr, loads, sinks, .. } = map? else { return None };
    let [sum, other] = added(expr, loads, out.place)?;
    let takers: Vec<&Sink> =
        sinks.iter().filter(|(root, _)| *root == sum).map(|(_, sink)| sink).collect();
    let own = |root: ExprId| is_of(expr, loads, root, out.place);
    let [sink] = takers[..] else { return None };
    let plain = *alpha == 1.0 && !sinks.iter().any(|(root, _)| own(*root));
    let tile = strips.tile(sink.to().place).filter(|_| plain)?;
    Some(Begins { own: out.place, sum, other, tile })
}

/// The one sum that takes what is loaded from a place, and what it adds to that.
fn added(expr: &Expr, loads: &[Access], own: Place) -> Option<[ExprId; 2]> {
    let scalars = &expr.scalars;
    let users = |of: &dyn Fn(ExprId) -> bool| -> Vec<ExprId> {
        let uses = |id: &ExprId| scalars[*id].operands.iter().any(|o| of(*o));
        scalars.keys().filter(uses).collect()
    };
    let is_own = |id: ExprId| is_of(expr, loads, id, own);
    let [sum] = users(&is_own)[..] else { return None };
    let other = match (scalars[sum].op, &scalars[sum].operands[..]) {
        (ScalarOp::Add, [a, b]) if is_own(*b) && !is_own(*a) => *a,
        (ScalarOp::Add, [a, b]) if is_own(*a) && !is_own(*b) => *b,
        _ => return None,
    };
    users(&|id| id == sum).is_empty().then_some([sum, other])
}

fn is_of(expr: &Expr, loads: &[Access], id: ExprId, place: Place) -> bool {
    matches!(expr.scalars[id].op, ScalarOp::Load(n) if loads[n].place == place)
}
