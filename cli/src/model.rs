//! A compiled model with its weights: what the training loop steps and evaluates.

use crate::device::{Place as On, unready};
use crate::fail::Failure;
use crate::from::Others;
use crate::levels::Levels;
use crate::not_finite;
use crate::roles::Roles;
use nestor_compiler::Program;
use nestor_compiler::interpret::Data as Values;
use nestor_compiler::trained::{Start, Trained, starts};
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::{self, initial_values};
use nestor_runtime::train::{
    Batch, LoadError, Place, RowTally, StepError, StepReport, TrainProgram,
};
use nestor_runtime::{Sizes, executor};
use std::ops::Range;

/// A model that learns.
pub(crate) struct Model {
    program: Program,
    roles: Roles,
    paths: Vec<String>,
    step: Executor,
    loss: Executor,
    levels: Levels,
    steps: u64,
    /// Whether the loss's weights are those of the step.
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
                let kind = drawn(&kind);
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

fn drawn(kind: &nestor_compiler::level::Initial) -> rng::Initial {
    use nestor_compiler::level::Initial;
    match kind {
        Initial::Normal(std) => rng::Initial::Normal { std: *std },
        Initial::Uniform(bound) => rng::Initial::Uniform { bound: *bound },
        Initial::Orthogonal(gain) => rng::Initial::Orthogonal { gain: *gain },
        Initial::Values(_) | Initial::From(_) => rng::Initial::Constant(0.0),
    }
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
        let roles = Roles::of(program)?;
        let mut model = Self {
            program: program.clone(),
            roles,
            paths: state.iter().map(|t| t.name.clone()).collect(),
            step: on.executor(compiled.step).map_err(unready)?,
            loss: on.executor(compiled.loss).map_err(unready)?,
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

/// The tensors that an executor asks for.
fn asked<'t>(executor: &Executor, tensors: &'t [HostTensor]) -> Vec<&'t HostTensor> {
    let names: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    tensors.iter().filter(|t| names.contains(&t.name)).collect()
}

fn sizes(batch: &Batch) -> Sizes {
    Sizes { batch: batch.rows, time: batch.length, start: 0 }
}

fn failed(error: executor::RunError) -> StepError {
    StepError::Failed(Box::new(error))
}

fn reals<'t>(found: &'t [HostTensor], name: &str) -> Option<&'t [f32]> {
    match &found.iter().find(|t| t.name == name)?.data {
        Data::F32(v) => Some(v),
        _ => None,
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

    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<RowTally>, StepError> {
        if !self.fresh {
            let names: Vec<String> =
                self.loss.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
            for path in self.paths.iter().filter(|p| names.contains(p)) {
                let tensor = self.step.get(path).map_err(failed)?;
                self.loss.set(&tensor).map_err(failed)?;
            }
            self.fresh = true;
        }
        let streams = self.roles.streams(batch);
        let given = asked(&self.loss, &streams);
        let found = self.loss.run(&given, sizes(batch)).map_err(failed)?;
        Ok(tallies(batch, &found))
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

/// What each sequence adds to an evaluation, from the loss of its tokens, from which of them are
/// asked, and, where there are logits, from which is largest.
fn tallies(batch: &Batch, found: &[HostTensor]) -> Vec<RowTally> {
    if batch.numbers.iter().any(|n| n.target) {
        return foretold(batch, found);
    }
    let Batch { rows, length, targets, among, .. } = batch;
    let losses = reals(found, "loss").unwrap_or(&[]);
    let counts = reals(found, "loss.counts");
    let logits = found.iter().find_map(|t| match (&t.dims[..], &t.data) {
        ([r, l, n], Data::F32(v)) if r == rows && l == length => Some((*n, v)),
        _ => None,
    });
    let tally = |row: usize| {
        if losses.len() != rows * length {
            // A loss of the whole batch.
            let mean = f64::from(losses.first().copied().unwrap_or(f32::NAN));
            let asked = *length as f64;
            return RowTally { nats: mean * asked, asked, ..RowTally::default() };
        }
        RowTally::of((row * length..(row + 1) * length).map(|at| {
            // A model may learn from more than is asked; what counts is what is asked.
            let chosen = f64::from(counts.map_or(1.0, |c| c[at]));
            let count = if targets[at] < 0 { 0.0 } else { chosen };
            let right = |(n, logits): (usize, &Vec<f32>)| {
                let Range { start, end } = among.clone().unwrap_or(0..n);
                let asked = &logits[at * n + start..at * n + end.min(n)];
                (start + largest(asked)) as i32 == targets[at]
            };
            let right = count > 0.0 && logits.is_some_and(right);
            (count, f64::from(losses[at]), right)
        }))
    };
    (0..*rows).map(tally).collect()
}

/// What each sequence adds where numbers are foretold: the errors where they are asked.
fn foretold(batch: &Batch, found: &[HostTensor]) -> Vec<RowTally> {
    let Batch { rows, length, .. } = batch;
    let Some(target) = batch.numbers.iter().find(|n| n.target) else { return vec![] };
    let wide = [&[*rows, *length], &target.dims[..]].concat();
    let forecast = found.iter().find(|t| t.dims == wide && t.name != "loss");
    let forecast = forecast.and_then(|t| reals(found, &t.name)).unwrap_or(&[]);
    let losses = reals(found, "loss").unwrap_or(&[]);
    let width: usize = target.dims.iter().product();
    let row = |row: usize| {
        let mut tally = RowTally::default();
        for at in row * length..(row + 1) * length {
            if batch.targets[at] < 0 {
                continue;
            }
            let place = at * width..(at + 1) * width;
            let guess = forecast.get(place.clone()).unwrap_or(&[]);
            let one = RowTally::foretold(&target.values[place], guess);
            tally.asked += one.asked;
            tally.values += one.values;
            tally.squared += one.squared;
            tally.absolute += one.absolute;
            tally.nats += f64::from(losses.get(at).copied().unwrap_or(f32::NAN));
        }
        tally
    };
    (0..*rows).map(row).collect()
}

/// The first of the largest.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (n, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = n;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_beside_the_answer_does_not_count() {
        let batch = Batch {
            rows: 1,
            length: 3,
            inputs: vec![0, 1, 0],
            targets: vec![-100, 1, -100],
            numbers: vec![],
            among: None,
        };
        let found = |name: &str, dims: &[usize], values: &[f32]| HostTensor {
            name: name.into(),
            dims: dims.to_vec(),
            data: Data::F32(values.to_vec()),
        };
        let losses = found("loss", &[1, 3], &[5.0, 2.0, 7.0]);
        let logits = found("logits", &[1, 3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        let tally = tallies(&batch, &[losses, logits])[0];
        assert_eq!((tally.asked, tally.nats, tally.right), (1.0, 2.0, 1.0));
        assert_eq!((tally.answers, tally.whole), (1.0, 1.0));
    }
}
