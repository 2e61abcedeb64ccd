//! Tiles of numbers that are bfloat16 already: moved from where they are kept so, chosen among such, or constants that are.
//!
//! ```text
//! t0 = b0 where .. else 0      b0 is narrow: t0 is, whoever takes it
//! ```

use super::every;
use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{
    Access, Expr, ExprId, Kernel, Place, ScalarKind, ScalarOp, Sink, Stmt, kind_of,
};

/// By tile of a kernel with these buffers narrow.
pub(super) fn exact(kernel: &Kernel, buffers: &[bool]) -> Vec<bool> {
    let tiles = kernel.tiles.values();
    let mut found: Vec<bool> =
        tiles.map(|data| kind_of(data.elem) == ScalarKind::Real).collect();
    loop {
        let before = found.clone();
        every(&kernel.body, &mut |stmt| mark(stmt, buffers, &mut found));
        if found == before {
            return found;
        }
    }
}

/// Marks tiles that are not, by what a statement does to them.
fn mark(stmt: &Stmt, buffers: &[bool], found: &mut [bool]) {
    let lose = |found: &mut [bool], place: Place| {
        if let Place::Tile(tile) = place {
            found[tile.index()] = false;
        }
    };
    match stmt {
        Stmt::Map { expr, loads, sinks, .. } => {
            for (root, sink) in sinks {
                let stores = matches!(sink, Sink::Store(_));
                if !stores || !moves(expr, *root, loads, &(buffers, found)) {
                    lose(found, sink.to().place);
                }
            }
        }
        Stmt::Product { out, .. } => lose(found, out.place),
        Stmt::Loop { .. } | Stmt::When { .. } | Stmt::Together { .. } => {}
        // All others work on float32.
        stmt => {
            let touched = touches(stmt);
            let all = touched.reads.into_iter().chain(touched.writes);
            all.for_each(|place| lose(found, place));
        }
    }
}

/// Whether a scalar is one of such numbers as it was, but for its sign.
fn moves(
    expr: &Expr,
    root: ExprId,
    loads: &[Access],
    narrow: &(&[bool], &[bool]),
) -> bool {
    let scalar = &expr.scalars[root];
    let all = |operands: &[ExprId]| {
        operands.iter().all(|operand| moves(expr, *operand, loads, narrow))
    };
    match scalar.op {
        ScalarOp::Load(n) => {
            let is_narrow = match loads[n].place {
                Place::Buffer(b) => narrow.0[b.index()],
                Place::Tile(t) => narrow.1[t.index()],
            };
            is_narrow && is_short(loads[n].pad)
        }
        ScalarOp::Constant(x) => is_short(x),
        ScalarOp::Neg | ScalarOp::Abs => all(&scalar.operands),
        ScalarOp::Select => all(&scalar.operands[1..]),
        _ => false,
    }
}

/// Whether a number is bfloat16 as it is.
fn is_short(x: f64) -> bool {
    let single = x as f32;
    f64::from(single) == x && single.to_bits() & 0xffff == 0
}
