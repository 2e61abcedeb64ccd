//! Algorithms that are themselves memories: `M = structure(...)` in an algorithm's body, and
//! `minimize ... over M`. The memory's weights are states of the algorithm; its gradient is a mark
//! of the algorithm's graph; the step that it takes is another algorithm, written out in place.

use crate::elaborate::{Elaborator, Env, Part, Slot};
use crate::memory::Made;
use crate::statement::matrix_of;
use crate::value::{NamedDim, Tensor, Value};
use nestor_grammar::ast::{self, ItemKind, Kind, Minimize};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::level::{
    AlgorithmInput, MemoryId, Retention, RetentionForm, RetentionInput, State,
    StateInitial,
};
use nestor_ir::tensor::{Op, Value as Node};

/// The weight of a memory whose algorithm is being built.
#[derive(Clone, Debug)]
pub(crate) struct Learns {
    /// The memory.
    pub(crate) memory: MemoryId,
    /// The path of the weight.
    pub(crate) path: Vec<Part>,
}

/// A state of an algorithm under construction.
pub(crate) struct Held {
    /// The state.
    pub(crate) state: State,
    /// Its dimensions by name.
    pub(crate) dims: Vec<NamedDim>,
    /// What it is next, where no name of the body says it.
    pub(crate) next: Option<Tensor>,
}

/// What the frame of an algorithm has from outside it.
pub(crate) struct Outside {
    /// The frame.
    pub(crate) frame: usize,
    /// This update's number.
    pub(crate) count: Tensor,
    /// How many there will be.
    pub(crate) total: Tensor,
}

/// A memory that an algorithm holds.
pub(crate) struct Deep {
    instance: usize,
    /// The first of its weights among the states.
    first: usize,
    /// Its weights as they are now.
    now: Vec<Tensor>,
    /// States of its own algorithm, by weight.
    own: Vec<Vec<usize>>,
}

impl<'a> Elaborator<'a> {
    /// Where a binding made a structure, its weights become states.
    pub(crate) fn holds(
        &mut self,
        outside: &Outside,
        scope: &Env,
        binding: &'a ast::Binding,
        (inner, span): (bool, Span),
        states: &mut Vec<Held>,
        deep: &mut Vec<Deep>,
    ) -> Option<()> {
        let name = binding.path.dotted()?;
        let Some(Value::Instance(instance)) = scope.names.get(&name).cloned() else {
            return Some(());
        };
        let definition = self.definition_of(instance);
        if definition.kind != Kind::Structure {
            let span = binding.value.span;
            let text = "an algorithm holds structures; their other axes stand where they are minimised over";
            self.report(Diagnostic::error("N102", span, text));
            return None;
        }
        let own = self.instances[instance].env.clone();
        let first = states.len();
        let (mut weights, mut now) = (Vec::new(), Vec::new());
        let declared = definition.body.iter().filter_map(|i| match &i.kind {
            ItemKind::Weights(decls) => Some(decls),
            _ => None,
        });
        for decl in declared.flatten() {
            let weight = decl.path.dotted()?;
            let mut env = own.clone();
            let dims = match &decl.shape {
                Some(shape) => self.dims(&mut env, shape)?,
                None => vec![],
            };
            let initial = if inner {
                self.learned(&mut env, decl, &dims, &name, instance, span)?
            } else {
                StateInitial::Drawn(self.initial(&mut env, decl, &dims, &[])?)
            };
            let taken = states.iter().any(|h| h.state.name == weight);
            let called = if taken { format!("{name}-{weight}") } else { weight.clone() };
            let slot = Slot::State(states.len());
            now.push(self.slot(outside.frame, slot, &called, dims.clone()));
            let state = State {
                name: called,
                dims: dims.iter().map(|d| d.size).collect(),
                initial,
            };
            states.push(Held { state, dims: dims.clone(), next: None });
            weights.push((weight, dims));
        }
        let reader = definition.body.iter().find_map(|i| match &i.kind {
            ItemKind::Reader(params, value) => Some((params, value)),
            _ => None,
        })?;
        // No memory of the program: what is known of one is used by its reads alone.
        self.instances[instance].memory = Some(Made {
            id: MemoryId::new(0),
            inner: weights.iter().map(|(_, d)| d.clone()).collect(),
            weights,
            scope: own,
            reader,
            captured: vec![],
            answer: None,
            kept: vec![],
            written: true,
            is_read: true,
        });
        self.anchored.push((instance, now.clone()));
        let none = vec![Vec::new(); now.len()];
        deep.push(Deep { instance, first, now, own: none });
        Some(())
    }

    /// How a weight of a memory in an algorithm of a memory starts: as a weight of the program, one
    /// for each instance.
    fn learned(
        &mut self,
        env: &mut Env,
        decl: &'a ast::Decl,
        dims: &[NamedDim],
        name: &str,
        instance: usize,
        span: Span,
    ) -> Option<StateInitial> {
        let Some(Learns { memory, mut path }) = self.learns.clone() else {
            return self.not_deep("an algorithm that is itself a memory", span);
        };
        let definition = self.definition_of(instance).name.text.clone();
        let part = |name: &str, definition| Part {
            name: name.to_owned(),
            rounds: vec![],
            definition,
        };
        path.push(part(name, Some(definition)));
        path.push(part(&decl.path.dotted()?, None));
        let map = self.memories[memory].map.to_vec();
        let id = self.weight(env, decl, path, dims, &map, Some(memory))?;
        Some(StateInitial::Learned(id))
    }

    /// `minimize objective over M using algorithm retaining retention` in an algorithm's body.
    pub(crate) fn minimize_deep(
        &mut self,
        outside: &Outside,
        scope: &mut Env,
        m: &'a Minimize,
        states: &mut Vec<Held>,
        deep: &mut [Deep],
    ) -> Option<()> {
        let targets = m.targets.as_deref().unwrap_or(&[]);
        let name = targets.first().and_then(ast::Path::dotted);
        let instance = match name.as_ref().and_then(|n| scope.names.get(n)) {
            Some(Value::Instance(i)) if targets.len() == 1 => Some(*i),
            _ => None,
        };
        let Some(k) = deep.iter().position(|d| Some(d.instance) == instance) else {
            let text =
                "a statement inside an algorithm minimises over one memory of its own";
            self.report(Diagnostic::error("N403", m.span, text));
            return None;
        };
        let anchors: Vec<Tensor> = deep[k]
            .now
            .iter()
            .map(|t| {
                let node = self.graph().add(Op::Anchor, &[t.node]);
                Tensor { node, ..t.clone() }
            })
            .collect();
        self.now_are(deep[k].instance, &anchors);
        let value = self.eval(scope, &m.objective);
        self.now_are(deep[k].instance, &deep[k].now);
        let objective = self.real(&value, m.objective.span)?;
        let help = "sum it over its dimensions: `sum(x)`";
        if !self.one_number(&objective, m.objective.span, help) {
            return None;
        }
        let mut next = Vec::new();
        for (w, anchor) in anchors.iter().enumerate() {
            let pair = [objective.node, anchor.node];
            let gradient = self.graph().add(Op::Gradient, &pair);
            let weight = deep[k].now[w].clone();
            let first = deep[k].first + w;
            let by = Step { gradient, weight: &weight, name: first, span: m.span };
            let (step, own) =
                self.step_of(outside, scope, m, &by, states, &deep[k].own[w])?;
            deep[k].own[w] = own;
            let kept = match &m.retaining {
                Some(call) if call.path.dotted().as_deref() != Some("none") => {
                    self.groups.push(Vec::new());
                    let group = self.groups.len() - 1;
                    let retention =
                        self.retention(scope, call, &weight.dims, group, &[])?;
                    self.kept_of(&retention, &weight, group, m.span)?
                }
                Some(_) | None => weight.node,
            };
            let node = self.graph().add(Op::Add, &[kept, step]);
            next.push(Tensor { node, ..weight });
        }
        for (w, t) in next.iter().enumerate() {
            states[deep[k].first + w].next = Some(t.clone());
        }
        deep[k].now = next;
        self.now_are(deep[k].instance, &deep[k].now);
        Some(())
    }

    /// What reads of an instance see from here on.
    fn now_are(&mut self, instance: usize, weights: &[Tensor]) {
        if let Some(entry) = self.anchored.iter_mut().rfind(|(i, _)| *i == instance) {
            entry.1 = weights.to_vec();
        }
    }

    /// The step of an inner algorithm, written out here; the states it has.
    fn step_of(
        &mut self,
        outside: &Outside,
        scope: &mut Env,
        m: &'a Minimize,
        by: &Step<'_>,
        states: &mut Vec<Held>,
        known: &[usize],
    ) -> Option<(Node, Vec<usize>)> {
        self.groups.push(Vec::new());
        let group = self.groups.len() - 1;
        let dims = by.weight.dims.clone();
        let learns = self.learns.take();
        let made = self.algorithm(scope, &m.using, &dims, Some(group), &[]);
        self.learns = learns;
        let made = made?;
        let mut own = known.to_vec();
        for state in &made.states[known.len()..] {
            let name = format!("{}-{}", state.name, states[by.name].state.name);
            own.push(states.len());
            let dims: Vec<NamedDim> = match state.dims.len() == dims.len() {
                true => matrix_of(&dims),
                false => state.dims.iter().map(|d| NamedDim::plain(*d)).collect(),
            };
            let initial = match &state.initial {
                StateInitial::Weights => states[by.name].state.initial.clone(),
                other => other.clone(),
            };
            let slot = Slot::State(states.len());
            let t = self.slot(outside.frame, slot, &name, dims.clone());
            let state = State { name, dims: state.dims.clone(), initial };
            states.push(Held { state, dims, next: Some(t) });
        }
        let mut given = Vec::new();
        for input in &made.inputs {
            given.push(match *input {
                AlgorithmInput::Gradient => by.gradient,
                AlgorithmInput::Weight | AlgorithmInput::Anchor => by.weight.node,
                AlgorithmInput::Count => outside.count.node,
                AlgorithmInput::Total => outside.total.node,
                AlgorithmInput::State(k) => states[own[k]].next.as_ref()?.node,
                AlgorithmInput::Captured(c) => {
                    let captured = self.groups[group][c].clone();
                    self.local(&captured).node
                }
                AlgorithmInput::Samples => return self.not_deep("`Z`", by.span),
            });
        }
        let results = self.graph().inline(&made.graph, &given);
        for (&at, &node) in own.iter().zip(&results[1..]) {
            let next = states[at].next.as_ref()?.clone();
            states[at].next = Some(Tensor { node, ..next });
        }
        Some((results[0], own))
    }

    /// What a retention keeps of a weight, written out here.
    fn kept_of(
        &mut self,
        retention: &Retention,
        weight: &Tensor,
        group: usize,
        span: Span,
    ) -> Option<Node> {
        let RetentionForm::Keep { keep, read: None } = &retention.form else {
            return self.not_deep("a retention with a form of its own", span);
        };
        let mut given = Vec::new();
        for input in &retention.inputs {
            given.push(match *input {
                RetentionInput::Stored | RetentionInput::Previous => weight.node,
                RetentionInput::Captured(c) => {
                    let captured = self.groups[group][c].clone();
                    self.local(&captured).node
                }
                RetentionInput::Step
                | RetentionInput::Initial
                | RetentionInput::State(_) => {
                    return self.not_deep("a retention with states", span);
                }
            });
        }
        Some(self.graph().inline(keep, &given)[0])
    }

    fn not_deep<T>(&mut self, what: &str, span: Span) -> Option<T> {
        let text = format!("{what} inside an algorithm cannot be compiled yet");
        self.report(Diagnostic::limitation("L004", span, text));
        None
    }
}

/// What an inner step is taken from.
struct Step<'t> {
    gradient: Node,
    weight: &'t Tensor,
    /// The state that the weight is.
    name: usize,
    span: Span,
}
