//! Splits a map's program at its transcendentals.
//!
//! Block routines work on rows of up to [`crate::emitter::ROW`] elements, so a map is computed a
//! row at a time in stages: each stage computes the arguments of the next routines into row
//! buffers, and reads the results of earlier ones from theirs. Everything else is recomputed
//! where it is needed: loads and arithmetic are cheaper than more rows.

use nestor_ir::entity::Entity;
use nestor_ir::tile::{Expr, ExprId, ScalarOp};

/// A routine's name and how many operands it has; nothing for arithmetic.
pub(crate) fn routine(op: ScalarOp) -> Option<(&'static str, usize)> {
    match op {
        ScalarOp::Exp => Some(("exp", 1)),
        ScalarOp::Log => Some(("log", 1)),
        ScalarOp::Sin => Some(("sin", 1)),
        ScalarOp::Cos => Some(("cos", 1)),
        ScalarOp::Tanh => Some(("tanh", 1)),
        ScalarOp::Erf => Some(("erf", 1)),
        ScalarOp::Sigmoid => Some(("sigmoid", 1)),
        ScalarOp::Softplus => Some(("softplus", 1)),
        ScalarOp::Pow => Some(("pow", 2)),
        ScalarOp::Load(_)
        | ScalarOp::Constant(_)
        | ScalarOp::Index(..)
        | ScalarOp::Neg
        | ScalarOp::Abs
        | ScalarOp::Sign
        | ScalarOp::Sqrt
        | ScalarOp::Floor
        | ScalarOp::Not
        | ScalarOp::Real
        | ScalarOp::Add
        | ScalarOp::Sub
        | ScalarOp::Mul
        | ScalarOp::Div
        | ScalarOp::Rem
        | ScalarOp::Max
        | ScalarOp::Min
        | ScalarOp::Less
        | ScalarOp::LessEqual
        | ScalarOp::Equal
        | ScalarOp::And
        | ScalarOp::Or
        | ScalarOp::Select => None,
    }
}

/// How a program is computed.
pub(crate) struct Stages {
    /// For each stage but the last: the transcendentals whose arguments it computes.
    pub(crate) calls: Vec<Vec<ExprId>>,
    /// First row buffer of each transcendental.
    pub(crate) row: Vec<Option<usize>>,
    /// How often each scalar is used.
    pub(crate) uses: Vec<usize>,
}

/// Plans the stages of a program with these roots.
pub(crate) fn plan(expr: &Expr, roots: &[ExprId]) -> Stages {
    let n = expr.scalars.len();
    let mut live = vec![false; n];
    for r in roots {
        live[r.index()] = true;
    }
    let mut uses = vec![0; n];
    for (id, scalar) in expr.scalars.iter().rev() {
        if live[id.index()] {
            for o in &scalar.operands {
                live[o.index()] = true;
                uses[o.index()] += 1;
            }
        }
    }
    for r in roots {
        uses[r.index()] += 1;
    }
    let mut level = vec![0; n];
    let mut row = vec![None; n];
    let mut rows = 0;
    let mut calls: Vec<Vec<ExprId>> = Vec::new();
    for (id, scalar) in expr.scalars.iter() {
        let i = id.index();
        level[i] = scalar.operands.iter().map(|o| level[o.index()]).max().unwrap_or(0);
        if let (Some((_, operands)), true) = (routine(scalar.op), live[i]) {
            let stage = level[i];
            if calls.len() <= stage {
                calls.resize(stage + 1, Vec::new());
            }
            calls[stage].push(id);
            row[i] = Some(rows);
            rows += operands;
            level[i] = stage + 1;
        }
    }
    Stages { calls, row, uses }
}

/// Marks the loads that these scalars need, without looking behind row buffers.
pub(crate) fn loads(
    expr: &Expr,
    stages: &Stages,
    roots: &[ExprId],
    count: usize,
) -> Vec<bool> {
    let mut needed = vec![false; expr.scalars.len()];
    for r in roots {
        needed[r.index()] = true;
    }
    let mut out = vec![false; count];
    for (id, scalar) in expr.scalars.iter().rev() {
        if !needed[id.index()] || stages.row[id.index()].is_some() {
            continue;
        }
        for o in &scalar.operands {
            needed[o.index()] = true;
        }
        if let ScalarOp::Load(l) = scalar.op {
            out[l] = true;
        }
    }
    out
}
