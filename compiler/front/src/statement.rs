//! Minimisations: objectives, algorithms and retentions as small graphs over one instance.

use crate::deep::Learns;
use crate::elaborate::{Elaborator, Env, Part, Slot};
use crate::memory::Made;
use crate::value::{NamedDim, Tensor, Value};
use nestor_grammar::ast::{self, AxisChoice, BiasChoice, Call, Item, ItemKind, Minimize};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{self, Anchor, Statement, Target};
use nestor_ir::tensor::{Op, Value as Node};
use nestor_ir::ty::Type;

/// The choices of a memory for a statement.
struct Choices<'a> {
    biases: &'a [BiasChoice],
    retentions: &'a [AxisChoice],
    algorithms: &'a [AxisChoice],
    anchor: Option<&'a ast::Anchor>,
    every: Option<&'a ast::Clock>,
}

/// When a statement acts, and on what.
struct Acts {
    every: usize,
    window: usize,
    /// For every objective, the captured value that weighs its tokens by age.
    ages: Vec<Option<usize>>,
}

fn choices<'a>(items: &'a [Item]) -> Choices<'a> {
    let mut out = Choices {
        biases: &[],
        retentions: &[],
        algorithms: &[],
        anchor: None,
        every: None,
    };
    for item in items {
        match &item.kind {
            ItemKind::Bias(all) => out.biases = all,
            ItemKind::Retention(all) => out.retentions = all,
            ItemKind::Algorithm(all) => out.algorithms = all,
            ItemKind::Gradient(anchor) => out.anchor = Some(anchor),
            ItemKind::UpdateEvery(clock) => out.every = Some(clock),
            _ => {}
        }
    }
    out
}

fn real(dims: &[NamedDim]) -> Type {
    Type::real(dims.iter().map(|d| d.size))
}

impl<'a> Elaborator<'a> {
    /// `M.write(k, v)`: the statement that the memory's clauses stand for.
    pub(crate) fn write_minimize(
        &mut self,
        instance: usize,
        made: &Made<'a>,
        values: Vec<Tensor>,
        span: Span,
    ) {
        let choices = choices(self.clauses(instance));
        let mut env = self.instances[instance].env.clone();
        if choices.biases.is_empty() || choices.algorithms.is_empty() {
            let name = &self.definition_of(instance).name.text;
            let what = if choices.biases.is_empty() { "bias" } else { "algorithm" };
            let text = format!("`{name}` has no {what}, so it cannot be written");
            self.report(
                Diagnostic::error("N102", span, text)
                    .help(format!("add a `{what}` clause, or an `update`")),
            );
            return;
        }
        let mut window = 1;
        for last in choices.biases.iter().filter_map(|b| b.over_last.as_ref()) {
            let value = self.eval(&mut env, last);
            window = window.max(self.whole(&value, last.span).unwrap_or(1));
        }
        let every = match choices.every {
            None => 1,
            Some(clock) => match self.tokens_of(&mut env, clock) {
                Some(n) => n,
                None => return,
            },
        };
        let same = choices.biases.iter().all(|b| b.over_last.is_some() == (window > 1));
        if window > 1 && (every > 1 || !same) {
            let text = "a window of the past that slides in a statement over a window of tokens, or in some biases only, cannot be compiled yet";
            let help =
                "give all biases the same `over last C tokens`, and act every token";
            self.report(Diagnostic::limitation("L002", span, text).help(help));
            return;
        }
        let axes = choices.algorithms.iter().chain(choices.retentions);
        let calls: Vec<&'a Call> = axes.map(|a| &a.call).collect();
        let mut slow = self.seen_every(&env, every, &calls);
        let on = |this: &mut Self, path: &Option<ast::Path>, made: &Made<'a>| {
            let path = path.as_ref()?;
            let name = path.dotted().unwrap_or_default();
            if !made.weights.iter().any(|(n, _)| *n == name) {
                let list: Vec<&str> =
                    made.weights.iter().map(|(n, _)| n.as_str()).collect();
                let text = format!("`on {name}` names no weight of the memory");
                let help = format!("its weights are {}", list.join(", "));
                this.report(Diagnostic::error("N106", path.span, text).help(help));
            }
            Some(name)
        };
        let group = self.groups.len();
        self.groups.push(values.clone());
        let (mut objectives, mut ages) = (Vec::new(), Vec::new());
        for bias in choices.biases {
            let name = on(self, &bias.on, made);
            let Some((frame, node, by_age)) =
                self.objective(instance, made, &mut env, bias, group, &values, window)
            else {
                return;
            };
            objectives.push((name, (frame, node)));
            ages.push(by_age);
        }
        let anchor = match choices.anchor {
            None | Some(ast::Anchor::Previous(_)) => Anchor::Previous,
            Some(ast::Anchor::Kept(_)) => Anchor::Kept,
            Some(ast::Anchor::Every(clock)) => match self.tokens_of(&mut env, clock) {
                Some(n) => Anchor::Every(n),
                None => return,
            },
        };
        let mut targets = Vec::new();
        for (w, (name, dims)) in made.weights.clone().iter().enumerate() {
            let fits = |on: &Option<String>| on.as_ref().is_none_or(|n| n == name);
            let Some(objective) = objectives.iter().position(|(on, _)| fits(on)) else {
                let text = format!("no bias is chosen for `{name}`");
                self.report(Diagnostic::error("N106", span, text));
                return;
            };
            let pick = |this: &mut Self, all: &'a [AxisChoice]| -> Option<&'a Call> {
                let mut found = None;
                for choice in all {
                    if fits(&on(this, &choice.on, made)) && found.is_none() {
                        found = Some(&choice.call);
                    }
                }
                found
            };
            let Some(call) = pick(self, choices.algorithms) else {
                let text = format!("no algorithm is chosen for `{name}`");
                self.report(Diagnostic::error("N106", span, text));
                return;
            };
            self.learns = Some(self.learning(instance, made, name));
            let algorithm = self.algorithm(&mut slow, call, dims, Some(group), &[]);
            self.learns = None;
            let Some(algorithm) = algorithm else { return };
            let retention = match pick(self, choices.retentions) {
                Some(call) if call.path.dotted().as_deref() != Some("none") => {
                    match self.retention(&mut slow, call, dims, group, &[]) {
                        Some(retention) => Some(retention),
                        None => return,
                    }
                }
                _ => None,
            };
            let _ = w;
            targets.push(Target { objective, algorithm, retention });
        }
        let objectives = objectives.into_iter().map(|(_, o)| o).collect();
        let clock = Acts { every, window, ages };
        self.finish(made, group, objectives, targets, anchor, clock, None);
    }

    /// Closes all graphs of a statement over its captured tensors and adds the write.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one statement, put together once"
    )]
    fn finish(
        &mut self,
        made: &Made<'a>,
        group: usize,
        objectives: Vec<(usize, Node)>,
        targets: Vec<Target>,
        anchor: Anchor,
        acts: Acts,
        clip: Option<f64>,
    ) {
        if self.failed() {
            return;
        }
        let captured = self.groups[group].clone();
        let mut order: Vec<(Slot, Type)> = made
            .weights
            .iter()
            .enumerate()
            .map(|(i, (_, d))| (Slot::Weight(i), real(d)))
            .collect();
        order.extend(self.captured_types(&captured));
        let objectives = objectives
            .into_iter()
            .map(|(frame, node)| self.close(frame, &order, &[("objective".into(), node)]))
            .collect();
        let statement = self.statements.push(Statement::Minimize(level::Minimize {
            memory: made.id,
            every: acts.every,
            anchor,
            window: acts.window,
            objectives,
            ages: acts.ages,
            targets,
            clip,
        }));
        let operands: Vec<Node> = captured.iter().map(|t| t.node).collect();
        self.graph().add_many(Op::Write { statement }, &operands);
    }

    /// A frame with the memory's weights, in which reads of the memory are written out.
    pub(crate) fn anchored_frame(
        &mut self,
        made: &Made<'a>,
        group: usize,
        drop: Vec<Dim>,
    ) -> (usize, Vec<Tensor>) {
        let frame = self.open_frame(group, drop);
        let weights = made.weights.clone().into_iter().enumerate();
        let tensors =
            weights.map(|(i, (n, d))| self.slot(frame, Slot::Weight(i), &n, d)).collect();
        (frame, tensors)
    }

    /// `minimize objective over M using algorithm retaining retention` in a layer's body.
    /// It acts at the last of `every` tokens, where what changes faster is its window.
    pub(crate) fn minimize_inner(
        &mut self,
        env: &mut Env,
        m: &'a Minimize,
        every: usize,
    ) {
        let targets = m.targets.as_deref().unwrap_or(&[]);
        let name = targets.first().and_then(ast::Path::dotted);
        let (Some(name), 1) = (name, targets.len()) else {
            let text = "a statement inside a layer minimises over one memory";
            self.report(Diagnostic::error("N403", m.span, text));
            return;
        };
        let Value::Instance(instance) = self.lookup(env, &name, targets[0].span) else {
            let text = format!("`{name}` is no memory");
            self.report(Diagnostic::error("N403", targets[0].span, text));
            return;
        };
        let map: Vec<NamedDim> = self.lead_of_reads(env, &m.objective, instance);
        self.instances[instance].tried = true;
        let Some(made) = self.made(instance, &map, m.span) else { return };
        let drop: Vec<Dim> = self.memories[made.id].map.to_vec();
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let (frame, weights) = self.anchored_frame(&made, group, drop.clone());
        let before = std::mem::replace(&mut self.frame, frame);
        self.anchored.push((instance, weights.clone()));
        let value = self.eval(env, &m.objective);
        self.anchored.pop();
        let t = self.real(&value, m.objective.span);
        self.frame = before;
        let Some(t) = t else { return };
        if !self.one_number(&t, m.objective.span, "sum it over its dimensions: `sum(x)`")
        {
            return;
        }
        let names = self.weight_names(instance, &made.weights, &weights);
        if !self.differentiable(frame, t.node, &names, m.objective.span) {
            return;
        }
        let anchor = match &m.gradient {
            None | Some(ast::Anchor::Previous(_)) => Anchor::Previous,
            Some(ast::Anchor::Kept(_)) => Anchor::Kept,
            Some(ast::Anchor::Every(clock)) => match self.tokens_of(env, clock) {
                Some(n) => Anchor::Every(n),
                None => return,
            },
        };
        let calls: Vec<&'a Call> =
            std::iter::once(&m.using).chain(&m.retaining).collect();
        let mut slow = self.seen_every(env, every, &calls);
        let mut built = Vec::new();
        for (name, dims) in made.weights.clone() {
            self.learns = Some(self.learning(instance, &made, &name));
            let algorithm =
                self.algorithm(&mut slow, &m.using, &dims, Some(group), &drop);
            self.learns = None;
            let Some(algorithm) = algorithm else { return };
            let retention = match &m.retaining {
                Some(call) => {
                    match self.retention(&mut slow, call, &dims, group, &drop) {
                        Some(retention) => Some(retention),
                        None => return,
                    }
                }
                None => None,
            };
            built.push(Target { objective: 0, algorithm, retention });
        }
        let clip = self.clip(env, m);
        if let Some(memory) = &mut self.instances[instance].memory {
            memory.written = true;
        }
        let acts = Acts { every, window: 1, ages: vec![None] };
        self.finish(&made, group, vec![(frame, t.node)], built, anchor, acts, clip);
    }

    /// The weight whose algorithm is built next.
    fn learning(&self, instance: usize, made: &Made<'a>, name: &str) -> Learns {
        let mut path = self.instances[instance].path.clone();
        path.push(Part { name: name.to_owned(), rounds: vec![], definition: None });
        Learns { memory: made.id, path }
    }

    /// The bound of `clip`.
    pub(crate) fn clip(&mut self, env: &mut Env, m: &'a Minimize) -> Option<f64> {
        let clip = m.clip.as_ref()?;
        match self.eval(env, clip) {
            Value::Number(n) => Some(n.value),
            other => {
                let text = format!("`clip` takes a number, not {}", other.describe());
                self.report(Diagnostic::error("N102", clip.span, text));
                None
            }
        }
    }

    /// Leading dimensions of what a memory is read with somewhere in an expression.
    fn lead_of_reads(
        &mut self,
        env: &mut Env,
        e: &'a ast::Expr,
        instance: usize,
    ) -> Vec<NamedDim> {
        use ast::ExprKind as K;
        let mut out = Vec::new();
        let mut open = vec![e];
        while let Some(e) = open.pop() {
            match &e.kind {
                K::Call(f, args) => {
                    let of = match &f.kind {
                        K::Field(x, word) if word.text == "read" => {
                            crate::eval::dotted(x)
                        }
                        _ => None,
                    };
                    let is = of.and_then(|n| env.names.get(&n).cloned());
                    if let (Some(Value::Instance(i)), Some(arg)) = (is, args.all.first())
                        && i == instance
                        && let Value::Tensor(t) = self.eval(env, &arg.value)
                    {
                        out = t.dims[..t.dims.len().saturating_sub(1)].to_vec();
                    }
                    open.extend(args.all.iter().map(|a| &a.value));
                }
                K::Unary(_, a) | K::Group(a) => open.push(a),
                K::Binary(_, a, b) | K::Pipe(a, b) => open.extend([&**a, &**b]),
                _ => {}
            }
        }
        out
    }
}

/// A weight as algorithms see it: of rank above two it is the matrix [first, the rest].
pub(crate) fn matrix_of(dims: &[NamedDim]) -> Vec<NamedDim> {
    if dims.len() <= 2 {
        return dims.to_vec();
    }
    let rest: usize = dims[1..].iter().filter_map(|d| d.size.fixed()).product();
    vec![dims[0].clone(), NamedDim::plain(Dim::Fixed(rest))]
}
