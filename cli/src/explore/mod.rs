//! `explore`: every combination of a sweep judged, the legal ones trained on a task, the better
//! ones longer; a report of which choices mattered.
//!
//! The folder of an exploration is its store: `explore.json` is the question, `specs/` the file
//! of every legal combination, `results/` one file for each trial, written whole or not at all.
//! Everything else follows from these, so that the same command goes on after any kill, and who
//! goes on to a next round depends on scores alone.

mod crew;
mod died;
mod judge;
mod kept;
mod launch;
mod live;
mod page;
mod parquet;
mod plot;
mod question;
mod ray;
mod report;
mod rounds;
mod statistics;
mod store;
mod table;
mod trial;
mod verdicts;
mod worker;

pub(crate) use trial::trial;
pub(crate) use worker::worker;

use crate::arguments::{Equal, ExploreArguments, On};
use crate::fail::{Failure, Outcome, tell};
use crate::interrupt;
use crate::spec;
use crate::train::quoted;
use crew::Crew;
use judge::{Legal, Verdict};
use launch::{Job, Moment, Reason, launch};
use live::{Live, Row, View};
use nestor_compiler::check;
use nestor_compiler::sweep::{Expanded, expand};
use question::{Question, question};
use rounds::{Standing, budgets, ranked, survivors};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::Store;
use verdicts::{name, tell_verdicts};

/// A round as it was measured.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Its budget, of the whole.
    pub(crate) until: u64,
    /// Its combinations, the best first.
    pub(crate) ranking: Vec<Standing>,
}

/// Explores a sweep.
pub(crate) fn explore(a: &ExploreArguments, json: bool) -> Outcome {
    if a.on == On::Ray {
        return ray::explore();
    }
    let began = Instant::now();
    let loaded = spec::loaded(&a.file)?;
    tell(&loaded, &loaded.found)?;
    let expanded = match expand(&loaded, a.sweep.as_deref()) {
        Ok(expanded) => expanded,
        Err(found) => return tell(&loaded, &found),
    };
    let known = check::parameters(&loaded, a.model.as_deref());
    let question = question(a, &expanded, &known, &loaded)?;
    let out = a.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&expanded.name));
    let store = match a.list {
        true => None,
        false => Some(Store::open(&out, &question, a.force)?),
    };
    let verdicts = kept::verdicts(&expanded, &question, store.as_ref())?;
    if (!json || a.list) && !a.pending {
        tell_verdicts(&expanded, &verdicts, a.list, json, began.elapsed());
    }
    let Some(store) = store else { return Ok(()) };
    let spent = store.spent();
    let mut state =
        Exploration { a, expanded, question, verdicts, store, json, began, spent };
    state.write_specs()?;
    let (rounds, reason) = state.run()?;
    if a.pending {
        return Ok(());
    }
    state.store.keep_spent(spent + began.elapsed())?;
    let report = report::Report::of(&state, &rounds, reason);
    report.write(&state.store)?;
    state.tell_end(&report, reason);
    Ok(())
}

/// The part of a combination's steps that a round ends after.
fn part(steps: u64, until: u64, of: u64) -> u64 {
    (steps as f64 * (until as f64 / of as f64)).round().max(1.0) as u64
}

/// Everything of an exploration that runs.
pub(crate) struct Exploration<'a> {
    a: &'a ExploreArguments,
    expanded: Expanded,
    question: Question,
    verdicts: Vec<Verdict>,
    store: Store,
    json: bool,
    began: Instant,
    /// Time of earlier sittings.
    spent: Duration,
}

impl Exploration<'_> {
    fn legal(&self) -> Vec<usize> {
        let is = |n: &usize| matches!(self.verdicts[*n], Verdict::Legal(_));
        (0..self.verdicts.len()).filter(is).collect()
    }

    fn facts(&self, n: usize) -> Option<&Legal> {
        match &self.verdicts[n] {
            Verdict::Legal(legal) => Some(legal),
            Verdict::Duplicate { .. } | Verdict::LeftOut { .. } => None,
        }
    }

    /// A combination in words: the choices of the axes that differ at all.
    fn name(&self, n: usize) -> String {
        name(&self.expanded, n)
    }

    fn write_specs(&self) -> Outcome {
        for n in self.legal() {
            self.store.write_spec(n, &self.expanded.combinations[n].text)?;
        }
        Ok(())
    }

    /// All rounds, as far as the budget goes.
    fn run(&mut self) -> Result<(Vec<Round>, Reason), Failure> {
        let stop = interrupt::flag();
        let deadline = self.a.budget.map(|b| {
            // What earlier sittings took counts.
            Instant::now() + b.saturating_sub(self.spent)
        });
        let workers = self.a.workers.unwrap_or_else(crate::doctor::threads);
        let mut crew = Crew::new(workers, self.store.trials());
        let q = self.question.clone();
        let mut alive = self.legal();
        let mut live = Live::new();
        let mut rounds: Vec<Round> = Vec::new();
        if q.equal == Equal::Time {
            let pilots: Vec<Job> = alive.iter().map(|n| self.pilot(*n)).collect();
            let reason = self.round(
                "pilot",
                &pilots,
                &alive,
                (&mut crew, deadline),
                &stop,
                &mut live,
            )?;
            if reason != Reason::Done {
                return Ok((rounds, reason));
            }
        }
        let steps = self.steps();
        let all = budgets(q.steps, q.rounds, q.keep);
        for (r, until) in all.iter().enumerate() {
            let jobs: Vec<Job> = (q.first_seed..q.first_seed + q.seeds)
                .flat_map(|seed| alive.iter().map(move |n| (*n, seed)))
                .map(|(n, seed)| {
                    self.job(n, seed, steps[n], part(steps[n], *until, q.steps))
                })
                .collect();
            let title = format!("round {} of {}, {until} steps", r + 1, all.len());
            let reason = self.round(
                &title,
                &jobs,
                &alive,
                (&mut crew, deadline),
                &stop,
                &mut live,
            )?;
            let ranking = self.ranking(&alive, &jobs);
            let going = survivors(&ranking, q.keep, q.more_is_better);
            let next: Vec<usize> =
                ranking[..going].iter().map(|s| s.combination).collect();
            rounds.push(Round { until: *until, ranking });
            if reason != Reason::Done {
                return Ok((rounds, reason));
            }
            if r + 1 < all.len() {
                for n in alive.iter().filter(|n| !next.contains(n)) {
                    self.store.forget_weights(*n);
                }
                alive = next;
                alive.sort_unstable();
            }
        }
        Ok((rounds, Reason::Done))
    }

    /// The steps of every combination: equal, or as many as come to the cost of the middle one.
    fn steps(&self) -> Vec<u64> {
        let q = &self.question;
        let cost = |n: usize| match q.equal {
            Equal::Steps | Equal::Parameters => None,
            Equal::Operations => Some(self.facts(n)?.flops),
            Equal::Time => {
                let found = self.store.result(&self.pilot(n).result)?;
                Some(found.seconds / found.until.max(1) as f64)
            }
        };
        let costs: Vec<(usize, f64)> =
            self.legal().into_iter().filter_map(|n| Some((n, cost(n)?))).collect();
        let mut sorted: Vec<f64> =
            costs.iter().map(|c| c.1).filter(|c| *c > 0.0).collect();
        sorted.sort_by(f64::total_cmp);
        let mut out = vec![q.steps; self.verdicts.len()];
        let Some(middle) = sorted.get(sorted.len() / 2) else { return out };
        for (n, cost) in costs {
            let ratio = (middle / cost.max(1e-9)).clamp(0.125, 8.0);
            out[n] = (q.steps as f64 * ratio).round().max(1.0) as u64;
        }
        out
    }

    fn pilot(&self, n: usize) -> Job {
        let steps = self.question.steps;
        let until = (steps / 27).max(2).min(steps);
        let mut job = self.job(n, u64::MAX, steps, until);
        job.until = until;
        job
    }

    fn job(&self, n: usize, seed: u64, steps: u64, until: u64) -> Job {
        let q = &self.question;
        let trial = if seed == u64::MAX {
            format!("{}-pilot", store::label(n))
        } else {
            format!("{}-s{seed}", store::label(n))
        };
        let out = self.store.trial(&trial);
        let result = self.store.result_path(&trial, until);
        let mut words = vec!["trial".to_owned()];
        words.push(self.store.spec(n).display().to_string());
        words.extend(q.model.clone());
        let mut option =
            |name: &str, value: String| words.extend([format!("--{name}"), value]);
        option("task", q.task.clone());
        if let Some(data) = &q.data {
            option("data", data.display().to_string());
        }
        option("steps", steps.to_string());
        option("until", until.to_string());
        option("batch", q.batch.to_string());
        option("seed", if seed == u64::MAX { 0 } else { seed }.to_string());
        option("out", out.display().to_string());
        option("result", result.display().to_string());
        for set in self.facts(n).map(|f| f.set.clone()).unwrap_or_default() {
            option("set", set);
        }
        words.extend(self.a.place.words());
        Job { combination: n, words, until, result }
    }

    /// The command that trains a combination again, all of it.
    fn command(&self, n: usize, seed: u64, steps: u64) -> String {
        let q = &self.question;
        let mut out = format!("nestor train {}", self.store.spec(n).display());
        if let Some(model) = &q.model {
            out.push_str(&format!(" {model}"));
        }
        out.push_str(&format!(" --task {}", q.task));
        if let Some(data) = &q.data {
            out.push_str(&format!(" --data {}", data.display()));
        }
        out.push_str(&format!(" --steps {steps} --batch {} --seed {seed}", q.batch));
        for set in self.facts(n).map(|f| f.set.clone()).unwrap_or_default() {
            out.push_str(&format!(" --set {set}"));
        }
        for word in self.a.place.words() {
            out.push_str(&format!(" {word}"));
        }
        out.push_str(&format!(" --out runs/{}-s{seed}", store::label(n)));
        out
    }

    fn round(
        &self,
        title: &str,
        jobs: &[Job],
        alive: &[usize],
        (crew, deadline): (&mut Crew, Option<Instant>),
        stop: &std::sync::atomic::AtomicBool,
        live: &mut Live,
    ) -> Result<Reason, Failure> {
        if self.a.pending {
            return Ok(self.pending(jobs));
        }
        let began = Instant::now();
        let mut before = None;
        let mut noted = Instant::now();
        let mut watch = |moment: &Moment<'_>| {
            if noted.elapsed() >= Duration::from_secs(2) {
                noted = Instant::now();
                self.store.keep_spent(self.spent + self.began.elapsed())?;
            }
            // The last look at a round stays on the screen.
            let last = moment.running.is_empty();
            if self.json || !(live.due() || last) {
                return Ok(());
            }
            let done_before = *before.get_or_insert(moment.done);
            let since = moment.done - done_before;
            let left = (since > 0 && !last).then(|| {
                let each = began.elapsed().as_secs_f64() / since as f64;
                Duration::from_secs_f64(each * (moment.all - moment.done) as f64)
            });
            let ranking = self.ranking(alive, jobs);
            let rows = ranking.iter().take(10).map(|s| Row {
                name: self.name(s.combination),
                mean: s.mean,
                half: s.half,
                curve: self.store.losses(s.combination, self.question.first_seed),
            });
            live.show(&View {
                round: title.to_owned(),
                trials: (moment.done, moment.all),
                running: moment.running.iter().map(|n| self.name(*n)).collect(),
                failed: self.failed(jobs),
                rows: rows.collect(),
                left,
            });
            Ok(())
        };
        let reason = launch(jobs, crew, deadline, stop, &mut watch);
        live.done();
        reason
    }

    /// Prints the commands of trials that have no result; whether there are none.
    fn pending(&self, jobs: &[Job]) -> Reason {
        let mut left = 0;
        for job in jobs.iter().filter(|j| self.store.result(&j.result).is_none()) {
            let words: Vec<String> = job.words.iter().cloned().map(quoted).collect();
            anstream::println!("nestor {}", words.join(" "));
            left += 1;
        }
        if left == 0 { Reason::Done } else { Reason::Stopped }
    }

    fn failed(&self, jobs: &[Job]) -> usize {
        let found = jobs.iter().filter_map(|j| self.store.result(&j.result));
        found.filter(|r| r.score.is_none()).count()
    }

    /// The combinations that have scores and no failure, the best first; in a round that is not
    /// over, by the seeds that are known.
    fn ranking(&self, alive: &[usize], jobs: &[Job]) -> Vec<Standing> {
        let scores = |n: usize| {
            let own = jobs.iter().filter(|j| j.combination == n);
            let known = own.filter_map(|j| self.store.result(&j.result));
            known.map(|r| r.score).collect::<Option<Vec<f64>>>()
        };
        let measured = alive.iter().filter_map(|n| Some((*n, scores(*n)?)));
        let measured = measured.filter(|(_, scores)| !scores.is_empty());
        ranked(measured.collect(), self.question.more_is_better)
    }

    fn tell_end(&self, report: &report::Report, reason: Reason) {
        let folder = self.store.root().display();
        if self.json {
            anstream::println!("{}", report.json());
            return;
        }
        match reason {
            Reason::Done => {}
            Reason::Budget => anstream::println!(
                "the budget is spent; the same command with more goes on"
            ),
            Reason::Stopped => anstream::println!("stopped; the same command goes on"),
        }
        anstream::println!("\n{}", report.answer());
        for line in report.head(10) {
            anstream::println!("{line}");
        }
        if let Some(command) = report.best_command() {
            anstream::println!("\nthe best one again, to the last digit:\n  {command}");
        }
        anstream::println!(
            "\n  report   {folder}/report.html\n  tables   {folder}/results.csv, .parquet and .json"
        );
    }
}
