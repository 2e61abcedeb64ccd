//! The loss of a model without learning, and what each sequence of a batch adds to an evaluation.

use crate::device::{Place, unready};
use crate::fail::Failure;
use crate::roles::Roles;
use nestor_compiler::Program;
use nestor_compiler::artifact::Artifact;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::{Batch, Measure, RowTally, StepError};
use nestor_runtime::{Sizes, executor};
use std::ops::Range;

/// A model's compiled loss with its weights.
pub(crate) struct Losses {
    roles: Roles,
    executor: Executor,
}

impl Losses {
    /// The compiled loss, before it has weights.
    pub(crate) fn new(
        program: &Program,
        loss: Artifact,
        on: &Place,
    ) -> Result<Self, Failure> {
        let executor = on.executor(loss).map_err(unready)?;
        Ok(Self { roles: Roles::of(program)?, executor })
    }

    /// As [`Self::new`], with the weights of a run.
    pub(crate) fn of(
        program: &Program,
        loss: Artifact,
        state: &[HostTensor],
        on: &Place,
    ) -> Result<Self, Failure> {
        let mut losses = Self::new(program, loss, on)?;
        for tensor in asked(&losses.executor, state) {
            losses.executor.set(tensor).map_err(Failure::data)?;
        }
        Ok(losses)
    }

    /// Those of the names that it asks for.
    pub(crate) fn asks(&self, names: &[String]) -> Vec<String> {
        let inputs = self.executor.inputs();
        let asked = |name: &&String| inputs.iter().any(|(n, _)| n == *name);
        names.iter().filter(asked).cloned().collect()
    }

    /// A weight.
    pub(crate) fn set(&mut self, tensor: &HostTensor) -> Result<(), StepError> {
        self.executor.set(tensor).map_err(failed)
    }
}

impl Measure for Losses {
    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<RowTally>, StepError> {
        let streams = self.roles.streams(batch);
        let given = asked(&self.executor, &streams);
        let found = self.executor.run(&given, sizes(batch)).map_err(failed)?;
        Ok(tallies(batch, &found))
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

/// The tensors that an executor asks for.
pub(crate) fn asked<'t>(
    executor: &Executor,
    tensors: &'t [HostTensor],
) -> Vec<&'t HostTensor> {
    let names: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    tensors.iter().filter(|t| names.contains(&t.name)).collect()
}

/// The sizes of a batch.
pub(crate) fn sizes(batch: &Batch) -> Sizes {
    Sizes { batch: batch.rows, time: batch.length, start: 0 }
}

/// A run that broke off, as a step that did.
pub(crate) fn failed(error: executor::RunError) -> StepError {
    StepError::Failed(Box::new(error))
}

/// The numbers of the tensor of this name.
pub(crate) fn reals<'t>(found: &'t [HostTensor], name: &str) -> Option<&'t [f32]> {
    match &found.iter().find(|t| t.name == name)?.data {
        Data::F32(v) => Some(v),
        _ => None,
    }
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
