//! Functions and words that the language itself gives, as one table.

mod poly;
mod reduce;
mod shape;
mod special;

use crate::call::Given;
use crate::elaborate::Elaborator;
use crate::emit;
use crate::value::{Number, Tensor, Value};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::tensor::Op;
use nestor_ir::ty::Elem;

/// What a function does with its arguments.
type Function = for<'a> fn(&mut Elaborator<'a>, Arguments) -> Option<Value>;

/// A function's name, its parameters (the optional ones last) and what it does.
struct Row {
    name: &'static str,
    params: &'static [&'static str],
    required: usize,
    function: Function,
}

/// Element-wise functions of one operand, with the op each is.
const UNARY: &[(&str, Op)] = &[
    ("abs", Op::Abs),
    ("sign", Op::Sign),
    ("sqrt", Op::Sqrt),
    ("exp", Op::Exp),
    ("log", Op::Log),
    ("sin", Op::Sin),
    ("cos", Op::Cos),
    ("tanh", Op::Tanh),
    ("erf", Op::Erf),
    ("sigmoid", Op::Sigmoid),
    ("softplus", Op::Softplus),
    ("stop", Op::Stop),
];

const fn row(
    name: &'static str,
    params: &'static [&'static str],
    required: usize,
    function: Function,
) -> Row {
    Row { name, params, required, function }
}

const TABLE: &[Row] = &[
    row("relu", &["x"], 1, special::relu),
    row("cosh", &["x"], 1, special::cosh),
    row("sum", &["x", "axis"], 1, reduce::sum),
    row("mean", &["x", "axis"], 1, reduce::mean),
    row("var", &["x", "axis"], 1, reduce::var),
    row("max", &["a", "b", "axis"], 1, reduce::max),
    row("min", &["a", "b", "axis"], 1, reduce::min),
    row("norm", &["x", "p", "axis"], 1, reduce::norm),
    row("softmax", &["x", "axis"], 1, reduce::softmax),
    row("outer", &["a", "b"], 2, shape::outer),
    row("diag", &["a"], 1, shape::diag),
    row("eye", &["n"], 1, shape::eye),
    row("range", &["n"], 1, shape::range),
    row("flatten", &["x"], 1, shape::flatten),
    row("reshape", &["x", "shape"], 2, shape::reshape),
    row("last", &["x"], 1, shape::last),
    row("solve", &["A", "q"], 2, special::solve),
    row("inverse_root", &["A", "p"], 2, special::inverse_root),
    row("eigenvectors", &["A"], 1, special::eigenvectors),
    row("poly", &["x", "n"], 2, poly::poly),
    row("rope", &["x", "at"], 1, special::rope),
    row("recent", &["x", "size"], 2, special::recent),
    row("block", &["x", "size"], 2, special::block),
    row("whole", &["x"], 1, special::whole),
    row("next", &["x", "n"], 1, special::next),
    row("cross_entropy", &["logits", "label"], 2, special::cross_entropy),
    row("normal", &["std"], 1, special::normal),
    row("uniform", &["a"], 1, special::uniform),
    row("orthogonal", &["gain"], 0, special::orthogonal),
    row("cosine", &["peak", "warmup", "floor"], 1, special::cosine),
];

/// The names of all functions and words.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let words = ["concat", "position", "pi", "all", "none"];
    TABLE.iter().map(|r| r.name).chain(UNARY.iter().map(|r| r.0)).chain(words)
}

/// What a word stands for by itself.
pub(crate) fn word(this: &mut Elaborator<'_>, name: &str) -> Option<Value> {
    match name {
        "position" => Some(Value::Tensor(special::position(this))),
        "pi" => Some(Value::Number(Number::real(std::f64::consts::PI))),
        "all" => Some(Value::All),
        "none" => Some(Value::None),
        _ => names().find(|n| *n == name).map(Value::Builtin),
    }
}

/// Arguments by place, with where the call stands.
pub(crate) struct Arguments {
    /// One for each parameter; nothing where left out.
    pub(crate) all: Vec<Option<Value>>,
    /// Where.
    pub(crate) span: Span,
}

impl Arguments {
    /// An argument that the table says is there.
    pub(crate) fn take(&mut self, n: usize) -> Value {
        self.all.get_mut(n).and_then(Option::take).unwrap_or(Value::Poison)
    }
    /// An optional argument.
    pub(crate) fn optional(&mut self, n: usize) -> Option<Value> {
        self.all.get_mut(n).and_then(Option::take)
    }
}

/// A function called with evaluated arguments.
pub(crate) fn call<'a>(
    this: &mut Elaborator<'a>,
    name: &'static str,
    given: Given,
    span: Span,
) -> Value {
    if given.all.iter().any(|(_, v)| matches!(v, Value::Poison)) {
        return Value::Poison;
    }
    if name == "concat" {
        let values = given.all.into_iter().map(|(_, v)| v).collect();
        return shape::concat(this, values, span).unwrap_or(Value::Poison);
    }
    if let Some((_, op)) = UNARY.iter().find(|r| r.0 == name) {
        let [(None, value)] = given.all.as_slice() else {
            let text = format!("`{name}` takes one value");
            return this.report(Diagnostic::error("N102", span, text));
        };
        return unary(this, op, value, span);
    }
    let Some(row) = TABLE.iter().find(|r| r.name == name) else {
        let text = format!("`{name}` is not a function");
        return this.report(Diagnostic::error("N102", span, text));
    };
    let mut all: Vec<Option<Value>> = vec![None; row.params.len()];
    let mut place = 0;
    for (word, value) in given.all {
        let at = match &word {
            Some(word) => row.params.iter().position(|p| p == word),
            None => {
                place += 1;
                Some(place - 1).filter(|p| *p < row.params.len())
            }
        };
        match at {
            Some(at) => all[at] = Some(value),
            None => {
                let text = format!("`{name}` takes ({})", row.params.join(", "));
                return this.report(Diagnostic::error("N102", span, text));
            }
        }
    }
    if all[..row.required].iter().any(Option::is_none) {
        let text =
            format!("`{name}` needs `{}`", row.params[..row.required].join("`, `"));
        return this.report(Diagnostic::error("N102", span, text));
    }
    (row.function)(this, Arguments { all, span }).unwrap_or(Value::Poison)
}

fn unary<'a>(this: &mut Elaborator<'a>, op: &Op, value: &Value, span: Span) -> Value {
    if let Value::Number(n) = value
        && let Some(known) = of_number(op, n.value)
    {
        return Value::Number(Number::real(known));
    }
    if let Value::Pieces(all) = value {
        let graph = this.graph();
        return Value::Pieces(
            all.iter().map(|t| emit::unary(graph, op.clone(), t)).collect(),
        );
    }
    if let (Op::Stop, Value::Tensor(t)) = (op, value) {
        let t = this.local(t);
        return Value::Tensor(emit::unary(this.graph(), Op::Stop, &t));
    }
    match this.real(value, span) {
        Some(t) => Value::Tensor(emit::unary(this.graph(), op.clone(), &t)),
        None => Value::Poison,
    }
}

/// Compile-time values of functions.
fn of_number(op: &Op, x: f64) -> Option<f64> {
    use nestor_ir::interpret::math;
    Some(match op {
        Op::Abs => x.abs(),
        Op::Sign => math::sign(x),
        Op::Sqrt => x.sqrt(),
        Op::Exp => x.exp(),
        Op::Log => x.ln(),
        Op::Sin => x.sin(),
        Op::Cos => x.cos(),
        Op::Tanh => x.tanh(),
        Op::Erf => math::erf(x),
        Op::Sigmoid => math::sigmoid(x),
        Op::Softplus => math::softplus(x),
        _ => return None,
    })
}

/// Row `i` of a tensor, chosen by a computed index: every row is compared with it.
pub(crate) fn pick<'a>(this: &mut Elaborator<'a>, t: &Tensor, i: &Tensor) -> Value {
    let n = t.dims[0].size;
    let iota =
        this.graph().add(Op::Iota { axis: 0, dims: [n].into_iter().collect() }, &[]);
    let rows = vec![t.dims[0].clone()];
    let count = Tensor {
        node: iota,
        dims: rows,
        elem: Elem::Real,
        lead: vec![],
        window: None,
        ..t.clone()
    };
    let graph = this.graph();
    let Ok((count, index)) = emit::fit(graph, &count, i) else { return Value::Poison };
    let same = emit::binary(graph, Op::Equal, &count, &index);
    let real = emit::unary(graph, Op::Real, &same);
    match emit::matmul(graph, &real, t) {
        Ok(t) => Value::Tensor(t),
        Err(_) => Value::Poison,
    }
}
