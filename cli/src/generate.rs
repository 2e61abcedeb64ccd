//! `eval` and `generate`: what a run left, measured and used.

use crate::fail::{Failure, Outcome, settings, tell};
use crate::model::{Model, initial, vocabulary};
use crate::run_folder::Run;
use crate::train::newest;
use nestor_compiler::trained::{answers, spec_hash, trained};
use nestor_compiler::{FormOptions, Program, check, source};
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::TrainProgram;
use nestor_runtime::train::data::{Corpus, DataOptions, cache_beside};
use nestor_runtime::train::rng::Stream;
use nestor_runtime::train::run_loop;
use nestor_runtime::train::tokens::Codec;
use std::io::Write;
use std::path::Path;

/// A run's model, as its text says now, with the weights of its newest checkpoint.
fn trained_model(folder: &Path) -> Result<(Run, Program, Vec<HostTensor>), Failure> {
    let run = Run::open(folder)?;
    let set = settings(&run.set)?;
    let loaded = source::load(std::slice::from_ref(&run.file)).map_err(Failure::data)?;
    let program = match check::program(&loaded, Some(&run.entry), &set) {
        Ok((program, _)) => program,
        Err(found) => {
            return Err(tell(&loaded, &found).err().unwrap_or_else(Failure::silent));
        }
    };
    let hash = spec_hash(&loaded, &run.entry, &run.set);
    let (_, checkpoint) = newest(folder, &hash)?;
    Ok((run, program, checkpoint.tensors))
}

/// Bits a byte on held-out text.
pub(crate) fn eval(folder: &Path, data: Option<&Path>, json: bool) -> Outcome {
    let (run, program, state) = trained_model(folder)?;
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

/// Writes on from a prompt.
pub(crate) fn generate(
    folder: &Path,
    prompt: &str,
    count: usize,
    temperature: f64,
    seed: u64,
) -> Outcome {
    let (run, program, state) = trained_model(folder)?;
    let (name, vocabulary) = vocabulary(&program)?;
    let codec = Codec::open(run.tokenizer.as_deref()).map_err(Failure::data)?;
    let artifact = answers(&program, FormOptions::default()).map_err(Failure::bug)?;
    let mut executor = Executor::new(artifact).map_err(Failure::bug)?;
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    for tensor in state.iter().filter(|t| asked.contains(&t.name)) {
        executor.set(tensor).map_err(Failure::bug)?;
    }
    let mut tokens = codec.encode(prompt).map_err(Failure::data)?;
    if tokens.is_empty() {
        return Err(Failure::usage(
            "the prompt is empty: there is nothing to go on from",
        ));
    }
    anstream::print!("{prompt}");
    let mut stream = Stream::new(seed, "generate");
    let mut pending: Vec<i32> = Vec::new();
    for _ in 0..count {
        let given = HostTensor {
            name: name.clone(),
            dims: vec![1, tokens.len()],
            data: Data::I32(tokens.clone()),
        };
        let sizes = Sizes { batch: 1, time: tokens.len(), start: 0 };
        let found = executor.run(&[&given], sizes).map_err(Failure::bug)?;
        let logits = found.iter().find_map(|t| match &t.data {
            Data::F32(v) if t.dims.last() == Some(&vocabulary) => Some(v),
            _ => None,
        });
        let Some(logits) = logits else {
            return Err(Failure::data(format!(
                "`{}` has no output of logits",
                program.name
            )));
        };
        let last = &logits[logits.len() - vocabulary..];
        let next = sample(last, temperature, &mut stream);
        tokens.push(next);
        pending.push(next);
        // Bytes of one character are shown together.
        let text = codec.decode(&pending);
        if !text.ends_with('\u{fffd}') || pending.len() > 3 {
            anstream::print!("{text}");
            let _ = std::io::stdout().flush();
            pending.clear();
        }
    }
    anstream::println!();
    Ok(())
}

/// A token drawn from the model's distribution, sharpened by the temperature.
fn sample(logits: &[f32], temperature: f64, stream: &mut Stream) -> i32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let place = |n: usize| i32::try_from(n).unwrap_or(0);
    if temperature <= 0.0 {
        return place(logits.iter().position(|l| *l == best).unwrap_or(0));
    }
    let weight = |l: &f32| (f64::from(l - best) / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let mut left = stream.uniform() * total;
    for (n, l) in logits.iter().enumerate() {
        left -= weight(l);
        if left <= 0.0 {
            return place(n);
        }
    }
    place(logits.len() - 1)
}
