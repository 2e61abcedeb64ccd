//! `train`: from a model's text to a trained model.

use crate::arguments::TrainArguments;
use crate::fail::{Failure, Outcome, settings, tell};
use crate::interrupt;
use crate::model::{Model, initial, vocabulary};
use crate::run_folder::{Run, newest};
use nestor_compiler::trained::{spec_hash, trained};
use nestor_compiler::{FormOptions, check, source};
use nestor_runtime::train::data::{Corpus, DataOptions, cache_beside};
use nestor_runtime::train::progress::Event;
use nestor_runtime::train::run_loop::{self, LoopSettings, checkpoints};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

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
    let loaded = source::load(&[a.file.clone()]).map_err(Failure::data)?;
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
    if a.timings {
        anstream::eprintln!("  {:<24} {:>8.1} ms", "check", front.as_secs_f64() * 1e3);
        for (what, time) in &compiled.timings {
            anstream::eprintln!("  {what:<24} {:>8.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    if !json {
        let parameters: usize = program
            .weights
            .values()
            .map(|w| w.dims.iter().filter_map(|d| d.fixed()).product::<usize>())
            .sum();
        anstream::println!(
            "{}  {parameters} parameters, {} steps of {} x {} tokens, into {}",
            program.name,
            options.steps,
            options.rows,
            options.length,
            folder.display()
        );
        for choice in dedup(compiled.choices.iter().map(ToString::to_string)) {
            anstream::println!("  {choice}");
        }
    }
    let start = initial(&program, a.seed)?;
    let mut model = Model::new(&program, compiled, start, a.steps)?;
    model.measured().measure(a.timings);
    let stop = interrupt::flag();
    let mut first = true;
    let terminal = std::io::stdout().is_terminal();
    let mut watch = |event: &Event| {
        if let (Event::Step(_), true, true) = (event, first, a.timings) {
            first = false;
            let time = began.elapsed().as_secs_f64() * 1e3;
            anstream::eprintln!("  {:<24} {time:>8.1} ms", "spec to first step");
        }
        if !json {
            show(event, terminal);
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
        anstream::println!(
            "done: {} tokens in {:.0} s{}; curve in {}",
            ended.position.tokens,
            ended.position.seconds,
            bits.map_or(String::new(), |b| format!(", {b:.3} bits a byte held out")),
            folder.join("curve.svg").display()
        );
    }
    Ok(())
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

fn show(event: &Event, terminal: bool) {
    let clear = if terminal { "\r\x1b[2K" } else { "" };
    match event {
        Event::Started { step, resumed, train_tokens, validation_tokens, .. } => {
            if let Some(path) = resumed {
                anstream::println!("going on after step {step} from {}", path.display());
            }
            anstream::println!(
                "{train_tokens} tokens to learn from, {validation_tokens} held out"
            );
        }
        Event::Step(l) => {
            if !terminal && l.step % 50 != 0 {
                return;
            }
            let left = l.left.as_secs();
            anstream::print!(
                "{clear}step {}/{}  loss {:.3}  {:.0} tokens/s  {}:{:02} left{}",
                l.step,
                l.steps,
                l.loss,
                l.tokens_per_second,
                left / 60,
                left % 60,
                if terminal { "" } else { "\n" }
            );
            let _ = std::io::stdout().flush();
        }
        Event::Evaluated { step, loss, bits_per_byte, .. } => {
            let bits = bits_per_byte.unwrap_or(loss / std::f64::consts::LN_2);
            anstream::println!("{clear}step {step}: {bits:.3} bits a byte held out");
        }
        Event::Saved { .. } => {}
        Event::Stopping { step } => {
            anstream::println!("{clear}stopping after step {step}, saving");
        }
    }
}
