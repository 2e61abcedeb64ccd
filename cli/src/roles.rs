//! What a model's streams are to training: the first stream of whole numbers is the tokens, a
//! second one the targets, a stream of conditions says where they are asked. Streams of numbers go
//! by the names that a task gives them.

use crate::fail::Failure;
use nestor_compiler::Program;
use nestor_compiler::ty::Elem;
use nestor_runtime::tasks::TaskData;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::Batch;
use nestor_runtime::train::data::Source;
use serde::{Deserialize, Serialize};

/// The names of a model's streams, by what they are.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    model: String,
    /// Tokens with the number that they are below.
    tokens: Option<(String, usize)>,
    targets: Option<(String, usize)>,
    asked: Option<String>,
    /// Streams of numbers with their dimensions.
    numbers: Vec<(String, Vec<usize>)>,
}

/// What a task asks of a model's streams.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Needs {
    /// Tokens and targets are below this.
    vocabulary: usize,
    /// Whether targets are not the next tokens.
    masked: bool,
    /// Numbers that it gives, with their dimensions; the last is what is to be foretold.
    #[serde(default)]
    numbers: Vec<(String, Vec<usize>)>,
}

impl Needs {
    /// Those of a task.
    pub(crate) fn of(data: &TaskData) -> Self {
        let streams = data.task.numbers.iter().flat_map(|n| &n.streams);
        Self {
            vocabulary: data.task.vocabulary,
            masked: data.masked(),
            numbers: streams.map(|s| (s.name.to_owned(), s.dims.clone())).collect(),
        }
    }
}

/// The sizes of a task as settings of a model that has parameters of these names.
pub(crate) fn sizes(data: &TaskData, known: &[String], set: &mut Vec<String>) {
    let given = |set: &[String], name: &str| {
        set.iter().any(|s| s.split('=').next().map(str::trim) == Some(name))
    };
    let vocabulary =
        data.task.numbers.is_none().then_some(("vocab", data.task.vocabulary));
    for (name, size) in vocabulary.into_iter().chain(data.task.sizes.iter().copied()) {
        if known.iter().any(|p| p == name) && !given(set, name) {
            set.push(format!("{name}={size}"));
        }
    }
}

impl Roles {
    /// The roles of a model's streams.
    pub(crate) fn of(program: &Program) -> Result<Self, Failure> {
        let whole =
            program.inputs.iter().filter_map(|i| Some((i.name.clone(), i.below?)));
        let mut whole = whole.collect::<Vec<_>>().into_iter();
        let tokens = whole.next();
        let condition = program.inputs.iter().find(|i| i.ty.elem == Elem::Bool);
        let real = program.inputs.iter().filter(|i| i.ty.elem == Elem::Real);
        let numbers: Vec<_> = real
            .map(|i| {
                let fixed = i.ty.dims.iter().filter_map(|d| d.fixed());
                (i.name.clone(), fixed.collect())
            })
            .collect();
        let model = program.name.clone();
        if tokens.is_none() && numbers.is_empty() {
            return Err(no_tokens(&model));
        }
        let asked = condition.map(|i| i.name.clone());
        Ok(Self { model, tokens, targets: whole.next(), asked, numbers })
    }

    /// The stream of tokens, and the number that they are below.
    pub(crate) fn tokens(&self) -> Result<(&str, usize), Failure> {
        let tokens = self.tokens.as_ref().map(|(name, below)| (name.as_str(), *below));
        tokens.ok_or_else(|| no_tokens(&self.model))
    }

    /// Whether the model can learn a task.
    pub(crate) fn fit(&self, needs: &Needs) -> Result<(), Failure> {
        if !needs.numbers.is_empty() {
            return self.foretells(&needs.numbers);
        }
        let (_, known) = self.tokens()?;
        let kinds = needs.vocabulary;
        if kinds > known {
            return Err(self.too_many(kinds, known));
        }
        if needs.masked { self.masked(kinds) } else { Ok(()) }
    }

    /// The message of a model that knows fewer tokens than there are.
    pub(crate) fn too_many(&self, kinds: usize, known: usize) -> Failure {
        Failure::data(format!(
            "the data has {kinds} kinds of tokens, `{}` knows {known}: `--set vocab={kinds}`",
            self.model
        ))
    }

    /// Whether the model can learn targets of its own, below `targets`.
    fn masked(&self, targets: usize) -> Result<(), Failure> {
        let model = &self.model;
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

    /// Whether the model takes numbers that the task gives, what is to be foretold among them.
    fn foretells(&self, given: &[(String, Vec<usize>)]) -> Result<(), Failure> {
        let unknown = self.numbers.iter().find(|own| !given.contains(own));
        let target = given.last().is_some_and(|last| self.numbers.contains(last));
        if unknown.is_none() && target && self.tokens.is_none() && self.asked.is_some() {
            return Ok(());
        }
        let lines: String =
            given.iter().map(|(n, d)| format!("    in {n}: {d:?}\n")).collect();
        let what = match unknown {
            Some((name, dims)) => format!("it gives no stream `{name}: {dims:?}`"),
            None => "it gives numbers, not tokens".into(),
        };
        Err(Failure::data(format!(
            "`{}` cannot learn this task: {what}. Of\n{lines}give the model the last, those \
             before it that it uses, and\n    in asked: bool\nas examples/forecast.nest does",
            self.model
        )))
    }

    /// A batch as the model's streams.
    pub(crate) fn streams(&self, batch: &Batch) -> Vec<HostTensor> {
        let stream = |name: &str, more: &[usize], data: Data| HostTensor {
            name: name.to_owned(),
            dims: [&[batch.rows, batch.length], more].concat(),
            data,
        };
        // What is not asked still needs to be some target.
        let targets: Vec<i32> = batch.targets.iter().map(|t| (*t).max(0)).collect();
        let mut out = Vec::new();
        if let Some((tokens, _)) = &self.tokens {
            out.push(stream(tokens, &[], Data::I32(batch.inputs.clone())));
            // Beside targets of its own a model may learn what comes next.
            let next = match self.targets {
                Some(_) => next(&batch.inputs, batch.length),
                None => targets.clone(),
            };
            out.push(stream(&format!("next.{tokens}"), &[], Data::I32(next)));
        }
        if let Some((name, _)) = &self.targets {
            out.push(stream(name, &[], Data::I32(targets)));
        }
        if let Some(name) = &self.asked {
            let asked = batch.targets.iter().map(|t| *t >= 0).collect();
            out.push(stream(name, &[], Data::Bool(asked)));
        }
        for numbers in &batch.numbers {
            let values = Data::F32(numbers.values.clone());
            out.push(stream(&numbers.name, &numbers.dims, values));
        }
        out
    }
}

/// The token after each one of every sequence; after the last comes 0.
fn next(tokens: &[i32], length: usize) -> Vec<i32> {
    let rows = tokens.chunks(length.max(1));
    rows.flat_map(|row| row.iter().skip(1).chain([&0])).copied().collect()
}

fn no_tokens(model: &str) -> Failure {
    Failure::data(format!("`{model}` takes no stream of tokens `int(n)`"))
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn after_the_last_token_of_a_sequence_comes_nothing() {
        assert_eq!(next(&[1, 2, 3, 4], 2), [2, 0, 4, 0]);
    }
}
