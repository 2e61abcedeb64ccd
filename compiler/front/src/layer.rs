//! Bodies: bindings, repeats, inputs, weights and outputs of layers, models and functions.

use crate::call::Given;
use crate::elaborate::{Elaborator, Env, rebound};
use crate::emit;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{Binding, Expr, Item, ItemKind, Kind, Name, Shape};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Clock, Input};
use nestor_ir::tensor::Op;
use nestor_ir::ty::{Elem, Type};

impl<'a> Elaborator<'a> {
    /// Walks statements in order.
    pub(crate) fn body(&mut self, env: &mut Env, items: &'a [Item]) {
        for item in items {
            self.item(env, item);
        }
    }

    fn item(&mut self, env: &mut Env, item: &'a Item) {
        match &item.kind {
            ItemKind::Binding(binding) => self.binding(env, binding),
            ItemKind::Output(name, value) => {
                let before = env.binding.take();
                let value_of = self.eval(env, value);
                env.binding = before;
                let implied = crate::eval::dotted(value);
                let name = name
                    .as_ref()
                    .map(|n| n.text.clone())
                    .or(implied)
                    .unwrap_or("out".into());
                env.outputs.push((name, value_of, item.span));
            }
            ItemKind::Repeat(names, over, body) => {
                self.repeat(env, names.as_deref(), over, body)
            }
            ItemKind::Effect(path, arguments) => {
                let Some(name) = path.dotted() else {
                    let text = "a write names its memory without an index";
                    self.report(Diagnostic::error("N102", path.span, text));
                    return;
                };
                let (memory, word) = name.rsplit_once('.').unwrap_or((&name, ""));
                let value = self.lookup(env, memory, path.span);
                match value {
                    Value::Instance(i) if word == "write" => {
                        let given = self.given(env, arguments);
                        self.write_memory(i, given, item.span);
                    }
                    Value::Poison => {}
                    other => {
                        let text = format!(
                            "{} cannot be written by `.{word}`",
                            other.describe()
                        );
                        self.report(Diagnostic::error("N102", item.span, text));
                    }
                }
            }
            ItemKind::Minimize(minimize) => self.minimize_inner(env, minimize, 1),
            ItemKind::Level(level) => self.level(env, level),
            ItemKind::Weights(decls) => {
                if let Some(instance) = env.instance {
                    self.declare(instance, env, decls);
                }
            }
            // Inputs are bound where the body is entered.
            ItemKind::Input(..) => {}
            ItemKind::ClockBlock(clock, body) => {
                self.clock_block(env, clock, body, item.span);
            }
            ItemKind::States(_)
            | ItemKind::Keep(_)
            | ItemKind::Penalty(_)
            | ItemKind::Step(_)
            | ItemKind::RetentionRead(_)
            | ItemKind::Reader(..)
            | ItemKind::Structure(_)
            | ItemKind::Bias(_)
            | ItemKind::Retention(_)
            | ItemKind::Algorithm(_)
            | ItemKind::Gradient(_)
            | ItemKind::UpdateEvery(_)
            | ItemKind::Update(..)
            | ItemKind::ReadAt(_)
            | ItemKind::Reset(_) => {}
        }
    }

    fn binding(&mut self, env: &mut Env, binding: &'a Binding) {
        let Some(mut name) = binding.path.dotted() else {
            let text = "a binding names what it binds without an index";
            self.report(Diagnostic::error("N104", binding.path.span, text));
            return;
        };
        self.may_bind(env, &name, binding.primed, binding.path.span);
        let before = env.binding.replace(name.clone());
        let direct = env.direct.replace(binding.value.span);
        let value = self.eval(env, &binding.value);
        env.binding = before;
        env.direct = direct;
        if let Some(from) = &binding.from {
            self.starts_from(env, &value, from);
        }
        if binding.primed {
            name.push('\'');
        }
        let value = match (&binding.when, value) {
            (Some(when), Value::Tensor(t)) => {
                let condition = self.eval(env, when);
                match self.tensor(&condition, when.span) {
                    Some(c) if c.elem == Elem::Bool && c.dims.is_empty() => {
                        let t = self.local(&t);
                        let node = self.graph().add(Op::When, &[t.node, c.node]);
                        Value::Tensor(Tensor { node, ..t })
                    }
                    Some(_) => {
                        let text = "`when` takes one condition a token";
                        self.report(Diagnostic::error("N201", when.span, text))
                    }
                    None => Value::Poison,
                }
            }
            (_, value) => value,
        };
        env.names.insert(name, value);
    }

    fn repeat(
        &mut self,
        env: &mut Env,
        names: Option<&'a [Name]>,
        over: &'a Expr,
        body: &'a [Item],
    ) {
        let rounds = match self.eval(env, over) {
            Value::List(all) => all,
            Value::Poison => return,
            value => {
                let Some(n) = self.whole(&value, over.span) else { return };
                (0..n).map(|i| Value::Number(crate::value::Number::whole(i))).collect()
            }
        };
        for (round, value) in rounds.into_iter().enumerate() {
            match (names, value) {
                (None, _) => {}
                (Some([name]), value) => {
                    env.names.insert(name.text.clone(), value);
                }
                (Some(names), Value::List(all)) if names.len() == all.len() => {
                    for (name, value) in names.iter().zip(all) {
                        env.names.insert(name.text.clone(), value);
                    }
                }
                (Some(names), value) => {
                    let text = format!("{} names for {}", names.len(), value.describe());
                    self.report(Diagnostic::error("N102", over.span, text));
                    return;
                }
            }
            env.rounds.push(round);
            self.body(env, body);
            env.rounds.pop();
        }
    }

    /// A layer applied to its inputs.
    pub(crate) fn apply_layer(
        &mut self,
        instance: usize,
        values: Vec<Value>,
        span: Span,
    ) -> Value {
        if values.iter().any(|v| matches!(v, Value::Poison)) {
            return Value::Poison;
        }
        let definition = self.definition_of(instance);
        let name = &definition.name.text;
        if !matches!(definition.kind, Kind::Layer | Kind::Model) {
            let text = format!(
                "`{name}` is a {}: it is read and written, not applied",
                definition.kind.word()
            );
            return self
                .report(Diagnostic::error("N102", span, text).help("write `M.read(q)`"));
        }
        let index = self.instances[instance].definition;
        if self.open.contains(&index) && self.open.len() > 64 {
            let text = format!("`{name}` contains itself");
            return self.report(Diagnostic::error("N105", span, text));
        }
        let mut env = self.instances[instance].env.clone();
        env.rebound = rebound(&definition.body);
        self.circular_from(&definition.body);
        env.instance = Some(instance);
        let inputs: Vec<(&'a Name, &'a Shape)> = definition
            .body
            .iter()
            .filter_map(|i| match &i.kind {
                ItemKind::Input(names, shape, _) => {
                    Some(names.iter().map(move |n| (n, shape)))
                }
                _ => None,
            })
            .flatten()
            .collect();
        if inputs.len() != values.len() {
            let text =
                format!("`{name}` takes {} inputs, not {}", inputs.len(), values.len());
            return self.report(Diagnostic::error("N102", span, text));
        }
        let mut extra: Vec<NamedDim> = Vec::new();
        let (mut bound, mut windowed) = (Vec::new(), false);
        for ((input, shape), value) in inputs.iter().zip(&values) {
            let what = crate::trail::Declared::Input;
            self.declares(&mut env, &input.text, what, input.span);
            let Some(t) = self.tensor(value, span) else { return Value::Poison };
            let Some(dims) = self.dims(&mut env, shape) else { return Value::Poison };
            let Some(t) = self.renamed(&t, &dims) else {
                let text = format!(
                    "`{}` of `{name}` is {} but {} is given",
                    input.text,
                    shape_text(&dims),
                    shape_text(&t.dims)
                );
                let mut diagnostic = Diagnostic::error("N201", span, text);
                if let Some(origin) = self.origin(t.frame, t.node)
                    && origin.file == span.file
                    && origin.end < span.start
                {
                    let text = format!("{} comes from here", shape_text(&t.dims));
                    diagnostic = diagnostic.label(origin, text);
                }
                return self.report(diagnostic.label(input.span, "declared here"));
            };
            if t.strip > extra.len() {
                extra = t.dims[..t.strip].to_vec();
            }
            windowed |= t.window.as_ref().is_some_and(|w| w.axis < t.strip);
            bound.push((input.text.clone(), t, dims));
        }
        let outer_lead = self.lead.clone();
        self.lead.extend(extra.iter().map(|d| d.size));
        for (input, t, dims) in bound {
            // Dimensions beyond the declared ones join those the layer is mapped over.
            let lead = t
                .lead
                .iter()
                .copied()
                .chain(t.dims[..t.strip].iter().map(|d| d.size))
                .collect();
            let t = Tensor { lead, dims, strip: 0, window: None, ..t };
            env.names.insert(input, Value::Tensor(t));
        }
        let windows = self.over_windows.len();
        self.over_windows.extend(windowed.then_some(span));
        self.inside(instance, |this| {
            this.open.push(index);
            this.within(span, |this| this.body(&mut env, &definition.body));
            this.open.pop();
        });
        self.lead = outer_lead;
        self.over_windows.truncate(windows);
        let Some((_, value, _)) = env.outputs.pop() else {
            let text = format!("`{name}` has no `out`");
            return self.report(Diagnostic::error("N102", span, text));
        };
        let Value::Tensor(t) = value else { return value };
        // The result's dimensions are called as the caller calls them.
        let params = &self.instances[instance].env.names;
        let own = t.dims.iter().map(|d| {
            let arg = d.name.as_ref().and_then(|n| params.get(n));
            let name = match arg {
                Some(Value::Number(n)) => n.name.clone(),
                Some(_) => None,
                None => d.name.clone(),
            };
            NamedDim { name, size: d.size }
        });
        let own: Vec<NamedDim> = own.collect();
        if extra.is_empty() {
            return Value::Tensor(Tensor { dims: own, ..t });
        }
        let keep = self.lead.len();
        let full: Vec<Dim> =
            self.lead.iter().copied().chain(extra.iter().map(|d| d.size)).collect();
        let t = if t.lead.len() < full.len() {
            let axes: Vec<usize> = (0..t.dims.len()).collect();
            let dims = t.dims.clone();
            emit::broadcast(self.graph(), &t, &full, &dims, &axes)
        } else {
            t
        };
        let dims = extra.into_iter().chain(own).collect();
        Value::Tensor(Tensor { lead: full[..keep].to_vec(), dims, ..t })
    }

    /// Runs `f` with the path and the names of an instance.
    pub(crate) fn inside<R>(
        &mut self,
        instance: usize,
        f: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let path =
            std::mem::replace(&mut self.path, self.instances[instance].path.clone());
        self.taken.push(indexmap::IndexSet::new());
        let result = f(self);
        self.taken.pop();
        self.path = path;
        result
    }

    /// Streams of the entry.
    pub(crate) fn streams(&mut self, env: &mut Env, body: &'a [Item]) {
        for item in body {
            let ItemKind::Input(names, shape, clock) = &item.kind else { continue };
            let clock = match clock {
                None => Clock::Tokens(1),
                Some(nestor_grammar::ast::Clock::Sequence(_)) => Clock::Sequence,
                Some(clock) => Clock::Tokens(self.tokens_of(env, clock).unwrap_or(1)),
            };
            for name in names {
                let what = crate::trail::Declared::Input;
                self.declares(env, &name.text, what, name.span);
                let (elem, below, dims) = match shape {
                    Shape::Int(below, span) => {
                        let value = self.eval(env, below);
                        (Elem::Int, self.whole(&value, *span), vec![])
                    }
                    Shape::Bool(_) => (Elem::Bool, None, vec![]),
                    Shape::Dims(..) => {
                        let Some(dims) = self.dims(env, shape) else { continue };
                        (Elem::Real, None, dims)
                    }
                };
                let ty = Type { elem, dims: dims.iter().map(|d| d.size).collect() };
                let node = self.frames[0].graph.input(name.text.clone(), ty.clone());
                self.inputs.push(Input { name: name.text.clone(), ty, below, clock });
                let t = Tensor {
                    frame: 0,
                    node,
                    elem,
                    lead: vec![],
                    dims,
                    strip: 0,
                    window: None,
                };
                let value = Value::Tensor(t);
                self.comes_from(&value, name.span);
                env.names.insert(name.text.clone(), value);
            }
        }
    }

    /// An instance of the entry with parameters from settings and defaults.
    pub(crate) fn entry_scope(
        &mut self,
        d: usize,
        settings: &[(String, Value)],
    ) -> Option<Env> {
        let definition = self.table.entries[d].definition;
        let mut env = self.scope_of(d);
        let span = definition.name.span;
        let all = settings.iter().map(|(n, v)| (Some(n.clone()), v.clone())).collect();
        self.bind(&mut env, &definition.params, 0, Given { all, semicolon: None, span });
        self.complete(&env, &definition.params, 0, true, span).then_some(env)
    }
}

/// Whether a body mentions a name at all, compile-time branches considered where they are decided
/// by a parameter.
pub(crate) fn mentions(body: &[Item], name: &str, env: &Env) -> bool {
    body.iter().any(|item| match &item.kind {
        ItemKind::Binding(b) => in_expr(&b.value, name, env),
        ItemKind::Output(_, e) => in_expr(e, name, env),
        ItemKind::Effect(_, a) => a.all.iter().any(|a| in_expr(&a.value, name, env)),
        ItemKind::Repeat(_, over, body) => {
            in_expr(over, name, env) || mentions(body, name, env)
        }
        ItemKind::ClockBlock(_, body) => mentions(body, name, env),
        ItemKind::Level(level) => mentions(&level.body, name, env),
        ItemKind::Minimize(_) => true,
        _ => false,
    })
}

/// Whether an expression mentions a name.
pub(crate) fn in_expr(e: &Expr, name: &str, env: &Env) -> bool {
    use nestor_grammar::ast::ExprKind as K;
    let go = |e: &Expr| in_expr(e, name, env);
    match &e.kind {
        K::Name(n) => n == name,
        K::Field(x, _) => crate::eval::dotted(e).as_deref() == Some(name) || go(x),
        K::Number(..) | K::Bool(_) => false,
        K::Unary(_, a) | K::Prime(a) | K::Group(a) | K::At(a, _) => go(a),
        K::Binary(_, a, b) | K::Pipe(a, b) | K::Index(a, b) => go(a) || go(b),
        K::Range(a, b) => go(a) || b.as_ref().is_some_and(|b| go(b)),
        K::If(c, a, b) => match &c.kind {
            K::Name(n) => match env.names.get(n) {
                Some(Value::Bool(true)) => go(a),
                Some(Value::Bool(false)) => go(b),
                _ => go(c) || go(a) || go(b),
            },
            _ => go(c) || go(a) || go(b),
        },
        K::Call(f, args) => go(f) || args.all.iter().any(|a| go(&a.value)),
        K::List(all) | K::Tuple(all) => all.iter().any(go),
    }
}
