//! Folds along axes, and what is made of them.

use super::Arguments;
use crate::elaborate::Elaborator;
use crate::emit;
use crate::value::{Tensor, Value, shape_text};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::tensor::{Fold, Op};

/// The axes that an `axis` argument names; all where it is left out.
fn axes<'a>(
    this: &mut Elaborator<'a>,
    t: &Tensor,
    axis: Option<Value>,
    span: Span,
) -> Option<Vec<usize>> {
    let rank = t.dims.len();
    match axis {
        None => Some((0..rank).collect()),
        Some(Value::Number(n)) => {
            let at = if n.value < 0.0 { n.value + rank as f64 } else { n.value };
            if at < 0.0 || at >= rank as f64 {
                let text = format!("axis {} of {}", n.value, shape_text(&t.dims));
                this.report(Diagnostic::error("N201", span, text));
                return None;
            }
            Some(vec![at as usize])
        }
        Some(other) => {
            let text = format!("an axis is a number, not {}", other.describe());
            this.report(Diagnostic::error("N102", span, text));
            None
        }
    }
}

/// A folded tensor back under the shape it was folded from.
fn back(
    this: &mut Elaborator<'_>,
    folded: &Tensor,
    like: &Tensor,
    axes: &[usize],
) -> Tensor {
    let kept: Vec<usize> = (0..like.dims.len()).filter(|i| !axes.contains(i)).collect();
    emit::broadcast(this.graph(), folded, &like.lead, &like.dims, &kept)
}

fn fold<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
    fold: Fold,
) -> Option<Value> {
    let span = given.span;
    let value = given.take(0);
    if let Value::Pieces(all) = &value {
        let parts: Vec<Tensor> =
            all.iter().map(|t| emit::reduce(this.graph(), fold, t, &[0])).collect();
        return Some(Value::Tensor(joined(this, fold, &parts)));
    }
    let t = this.real(&value, span)?;
    let axis = given.optional(given.all.len() - 1);
    let axes = axes(this, &t, axis, span)?;
    Some(Value::Tensor(emit::reduce(this.graph(), fold, &t, &axes)))
}

/// Folds of pieces folded together.
fn joined(this: &mut Elaborator<'_>, fold: Fold, parts: &[Tensor]) -> Tensor {
    let op = match fold {
        Fold::Sum => Op::Add,
        Fold::Max => Op::Max,
        Fold::Min => Op::Min,
    };
    let mut all = parts.iter().cloned();
    let first = all.next().expect("pieces are never empty");
    all.fold(first, |a, b| {
        let graph = this.graph();
        match emit::fit(graph, &a, &b) {
            Ok((x, y)) => emit::binary(graph, op.clone(), &x, &y),
            Err(_) => a,
        }
    })
}

/// `sum(x, axis)`.
pub(super) fn sum<'a>(this: &mut Elaborator<'a>, given: Arguments) -> Option<Value> {
    fold(this, given, Fold::Sum)
}

fn average(this: &mut Elaborator<'_>, t: &Tensor, axes: &[usize]) -> Tensor {
    let graph = this.graph();
    let total = emit::reduce(graph, Fold::Sum, t, axes);
    let count = emit::count(graph, t, axes);
    match emit::fit(graph, &total, &count) {
        Ok((a, b)) => emit::binary(graph, Op::Div, &a, &b),
        Err(_) => total,
    }
}

/// `mean(x, axis)`.
pub(super) fn mean<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let value = given.take(0);
    let t = this.real(&value, given.span)?;
    let axis = given.optional(1);
    let axes = axes(this, &t, axis, given.span)?;
    Some(Value::Tensor(average(this, &t, &axes)))
}

/// `var(x, axis)`: the biased variance.
pub(super) fn var<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let value = given.take(0);
    let t = this.real(&value, given.span)?;
    let axis = given.optional(1);
    let axes = axes(this, &t, axis, given.span)?;
    let middle = average(this, &t, &axes);
    let middle = back(this, &middle, &t, &axes);
    let graph = this.graph();
    let off = emit::binary(graph, Op::Sub, &t, &middle);
    let square = emit::binary(graph, Op::Mul, &off, &off);
    Some(Value::Tensor(average(this, &square, &axes)))
}

fn extreme<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
    kind: Fold,
    op: Op,
) -> Option<Value> {
    let span = given.span;
    let Some(second) = given.optional(1) else { return fold(this, given, kind) };
    let first = given.take(0);
    if let (Value::Number(a), Value::Number(b)) = (&first, &second) {
        let value =
            if op == Op::Max { a.value.max(b.value) } else { a.value.min(b.value) };
        let whole = a.whole && b.whole;
        return Some(Value::Number(crate::value::Number { value, whole, name: None }));
    }
    let (a, b) = (this.real(&first, span)?, this.real(&second, span)?);
    match emit::fit(this.graph(), &a, &b) {
        Ok((a, b)) => Some(Value::Tensor(emit::binary(this.graph(), op, &a, &b))),
        Err(misfit) => Some(this.fitted(Err(misfit), span)),
    }
}

/// `max(a, b)` or `max(x, axis)`.
pub(super) fn max<'a>(this: &mut Elaborator<'a>, given: Arguments) -> Option<Value> {
    extreme(this, given, Fold::Max, Op::Max)
}

/// `min(a, b)` or `min(x, axis)`.
pub(super) fn min<'a>(this: &mut Elaborator<'a>, given: Arguments) -> Option<Value> {
    extreme(this, given, Fold::Min, Op::Min)
}

/// `norm(x, p, axis)`.
pub(super) fn norm<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let span = given.span;
    let value = given.take(0);
    let t = this.real(&value, span)?;
    let p = given.optional(1);
    let axis = given.optional(2);
    let axes = axes(this, &t, axis, span)?;
    let two = match &p {
        None => true,
        Some(Value::Number(n)) => n.value == 2.0,
        Some(_) => false,
    };
    if two {
        let graph = this.graph();
        let square = emit::binary(graph, Op::Mul, &t, &t);
        let total = emit::reduce(graph, Fold::Sum, &square, &axes);
        return Some(Value::Tensor(emit::unary(graph, Op::Sqrt, &total)));
    }
    let p = this.real(&p?, span)?;
    let graph = this.graph();
    let size = emit::unary(graph, Op::Abs, &t);
    let (size, power) = emit::fit(graph, &size, &p).ok()?;
    let raised = emit::binary(graph, Op::Pow, &size, &power);
    let total = emit::reduce(graph, Fold::Sum, &raised, &axes);
    let one = emit::constant(graph, t.frame, 1.0, nestor_ir::ty::Elem::Real);
    let (one, p) = emit::fit(graph, &one, &p).ok()?;
    let root = emit::binary(graph, Op::Div, &one, &p);
    let (total, root) = emit::fit(graph, &total, &root).ok()?;
    Some(Value::Tensor(emit::binary(graph, Op::Pow, &total, &root)))
}

/// `softmax(x, axis = -1)`, shifted by its largest entry, which is a constant to every gradient
/// because the result does not depend on it.
pub(super) fn softmax<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let span = given.span;
    let value = given.take(0);
    if let Value::Pieces(all) = &value {
        return Some(Value::Pieces(softmax_pieces(this, all, &[0])?));
    }
    let t = this.real(&value, span)?;
    let axis =
        given.optional(1).unwrap_or(Value::Number(crate::value::Number::real(-1.0)));
    let axes = axes(this, &t, Some(axis), span)?;
    softmax_pieces(this, &[t], &axes)?.into_iter().next().map(Value::Tensor)
}

fn softmax_pieces(
    this: &mut Elaborator<'_>,
    all: &[Tensor],
    axes: &[usize],
) -> Option<Vec<Tensor>> {
    let peaks: Vec<Tensor> =
        all.iter().map(|t| emit::reduce(this.graph(), Fold::Max, t, axes)).collect();
    let peak = joined(this, Fold::Max, &peaks);
    let peak = emit::unary(this.graph(), Op::Stop, &peak);
    let mut weights = Vec::new();
    for t in all {
        let shift = back(this, &peak, t, axes);
        let graph = this.graph();
        let (x, shift) = emit::fit(graph, t, &shift).ok()?;
        let off = emit::binary(graph, Op::Sub, &x, &shift);
        let e = emit::unary(graph, Op::Exp, &off);
        weights.push(emit::filled(graph, &e, 0.0));
    }
    let totals: Vec<Tensor> =
        weights.iter().map(|t| emit::reduce(this.graph(), Fold::Sum, t, axes)).collect();
    let total = joined(this, Fold::Sum, &totals);
    let mut out = Vec::new();
    for t in &weights {
        let total = back(this, &total, t, axes);
        let graph = this.graph();
        let (x, total) = emit::fit(graph, t, &total).ok()?;
        out.push(emit::binary(graph, Op::Div, &x, &total));
    }
    Some(out)
}
