//! A trained model that reads tokens as they come and says what may come next.
//!
//! ```text
//! begin   tokens [1, T]                    a sequence begins: logits, states at its end
//! step    tokens [1, T], states            it goes on: logits, the next states
//! ```
//!
//! Memories that keep every pair have states that grow with the sequence: `[1, P, ..]` in, `P` the
//! tokens read so far, and `[1, P+T, ..]` out.

use crate::device::Shared;
use crate::executor::{Executor, RunError};
use crate::tensor_file::{Data, HostTensor};
use nestor_ir::artifact::Artifact;
use nestor_ir::dim::Sizes;

/// Where in a sequence a model stands: all that the next tokens depend on besides the weights.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Past {
    /// Tokens read so far.
    pub position: usize,
    /// The fast states, `state.<name>`.
    pub states: Vec<HostTensor>,
    /// The logits of the next token; empty before the first.
    pub logits: Vec<f32>,
}

/// Why a model cannot read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The plan did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It answers nothing that has an entry for each token of the vocabulary.
    #[error("the model has no output of logits `[{0}]`")]
    NoLogits(usize),
}

/// A model with its weights, somewhere in a sequence.
pub struct Reader {
    begin: Executor,
    step: Executor,
    stream: String,
    vocabulary: usize,
    past: Past,
}

impl Reader {
    /// A reader at the start of a sequence. `stream` is the input of tokens, each below
    /// `vocabulary`; both programs, of a beginning and of a step, find their weights among `weights`, by path.
    ///
    /// # Errors
    /// Where a weight is missing or of another shape.
    pub fn new(
        [begin, step]: [Artifact; 2],
        device: Option<&Shared>,
        stream: &str,
        vocabulary: usize,
        weights: &[HostTensor],
    ) -> Result<Self, RunError> {
        let ready = |artifact| {
            let mut executor = match device {
                Some(device) => Executor::on(artifact, device)?,
                None => Executor::new(artifact)?,
            };
            let asked = names(&executor);
            for tensor in weights.iter().filter(|t| asked.contains(&t.name)) {
                executor.set(tensor)?;
            }
            Ok::<Executor, RunError>(executor)
        };
        Ok(Self {
            begin: ready(begin)?,
            step: ready(step)?,
            stream: stream.to_owned(),
            vocabulary,
            past: Past::default(),
        })
    }

    /// Where it stands.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Goes on from where another reader of the same model stood.
    pub fn resume(&mut self, past: Past) {
        self.past = past;
    }

    /// Reads tokens; gives the logits of what may come next, `[vocabulary]`.
    ///
    /// # Errors
    /// Where the plan does not run, or gives no logits.
    pub fn read(&mut self, tokens: &[i32]) -> Result<&[f32], ReadError> {
        if tokens.is_empty() {
            return Ok(&self.past.logits);
        }
        let start = self.past.position;
        let executor = if start == 0 { &mut self.begin } else { &mut self.step };
        let stream = HostTensor {
            name: self.stream.clone(),
            dims: vec![1, tokens.len()],
            data: Data::I32(tokens.to_vec()),
        };
        let asked = names(executor);
        let states = self.past.states.iter().filter(|t| asked.contains(&t.name));
        let inputs: Vec<&HostTensor> = std::iter::once(&stream).chain(states).collect();
        let sizes = Sizes { batch: 1, time: tokens.len(), start };
        let found = executor.run(&inputs, sizes)?;
        let logits = found.iter().find_map(|t| match &t.data {
            Data::F32(v) if t.dims.last() == Some(&self.vocabulary) => Some(v),
            _ => None,
        });
        let logits = logits.ok_or(ReadError::NoLogits(self.vocabulary))?;
        self.past.logits = logits[logits.len() - self.vocabulary..].to_vec();
        self.past.position += tokens.len();
        self.past.states = found;
        self.past.states.retain(|t| t.name.starts_with("state."));
        Ok(&self.past.logits)
    }
}

fn names(executor: &Executor) -> Vec<String> {
    executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect()
}
