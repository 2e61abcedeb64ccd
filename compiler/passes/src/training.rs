//! The graph of one step of training, and the graph of gradients that people ask for.
//!
//! ```text
//! before   inputs tokens, weights              outputs loss [B, T]
//! after    inputs tokens, weights, optimiser   outputs loss, gradient_norm, weights, optimiser
//! ```
//!
//! The mean loss is pulled back to every weight that an outer level claims; each statement's
//! gradients are bounded together by its `clip`, and each weight's algorithm, a graph like any
//! other, says the step. An output named as an input takes its place at the next step.

use crate::autodiff::{keep_boundaries, pullback};
use crate::build::{
    accumulate, add, broadcast_to, div, full_like, is_real, mul, scalar, sum_all, unary,
    zeros_like,
};
use crate::error::PassError;
use crate::simplify::{share, simplify};
use nestor_ir::level::{
    Algorithm, AlgorithmInput, Clock, OuterMinimize, Program, Retention, RetentionForm,
    RetentionInput, State, WeightId,
};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;

/// Added to a norm before a bound is divided by it.
const CLIP_EPSILON: f64 = 1e-6;

/// A weight that a statement claims, with its algorithm and retention.
type Target = (WeightId, Algorithm, Option<Retention>);

/// One step of training. `forward` has weights as inputs under their paths and gives `loss`: a
/// scalar, or a number for every token, averaged here. Where it also gives `loss.counts`, the
/// average runs over tokens where that is one. Statement number k > 0 of another objective is
/// `loss.k`.
///
/// # Errors
/// Where a level or an algorithm asks for what is not supported.
pub fn training(program: &Program, forward: &Graph) -> Result<Graph, PassError> {
    let statements = statements(program)?;
    let mut g = keep_boundaries(forward);
    let given = std::mem::take(&mut g.outputs);
    let mut step = Step { count: None, total: None };
    let mut first_loss = None;
    let mut squares = None;
    let mut updated = Vec::new();
    for (k, statement) in statements.iter().enumerate() {
        let loss = mean_loss(&mut g, &given, k, same_objective(&statements, k))?;
        first_loss = first_loss.or(Some(loss));
        let targets: Vec<(Value, &Target)> = statement
            .targets
            .iter()
            .filter_map(|t| Some((g.find_input(&program.weights[t.0].path)?, t)))
            .collect();
        let wrt: Vec<Value> = targets.iter().map(|t| t.0).collect();
        let one = scalar(&mut g, 1.0);
        let found = pullback(&mut g, &[(loss, one)], &wrt)?;
        let mut gradients = Vec::new();
        let mut square = None;
        for (&weight, found) in wrt.iter().zip(found) {
            let gradient = found.unwrap_or_else(|| zeros_like(&mut g, weight));
            let own = mul(&mut g, gradient, gradient);
            let own = sum_all(&mut g, own);
            square = Some(accumulate(&mut g, square, own));
            gradients.push(gradient);
        }
        if let Some(square) = square {
            squares = Some(accumulate(&mut g, squares, square));
            clip(&mut g, statement.clip, square, &mut gradients);
        }
        for ((weight, (id, algorithm, retention)), gradient) in
            targets.into_iter().zip(gradients)
        {
            let path = &program.weights[*id].path;
            let u = Update { path, weight, gradient };
            updated.extend(u.apply(&mut g, &mut step, algorithm, retention.as_ref())?);
        }
    }
    let Some(loss) = first_loss else {
        return Err(PassError::limitation(
            "L-no-outer-level",
            "training a program without an outer objective",
            "add `minimize loss over ... using ...` to the model",
        ));
    };
    g.output("loss", loss);
    let squares = squares.unwrap_or_else(|| scalar(&mut g, 0.0));
    let norm = unary(&mut g, Op::Sqrt, squares);
    g.output("gradient_norm", norm);
    for (name, value) in updated {
        g.output(name, value);
    }
    Ok(simplify(&share(&simplify(&g))))
}

/// All statements of outer levels, in the order of the level graph.
fn statements(program: &Program) -> Result<Vec<&OuterMinimize>, PassError> {
    let mut out = Vec::new();
    for level in program.levels.node_weights() {
        if level.objectives.is_empty() {
            continue;
        }
        if level.clock != Clock::Steps(1) {
            return Err(PassError::limitation(
                "L-outer-clock",
                format!(
                    "the outer level `{}` at a clock other than every step",
                    level.name
                ),
                "let it act at every step",
            ));
        }
        out.extend(&level.objectives);
    }
    Ok(out)
}

/// The first statement with the same objective.
fn same_objective(statements: &[&OuterMinimize], k: usize) -> usize {
    let objective = statements[k].objective;
    statements.iter().position(|s| s.objective == objective).unwrap_or(k)
}

fn mean_loss(
    g: &mut Graph,
    given: &[Named],
    k: usize,
    same: usize,
) -> Result<Value, PassError> {
    let find = |name: &str| given.iter().find(|o| o.name == name).map(|o| o.value);
    let name = if same == 0 { "loss".to_owned() } else { format!("loss.{same}") };
    let Some(loss) = find(&name) else {
        let what = format!("objective {k} has no output `{name}`");
        return Err(PassError::bug("training", what));
    };
    if g.ty(loss).rank() == 0 {
        return Ok(loss);
    }
    let ones = full_like(g, loss, 1.0);
    let (counted, counts) = match find(&format!("{name}.counts")) {
        Some(counts) => (mul(g, loss, counts), counts),
        None => (loss, ones),
    };
    let (total, number) = (sum_all(g, counted), sum_all(g, counts));
    let one = scalar(g, 1.0);
    let number = g.add(Op::Max, &[number, one]);
    Ok(div(g, total, number))
}

/// Scales all gradients of a statement so that their common norm is at most the bound.
fn clip(g: &mut Graph, bound: Option<f64>, square: Value, gradients: &mut [Value]) {
    let Some(bound) = bound else { return };
    let norm = unary(g, Op::Sqrt, square);
    let epsilon = scalar(g, CLIP_EPSILON);
    let norm = add(g, norm, epsilon);
    let bound = scalar(g, bound);
    let ratio = div(g, bound, norm);
    let one = scalar(g, 1.0);
    let factor = g.add(Op::Min, &[one, ratio]);
    for gradient in gradients {
        let dims = g.ty(*gradient).dims.clone();
        let factor = broadcast_to(g, factor, &dims);
        *gradient = mul(g, *gradient, factor);
    }
}

/// The numbers of steps, inputs of the graph where something asks for them.
struct Step {
    count: Option<Value>,
    total: Option<Value>,
}

fn number(g: &mut Graph, slot: &mut Option<Value>, name: &str) -> Value {
    *slot.get_or_insert_with(|| {
        g.find_input(name).unwrap_or_else(|| g.input(name, Type::real([])))
    })
}

/// One weight with its gradient.
struct Update<'a> {
    path: &'a str,
    weight: Value,
    gradient: Value,
}

impl Update<'_> {
    /// The next weight and states, by name.
    fn apply(
        &self,
        g: &mut Graph,
        step: &mut Step,
        algorithm: &Algorithm,
        retention: Option<&Retention>,
    ) -> Result<Vec<(String, Value)>, PassError> {
        let states = self.states(g, &algorithm.states);
        let mut arguments = Vec::new();
        for input in &algorithm.inputs {
            arguments.push(match input {
                AlgorithmInput::Gradient => self.gradient,
                AlgorithmInput::Weight | AlgorithmInput::Anchor => self.weight,
                AlgorithmInput::Count => number(g, &mut step.count, "step"),
                AlgorithmInput::Total => number(g, &mut step.total, "steps"),
                AlgorithmInput::State(k) => states[*k].1,
                AlgorithmInput::Samples => return Err(self.unknown("the samples")),
                AlgorithmInput::Captured(_) => return Err(self.unknown("a stream")),
            });
        }
        let results = g.inline(&algorithm.graph, &arguments);
        let mut out = Vec::new();
        let (&by, next) = results.split_first().ok_or_else(|| {
            PassError::bug("training", format!("no step for `{}`", self.path))
        })?;
        out.extend(states.iter().map(|s| s.0.clone()).zip(next.iter().copied()));
        let weight = match retention {
            None => add(g, self.weight, by),
            Some(retention) => self.retain(g, retention, by, &mut out)?,
        };
        out.push((self.path.to_owned(), weight));
        Ok(out)
    }

    /// States as inputs, with their names.
    fn states(&self, g: &mut Graph, states: &[State]) -> Vec<(String, Value)> {
        let one = |state: &State| {
            let name = format!("optimiser.{}.{}", state.name, self.path);
            let ty = Type::real(state.dims.iter().copied());
            let value = g.find_input(&name).unwrap_or_else(|| g.input(name.clone(), ty));
            (name, value)
        };
        states.iter().map(one).collect()
    }

    fn retain(
        &self,
        g: &mut Graph,
        retention: &Retention,
        by: Value,
        out: &mut Vec<(String, Value)>,
    ) -> Result<Value, PassError> {
        let states = self.states(g, &retention.states);
        let mut arguments = Vec::new();
        for input in &retention.inputs {
            arguments.push(match input {
                RetentionInput::Stored | RetentionInput::Previous => self.weight,
                RetentionInput::Step => by,
                RetentionInput::State(k) => states[*k].1,
                RetentionInput::Initial => {
                    return Err(self.unknown("the initial weights"));
                }
                RetentionInput::Captured(_) => return Err(self.unknown("a stream")),
            });
        }
        match &retention.form {
            RetentionForm::Keep { keep, read: None } => {
                let kept = g.inline(keep, &arguments);
                Ok(add(g, kept[0], by))
            }
            RetentionForm::Next { next } => {
                let results = g.inline(next, &arguments);
                let names = states.into_iter().map(|s| s.0);
                out.extend(names.zip(results[1..].iter().copied()));
                Ok(results[0])
            }
            RetentionForm::Keep { read: Some(_), .. } => {
                Err(self
                    .unknown("a retention that stores something else than the weights"))
            }
        }
    }

    fn unknown(&self, what: &str) -> PassError {
        PassError::limitation(
            "L-outer-algorithm",
            format!("{what} in the outer update of `{}`", self.path),
            "use an algorithm and a retention of gradients, weights and their states",
        )
    }
}

/// The forward graph with cotangents: inputs `grad.<output>` for the real outputs of these names
/// (all of them where none is named), outputs `grad.<input>` for every real input that is no
/// state.
///
/// # Errors
/// Where something on the way has no derivative that is known.
pub fn gradients(forward: &Graph, outputs: &[&str]) -> Result<Graph, PassError> {
    let mut g = keep_boundaries(forward);
    let wrt: Vec<Named> = g
        .inputs
        .iter()
        .filter(|i| is_real(&g, i.value) && !i.name.starts_with("state."))
        .cloned()
        .collect();
    let mut seeds = Vec::new();
    for output in g.outputs.clone() {
        let asked = outputs.is_empty() || outputs.contains(&output.name.as_str());
        if asked && is_real(&g, output.value) {
            let ty = g.ty(output.value).clone();
            let seed = g.input(format!("grad.{}", output.name), ty);
            seeds.push((output.value, seed));
        }
    }
    let values: Vec<Value> = wrt.iter().map(|i| i.value).collect();
    let found = pullback(&mut g, &seeds, &values)?;
    for (input, found) in wrt.iter().zip(found) {
        let gradient = found.unwrap_or_else(|| zeros_like(&mut g, input.value));
        g.output(format!("grad.{}", input.name), gradient);
    }
    Ok(simplify(&share(&simplify(&g))))
}
