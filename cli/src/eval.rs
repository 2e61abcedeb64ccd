//! `eval`: what a run left, measured.

use crate::fail::{Failure, Outcome};
use crate::model::{Model, initial};
use crate::run_folder::Left;
use nestor_compiler::FormOptions;
use nestor_compiler::trained::trained;
use nestor_runtime::train::TrainProgram;
use nestor_runtime::train::data::{Corpus, DataOptions, cache_beside};
use nestor_runtime::train::run_loop;
use std::path::Path;

/// Bits a byte on held-out text.
pub(crate) fn eval(folder: &Path, data: Option<&Path>, json: bool) -> Outcome {
    let Left { run, program, state, .. } = Left::open(folder)?;
    let corpus = Corpus::open(&DataOptions {
        path: data.map_or(run.data.path.clone(), Path::to_owned),
        tokenizer: run.tokenizer.clone(),
        validation: run.data.validation,
        cache: cache_beside(folder),
    })
    .map_err(Failure::data)?;
    corpus.check_length(run.settings.length).map_err(Failure::data)?;
    let compiled = trained(&program, FormOptions::default()).map_err(Failure::bug)?;
    let start = initial(&program, run.settings.seed)?;
    let mut model = Model::new(&program, compiled, start, run.settings.steps)?;
    model.load(state).map_err(Failure::data)?;
    let loss = run_loop::evaluate(&mut model, &corpus, &run.settings, u64::MAX)
        .map_err(Failure::data)?;
    let bits = corpus.bits_per_byte(loss).unwrap_or(loss / std::f64::consts::LN_2);
    if json {
        let tokens = corpus.validation_tokens();
        let report = serde_json::json!({
            "loss": loss, "bits_per_byte": bits, "tokens": tokens,
        });
        anstream::println!("{report}");
    } else {
        anstream::println!(
            "{bits:.4} bits a byte on {} held-out tokens",
            corpus.validation_tokens()
        );
    }
    Ok(())
}
