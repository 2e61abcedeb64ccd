//! Bodies: bindings, repeats, inputs, weights and outputs of layers, models and functions.

use crate::call::Given;
use crate::elaborate::{Elaborator, Env, KnownWeight, Part, path_text, rebound};
use crate::emit;
use crate::value::{Distribution, NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{Binding, Decl, Expr, Item, ItemKind, Kind, Name, Shape};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Clock, Initial, Input, Weight, WeightId};
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
            ItemKind::Minimize(minimize) => self.minimize_inner(env, minimize),
            ItemKind::Level(level) => self.level(env, level),
            // Weights and inputs are bound where the body is entered.
            ItemKind::Weights(_) | ItemKind::Input(..) => {}
            ItemKind::ClockBlock(..) => {
                let text = "a block at a clock of its own cannot be compiled yet";
                let help = "write the model at the clock of its tokens";
                self.report(Diagnostic::limitation("L001", item.span, text).help(help));
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

    fn starts_from(
        &mut self,
        env: &mut Env,
        value: &Value,
        from: &'a nestor_grammar::ast::Path,
    ) {
        let source = from.dotted().map(|n| self.lookup(env, &n, from.span));
        match (value, source) {
            (Value::Instance(new), Some(Value::Instance(old))) => {
                if self.instances[*new].definition != self.instances[old].definition {
                    let text = "`from` names an instance of another definition";
                    self.report(Diagnostic::error("N404", from.span, text));
                } else {
                    self.instances[*new].from = Some(old);
                }
            }
            (_, Some(Value::Poison)) | (Value::Poison, _) => {}
            _ => {
                let text = "`from` names a layer";
                self.report(Diagnostic::error("N404", from.span, text));
            }
        }
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
        let mut bound = Vec::new();
        for ((input, shape), value) in inputs.iter().zip(&values) {
            let Some(t) = self.tensor(value, span) else { return Value::Poison };
            let Some(dims) = self.dims(&mut env, shape) else { return Value::Poison };
            let Some(t) = self.renamed(&t, &dims) else {
                let text = format!(
                    "`{}` of `{name}` is {} but {} is given",
                    input.text,
                    shape_text(&dims),
                    shape_text(&t.dims)
                );
                let diagnostic = Diagnostic::error("N201", span, text);
                return self.report(diagnostic.label(input.span, "declared here"));
            };
            if t.strip > extra.len() {
                extra = t.dims[..t.strip].to_vec();
            }
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
        self.inside(instance, |this| {
            this.declare(instance, &mut env, &definition.body);
            this.open.push(index);
            this.body(&mut env, &definition.body);
            this.open.pop();
        });
        self.lead = outer_lead;
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

    /// Binds the declared weights of a body; each is made when it is first used.
    pub(crate) fn declare(&mut self, instance: usize, env: &mut Env, body: &'a [Item]) {
        for item in body {
            let ItemKind::Weights(decls) = &item.kind else { continue };
            for decl in decls {
                let Some(name) = decl.path.dotted() else { continue };
                if env.names.contains_key(&name) {
                    let text = format!("`{name}` is already an input or parameter");
                    self.report(Diagnostic::error("N104", decl.path.span, text));
                    continue;
                }
                let value = match self.instances[instance].members.get(&name) {
                    Some(value) => value.clone(),
                    None => {
                        let used = mentions(body, &name, env);
                        if !used {
                            continue;
                        }
                        let value = self.layer_weight(instance, env, decl, &name);
                        self.instances[instance]
                            .members
                            .insert(name.clone(), value.clone());
                        value
                    }
                };
                env.names.insert(name, value);
            }
        }
    }

    fn layer_weight(
        &mut self,
        instance: usize,
        env: &mut Env,
        decl: &'a Decl,
        name: &str,
    ) -> Value {
        let dims = match &decl.shape {
            Some(shape) => match self.dims(env, shape) {
                Some(dims) => dims,
                None => return Value::Poison,
            },
            None => Vec::new(),
        };
        if dims.iter().any(|d| d.size == Dim::Fixed(0)) {
            // `p = 0` learned pairs: an empty weight is none at all.
            return Value::None;
        }
        let mut path = self.instances[instance].path.clone();
        path.push(Part { name: name.to_owned(), rounds: vec![], definition: None });
        let Some(id) = self.weight(env, decl, path, &dims, &[], None) else {
            return Value::Poison;
        };
        let mut t = self.known[nestor_ir::entity::Entity::index(id)].tensor.clone();
        if let Some(t) = &mut t {
            t.dims = dims;
        }
        t.map_or(Value::Poison, Value::Tensor)
    }

    /// A new weight of the program; `map` are a memory's leading dimensions.
    pub(crate) fn weight(
        &mut self,
        env: &mut Env,
        decl: &'a Decl,
        path: Vec<Part>,
        dims: &[NamedDim],
        map: &[Dim],
        memory: Option<nestor_ir::level::MemoryId>,
    ) -> Option<WeightId> {
        let initial = self.initial(env, decl, dims, map)?;
        let all: nestor_ir::ty::Dims =
            map.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
        let text = path_text(&path);
        let weight = Weight {
            path: text.clone(),
            short: text,
            dims: all.clone(),
            initial,
            fixed: decl.fixed,
            memory,
        };
        let id = self.weights.push(weight);
        let tensor = if memory.is_none() {
            let name = path_text(&path);
            let node = self.frames[0].graph.input(name, Type::real(all));
            let dims = dims.to_vec();
            let elem = Elem::Real;
            Some(Tensor {
                frame: 0,
                node,
                elem,
                lead: vec![],
                dims,
                strip: 0,
                window: None,
            })
        } else {
            let name = path_text(&path);
            self.frames[0].graph.input(name, Type::real(all));
            None
        };
        self.known.push(KnownWeight { path, span: decl.path.span, tensor });
        Some(id)
    }

    fn initial(
        &mut self,
        env: &mut Env,
        decl: &'a Decl,
        dims: &[NamedDim],
        map: &[Dim],
    ) -> Option<Initial> {
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let frame = self.open_frame(group, vec![]);
        let before = std::mem::replace(&mut self.frame, frame);
        let value = self.eval(env, &decl.initial);
        let made = match value {
            Value::Distribution(Distribution::Normal(s)) => Some(Initial::Normal(s)),
            Value::Distribution(Distribution::Uniform(a)) => Some(Initial::Uniform(a)),
            Value::Distribution(Distribution::Orthogonal(g)) => {
                Some(Initial::Orthogonal(g))
            }
            value => self.initial_values(&value, decl, dims, map),
        };
        self.frame = before;
        made
    }

    fn initial_values(
        &mut self,
        value: &Value,
        decl: &'a Decl,
        dims: &[NamedDim],
        map: &[Dim],
    ) -> Option<Initial> {
        let span = decl.initial.span;
        let t = self.real(value, span)?;
        let target = Tensor {
            dims: dims.to_vec(),
            ..emit::constant(self.graph(), t.frame, 0.0, Elem::Real)
        };
        let own: Vec<usize> = (0..0).collect();
        let zero = Tensor { dims: vec![], ..target.clone() };
        let zeros = emit::broadcast(self.graph(), &zero, &[], dims, &own);
        let fitted = emit::fit(self.graph(), &t, &zeros);
        let (t, _) = match fitted {
            Ok(pair) => pair,
            Err(misfit) => {
                self.fitted(Err(misfit), span);
                return None;
            }
        };
        if !self.groups[self.frames[self.frame].group].is_empty() {
            let text = "an initial value is known before any token";
            self.report(
                Diagnostic::error("N102", span, text)
                    .help("use numbers and parameters before `;`"),
            );
            return None;
        }
        let mut node = t.node;
        if !map.is_empty() {
            let to = map.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
            let axes = (map.len()..map.len() + dims.len()).collect();
            node = self.graph().add(Op::Broadcast { dims: to, axes }, &[node]);
        }
        let graph = self.close(self.frame, &[], &[("value".into(), node)]);
        Some(Initial::Values(Box::new(graph)))
    }

    /// A weight or inner instance of a layer, by name: `E.W`.
    pub(crate) fn member(&mut self, instance: usize, word: &str, span: Span) -> Value {
        if let Some(value) = self.instances[instance].members.get(word) {
            return value.clone();
        }
        let definition = self.definition_of(instance);
        let decl = definition.body.iter().find_map(|i| match &i.kind {
            ItemKind::Weights(decls) => {
                decls.iter().find(|d| d.path.dotted().as_deref() == Some(word))
            }
            _ => None,
        });
        let Some(decl) = decl else {
            let text = format!("`{}` has no weight `{word}`", definition.name.text);
            return self.report(Diagnostic::error("N101", span, text));
        };
        let mut env = self.instances[instance].env.clone();
        let value = self.layer_weight(instance, &mut env, decl, word);
        self.instances[instance].members.insert(word.to_owned(), value.clone());
        value
    }

    /// Streams of the entry.
    pub(crate) fn streams(&mut self, env: &mut Env, body: &'a [Item]) {
        for item in body {
            let ItemKind::Input(names, shape, clock) = &item.kind else { continue };
            let clock = match clock {
                None => Clock::Tokens(1),
                Some(clock) => {
                    let span = item.span;
                    let text = "an input at a clock of its own cannot be compiled yet";
                    self.report(Diagnostic::limitation("L001", span, text));
                    let _ = clock;
                    Clock::Sequence
                }
            };
            for name in names {
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
                env.names.insert(name.text.clone(), Value::Tensor(t));
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
fn mentions(body: &[Item], name: &str, env: &Env) -> bool {
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

fn in_expr(e: &Expr, name: &str, env: &Env) -> bool {
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
