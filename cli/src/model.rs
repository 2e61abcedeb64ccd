//! A compiled model with its weights: what the training loop steps and evaluates.

use crate::device::{Place as On, unready};
use crate::fail::Failure;
use crate::from::Others;
use crate::levels::Levels;
use crate::losses::{Losses, asked, failed, reals, sizes};
use crate::not_finite;
use crate::roles::Roles;
use nestor_compiler::Program;
use nestor_compiler::interpret::Data as Values;
use nestor_compiler::trained::{Start, Trained, starts};
use nestor_runtime::executor;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::HostTensor;
use nestor_runtime::train::rng::{self, initial_values};
use nestor_runtime::train::{
    Batch, LoadError, Measure, Place, RowTally, StepError, StepReport, TrainProgram,
};

/// A model that learns.
pub(crate) struct Model {
    program: Program,
    roles: Roles,
    paths: Vec<String>,
    step: Executor,
    losses: Losses,
    levels: Levels,
    steps: u64,
    /// Whether the weights of what is measured are those of the step.
    fresh: bool,
}

/// Every weight and optimiser state at its start.
pub(crate) fn initial(program: &Program, seed: u64) -> Result<Vec<HostTensor>, Failure> {
    initial_from(program, seed, None)
}

/// As [`initial`]; weights that another run has start as they are there.
pub(crate) fn initial_from(
    program: &Program,
    seed: u64,
    mut others: Option<&mut Others>,
) -> Result<Vec<HostTensor>, Failure> {
    let all = starts(program).map_err(Failure::bug)?;
    let mut out: Vec<Option<HostTensor>> = Vec::new();
    let mut waiting = Vec::new();
    for (n, (path, dims, start)) in all.into_iter().enumerate() {
        let weight = program.weights.values().any(|w| w.path == path);
        if let (Some(others), true) = (others.as_deref_mut(), weight)
            && let Some(found) = others.weight(&path, &dims)?
        {
            out.push(Some(found));
            continue;
        }
        let data = match start {
            Start::Values(array) => match array.data {
                Values::Real(v) => v.iter().map(|x| *x as f32).collect(),
                Values::Int(_) | Values::Bool(_) => vec![],
            },
            Start::Weight(of) => {
                waiting.push((n, path, of));
                out.push(None);
                continue;
            }
            Start::Drawn(kind) => {
                let kind = rng::Initial::of(&kind).unwrap_or(rng::Initial::Constant(0.0));
                let values = initial_values(kind, &dims, seed, &path);
                values.iter().map(|x| *x as f32).collect()
            }
        };
        out.push(Some(HostTensor::f32(path, &dims, data)));
    }
    // What starts as another weight may come before it; nothing starts in a circle.
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|(n, path, of)| {
            let source = out.iter().flatten().find(|t| t.name == *of);
            let found = source.map(|t| HostTensor { name: path.clone(), ..t.clone() });
            out[*n] = found;
            out[*n].is_none()
        });
        if waiting.len() == before {
            let (_, path, of) = &waiting[0];
            return Err(Failure::bug(format!("`{path}` starts as `{of}`")));
        }
    }
    Ok(out.into_iter().flatten().collect())
}

impl Model {
    /// A model with its weights and states at `state`.
    pub(crate) fn new(
        program: &Program,
        compiled: Trained,
        state: Vec<HostTensor>,
        steps: u64,
        on: &On,
    ) -> Result<Self, Failure> {
        let mut model = Self {
            program: program.clone(),
            roles: Roles::of(program)?,
            paths: state.iter().map(|t| t.name.clone()).collect(),
            step: on.executor(compiled.step).map_err(unready)?,
            losses: Losses::new(program, compiled.loss, on)?,
            levels: Levels::new(program, compiled.levels, &state, steps, on)?,
            steps,
            fresh: false,
        };
        if !model.step.guard(&["loss", "gradient_norm"]) {
            return Err(Failure::bug("a step updates weights before its loss is known"));
        }
        model.load(state).map_err(Failure::data)?;
        Ok(model)
    }

    /// What each launch of a step took.
    pub(crate) fn measured(&mut self) -> &mut Executor {
        &mut self.step
    }
}

impl Measure for Model {
    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<RowTally>, StepError> {
        if !self.fresh {
            for path in self.losses.asks(&self.paths) {
                self.losses.set(&self.step.get(&path).map_err(failed)?)?;
            }
            self.fresh = true;
        }
        self.losses.evaluate(batch)
    }
}

impl TrainProgram for Model {
    fn step(&mut self, batch: &Batch, step_index: u64) -> Result<StepReport, StepError> {
        let mut streams = self.roles.streams(batch);
        let all = streams.len();
        let number = |name: &str, n: u64| HostTensor::f32(name, &[], vec![n as f32]);
        streams.extend([number("step", step_index), number("steps", self.steps)]);
        let given = asked(&self.step, &streams);
        let before = self.levels.before(&self.step, step_index);
        let found = self.step.run(&given, sizes(batch)).map_err(failed)?;
        self.fresh = false;
        let scalar = |name: &str| {
            reals(&found, name)
                .and_then(|v| v.first())
                .map_or(f64::NAN, |x| f64::from(*x))
        };
        let mut report = StepReport {
            loss: scalar("loss"),
            gradient_norm: scalar("gradient_norm"),
            levels: vec![],
        };
        if !report.loss.is_finite() || !report.gradient_norm.is_finite() {
            let (rows, length) = (batch.rows, batch.length);
            let (state, streams) = (self.state(), &streams[..all]);
            let place = not_finite::find(&self.program, &state, streams, rows, length);
            return Err(StepError::NotFinite(place));
        }
        let levels = self.levels.after(&mut self.step, &found, &before, step_index);
        report.levels = levels.map_err(failed)?;
        Ok(report)
    }

    fn state(&self) -> Vec<HostTensor> {
        let one = |p: &String| self.step.get(p).ok().or_else(|| self.levels.get(p));
        self.paths.iter().filter_map(one).collect()
    }

    fn load(&mut self, tensors: Vec<HostTensor>) -> Result<(), LoadError> {
        let names: Vec<String> =
            self.step.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
        let wrong = |e: executor::RunError| LoadError::Missing(vec![e.to_string()]);
        let mut taken = Vec::new();
        for tensor in &tensors {
            let by_step = names.contains(&tensor.name);
            if by_step {
                self.step.set(tensor).map_err(wrong)?;
            }
            if self.levels.set(tensor).map_err(wrong)? || by_step {
                taken.push(tensor.name.clone());
            }
        }
        self.paths.retain(|p| taken.contains(p));
        self.fresh = false;
        Ok(())
    }

    fn place(&self, path: &str) -> Place {
        not_finite::weight(&self.program, path)
    }
}
