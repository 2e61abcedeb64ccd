//! `train`: from a model's text to a trained model.

use crate::arguments::TrainArguments;
use crate::doctor::threads;
use crate::explain::parameters;
use crate::fail::{Failure, Outcome, settings, tell};
use crate::interrupt;
use crate::model::{Model, initial, vocabulary};
use crate::progress::Screen;
use crate::run_folder::{Run, newest};
use nestor_compiler::costs::costs;
use nestor_compiler::machine::vectors;
use nestor_compiler::plan::Launch;
use nestor_compiler::trained::{Trained, spec_hash, trained};
use nestor_compiler::{FormOptions, Program, check, source};
use nestor_runtime::train::data::{Corpus, DataOptions, cache_beside};
use nestor_runtime::train::progress::Event;
use nestor_runtime::train::run_loop::{self, LoopSettings, checkpoints};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The text that is learned from where none is named.
pub(crate) fn default_data(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("."));
    folder.join("data").join("tinyshakespeare.txt")
}

/// Trains a model.
pub(crate) fn train(a: &TrainArguments, json: bool) -> Outcome {
    let began = Instant::now();
    let folder = a.out.clone().unwrap_or_else(|| {
        let stem = a.file.file_stem().map(|s| s.to_string_lossy().into_owned());
        Path::new("runs").join(stem.unwrap_or_else(|| "run".into()))
    });
    let set = settings(&a.choices.set)?;
    let loaded = source::load(std::slice::from_ref(&a.file)).map_err(Failure::data)?;
    let program = match check::program(&loaded, a.name.as_deref(), &set) {
        Ok((program, warnings)) => {
            tell(&loaded, &warnings)?;
            program
        }
        Err(found) => return tell(&loaded, &found),
    };
    let front = began.elapsed();
    let hash = spec_hash(&loaded, &program.name, &a.choices.set);
    let data = a.data.clone().unwrap_or_else(|| default_data(&a.file));
    let data = absolute(&data);
    let corpus = Corpus::open(&DataOptions {
        path: data,
        tokenizer: a.tokenizer.clone(),
        validation: 0.1,
        cache: cache_beside(&folder),
    })
    .map_err(Failure::data)?;
    corpus.check_length(a.length).map_err(Failure::data)?;
    let (_, known) = vocabulary(&program)?;
    if corpus.codec.vocabulary() > known {
        return Err(Failure::data(format!(
            "the data has {} kinds of tokens, `{}` knows {known}: `--set vocab={0}`",
            corpus.codec.vocabulary(),
            program.name
        )));
    }
    let options = LoopSettings {
        steps: a.steps,
        rows: a.batch,
        length: a.length,
        seed: a.seed,
        evaluate_every: a.evaluate_every.unwrap_or_else(|| (a.steps / 8).max(1)),
        evaluate_batches: 8,
        save_every: a.save_every.unwrap_or_else(|| (a.steps / 8).max(1)),
    };
    let run = Run {
        file: absolute(&a.file),
        entry: program.name.clone(),
        set: a.choices.set.clone(),
        spec: hash.clone(),
        settings: options.clone(),
        data: corpus.identity.clone(),
        tokenizer: a.tokenizer.as_deref().map(absolute),
    };
    let resumed = match a.resume {
        // A run that was killed before it was written down begins.
        true if !folder.join("run.json").exists() => {
            anstream::eprintln!("note: {} holds no run yet: it begins", folder.display());
            run.create(&folder)?;
            None
        }
        true => {
            let before = Run::open(&folder)?;
            before.same(&run)?;
            // A run that was killed before its first checkpoint begins again: the same bits.
            newest(&folder, &hash)?
        }
        false => {
            if !checkpoints(&folder).is_empty() && !a.force {
                return Err(Failure::data(format!(
                    "{} holds a run already: `--resume` goes on with it, `--force` starts anew",
                    folder.display()
                )));
            }
            run.create(&folder)?;
            None
        }
    };
    let compiled = trained(&program, FormOptions::default()).map_err(Failure::bug)?;
    tell(&loaded, &costs(&loaded, &program, &compiled.choices, a.length))?;
    if a.timings {
        anstream::eprintln!("  {:<24} {:>8.1} ms", "check", front.as_secs_f64() * 1e3);
        for (what, time) in &compiled.timings {
            anstream::eprintln!("  {what:<24} {:>8.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    if !json {
        header(a, &program, &compiled, &corpus, began.elapsed());
        anstream::println!(
            "{} steps of {} x {} tokens, into {}",
            options.steps,
            options.rows,
            options.length,
            folder.display()
        );
    }
    let start = initial(&program, a.seed)?;
    let mut model = Model::new(&program, compiled, start, a.steps)?;
    model.measured().measure(a.timings);
    let stop = interrupt::flag();
    let mut first = true;
    let mut screen =
        Screen::new(corpus.bits_per_byte(1.0).unwrap_or(std::f64::consts::LOG2_E));
    let mut watch = |event: &Event| {
        if let (Event::Step(_), true, true) = (event, first, a.timings) {
            first = false;
            let time = began.elapsed().as_secs_f64() * 1e3;
            anstream::eprintln!("  {:<24} {time:>8.1} ms", "spec to first step");
        }
        if !json {
            screen.show(event);
        }
    };
    let ended = run_loop::train(
        &mut model, &corpus, &options, &folder, &hash, resumed, &stop, &mut watch,
    );
    if a.timings {
        let mut slow: Vec<_> = model.measured().timings().to_vec();
        slow.sort_by_key(|t| std::cmp::Reverse(t.total));
        let all: f64 = slow.iter().map(|t| t.total.as_secs_f64()).sum();
        for t in slow.iter().take(40) {
            let s = t.total.as_secs_f64();
            let each = s * 1e6 / t.calls.max(1) as f64;
            anstream::eprintln!(
                "  {:<40} {:>6} x {each:>9.1} us  {:>5.1} %",
                t.name,
                t.calls,
                100.0 * s / all
            );
        }
    }
    let ended = ended.map_err(Failure::data)?;
    let bits = ended.validation.and_then(|v| corpus.bits_per_byte(v));
    if json {
        let report = serde_json::json!({
            "run": folder, "step": ended.position.step, "tokens": ended.position.tokens,
            "seconds": ended.position.seconds, "validation_bits_per_byte": bits,
            "stopped": ended.stopped,
        });
        anstream::println!("{report}");
    } else if ended.stopped {
        anstream::println!(
            "stopped after step {}, saved {}; go on with\n  nestor {}",
            ended.position.step,
            run_loop::checkpoint_path(&folder, ended.position.step).display(),
            again()
        );
    } else {
        let run = folder.display();
        anstream::println!(
            "done: {} tokens in {:.0} s{}\n  curve       {}\n  checkpoint  {}\n  \
             next        nestor generate {run} --prompt \"...\"",
            ended.position.tokens,
            ended.position.seconds,
            bits.map_or(String::new(), |b| format!(", {b:.3} bits a byte held out")),
            folder.join("curve.svg").display(),
            run_loop::checkpoint_path(&folder, ended.position.step).display()
        );
    }
    Ok(())
}

/// What is trained, on what, and what it was compiled to.
fn header(
    a: &TrainArguments,
    program: &Program,
    compiled: &Trained,
    corpus: &Corpus,
    took: Duration,
) {
    let threads = threads();
    let parameters = parameters(program);
    anstream::println!(
        "Nestor · {} {} · {parameters} parameters · cpu, {threads} threads, {}",
        a.file.display(),
        program.name,
        vectors().level
    );
    let launches = &compiled.step.plan.launches;
    let products = launches.iter().filter(|l| matches!(l, Launch::Dense(_))).count();
    anstream::println!(
        "ready in {:.2} s: {} kernels, {products} library products · data {:.1} MB, {}, last \
         tenth held out",
        took.as_secs_f64(),
        compiled.step.kernels.len(),
        corpus.identity.bytes as f64 / 1e6,
        if corpus.identity.tokenizer.is_some() { "tokenizer" } else { "bytes" }
    );
    for choice in dedup(compiled.choices.iter().map(ToString::to_string)) {
        anstream::println!("  {choice}");
    }
}

/// The arguments of this command with `--resume`.
fn again() -> String {
    let quoted = |a: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
        if !a.is_empty() && a.chars().all(plain) { a } else { format!("'{a}'") }
    };
    let mut words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--force" && a != "--resume")
        .map(quoted)
        .collect();
    words.push("--resume".into());
    words.join(" ")
}

/// A path that is good from every folder, where there is something at it.
fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn dedup(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in lines {
        if !out.contains(&line) {
            out.push(line);
        }
    }
    out
}
