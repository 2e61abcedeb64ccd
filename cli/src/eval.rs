//! `eval`: what a run left, measured; levels that are `online` may go on learning meanwhile.

use crate::device::{Place, Where};
use crate::fail::{Failure, Outcome};
use crate::losses::Losses;
use crate::model::{Model, initial};
use crate::positions::{Positions, measure};
use crate::roles::Roles;
use crate::run_folder::{Left, Run};
use crate::session::compiled;
use nestor_compiler::FormOptions;
use nestor_compiler::trained::{measured_for, measured_with_outputs, online};
use nestor_runtime::tasks::TaskData;
use nestor_runtime::train::checkpoint::{self, Checkpoint};
use nestor_runtime::train::data::{Corpus, DataOptions, Source, cache_beside};
use nestor_runtime::train::run_loop;
use nestor_runtime::train::{TrainProgram, fits};
use std::path::{Path, PathBuf};

/// `eval`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct EvalArguments {
    /// The folder of a run.
    pub(crate) run: PathBuf,
    /// Other data: its last tenth is measured.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Another task: what was learned is measured on it, for instance the same one at another length.
    #[arg(long)]
    task: Option<String>,
    /// Each batch is measured first, then the levels that are `online` learn from it.
    #[arg(long)]
    adapt: bool,
    /// The file that keeps what was learned: read first where it is there, written at the end.
    #[arg(long, value_name = "FILE", requires = "adapt")]
    state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) by: Positions,
    #[command(flatten)]
    on: Where,
}

/// Bits a byte on held-out text.
pub(crate) fn eval(a: &EvalArguments, json: bool) -> Outcome {
    let place = a.on.open()?;
    if let Some(every) = a.by.positions {
        return measure(a, every, &place)?.say(json);
    }
    let mut left = Left::open(&a.run)?;
    if let Some(task) = &a.task {
        if left.run.data.task.is_none() {
            let text = "this run learned text: `--data` names another text";
            return Err(Failure::usage(text.to_owned()));
        }
        left.run.settings.length = another(task, a, &left)?;
        left.run.data.task = Some(task.clone());
    }
    let data = data(&left.run, &a.run, a.data.as_deref())?;
    if a.adapt {
        return adapt(a, left, data.as_ref(), &place, json);
    }
    let Left { run, program, state, .. } = left;
    // As it was trained: sequences of a text have all this length.
    let task = run.data.task.is_some();
    let longest = (!task).then_some(run.settings.length);
    let forms = FormOptions { longest, ..run.forms() };
    let compile = if task { measured_with_outputs } else { measured_for };
    let loss = compile(&program, forms, place.machine()).map_err(Failure::native)?;
    let mut losses = Losses::of(&program, loss, &state, &place)?;
    let measured =
        run_loop::evaluate(&mut losses, data.as_ref(), &run.settings, u64::MAX)
            .map_err(Failure::data)?;
    let loss = measured.loss;
    if let Some((metric, score)) = measured.score {
        if json {
            let beside = measured.beside.map(|b| b.1);
            let report = serde_json::json!({ "loss": loss, "metric": metric, "score": score, "beside": beside });
            anstream::println!("{report}");
        } else if let Some((name, error)) = measured.beside {
            anstream::println!("{metric} {score}, {name} {error}");
        } else {
            anstream::println!("{metric} {score}, loss {loss:.4} nats a target");
        }
        return Ok(());
    }
    say(data.as_ref(), loss, json, &serde_json::json!({}));
    Ok(())
}

/// The length of another task that a run is measured on; the model has to know its tokens.
fn another(task: &str, a: &EvalArguments, left: &Left) -> Result<usize, Failure> {
    let path = a.data.clone().unwrap_or_else(|| left.run.data.path.clone());
    let path = Some(path).filter(|p| !p.as_os_str().is_empty());
    let opened = TaskData::open(task, path).map_err(Failure::data)?.task;
    let roles = Roles::of(&left.program)?;
    let (_, known) = roles.tokens()?;
    if opened.vocabulary > known {
        return Err(Failure::data(format!(
            "`{task}` has {} kinds of tokens, `{}` knows {known}",
            opened.vocabulary, left.program.name
        )));
    }
    Ok(opened.length)
}

fn data(
    run: &Run,
    folder: &Path,
    other: Option<&Path>,
) -> Result<Box<dyn Source>, Failure> {
    let path = other.map_or(run.data.path.clone(), Path::to_owned);
    let data: Box<dyn Source> = match &run.data.task {
        Some(task) => {
            let path = Some(path).filter(|p| !p.as_os_str().is_empty());
            Box::new(TaskData::open(task, path).map_err(Failure::data)?)
        }
        None => {
            let options = DataOptions {
                path,
                tokenizer: run.tokenizer.clone(),
                validation: run.data.validation,
                cache: cache_beside(folder),
            };
            Box::new(Corpus::open(&options).map_err(Failure::data)?)
        }
    };
    data.check_length(run.settings.length).map_err(Failure::data)?;
    Ok(data)
}

/// Every batch is measured, then learned from: windows, schedules and states go on where the run
/// or the state file stands.
fn adapt(
    a: &EvalArguments,
    left: Left,
    data: &dyn Source,
    place: &Place,
    json: bool,
) -> Outcome {
    let Left { run, program, state, position, hash } = left;
    let Some(learns) = online(&program) else {
        return Err(Failure::usage(format!(
            "no level of `{}` goes on learning: write `online` behind the clock of one",
            program.name
        )));
    };
    let kept = a.state.as_deref().filter(|path| path.exists());
    let Checkpoint { mut position, mut tensors } = match kept {
        Some(path) => checkpoint::load(path, &hash).map_err(Failure::data)?,
        None => Checkpoint { position, tensors: state.clone() },
    };
    fits(&state, &tensors).map_err(Failure::data)?;
    let compiled = compiled(&learns, &run, place)?;
    let start = initial(&learns, run.settings.seed)?;
    let mut model = Model::new(&learns, compiled, start, run.settings.steps, place)?;
    model.load(tensors.clone()).map_err(Failure::data)?;
    let (rows, length) = (run.settings.rows, run.settings.length);
    let (mut total, mut seen) = (0.0, 0);
    let first = position.step;
    for index in 0..data.validation_batches(rows, length) {
        let batch = data.validation_batch(index, rows, length).map_err(Failure::data)?;
        position.step += 1;
        position.tokens += (batch.rows * batch.length) as u64;
        let report = model.step(&batch, position.step).map_err(Failure::data)?;
        total += report.loss * batch.rows as f64;
        seen += batch.rows;
    }
    if let Some(path) = &a.state {
        let moved = model.state();
        for tensor in &mut tensors {
            if let Some(now) = moved.iter().find(|t| t.name == tensor.name) {
                tensor.clone_from(now);
            }
        }
        checkpoint::save(path, &hash, &position, &tensors).map_err(Failure::data)?;
    }
    let more = serde_json::json!({ "steps": [first, position.step] });
    say(data, total / seen.max(1) as f64, json, &more);
    Ok(())
}

fn say(data: &dyn Source, loss: f64, json: bool, more: &serde_json::Value) {
    let bits = data.bits_per_byte(loss).unwrap_or(loss / std::f64::consts::LN_2);
    let tokens = data.validation_tokens();
    if json {
        let mut report = serde_json::json!({
            "loss": loss, "bits_per_byte": bits, "tokens": tokens,
        });
        if let (Some(report), Some(more)) = (report.as_object_mut(), more.as_object()) {
            report.extend(more.clone());
        }
        anstream::println!("{report}");
    } else {
        anstream::println!("{bits:.4} bits a byte on {tokens} held-out tokens");
    }
}
