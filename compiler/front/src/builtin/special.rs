//! Functions with a meaning of their own: time, losses, positions, schedules, initial values.

use super::Arguments;
use crate::elaborate::Elaborator;
use crate::emit;
use crate::value::{Distribution, NamedDim, Number, Tensor, Value, Window, shape_text};
use nestor_grammar::ast::BinaryOp;
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::Clock;
use nestor_ir::tensor::{Fold, Op};
use nestor_ir::ty::{Dims, Elem};

/// `max(x, 0)`.
pub(super) fn relu<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let x = given.take(0);
    let t = this.real(&x, given.span)?;
    let graph = this.graph();
    let zero = emit::constant(graph, t.frame, 0.0, Elem::Real);
    let (t, zero) = emit::fit(graph, &t, &zero).ok()?;
    Some(Value::Tensor(emit::binary(graph, Op::Max, &t, &zero)))
}

/// `(e^x + e^-x) / 2`.
pub(super) fn cosh<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let x = given.take(0);
    if let Value::Number(n) = &x {
        return Some(Value::Number(Number::real(n.value.cosh())));
    }
    let t = this.real(&x, given.span)?;
    let graph = this.graph();
    let up = emit::unary(graph, Op::Exp, &t);
    let minus = emit::unary(graph, Op::Neg, &t);
    let down = emit::unary(graph, Op::Exp, &minus);
    let total = emit::binary(graph, Op::Add, &up, &down);
    let half = emit::constant(graph, t.frame, 0.5, Elem::Real);
    let (total, half) = emit::fit(graph, &total, &half).ok()?;
    Some(Value::Tensor(emit::binary(graph, Op::Mul, &total, &half)))
}

/// `x` with `x A = q`, A symmetric.
pub(super) fn solve<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (a, q) = (given.take(0), given.take(1));
    let (a, q) = (this.real(&a, given.span)?, this.real(&q, given.span)?);
    let fits = a.dims.len() == 2 && q.dims.len() == 1 && a.dims[1].size == q.dims[0].size;
    if !fits || a.dims[0].size != a.dims[1].size {
        let text = format!(
            "`solve` takes [n, n] and [n], not {} and {}",
            shape_text(&a.dims),
            shape_text(&q.dims)
        );
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    }
    let column = vec![q.dims[0].clone(), NamedDim::plain(Dim::Fixed(1))];
    let graph = this.graph();
    let x = emit::reshape(graph, &q, column);
    let node = graph.add(Op::Solve, &[a.node, x.node]);
    let solved = Tensor { node, ..x };
    Some(Value::Tensor(emit::reshape(graph, &solved, q.dims)))
}

/// The eigenvectors of A, A symmetric, as columns.
pub(super) fn eigenvectors<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let a = given.take(0);
    let a = this.real(&a, given.span)?;
    if a.dims.len() != 2 || a.dims[0].size != a.dims[1].size {
        let text = format!("{} is not square", shape_text(&a.dims));
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    }
    let node = this.graph().add(Op::Eigenvectors, &[a.node]);
    Some(Value::Tensor(Tensor { node, ..a }))
}

/// `A^(-1/p)`, A symmetric.
pub(super) fn inverse_root<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (a, p) = (given.take(0), given.take(1));
    let a = this.real(&a, given.span)?;
    let Value::Number(p) = p else {
        let text = "the root is a number known while compiling";
        return Some(this.report(Diagnostic::error("N102", given.span, text)));
    };
    if a.dims.len() != 2 || a.dims[0].size != a.dims[1].size {
        let text = format!("{} is not square", shape_text(&a.dims));
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    }
    let node = this.graph().add(Op::InverseRoot { p: p.value }, &[a.node]);
    Some(Value::Tensor(Tensor { node, ..a }))
}

/// `position`: the token's index from 0.
pub(super) fn position(this: &mut Elaborator<'_>) -> Tensor {
    let op = match this.ticks() {
        every if every > 1 && this.frame == 0 => Op::Tick { every },
        _ => Op::Position { dims: [].into_iter().collect() },
    };
    let node = this.graph().add(op, &[]);
    Tensor::number(this.frame, node)
}

/// Rotary position: pairs `(x_i, x_{i + n/2})` turned by `position / 10000^(2 i / n)`.
pub(super) fn rope<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let span = given.span;
    let x = given.take(0);
    let t = this.real(&x, span)?;
    let n = t.dims.last().and_then(|d| d.size.fixed()).unwrap_or(0);
    if n == 0 || n % 2 != 0 {
        let text = format!(
            "`rope` turns pairs: the last dimension of {} is odd",
            shape_text(&t.dims)
        );
        return Some(this.report(Diagnostic::error("N203", span, text)));
    }
    let frame = this.frame;
    let at = match given.optional(1) {
        Some(value) => this.real(&value, span)?,
        None => position(this),
    };
    let half = NamedDim::plain(Dim::Fixed(n / 2));
    let graph = this.graph();
    let iota =
        graph.add(Op::Iota { axis: 0, dims: [half.size].into_iter().collect() }, &[]);
    let step =
        Tensor { node: iota, dims: vec![half], window: None, lead: vec![], ..at.clone() };
    let rate = emit::constant(graph, frame, -2.0 * 10000f64.ln() / n as f64, Elem::Real);
    let (step, rate) = emit::fit(graph, &step, &rate).ok()?;
    let exponent = emit::binary(graph, Op::Mul, &step, &rate);
    let rate = emit::unary(graph, Op::Exp, &exponent);
    let (at, rate) = emit::fit(graph, &at, &rate).ok()?;
    let angle = emit::binary(graph, Op::Mul, &at, &rate);
    let (cos, sin) =
        (emit::unary(graph, Op::Cos, &angle), emit::unary(graph, Op::Sin, &angle));
    let last = t.dims.len() - 1;
    let mut a = emit::slice(graph, &t, last, 0, n / 2);
    let mut b = emit::slice(graph, &t, last, n / 2, n / 2);
    (a.dims[last].name, b.dims[last].name) = (None, None);
    let axes = [last];
    let spread = |graph: &mut _, c: &Tensor, like: &Tensor| {
        emit::broadcast(graph, c, &like.lead, &like.dims, &axes)
    };
    let (c, s) = (spread(graph, &cos, &a), spread(graph, &sin, &a));
    let (ac, bs) =
        (emit::binary(graph, Op::Mul, &a, &c), emit::binary(graph, Op::Mul, &b, &s));
    let (as_, bc) =
        (emit::binary(graph, Op::Mul, &a, &s), emit::binary(graph, Op::Mul, &b, &c));
    let first = emit::binary(graph, Op::Sub, &ac, &bs);
    let second = emit::binary(graph, Op::Add, &as_, &bc);
    let axis = t.lead.len() + last;
    let node = graph.add(Op::Concat { axis }, &[first.node, second.node]);
    Some(Value::Tensor(Tensor { node, ..t }))
}

fn exists(this: &mut Elaborator<'_>, size: Dim, block: bool) -> Window {
    let window = |exists| Window { axis: 0, exists, zeroed: true, clock: false };
    if this.ticks() == 1 || this.frame != 0 {
        return window(this.graph().add(Op::Exists { size, block }, &[]));
    }
    // In a block, entry j is there from tick j on.
    let mut since = position(this).node;
    let graph = this.graph();
    if let (true, Some(n)) = (block, size.fixed()) {
        let length = emit::constant(graph, 0, n as f64, Elem::Real).node;
        since = graph.add(Op::Rem, &[since, length]);
    }
    let dims: Dims = [size].into_iter().collect();
    let axes = std::iter::empty().collect();
    let since = graph.add(Op::Broadcast { dims: dims.clone(), axes }, &[since]);
    let age = graph.add(Op::Iota { axis: 0, dims }, &[]);
    window(graph.add(Op::LessEqual, &[age, since]))
}

/// `recent(x, size)`: the last values, newest first.
pub(super) fn recent<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (x, size) = (given.take(0), given.take(1));
    if this.within_sequence("a window of the past", given.span) {
        return None;
    }
    let t = this.real(&x, given.span)?;
    let mut dims = Vec::new();
    this.dim_of(&size, given.span, &mut dims)?;
    let size = dims.into_iter().next()?;
    some_tokens(this, size.size, given.span)?;
    let node = emit::recent(this.graph(), &t, size.size);
    let window = Some(exists(this, size.size, false));
    let dims = std::iter::once(size).chain(t.dims.clone()).collect();
    Some(Value::Tensor(Tensor { node, dims, window, ..t }))
}

/// A window has room for the token itself at least.
fn some_tokens(this: &mut Elaborator<'_>, size: Dim, span: Span) -> Option<()> {
    if size != Dim::Fixed(0) {
        return Some(());
    }
    let text = "a window of no tokens";
    let help = "1 is the token itself, `all` is everything so far";
    this.report(Diagnostic::error("N203", span, text).help(help));
    None
}

/// `block(x, size)`: all since the last boundary.
pub(super) fn block<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (x, size) = (given.take(0), given.take(1));
    if this.within_sequence("a window of the past", given.span) {
        return None;
    }
    let t = this.real(&x, given.span)?;
    let n = this.whole(&size, given.span)?;
    some_tokens(this, Dim::Fixed(n), given.span)?;
    let node = this.graph().add(Op::Block { size: n }, &[t.node]);
    let window = Some(exists(this, Dim::Fixed(n), true));
    let rows = NamedDim::plain(Dim::Fixed(n));
    let dims = std::iter::once(rows).chain(t.dims.clone()).collect();
    Some(Value::Tensor(Tensor { node, dims, window, ..t }))
}

/// `whole(x)`: the full sequence.
pub(super) fn whole<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let x = given.take(0);
    let t = this.real(&x, given.span)?;
    if t.frame != 0 || this.frame != 0 {
        let text =
            "a view of the whole sequence stands in a layer or model, not in a memory";
        return Some(this.report(Diagnostic::error("N303", given.span, text)));
    }
    let from = this.clock_of(t.node);
    if let Clock::Tokens(_) = from {
        let t = this.gathered(&t, from, Clock::Sequence, true);
        return Some(Value::Tensor(t));
    }
    let text = "`whole` looks at what changes from token to token; this does not";
    Some(this.report(Diagnostic::error("N303", given.span, text)))
}

/// `next(x, n)`: the value ahead.
pub(super) fn next<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let x = given.take(0);
    let t = this.tensor(&x, given.span)?;
    let by = match given.optional(1) {
        Some(n) => this.whole(&n, given.span)?,
        None => 1,
    };
    if this.within_sequence("the next value", given.span) {
        return None;
    }
    // What a block sees of the next tick is the window of what comes so many tokens later.
    if let (0, Op::Gathered { size: Dim::Fixed(n), .. }) =
        (t.frame, this.frames[t.frame].graph.def(t.node).op.clone())
    {
        let graph = this.graph();
        let window = graph.def(t.node).clone();
        let later = graph.add(Op::Next { by: by * n }, &window.operands);
        let node = graph.add(window.op, &[later]);
        return Some(Value::Tensor(Tensor { node, ..t }));
    }
    let node = this.graph().add(Op::Next { by }, &[t.node]);
    Some(Value::Tensor(Tensor { node, ..t }))
}

/// `-log softmax(logits)[label]`.
pub(super) fn cross_entropy<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let span = given.span;
    let (logits, label) = (given.take(0), given.take(1));
    let (t, label) = (this.real(&logits, span)?, this.tensor(&label, span)?);
    if t.dims.len() != 1 || label.elem != Elem::Int || !label.dims.is_empty() {
        let text = format!(
            "`cross_entropy` takes logits [n] and a label int(n), not {} and {}",
            shape_text(&t.dims),
            shape_text(&label.dims)
        );
        return Some(this.report(Diagnostic::error("N201", span, text)));
    }
    let graph = this.graph();
    let peak = emit::reduce(graph, Fold::Max, &t, &[0]);
    let peak = emit::unary(graph, Op::Stop, &peak);
    let (x, shift) = emit::fit(graph, &t, &peak).ok()?;
    let off = emit::binary(graph, Op::Sub, &x, &shift);
    let e = emit::unary(graph, Op::Exp, &off);
    let total = emit::reduce(graph, Fold::Sum, &e, &[0]);
    let log = emit::unary(graph, Op::Log, &total);
    let iota = graph
        .add(Op::Iota { axis: 0, dims: [t.dims[0].size].into_iter().collect() }, &[]);
    let places = Tensor {
        node: iota,
        dims: t.dims.clone(),
        elem: Elem::Real,
        lead: vec![],
        ..t.clone()
    };
    let label = emit::unary(graph, Op::Real, &label);
    let (places, label) = emit::fit(graph, &places, &label).ok()?;
    let same = emit::binary(graph, Op::Equal, &places, &label);
    let zero = emit::constant(graph, t.frame, 0.0, Elem::Real);
    let picked = emit::select(graph, &same, &off, &zero).ok()?;
    let picked = emit::reduce(graph, Fold::Sum, &picked, &[0]);
    Some(Value::Tensor(emit::binary(graph, Op::Sub, &log, &picked)))
}

fn distribution<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
    default: Option<f64>,
    make: fn(f64) -> Distribution,
) -> Option<Value> {
    match (given.optional(0), default) {
        (Some(Value::Number(n)), _) => Some(Value::Distribution(make(n.value))),
        (None, Some(default)) => Some(Value::Distribution(make(default))),
        _ => {
            let text = "the spread is a number known while compiling";
            Some(this.report(Diagnostic::error("N102", given.span, text)))
        }
    }
}

/// `normal(std)`.
pub(super) fn normal<'a>(this: &mut Elaborator<'a>, given: Arguments) -> Option<Value> {
    distribution(this, given, None, Distribution::Normal)
}

/// `uniform(a)`.
pub(super) fn uniform<'a>(this: &mut Elaborator<'a>, given: Arguments) -> Option<Value> {
    distribution(this, given, None, Distribution::Uniform)
}

/// `orthogonal(gain = 1)`.
pub(super) fn orthogonal<'a>(
    this: &mut Elaborator<'a>,
    given: Arguments,
) -> Option<Value> {
    distribution(this, given, Some(1.0), Distribution::Orthogonal)
}

/// `cosine(peak, warmup = 0, floor = 0)`: linear to the peak, then half a cosine to the floor.
pub(super) fn cosine<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let span = given.span;
    let mut number = |n: usize, default: f64| match given.optional(n) {
        Some(Value::Number(n)) => n.value,
        Some(_) | None => default,
    };
    let (peak, warmup, floor) = (number(0, 0.0), number(1, 0.0), number(2, 0.0));
    let slot = |this: &mut Elaborator<'a>, wanted: crate::elaborate::Slot| {
        let frame = this.frame;
        let at = this.frames[frame].slots.iter().position(|s| *s == wanted)?;
        let node = this.frames[frame].graph.inputs[at].value;
        Some(Value::Tensor(Tensor::number(frame, node)))
    };
    let count = slot(this, crate::elaborate::Slot::Count);
    let total = slot(this, crate::elaborate::Slot::Total);
    let (Some(n), Some(total)) = (count, total) else {
        let text = "a schedule stands in an algorithm of a level at a clock of steps";
        return Some(this.report(Diagnostic::error("N102", span, text)));
    };
    let c = |x: f64| Value::Number(Number::real(x));
    let mut two = |op, a, b| this.binary(op, a, b, span);
    let rise = two(BinaryOp::Mul, n.clone(), c(peak / warmup.max(1.0)));
    let past = two(BinaryOp::Sub, n.clone(), c(warmup));
    let rest = two(BinaryOp::Sub, total, c(warmup));
    let share = two(BinaryOp::Div, past, rest);
    let angle = two(BinaryOp::Mul, share, c(std::f64::consts::PI));
    let below = two(BinaryOp::Less, n, c(warmup));
    let angle = this.real(&angle, span)?;
    let cos = Value::Tensor(emit::unary(this.graph(), Op::Cos, &angle));
    let up = this.binary(BinaryOp::Add, cos, c(1.0), span);
    let part = this.binary(BinaryOp::Mul, up, c(0.5 * (peak - floor)), span);
    let fall = this.binary(BinaryOp::Add, part, c(floor), span);
    let (Value::Tensor(below), Value::Tensor(rise), Value::Tensor(fall)) =
        (below, rise, fall)
    else {
        return None;
    };
    emit::select(this.graph(), &below, &rise, &fall).ok().map(Value::Tensor)
}
