//! The graph of one step of training, the graphs of levels that act more rarely, and the graph of
//! gradients that people ask for.
//!
//! ```text
//! before   inputs tokens, weights              outputs loss [B, T]
//! after    inputs tokens, weights, optimiser   outputs loss, gradient_norm, weights, optimiser
//! ```
//!
//! The mean loss is pulled back to every weight that an outer level claims. A level of period one
//! acts in this graph: each statement's gradients are bounded together by its `clip`, and each
//! weight's algorithm, a graph like any other, says the step. A slower level only adds to its
//! windows here, and acts in a graph of its own ([`rare`]). An output named as an input takes its
//! place at the next step.

mod gradients;
mod rare;
mod samples;
mod update;

pub use gradients::{gradients, gradients_as_derived, gradients_keeping};
pub(crate) use rare::acting;
pub use rare::{Rare, rare};

use crate::autodiff::{Keeping, keep_boundaries, pullback};
use crate::build::{
    accumulate, add, div, full_like, mul, scalar, sum_all, unary, zeros_like,
};
use crate::error::PassError;
use crate::settle::settled;
use crate::simplify::shared;
use nestor_ir::level::{
    Algorithm, AlgorithmInput, Clock, Level, OuterMinimize, Program, Retention, WeightId,
};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;
use update::{Act, Numbers, act, say_norm, squares};

/// A weight that a statement claims, with its algorithm and retention.
type Target = (WeightId, Algorithm, Option<Retention>);

/// The name of the sum of a weight's gradients over its level's open window.
pub fn window_name(path: &str) -> String {
    format!("window.{path}")
}

/// The name of the number of tokens in the open window of a level, where a statement's objective
/// chooses tokens.
pub fn counts_name(level: &str, statement: usize) -> String {
    format!("window.counts.{level}.{statement}")
}

/// The output that is the length of a level's gradient, before it is bounded.
pub fn norm_name(level: &str) -> String {
    format!("level.{level}.gradient_norm")
}

/// A level that learns weights at a clock of steps.
pub struct Outer<'p> {
    /// The level.
    pub level: &'p Level,
    /// It acts at the last of so many steps.
    pub period: usize,
}

impl Outer<'_> {
    /// Whether there is a weight that it learns.
    pub fn learns(&self) -> bool {
        self.level.objectives.iter().any(|o| !o.targets.is_empty())
    }
}

/// The outer levels in the order of the level graph. Levels that learn while reading are not among
/// them: their work is part of the forward graph, and their statements come last.
///
/// # Errors
/// Where one has a clock that is neither of steps nor of tokens.
pub fn outer(program: &Program) -> Result<Vec<Outer<'_>>, PassError> {
    let reads = |l: &Level| matches!(l.clock, Clock::Tokens(_));
    let learns = |l: &&Level| !l.objectives.is_empty() && !reads(l);
    let levels = program.levels.node_weights().filter(learns);
    levels
        .map(|level| match level.clock {
            Clock::Steps(period) => Ok(Outer { level, period }),
            Clock::Tokens(_) | Clock::Sequence | Clock::Once => {
                Err(PassError::limitation(
                    "L-outer-clock",
                    format!(
                        "the level `{}` of weights at a clock of sequences",
                        level.name
                    ),
                    "let it act at a clock of steps",
                ))
            }
        })
        .collect()
}

/// Whether a statement's objective exists for some tokens only; its tokens are counted.
pub fn counted(program: &Program, statement: &OuterMinimize) -> bool {
    program.code.def(statement.objective).op == Op::When
}

/// One step of training. `forward` has weights as inputs under their paths and gives `loss`: a
/// scalar, or a number for every token, averaged here. Where it also gives `loss.counts`, the
/// average runs over tokens where that is one. Statement number k > 0 of another objective is
/// `loss.k`. Where there are several levels, each that acts says the length of its gradient. `keeping` says what pays to be kept for the way back.
///
/// # Errors
/// Where a level or an algorithm asks for what is not supported.
pub fn training(
    program: &Program,
    forward: &Graph,
    keeping: Keeping,
) -> Result<Graph, PassError> {
    let levels = outer(program)?;
    let mut g = keep_boundaries(forward, keeping);
    let given = std::mem::take(&mut g.outputs);
    let forward = g.nodes.len();
    let found = differentiated(program, &mut g, &given, &levels)?;
    let Some(loss) = found.first().map(|s| s.loss.mean) else {
        return Err(PassError::limitation(
            "L-no-outer-level",
            "training a program without an outer objective",
            "add `minimize loss over ... using ...` to the model",
        ));
    };
    g.output("loss", loss);
    let total = found.iter().flat_map(|s| &s.squares).copied();
    let total = total.reduce(|a, b| add(&mut g, a, b));
    let total = total.unwrap_or_else(|| scalar(&mut g, 0.0));
    let norm = unary(&mut g, Op::Sqrt, total);
    g.output("gradient_norm", norm);
    let mut numbers = Numbers::default();
    let (mut updated, mut said) = (Vec::new(), Vec::new());
    let mut rest = found.as_slice();
    for Outer { level, period } in &levels {
        let (own, others) = rest.split_at(level.objectives.len());
        rest = others;
        if *period > 1 {
            for (k, statement) in own.iter().enumerate() {
                let counts = counts_name(&level.name, k);
                wait(program, &mut g, statement, &counts, &mut updated);
            }
            continue;
        }
        let statements = own
            .iter()
            .map(|s| s.acts(program, &mut g, forward))
            .collect::<Result<Vec<Act<'_>>, PassError>>()?;
        let (outputs, squares) = act(&mut g, &mut numbers, &statements)?;
        updated.extend(outputs);
        if levels.len() > 1 && own.iter().any(|s| !s.targets.is_empty()) {
            said.push((squares, &level.name));
        }
    }
    for (name, value) in updated {
        g.output(name, value);
    }
    for (squares, level) in said {
        say_norm(&mut g, level, squares);
    }
    Ok(shared(&settled(&g)))
}

/// The mean of an objective, and how many tokens it runs over where that changes.
#[derive(Clone, Copy)]
struct Loss {
    mean: Value,
    tokens: Option<Value>,
}

/// A statement with the gradients of its targets.
struct Differentiated<'p> {
    statement: &'p OuterMinimize,
    loss: Loss,
    /// Weights that the graph has, with their gradients.
    targets: Vec<(Value, Value, &'p Target)>,
    /// The square of the length of all its gradients.
    squares: Option<Value>,
}

impl<'p> Differentiated<'p> {
    /// `forward` is the number of nodes before anything was differentiated.
    fn acts(
        &self,
        program: &'p Program,
        g: &mut Graph,
        forward: usize,
    ) -> Result<Act<'p>, PassError> {
        let mut updates = Vec::new();
        for &(weight, gradient, target) in &self.targets {
            let path = program.weights[target.0].path.as_str();
            let samples = match target.1.inputs.contains(&AlgorithmInput::Samples) {
                true => Some(samples::samples(g, forward, weight, path)?),
                false => None,
            };
            updates.push(update::Update { path, weight, gradient, samples, target });
        }
        Ok(Act { clip: self.statement.clip, squares: self.squares, updates })
    }
}

/// Every statement's gradients: one way back for each objective.
fn differentiated<'p>(
    program: &Program,
    g: &mut Graph,
    given: &[Named],
    levels: &[Outer<'p>],
) -> Result<Vec<Differentiated<'p>>, PassError> {
    let statements: Vec<&'p OuterMinimize> =
        levels.iter().flat_map(|l| &l.level.objectives).collect();
    let mut out: Vec<Option<Differentiated<'p>>> = Vec::new();
    out.resize_with(statements.len(), || None);
    for first in 0..statements.len() {
        if out[first].is_some() {
            continue;
        }
        let loss = mean_loss(g, given, first)?;
        let objective = statements[first].objective;
        let same: Vec<usize> = (first..statements.len())
            .filter(|&k| statements[k].objective == objective)
            .collect();
        let targets = |g: &Graph, k: usize| -> Vec<(Value, &'p Target)> {
            let there =
                |t: &'p Target| Some((g.find_input(&program.weights[t.0].path)?, t));
            statements[k].targets.iter().filter_map(there).collect()
        };
        let all: Vec<Vec<(Value, &'p Target)>> =
            same.iter().map(|&k| targets(g, k)).collect();
        let wrt: Vec<Value> = all.iter().flatten().map(|t| t.0).collect();
        let one = scalar(g, 1.0);
        let mut found = pullback(g, &[(loss.mean, one)], &wrt)?.into_iter();
        for (k, targets) in same.into_iter().zip(all) {
            let targets: Vec<(Value, Value, &'p Target)> = targets
                .into_iter()
                .zip(found.by_ref())
                .map(|((weight, target), gradient)| {
                    let zero = |g: &mut Graph| zeros_like(g, weight);
                    (weight, gradient.unwrap_or_else(|| zero(g)), target)
                })
                .collect();
            let gradients: Vec<Value> = targets.iter().map(|t| t.1).collect();
            let squares = squares(g, &gradients);
            let statement = statements[k];
            out[k] = Some(Differentiated { statement, loss, targets, squares });
        }
    }
    Ok(out.into_iter().flatten().collect())
}

fn mean_loss(g: &mut Graph, given: &[Named], k: usize) -> Result<Loss, PassError> {
    let find = |name: &str| given.iter().find(|o| o.name == name).map(|o| o.value);
    let name = nestor_ir::level::loss_name(k);
    let Some(loss) = find(&name) else {
        let what = format!("objective {k} has no output `{name}`");
        return Err(PassError::bug("training", what));
    };
    if g.ty(loss).rank() == 0 {
        return Ok(Loss { mean: loss, tokens: None });
    }
    let ones = full_like(g, loss, 1.0);
    let chosen = find(&format!("{name}.counts"));
    let (summed, counts) = match chosen {
        Some(counts) => (mul(g, loss, counts), counts),
        None => (loss, ones),
    };
    let (total, number) = (sum_all(g, summed), sum_all(g, counts));
    let one = scalar(g, 1.0);
    let least = g.add(Op::Max, &[number, one]);
    Ok(Loss { mean: div(g, total, least), tokens: chosen.map(|_| number) })
}

/// A statement of a slower level: its gradients join the sums of the open window. Where the
/// objective chooses tokens, each step weighs as many tokens as it has.
fn wait(
    program: &Program,
    g: &mut Graph,
    found: &Differentiated<'_>,
    counts: &str,
    updated: &mut Vec<(String, Value)>,
) {
    for &(_, gradient, target) in &found.targets {
        let name = window_name(&program.weights[target.0].path);
        let ty = g.ty(gradient).clone();
        let gradient = match found.loss.tokens {
            None => gradient,
            Some(tokens) => {
                let tokens = crate::build::broadcast_to(g, tokens, &ty.dims);
                mul(g, gradient, tokens)
            }
        };
        let before = g.input(name.clone(), ty);
        updated.push((name, add(g, before, gradient)));
    }
    if let Some(tokens) = found.loss.tokens {
        let before = g.input(counts, Type::real([]));
        updated.push((counts.to_owned(), accumulate(g, Some(before), tokens)));
    }
}
