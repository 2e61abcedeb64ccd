//! Refuses kernels that the emitter would misread, before any code is made.

use crate::BackendError;
use crate::access::kind_of;
use nestor_ir::tile::{
    Access, Expr, ExprId, Kernel, Place, ScalarKind, ScalarOp, Sink, Stmt,
};
use nestor_ir::ty::Elem;

/// Checks a kernel.
pub(crate) fn check(kernel: &Kernel) -> Result<(), BackendError> {
    statements(kernel, &kernel.body)
}

fn statements(kernel: &Kernel, body: &[Stmt]) -> Result<(), BackendError> {
    for stmt in body {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                map(kernel, space.len(), expr, loads, sinks)?;
            }
            Stmt::Loop { body, .. } | Stmt::When { body, .. } => {
                statements(kernel, body)?
            }
            Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. } => {}
        }
    }
    Ok(())
}

fn elem(kernel: &Kernel, place: Place) -> Elem {
    match place {
        Place::Buffer(b) => kernel.buffers[b].elem,
        Place::Tile(t) => kernel.tiles[t].elem,
    }
}

fn map(
    kernel: &Kernel,
    rank: usize,
    expr: &Expr,
    loads: &[Access],
    sinks: &[(ExprId, Sink)],
) -> Result<(), BackendError> {
    let wrong = |why: String| BackendError::Kernel { kernel: kernel.name.clone(), why };
    let ranks = |a: &Access, n: usize, what: &str| {
        if a.strides.len() != n || a.bounds.iter().any(|b| b.strides.len() != n) {
            return Err(wrong(format!("{what} has not the rank of its map, {n}")));
        }
        Ok(())
    };
    for (n, load) in loads.iter().enumerate() {
        ranks(load, rank, &format!("load {n}"))?;
    }
    for (id, scalar) in expr.scalars.iter() {
        let kind = |n: usize| expr.scalars[scalar.operands[n]].kind;
        let want = match scalar.op {
            ScalarOp::Load(n) => kind_of(elem(kernel, loads[n].place)),
            ScalarOp::Not
            | ScalarOp::Less
            | ScalarOp::LessEqual
            | ScalarOp::Equal
            | ScalarOp::And
            | ScalarOp::Or => ScalarKind::Bool,
            ScalarOp::Select => {
                if kind(1) != kind(2) {
                    return Err(wrong(format!("{id} selects between two kinds")));
                }
                kind(1)
            }
            ScalarOp::Constant(_) => scalar.kind,
            ScalarOp::Index(..)
            | ScalarOp::Neg
            | ScalarOp::Abs
            | ScalarOp::Sign
            | ScalarOp::Sqrt
            | ScalarOp::Exp
            | ScalarOp::Log
            | ScalarOp::Sin
            | ScalarOp::Cos
            | ScalarOp::Tanh
            | ScalarOp::Erf
            | ScalarOp::Sigmoid
            | ScalarOp::Softplus
            | ScalarOp::Floor
            | ScalarOp::Real
            | ScalarOp::Add
            | ScalarOp::Sub
            | ScalarOp::Mul
            | ScalarOp::Div
            | ScalarOp::Pow
            | ScalarOp::Rem
            | ScalarOp::Max
            | ScalarOp::Min => ScalarKind::Real,
        };
        if want != scalar.kind {
            return Err(wrong(format!(
                "{id} is said to be {:?}, not {want:?}",
                scalar.kind
            )));
        }
    }
    for (root, sink) in sinks {
        let (to, n) = match sink {
            Sink::Store(a) => (a, rank),
            Sink::Fold { axes, to, .. } => {
                if *axes > rank {
                    return Err(wrong(format!(
                        "a fold of {axes} axes in a map of {rank}"
                    )));
                }
                (to, rank - axes)
            }
        };
        ranks(to, n, "a sink")?;
        let place = kind_of(elem(kernel, to.place));
        let kind = expr.scalars[*root].kind;
        if place != kind {
            return Err(wrong(format!(
                "{root}, {kind:?}, is stored where {place:?} lies"
            )));
        }
    }
    Ok(())
}
