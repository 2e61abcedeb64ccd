//! The question of an exploration: everything that a result depends on, kept in its folder.

use crate::arguments::{Equal, ExploreArguments};
use crate::fail::Failure;
use crate::roles::{Needs, sizes};
use crate::session::absolute;
use crate::train::default_data;
use nestor_compiler::sweep::Expanded;
use nestor_compiler::{check, source};
use nestor_runtime::tasks::TaskData;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is asked: everything that a result depends on.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Question {
    /// The file with the sweep, as it was.
    pub(crate) text: String,
    /// The sweep.
    pub(crate) sweep: Option<String>,
    /// The model; the last one of the file where none is named.
    pub(crate) model: Option<String>,
    /// The task.
    pub(crate) task: String,
    /// Where its data lies.
    pub(crate) data: Option<PathBuf>,
    /// What its score is.
    pub(crate) metric: String,
    /// Whether more of it is better.
    pub(crate) more_is_better: bool,
    /// The score of a guess.
    pub(crate) chance: f64,
    /// What it asks of a model's streams.
    pub(crate) needs: Needs,
    /// Tokens of a sequence.
    pub(crate) length: usize,
    /// Settings of every combination.
    pub(crate) set: Vec<String>,
    /// Steps of the last round.
    pub(crate) steps: u64,
    /// Sequences a step.
    pub(crate) batch: usize,
    /// Seeds of every combination.
    pub(crate) seeds: u64,
    /// The first of them.
    pub(crate) first_seed: u64,
    /// Rounds.
    pub(crate) rounds: u32,
    /// One of so many goes on.
    pub(crate) keep: u64,
    /// The width that makes sizes equal, and its default.
    pub(crate) width: Option<(String, usize)>,
    /// What every combination has as much of, beside steps and parameters.
    pub(crate) equal: Equal,
}

/// The question of a command.
pub(super) fn question(
    a: &ExploreArguments,
    expanded: &Expanded,
    known: &[String],
    loaded: &source::Loaded,
) -> Result<Question, Failure> {
    let task_text = a.task.clone().unwrap_or_else(|| "mqar".into());
    let path = a.data.clone().unwrap_or_else(|| default_data(&a.file));
    let path = absolute(&path);
    // The text beside the examples is named only where the task needs one.
    let needed = a.data.is_some() || TaskData::open(&task_text, None).is_err();
    let data = (needed && (a.data.is_some() || path.exists())).then_some(path);
    let data_of_task = TaskData::open(&task_text, data.clone()).map_err(Failure::data)?;
    let task = &data_of_task.task;
    let mut set = a.choices.set.clone();
    let swept = |name: &String| expanded.axes.iter().any(|(axis, _)| axis == name);
    let free: Vec<String> = known.iter().filter(|p| !swept(p)).cloned().collect();
    sizes(&data_of_task, &free, &mut set);
    let width = match a.equal {
        Equal::Parameters => {
            let default = check::default_of(loaded, a.model.as_deref(), &a.width);
            let Some(default) = default.filter(|d| *d >= 8.0) else {
                return Err(Failure::usage(format!(
                    "--equal parameters needs a parameter of the model with a number as its \
                     default: `{}` is none; name it with --width",
                    a.width
                )));
            };
            Some((a.width.clone(), default as usize))
        }
        Equal::Steps | Equal::Operations | Equal::Time => None,
    };
    Ok(Question {
        text: loaded
            .files
            .iter()
            .map(|(id, _)| loaded.sources.get(*id).text.as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        sweep: a.sweep.clone(),
        model: a.model.clone(),
        task: task_text,
        data,
        metric: task.metric.name().to_owned(),
        more_is_better: task.metric.more_is_better(),
        chance: task.chance,
        needs: Needs::of(&data_of_task),
        length: task.length,
        set,
        steps: a.steps.unwrap_or(task.size.steps),
        batch: a.batch.unwrap_or(task.size.rows),
        seeds: a.seeds,
        first_seed: a.first_seed,
        rounds: a.rounds,
        keep: a.keep,
        width,
        equal: a.equal,
    })
}
