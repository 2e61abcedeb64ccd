//! A model that learns: one step of training and the loss without one, as machine code.

use crate::native;
use crate::native::{Calls, Machine, NativeError};
use crate::pipeline::{Lowered, Purpose, forward};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::{Array, tensor};
use nestor_ir::level::{
    Clock, Initial, Level, OuterMinimize, Program, Reset, State, StateInitial, WeightId,
    optimiser_name, retained_name,
};
use nestor_ir::tensor::Graph;
use nestor_passes::PassError;
use nestor_passes::forms::{Choice, Form, FormOptions};
use nestor_passes::simplify::prune;
pub use nestor_passes::training::norm_name;
use nestor_passes::training::{
    Outer, counted, counts_name, outer, rare, training, window_name,
};
use std::time::{Duration, Instant};

/// The compiled parts of a model that learns. A clone shares the machine code.
#[derive(Clone)]
pub struct Trained {
    /// One step: streams, weights and optimiser states in; `loss`, `gradient_norm` and the
    /// next weights and states out.
    pub step: Artifact,
    /// The levels that learn, in the order of the level graph.
    pub levels: Vec<Acts>,
    /// `loss` and, where tokens are chosen, `loss.counts`, `[B, T]`; outputs where asked for.
    pub loss: Artifact,
    /// The form of every walk.
    pub choices: Vec<Choice>,
    /// How long each stage took.
    pub timings: Vec<(&'static str, Duration)>,
}

/// A level that learns weights at a clock of steps.
#[derive(Clone)]
pub struct Acts {
    /// Its name.
    pub name: String,
    /// It acts at the last of so many steps.
    pub period: usize,
    /// What it does then, where that is not part of every step; see
    /// [`nestor_passes::training::Rare`].
    pub update: Option<Artifact>,
    /// It returns to its initial values after so many steps.
    pub reset: Option<usize>,
    /// Its weights.
    pub weights: Vec<String>,
    /// Everything of it that returns: weights, states, sums of its window.
    pub holds: Vec<String>,
}

/// Compiles a model's training step and its loss.
///
/// # Errors
/// Where a pass or the backend stops.
pub fn trained(program: &Program, forms: FormOptions) -> Result<Trained, NativeError> {
    trained_for(program, forms, CPU)
}

/// What is learned on in single precision.
const CPU: Machine = Machine::Cpu(Precision::F32);

/// As [`trained`], for a machine.
///
/// # Errors
/// As [`trained`].
pub fn trained_for(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Trained, NativeError> {
    compiled(program, forms, machine, LOSS)
}

/// As [`trained`], and the loss comes with the model's outputs, so that answers can be counted.
///
/// # Errors
/// As [`trained`].
pub fn trained_with_outputs(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Trained, NativeError> {
    compiled(program, forms, machine, ANSWERS)
}

/// Compiles a model's loss alone, as it is in [`trained_for`]: nothing learns.
///
/// # Errors
/// As [`trained`].
pub fn measured_for(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Artifact, NativeError> {
    measured(program, forms, machine, LOSS)
}

/// As [`measured_for`], with the model's outputs as in [`trained_with_outputs`].
///
/// # Errors
/// As [`trained`].
pub fn measured_with_outputs(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Artifact, NativeError> {
    measured(program, forms, machine, ANSWERS)
}

/// Which outputs an evaluation takes.
type Wanted = fn(&str) -> bool;

const LOSS: Wanted = |output| output.starts_with("loss");
const ANSWERS: Wanted = |output| !output.starts_with("state.");

/// A program in forms that suit a machine, where nothing else is said of them.
fn forward_for(
    program: &Program,
    resume: bool,
    forms: FormOptions,
    machine: Machine,
) -> Result<Lowered, PassError> {
    forward(program, Purpose { resume, forms: machine.suited(forms) })
}

fn measured(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
    wanted: Wanted,
) -> Result<Artifact, NativeError> {
    let lowered = forward_for(program, false, forms, machine)?;
    native::compiled(&only(&lowered.graph, wanted), machine)
}

fn compiled(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
    wanted: Wanted,
) -> Result<Trained, NativeError> {
    let mut timings = Vec::new();
    let mut timed = |what: &'static str, since: &mut Instant| {
        timings.push((what, since.elapsed()));
        *since = Instant::now();
    };
    let mut since = Instant::now();
    let lowered = forward_for(program, false, forms, machine)?;
    timed("lower", &mut since);
    let graph = training(program, &lowered.graph, machine.suited(forms).keeping)?;
    timed("differentiate", &mut since);
    let step = native::compiled(&graph, machine)?;
    timed("step to machine code", &mut since);
    let levels = acts(program, machine)?;
    timed("levels to machine code", &mut since);
    let loss = native::compiled(&only(&lowered.graph, wanted), machine)?;
    timed("loss to machine code", &mut since);
    Ok(Trained { step, levels, loss, choices: lowered.choices, timings })
}

/// The levels that learn, each slower one with its update.
fn acts(program: &Program, machine: Machine) -> Result<Vec<Acts>, NativeError> {
    let updates = rare(program)?;
    let levels = outer(program)?;
    let one = |Outer { level, period }| {
        let update = updates.iter().find(|u| u.level == level.name);
        let update = update.map(|u| native::compiled(&u.graph, machine)).transpose()?;
        let reset = match level.reset {
            Some(Reset::Steps(n)) => Some(n),
            Some(Reset::Tokens(_) | Reset::Sequence | Reset::Never) | None => None,
        };
        let mut holds = Vec::new();
        for (k, statement) in level.objectives.iter().enumerate() {
            holds.extend(states(program, statement).map(|(_, name, _)| name));
            holds.extend(statement.targets.iter().flat_map(|t| {
                let path = program.weights[t.0].path.clone();
                [window_name(&path), path]
            }));
            holds.push(counts_name(&level.name, k));
        }
        let targets = level.objectives.iter().flat_map(|o| &o.targets);
        let weights = targets.map(|t| program.weights[t.0].path.clone()).collect();
        Ok(Acts { name: level.name.clone(), period, update, reset, weights, holds })
    };
    levels.into_iter().filter(Outer::learns).map(one).collect()
}

/// The model in which only levels that are `online` learn; nothing where none is.
pub fn online(program: &Program) -> Option<Program> {
    let mut program = program.clone();
    let mut any = false;
    for level in program.levels.node_weights_mut() {
        // The objectives stay, for the code's losses are numbered by them.
        let mut objectives = level.objectives.iter_mut();
        match level.online {
            true => any |= objectives.any(|o| !o.targets.is_empty()),
            false => objectives.for_each(|o| o.targets.clear()),
        }
    }
    any.then_some(program)
}

/// The states of a statement's algorithms and retentions, each with the weight it is of and its
/// name.
fn states<'p>(
    program: &'p Program,
    statement: &'p OuterMinimize,
) -> impl Iterator<Item = (&'p str, String, &'p State)> {
    statement.targets.iter().flat_map(|(id, algorithm, retention)| {
        let path = program.weights[*id].path.as_str();
        let named = |name: fn(&str, &str) -> String| {
            move |s: &'p State| (path, name(&s.name, path), s)
        };
        let kept = retention.iter().flat_map(|r| &r.states).map(named(retained_name));
        algorithm.states.iter().map(named(optimiser_name)).chain(kept)
    })
}

/// What a model answers without its loss, nothing of the future.
pub struct Answers {
    /// A sequence from its beginning: outputs and the states at its end.
    pub begin: Artifact,
    /// It goes on: states in, outputs and the next states out; made for a token at a time.
    pub step: Artifact,
}

/// Compiles what a model answers.
///
/// # Errors
/// As [`trained`].
pub fn answers(program: &Program) -> Result<Answers, NativeError> {
    answers_for(program, FormOptions::default(), CPU)
}

/// As [`answers`], for a machine.
///
/// # Errors
/// As [`trained`].
pub fn answers_for(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Answers, NativeError> {
    let compiled = |resume, form| -> Result<Artifact, NativeError> {
        let forms = FormOptions { form, ..forms };
        let lowered = forward_for(program, resume, forms, machine)?;
        let calls = if resume { Calls::OfOneToken } else { Calls::OfManyTokens };
        let graph = only(&lowered.graph, |n| !n.starts_with("loss"));
        native::compiled_for(&graph, calls, machine)
    };
    let begin = compiled(false, None)?;
    // A chunk of one token is a walk of one step.
    let step = match compiled(true, Some(Form::Sequential)) {
        Err(NativeError::Pass(PassError::Limitation { code: "L-form", .. })) => {
            compiled(true, None)?
        }
        step => step?,
    };
    Ok(Answers { begin, step })
}

/// Compiles what a model makes of a text that is read in segments: the loss of every token, and the states at the end.
///
/// # Errors
/// As [`trained`].
pub fn scored_for(
    program: &Program,
    forms: FormOptions,
    machine: Machine,
) -> Result<Answers, NativeError> {
    let compiled = |resume| -> Result<Artifact, NativeError> {
        let graph = forward_for(program, resume, forms, machine)?.graph;
        let wanted = |name: &str| name == "loss" || name.starts_with("state.");
        native::compiled(&only(&graph, wanted), machine)
    };
    Ok(Answers { begin: compiled(false)?, step: compiled(true)? })
}

/// The graph with some of its outputs.
fn only(graph: &Graph, keep: impl Fn(&str) -> bool) -> Graph {
    let mut graph = graph.clone();
    graph.outputs.retain(|o| keep(&o.name));
    prune(&graph)
}

/// How a weight or an optimiser state starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// Drawn from a distribution, by seed and path.
    Drawn(Initial),
    /// These values.
    Values(Array),
    /// As the weight of this path starts.
    Weight(String),
}

/// Every weight and optimiser state of a model by path, with its shape and how it starts.
///
/// # Errors
/// Where initial values cannot be computed.
pub fn starts(
    program: &Program,
) -> Result<Vec<(String, Vec<usize>, Start)>, tensor::RunError> {
    let mut out = Vec::new();
    let shape =
        |dims: &nestor_ir::ty::Dims| dims.iter().filter_map(|d| d.fixed()).collect();
    let reads: Vec<WeightId> = read_levels(program)
        .flat_map(|l| l.objectives.iter().flat_map(|o| o.targets.iter().map(|t| t.0)))
        .collect();
    for (id, weight) in program.weights.iter() {
        if reads.contains(&id) && matches!(weight.initial, Initial::From(_)) {
            continue;
        }
        let start = match &weight.initial {
            Initial::Values(graph) => Start::Values(constant(graph)?),
            Initial::From(id) => Start::Weight(program.weights[*id].path.clone()),
            drawn => Start::Drawn(drawn.clone()),
        };
        out.push((weight.path.clone(), shape(&weight.dims), start));
    }
    let zeros = |dims: &[usize]| {
        let count = dims.iter().product();
        Start::Values(Array::real(dims.to_vec(), vec![0.0; count]))
    };
    // What a level at a clock of tokens holds lives and ends with its sequence.
    let outer =
        program.levels.node_weights().filter(|l| matches!(l.clock, Clock::Steps(_)));
    for level in outer {
        for (k, objective) in level.objectives.iter().enumerate() {
            for (path, name, state) in states(program, objective) {
                let start = match &state.initial {
                    StateInitial::Weights => Start::Weight(path.to_owned()),
                    StateInitial::Drawn(Initial::Values(graph)) => {
                        Start::Values(constant(graph)?)
                    }
                    StateInitial::Drawn(drawn) => Start::Drawn(drawn.clone()),
                    // Only a memory's state does.
                    StateInitial::Learned(id) => {
                        Start::Weight(program.weights[*id].path.clone())
                    }
                    StateInitial::Values(graph) => Start::Values(constant(graph)?),
                };
                out.push((name, shape(&state.dims), start));
            }
            if !matches!(level.clock, Clock::Steps(n) if n > 1) {
                continue;
            }
            for (id, ..) in &objective.targets {
                let weight = &program.weights[*id];
                let dims: Vec<usize> = shape(&weight.dims);
                let zeros = zeros(&dims);
                out.push((window_name(&weight.path), dims, zeros));
            }
            if counted(program, objective) {
                out.push((counts_name(&level.name, k), vec![], zeros(&[])));
            }
        }
    }
    Ok(out)
}

/// The levels that learn weights while they read.
fn read_levels(program: &Program) -> impl Iterator<Item = &Level> {
    let reads = |l: &&Level| l.memory.is_none() && matches!(l.clock, Clock::Tokens(_));
    program.levels.node_weights().filter(reads)
}

fn constant(graph: &Graph) -> Result<Array, tensor::RunError> {
    let sizes = Sizes { batch: 1, time: 1, start: 0 };
    let found = tensor::run(graph, &[], &sizes, Precision::F64)?;
    found.into_iter().next().ok_or(tensor::RunError::Count { found: 0, expected: 1 })
}

/// A hash of everything a model's meaning depends on: its files and its settings.
pub fn spec_hash(loaded: &crate::source::Loaded, entry: &str, set: &[String]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new().chain_update(entry);
    for (id, _) in &loaded.files {
        hash.update(&loaded.sources.get(*id).text);
        hash.update([0]);
    }
    for setting in set {
        hash.update(setting);
        hash.update([0]);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
