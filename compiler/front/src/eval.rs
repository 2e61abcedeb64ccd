//! Evaluates expressions: compile-time values are computed, tensors emit ops.

use crate::elaborate::{Elaborator, Env};
use crate::emit;
use crate::value::{Number, Tensor, Value, shape_text};
use nestor_grammar::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::tensor::Op;
use nestor_ir::ty::Elem;

impl<'a> Elaborator<'a> {
    /// The value of an expression.
    pub(crate) fn eval(&mut self, env: &mut Env, expr: &'a Expr) -> Value {
        if self.frames[self.frame].drop.is_empty() || self.reads_anchored(env, expr) {
            let value = self.eval_here(env, expr);
            self.comes_from(&value, expr.span);
            return value;
        }
        // Inside a statement over one instance, what does not read the memory is a value of the
        // layer: it is computed there, for all instances, and captured.
        let before = std::mem::replace(&mut self.frame, 0);
        let value = self.eval_here(env, expr);
        self.frame = before;
        self.comes_from(&value, expr.span);
        value
    }

    fn reads_anchored(&self, env: &Env, expr: &Expr) -> bool {
        let is = |v: &Value| matches!(v, Value::Instance(i) if self.anchored.iter().any(|(a, _)| a == i));
        let local = |v: &Value| matches!(v, Value::Tensor(t) if t.frame == self.frame);
        env.names.iter().any(|(name, v)| {
            (is(v) || local(v)) && crate::layer::in_expr(expr, name, env)
        })
    }

    fn eval_here(&mut self, env: &mut Env, expr: &'a Expr) -> Value {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Number(value, text) => {
                let whole = !text.contains(['.', 'e', 'E']);
                Value::Number(Number { value: *value, whole, name: None })
            }
            ExprKind::Bool(b) => Value::Bool(*b),
            ExprKind::Name(name) => self.lookup(env, name, span),
            ExprKind::Group(inner) => self.eval(env, inner),
            ExprKind::List(all) | ExprKind::Tuple(all) => {
                Value::List(all.iter().map(|e| self.eval(env, e)).collect())
            }
            ExprKind::Unary(op, a) => {
                let value = self.eval(env, a);
                self.unary(*op, value, span)
            }
            ExprKind::Binary(op, a, b) => {
                let (left, right) = (self.eval(env, a), self.eval(env, b));
                self.trail.sides = Some([self.side(a, &left), self.side(b, &right)]);
                let value = self.binary(*op, left, right, span);
                self.trail.sides = None;
                value
            }
            ExprKind::Range(low, high) => {
                let low = self.eval(env, low);
                let low = self.whole(&low, span);
                let Some(high) = high else {
                    let diagnostic =
                        Diagnostic::error("N102", span, "a list without an end");
                    return self.report(diagnostic.help("write `0..n`"));
                };
                let high = self.eval(env, high);
                let high = self.whole(&high, span);
                match (low, high) {
                    (Some(a), Some(b)) => Value::List(
                        (a..b).map(|n| Value::Number(Number::whole(n))).collect(),
                    ),
                    _ => Value::Poison,
                }
            }
            ExprKind::If(c, a, b) => self.choose(env, c, a, b, span),
            ExprKind::Call(f, arguments) => {
                let f = self.eval(env, f);
                self.call(env, f, arguments, span)
            }
            ExprKind::Pipe(x, f) => {
                let x = self.eval(env, x);
                let f = self.eval(env, f);
                self.apply(env, f, vec![x], span)
            }
            ExprKind::Index(x, i) => {
                let x = self.eval(env, x);
                let i = self.eval(env, i);
                self.index(x, i, span)
            }
            ExprKind::Field(x, word) => self.field(env, x, &word.text, span),
            ExprKind::Prime(x) => {
                let ExprKind::Name(name) = &x.kind else {
                    let diagnostic = Diagnostic::error(
                        "N104",
                        span,
                        "only a state or weight has a next value",
                    );
                    return self.report(diagnostic);
                };
                match env.names.get(&format!("{name}'")) {
                    Some(value) => value.clone(),
                    None if !env.has_next(name) => self.no_next(env, name, span),
                    None => {
                        let text = format!("`{name}'` is read before it is bound");
                        let help = format!("bind it first: `{name}' = ...`");
                        self.report(Diagnostic::error("N104", span, text).help(help))
                    }
                }
            }
            ExprKind::At(x, clock) => {
                let Some(n) = self.tokens_of(env, clock) else { return Value::Poison };
                let ExprKind::Call(f, arguments) = &x.kind else {
                    let text = "only a memory's read may stand before `at every ...`";
                    return self.report(Diagnostic::error("N102", span, text));
                };
                let f = self.eval(env, f);
                let values: Vec<Value> =
                    arguments.all.iter().map(|a| self.eval(env, &a.value)).collect();
                match f {
                    Value::Method(instance, word) if word == "read" => {
                        self.read_memory(instance, values, Some(n), span)
                    }
                    Value::Poison => Value::Poison,
                    other => {
                        let text = format!("{} is no memory's read", other.describe());
                        self.report(Diagnostic::error("N102", span, text))
                    }
                }
            }
        }
    }

    fn field(&mut self, env: &mut Env, x: &'a Expr, word: &str, span: Span) -> Value {
        if let Some(dotted) = dotted(x).map(|x| format!("{x}.{word}"))
            && let Some(value) = env.names.get(&dotted).cloned()
        {
            return self.seen(value);
        }
        match self.eval(env, x) {
            Value::Poison => Value::Poison,
            Value::Instance(i) if word == "read" || word == "write" => {
                Value::Method(i, word.to_owned())
            }
            Value::Instance(i) => self.member(i, word, span),
            Value::Pieces(all) if word == "T" => {
                // The joint dimension is the first: each piece is turned, and a product with what stands
                // before it gives one entry a row.
                let graph = self.graph();
                Value::Pieces(
                    all.iter().map(|t| emit::transpose(graph, t, &[1, 0])).collect(),
                )
            }
            Value::Tensor(t) if word == "T" => {
                let t = self.local(&t);
                if t.dims.len() != 2 {
                    let text =
                        format!("`.T` takes a matrix, not {}", shape_text(&t.dims));
                    return self.report(Diagnostic::error("N201", span, text));
                }
                Value::Tensor(emit::transpose(self.graph(), &t, &[1, 0]))
            }
            other => {
                let text = format!("{} has no `.{word}`", other.describe());
                self.report(Diagnostic::error("N101", span, text))
            }
        }
    }

    fn choose(
        &mut self,
        env: &mut Env,
        c: &'a Expr,
        a: &'a Expr,
        b: &'a Expr,
        span: Span,
    ) -> Value {
        match self.eval(env, c) {
            Value::Bool(true) => self.eval(env, a),
            Value::Bool(false) => self.eval(env, b),
            Value::Poison => Value::Poison,
            Value::Tensor(c) if c.elem == Elem::Bool => {
                let a = self.eval(env, a);
                let b = self.eval(env, b);
                let (Some(a), Some(b)) = (self.tensor(&a, span), self.tensor(&b, span))
                else {
                    return Value::Poison;
                };
                let c = self.local(&c);
                let made = emit::select(self.graph(), &c, &a, &b);
                self.fitted(made, span)
            }
            other => {
                let text = format!("`if` takes a condition, not {}", other.describe());
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    /// A tensor of the graph at hand: numbers become constants.
    pub(crate) fn tensor(&mut self, value: &Value, span: Span) -> Option<Tensor> {
        match value {
            Value::Tensor(t) => Some(self.local(t)),
            Value::Number(n) => {
                let frame = self.frame;
                Some(emit::constant(self.graph(), frame, n.value, Elem::Real))
            }
            Value::Bool(b) => {
                let frame = self.frame;
                let value = f64::from(u8::from(*b));
                Some(emit::constant(self.graph(), frame, value, Elem::Bool))
            }
            Value::Poison => None,
            other => {
                let text = format!("a value is needed here, not {}", other.describe());
                self.report(Diagnostic::error("N102", span, text));
                None
            }
        }
    }

    /// A tensor of reals: whole numbers and conditions are converted.
    pub(crate) fn real(&mut self, value: &Value, span: Span) -> Option<Tensor> {
        let t = self.tensor(value, span)?;
        Some(if t.elem == Elem::Real {
            t
        } else {
            emit::unary(self.graph(), Op::Real, &t)
        })
    }

    /// A whole compile-time number.
    pub(crate) fn whole(&mut self, value: &Value, span: Span) -> Option<usize> {
        match value {
            Value::Number(n) if n.value >= 0.0 && n.value.fract() == 0.0 => {
                Some(n.value as usize)
            }
            Value::Poison => None,
            other => {
                let text = format!(
                    "a whole number known while compiling is needed, not {}",
                    other.describe()
                );
                self.report(Diagnostic::error("N102", span, text));
                None
            }
        }
    }

    fn unary(&mut self, op: UnaryOp, value: Value, span: Span) -> Value {
        match (op, value) {
            (_, Value::Poison) => Value::Poison,
            (UnaryOp::Neg, Value::Number(n)) => {
                Value::Number(Number { value: -n.value, name: None, ..n })
            }
            (UnaryOp::Not, Value::Bool(b)) => Value::Bool(!b),
            (UnaryOp::Neg, value) => match self.real(&value, span) {
                Some(t) => Value::Tensor(emit::unary(self.graph(), Op::Neg, &t)),
                None => Value::Poison,
            },
            (UnaryOp::Not, Value::Tensor(t)) if t.elem == Elem::Bool => {
                let t = self.local(&t);
                Value::Tensor(emit::unary(self.graph(), Op::Not, &t))
            }
            (UnaryOp::Not, other) => {
                let text = format!("`not` takes a condition, not {}", other.describe());
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    pub(crate) fn binary(
        &mut self,
        op: BinaryOp,
        a: Value,
        b: Value,
        span: Span,
    ) -> Value {
        match (a, b) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Pieces(a), b) => self.by_piece(op, a, b, false, span),
            (a, Value::Pieces(b)) => self.by_piece(op, b, a, true, span),
            (Value::Number(a), Value::Number(b)) => self.compute(op, &a, &b, span),
            (Value::Bool(a), Value::Bool(b))
                if matches!(op, BinaryOp::And | BinaryOp::Or) =>
            {
                Value::Bool(if op == BinaryOp::And { a && b } else { a || b })
            }
            (Value::None, Value::None) | (Value::All, Value::All)
                if op == BinaryOp::Equal =>
            {
                Value::Bool(true)
            }
            (Value::All | Value::None, Value::Number(_))
            | (Value::Number(_), Value::All | Value::None)
                if matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) =>
            {
                Value::Bool(op == BinaryOp::NotEqual)
            }
            (a, b) => self.tensors(op, &a, &b, span),
        }
    }

    /// An operator on every piece; a product that sums over the pieces' joint dimension adds up.
    fn by_piece(
        &mut self,
        op: BinaryOp,
        pieces: Vec<Tensor>,
        other: Value,
        right: bool,
        span: Span,
    ) -> Value {
        let summed = op == BinaryOp::MatMul && matches!(other, Value::Pieces(_));
        let others: Vec<Value> = match other {
            Value::Pieces(all) if all.len() == pieces.len() => {
                all.into_iter().map(Value::Tensor).collect()
            }
            Value::Pieces(_) => {
                let text = "pieces of different numbers";
                return self.report(Diagnostic::error("N201", span, text));
            }
            other => vec![other; pieces.len()],
        };
        let mut out = Vec::new();
        for (piece, other) in pieces.into_iter().zip(others) {
            let piece = Value::Tensor(piece);
            let (a, b) = if right { (other, piece) } else { (piece, other) };
            match self.binary(op, a, b, span) {
                Value::Tensor(t) => out.push(t),
                other => return other,
            }
        }
        if !summed {
            return Value::Pieces(out);
        }
        let mut all = out.into_iter();
        let first = all.next().map_or(Value::Poison, Value::Tensor);
        all.fold(first, |total, t| {
            self.binary(BinaryOp::Add, total, Value::Tensor(t), span)
        })
    }

    /// Compile-time arithmetic, exact for whole numbers.
    fn compute(&mut self, op: BinaryOp, a: &Number, b: &Number, span: Span) -> Value {
        let (x, y) = (a.value, b.value);
        let whole = a.whole && b.whole;
        let number =
            |value: f64, whole: bool| Value::Number(Number { value, whole, name: None });
        match op {
            BinaryOp::Add => number(x + y, whole),
            BinaryOp::Sub => number(x - y, whole),
            BinaryOp::Mul => number(x * y, whole),
            BinaryOp::Div => {
                let even = y != 0.0 && x % y == 0.0;
                if whole && !even {
                    self.divided(x, y, x / y, span);
                }
                number(x / y, whole && even)
            }
            BinaryOp::Rem => number(nestor_ir::interpret::math::rem(x, y), whole),
            BinaryOp::Pow => number(x.powf(y), whole && y >= 0.0),
            BinaryOp::Equal => Value::Bool(x == y),
            BinaryOp::NotEqual => Value::Bool(x != y),
            BinaryOp::Less => Value::Bool(x < y),
            BinaryOp::LessEqual => Value::Bool(x <= y),
            BinaryOp::Greater => Value::Bool(x > y),
            BinaryOp::GreaterEqual => Value::Bool(x >= y),
            BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => {
                let text = format!("`{}` does not take numbers", op.info().0);
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    fn tensors(&mut self, op: BinaryOp, a: &Value, b: &Value, span: Span) -> Value {
        let logic = matches!(op, BinaryOp::And | BinaryOp::Or);
        let equal = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        let ints = equal && is_int(a) && is_int(b);
        let pair = if logic || ints {
            (self.tensor(a, span), self.tensor(b, span))
        } else {
            (self.real(a, span), self.real(b, span))
        };
        let (Some(x), Some(y)) = pair else { return Value::Poison };
        if op == BinaryOp::MatMul {
            let made = emit::matmul(self.graph(), &x, &y);
            return self.fitted(made, span);
        }
        let fitted = emit::fit(self.graph(), &x, &y);
        let (x, y) = match fitted {
            Ok(pair) => pair,
            Err(misfit) => return self.fitted(Err(misfit), span),
        };
        let graph = self.graph();
        let mut two = |op: Op, a: &Tensor, b: &Tensor| emit::binary(graph, op, a, b);
        Value::Tensor(match op {
            BinaryOp::Add => two(Op::Add, &x, &y),
            BinaryOp::Sub => two(Op::Sub, &x, &y),
            BinaryOp::Mul => two(Op::Mul, &x, &y),
            BinaryOp::Div => two(Op::Div, &x, &y),
            BinaryOp::Rem => two(Op::Rem, &x, &y),
            BinaryOp::Pow => two(Op::Pow, &x, &y),
            BinaryOp::Less => two(Op::Less, &x, &y),
            BinaryOp::LessEqual => two(Op::LessEqual, &x, &y),
            BinaryOp::Greater => two(Op::Less, &y, &x),
            BinaryOp::GreaterEqual => two(Op::LessEqual, &y, &x),
            BinaryOp::And => two(Op::And, &x, &y),
            BinaryOp::Or => two(Op::Or, &x, &y),
            BinaryOp::Equal => two(Op::Equal, &x, &y),
            BinaryOp::NotEqual => {
                let same = two(Op::Equal, &x, &y);
                emit::unary(self.graph(), Op::Not, &same)
            }
            BinaryOp::MatMul => x,
        })
    }

    fn index(&mut self, x: Value, i: Value, span: Span) -> Value {
        match (x, i) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::List(all), i) => {
                let Some(n) = self.whole(&i, span) else { return Value::Poison };
                match all.get(n) {
                    Some(value) => value.clone(),
                    None => {
                        let text = format!("entry {n} of a list of {}", all.len());
                        self.report(Diagnostic::error("N201", span, text))
                    }
                }
            }
            (Value::Tensor(t), Value::Number(n)) => {
                let t = self.local(&t);
                let size = t.dims.first().and_then(|d| d.size.fixed()).unwrap_or(0);
                if n.value < 0.0 || n.value as usize >= size {
                    let text = format!("entry {} of {}", n.value, shape_text(&t.dims));
                    return self.report(Diagnostic::error("N201", span, text));
                }
                let newest_first =
                    t.window.as_ref().is_some_and(|w| w.clock && w.axis == 0);
                let n = n.value as usize;
                let at = if newest_first { size - 1 - n } else { n };
                let t = emit::filled(self.graph(), &t, 0.0);
                let row = emit::slice(self.graph(), &t, 0, at, 1);
                let dims = row.dims[1..].to_vec();
                let row = Tensor { window: None, ..row };
                Value::Tensor(emit::reshape(self.graph(), &row, dims))
            }
            (Value::Tensor(t), Value::Tensor(i)) => self.gather(&t, &i, span),
            (other, _) => {
                let text = format!("{} has no entries", other.describe());
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    fn gather(&mut self, t: &Tensor, i: &Tensor, span: Span) -> Value {
        let (t, i) = (self.local(t), self.local(i));
        if i.elem == Elem::Int && t.lead.is_empty() && !t.dims.is_empty() {
            let node = self.graph().add(Op::Gather, &[t.node, i.node]);
            let dims = i.dims.iter().chain(&t.dims[1..]).cloned().collect();
            return Value::Tensor(Tensor { node, dims, lead: i.lead, elem: t.elem, ..t });
        }
        if i.elem == Elem::Real && i.dims.is_empty() && !t.dims.is_empty() {
            // A computed index chooses a row by comparison, so that it may depend on the token.
            return crate::builtin::pick(self, &t, &i);
        }
        let text =
            format!("an index {} into {}", shape_text(&i.dims), shape_text(&t.dims));
        self.report(Diagnostic::error("N201", span, text))
    }
}

fn is_int(value: &Value) -> bool {
    matches!(value, Value::Tensor(t) if t.elem == Elem::Int)
}

/// `a.b.c` as text, where it is names only.
pub(crate) fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Field(x, word) => Some(format!("{}.{}", dotted(x)?, word.text)),
        _ => None,
    }
}
