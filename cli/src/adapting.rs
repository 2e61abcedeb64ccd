//! Levels that are `online` go on learning from a text while it is written: each window of the run's length
//! is a step of training, in which they alone learn.

use crate::device::Place;
use crate::fail::Failure;
use crate::model::{Model, initial};
use crate::run_folder::Run;
use crate::session::compiled;
use nestor_compiler::Program;
use nestor_compiler::trained::online;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::checkpoint::Position;
use nestor_runtime::train::{Batch, TrainProgram};

/// Begins the names of what is kept beside the fast states.
const SLOW: &str = "slow.";
/// The tokens of the open window.
const TEXT: &str = "slow.text";
/// The steps taken.
const STEP: &str = "slow.step";

/// The slow side of a model that reads.
pub(crate) struct Adapting {
    model: Model,
    length: usize,
    step: u64,
    text: Vec<i32>,
}

impl Adapting {
    /// From where a run ended, with its weights.
    pub(crate) fn new(
        run: &Run,
        program: &Program,
        position: &Position,
        weights: &[HostTensor],
        place: &Place,
    ) -> Result<Self, Failure> {
        let Some(learns) = online(program) else {
            return Err(Failure::usage(format!(
                "no level of `{}` goes on learning: write `online` behind the clock of one",
                program.name
            )));
        };
        let compiled = compiled(&learns, run, place)?;
        let start = initial(&learns, run.settings.seed)?;
        let mut model = Model::new(&learns, compiled, start, run.settings.steps, place)?;
        model.load(weights.to_vec()).map_err(Failure::data)?;
        let length = run.settings.length;
        Ok(Self { model, length, step: position.step, text: vec![] })
    }

    /// Goes on from what another call kept, where it kept something.
    pub(crate) fn resume(&mut self, kept: &[HostTensor]) -> Result<(), Failure> {
        let mut weights = Vec::new();
        for tensor in kept {
            match (tensor.name.as_str(), &tensor.data) {
                (TEXT, Data::I32(tokens)) => self.text.clone_from(tokens),
                (STEP, Data::I32(step)) => {
                    let step = step.first().and_then(|s| u64::try_from(*s).ok());
                    self.step = step.unwrap_or(self.step);
                }
                (name, _) => {
                    let name = name.strip_prefix(SLOW).unwrap_or(name).to_owned();
                    weights.push(HostTensor { name, ..tensor.clone() });
                }
            }
        }
        if weights.is_empty() {
            Ok(())
        } else {
            self.model.load(weights).map_err(Failure::data)
        }
    }

    /// What a later call goes on from.
    pub(crate) fn kept(&self) -> Vec<HostTensor> {
        let mut out = self.weights();
        out.iter_mut().for_each(|t| t.name.insert_str(0, SLOW));
        let numbers = |name: &str, values: Vec<i32>| HostTensor {
            name: name.to_owned(),
            dims: vec![values.len()],
            data: Data::I32(values),
        };
        out.push(numbers(TEXT, self.text.clone()));
        out.push(numbers(STEP, vec![i32::try_from(self.step).unwrap_or(i32::MAX)]));
        out
    }

    /// The weights as they are now.
    pub(crate) fn weights(&self) -> Vec<HostTensor> {
        self.model.state()
    }

    /// Learns from what was read, window by window; whether a window was complete.
    pub(crate) fn read(&mut self, tokens: &[i32]) -> Result<bool, Failure> {
        self.text.extend(tokens);
        let mut learned = false;
        while self.text.len() > self.length {
            let window = &self.text[..self.length + 1];
            let batch = Batch::windows(1, self.length, window);
            self.step += 1;
            self.model.step(&batch, self.step).map_err(Failure::data)?;
            self.text.drain(..self.length);
            learned = true;
        }
        Ok(learned)
    }
}

/// Whether a tensor of a state file is of the slow side.
pub(crate) fn is_slow(tensor: &HostTensor) -> bool {
    tensor.name.starts_with(SLOW)
}
