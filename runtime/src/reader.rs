//! A trained model that reads tokens as they come and says what may come next.
//!
//! ```text
//! begin   tokens [1, T]                    a sequence begins: logits, states at its end
//! step    tokens [1, T], states            it goes on: logits, the next states
//! ```
//!
//! Memories that keep every pair have states that grow with the sequence: `[1, P, ..]` in, `P` the
//! tokens read so far, and `[1, P+T, ..]` out.
//!
//! A model that learns while it reads asks for the token behind each token, which of the last one is not
//! known yet. Its states are those before that token, which waits and is read again with the next one.

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
        Ok(Self {
            begin: ready(begin, device, weights)?,
            step: ready(step, device, weights)?,
            stream: stream.to_owned(),
            vocabulary,
            past: Past::default(),
        })
    }

    /// Where it stands.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Goes on with other weights.
    ///
    /// # Errors
    /// Where one is of another shape.
    pub fn weights(&mut self, weights: &[HostTensor]) -> Result<(), RunError> {
        for executor in [&mut self.begin, &mut self.step] {
            let asked = names(executor);
            for tensor in weights.iter().filter(|t| asked.contains(&t.name)) {
                executor.set(tensor)?;
            }
        }
        Ok(())
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
        let learns = names(&self.begin).contains(&self.ahead());
        let mut text = if learns { self.waiting() } else { vec![] };
        let start = self.past.position - text.len();
        text.extend(tokens);
        let found = self.run(start, &text, 0)?;
        let logits = found.iter().find_map(|t| match &t.data {
            Data::F32(v) if t.dims.last() == Some(&self.vocabulary) => Some(v),
            _ => None,
        });
        let logits = logits.ok_or(ReadError::NoLogits(self.vocabulary))?;
        self.past.logits = logits[logits.len() - self.vocabulary..].to_vec();
        self.past.position += tokens.len();
        if !learns {
            self.past.states = states(found);
            return Ok(&self.past.logits);
        }
        if text.len() > 1 {
            let (known, last) = (&text[..text.len() - 1], text[text.len() - 1]);
            let found = self.run(start, known, last)?;
            self.past.states = states(found);
        }
        let last = text[text.len() - 1..].to_vec();
        self.past.states.retain(|t| t.name != WAITING);
        let data = Data::I32(last);
        self.past.states.push(HostTensor {
            name: WAITING.into(),
            dims: vec![1, 1],
            data,
        });
        Ok(&self.past.logits)
    }

    /// The input of the token behind each token.
    fn ahead(&self) -> String {
        format!("next.{}", self.stream)
    }

    /// The token that was read and is read again.
    fn waiting(&self) -> Vec<i32> {
        let waits = self.past.states.iter().find(|t| t.name == WAITING);
        match waits.map(|t| &t.data) {
            Some(Data::I32(tokens)) => tokens.clone(),
            _ => vec![],
        }
    }

    /// Runs over a text that begins at a place of the sequence; `last` is behind it.
    fn run(
        &mut self,
        start: usize,
        text: &[i32],
        last: i32,
    ) -> Result<Vec<HostTensor>, RunError> {
        let ahead = self.ahead();
        let executor = if start == 0 { &mut self.begin } else { &mut self.step };
        let stream = |name: &str, tokens: Vec<i32>| HostTensor {
            name: name.to_owned(),
            dims: vec![1, tokens.len()],
            data: Data::I32(tokens),
        };
        let behind = text[1..].iter().copied().chain([last]).collect();
        let streams = [stream(&self.stream, text.to_vec()), stream(&ahead, behind)];
        let asked = names(executor);
        let all = streams.iter().chain(&self.past.states);
        let inputs: Vec<&HostTensor> = all.filter(|t| asked.contains(&t.name)).collect();
        let sizes = Sizes { batch: 1, time: text.len(), start };
        executor.run(&inputs, sizes)
    }
}

/// The token that waits for the one behind it, among the states.
const WAITING: &str = "state.waiting";

fn states(mut found: Vec<HostTensor>) -> Vec<HostTensor> {
    found.retain(|t| t.name.starts_with("state."));
    found
}

/// A program with the weights that it asks for, on a device or on this machine.
pub(crate) fn ready(
    artifact: Artifact,
    device: Option<&Shared>,
    weights: &[HostTensor],
) -> Result<Executor, RunError> {
    let mut executor = match device {
        Some(device) => Executor::on(artifact, device)?,
        None => Executor::new(artifact)?,
    };
    let asked = names(&executor);
    for tensor in weights.iter().filter(|t| asked.contains(&t.name)) {
        executor.set(tensor)?;
    }
    Ok(executor)
}

/// What a program asks for.
pub(crate) fn names(executor: &Executor) -> Vec<String> {
    executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect()
}
