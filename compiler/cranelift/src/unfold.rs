//! Folds whose folded elements lie apart and whose kept ones are neighbours: added up in memory, a
//! row of kept elements at a time, so that vectors still go along neighbours.
//!
//! ```text
//! before   map [64, T] y[i] = sum over t of x[64 t + i]
//! after    map [64] y[i] = 0;  loop t: map [64] y[i] += x[64 t + i]
//! ```

use crate::normalise::MapParts;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::{
    Access, Affine, Expr, Index, Monomial, Part, ScalarKind, ScalarOp, Sink, Stmt,
};

/// The statements that do the same, with indices from `first` on; nothing where the map is better
/// left as it is.
pub(crate) fn unfolded(m: &MapParts, first: usize) -> Option<Vec<Stmt>> {
    let folds: Vec<usize> = m
        .sinks
        .iter()
        .filter_map(|(_, s)| match s {
            Sink::Fold { axes, .. } => Some(*axes),
            Sink::Store(_) => None,
        })
        .collect();
    let (&axes, rank) = (folds.first()?, m.space.len());
    if folds.iter().any(|&a| a != axes) || axes == 0 || axes >= rank {
        return None;
    }
    let kept = rank - axes;
    let unit = |a: &Access, d: usize| a.strides.get(d).and_then(Affine::as_number);
    let near = |d: usize| m.loads.iter().filter(|l| unit(l, d) == Some(1)).count();
    let asked = m
        .expr
        .scalars
        .values()
        .any(|s| matches!(s.op, ScalarOp::Index(d, _) if d >= kept));
    if near(rank - 1) >= near(kept - 1) || asked {
        return None;
    }
    let index = |d: usize| Index::new(first + d - kept);
    let at = |a: &Access| {
        let mut to = a.clone();
        for d in kept..a.strides.len() {
            to.origin = to.origin.plus(&times(&a.strides[d], index(d))?);
        }
        to.strides.truncate(kept);
        for b in &mut to.bounds {
            for d in kept..b.strides.len() {
                let step = Monomial::number(b.strides[d]);
                b.offset = b.offset.clone().plus(&Affine::index(index(d), step));
            }
            b.strides.truncate(kept);
        }
        Some(to)
    };
    let mut body = MapParts {
        space: m.space[..kept].to_vec(),
        expr: m.expr.clone(),
        loads: m.loads.iter().map(at).collect::<Option<_>>()?,
        sinks: Vec::new(),
    };
    let mut out = Vec::new();
    for (root, sink) in &m.sinks {
        match sink {
            Sink::Store(to) => body.sinks.push((*root, Sink::Store(at(to)?))),
            Sink::Fold { fold, to, accumulate, .. } => {
                if !accumulate {
                    out.push(cleared(*fold, to, &body.space));
                }
                body.loads.push(to.clone());
                let load = ScalarOp::Load(body.loads.len() - 1);
                let before = body.expr.add(load, &[], ScalarKind::Real);
                let op = match fold {
                    Fold::Sum => ScalarOp::Add,
                    Fold::Max => ScalarOp::Max,
                    Fold::Min => ScalarOp::Min,
                };
                let next = body.expr.add(op, &[before, *root], ScalarKind::Real);
                body.sinks.push((next, Sink::Store(to.clone())));
            }
        }
    }
    let mut inner = vec![Stmt::Map {
        space: body.space.into(),
        expr: body.expr,
        loads: body.loads,
        sinks: body.sinks,
    }];
    for d in (kept..rank).rev() {
        let (index, extent) = (index(d), m.space[d]);
        inner = vec![Stmt::Loop {
            index,
            extent,
            part: Part::All,
            reverse: false,
            body: inner,
        }];
    }
    out.extend(inner);
    Some(out)
}

/// A stride times an index; nothing where the stride itself moves.
fn times(stride: &Affine, index: Index) -> Option<Affine> {
    let mut out = Affine::default();
    for m in &stride.constant {
        out = out.plus(&Affine::index(index, *m));
    }
    stride.terms.is_empty().then_some(out)
}

/// The fold of nothing, stored.
fn cleared(fold: Fold, to: &Access, space: &[nestor_ir::dim::Dim]) -> Stmt {
    let nothing = match fold {
        Fold::Sum => 0.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    };
    let mut expr = Expr::default();
    let root = expr.add(ScalarOp::Constant(nothing), &[], ScalarKind::Real);
    Stmt::Map {
        space: space.into(),
        expr,
        loads: Vec::new(),
        sinks: vec![(root, Sink::Store(to.clone()))],
    }
}
