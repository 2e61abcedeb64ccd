//! Rewrites a map into the one the loop emitter likes best; the meaning stays.
//!
//! Every map gets at least one dimension and every fold at least one folded one, dimensions that
//! are walked contiguously by all accesses are joined (so that position-wise maps become one flat
//! loop), and where no fold fixes the order, the dimension that most accesses walk element by
//! element becomes the innermost.

use nestor_ir::dim::Dim;
use nestor_ir::tile::{Access, Affine, Expr, ExprId, Monomial, ScalarOp, Sink};
use smallvec::SmallVec;

/// A map with its own copies of everything.
#[derive(Clone, Debug)]
pub(crate) struct MapParts {
    /// The iteration space.
    pub(crate) space: Vec<Dim>,
    /// The program.
    pub(crate) expr: Expr,
    /// The loads.
    pub(crate) loads: Vec<Access>,
    /// The sinks.
    pub(crate) sinks: Vec<(ExprId, Sink)>,
}

/// The rewritten map.
pub(crate) fn normalise(mut m: MapParts) -> MapParts {
    let empty_fold = m.sinks.iter().any(|(_, s)| matches!(s, Sink::Fold { axes: 0, .. }));
    if m.space.is_empty() || empty_fold {
        append_one(&mut m);
    }
    permute(&mut m);
    let mut d = m.space.len() - 1;
    while d > 0 {
        d -= 1;
        if joinable(&m, d) {
            join(&mut m, d);
        }
    }
    m
}

fn accesses(m: &MapParts) -> impl Iterator<Item = &Access> {
    m.loads.iter().chain(m.sinks.iter().map(|(_, s)| access(s)))
}
fn access(sink: &Sink) -> &Access {
    match sink {
        Sink::Store(a) | Sink::Fold { to: a, .. } => a,
    }
}
fn for_each_access(m: &mut MapParts, mut act: impl FnMut(&mut Access)) {
    for a in &mut m.loads {
        act(a);
    }
    for (_, sink) in &mut m.sinks {
        match sink {
            Sink::Store(a) | Sink::Fold { to: a, .. } => act(a),
        }
    }
}

fn append_one(m: &mut MapParts) {
    m.space.push(Dim::Fixed(1));
    for a in &mut m.loads {
        a.strides.push(Affine::number(0));
        for b in &mut a.bounds {
            b.strides.push(0);
        }
    }
    for (_, sink) in &mut m.sinks {
        match sink {
            Sink::Fold { axes, .. } => *axes += 1,
            Sink::Store(a) => {
                a.strides.push(Affine::number(0));
                for b in &mut a.bounds {
                    b.strides.push(0);
                }
            }
        }
    }
}

/// Dimensions that the program itself asks about.
fn asked(m: &MapParts, d: usize) -> bool {
    m.expr.scalars.values().any(|s| matches!(s.op, ScalarOp::Index(i, _) if i == d))
}

fn times(a: &Affine, by: Dim) -> Affine {
    let by = Monomial::dim(by);
    Affine {
        constant: a.constant.iter().map(|m| m.times(by)).collect(),
        terms: a.terms.iter().map(|(i, m)| (*i, m.times(by))).collect(),
    }
}

fn joinable(m: &MapParts, d: usize) -> bool {
    if asked(m, d) || asked(m, d + 1) {
        return false;
    }
    let rank = m.space.len();
    let outer_one = m.space[d] == Dim::Fixed(1);
    let inner_one = m.space[d + 1] == Dim::Fixed(1);
    let joined = match (m.space[d], m.space[d + 1]) {
        (Dim::Fixed(_), Dim::Fixed(_)) => true,
        _ => outer_one || inner_one,
    };
    let folds = m.sinks.iter().all(|(_, s)| match s {
        Sink::Fold { axes, .. } => d + 1 != rank - axes,
        Sink::Store(_) => true,
    });
    let walks = |a: &Access| match (a.strides.get(d), a.strides.get(d + 1)) {
        (Some(outer), Some(inner)) => {
            outer_one || inner_one || *outer == times(inner, m.space[d + 1])
        }
        _ => true,
    };
    let bounds = |a: &Access| {
        a.bounds.iter().all(|b| {
            let at = |d: usize| b.strides.get(d).copied().unwrap_or(0);
            outer_one || inner_one || (at(d) == 0 && at(d + 1) == 0)
        })
    };
    joined && folds && accesses(m).all(|a| walks(a) && bounds(a))
}

fn join(m: &mut MapParts, d: usize) {
    let keep_outer = m.space[d + 1] == Dim::Fixed(1);
    let gone = if keep_outer { d + 1 } else { d };
    m.space[d] = match (m.space[d], m.space[d + 1]) {
        (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a * b),
        (Dim::Fixed(_), other) => other,
        (other, _) => other,
    };
    m.space.remove(d + 1);
    let rank = m.space.len();
    for_each_access(m, |a| {
        if gone < a.strides.len() {
            a.strides.remove(gone);
        }
        for b in &mut a.bounds {
            if gone < b.strides.len() {
                b.strides.remove(gone);
            }
        }
    });
    for (_, sink) in &mut m.sinks {
        if let Sink::Fold { axes, .. } = sink
            && d + *axes > rank
        {
            // Both were folded; the fold's boundary lies before them.
            *axes -= 1;
        }
    }
    for scalar in m.expr.scalars.keys().collect::<Vec<_>>() {
        if let ScalarOp::Index(i, _) = &mut m.expr.scalars[scalar].op
            && *i > d
        {
            *i -= 1;
        }
    }
}

/// Moves the dimension that most accesses walk element by element to the end.
fn permute(m: &mut MapParts) {
    let rank = m.space.len();
    let free = m.sinks.iter().all(|(_, s)| matches!(s, Sink::Store(_)));
    if rank < 2 || !free {
        return;
    }
    let score = |d: usize| -> i64 {
        if matches!(m.space[d], Dim::Fixed(n) if n < 4) {
            return -1;
        }
        let unit = |a: &Access| match a.strides[d].as_number() {
            Some(1) => 2,
            Some(0) => 1,
            _ => 0,
        };
        let stores = m.sinks.iter().map(|(_, s)| 2 * unit(access(s)));
        m.loads.iter().map(unit).chain(stores).sum()
    };
    let mut best = rank - 1;
    for d in (0..rank - 1).rev() {
        if score(d) > score(best) {
            best = d;
        }
    }
    if best == rank - 1 {
        return;
    }
    let mut order: SmallVec<[usize; 4]> = (0..rank).filter(|d| *d != best).collect();
    order.push(best);
    m.space = order.iter().map(|d| m.space[*d]).collect();
    for_each_access(m, |a| {
        a.strides = order.iter().map(|d| a.strides[*d].clone()).collect();
        for b in &mut a.bounds {
            b.strides = order.iter().map(|d| b.strides[*d]).collect();
        }
    });
    for scalar in m.expr.scalars.keys().collect::<Vec<_>>() {
        if let ScalarOp::Index(i, _) = &mut m.expr.scalars[scalar].op {
            *i = order.iter().position(|d| *d == *i).expect("a dimension");
        }
    }
}
