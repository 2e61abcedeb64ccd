//! Tiles of numbers that are bfloat16 already: moved from where they are kept so, chosen among such, or constants that are.
//!
//! ```text
//! t0 = b0 where .. else 0      b0 is narrow: t0 is, whoever takes it
//! ```

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::touches;
use nestor_ir::tile::{
    Access, Expr, ExprId, Kernel, Place, ScalarOp, Sink, Stmt, kind_of,
};
use nestor_ir::tile::{ScalarKind, Tile};

/// By tile of a kernel with these buffers narrow.
pub(super) fn exact(kernel: &Kernel, buffers: &[bool]) -> Vec<bool> {
    let real = |(_, data): (Tile, &nestor_ir::tile::TileData)| {
        kind_of(data.elem) == ScalarKind::Real
    };
    let mut found: Vec<bool> = kernel.tiles.iter().map(real).collect();
    loop {
        let before = found.clone();
        body(&kernel.body, buffers, &mut found);
        if found == before {
            return found;
        }
    }
}

fn body(stmts: &[Stmt], buffers: &[bool], found: &mut [bool]) {
    for stmt in stmts {
        match stmt {
            Stmt::Map { expr, loads, sinks, .. } => {
                for (root, sink) in sinks {
                    let stores = matches!(sink, Sink::Store(_))
                        && moves(expr, *root, loads, &(buffers, found));
                    if let Place::Tile(tile) = sink.to().place {
                        found[tile.index()] &= stores;
                    }
                }
            }
            Stmt::Product { out, .. } => {
                if let Place::Tile(tile) = out.place {
                    found[tile.index()] = false;
                }
            }
            Stmt::Loop { body: inner, .. }
            | Stmt::When { body: inner, .. }
            | Stmt::Together { body: inner } => body(inner, buffers, found),
            // They work on float32.
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => {
                let touched = touches(stmt);
                for place in touched.reads.iter().chain(&touched.writes) {
                    if let Place::Tile(tile) = place {
                        found[tile.index()] = false;
                    }
                }
            }
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
