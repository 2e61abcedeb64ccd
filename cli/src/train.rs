//! `train`: from a model's text to a trained model.

use crate::arguments::TrainArguments;
use crate::device::Place;
use crate::doctor::threads;
use crate::fail::{Failure, Outcome, tell};
use crate::from::Others;
use crate::interrupt;
use crate::model::{Model, initial_from};
use crate::progress::Screen;
use crate::run_folder::{Run, newest};
use crate::session::{Request, Session, absolute};
use crate::tuned;
use nestor_compiler::costs::costs;
use nestor_compiler::machine::vectors;
use nestor_compiler::plan::Launch;
use nestor_compiler::predict::parameters;
use nestor_compiler::trained::Trained;
use nestor_runtime::train::progress::Event;
use nestor_runtime::train::run_loop::{self, Ended, LoopSettings, checkpoints};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The text that is learned from where none is named.
pub(crate) fn default_data(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("."));
    folder.join("data").join("tinyshakespeare.txt")
}

/// Trains a model.
pub(crate) fn train(a: &TrainArguments, json: bool) -> Outcome {
    let a = &remembered(a)?;
    let sitting = sitting(a, &mut Ready::open(a)?, !json)?;
    let Sitting { ended, bits, steps, folder } = &sitting;
    let position = ended.position;
    if json {
        let report = serde_json::json!({
            "run": folder, "step": position.step, "tokens": position.tokens,
            "seconds": position.seconds, "validation_bits_per_byte": bits,
            "stopped": ended.stopped, "score": ended.score.map(|s| s.1),
            "metric": ended.score.map(|s| s.0),
            "beside": ended.beside.map(|s| s.1),
        });
        anstream::println!("{report}");
        return Ok(());
    }
    if ended.stopped {
        anstream::println!(
            "stopped after step {}, saved {}; go on with\n  nestor {}",
            position.step,
            run_loop::checkpoint_path(folder, position.step).display(),
            again()
        );
        return Ok(());
    }
    let run = folder.display();
    let held_out = match (ended.score, bits) {
        // All digits: a run that is repeated gives the same ones.
        (Some((metric, score)), _) => {
            let beside =
                ended.beside.map_or(String::new(), |(n, x)| format!(", {n} {x}"));
            format!(", {metric} {score}{beside} held out")
        }
        (None, Some(bits)) => format!(", {bits:.3} bits a byte held out"),
        (None, None) => String::new(),
    };
    let next = match (position.step < *steps, &a.task) {
        (true, _) => format!("nestor {}", again()),
        (false, Some(_)) => format!("nestor eval {run}"),
        (false, None) => format!("nestor generate {run} --prompt \"...\""),
    };
    anstream::println!(
        "done: {} tokens in {:.0} s{held_out}\n  curve       {}\n  checkpoint  {}\n  \
         next        {next}",
        position.tokens,
        position.seconds,
        folder.join("curve.svg").display(),
        run_loop::checkpoint_path(folder, position.step).display()
    );
    Ok(())
}

/// What a sitting of a run came to.
pub(crate) struct Sitting {
    /// How it ended.
    pub(crate) ended: Ended,
    /// Bits a byte held out, where that is known.
    pub(crate) bits: Option<f64>,
    /// Steps of the whole run.
    pub(crate) steps: u64,
    /// The run's folder.
    pub(crate) folder: PathBuf,
}

/// What sittings of one model on the same data share, whatever their seeds, steps and folders.
pub(crate) struct Ready {
    place: Place,
    session: Session,
    /// The machine code, once a sitting has needed it.
    code: Option<Trained>,
    /// When this was begun, and what it took.
    began: Instant,
    front: Duration,
}

impl Ready {
    /// Checks the model and opens its data.
    pub(crate) fn open(a: &TrainArguments) -> Result<Self, Failure> {
        let began = Instant::now();
        let place = a.on.open()?;
        let session = Session::open(&Request {
            file: &a.file,
            name: a.name.as_deref(),
            set: &a.choices.set,
            task: a.task.as_deref(),
            data: a.data.as_deref(),
            tokenizer: a.tokenizer.as_deref(),
            folder: &folder(a),
        })?;
        Ok(Self { place, session, code: None, began, front: began.elapsed() })
    }
}

fn folder(a: &TrainArguments) -> PathBuf {
    a.out.clone().unwrap_or_else(|| {
        let stem = a.file.file_stem().map(|s| s.to_string_lossy().into_owned());
        Path::new("runs").join(stem.unwrap_or_else(|| "run".into()))
    })
}

/// What is asked for; where a run goes on, as it began in all that is not said.
fn remembered(a: &TrainArguments) -> Result<TrainArguments, Failure> {
    let mut a = a.clone();
    let folder = folder(&a);
    if !a.resume || !folder.join("run.json").exists() {
        return Ok(a);
    }
    let Run { entry, set, settings, data, tokenizer, .. } = Run::open(&folder)?;
    a.name = a.name.or(Some(entry));
    if a.choices.set.is_empty() {
        a.choices.set = set;
    }
    // A task's own options hold its length, and it may need no data.
    if data.task.is_none() {
        a.length = a.length.or(Some(settings.length));
    }
    if a.task.is_none() {
        a.task = data.task;
        a.tokenizer = a.tokenizer.or(tokenizer);
    }
    if a.data.is_none() && data.path != PathBuf::new() {
        a.data = Some(data.path);
    }
    a.steps = a.steps.or(Some(settings.steps));
    a.batch = a.batch.or(Some(settings.rows));
    a.seed = a.seed.or(Some(settings.seed));
    a.evaluate_every = a.evaluate_every.or(Some(settings.evaluate_every));
    a.save_every = a.save_every.or(Some(settings.save_every));
    Ok(a)
}

/// Trains a model as far as this sitting goes; prints on the way where asked to.
pub(crate) fn sitting(
    a: &TrainArguments,
    ready: &mut Ready,
    shown: bool,
) -> Result<Sitting, Failure> {
    let Ready { place, session, code, began, front } = ready;
    let folder = folder(a);
    let Session { program, hash, data, .. } = &*session;
    let (size, length) = match session.task {
        Some((size, length)) => (Some(size), length),
        None => (None, a.length.unwrap_or(256)),
    };
    data.check_length(length).map_err(Failure::data)?;
    let steps = a.steps.unwrap_or(size.map_or(1000, |s| s.steps));
    let options = LoopSettings {
        steps,
        rows: a.batch.unwrap_or(size.map_or(8, |s| s.rows)),
        length,
        seed: a.seed.unwrap_or(0),
        evaluate_every: a.evaluate_every.unwrap_or_else(|| (steps / 8).max(1)),
        evaluate_batches: 8,
        save_every: a.save_every.unwrap_or_else(|| (steps / 8).max(1)),
        until: a.until,
    };
    // A run keeps to what it began with.
    let tuned = match a.resume && folder.join("run.json").exists() {
        true => {
            let before = Run::open(&folder)?.tuned;
            if before.is_empty() && a.tuned.tuned.is_some() {
                anstream::eprintln!(
                    "note: the run began without `--tuned`, and goes on without it"
                );
            }
            before
        }
        false => tuned::written(tuned::used(&a.tuned, place.machine())?),
    };
    let run = Run {
        file: absolute(&a.file),
        entry: program.name.clone(),
        set: session.set.clone(),
        spec: hash.clone(),
        settings: options.clone(),
        data: session.identity.clone(),
        tokenizer: a.tokenizer.as_deref().map(absolute),
        tuned,
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
            newest(&folder, hash)?
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
    // Another sitting may need it again.
    let compiled = match code {
        Some(compiled) => compiled.clone(),
        None => {
            code.insert(session.compiled((options.rows, length), &run, place)?).clone()
        }
    };
    let loaded = &session.loaded;
    tell(loaded, &costs(loaded, program, &compiled.choices, length))?;
    if a.timings {
        anstream::eprintln!("  {:<24} {:>8.1} ms", "check", front.as_secs_f64() * 1e3);
        for (what, time) in &compiled.timings {
            anstream::eprintln!("  {what:<24} {:>8.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    if shown {
        header(a, session, &compiled, place, began.elapsed());
        anstream::println!(
            "{} steps of {} x {} tokens, into {}",
            options.steps,
            options.rows,
            options.length,
            folder.display()
        );
    }
    let mut others = Others::open(&a.from)?;
    let start = initial_from(program, options.seed, others.as_mut())?;
    if let Some(others) = &others {
        others.check()?;
        if shown {
            let (taken, all) = others.taken;
            anstream::println!("{taken} of {all} weights start as another run left them");
        }
    }
    let mut model = Model::new(program, compiled, start, steps, place)?;
    model.measured().measure(a.timings);
    let stop = interrupt::flag();
    let mut first = true;
    let mut screen =
        Screen::new(data.bits_per_byte(1.0).unwrap_or(std::f64::consts::LOG2_E));
    let mut watch = |event: &Event| {
        if let (Event::Step(_), true, true) = (event, first, a.timings) {
            first = false;
            let time = began.elapsed().as_secs_f64() * 1e3;
            anstream::eprintln!("  {:<24} {time:>8.1} ms", "spec to first step");
        }
        if shown {
            screen.show(event);
        }
    };
    let ended = run_loop::train(
        &mut model,
        data.as_ref(),
        &options,
        &folder,
        hash,
        resumed,
        &stop,
        &mut watch,
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
    let bits = ended.validation.and_then(|v| data.bits_per_byte(v));
    Ok(Sitting { ended, bits, steps, folder })
}

/// What is trained, on what, and what it was compiled to.
fn header(
    a: &TrainArguments,
    session: &Session,
    compiled: &Trained,
    place: &Place,
    took: Duration,
) {
    let cpu = || format!("cpu, {} threads, {}", threads(), vectors().level);
    let place = place.name().unwrap_or_else(cpu);
    let program = &session.program;
    let parameters = parameters(program);
    anstream::println!(
        "Nestor · {} {} · {parameters} parameters · {place}",
        a.file.display(),
        program.name
    );
    let launches = &compiled.step.plan.launches;
    let products = launches.iter().filter(|l| matches!(l, Launch::Dense(_))).count();
    let identity = &session.identity;
    let data = match (&identity.task, &identity.tokenizer) {
        (Some(task), _) => format!("task {task}"),
        (None, tokenizer) => format!(
            "data {:.1} MB, {}, last tenth held out",
            identity.bytes as f64 / 1e6,
            if tokenizer.is_some() { "tokenizer" } else { "bytes" }
        ),
    };
    anstream::println!(
        "ready in {:.2} s: {} kernels, {products} library products · {data}",
        took.as_secs_f64(),
        compiled.step.kernels.len(),
    );
    for choice in dedup(compiled.choices.iter().map(ToString::to_string)) {
        anstream::println!("  {choice}");
    }
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{word}'") }
}

/// The arguments of this command with `--resume`.
fn again() -> String {
    let mut words: Vec<String> = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        match word.as_str() {
            "--force" | "--resume" => {}
            "--until" => drop(given.next()),
            w if w.starts_with("--until=") => {}
            _ => words.push(quoted(word)),
        }
    }
    words.push("--resume".into());
    words.join(" ")
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
