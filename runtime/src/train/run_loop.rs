//! The loop: batches, steps, evaluations, checkpoints, and an orderly end.
//!
//! Step `s` takes the batch of `(seed, s)`, so a run that was stopped anywhere and resumed from
//! its last checkpoint goes through the same steps with the same bits as one that never stopped.
//! A run's folder holds `metrics.jsonl`, `curve.svg`, and the last two checkpoints.

use super::checkpoint::{self, Checkpoint, Position};
use super::data::{DataError, Source};
use super::durable;
use super::metrics::{self, Line, Metrics, MetricsError};
use super::progress::{Event, Meter, StepLine};
use super::sealed::{MAKE_ROOM, SealedError, is_full};
use super::{Measure, Place, RowTally, StepError, TrainProgram, curve, fits};
use crate::exchange::first_not_finite;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a run is asked to do.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct LoopSettings {
    /// Steps in all.
    pub steps: u64,
    /// Sequences a batch.
    pub rows: usize,
    /// Tokens a sequence.
    pub length: usize,
    /// The seed of weights and batches.
    pub seed: u64,
    /// Steps between evaluations.
    pub evaluate_every: u64,
    /// Batches of an evaluation on the way; the last one takes all of them.
    pub evaluate_batches: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Where the run pauses, as if it had been stopped; it is measured in full there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ended {
    /// Where it stands.
    pub position: Position,
    /// The last validation loss, in nats a token; nothing where none is held out.
    pub validation: Option<f64>,
    /// The last score, where the data has one beside the loss.
    pub score: Option<(&'static str, f64)>,
    /// What is said beside the last score.
    pub beside: Option<(&'static str, f64)>,
    /// Whether it was asked to stop before its last step.
    pub stopped: bool,
}

/// Why a run broke off.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// Data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] SealedError),
    /// The record of the run.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The curve.
    #[error("cannot write {}: {source}{}", path.display(), if is_full(source) { MAKE_ROOM } else { "" })]
    Curve {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Values that are not finite.
    #[error(
        "step {step}: a value that is not finite in {place}; {}",
        last.as_ref().map_or("no step before was good".into(), |p| format!(
            "the last good checkpoint is {}", p.display()
        ))
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// Where.
        place: Place,
        /// The checkpoint before.
        last: Option<PathBuf>,
    },
    /// A step failed.
    #[error("step {step}: {source}")]
    Step {
        /// The step.
        step: u64,
        /// Why.
        source: StepError,
    },
}

/// The file of a step's checkpoint.
pub fn checkpoint_path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("checkpoint-{step:08}.safetensors"))
}

/// Checkpoints in a folder, the newest first.
pub fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            let name = p.file_name().map(|n| n.to_string_lossy().into_owned());
            name.is_some_and(|n| {
                n.starts_with("checkpoint-") && n.ends_with(".safetensors")
            })
        })
        .collect();
    found.sort();
    found.reverse();
    found
}

/// Trains to the last step, or until `stop` is set.
///
/// # Errors
/// Where data, a step or the disk fails; what was saved before stays.
#[expect(clippy::too_many_arguments, reason = "each is a part of a run of its own kind")]
pub fn train(
    program: &mut dyn TrainProgram,
    data: &dyn Source,
    settings: &LoopSettings,
    folder: &Path,
    spec_hash: &str,
    resumed: Option<(PathBuf, Checkpoint)>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Event),
) -> Result<Ended, LoopError> {
    data.check_length(settings.length)?;
    let mut position = Position::default();
    let mut last = None;
    if let Some((path, checkpoint)) = resumed {
        let fit = |source| SealedError::Fit { path: path.clone(), source };
        fits(&program.state(), &checkpoint.tensors).map_err(fit)?;
        program.load(checkpoint.tensors).map_err(fit)?;
        position = checkpoint.position;
        last = Some(path);
    }
    // What a crash left half written; where it cannot be removed, the next writing says so.
    let _ = durable::sweep(folder);
    let record = folder.join("metrics.jsonl");
    let mut metrics = Metrics::resume(&record, position.step)?;
    watch(&Event::Started {
        step: position.step,
        steps: settings.steps,
        resumed: last.clone(),
        train_tokens: data.train_tokens(),
        validation_tokens: data.validation_tokens(),
    });
    let per_step = (settings.rows * settings.length) as u64;
    let mut meter = Meter::new(position.step, per_step);
    let (mut validation, mut score, mut beside) = (None, None, None);
    let mut stopped = false;
    let pause = settings.until.map_or(settings.steps, |u| u.min(settings.steps));
    while position.step < pause && !stopped {
        let began = Instant::now();
        let step = position.step + 1;
        let batch =
            data.train_batch(settings.seed, step, settings.rows, settings.length)?;
        let report = match program.step(&batch, step) {
            Ok(report) => report,
            Err(StepError::NotFinite(place)) => {
                // The state is the one before the step: it is kept where it is not yet.
                let kept = keep_last_good(program, folder, spec_hash, &position)?;
                return Err(LoopError::NotFinite { step, place, last: kept.or(last) });
            }
            Err(source) => return Err(LoopError::Step { step, source }),
        };
        position.step = step;
        position.tokens += per_step;
        position.seconds += began.elapsed().as_secs_f64();
        let (rate, left) = meter.tick(step, settings.steps);
        let mut line = Line {
            step,
            tokens: position.tokens,
            seconds: position.seconds,
            loss: Some(report.loss),
            gradient_norm: Some(report.gradient_norm),
            levels: report.levels.clone(),
            tokens_per_second: Some(rate),
            validation_loss: None,
            validation_bits_per_byte: None,
            score: None,
        };
        watch(&Event::Step(StepLine {
            step,
            steps: settings.steps,
            loss: report.loss,
            gradient_norm: report.gradient_norm,
            levels: report.levels,
            tokens_per_second: rate,
            left,
        }));
        stopped = stop.load(Ordering::Relaxed) && step < pause;
        if stopped {
            watch(&Event::Stopping { step });
        }
        let end = step == pause;
        if (end || step % settings.evaluate_every == 0) && data.validation_tokens() > 0 {
            let most = if end { u64::MAX } else { settings.evaluate_batches };
            let measured = evaluate(program, data, settings, most)?;
            let loss = measured.loss;
            score = measured.score;
            beside = measured.beside;
            let best = position.best.filter(|b| b.1 <= loss).unwrap_or((step, loss));
            position.best = Some(best);
            validation = Some(loss);
            line.validation_loss = Some(loss);
            line.validation_bits_per_byte = data.bits_per_byte(loss);
            line.score = score.map(|s| s.1);
            let bits_per_byte = line.validation_bits_per_byte;
            watch(&Event::Evaluated { step, loss, bits_per_byte, best, score });
        }
        metrics.append(&line)?;
        if end || stopped || step % settings.save_every == 0 {
            metrics.sync()?;
            let path = checkpoint_path(folder, step);
            let state = program.state();
            if let Some(bad) = first_not_finite(&state) {
                let place = program.place(bad);
                return Err(LoopError::NotFinite { step, place, last });
            }
            checkpoint::save(&path, spec_hash, &position, &state)?;
            for old in checkpoints(folder).into_iter().skip(2) {
                // A checkpoint too many does no harm.
                let _ = std::fs::remove_file(old);
            }
            let svg = folder.join("curve.svg");
            curve::write(&svg, &metrics::read(&record)?)
                .map_err(|source| LoopError::Curve { path: svg, source })?;
            watch(&Event::Saved { step, path: path.clone() });
            last = Some(path);
        }
    }
    Ok(Ended { position, validation, score, beside, stopped })
}

/// A checkpoint of the state before a step that could not be taken, where that state is good.
fn keep_last_good(
    program: &dyn TrainProgram,
    folder: &Path,
    spec_hash: &str,
    position: &Position,
) -> Result<Option<PathBuf>, SealedError> {
    let state = program.state();
    if position.step == 0 || first_not_finite(&state).is_some() {
        return Ok(None);
    }
    let path = checkpoint_path(folder, position.step);
    checkpoint::save(&path, spec_hash, position, &state)?;
    Ok(Some(path))
}

/// What an evaluation found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// The mean loss of what is asked, in nats.
    pub loss: f64,
    /// The name and the value of the score, where the data has one beside the loss.
    pub score: Option<(&'static str, f64)>,
    /// What is said beside the score.
    pub beside: Option<(&'static str, f64)>,
}

/// Measures a program on held-out batches.
///
/// # Errors
/// Where data or the program fails.
pub fn evaluate(
    program: &mut dyn Measure,
    data: &dyn Source,
    settings: &LoopSettings,
    most: u64,
) -> Result<Measured, LoopError> {
    let count = data.validation_batches(settings.rows, settings.length).min(most);
    let mut rows: Vec<RowTally> = Vec::new();
    for index in 0..count {
        let batch = data.validation_batch(index, settings.rows, settings.length)?;
        let found = program
            .evaluate(&batch)
            .map_err(|source| LoopError::Step { step: 0, source })?;
        rows.extend(found);
    }
    let sum = |of: fn(&RowTally) -> f64| rows.iter().map(of).sum::<f64>();
    let loss = sum(|r| r.nats) / sum(|r| r.asked).max(1.0);
    Ok(Measured { loss, score: data.score(&rows), beside: data.beside(&rows) })
}
