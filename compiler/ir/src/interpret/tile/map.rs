//! Maps: a scalar program at every point of an iteration space.

use super::memory::Spot;
use super::{Done, Machine};
use crate::entity::Entity;
use crate::interpret::array::indices;
use crate::interpret::math;
use crate::tensor::Fold;
use crate::tile::{Access, Expr, ExprId, Extent, Place, ScalarKind, ScalarOp, Sink};
use rustc_hash::FxHashMap;

impl Machine<'_> {
    pub(super) fn map(
        &mut self,
        space: &[Extent],
        expr: &Expr,
        loads: &[Access],
        sinks: &[(ExprId, Sink)],
    ) -> Done {
        let space: Vec<usize> = space.iter().map(|d| self.size(*d)).collect();
        let from: Vec<Spot> = loads.iter().map(|a| self.spot(a)).collect();
        let to: Vec<Spot> = sinks.iter().map(|(_, sink)| self.spot(sink.to())).collect();
        let offsets: Vec<i64> = expr.offsets.iter().map(|o| self.value(o)).collect();
        self.same_element_only(&space, loads, sinks, &from, &to)?;
        let mut folds: Vec<Vec<f64>> =
            sinks.iter().map(|(_, sink)| beginning(sink, &space)).collect();
        for point in indices(&space) {
            let mut values: Vec<f64> = Vec::with_capacity(expr.scalars.len());
            for scalar in expr.scalars.values() {
                let x: Vec<f64> =
                    scalar.operands.iter().map(|o| values[o.index()]).collect();
                let v = match scalar.op {
                    ScalarOp::Load(n) => self.load(&from[n], &point)?,
                    ScalarOp::Index(d, o) => point[d] as f64 + offsets[o] as f64,
                    op => apply(op, &x),
                };
                values.push(match scalar.kind {
                    ScalarKind::Real => self.round(v),
                    ScalarKind::Int | ScalarKind::Bool => v,
                });
            }
            for (n, (root, sink)) in sinks.iter().enumerate() {
                let v = values[root.index()];
                match sink {
                    Sink::Store(_) => self.store(&to[n], &point, v)?,
                    Sink::Fold { fold, axes, .. } => {
                        let kept = space.len() - axes;
                        let at = (0..kept).fold(0, |at, d| at * space[d] + point[d]);
                        folds[n][at] = folded(*fold, folds[n][at], v);
                    }
                }
            }
        }
        for (n, (_, sink)) in sinks.iter().enumerate() {
            let Sink::Fold { fold, axes, accumulate, .. } = sink else { continue };
            let kept = &space[..space.len() - axes];
            for (point, v) in indices(kept).zip(std::mem::take(&mut folds[n])) {
                let v = if *accumulate {
                    folded(*fold, self.load(&to[n], &point)?, v)
                } else {
                    v
                };
                let v = self.round(v);
                self.store(&to[n], &point, v)?;
            }
        }
        Ok(())
    }

    /// What one point of a map stores no other point loads, and no two points store the same.
    fn same_element_only(
        &self,
        space: &[usize],
        loads: &[Access],
        sinks: &[(ExprId, Sink)],
        from: &[Spot],
        to: &[Spot],
    ) -> Done {
        let mut stored: FxHashMap<(Place, i64), usize> = FxHashMap::default();
        for ((_, sink), spot) in sinks.iter().zip(to) {
            let place = sink.to().place;
            let kept = match sink {
                Sink::Store(_) => space,
                Sink::Fold { axes, .. } => &space[..space.len() - axes],
            };
            for (n, point) in indices(kept).enumerate() {
                let Some(element) = spot.element(&point) else { continue };
                if stored.insert((place, element), n).is_some() {
                    return Err(format!("a map stores {place}[{element}] twice"));
                }
            }
        }
        for (load, spot) in loads.iter().zip(from) {
            let place = load.place;
            if !sinks.iter().any(|(_, sink)| sink.to().place == place) {
                continue;
            }
            for (n, point) in indices(space).enumerate() {
                let Some(element) = spot.element(&point) else { continue };
                let by = stored.get(&(place, element));
                if by.is_some_and(|by| *by != n) {
                    let what = "that another of its points stores";
                    return Err(format!("a map loads {place}[{element}], {what}"));
                }
            }
        }
        Ok(())
    }
}

fn beginning(sink: &Sink, space: &[usize]) -> Vec<f64> {
    match sink {
        Sink::Store(_) => Vec::new(),
        Sink::Fold { fold, axes, .. } => {
            let nothing = match fold {
                Fold::Sum => 0.0,
                Fold::Max => f64::NEG_INFINITY,
                Fold::Min => f64::INFINITY,
            };
            vec![nothing; space[..space.len() - axes].iter().product()]
        }
    }
}

fn folded(fold: Fold, a: f64, b: f64) -> f64 {
    let better = match fold {
        Fold::Sum => return a + b,
        Fold::Max => b > a,
        Fold::Min => b < a,
    };
    if better || b.is_nan() { b } else { a }
}

fn apply(op: ScalarOp, x: &[f64]) -> f64 {
    let truth = |c: bool| f64::from(u8::from(c));
    let choose = |c: bool, a: f64, b: f64| if c { a } else { b };
    match op {
        ScalarOp::Constant(c) => c,
        ScalarOp::Neg => -x[0],
        ScalarOp::Abs => x[0].abs(),
        ScalarOp::Sign => math::sign(x[0]),
        ScalarOp::Sqrt => x[0].sqrt(),
        ScalarOp::Exp => x[0].exp(),
        ScalarOp::Log => x[0].ln(),
        ScalarOp::Sin => x[0].sin(),
        ScalarOp::Cos => x[0].cos(),
        ScalarOp::Tanh => x[0].tanh(),
        ScalarOp::Erf => math::erf(x[0]),
        ScalarOp::Sigmoid => math::sigmoid(x[0]),
        ScalarOp::Softplus => math::softplus(x[0]),
        ScalarOp::Floor => x[0].floor(),
        ScalarOp::Not => truth(x[0] == 0.0),
        ScalarOp::Real => x[0],
        ScalarOp::Add => x[0] + x[1],
        ScalarOp::Sub => x[0] - x[1],
        ScalarOp::Mul => x[0] * x[1],
        ScalarOp::Div => x[0] / x[1],
        ScalarOp::Pow => x[0].powf(x[1]),
        ScalarOp::Rem => math::rem(x[0], x[1]),
        ScalarOp::Max => choose(x[0] >= x[1], x[0], x[1]),
        ScalarOp::Min => choose(x[0] <= x[1], x[0], x[1]),
        ScalarOp::Less => truth(x[0] < x[1]),
        ScalarOp::LessEqual => truth(x[0] <= x[1]),
        ScalarOp::Equal => truth(x[0] == x[1]),
        ScalarOp::And => truth(x[0] != 0.0 && x[1] != 0.0),
        ScalarOp::Or => truth(x[0] != 0.0 || x[1] != 0.0),
        ScalarOp::Select => choose(x[0] != 0.0, x[1], x[2]),
        ScalarOp::Load(_) | ScalarOp::Index(..) => {
            unreachable!("loads and indices have no operands")
        }
    }
}
