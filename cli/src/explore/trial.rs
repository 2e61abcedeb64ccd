//! One trial: a file, a seed and a budget in, one result file out, so that trials may run anywhere
//! and may fail in any way. Trials of one combination that follow each other in a process share
//! what was compiled.

use super::died::{Death, died};
use crate::arguments::{Choices, TrainArguments, TrialArguments};
use crate::fail::{Failure, Outcome};
use crate::from::FromArguments;
use crate::train::{Ready, sitting};
use crate::tuned::TunedArguments;
use nestor_runtime::train::durable;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How a trial ended.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It has a score.
    Done,
    /// A value left the range of numbers.
    NotFinite,
    /// It was killed, most likely for want of memory.
    Killed,
    /// Anything else.
    Failed,
}

/// The result of a trial.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct TrialResult {
    /// How it ended.
    pub(crate) status: Status,
    /// The score on held-out samples.
    pub(crate) score: Option<f64>,
    /// The loss there, in nats a target.
    pub(crate) loss: Option<f64>,
    /// The step it ended after.
    pub(crate) until: u64,
    /// Time spent in steps, all rounds together.
    pub(crate) seconds: f64,
    /// Why it failed.
    pub(crate) cause: Option<String>,
}

impl TrialResult {
    /// A trial that failed.
    pub(crate) fn failed(status: Status, until: u64, cause: String) -> Self {
        Self { status, score: None, loss: None, until, seconds: 0.0, cause: Some(cause) }
    }

    /// Writes it, all or nothing.
    pub(crate) fn write(&self, path: &Path) -> Outcome {
        let text = serde_json::to_string_pretty(self).map_err(Failure::bug)?;
        let written = durable::replace(path, &mut |out| out.write_all(text.as_bytes()));
        written
            .map_err(|e| Failure::data(format!("cannot write {}: {e}", path.display())))
    }

    /// A result that is there and whole.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }
}

/// Steps between looks at held-out samples: a few for a curve, each costs as much as some steps.
pub(crate) fn evaluate_every(steps: u64) -> u64 {
    (steps / 6).max(1)
}

/// Runs one trial; or writes down how it died, where the one who placed it says so.
pub(crate) fn trial(a: &TrialArguments) -> Outcome {
    let Some(death) = a.died.map(Death::of_shell) else {
        return trial_with(a, &mut None);
    };
    if death.was_asked() || TrialResult::read(&a.result).is_some() {
        return Ok(());
    }
    died(death, a.said.as_deref().unwrap_or(""), a.until).write(&a.result)
}

/// Runs one trial with what earlier ones of the same combination left, or leaves it.
pub(super) fn trial_with(a: &TrialArguments, ready: &mut Option<Ready>) -> Outcome {
    let cannot =
        |e: std::io::Error| Failure::data(format!("cannot use {}: {e}", a.out.display()));
    std::fs::create_dir_all(&a.out).map_err(cannot)?;
    // An exploration that was killed may have left this very trial running: it is waited for.
    let lock = std::fs::File::create(a.out.join("trial.lock")).map_err(cannot)?;
    lock.lock().map_err(cannot)?;
    if TrialResult::read(&a.result).is_some() {
        return Ok(());
    }
    let asked = TrainArguments {
        file: a.file.clone(),
        name: a.name.clone(),
        task: Some(a.task.clone()),
        data: a.data.clone(),
        tokenizer: None,
        steps: Some(a.steps),
        batch: Some(a.batch),
        length: None,
        out: Some(a.out.clone()),
        resume: true,
        force: false,
        seed: Some(a.seed),
        evaluate_every: Some(evaluate_every(a.steps)),
        save_every: Some(a.steps),
        until: Some(a.until),
        timings: false,
        from: FromArguments::default(),
        tuned: TunedArguments::default(),
        on: a.on.clone(),
        choices: Choices { set: a.choices.set.clone() },
    };
    let ended = match ready {
        Some(ready) => sitting(&asked, ready, false),
        None => Ready::open(&asked)
            .and_then(|opened| sitting(&asked, ready.insert(opened), false)),
    };
    let result = match ended {
        Ok(sitting) if sitting.ended.stopped => {
            // As a shell says it of Ctrl-C: this trial is to be run again.
            return Err(Failure {
                status: 130,
                ..Failure::data("the trial was interrupted")
            });
        }
        Ok(sitting) => {
            let ended = sitting.ended;
            let score = ended.score.map(|s| s.1);
            let cause = match score {
                Some(s) if s.is_finite() => None,
                Some(s) => Some(format!("the score is {s}")),
                None => Some("the trial has no score".into()),
            };
            TrialResult {
                status: if cause.is_none() { Status::Done } else { Status::NotFinite },
                score: score.filter(|s| s.is_finite()),
                loss: ended.validation.filter(|l| l.is_finite()),
                until: a.until,
                seconds: ended.position.seconds,
                cause,
            }
        }
        Err(failure) => {
            let cause = failure.message.trim_start_matches("error: ").to_owned();
            let not_finite = cause.contains("not finite");
            let status = if not_finite { Status::NotFinite } else { Status::Failed };
            TrialResult::failed(status, a.until, cause)
        }
    };
    result.write(&a.result)
}
