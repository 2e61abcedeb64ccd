//! `tune`: measures forms and chunks of a program's walks, once, and keeps what is best of each.
//!
//! Costs choose without measuring, and nothing needs this command. It varies one walk at a time: a candidate and what
//! costs choose are called in turn, each as a part of the whole program. Every measurement is kept as it is made, so that
//! a search that was stopped, or killed, goes on.

#[cfg(all(test, feature = "cuda"))]
mod emulated;

use crate::arguments::{Choices, positive};
use crate::bench::drawn;
use crate::device::{Place, Where, unready};
use crate::doctor::threads;
use crate::duration::duration;
use crate::fail::{Failure, Outcome};
use crate::interrupt;
use crate::spec::checked;
use crate::tuned::{self, AWAY, Candidate, Entry, Used};
use nestor_compiler::native::Machine;
use nestor_compiler::time::{RATES, seconds};
use nestor_compiler::tune::{Trial, best, candidates, learns, next, whole, with};
use nestor_compiler::{Choice, Form, FormOptions, Program, Tuned};
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// `tune`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct TuneArguments {
    /// The file.
    pub(crate) file: PathBuf,
    /// A memory, layer or model of it; the last one where left out.
    pub(crate) name: Option<String>,
    /// Sequences of a call that is timed; what is found is used for any number.
    #[arg(long, default_value_t = 2, value_parser = positive::<usize>)]
    pub(crate) batch: usize,
    /// Tokens of its sequences; what is found is used for any length.
    #[arg(long, default_value_t = 1024, value_parser = positive::<usize>)]
    pub(crate) length: usize,
    /// Time in all, `90s`, `30m`; the same command goes on later. Without end where left out.
    #[arg(long, value_parser = duration)]
    pub(crate) budget: Option<Duration>,
    /// The file that keeps what is found; `tuned.json` in NESTOR_CACHE, or in `nestor` of the user's cache, where left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Measure again what was measured before.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) on: Where,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// Short calls are repeated until each pair of a round has taken this long, in the mean, but no more than so many times.
const ENOUGH: Duration = Duration::from_millis(20);
const MOST: usize = 10;

/// Where and how calls are timed.
struct Bench<'a> {
    program: &'a Program,
    place: &'a Place,
    forms: FormOptions,
    sizes: Sizes,
}

/// Finds the best form and chunk of every walk of a program.
pub(crate) fn tune(a: &TuneArguments, as_json: bool) -> Outcome {
    tune_on(&a.on.open()?, a, as_json)
}

fn tune_on(place: &Place, a: &TuneArguments, as_json: bool) -> Outcome {
    let program = checked(&a.file, a.name.as_deref(), &a.choices.set)?;
    let (longest, workers) = (Some(a.length), place.workers(a.batch));
    let forms = FormOptions { longest, workers, ..FormOptions::default() };
    let forms = place.machine().suited(forms);
    let sizes = Sizes { batch: a.batch, time: a.length, start: 0 };
    let bench = Bench { program: &program, place, forms, sizes };
    let walks = bench.walks()?;
    if walks.is_empty() {
        return Err(Failure::data(format!(
            "`{}` walks nothing token by token: there is no form to choose, and nothing to tune",
            program.name
        )));
    }
    let path = match &a.out {
        Some(path) => path.clone(),
        None => tuned::path_of("")?,
    };
    let kept = tuned::load(&path).map_err(|e| Failure::data(format!("{e}\n{AWAY}")))?;
    tuned::writable(&path)?;
    let kept = kept.unwrap_or_default();
    let machine = tuned::machine_name(place.machine());
    if !as_json {
        anstream::println!(
            "{}  {}, on {machine}; walks: {}",
            program.name,
            bench.what(),
            walks.len()
        );
    }
    let until = a.budget.map(|budget| Instant::now() + budget);
    let stop = interrupt::flag();
    let over =
        || stop.load(Ordering::Relaxed) || until.is_some_and(|t| Instant::now() > t);
    let mut found: Vec<Tuned> = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for choice in &walks {
        let known = kept.entries.iter().find(|e| {
            let same = (e.costs.form.as_str(), e.costs.chunk)
                == (choice.form.name(), choice.chunk);
            e.walk == choice.key && e.machine == machine && same && !a.force
        });
        let mut entry = known.cloned().unwrap_or_else(|| bench.entry(choice, &machine));
        if entry.best.is_none() {
            bench.search(choice, &found, &mut entry, !as_json, &over, &|e| {
                tuned::store(&path, e)
            })?;
        } else if !as_json {
            anstream::println!(
                "{}: measured {}; `--force` measures again",
                choice.walk,
                entry.measured
            );
        }
        found.extend(tuned::read(entry.best.as_slice()).iter().cloned());
        entries.push(entry);
    }
    report(&entries, &path, as_json);
    Ok(())
}

/// What was found, as a table or for programs.
fn report(entries: &[Entry], path: &std::path::Path, as_json: bool) {
    if as_json {
        let unfinished = entries.iter().filter(|e| e.best.is_none()).count();
        anstream::println!(
            "{}",
            json!({ "file": path, "walks": entries, "unfinished": unfinished })
        );
        return;
    }
    anstream::println!("\n{:<16} {:<16} {:>9}  walk", "costs choose", "best", "gain");
    for entry in entries {
        let costs = format!("{} {}", entry.costs.form, entry.costs.chunk);
        let (best, gain) = match &entry.best {
            Some(best) => {
                (format!("{} {}", best.form, best.chunk), format!("{:.2}", entry.gain))
            }
            None => ("not known yet".to_owned(), String::new()),
        };
        anstream::println!("{costs:<16} {best:<16} {gain:>9}  {}", entry.named);
    }
    if entries.iter().any(|e| e.best.is_none()) {
        anstream::println!(
            "\nstopped; the same command goes on with what is in {}",
            path.display()
        );
    } else {
        anstream::println!(
            "\nwritten to {}; `--tuned` uses it, in run, train, bench, explain and compile",
            path.display()
        );
    }
}

impl Bench<'_> {
    /// What is timed.
    fn what(&self) -> String {
        let what = match learns(self.program) {
            true => "a step of training",
            false => "outputs and all gradients",
        };
        format!("{what} on {} x {} tokens", self.sizes.batch, self.sizes.time)
    }

    /// The walks of the program as costs have them, one of each kind.
    fn walks(&self) -> Result<Vec<Choice>, Failure> {
        let all = whole(self.program, self.forms).map_err(|e| Failure::pass(&e))?;
        let mut out: Vec<Choice> = Vec::new();
        for choice in all.choices {
            if out.iter().all(|known| known.key != choice.key) {
                out.push(choice);
            }
        }
        Ok(out)
    }

    /// Nothing measured yet of a walk.
    fn entry(&self, choice: &Choice, machine: &str) -> Entry {
        let candidate = |form: Form, chunk| Candidate {
            form: form.name().to_owned(),
            chunk,
            predicted: None,
            seconds: None,
            ratios: Vec::new(),
        };
        let tried = candidates(choice);
        Entry {
            walk: choice.key.clone(),
            machine: machine.to_owned(),
            named: choice.walk.clone(),
            program: format!("{}: {}", self.program.name, self.what()),
            measured: tuned::today(),
            compiler: env!("CARGO_PKG_VERSION").to_owned(),
            costs: candidate(choice.form, choice.chunk),
            tried: tried.into_iter().map(|t| candidate(t.form, t.chunk)).collect(),
            best: None,
            gain: 1.0,
        }
    }

    /// Measures candidates of a walk until the best is known, or it is over.
    fn search(
        &self,
        choice: &Choice,
        found: &[Tuned],
        entry: &mut Entry,
        shown: bool,
        over: &dyn Fn() -> bool,
        store: &dyn Fn(&Entry) -> Outcome,
    ) -> Outcome {
        let forms = FormOptions { tuned: found.to_vec().leak(), ..self.forms };
        if over() {
            return Ok(());
        }
        let (mut costs, predicted) = self
            .ready(forms, None)?
            .ok_or_else(|| Failure::bug("what costs choose does not apply"))?;
        entry.costs.predicted = predicted;
        if shown {
            anstream::println!("\n{}", choice.walk);
            anstream::println!(
                "  {:<12} {:>5} {:>12} {:>12}  of what costs choose",
                "form",
                "chunk",
                "predicted",
                "measured"
            );
        }
        loop {
            let trials = trials(entry);
            let Some((n, pairs)) = next(&trials) else { break };
            if over() {
                return Ok(());
            }
            let trial = &trials[n];
            let forms =
                FormOptions { tuned: with(found, &choice.key, trial), ..self.forms };
            let walk =
                Tuned { walk: choice.key.clone(), form: trial.form, chunk: trial.chunk };
            let candidate = &mut entry.tried[n];
            // What does not compile, or does not run, is no choice; why is for `verify` to say.
            match self.ready(forms, Some(&walk)) {
                Ok(Some((mut executor, predicted))) => {
                    candidate.predicted = predicted;
                    match self.paired(&mut executor, &mut costs, pairs) {
                        Ok((ratio, seconds, base)) => {
                            candidate.ratios.push(Some(ratio));
                            candidate.seconds = Some(seconds);
                            entry.costs.seconds = Some(base);
                        }
                        Err(_) => candidate.ratios.push(None),
                    }
                }
                Ok(None) | Err(_) => candidate.ratios.push(None),
            }
            if shown && candidate.ratios.last() != Some(&None) {
                line(candidate);
            }
            store(entry)?;
        }
        let trials = trials(entry);
        let chosen = best(&trials);
        entry.gain = chosen.and_then(|t| t.ratios.last()).map_or(1.0, |r| 1.0 / r);
        let own = if choice.form == Form::TwoPass { Form::Affine } else { choice.form };
        let (form, chunk) = chosen.map_or((own, choice.chunk), |t| (t.form, t.chunk));
        let form = form.name().to_owned();
        entry.best = Some(Used { walk: choice.key.clone(), form, chunk });
        entry.measured = tuned::today();
        store(entry)
    }

    /// An executor of the program in these forms, its inputs resident, called once, with its predicted time; nothing where a walk
    /// cannot be as it should.
    fn ready(
        &self,
        forms: FormOptions,
        walk: Option<&Tuned>,
    ) -> Result<Option<(Executor, Option<f64>)>, Failure> {
        let machine = self.place.machine();
        let whole = whole(self.program, forms).map_err(|e| Failure::pass(&e))?;
        if walk.is_some_and(|walk| !whole.has(walk)) {
            return Ok(None);
        }
        let artifact = whole.compiled(machine).map_err(Failure::native)?;
        let predicted = matches!(machine, Machine::Cpu(_)).then(|| {
            seconds(&artifact.plan, &artifact.kernels, &self.sizes, threads(), &RATES)
        });
        let mut executor = self.place.executor(artifact).map_err(unready)?;
        for tensor in drawn(self.program, self.sizes, &executor)? {
            executor.set(&tensor).map_err(unready)?;
        }
        self.call(&mut executor)?;
        Ok(Some((executor, predicted)))
    }

    /// Seconds of a call.
    fn call(&self, executor: &mut Executor) -> Result<f64, Failure> {
        let began = Instant::now();
        executor.step(self.sizes).map_err(unready)?;
        if let Some(device) = self.place.device() {
            device.hold().device.wait().map_err(Failure::data)?;
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// So many calls of two programs in turn, and more of short ones: the least time of the first one over that of the other
    /// one, and both. What else a machine does only adds to a call, so that the least is what a program takes.
    fn paired(
        &self,
        one: &mut Executor,
        other: &mut Executor,
        pairs: usize,
    ) -> Result<(f64, f64, f64), Failure> {
        let (mut least, began) = ((f64::INFINITY, f64::INFINITY), Instant::now());
        let enough = ENOUGH * pairs as u32;
        let mut n = 0;
        while n < pairs || (n < MOST * pairs && began.elapsed() < enough) {
            // Neither is always the one that finds caches as the other left them.
            let (a, b) = match n % 2 {
                0 => (self.call(one)?, self.call(other)?),
                _ => {
                    let b = self.call(other)?;
                    (self.call(one)?, b)
                }
            };
            least = (least.0.min(a), least.1.min(b));
            n += 1;
        }
        Ok((least.0 / least.1, least.0, least.1))
    }
}

/// What is known of the candidates of a walk.
fn trials(entry: &Entry) -> Vec<Trial> {
    let one = |c: &Candidate| Trial {
        form: Form::of(&c.form).unwrap_or(Form::Sequential),
        chunk: c.chunk,
        ratios: c.ratios.iter().map(|r| r.unwrap_or(f64::INFINITY)).collect(),
    };
    entry.tried.iter().map(one).collect()
}

/// A candidate that was just measured.
fn line(candidate: &Candidate) {
    let time = |s: Option<f64>| {
        s.map_or_else(|| "-".to_owned(), |s| format!("{:.2} ms", s * 1e3))
    };
    let ratio = candidate.ratios.last().copied().flatten();
    let ratio = ratio.map_or_else(String::new, |r| format!("{r:.2}"));
    anstream::println!(
        "  {:<12} {:>5} {:>12} {:>12}  {ratio}",
        candidate.form,
        candidate.chunk,
        time(candidate.predicted),
        time(candidate.seconds)
    );
}
