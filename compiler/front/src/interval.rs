//! Intervals of gates: what a retention keeps must not grow without bound where that can be seen.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::value::Value;
use nestor_grammar::Diagnostic;
use nestor_grammar::ast::{Call, Params};
use nestor_ir::tensor::{Op, Value as Node};

/// The least and the largest value.
type Interval = (f64, f64);

const ALL: Interval = (f64::NEG_INFINITY, f64::INFINITY);

/// Refuses a kept share that is provably above 1 somewhere it can never come back from: its whole
/// interval lies at or above 1, and not at 1 alone. Shares are the factors of the stored state in
/// what is kept; other parameters of a retention may be of any size.
pub(crate) fn check_gates<'a>(
    this: &mut Elaborator<'a>,
    frame: usize,
    keep: Node,
    scope: &Env,
    params: &'a Params,
    call: &'a Call,
) {
    for factor in shares(this, frame, keep) {
        let (low, high) = interval(this, frame, factor, 0);
        if low < 1.0 || high <= 1.0 {
            continue;
        }
        let base = source(this, frame, factor);
        let of = |v: &Value| match v {
            Value::Tensor(t) => source(this, t.frame, t.node) == base,
            _ => false,
        };
        let mut named = params.all.iter().filter_map(|p| {
            let name = p.name.text.as_str();
            scope.names.get(name).filter(|v| of(v)).map(|_| name)
        });
        let what = named
            .next()
            .map_or("the share kept".to_owned(), |n| format!("the gate `{n}`"));
        let text = format!("{what} is never below 1: it lies in [{low}, {high}]");
        let help = "a gate keeps a share of the memory: use a factor between 0 and 1, such as `sigmoid(x)`";
        let said = "the memory would grow without bound";
        let mut diagnostic = Diagnostic::error("N601", call.span, text).says(said);
        let place = this.users_place(call.span);
        if let Some(origin) = this.origin(base.0, base.1)
            && this.table.is_users(origin.file)
            && origin != place
        {
            diagnostic = diagnostic.label(call.span, "a gate here");
            diagnostic.labels[0].span = origin;
        }
        this.report(diagnostic.help(help));
    }
}

/// Factors of the stored state in what is kept.
fn shares(this: &Elaborator<'_>, frame: usize, keep: Node) -> Vec<Node> {
    let graph = &this.frames[frame].graph;
    let stored = |v: Node| {
        let Op::Input { index, .. } = graph.def(v).op else { return false };
        this.frames[frame].slots.get(index) == Some(&Slot::First)
    };
    let depends = |v: Node| {
        let mut open = vec![v];
        while let Some(v) = open.pop() {
            if stored(v) {
                return true;
            }
            open.extend(graph.def(v).operands.iter().copied());
        }
        false
    };
    let (mut out, mut at) = (Vec::new(), keep);
    while graph.def(at).op == Op::Mul {
        let (a, b) = (graph.def(at).operands[0], graph.def(at).operands[1]);
        let (state, factor) = match (depends(a), depends(b)) {
            (true, false) => (a, b),
            (false, true) => (b, a),
            (true, true) | (false, false) => break,
        };
        out.push(factor);
        at = state;
    }
    out
}

/// What a value is a copy of: broadcasts and captures undone.
fn source(this: &Elaborator<'_>, frame: usize, node: Node) -> (usize, Node) {
    if let Some((outer, node)) = this.captured_from(frame, node) {
        return source(this, outer, node);
    }
    let def = this.frames[frame].graph.def(node);
    match def.op {
        Op::Broadcast { .. } => source(this, frame, def.operands[0]),
        _ => (frame, node),
    }
}

/// The interval of a value, wide where nothing is known.
fn interval(this: &Elaborator<'_>, frame: usize, node: Node, depth: usize) -> Interval {
    if depth > 32 {
        return ALL;
    }
    if let Some((outer, node)) = this.captured_from(frame, node) {
        return interval(this, outer, node, depth + 1);
    }
    let def = this.frames[frame].graph.def(node);
    let of = |n: usize| interval(this, frame, def.operands[n], depth + 1);
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
