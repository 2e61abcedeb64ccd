//! Calls: arguments to parameters, and what happens when each kind of thing is called.

use crate::elaborate::{Elaborator, Env};
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{Arguments, Clock, ItemKind, Kind, Param, Params, Shape};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;

/// Names that are roles wherever they come right after a definition's first parameter.
pub(crate) const ROLES: &[&str] =
    &["W", "U", "W_prev", "W_init", "Z", "anchor", "k", "v"];

/// Evaluated arguments.
pub(crate) struct Given {
    /// With the name, where one was written.
    pub(crate) all: Vec<(Option<String>, Value)>,
    /// How many stand before `;`.
    pub(crate) semicolon: Option<usize>,
    /// Where.
    pub(crate) span: Span,
}

impl<'a> Elaborator<'a> {
    /// Evaluates arguments in the caller's scope.
    pub(crate) fn given(&mut self, env: &mut Env, arguments: &'a Arguments) -> Given {
        let all = arguments.all.iter().map(|a| {
            let value = self.eval(env, &a.value);
            (a.name.as_ref().map(|n| n.text.clone()), value)
        });
        Given { all: all.collect(), semicolon: arguments.semicolon, span: arguments.span }
    }

    /// How many leading parameters the compiler supplies.
    pub(crate) fn roles(&self, kind: Kind, params: &Params) -> usize {
        let listed = |from: usize| {
            params.all[from..]
                .iter()
                .take_while(|p| ROLES.contains(&p.name.text.as_str()))
                .count()
        };
        match kind {
            Kind::Bias => {
                let target = params.all.get(1).is_some_and(|p| {
                    p.default.is_none() && params.semicolon.is_none_or(|s| s > 1)
                });
                if target { 2 } else { 1 }
            }
            Kind::Retention | Kind::Algorithm => (1 + listed(1)).min(params.all.len()),
            Kind::Function
            | Kind::Structure
            | Kind::Memory
            | Kind::Layer
            | Kind::Model => 0,
        }
    }

    /// Binds arguments to the parameters after the roles; defaults fill the rest. Whether every
    /// argument has a parameter.
    pub(crate) fn bind(
        &mut self,
        env: &mut Env,
        params: &'a Params,
        skip: usize,
        given: Given,
    ) -> bool {
        let flows_from = params.semicolon.unwrap_or(params.all.len());
        let own = &params.all[skip..];
        let named: Vec<&str> =
            given.all.iter().filter_map(|(n, _)| n.as_deref()).collect();
        let free: Vec<(usize, &'a Param)> = own
            .iter()
            .enumerate()
            .filter(|(_, p)| !named.contains(&p.name.text.as_str()))
            .map(|(i, p)| (i + skip, p))
            .collect();
        let has_flows = params.semicolon.is_some();
        let mut before: Vec<&'a Param> =
            free.iter().filter(|(i, _)| *i < flows_from).map(|(_, p)| *p).collect();
        let after: Vec<&'a Param> =
            free.iter().filter(|(i, _)| *i >= flows_from).map(|(_, p)| *p).collect();
        let mut bound: Vec<(&'a Param, Value)> = Vec::new();
        if given.semicolon.is_none() && has_flows {
            before = free
                .iter()
                .filter(|(_, p)| p.default.is_none())
                .map(|(_, p)| *p)
                .collect();
        }
        let (mut first, mut second) = (before.into_iter(), after.into_iter());
        let mut wrong = None;
        for (n, (name, value)) in given.all.into_iter().enumerate() {
            let param = match &name {
                Some(name) => own.iter().find(|p| p.name.text == *name),
                None if given.semicolon.is_some_and(|s| n >= s) => second.next(),
                None => first.next(),
            };
            match param {
                Some(param) => bound.push((param, value)),
                None => wrong = Some(name),
            }
        }
        let good = wrong.is_none();
        if let Some(name) = wrong {
            let list: Vec<&str> = own.iter().map(|p| p.name.text.as_str()).collect();
            let word = name.clone();
            let text = match name {
                Some(name) => format!("there is no parameter `{name}`"),
                None => "more arguments than parameters".to_owned(),
            };
            let near = word
                .as_deref()
                .and_then(|n| crate::definitions::nearest(n, list.iter().copied()));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the parameters are ({})", list.join(", ")),
            };
            self.report(Diagnostic::error("N102", given.span, text).help(help));
        }
        for param in own {
            let given_value = bound
                .iter()
                .find(|(p, _)| std::ptr::eq(*p, param))
                .map(|(_, v)| v.clone());
            let value = match (given_value, &param.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.eval(env, default)),
                (None, None) => None,
            };
            let Some(value) = value else { continue };
            let at =
                own.iter().position(|p| std::ptr::eq(p, param)).map_or(0, |i| i + skip);
            let flows = env.scalar_flows && at >= flows_from;
            let value = self.shaped(env, param, value, flows, given.span);
            env.names.insert(param.name.text.clone(), value);
        }
        good
    }

    /// Declares all parameters of a definition.
    pub(crate) fn declare_parameters(&mut self, env: &mut Env, params: &'a Params) {
        for param in &params.all {
            let what = crate::trail::Declared::Parameter;
            self.declares(env, &param.name.text, what, param.name.span);
        }
    }

    /// Reports parameters without a value.
    pub(crate) fn complete(
        &mut self,
        env: &Env,
        params: &'a Params,
        skip: usize,
        only_fixed: bool,
        span: Span,
    ) -> bool {
        let upto = if only_fixed {
            params.semicolon.unwrap_or(params.all.len())
        } else {
            params.all.len()
        };
        let missing: Vec<&str> = params.all[skip.min(upto)..upto]
            .iter()
            .filter(|p| !env.names.contains_key(&p.name.text))
            .map(|p| p.name.text.as_str())
            .collect();
        if missing.is_empty() {
            return true;
        }
        let text = format!("no value for `{}`", missing.join("`, `"));
        let first = missing[0];
        let help = format!(
            "give it in the call or a default in the definition; on the command line, `--set {first}=...`"
        );
        self.report(Diagnostic::error("N102", span, text).help(help));
        false
    }

    /// A tensor argument under the names its parameter declares; what leads is a memory's.
    fn shaped(
        &mut self,
        env: &mut Env,
        param: &'a Param,
        value: Value,
        flows: bool,
        span: Span,
    ) -> Value {
        let Value::Tensor(t) = value else { return value };
        let declared: Option<Vec<NamedDim>> = match &param.shape {
            Some(shape) => self.dims(env, shape),
            None => flows.then(Vec::new),
        };
        let Some(declared) = declared else { return Value::Tensor(t) };
        match self.renamed(&t, &declared) {
            Some(t) if self.no_window(&t, t.strip, span).is_none() => Value::Poison,
            Some(t) => Value::Tensor(t),
            None => {
                let text = format!(
                    "`{}` is {} but {} is given",
                    param.name.text,
                    shape_text(&declared),
                    shape_text(&t.dims)
                );
                let diagnostic = Diagnostic::error("N201", span, text);
                self.report(diagnostic.label(param.name.span, "declared here"))
            }
        }
    }

    /// The tensor with its last dimensions called as declared; the ones before are stripped where
    /// one instance sees it. Nothing where numbers differ.
    pub(crate) fn renamed(&self, t: &Tensor, declared: &[NamedDim]) -> Option<Tensor> {
        let lead = t.dims.len().checked_sub(declared.len())?;
        if t.dims[lead..].iter().zip(declared).any(|(a, b)| a.size != b.size) {
            return None;
        }
        let dims = t.dims[..lead].iter().chain(declared).cloned().collect();
        Some(Tensor { dims, strip: lead, ..t.clone() })
    }

    /// The dimensions of a written shape.
    pub(crate) fn dims(
        &mut self,
        env: &mut Env,
        shape: &'a Shape,
    ) -> Option<Vec<NamedDim>> {
        let Shape::Dims(all, span) = shape else { return Some(Vec::new()) };
        let mut out = Vec::new();
        for dim in all {
            let Some(expr) = dim else {
                out.push(NamedDim::plain(Dim::Fixed(0)));
                continue;
            };
            let value = self.eval(env, expr);
            self.dim_of(&value, expr.span, &mut out)?;
        }
        let _ = span;
        Some(out)
    }

    /// One value of a shape: a number, or a list that is spliced in.
    pub(crate) fn dim_of(
        &mut self,
        value: &Value,
        span: Span,
        out: &mut Vec<NamedDim>,
    ) -> Option<()> {
        match value {
            Value::Number(n) if n.value >= 0.0 && n.value.fract() == 0.0 => {
                out.push(NamedDim {
                    name: n.name.clone(),
                    size: Dim::Fixed(n.value as usize),
                });
                Some(())
            }
            Value::Number(n) => {
                let help = "a dimension is whole: choose sizes that divide";
                let diagnostic = match self.division(n.value) {
                    Some((place, words)) => {
                        let text = format!("{words} does not come out even");
                        Diagnostic::error("N203", place, text)
                            .says("a dimension that is not whole")
                            .label(span, "used as a dimension here")
                    }
                    None => {
                        let text = format!("a dimension of {} is not whole", n.value);
                        Diagnostic::error("N203", span, text)
                    }
                };
                self.report(diagnostic.help(help));
                None
            }
            Value::List(all) => all.iter().try_for_each(|v| self.dim_of(v, span, out)),
            Value::All => {
                let every = if self.frame == 0 { self.ticks() } else { 1 };
                out.push(NamedDim::plain(Dim::time(every)));
                Some(())
            }
            Value::Poison => None,
            other => {
                let text = format!(
                    "a dimension must be a number known while compiling, not {}",
                    other.describe()
                );
                self.report(Diagnostic::error("N201", span, text));
                None
            }
        }
    }

    /// `every n tokens` as a number.
    pub(crate) fn tokens_of(&mut self, env: &mut Env, clock: &'a Clock) -> Option<usize> {
        match clock {
            Clock::Tokens(n, span) => {
                let value = self.eval(env, n);
                self.whole(&value, *span).filter(|n| *n > 0)
            }
            Clock::Sequence(span) | Clock::Steps(_, span) => {
                let text = "a clock of tokens is needed here";
                self.report(
                    Diagnostic::error("N301", *span, text).help("write `every N tokens`"),
                );
                None
            }
        }
    }

    /// `f(arguments)`.
    pub(crate) fn call(
        &mut self,
        env: &mut Env,
        f: Value,
        arguments: &'a Arguments,
        span: Span,
    ) -> Value {
        match f {
            Value::Definition(d) => {
                let definition = self.table.entries[d].definition;
                let direct = env.direct == Some(span);
                let given = self.given(env, arguments);
                match definition.kind {
                    Kind::Function => self.function(d, given, span),
                    Kind::Layer | Kind::Model | Kind::Memory | Kind::Structure => {
                        let mut scope = self.scope_of(d);
                        if !self.bind(&mut scope, &definition.params, 0, given) {
                            return Value::Poison;
                        }
                        let flows =
                            matches!(definition.kind, Kind::Memory | Kind::Structure);
                        if !self.complete(&scope, &definition.params, 0, flows, span) {
                            return Value::Poison;
                        }
                        Value::Instance(self.instance(d, scope, env, direct, span))
                    }
                    Kind::Bias => self.bias_value(d, given, span),
                    Kind::Retention | Kind::Algorithm => {
                        let text = format!(
                            "`{}` is a {} and is not called here",
                            definition.name.text,
                            definition.kind.word()
                        );
                        self.report(Diagnostic::error("N102", span, text))
                    }
                }
            }
            Value::Builtin(name) => {
                let given = self.given(env, arguments);
                crate::builtin::call(self, name, given, span)
            }
            Value::Method(instance, word) if word == "read" => {
                let given = self.given(env, arguments);
                let values = given.all.into_iter().map(|(_, v)| v).collect();
                self.read_memory(instance, values, None, span)
            }
            Value::Instance(_) => {
                let given = self.given(env, arguments);
                let values = given.all.into_iter().map(|(_, v)| v).collect();
                self.apply(env, f, values, span)
            }
            Value::Poison => Value::Poison,
            other => {
                let text = format!("{} cannot be called", other.describe());
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    /// `f` applied to values that are already there.
    pub(crate) fn apply(
        &mut self,
        env: &mut Env,
        f: Value,
        values: Vec<Value>,
        span: Span,
    ) -> Value {
        let given = Given {
            all: values.into_iter().map(|v| (None, v)).collect(),
            semicolon: None,
            span,
        };
        match f {
            Value::Instance(i) => {
                let values = given.all.into_iter().map(|(_, v)| v).collect();
                self.apply_layer(i, values, span)
            }
            Value::Builtin(name) => crate::builtin::call(self, name, given, span),
            Value::Definition(d) => match self.table.entries[d].definition.kind {
                Kind::Function => self.function(d, given, span),
                Kind::Layer
                    if self.table.entries[d]
                        .definition
                        .params
                        .all
                        .iter()
                        .all(|p| p.default.is_some()) =>
                {
                    let scope = self.scope_of(d);
                    let mut scope = scope;
                    let none = Given { all: vec![], semicolon: None, span };
                    self.bind(
                        &mut scope,
                        &self.table.entries[d].definition.params,
                        0,
                        none,
                    );
                    let instance = self.instance(d, scope, env, false, span);
                    let values = given.all.into_iter().map(|(_, v)| v).collect();
                    self.apply_layer(instance, values, span)
                }
                _ => {
                    let name = &self.table.entries[d].definition.name.text;
                    let text =
                        format!("`{name}` needs its parameters before it is applied");
                    self.report(
                        Diagnostic::error("N102", span, text)
                            .help(format!("write `{name}(...)`")),
                    )
                }
            },
            Value::Method(i, word) if word == "read" => {
                let values = given.all.into_iter().map(|(_, v)| v).collect();
                self.read_memory(i, values, None, span)
            }
            Value::Poison => Value::Poison,
            other => {
                let text = format!("{} cannot be applied", other.describe());
                self.report(Diagnostic::error("N102", span, text))
            }
        }
    }

    /// An empty scope of a definition's file, its parameters declared.
    pub(crate) fn scope_of(&mut self, definition: usize) -> Env {
        let entry = &self.table.entries[definition];
        let scalar_flows =
            matches!(entry.definition.kind, Kind::Memory | Kind::Structure);
        let params = &entry.definition.params;
        let mut env = Env { file: entry.file, scalar_flows, ..Env::default() };
        self.declare_parameters(&mut env, params);
        env
    }

    /// A call of a function, inlined.
    pub(crate) fn function(&mut self, d: usize, given: Given, span: Span) -> Value {
        let definition = self.table.entries[d].definition;
        if self.open.contains(&d) {
            let from = self.open.iter().position(|o| *o == d).unwrap_or(0);
            let name = |d: usize| &self.table.entries[d].definition.name.text;
            let circle: Vec<String> = self.open[from..]
                .iter()
                .chain([&d])
                .map(|&d| format!("`{}`", name(d)))
                .collect();
            let text = format!(
                "`{}` calls itself: {}",
                definition.name.text,
                circle.join(" calls ")
            );
            let diagnostic = Diagnostic::error("N105", span, text)
                .label(definition.name.span, "defined here")
                .help("repeat a number of times instead: `repeat n { x = f(x) }`");
            return self.report(diagnostic);
        }
        let mut scope = self.scope_of(d);
        let bound = self.bind(&mut scope, &definition.params, 0, given);
        if !bound || !self.complete(&scope, &definition.params, 0, false, span) {
            return Value::Poison;
        }
        self.open.push(d);
        self.within(span, |this| this.body(&mut scope, &definition.body));
        self.open.pop();
        let out = scope.outputs.pop().map(|(_, v, _)| v);
        out.unwrap_or(Value::Poison)
    }

    /// A bias called as a function: `l2(M.read(k), v)`.
    fn bias_value(&mut self, d: usize, given: Given, span: Span) -> Value {
        let definition = self.table.entries[d].definition;
        let mut scope = self.scope_of(d);
        let bound = self.bind(&mut scope, &definition.params, 0, given);
        if !bound || !self.complete(&scope, &definition.params, 0, false, span) {
            return Value::Poison;
        }
        match definition.body.first().map(|i| &i.kind) {
            Some(ItemKind::Output(_, value)) => {
                self.within(span, |this| this.eval(&mut scope, value))
            }
            _ => Value::Poison,
        }
    }
}
