//! Intervals of gates: what a retention keeps must not grow without bound where that can be seen.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::value::Value;
use nestor_grammar::Diagnostic;
use nestor_grammar::ast::{Call, Params};
use nestor_ir::tensor::{Op, Value as Node};

/// The least and the largest value, and whether nothing else is known to keep it from them: no stream of the entry,
/// of which only its giver knows what it holds, and no op that is not looked through.
type Interval = (f64, f64, bool);

const ALL: Interval = (f64::NEG_INFINITY, f64::INFINITY, false);
/// What weights come to.
const ANY: Interval = (f64::NEG_INFINITY, f64::INFINITY, true);

/// Refuses a kept share that is provably above 1 somewhere it can never come back from: its whole
/// interval lies at or above 1, and not at 1 alone; warns of one that weights may bring beyond 1. Shares are
/// the factors of the stored state in what is kept; other parameters of a retention may be of any size.
///
/// A memory that keeps all of itself and is written without regard to what it holds, as linear attention is, grows
/// with the number of tokens and no faster: nothing is said of it. Where the error feeds back, growth depends on the
/// size of keys, of which intervals know nothing.
pub(crate) fn check_gates<'a>(
    this: &mut Elaborator<'a>,
    frame: usize,
    keep: Node,
    scope: &Env,
    params: &'a Params,
    call: &'a Call,
) {
    for factor in shares(this, frame, keep) {
        let (low, high, free) = interval(this, frame, factor, 0);
        let never = low >= 1.0 && high > 1.0;
        if !(never || free && low.abs().max(high) > 1.0) {
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
        let lies = format!("it lies in [{low}, {high}]");
        let mut diagnostic = match never {
            true => {
                let text = format!("{what} is never below 1: {lies}");
                Diagnostic::error("N601", call.span, text)
                    .says("the memory would grow without bound")
            }
            false => {
                let text = format!("{what} may be beyond 1: {lies}");
                Diagnostic::warning("W704", call.span, text)
                    .says("the memory may grow without bound")
            }
        };
        let help = "a gate keeps a share of the memory: use a factor between 0 and 1, such as `sigmoid(x)`";
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
    let graph = &this.frames[frame].graph;
    let def = graph.def(node);
    let of = |n: usize| interval(this, frame, def.operands[n], depth + 1);
    match &def.op {
        Op::Constant { value, .. } => (*value, *value, true),
        Op::Input { index, .. } if frame == 0 => {
            let name = &graph.inputs[*index].name;
            if this.inputs.iter().any(|i| i.name == *name) { ALL } else { ANY }
        }
        Op::Contract { .. } => ANY,
        Op::Sigmoid => (0.0, 1.0, true),
        Op::Tanh | Op::Erf | Op::Sin | Op::Cos | Op::Sign => (-1.0, 1.0, true),
        Op::Exp => {
            let (a, b, free) = of(0);
            (a.exp(), b.exp(), free)
        }
        Op::Softplus | Op::Sqrt | Op::Abs => (0.0, f64::INFINITY, of(0).2),
        Op::Neg => {
            let (a, b, free) = of(0);
            (-b, -a, free)
        }
        Op::Add => {
            let ((a, b, one), (c, d, other)) = (of(0), of(1));
            (a + c, b + d, one && other)
        }
        Op::Sub => {
            let ((a, b, one), (c, d, other)) = (of(0), of(1));
            (a - d, b - c, one && other)
        }
        Op::Mul => {
            let ((a, b, one), (c, d, other)) = (of(0), of(1));
            let all =
                [a * c, a * d, b * c, b * d].map(|x| if x.is_nan() { 0.0 } else { x });
            (
                all.iter().copied().fold(f64::INFINITY, f64::min),
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                one && other,
            )
        }
        Op::Max => {
            let ((a, b, one), (c, d, other)) = (of(0), of(1));
            (a.max(c), b.max(d), one && other)
        }
        Op::Min => {
            let ((a, b, one), (c, d, other)) = (of(0), of(1));
            (a.min(c), b.min(d), one && other)
        }
        Op::Select => {
            let ((a, b, one), (c, d, other)) = (of(1), of(2));
            (a.min(c), b.max(d), one && other)
        }
        Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. } => of(0),
        _ => ALL,
    }
}
