//! Tasks: what models are compared on, drawn from seeds and exact to their published definitions.
//!
//! A task gives samples: tokens, and for every token the target that is asked there, or
//! [`IGNORE`]. A sample depends on its stream of random numbers alone, so a run's batches need
//! not be kept, and every model is measured on the same held-out samples whatever its seed. A
//! task knows its metric, the score of a guess, what was published, and a size that two cores
//! train in minutes. Tasks over data read it from a folder that is laid out as `data.rs` says.

mod babilong;
mod choices;
mod classes;
mod copying;
mod data;
mod forecast;
mod formal;
mod group;
mod haystack;
mod induction;
mod lambada;
mod mad;
mod memorization;
mod mqar;
mod niah;
mod options;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod tracking;

pub use options::Options;
pub use source::TaskData;

use crate::train::RowTally;
use crate::train::rng::Stream;
use std::ops::Range;
use std::path::PathBuf;

/// Stands in targets where nothing is asked.
pub const IGNORE: i32 = -100;

/// What a sample is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// To learn from.
    Train,
    /// To be measured on.
    Test,
}

/// One sequence with what is asked of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// The tokens.
    pub tokens: Vec<i32>,
    /// For every token the target that is asked there, or [`IGNORE`].
    pub targets: Vec<i32>,
}

/// What a task's score is.
#[derive(Clone, PartialEq, Debug)]
pub enum Metric {
    /// The share of asked targets that the largest logit names.
    Accuracy,
    /// The share of sequences whose targets are all right.
    Sequences,
    /// The share of answers that are right as a whole, the mean over sequences.
    Answers,
    /// The mean squared error of what is foretold; the mean absolute one beside it.
    SquaredError,
    /// Bits a target, lower is better.
    Bits,
    /// The share of questions whose likeliest answer is the right one; every answer is a row.
    Choice {
        /// For every held-out row its question, and whether it is the right answer.
        rows: Vec<(usize, bool)>,
    },
}

/// The size that trains in minutes on two cores.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Size {
    /// Sequences a step.
    pub rows: usize,
    /// Steps.
    pub steps: u64,
    /// Held-out samples.
    pub test: usize,
}

/// How tokens are shown to people.
#[derive(Clone, Debug)]
pub enum Words {
    /// As numbers.
    Numbers,
    /// As text.
    Bytes,
    /// By these names.
    Names(Vec<String>),
}

/// Numbers that a task gives for every token, beside or instead of tokens.
pub struct Numbers {
    /// Their streams.
    pub streams: Vec<NumberStream>,
    /// The stream that is to be foretold.
    pub target: usize,
    draw: Box<DrawNumbers>,
}

/// One stream of numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberStream {
    /// Its name, which a model's stream has.
    pub name: &'static str,
    /// The dimensions of a token's.
    pub dims: Vec<usize>,
}

type DrawNumbers = dyn Fn(Part, usize, &mut Stream) -> Vec<Vec<f32>> + Send + Sync;
type Draw = dyn Fn(Part, usize, &mut Stream) -> Sample + Send + Sync;

/// A task, ready to be drawn from.
pub struct Task {
    /// Tokens and targets are below this.
    pub vocabulary: usize,
    /// Tokens of a sample to learn from.
    pub length: usize,
    /// Tokens of a held-out sample.
    pub test_length: usize,
    /// What the score is.
    pub metric: Metric,
    /// The score of a guess.
    pub chance: f64,
    /// What two cores train in minutes.
    pub size: Size,
    /// How tokens are shown.
    pub words: Words,
    /// Every target is the next token, so that a language model may learn it as it is.
    pub next: bool,
    /// How many different samples there are to learn from; no bound where none.
    pub examples: Option<u64>,
    /// The answers among which the likeliest is sought; among all tokens where there is none.
    pub among: Option<Range<usize>>,
    /// Numbers that come with tokens.
    pub numbers: Option<Numbers>,
    /// Sizes that a model's parameters of these names must have, beside `vocab`.
    pub sizes: Vec<(&'static str, usize)>,
    draw: Box<Draw>,
}

/// Why there is no such task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// No task is called so.
    #[error("no task is called `{name}`{}; `nestor task` lists them", near.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?")))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What is called nearly so.
        near: Option<String>,
    },
    /// An option that the task has not, or cannot use.
    #[error("task `{task}`: {why}")]
    Option {
        /// The task.
        task: String,
        /// What is wrong, and what would do.
        why: String,
    },
    /// Data that is not there.
    #[error("task `{task}` needs {}, which is not there: {why}", path.display())]
    Data {
        /// The task.
        task: String,
        /// The file.
        path: PathBuf,
        /// What it is and how to get it.
        why: String,
    },
}

/// A task of the table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub about: &'static str,
    /// Published figures, to compare with.
    pub anchors: &'static str,
    open: fn(&mut Options) -> Result<Task, TaskError>,
}

/// Every task.
pub const TASKS: &[Entry] = &[
    mqar::PLAIN,
    mqar::FORGETTING,
    mad::RECALL,
    mad::NOISY,
    mad::FUZZY,
    copying::MAD,
    mad::COMPRESSION,
    memorization::ENTRY,
    induction::ENTRY,
    copying::MAMBA,
    group::S3,
    group::A5,
    group::S5,
    group::Z60,
    group::A4_Z5,
    formal::PARITY,
    formal::AA,
    formal::ABAB,
    formal::AN_BN,
    formal::AN_BN_CN,
    formal::SHUFFLE_2,
    niah::SINGLE_1,
    niah::SINGLE_2,
    niah::SINGLE_3,
    niah::MULTI_KEY_1,
    niah::MULTI_KEY_2,
    niah::MULTI_KEY_3,
    niah::MULTI_VALUE,
    niah::MULTI_QUERY,
    tracking::ENTRY,
    text::ENTRY,
    babilong::QA1,
    babilong::QA2,
    babilong::QA3,
    babilong::QA4,
    babilong::QA5,
    lambada::ENTRY,
    forecast::ETTH1,
    forecast::ETTH2,
    forecast::ETTM1,
    forecast::ETTM2,
    forecast::WEATHER,
    forecast::EXCHANGE,
    forecast::ILLNESS,
    choices::PIQA,
    choices::HELLASWAG,
    choices::ARC_EASY,
    choices::ARC_CHALLENGE,
    choices::WINOGRANDE,
    choices::SIQA,
    choices::COPA,
    classes::TATA,
    classes::CORE_TATA,
    classes::MOUSE,
    classes::SPLICE,
    classes::BANKING,
];

/// Opens a task by its text, `name` or `name:option=number,...`; `data` is where files lie.
///
/// # Errors
/// Where there is no such task, option or data.
pub fn open(text: &str, data: Option<PathBuf>) -> Result<Task, TaskError> {
    let (name, _) = text.split_once(':').unwrap_or((text, ""));
    let Some(entry) = TASKS.iter().find(|e| e.name == name) else {
        let distance = |e: &&Entry| difference(e.name, name);
        let near = TASKS.iter().min_by_key(distance);
        let near = near.filter(|e| difference(e.name, name) <= 3);
        let near = near.map(|e| e.name.to_owned());
        return Err(TaskError::Unknown { name: name.to_owned(), near });
    };
    let mut options = Options::parse(text, data)?;
    let mut task = (entry.open)(&mut options)?;
    task.size.rows = options.whole("rows", task.size.rows)?;
    task.size.test = options.whole("test", task.size.test)?;
    let examples = options.whole("examples", 0)?;
    task.examples = if examples > 0 { Some(examples as u64) } else { task.examples };
    options.finish()?;
    Ok(task)
}

impl Task {
    /// A task of what there must be; the rest is set by the field.
    fn new(
        vocabulary: usize,
        length: usize,
        draw: impl Fn(Part, usize, &mut Stream) -> Sample + Send + Sync + 'static,
    ) -> Self {
        Self {
            vocabulary,
            length,
            test_length: length,
            metric: Metric::Accuracy,
            chance: 0.0,
            size: Size { rows: 32, steps: 800, test: 512 },
            words: Words::Numbers,
            next: false,
            examples: None,
            among: None,
            numbers: None,
            sizes: vec![],
            draw: Box::new(draw),
        }
    }

    /// A sample; `index` counts samples of a part where they are a given list.
    pub fn sample(&self, part: Part, index: usize, stream: &mut Stream) -> Sample {
        (self.draw)(part, index, stream)
    }

    /// The numbers of the sample that the same stream draws; none where there are none.
    pub fn draw_numbers(
        &self,
        part: Part,
        index: usize,
        stream: &mut Stream,
    ) -> Vec<Vec<f32>> {
        self.numbers.as_ref().map_or_else(Vec::new, |n| (n.draw)(part, index, stream))
    }

    /// A token as people read it.
    pub fn word(&self, token: i32) -> String {
        match &self.words {
            Words::Numbers => token.to_string(),
            Words::Bytes => match u8::try_from(token) {
                Ok(b @ (b' '..=b'~' | b'\n')) => char::from(b).to_string(),
                Ok(0) => String::new(),
                Ok(b) => format!("\\x{b:02x}"),
                Err(_) => format!("<{token}>"),
            },
            Words::Names(names) => {
                let name = usize::try_from(token).ok().and_then(|t| names.get(t));
                name.cloned().unwrap_or_else(|| format!("<{token}>"))
            }
        }
    }

    /// The score of all held-out rows.
    pub fn score(&self, rows: &[RowTally]) -> f64 {
        let sum = |of: fn(&RowTally) -> f64| rows.iter().map(of).sum::<f64>();
        match &self.metric {
            Metric::Accuracy => sum(|r| r.right) / sum(|r| r.asked).max(1.0),
            Metric::Sequences => {
                let whole = rows.iter().filter(|r| r.right == r.asked).count();
                whole as f64 / rows.len().max(1) as f64
            }
            Metric::Answers => {
                sum(|r| r.whole / r.answers.max(1.0)) / rows.len().max(1) as f64
            }
            Metric::Bits => {
                sum(|r| r.nats) / sum(|r| r.asked).max(1.0) / std::f64::consts::LN_2
            }
            Metric::SquaredError => sum(|r| r.squared) / sum(|r| r.values).max(1.0),
            Metric::Choice { rows: known } => choice(known, rows),
        }
    }

    /// What is said beside the score.
    pub fn beside(&self, rows: &[RowTally]) -> Option<(&'static str, f64)> {
        let sum = |of: fn(&RowTally) -> f64| rows.iter().map(of).sum::<f64>();
        let error = || sum(|r| r.absolute) / sum(|r| r.values).max(1.0);
        (self.metric == Metric::SquaredError).then(|| ("mean absolute error", error()))
    }
}

/// The share of questions, all of whose answers were measured, whose likeliest answer is right.
fn choice(known: &[(usize, bool)], rows: &[RowTally]) -> f64 {
    let mut best: Vec<(usize, f64, bool)> = Vec::new();
    for ((question, gold), row) in known.iter().zip(rows) {
        match best.last_mut().filter(|b| b.0 == *question) {
            Some(b) if row.nats < b.1 => (b.1, b.2) = (row.nats, *gold),
            Some(_) => {}
            None => best.push((*question, row.nats, *gold)),
        }
    }
    best.iter().filter(|b| b.2).count() as f64 / best.len().max(1) as f64
}

impl Metric {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Sequences => "whole sequences right",
            Self::Answers => "answers right",
            Self::SquaredError => "mean squared error",
            Self::Bits => "bits a target",
            Self::Choice { .. } => "accuracy of choices",
        }
    }

    /// Whether more is better.
    pub fn more_is_better(&self) -> bool {
        !matches!(self, Self::Bits | Self::SquaredError)
    }
}

/// How many letters two names differ in, at the least (Levenshtein).
fn difference(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// `count` different numbers below `bound`, in random order.
fn distinct(stream: &mut Stream, bound: usize, count: usize) -> Vec<usize> {
    // The first places of a shuffle (Fisher and Yates); what moved is kept apart.
    let mut moved = std::collections::BTreeMap::new();
    (0..count)
        .map(|i| {
            let j = i + stream.below((bound - i) as u64) as usize;
            let at = |moved: &std::collections::BTreeMap<usize, usize>, k: usize| {
                moved.get(&k).copied().unwrap_or(k)
            };
            let (x, y) = (at(&moved, j), at(&moved, i));
            moved.insert(j, y);
            x
        })
        .collect()
}

/// A number below `bound`.
fn below(stream: &mut Stream, bound: usize) -> usize {
    stream.below(bound as u64) as usize
}

/// Fills a sample up to `length` with `pad`, of which nothing is asked.
fn padded(mut sample: Sample, length: usize, pad: i32) -> Sample {
    sample.tokens.resize(length, pad);
    sample.targets.resize(length, IGNORE);
    sample
}

/// Asks for the tokens of these places, each at the token before it.
fn ask(targets: &mut [i32], tokens: &[i32], places: std::ops::Range<usize>) {
    let from = places.start.max(1);
    if from < places.end {
        targets[from - 1..places.end - 1].copy_from_slice(&tokens[from..places.end]);
    }
}
