//! Algorithms: how a gradient becomes a step, as a small graph for one weight.

use crate::deep::{Held, Outside};
use crate::elaborate::{Elaborator, Env, Slot};
use crate::statement::matrix_of;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{self, Call, ItemKind, Kind};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Algorithm, AlgorithmInput, State, StateInitial};
use nestor_ir::tensor::{Fold, Graph, Op, Value as Node};
use nestor_ir::ty::Type;

impl<'a> Elaborator<'a> {
    /// An algorithm for one weight. Without a group it is an outer level's: nothing is captured.
    pub(crate) fn algorithm(
        &mut self,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
        group: Option<usize>,
        drop: &[Dim],
    ) -> Option<Algorithm> {
        let inner = group.is_some();
        let group = group.unwrap_or_else(|| {
            self.groups.push(Vec::new());
            self.groups.len() - 1
        });
        let frame = self.open_frame(group, drop.to_vec());
        let before = std::mem::replace(&mut self.frame, frame);
        let made = self
            .within(call.span, |this| this.algorithm_in(frame, env, call, dims, inner));
        self.frame = before;
        made
    }

    pub(crate) fn algorithm_in(
        &mut self,
        frame: usize,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
        inner: bool,
    ) -> Option<Algorithm> {
        let (whole, dims) = (dims, matrix_of(dims));
        let dims = dims.as_slice();
        let count = self.slot(frame, Slot::Count, "n", vec![]);
        let total = self.slot(frame, Slot::Total, "total", vec![]);
        let outside = Outside { frame, count: count.clone(), total: total.clone() };
        let mut outer = env.clone();
        outer.names.insert("#count".into(), Value::Tensor(count.clone()));
        outer.names.insert("#total".into(), Value::Tensor(total));
        let (d, mut scope) = self.axis(&mut outer, call, Kind::Algorithm, dims)?;
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
                    dim.name = name.or(dim.name.take());
                }
            }
            let slot = match param.name.text.as_str() {
                _ if i == 0 => Slot::First,
                "W" => Slot::Previous,
                "anchor" => Slot::Other,
                "Z" => {
                    // At a clock of steps, as many rows as the step has tokens.
                    let size = if inner { Dim::Fixed(1) } else { Dim::Samples };
                    let rows = NamedDim { name: Some("samples".into()), size };
                    own = vec![
                        rows,
                        dims.first().cloned().unwrap_or(NamedDim::plain(Dim::Fixed(1))),
                    ];
                    if dims.len() != 2 {
                        let text = "`Z`, the inputs of the product `z @ W`, is known only of a weight that is a matrix";
                        let help = "use an algorithm without `Z` for this weight: `algorithm a(...) on W, b(...) on b`";
                        self.report(
                            Diagnostic::error("N103", call.span, text)
                                .says(format!("used for a weight {}", shape_text(dims)))
                                .label(param.name.span, "this role")
                                .help(help),
                        );
                        return None;
                    }
                    let number = match inner {
                        true => Value::Number(crate::value::Number::whole(1)),
                        false => Value::Tensor(self.samples(frame)),
                    };
                    scope.names.insert("samples".into(), number);
                    Slot::Samples
                }
                other => {
                    let text = format!("the role `{other}` cannot be given here yet");
                    self.report(Diagnostic::limitation("L003", call.span, text));
                    return None;
                }
            };
            let seen = own.clone();
            let own = if slot != Slot::Samples { whole.to_vec() } else { own };
            let mut t = self.slot(frame, slot, &param.name.text, own);
            if t.dims.len() == seen.len() {
                t.dims = seen;
            } else {
                t = crate::emit::reshape(self.graph(), &t, seen);
            }
            scope.names.insert(param.name.text.clone(), Value::Tensor(t));
        }
        let (mut states, mut deep, mut step) = (Vec::new(), Vec::new(), None);
        let anchored = self.anchored.len();
        for item in &definition.body {
            match &item.kind {
                ItemKind::States(decls) => {
                    for decl in decls {
                        let (state, dims) =
                            self.state(frame, &mut scope, decl, dims, states.len())?;
                        states.push(Held { state, dims, next: None });
                    }
                }
                ItemKind::Step(value) => step = Some(self.eval(&mut scope, value)),
                ItemKind::Minimize(m) => {
                    self.minimize_deep(&outside, &mut scope, m, &mut states, &mut deep)?;
                }
                ItemKind::Binding(binding) => {
                    self.body(&mut scope, std::slice::from_ref(item));
                    let within = (inner, call.span);
                    self.holds(
                        &outside,
                        &scope,
                        binding,
                        within,
                        &mut states,
                        &mut deep,
                    )?;
                }
                _ => self.body(&mut scope, std::slice::from_ref(item)),
            }
        }
        self.anchored.truncate(anchored);
        let step = step?;
        let t = self.real(&step, call.span)?;
        let mut t = self.like(&t, dims, call.span)?;
        if whole.len() != dims.len() {
            t = crate::emit::reshape(self.graph(), &t, whole.to_vec());
        }
        let mut outputs = vec![("step".to_owned(), t.node)];
        for Held { state, dims, next } in &states {
            let key = format!("{}'", state.name);
            let names = &scope.names;
            let next = match next {
                Some(t) => Value::Tensor(t.clone()),
                None => names.get(&key).or(names.get(&state.name)).cloned()?,
            };
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
            states: states.into_iter().map(|held| held.state).collect(),
        })
    }

    /// How many tokens a step has.
    fn samples(&mut self, frame: usize) -> Tensor {
        let ty = Type::real([Dim::Samples]);
        let ones = self.graph().add(Op::Constant { value: 1.0, ty }, &[]);
        let axes = std::iter::once(0).collect();
        let node = self.graph().add(Op::Reduce { fold: Fold::Sum, axes }, &[ones]);
        Tensor::number(frame, node)
    }

    /// The frame's graph with its inputs as they were added.
    pub(crate) fn as_written(&self, frame: usize, outputs: &[(String, Node)]) -> Graph {
        let mut graph = self.frames[frame].graph.clone();
        for (name, node) in outputs {
            graph.output(name.clone(), *node);
        }
        graph
    }

    /// The tensor under a shape that it must fit.
    pub(crate) fn like(
        &mut self,
        t: &Tensor,
        dims: &[NamedDim],
        span: Span,
    ) -> Option<Tensor> {
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

    pub(crate) fn state(
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
        self.declares(scope, &name, crate::trail::Declared::State, decl.path.span);
        let state = State {
            name,
            dims: dims.iter().map(|d| d.size).collect(),
            initial: initial?,
        };
        Some((state, dims))
    }
}
