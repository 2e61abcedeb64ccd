//! Maps of lines that are a little longer than a power of two, as two maps: of the power, and of the rest.
//!
//! ```text
//! before   map [64, 65] t2[0; 65, 1] = t0[0; 64, 1] if 0 <= p1 < 64 + t1[-64; 1, 1] if 0 <= p1 - 64 < 1
//! after    map [64, 64] t2[0; 65, 1] = t0[0; 64, 1] + 0;  map [64, 1] t2[64; 65, 1] = 0 + t1[0; 1, 1]
//! ```
//!
//! A state that decays is walked as such lines: what each token adds, and what was there before. Threads find the points of a power of two by
//! their bits; where a line is one longer, they divide, ask at every point which side of the end it is on, and read no two neighbours at a time.

use crate::spread::shift;
use nestor_ir::tile::{
    Access, Affine, Bound, Expr, ExprId, Extent, Kernel, Place, Scalar, ScalarKind,
    ScalarOp, Sink, Stmt,
};

/// Points of a line beyond a power of two, at most.
const MOST: usize = 4;

/// The kernel with such maps in two, where the power of two is so much at least.
#[must_use]
pub fn even(mut kernel: Kernel, least: usize) -> Kernel {
    kernel.body = inside(std::mem::take(&mut kernel.body), least);
    kernel
}

fn inside(body: Vec<Stmt>, least: usize) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(body.len());
    for mut stmt in body {
        match &mut stmt {
            Stmt::Loop { body, .. } | Stmt::When { body, .. } => {
                *body = inside(std::mem::take(body), least);
            }
            stmt => {
                if let Some(both) = halves(stmt, least) {
                    out.extend(both);
                    continue;
                }
            }
        }
        out.push(stmt);
    }
    out
}

/// A map as two, where it is worth it.
fn halves(stmt: &Stmt, least: usize) -> Option<[Stmt; 2]> {
    let Stmt::Map { space, sinks, .. } = stmt else { return None };
    let length = space.last()?.fixed()?;
    let power = (length + 1).next_power_of_two() / 2;
    let rest = length - power;
    // A fold goes on where it is read again: not in what is written alone.
    let goes_on = |sink: &Sink| match sink {
        Sink::Store(_) => true,
        Sink::Fold { to, .. } => matches!(to.place, Place::Tile(_)),
    };
    let all = sinks.iter().all(|(_, sink)| goes_on(sink));
    if power < least || rest == 0 || rest > MOST || !all {
        return None;
    }
    Some([part(stmt, 0, power), part(stmt, power, rest)])
}

/// The points of a map from one of the last dimension on, so many; folds go on from those before.
fn part(map: &Stmt, from: usize, count: usize) -> Stmt {
    let mut part = map.clone();
    let Stmt::Map { space, expr, loads, sinks } = &mut part else { return part };
    let last = space.len() - 1;
    space[last] = Extent::Fixed(count);
    shift(expr, last, &Affine::number(from as i64));
    for load in loads.iter_mut() {
        moved(load, last, from as i64);
    }
    for (_, sink) in sinks {
        match sink {
            Sink::Store(to) => {
                moved(to, last, from as i64);
                to.bounds.retain(|bound| always(bound, space) != Some(true));
            }
            Sink::Fold { accumulate, .. } => *accumulate |= from > 0,
        }
    }
    decided(expr, loads, space);
    part
}

/// An access at points so far along a dimension.
fn moved(access: &mut Access, dim: usize, by: i64) {
    let further = access.strides[dim].clone().scaled(by);
    access.origin = std::mem::take(&mut access.origin).plus(&further);
    for bound in &mut access.bounds {
        let further = Affine::number(bound.strides[dim] * by);
        bound.offset = std::mem::take(&mut bound.offset).plus(&further);
    }
}

/// Bounds that hold everywhere are gone, and loads of reals whose bounds hold nowhere are what is read there.
fn decided(expr: &mut Expr, loads: &mut Vec<Access>, space: &[Extent]) {
    let ids: Vec<ExprId> = expr.scalars.iter().map(|(id, _)| id).collect();
    let mut kept = Vec::with_capacity(loads.len());
    for id in ids {
        let Scalar { op, kind, .. } = &mut expr.scalars[id];
        let ScalarOp::Load(n) = op else { continue };
        let mut load = loads[*n].clone();
        let nowhere = load.bounds.iter().any(|b| always(b, space) == Some(false));
        if nowhere && *kind == ScalarKind::Real {
            *op = ScalarOp::Constant(load.pad);
            continue;
        }
        load.bounds.retain(|bound| always(bound, space) != Some(true));
        *n = kept.len();
        kept.push(load);
    }
    *loads = kept;
}

/// Whether a bound holds at all points of a space, or at none; nothing where that is not known, or at some.
fn always(bound: &Bound, space: &[Extent]) -> Option<bool> {
    let numbers = [&bound.offset, &bound.low, &bound.high].map(Affine::as_number);
    let [Some(offset), Some(low), Some(high)] = numbers else { return None };
    let (mut least, mut most) = (offset, offset);
    for (stride, extent) in bound.strides.iter().zip(space) {
        if *stride != 0 {
            let far = stride * (extent.fixed()? as i64 - 1);
            least += far.min(0);
            most += far.max(0);
        }
    }
    match (low <= least && most < high, most < low || high <= least) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        (false, false) => None,
    }
}
