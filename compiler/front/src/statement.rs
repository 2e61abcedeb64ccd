//! Minimisations: objectives, algorithms and retentions as small graphs over one instance.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::memory::Made;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{
    self, AxisChoice, BiasChoice, Call, Item, ItemKind, Kind, Minimize,
};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{self, Anchor, Statement, Target};
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
        if window > 1 || every > 1 {
            let text = "a statement over a window of tokens cannot be compiled yet";
            let help = "act every token on the present one, with `gradient at every N tokens` for a frozen gradient";
            self.report(Diagnostic::limitation("L002", span, text).help(help));
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
        for bias in choices.biases {
            let name = on(self, &bias.on, made);
            let Some(objective) =
                self.objective(instance, made, &mut env, bias, group, &values, span)
            else {
                return;
            };
            objectives.push((name, objective));
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
}

/// A weight as algorithms see it: of rank above two it is the matrix [first, the rest].
pub(crate) fn matrix_of(dims: &[NamedDim]) -> Vec<NamedDim> {
    if dims.len() <= 2 {
        return dims.to_vec();
    }
    let rest: usize = dims[1..].iter().filter_map(|d| d.size.fixed()).product();
    vec![dims[0].clone(), NamedDim::plain(Dim::Fixed(rest))]
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
