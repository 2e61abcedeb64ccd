//! `eval`: what a run left, measured.

use crate::fail::{Failure, Outcome};
use crate::model::{Model, initial};
use crate::run_folder::Left;
use crate::session::compiled;
use nestor_runtime::tasks::TaskData;
use nestor_runtime::train::TrainProgram;
use nestor_runtime::train::data::{Corpus, DataOptions, Source, cache_beside};
use nestor_runtime::train::run_loop;
use std::path::Path;

/// Bits a byte on held-out text.
pub(crate) fn eval(folder: &Path, data: Option<&Path>, json: bool) -> Outcome {
    let Left { run, program, state, .. } = Left::open(folder)?;
    let path = data.map_or(run.data.path.clone(), Path::to_owned);
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
    let compiled = compiled(&program, run.data.task.is_some())?;
    let start = initial(&program, run.settings.seed)?;
    let mut model = Model::new(&program, compiled, start, run.settings.steps)?;
    model.load(state).map_err(Failure::data)?;
    let measured = run_loop::evaluate(&mut model, data.as_ref(), &run.settings, u64::MAX)
        .map_err(Failure::data)?;
    let loss = measured.loss;
    if let Some((metric, score)) = measured.score {
        if json {
            let report =
                serde_json::json!({ "loss": loss, "metric": metric, "score": score });
            anstream::println!("{report}");
        } else {
            anstream::println!("{metric} {score}, loss {loss:.4} nats a target");
        }
        return Ok(());
    }
    let bits = data.bits_per_byte(loss).unwrap_or(loss / std::f64::consts::LN_2);
    if json {
        let tokens = data.validation_tokens();
        let report = serde_json::json!({
            "loss": loss, "bits_per_byte": bits, "tokens": tokens,
        });
        anstream::println!("{report}");
    } else {
        anstream::println!(
            "{bits:.4} bits a byte on {} held-out tokens",
            data.validation_tokens()
        );
    }
    Ok(())
}
