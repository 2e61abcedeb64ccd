//! Minimisations: objectives, algorithms and retentions as small graphs over one instance.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::memory::Made;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{
    self, AxisChoice, BiasChoice, Call, Item, ItemKind, Kind, Minimize,
};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{
    self, Algorithm, AlgorithmInput, Anchor, Retention, RetentionForm, RetentionInput,
    State, StateInitial, Statement, Target,
};
use nestor_ir::tensor::{Graph, Op, Value as Node};
use nestor_ir::ty::Type;

/// The choices of a memory for a statement.
struct Choices<'a> {
    biases: &'a [BiasChoice],
    retentions: &'a [AxisChoice],
    algorithms: &'a [AxisChoice],
    anchor: Option<&'a ast::Anchor>,
    every: Option<&'a ast::Clock>,
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
        let mut objectives = Vec::new();
        let mut windows = vec![1];
        for bias in choices.biases {
            let name = on(self, &bias.on, made);
            let Some(objective) =
                self.objective(instance, made, &mut env, bias, group, &values, span)
            else {
                return;
            };
            objectives.push((name, objective));
            if let Some(last) = &bias.over_last {
                let value = self.eval(&mut env, last);
                windows.extend(self.whole(&value, last.span));
            }
        }
        let anchor = match choices.anchor {
            None | Some(ast::Anchor::Previous(_)) => Anchor::Previous,
            Some(ast::Anchor::Kept(_)) => Anchor::Kept,
            Some(ast::Anchor::Every(clock)) => match self.tokens_of(&mut env, clock) {
                Some(n) => Anchor::Every(n),
                None => return,
            },
        };
        let every = match choices.every {
            None => 1,
            Some(clock) => match self.tokens_of(&mut env, clock) {
                Some(n) => n,
                None => return,
            },
        };
        let window = windows.into_iter().max().unwrap_or(1);
        if window > 1 || every > 1 {
            let text = "a statement over a window of tokens cannot be compiled yet";
            let help = "act every token on the present one, with `gradient at every N tokens` for a frozen gradient";
            self.report(Diagnostic::limitation("L002", span, text).help(help));
            return;
        }
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
            let Some(algorithm) = self.algorithm(&mut env, call, dims, Some(group), &[])
            else {
                return;
            };
            let retention = match pick(self, choices.retentions) {
                Some(call) if call.path.dotted().as_deref() != Some("none") => {
                    match self.retention(&mut env, call, dims, group, &[]) {
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
        self.finish(made, group, objectives, targets, anchor, every, window, None);
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
        every: usize,
        window: usize,
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
            every,
            anchor,
            window,
            objectives,
            targets,
            clip,
        }));
        let operands: Vec<Node> = captured.iter().map(|t| t.node).collect();
        self.graph().add_many(Op::Write { statement }, &operands);
    }

    /// A frame with the memory's weights, in which reads of the memory are written out.
    fn anchored_frame(
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

    #[expect(clippy::too_many_arguments, reason = "what an objective is made of")]
    fn objective(
        &mut self,
        instance: usize,
        made: &Made<'a>,
        env: &mut Env,
        bias: &'a BiasChoice,
        group: usize,
        values: &[Tensor],
        span: Span,
    ) -> Option<(usize, Node)> {
        let (frame, weights) = self.anchored_frame(made, group, vec![]);
        let before = std::mem::replace(&mut self.frame, frame);
        let (d, mut scope) = match self.axis(env, &bias.call, Kind::Bias) {
            Some(pair) => pair,
            None => {
                self.frame = before;
                return None;
            }
        };
        let definition = self.table.entries[d].definition;
        let roles = self.roles(Kind::Bias, &definition.params);
        let key = Value::Tensor(values[0].clone());
        let prediction = self.written_out(instance, &weights, vec![key], span);
        scope
            .names
            .insert(definition.params.all[0].name.text.clone(), prediction.clone());
        if roles == 2 {
            let Some(target) = values.get(1) else {
                let text = format!(
                    "`{}` has a target: write `M.write(k, v)`",
                    definition.name.text
                );
                self.report(Diagnostic::error("N102", span, text));
                self.frame = before;
                return None;
            };
            let mut local = self.local(target);
            // The target speaks the prediction's names.
            if let Value::Tensor(p) = &prediction {
                if p.dims.len() != local.dims.len()
                    || p.dims.iter().zip(&local.dims).any(|(a, b)| a.size != b.size)
                {
                    let text = format!(
                        "the memory answers {} but its target is {}",
                        shape_text(&p.dims),
                        shape_text(&local.dims)
                    );
                    self.report(Diagnostic::error("N201", span, text));
                    self.frame = before;
                    return None;
                }
                local.dims.clone_from(&p.dims);
            }
            scope
                .names
                .insert(definition.params.all[1].name.text.clone(), Value::Tensor(local));
        }
        let mut value = match definition.body.first().map(|i| &i.kind) {
            Some(ItemKind::Output(_, expr)) => self.eval(&mut scope, expr),
            _ => Value::Poison,
        };
        if let Some(weighted) = &bias.weighted {
            let factor = self.eval(env, weighted);
            value = self.binary(ast::BinaryOp::Mul, factor, value, weighted.span);
        }
        let t = self.real(&value, span);
        self.frame = before;
        let t = t?;
        if !t.dims.is_empty() {
            let text =
                format!("the objective is {}, not one number", shape_text(&t.dims));
            let help = "sum it: `bias mine(y, v) = sum(...)`";
            self.report(Diagnostic::error("N505", bias.call.span, text).help(help));
            return None;
        }
        let reaches = depends(&self.frames[frame].graph, t.node, &weights);
        if !reaches {
            let text =
                format!("`{}` does not depend on its prediction", definition.name.text);
            let diagnostic = Diagnostic::error("N502", bias.call.span, text);
            self.report(
                diagnostic
                    .label(definition.name.span, "defined here")
                    .help("nothing would be learned"),
            );
            return None;
        }
        Some((frame, t.node))
    }

    /// `minimize objective over M using algorithm retaining retention` in a layer's body.
    pub(crate) fn minimize_inner(&mut self, env: &mut Env, m: &'a Minimize) {
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
        if !t.dims.is_empty() {
            let text =
                format!("the objective is {}, not one number", shape_text(&t.dims));
            self.report(Diagnostic::error("N505", m.objective.span, text).help("sum it"));
            return;
        }
        if !depends(&self.frames[frame].graph, t.node, &weights) {
            let text = format!("the objective does not read `{name}`");
            self.report(Diagnostic::error("N503", m.objective.span, text));
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
        let mut built = Vec::new();
        for (_, dims) in made.weights.clone() {
            let Some(algorithm) =
                self.algorithm(env, &m.using, &dims, Some(group), &drop)
            else {
                return;
            };
            let retention = match &m.retaining {
                Some(call) => match self.retention(env, call, &dims, group, &drop) {
                    Some(retention) => Some(retention),
                    None => return,
                },
                None => None,
            };
            built.push(Target { objective: 0, algorithm, retention });
        }
        let clip = self.clip(env, m);
        if let Some(memory) = &mut self.instances[instance].memory {
            memory.written = true;
        }
        self.finish(&made, group, vec![(frame, t.node)], built, anchor, 1, 1, clip);
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

    /// An algorithm for one weight. Without a group it is an outer level's: nothing is captured.
    pub(crate) fn algorithm(
        &mut self,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
        group: Option<usize>,
        drop: &[Dim],
    ) -> Option<Algorithm> {
        let group = group.unwrap_or_else(|| {
            self.groups.push(Vec::new());
            self.groups.len() - 1
        });
        let frame = self.open_frame(group, drop.to_vec());
        let before = std::mem::replace(&mut self.frame, frame);
        let made = self.algorithm_in(frame, env, call, dims);
        self.frame = before;
        made
    }

    fn algorithm_in(
        &mut self,
        frame: usize,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
    ) -> Option<Algorithm> {
        let count = self.slot(frame, Slot::Count, "n", vec![]);
        let total = self.slot(frame, Slot::Total, "total", vec![]);
        let mut outer = env.clone();
        outer.names.insert("#count".into(), Value::Tensor(count.clone()));
        outer.names.insert("#total".into(), Value::Tensor(total));
        let (d, mut scope) = self.axis(&mut outer, call, Kind::Algorithm)?;
        let definition = self.table.entries[d].definition;
        let roles = self.roles(Kind::Algorithm, &definition.params);
        scope.names.insert("n".into(), Value::Tensor(count));
        for (i, param) in definition.params.all[..roles].iter().enumerate() {
            let mut own = dims.to_vec();
            if let (Some(ast::Shape::Dims(names, _)), true) =
                (&param.shape, i == 0 || param.name.text == "W")
            {
                for (dim, name) in own.iter_mut().zip(names) {
                    let name = name.as_ref().and_then(crate::eval::dotted);
                    if let Some(name) = name {
                        let size = dim.size.fixed().unwrap_or(0);
                        scope.names.insert(
                            name.clone(),
                            Value::Number(crate::value::Number::whole(size)),
                        );
                        dim.name = Some(name);
                    }
                }
            }
            let slot = match param.name.text.as_str() {
                _ if i == 0 => Slot::First,
                "W" => Slot::Previous,
                "anchor" => Slot::Other,
                "Z" => {
                    let rows =
                        NamedDim { name: Some("samples".into()), size: Dim::Fixed(1) };
                    own = vec![
                        rows,
                        dims.first().cloned().unwrap_or(NamedDim::plain(Dim::Fixed(1))),
                    ];
                    if dims.len() != 2 {
                        let text = "`Z` is known only of a weight that is one linear map";
                        self.report(Diagnostic::error("N103", call.span, text));
                        return None;
                    }
                    scope.names.insert(
                        "samples".into(),
                        Value::Number(crate::value::Number::whole(1)),
                    );
                    Slot::Samples
                }
                other => {
                    let text = format!("the role `{other}` cannot be given here yet");
                    self.report(Diagnostic::limitation("L003", call.span, text));
                    return None;
                }
            };
            let t = self.slot(frame, slot, &param.name.text, own);
            scope.names.insert(param.name.text.clone(), Value::Tensor(t));
        }
        let (mut states, mut step) = (Vec::new(), None);
        for item in &definition.body {
            match &item.kind {
                ItemKind::States(decls) => {
                    for decl in decls {
                        let state =
                            self.state(frame, &mut scope, decl, dims, states.len())?;
                        states.push(state);
                    }
                }
                ItemKind::Step(value) => step = Some(self.eval(&mut scope, value)),
                ItemKind::Minimize(_) => {
                    let text =
                        "an algorithm that is itself a memory cannot be compiled yet";
                    self.report(Diagnostic::limitation("L004", item.span, text));
                    return None;
                }
                _ => self.body(&mut scope, std::slice::from_ref(item)),
            }
        }
        let step = step?;
        let t = self.real(&step, call.span)?;
        let t = self.like(&t, dims, call.span)?;
        let mut outputs = vec![("step".to_owned(), t.node)];
        for (state, dims) in &states {
            let key = format!("{}'", state.name);
            let next = scope.names.get(&key).or(scope.names.get(&state.name)).cloned()?;
            let t = self.real(&next, call.span)?;
            let t = self.like(&t, dims, call.span)?;
            outputs.push((state.name.clone(), t.node));
        }
        let used: Vec<Slot> = self.frames[frame].slots.clone();
        let inputs = used.iter().map(|slot| match *slot {
            Slot::Previous => AlgorithmInput::Weight,
            Slot::Other => AlgorithmInput::Anchor,
            Slot::Count => AlgorithmInput::Count,
            Slot::Total => AlgorithmInput::Total,
            Slot::Samples => AlgorithmInput::Samples,
            Slot::State(i) => AlgorithmInput::State(i),
            Slot::Captured(i) => AlgorithmInput::Captured(i),
            Slot::First
            | Slot::Weight(_)
            | Slot::Kept(_)
            | Slot::Argument(_)
            | Slot::Step => AlgorithmInput::Gradient,
        });
        let inputs: Vec<AlgorithmInput> = inputs.collect();
        let graph = self.as_written(frame, &outputs);
        Some(Algorithm {
            inputs,
            graph,
            states: states.into_iter().map(|(s, _)| s).collect(),
        })
    }

    /// The frame's graph with its inputs as they were added.
    fn as_written(&self, frame: usize, outputs: &[(String, Node)]) -> Graph {
        let mut graph = self.frames[frame].graph.clone();
        for (name, node) in outputs {
            graph.output(name.clone(), *node);
        }
        graph
    }

    /// The tensor under a shape that it must fit.
    fn like(&mut self, t: &Tensor, dims: &[NamedDim], span: Span) -> Option<Tensor> {
        let frame = self.frame;
        let zero =
            crate::emit::constant(self.graph(), frame, 0.0, nestor_ir::ty::Elem::Real);
        let zeros = crate::emit::broadcast(self.graph(), &zero, &[], dims, &[]);
        let fitted = crate::emit::fit(self.graph(), t, &zeros);
        match fitted {
            Ok((t, _)) if t.dims.len() == dims.len() => Some(t),
            Ok((t, _)) => {
                let text = format!(
                    "{} where {} is needed",
                    shape_text(&t.dims),
                    shape_text(dims)
                );
                self.report(Diagnostic::error("N201", span, text));
                None
            }
            Err(misfit) => {
                self.fitted(Err(misfit), span);
                None
            }
        }
    }

    fn state(
        &mut self,
        frame: usize,
        scope: &mut Env,
        decl: &'a ast::Decl,
        weight: &[NamedDim],
        index: usize,
    ) -> Option<(State, Vec<NamedDim>)> {
        let name = decl.path.dotted()?;
        let dims = match &decl.shape {
            Some(shape) => self.dims(scope, shape)?,
            None => weight.to_vec(),
        };
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let apart = self.open_frame(group, vec![]);
        let before = std::mem::replace(&mut self.frame, apart);
        let value = self.eval(scope, &decl.initial);
        let is_weight = matches!(&value, Value::Tensor(t) if t.frame == frame);
        let initial = if is_weight {
            Some(StateInitial::Weights)
        } else {
            let t = self.real(&value, decl.initial.span);
            let t = t.and_then(|t| self.like(&t, &dims, decl.initial.span));
            t.map(|t| {
                let graph = self.close(apart, &[], &[("value".into(), t.node)]);
                StateInitial::Values(Box::new(graph))
            })
        };
        self.frame = before;
        let slot = self.slot(frame, Slot::State(index), &name, dims.clone());
        scope.names.insert(name.clone(), Value::Tensor(slot));
        let state = State {
            name,
            dims: dims.iter().map(|d| d.size).collect(),
            initial: initial?,
        };
        Some((state, dims))
    }

    /// A retention for one weight.
    fn retention(
        &mut self,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
        group: usize,
        drop: &[Dim],
    ) -> Option<Retention> {
        let frame = self.open_frame(group, drop.to_vec());
        let before = std::mem::replace(&mut self.frame, frame);
        let made = self.retention_in(frame, env, call, dims);
        self.frame = before;
        made
    }

    fn retention_in(
        &mut self,
        frame: usize,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
    ) -> Option<Retention> {
        let (d, mut scope) = self.axis(env, call, Kind::Retention)?;
        let definition = self.table.entries[d].definition;
        crate::interval::check_gates(self, &scope, &definition.params, call);
        let roles = self.roles(Kind::Retention, &definition.params);
        for (i, param) in definition.params.all[..roles].iter().enumerate() {
            let slot = match param.name.text.as_str() {
                _ if i == 0 => Slot::First,
                "U" => Slot::Step,
                "W_prev" => Slot::Previous,
                "W_init" => Slot::Other,
                other => {
                    let text = format!("a retention has no role `{other}`");
                    self.report(Diagnostic::error("N103", param.name.span, text));
                    return None;
                }
            };
            let t = self.slot(frame, slot, &param.name.text, dims.to_vec());
            scope.names.insert(param.name.text.clone(), Value::Tensor(t));
        }
        let first = definition.params.all.first()?.name.text.clone();
        let (mut states, mut keep, mut read, mut penalty) =
            (Vec::new(), None, None, None);
        for item in &definition.body {
            match &item.kind {
                ItemKind::States(decls) => {
                    for decl in decls {
                        let state =
                            self.state(frame, &mut scope, decl, dims, states.len())?;
                        states.push(state);
                    }
                }
                ItemKind::Keep(value) => keep = Some(self.eval(&mut scope, value)),
                ItemKind::RetentionRead(value) => {
                    read = Some(self.eval(&mut scope, value))
                }
                ItemKind::Penalty(value) => {
                    penalty = Some((self.eval(&mut scope, value), item.span))
                }
                _ => self.body(&mut scope, std::slice::from_ref(item)),
            }
        }
        let part = |this: &mut Self, value: Option<Value>| -> Option<Option<Node>> {
            let Some(value) = value else { return Some(None) };
            let t = this.real(&value, call.span)?;
            Some(Some(this.like(&t, dims, call.span)?.node))
        };
        let keep = part(self, keep)?;
        let read = part(self, read)?;
        let form = if let Some((_, span)) = penalty {
            let text = "a penalty cannot be compiled yet";
            let help = "write its closed form: `W' = ...`, or `keep` and `read`";
            self.report(Diagnostic::limitation("L005", span, text).help(help));
            return None;
        } else if let Some(keep) = keep {
            RetentionForm::Keep {
                keep: self.as_written(frame, &[("keep".into(), keep)]),
                read: read.map(|r| self.as_written(frame, &[("read".into(), r)])),
            }
        } else {
            let Some(next) = scope.names.get(&format!("{first}'")).cloned() else {
                let text = format!(
                    "`{}` says neither `keep`, `penalty` nor `{first}'`",
                    definition.name.text
                );
                self.report(Diagnostic::error("N102", call.span, text));
                return None;
            };
            let next = part(self, Some(next))??;
            let mut outputs = vec![("next".to_owned(), next)];
            for (state, dims) in &states {
                let key = format!("{}'", state.name);
                let value =
                    scope.names.get(&key).or(scope.names.get(&state.name)).cloned()?;
                let t = self.real(&value, call.span)?;
                outputs.push((state.name.clone(), self.like(&t, dims, call.span)?.node));
            }
            RetentionForm::Next { next: self.as_written(frame, &outputs) }
        };
        let used: Vec<Slot> = self.frames[frame].slots.clone();
        let inputs: Vec<RetentionInput> = used
            .iter()
            .map(|slot| match *slot {
                Slot::Step => RetentionInput::Step,
                Slot::Previous => RetentionInput::Previous,
                Slot::Other => RetentionInput::Initial,
                Slot::State(i) => RetentionInput::State(i),
                Slot::Captured(i) => RetentionInput::Captured(i),
                Slot::First
                | Slot::Weight(_)
                | Slot::Kept(_)
                | Slot::Argument(_)
                | Slot::Count
                | Slot::Total
                | Slot::Samples => RetentionInput::Stored,
            })
            .collect();
        Some(Retention {
            inputs,
            form,
            states: states.into_iter().map(|(s, _)| s).collect(),
        })
    }
}

/// Whether a value depends on one of these tensors.
fn depends(graph: &Graph, node: Node, on: &[Tensor]) -> bool {
    let mut open = vec![node];
    while let Some(v) = open.pop() {
        if on.iter().any(|t| t.node == v) {
            return true;
        }
        open.extend(graph.def(v).operands.iter().copied());
    }
    false
}
