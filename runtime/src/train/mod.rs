//! Training, without knowing what is trained.
//!
//! The loop needs little of a model: take a step, evaluate, hand over its state, take it back.
//! That is [`TrainProgram`] (evaluating alone is [`Measure`]); an executor of a compiled plan implements it, and so does a
//! five-line model in a test. Everything that must survive a crash lives in a run directory:
//! a run that was killed at any moment and resumed ends with the same bits as one that was not,
//! because step `s` depends only on the state after step `s - 1`, on the seed, and on `s`.

pub mod checkpoint;
pub mod curve;
pub mod data;
pub mod durable;
pub(crate) mod fault;
pub mod files;
#[cfg(test)]
mod killed;
pub mod metrics;
pub mod progress;
pub mod rng;
pub mod run_loop;
pub mod sealed;
pub mod tokens;

use crate::tensor_file::{HostTensor, Mismatch};
use std::fmt;
use std::ops::Range;

/// What can be evaluated.
pub trait Measure {
    /// What each sequence of a batch adds to an evaluation. Leaves the state as it is.
    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<RowTally>, StepError>;
}

/// One training program. Its state (weights and optimiser states, named by path) lives inside.
pub trait TrainProgram: Measure {
    /// Takes step `step_index` (from 1) on a batch. The new state and the report depend on the
    /// state, the batch and the index alone, to the bit. A step that meets a value that is not
    /// finite leaves the state as it was.
    fn step(&mut self, batch: &Batch, step_index: u64) -> Result<StepReport, StepError>;

    /// Every weight and optimiser state, by path.
    fn state(&self) -> Vec<HostTensor>;

    /// Replaces the whole state. The loop has compared names, types and shapes with
    /// [`TrainProgram::state`] already (see [`fits`]).
    fn load(&mut self, tensors: Vec<HostTensor>) -> Result<(), LoadError>;

    /// Where the tensor of this path belongs, if the program knows; used to say where a value
    /// stopped being finite.
    fn place(&self, path: &str) -> Place {
        Place { what: format!("`{path}`"), level: None, memory: None }
    }
}

/// Sequences to learn from, row-major `[rows, length]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// How many sequences; the last batch of an evaluation may hold fewer than the others.
    pub rows: usize,
    /// How many tokens each has.
    pub length: usize,
    /// The tokens.
    pub inputs: Vec<i32>,
    /// For every token the target that is asked there; below zero where none is.
    pub targets: Vec<i32>,
    /// Numbers that come with the tokens.
    pub numbers: Vec<Numbers>,
    /// The tokens among which the likeliest answer is sought; among all where there is none.
    pub among: Option<Range<usize>>,
}

/// Numbers for every token of a batch.
#[derive(Clone, PartialEq, Debug)]
pub struct Numbers {
    /// The stream's name.
    pub name: String,
    /// The dimensions of a token's.
    pub dims: Vec<usize>,
    /// The numbers, `[rows, length, dims]`.
    pub values: Vec<f32>,
    /// Whether they are to be foretold, where a target is asked.
    pub target: bool,
}

impl Batch {
    /// Windows of text `[rows, length + 1]`: every next token is asked.
    pub fn windows(rows: usize, length: usize, tokens: &[i32]) -> Self {
        let part = |from: usize| -> Vec<i32> {
            let rows = tokens.chunks_exact(length + 1);
            rows.flat_map(|r| r[from..from + length].iter().copied()).collect()
        };
        let (inputs, targets) = (part(0), part(1));
        Self { rows, length, inputs, targets, numbers: vec![], among: None }
    }
}

/// What a sequence adds to an evaluation.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RowTally {
    /// The loss, summed over what is asked.
    pub nats: f64,
    /// How many targets are asked.
    pub asked: f64,
    /// How many of them have the largest logit; zero where no logits are known.
    pub right: f64,
    /// How many answers are asked: runs of targets that nothing unasked stands between.
    pub answers: f64,
    /// How many of these are right as a whole.
    pub whole: f64,
    /// How many numbers are foretold.
    pub values: f64,
    /// The sum of their squared errors.
    pub squared: f64,
    /// The sum of their absolute errors.
    pub absolute: f64,
}

impl RowTally {
    /// The tally of numbers and of what was foretold of them.
    pub fn foretold(truth: &[f32], found: &[f32]) -> Self {
        let mut tally =
            Self { asked: 1.0, values: truth.len() as f64, ..Self::default() };
        for (y, x) in truth.iter().zip(found) {
            let error = f64::from(*x) - f64::from(*y);
            tally.squared += error * error;
            tally.absolute += error.abs();
        }
        tally
    }

    /// The tally of targets in order: for each whether it is asked, its loss, whether it is right.
    pub fn of(targets: impl IntoIterator<Item = (f64, f64, bool)>) -> Self {
        let mut tally = Self::default();
        // Whether an answer is open, and right so far.
        let mut open = None;
        for (count, nats, right) in targets {
            if count == 0.0 {
                tally.whole += f64::from(open.take().unwrap_or(false));
                continue;
            }
            tally.answers += f64::from(open.is_none());
            open = Some(open.unwrap_or(true) && right);
            tally.asked += count;
            tally.nats += count * nats;
            tally.right += if right { count } else { 0.0 };
        }
        tally.whole += f64::from(open.unwrap_or(false));
        tally
    }
}

/// What a step says about itself.
#[derive(Clone, PartialEq, Debug)]
pub struct StepReport {
    /// Mean loss of the batch before the update, in nats a token.
    pub loss: f64,
    /// Length of the gradient of all weights, before clipping.
    pub gradient_norm: f64,
    /// Levels that acted at this step, where there are several.
    pub levels: Vec<LevelReport>,
}

/// What a level says when it acts.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct LevelReport {
    /// Its name.
    pub name: String,
    /// It acts at the last of so many steps.
    pub period: u64,
    /// How often it acted since the run began, this time included.
    pub updates: u64,
    /// Length of the gradient of its weights, the mean over its window, before clipping.
    pub gradient_norm: f64,
    /// How far its weights went for a gradient of length one: what a rate is to gradient descent.
    /// A level of every step is measured at every tenth.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
}

/// Why a step did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A value is infinite or not a number.
    #[error("a value that is not finite in {0}")]
    NotFinite(Place),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Where something happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// What it is: the output of a layer, a weight, a gradient; with its path.
    pub what: String,
    /// The level it is learned at.
    pub level: Option<String>,
    /// The memory it belongs to.
    pub memory: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(memory) = &self.memory {
            write!(f, ", memory `{memory}`")?;
        }
        if let Some(level) = &self.level {
            write!(f, ", level `{level}`")?;
        }
        Ok(())
    }
}

/// Why a state cannot be taken.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum LoadError {
    /// Tensors that the model has and the file has not.
    #[error("these tensors are missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Tensors that the file has and the model has not.
    #[error("these tensors are not of this model: {}", .0.join(", "))]
    Unexpected(Vec<String>),
    /// A tensor of another type or shape.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Whether `found` is exactly the set of tensors of `expected`, each of the same type and shape.
pub fn fits(expected: &[HostTensor], found: &[HostTensor]) -> Result<(), LoadError> {
    let absent = |from: &[HostTensor], of: &[HostTensor]| -> Vec<String> {
        let mut names: Vec<&str> = of.iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        let missing =
            from.iter().filter(|t| names.binary_search(&t.name.as_str()).is_err());
        missing.map(|t| t.name.clone()).collect()
    };
    let missing = absent(expected, found);
    if !missing.is_empty() {
        return Err(LoadError::Missing(missing));
    }
    let unexpected = absent(found, expected);
    if !unexpected.is_empty() {
        return Err(LoadError::Unexpected(unexpected));
    }
    let mut order: Vec<&HostTensor> = found.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    for want in expected {
        let at = order.binary_search_by(|t| t.name.as_str().cmp(&want.name));
        let tensor = order[at.expect("no name is missing")];
        tensor.expect(want.dtype(), &want.dims)?;
    }
    Ok(())
}
