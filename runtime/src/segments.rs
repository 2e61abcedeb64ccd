//! Reads texts side by side, segment after segment: what every token cost, with states handed over or not.
//!
//! ```text
//! begin   tokens, next.tokens [B, L]             a segment begins a sequence: loss [B, L], states
//! step    tokens, next.tokens [B, L], states     it goes on
//! ```

use crate::device::Shared;
use crate::executor::{Executor, RunError};
use crate::reader::{names, ready};
use crate::tensor_file::{Data, HostTensor};
use crate::train::Batch;
use nestor_ir::artifact::Artifact;
use nestor_ir::dim::Sizes;

/// A model with its weights, and where it stands.
pub struct Segments {
    begin: Executor,
    step: Executor,
    stream: String,
    states: Vec<HostTensor>,
    position: usize,
}

/// Why a text cannot be read in segments.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The plan did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no loss of its own for every token.
    #[error("the model's loss is not one of every token")]
    NoLosses,
}

impl Segments {
    /// A reader of texts; `stream` is the input of tokens.
    ///
    /// # Errors
    /// Where a weight is missing or of another shape.
    pub fn new(
        [begin, step]: [Artifact; 2],
        device: Option<&Shared>,
        stream: &str,
        weights: &[HostTensor],
    ) -> Result<Self, RunError> {
        Ok(Self {
            begin: ready(begin, device, weights)?,
            step: ready(step, device, weights)?,
            stream: stream.to_owned(),
            states: vec![],
            position: 0,
        })
    }

    /// The next tokens are the first of a sequence.
    pub fn forget(&mut self) {
        self.position = 0;
        self.states.clear();
    }

    /// Reads the next segment of every text: what each of its tokens cost, `[rows, length]`.
    ///
    /// # Errors
    /// Where the plan does not run, or gives no losses.
    pub fn read(&mut self, segment: &Batch) -> Result<Vec<f32>, SegmentError> {
        let Batch { rows, length, inputs, targets, .. } = segment;
        let executor = if self.position == 0 { &mut self.begin } else { &mut self.step };
        let stream = |name: String, tokens: &[i32]| HostTensor {
            name,
            dims: vec![*rows, *length],
            data: Data::I32(tokens.to_vec()),
        };
        let streams = [
            stream(self.stream.clone(), inputs),
            stream(format!("next.{}", self.stream), targets),
        ];
        let asked = names(executor);
        let all = streams.iter().chain(&self.states);
        let given: Vec<&HostTensor> = all.filter(|t| asked.contains(&t.name)).collect();
        let sizes = Sizes { batch: *rows, time: *length, start: self.position };
        let mut found = executor.run(&given, sizes)?;
        let losses = found.iter().find_map(|t| match &t.data {
            Data::F32(v) if t.name == "loss" && v.len() == rows * length => Some(v),
            _ => None,
        });
        let losses = losses.ok_or(SegmentError::NoLosses)?.clone();
        found.retain(|t| t.name.starts_with("state."));
        self.states = found;
        self.position += length;
        Ok(losses)
    }
}
