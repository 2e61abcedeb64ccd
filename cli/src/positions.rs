//! `eval --positions`: bits a byte by place in a text, with memories carried from segment to segment, and with
//! memories that begin again at each.

use crate::device::{Place, unready};
use crate::eval::EvalArguments;
use crate::fail::{Failure, Outcome};
use crate::roles::Roles;
use crate::run_folder::Left;
use nestor_compiler::trained::scored_for;
use nestor_runtime::segments::Segments;
use nestor_runtime::train::Batch;
use nestor_runtime::train::data::{Corpus, DataError, DataOptions, Source, cache_beside};
use std::fmt::Write as _;

/// Where to measure.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Positions {
    /// Bits a byte by place, so many tokens together, memory carried from segment to segment and not; a
    /// segment is as long as the run's sequences. Of other data (`--data`) all is measured.
    #[arg(long, value_name = "TOKENS", conflicts_with_all = ["task", "adapt"])]
    pub(crate) positions: Option<usize>,
    /// How many texts, from places spread evenly.
    #[arg(long, requires = "positions", default_value_t = 8)]
    rows: usize,
    /// How many tokens of each.
    #[arg(long, requires = "positions", default_value_t = 16384)]
    reach: usize,
}

/// Measures both ways.
pub(crate) fn measure(
    a: &EvalArguments,
    every: usize,
    place: &Place,
) -> Result<Measured, Failure> {
    let Left { run, program, state, .. } = Left::open(&a.run)?;
    if run.data.task.is_some() {
        let text =
            "this run learned a task: places in a text are measured of a model of text";
        return Err(Failure::usage(text.to_owned()));
    }
    let (rows, length) = (a.by.rows.max(1), run.settings.length);
    if every == 0
        || !every.is_multiple_of(length)
        || !a.by.reach.is_multiple_of(every)
        || a.by.reach == 0
    {
        return Err(Failure::usage(format!(
            "segments have {length} tokens: `--positions` is a multiple of that, and `--reach` one of `--positions`"
        )));
    }
    let corpus = Corpus::open(&DataOptions {
        path: a.data.clone().unwrap_or_else(|| run.data.path.clone()),
        tokenizer: run.tokenizer.clone(),
        validation: run.data.validation,
        cache: cache_beside(&a.run),
    })
    .map_err(Failure::data)?;
    let first = if a.data.is_some() { 0 } else { corpus.train_tokens() };
    let apart = (corpus.tokens() - first) / rows as u64;
    if apart <= a.by.reach as u64 {
        return Err(Failure::data(DataError::Short {
            path: corpus.identity.path.clone(),
            part: "measured",
            tokens: apart,
            length: a.by.reach,
        }));
    }
    let roles = Roles::of(&program)?;
    let (stream, _) = roles.tokens()?;
    let compiled =
        scored_for(&program, run.forms(), place.machine()).map_err(Failure::native)?;
    let programs = [compiled.begin, compiled.step];
    let mut reader =
        Segments::new(programs, place.device(), stream, &state).map_err(unready)?;
    let bits = corpus.bits_per_byte(1.0).unwrap_or(std::f64::consts::LOG2_E);
    let mut way = |carried: bool| -> Result<Vec<f64>, Failure> {
        reader.forget();
        let mut out = vec![0.0; a.by.reach / every];
        for at in (0..a.by.reach).step_by(length) {
            let mut tokens = vec![0; rows * (length + 1)];
            for (row, part) in tokens.chunks_exact_mut(length + 1).enumerate() {
                let place = first + row as u64 * apart + at as u64;
                corpus.read(place, part).map_err(Failure::data)?;
            }
            if !carried {
                reader.forget();
            }
            let batch = Batch::windows(rows, length, &tokens);
            let losses = reader.read(&batch).map_err(Failure::bug)?;
            let nats: f64 = losses.iter().map(|x| f64::from(*x)).sum();
            out[at / every] += bits * nats / (rows * every) as f64;
        }
        Ok(out)
    };
    Ok(Measured { every, segment: length, rows, carried: way(true)?, reset: way(false)? })
}

/// Bits a byte of every place.
#[derive(serde::Serialize)]
pub(crate) struct Measured {
    /// Tokens of a place.
    every: usize,
    /// Tokens of a segment.
    segment: usize,
    /// Texts.
    rows: usize,
    /// With memory carried from segment to segment.
    carried: Vec<f64>,
    /// With memory that begins again at each.
    reset: Vec<f64>,
}

impl Measured {
    /// Tells it.
    pub(crate) fn say(&self, json: bool) -> Outcome {
        if json {
            anstream::println!("{}", serde_json::to_string(self).map_err(Failure::bug)?);
            return Ok(());
        }
        let mut out = format!(
            "bits a byte, {} texts in segments of {} tokens\n{:>10} {:>10} {:>10}\n",
            self.rows, self.segment, "from token", "carried", "reset"
        );
        let mut line = |name: &str, carried: f64, reset: f64| {
            let _ = writeln!(out, "{name:>10} {carried:>10.4} {reset:>10.4}");
        };
        for (n, (carried, reset)) in self.carried.iter().zip(&self.reset).enumerate() {
            line(&(n * self.every).to_string(), *carried, *reset);
        }
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
        line("all", mean(&self.carried), mean(&self.reset));
        anstream::print!("{out}");
        Ok(())
    }
}
