//! What a model's streams are to training: the first stream of whole numbers is the tokens, a
//! second one the targets, a stream of conditions says where they are asked.

use crate::fail::Failure;
use nestor_compiler::Program;
use nestor_compiler::ty::Elem;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::Batch;

/// The names of a model's streams, by what they are.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    /// Tokens.
    pub(crate) tokens: String,
    /// Tokens are below this.
    pub(crate) vocabulary: usize,
    targets: Option<(String, usize)>,
    asked: Option<String>,
}

impl Roles {
    /// The roles of a model's streams.
    pub(crate) fn of(program: &Program) -> Result<Self, Failure> {
        let whole =
            program.inputs.iter().filter_map(|i| Some((i.name.clone(), i.below?)));
        let mut whole = whole.collect::<Vec<_>>().into_iter();
        let Some((tokens, vocabulary)) = whole.next() else {
            let name = &program.name;
            return Err(Failure::data(format!(
                "`{name}` takes no stream of tokens `int(n)`"
            )));
        };
        let condition = program.inputs.iter().find(|i| i.ty.elem == Elem::Bool);
        let asked = condition.map(|i| i.name.clone());
        Ok(Self { tokens, vocabulary, targets: whole.next(), asked })
    }

    /// Whether the model can learn targets of its own, below `targets`.
    pub(crate) fn masked(&self, model: &str, targets: usize) -> Result<(), Failure> {
        match (&self.targets, &self.asked) {
            (Some((_, below)), Some(_)) if *below >= targets => Ok(()),
            (Some((name, below)), Some(_)) => Err(Failure::data(format!(
                "the task has {targets} targets, `{name}` of `{model}` is below {below}: give \
                 it `int(vocab)`, or `--set` its parameter"
            ))),
            _ => Err(Failure::data(format!(
                "`{model}` cannot learn this task: its targets are not the next tokens, and \
                 not every token has one. Give the model\n    in targets: int(vocab)\n    \
                 in asked: bool\n    loss = cross_entropy(logits, targets) when asked\n\
                 as examples/recall.nest does"
            ))),
        }
    }

    /// A batch as the model's streams.
    pub(crate) fn streams(&self, batch: &Batch) -> Vec<HostTensor> {
        let stream = |name: &str, data: Data| HostTensor {
            name: name.to_owned(),
            dims: vec![batch.rows, batch.length],
            data,
        };
        // What is not asked still needs to be some target.
        let targets: Vec<i32> = batch.targets.iter().map(|t| (*t).max(0)).collect();
        let next = format!("next.{}", self.tokens);
        let mut out = vec![
            stream(&self.tokens, Data::I32(batch.inputs.clone())),
            stream(&next, Data::I32(targets.clone())),
        ];
        if let Some((name, _)) = &self.targets {
            out.push(stream(name, Data::I32(targets)));
        }
        if let Some(name) = &self.asked {
            let asked = batch.targets.iter().map(|t| *t >= 0).collect();
            out.push(stream(name, Data::Bool(asked)));
        }
        out
    }
}
