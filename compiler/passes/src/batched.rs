//! Products of a loop's turns that are less than a block's threads have hands for, as one map, for machines whose threads wait for one another
//! between statements.
//!
//! ```text
//! before   loop i3 < 64 { product [2, 2, 66] t2[4*i3; 2, 1] = t0[132*i3; 66, 1] @ t1[132*i3; 2, 1] }
//! after    map [64, 2, 2, 66] t2[0; 4, 2, 1] = sum over p3 of t0[0; 132, 66, 0, 1] * t1[0; 132, 0, 1, 2]
//! ```

use nestor_ir::dim::Dim;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{
    Access, Affine, Expr, Index, Kernel, Matrix, ScalarKind, ScalarOp, Shape, Sink, Stmt,
};
use smallvec::SmallVec;

/// Rows, columns or terms from which a product is worth a warp's instruction: such stay products.
const LEAST: usize = 8;
/// Entries of a product that keep a block's threads busy.
const BUSY: usize = 256;

/// The kernel with such products as maps.
#[must_use]
pub fn batched(mut kernel: Kernel) -> Kernel {
    body(&mut kernel.body);
    kernel
}

fn body(stmts: &mut [Stmt]) {
    for stmt in stmts {
        if let Some(map) = as_map(stmt) {
            *stmt = map;
        } else if let Stmt::Loop { body: inner, .. } | Stmt::When { body: inner, .. } =
            stmt
        {
            body(inner);
        }
    }
}

fn as_map(stmt: &Stmt) -> Option<Stmt> {
    let Stmt::Loop { index, extent: Dim::Fixed(turns), body, .. } = stmt else {
        return None;
    };
    let [
        Stmt::Product {
            m,
            n,
            k,
            alpha,
            left,
            right,
            out,
            accumulate,
            shape: Shape::Full,
        },
    ] = &body[..]
    else {
        return None;
    };
    let sizes = [m, n, k].map(|d| d.fixed());
    let [Some(rows), Some(columns), Some(depth)] = sizes else { return None };
    let small = rows.min(columns).min(depth) < LEAST && rows * columns < BUSY;
    if !small || out.place == left.place || out.place == right.place {
        return None;
    }
    let loads = vec![along(left, *index, 4, [1, 3])?, along(right, *index, 4, [3, 2])?];
    let to = along(out, *index, 3, [1, 2])?;
    let mut expr = Expr::default();
    let [a, b] = [0, 1].map(|n| expr.add(ScalarOp::Load(n), &[], ScalarKind::Real));
    let mut root = expr.add(ScalarOp::Mul, &[a, b], ScalarKind::Real);
    if alpha.to_bits() != 1f64.to_bits() {
        let factor = expr.add(ScalarOp::Constant(*alpha), &[], ScalarKind::Real);
        root = expr.add(ScalarOp::Mul, &[factor, root], ScalarKind::Real);
    }
    let sink = Sink::Fold { fold: Fold::Sum, axes: 1, to, accumulate: *accumulate };
    let space = SmallVec::from_iter([Dim::Fixed(*turns), *m, *n, *k]);
    Some(Stmt::Map { space, expr, loads, sinks: vec![(root, sink)] })
}

/// A matrix over the loop's turns, the first of so many dimensions, and those of its rows and columns; nothing where it moves otherwise than by whole
/// steps.
fn along(x: &Matrix, index: Index, rank: usize, sides: [usize; 2]) -> Option<Access> {
    let moved = |q: &Affine| q.terms.iter().any(|(i, _)| *i == index);
    if moved(&x.row) || moved(&x.column) {
        return None;
    }
    let mut out = x.over(rank, sides);
    for (_, by) in out.origin.terms.iter().filter(|(i, _)| *i == index) {
        out.strides[0] = std::mem::take(&mut out.strides[0]).plus(&Affine::from(*by));
    }
    out.origin.terms.retain(|(i, _)| *i != index);
    Some(out)
}
