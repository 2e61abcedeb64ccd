//! Intervals of gates: what a retention keeps must not grow without bound where that can be seen.

use crate::elaborate::{Elaborator, Env};
use crate::value::Value;
use nestor_grammar::Diagnostic;
use nestor_grammar::ast::{Call, Params};
use nestor_ir::tensor::{Graph, Op, Value as Node};

/// The least and the largest value.
type Interval = (f64, f64);

const ALL: Interval = (f64::NEG_INFINITY, f64::INFINITY);

/// Refuses a factor that is provably above 1 somewhere it can never come back from: its whole
/// interval lies at or above 1, and not at 1 alone.
pub(crate) fn check_gates<'a>(
    this: &mut Elaborator<'a>,
    scope: &Env,
    params: &'a Params,
    call: &'a Call,
) {
    for param in &params.all {
        let Some(Value::Tensor(t)) = scope.names.get(&param.name.text) else { continue };
        let (low, high) = interval(&this.frames[t.frame].graph, t.node, 0);
        let (low, high) = match this.captured_from(t.frame, t.node) {
            Some((frame, node)) => interval(&this.frames[frame].graph, node, 0),
            None => (low, high),
        };
        if low >= 1.0 && high > 1.0 {
            let text = format!(
                "the gate `{}` is never below 1: it lies in [{low}, {high}]",
                param.name.text
            );
            let help = "a gate keeps a share of the memory: use a factor between 0 and 1, such as `sigmoid(x)`";
            let said = "the memory would grow without bound";
            let mut diagnostic = Diagnostic::error("N601", call.span, text).says(said);
            let place = this.users_place(call.span);
            if let Some(origin) = this.origin(t.frame, t.node)
                && this.table.is_users(origin.file)
                && origin != place
            {
                diagnostic = diagnostic.label(call.span, "a gate here");
                diagnostic.labels[0].span = origin;
            }
            this.report(diagnostic.help(help));
        }
    }
}

/// The interval of a value, wide where nothing is known.
pub(crate) fn interval(graph: &Graph, node: Node, depth: usize) -> Interval {
    if depth > 32 {
        return ALL;
    }
    let def = graph.def(node);
    let of = |n: usize| interval(graph, def.operands[n], depth + 1);
    match &def.op {
        Op::Constant { value, .. } => (*value, *value),
        Op::Sigmoid => (0.0, 1.0),
        Op::Tanh | Op::Erf | Op::Sin | Op::Cos | Op::Sign => (-1.0, 1.0),
        Op::Exp => {
            let (a, b) = of(0);
            (a.exp(), b.exp())
        }
        Op::Softplus | Op::Sqrt => (0.0, f64::INFINITY),
        Op::Abs => (0.0, f64::INFINITY),
        Op::Neg => {
            let (a, b) = of(0);
            (-b, -a)
        }
        Op::Add => {
            let ((a, b), (c, d)) = (of(0), of(1));
            (a + c, b + d)
        }
        Op::Sub => {
            let ((a, b), (c, d)) = (of(0), of(1));
            (a - d, b - c)
        }
        Op::Mul => {
            let ((a, b), (c, d)) = (of(0), of(1));
            let all =
                [a * c, a * d, b * c, b * d].map(|x| if x.is_nan() { 0.0 } else { x });
            (
                all.iter().copied().fold(f64::INFINITY, f64::min),
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            )
        }
        Op::Max => {
            let ((a, b), (c, d)) = (of(0), of(1));
            (a.max(c), b.max(d))
        }
        Op::Min => {
            let ((a, b), (c, d)) = (of(0), of(1));
            (a.min(c), b.min(d))
        }
        Op::Select => {
            let ((a, b), (c, d)) = (of(1), of(2));
            (a.min(c), b.max(d))
        }
        Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. } => of(0),
        _ => ALL,
    }
}
