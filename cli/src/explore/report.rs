//! What an exploration found, as data: ranked combinations, effects of the axes, what failed and
//! what was left out. The page, the table and `--json` are written from it.

use super::judge::Verdict;
use super::launch::Reason;
use super::live::score;
use super::statistics::{Effect, cells, effects, interaction};
use super::store::{Store, label};
use super::verdicts::short;
use super::{Exploration, Round, page, table};
use crate::arguments::Equal;
use crate::fail::{Failure, Outcome};
use serde_json::{Value, json};

/// A combination that was trained.
pub(crate) struct Ranked {
    /// Its name, `c017`.
    pub(crate) label: String,
    /// Its choices in words.
    pub(crate) name: String,
    /// One choice for each axis.
    pub(crate) choices: Vec<String>,
    /// The same, as short as they can be told apart.
    pub(crate) short: Vec<String>,
    /// The last round it was measured in, from 1.
    pub(crate) round: usize,
    /// Its steps then.
    pub(crate) until: u64,
    /// The mean of its scores.
    pub(crate) mean: f64,
    /// Half the interval.
    pub(crate) half: Option<f64>,
    /// One score for each seed.
    pub(crate) scores: Vec<f64>,
    /// Forms of its walks.
    pub(crate) forms: String,
    /// Numbers learned.
    pub(crate) parameters: usize,
    /// Bytes of state.
    pub(crate) state_bytes: usize,
    /// Operations a token.
    pub(crate) flops: f64,
    /// Seconds of training of the first seed.
    pub(crate) seconds: f64,
    /// Its derived update.
    pub(crate) equation: Vec<String>,
    /// The picture of its levels.
    pub(crate) levels: String,
    /// Training losses of the first seed, by step.
    pub(crate) losses: Vec<(u64, f64)>,
    /// Scores on the way, by step.
    pub(crate) curve: Vec<(u64, f64)>,
    /// The command that trains it again as far as it was trained.
    pub(crate) command: String,
}

/// The choices of an axis with their effects.
pub(crate) struct AxisEffects {
    /// The axis.
    pub(crate) axis: String,
    /// Choices; those that no trained combination has are without effect.
    pub(crate) choices: Vec<(String, Option<Effect>)>,
    /// From the worst mean to the best.
    pub(crate) range: f64,
}

/// Two axes and how far their choices are from adding up.
pub(crate) struct Pair {
    /// Their names.
    pub(crate) axes: (String, String),
    /// Their choices.
    pub(crate) choices: (Vec<String>, Vec<String>),
    /// Mean scores.
    pub(crate) cells: Vec<Vec<Option<f64>>>,
    /// The root mean square of what a sum of effects does not say.
    pub(crate) strength: f64,
}

/// Everything that is reported.
pub(crate) struct Report {
    /// The sweep and what it is over.
    pub(crate) sweep: (String, String),
    /// The task.
    pub(crate) task: String,
    /// The metric and whether more is better.
    pub(crate) metric: (String, bool),
    /// The score of a guess.
    pub(crate) chance: f64,
    /// How it was measured, in a sentence.
    pub(crate) method: String,
    /// Names of the axes.
    pub(crate) axes: Vec<String>,
    /// All, legal, duplicates, left out.
    pub(crate) counts: [usize; 4],
    /// Trained combinations, the best first.
    pub(crate) ranked: Vec<Ranked>,
    /// Effects, the strongest axis first.
    pub(crate) effects: Vec<AxisEffects>,
    /// Interactions, the strongest first.
    pub(crate) pairs: Vec<Pair>,
    /// Combination, seed or round, cause.
    pub(crate) failures: Vec<(String, String)>,
    /// Reasons with the combinations they hold for.
    pub(crate) left_out: Vec<(String, Vec<String>)>,
    /// Combination and the one it is the same as.
    pub(crate) duplicates: Vec<(String, String)>,
    /// Legal combinations that no trial was finished for.
    pub(crate) unreached: usize,
    /// Whether all rounds were run.
    pub(crate) whole: bool,
}

impl Report {
    /// The report of an exploration.
    pub(crate) fn of(e: &Exploration<'_>, rounds: &[Round], reason: Reason) -> Self {
        let q = &e.question;
        let mut ranked: Vec<Ranked> = Vec::new();
        let steps = e.steps();
        for (r, round) in rounds.iter().enumerate().rev() {
            for standing in &round.ranking {
                let name = label(standing.combination);
                if !ranked.iter().any(|k| k.label == name) {
                    let steps = steps[standing.combination];
                    ranked.extend(one(e, (r, round), standing, steps));
                }
            }
        }
        let first = rounds.first().map(|r| r.ranking.as_slice()).unwrap_or_default();
        let rows: Vec<(Vec<usize>, f64)> = first
            .iter()
            .map(|s| (e.expanded.combinations[s.combination].choices.clone(), s.mean))
            .collect();
        let axes = &e.expanded.axes;
        let mut effect_list: Vec<AxisEffects> = axes
            .iter()
            .enumerate()
            .filter(|(_, (_, choices))| choices.len() > 1)
            .map(|(k, (axis, choices))| {
                let found = effects(&rows, k, choices.len());
                let means: Vec<f64> = found.iter().flatten().map(|f| f.mean).collect();
                let (low, high) = span(&means);
                let choices = choices.iter().cloned().zip(found).collect();
                AxisEffects { axis: axis.clone(), choices, range: high - low }
            })
            .collect();
        effect_list.sort_by(|a, b| b.range.total_cmp(&a.range));
        let mut pairs = Vec::new();
        for (i, (a, of_a)) in axes.iter().enumerate() {
            for (j, (b, of_b)) in axes.iter().enumerate().skip(i + 1) {
                if of_a.len() > 1 && of_b.len() > 1 {
                    let cells = cells(&rows, (i, j), (of_a.len(), of_b.len()));
                    let strength = interaction(&cells);
                    let choices = (of_a.clone(), of_b.clone());
                    pairs.push(Pair {
                        axes: (a.clone(), b.clone()),
                        choices,
                        cells,
                        strength,
                    });
                }
            }
        }
        pairs.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        let (mut left_out, mut duplicates) =
            (Vec::<(String, Vec<String>)>::new(), Vec::new());
        for (n, verdict) in e.verdicts.iter().enumerate() {
            match verdict {
                Verdict::Legal(_) => {}
                Verdict::Duplicate { of } => duplicates.push((e.name(n), e.name(*of))),
                Verdict::LeftOut { why, help } => {
                    let help = help.as_ref().map_or(String::new(), |h| format!("; {h}"));
                    let text = format!("{why}{help}");
                    match left_out.iter_mut().find(|(t, _)| *t == text) {
                        Some((_, of)) => of.push(e.name(n)),
                        None => left_out.push((text, vec![e.name(n)])),
                    }
                }
            }
        }
        let failures = failures(e);
        let legal = e.legal();
        let unreached = legal
            .iter()
            .filter(|n| !ranked.iter().any(|r| r.label == label(**n)))
            .filter(|n| !failures.iter().any(|(name, _)| *name == e.name(**n)))
            .count();
        let lost = left_out.iter().map(|(_, of)| of.len()).sum();
        let counts = [e.verdicts.len(), legal.len(), duplicates.len(), lost];
        Self {
            sweep: (e.expanded.name.clone(), e.expanded.over.clone()),
            task: q.task.clone(),
            metric: (q.metric.clone(), q.more_is_better),
            chance: q.chance,
            method: method(e),
            axes: axes.iter().map(|(a, _)| a.clone()).collect(),
            counts,
            ranked,
            effects: effect_list,
            pairs,
            failures,
            left_out,
            duplicates,
            unreached,
            whole: reason == Reason::Done,
        }
    }

    /// The answer in two sentences.
    pub(crate) fn answer(&self) -> String {
        let Some(best) = self.ranked.first() else {
            return format!(
                "No combination of {} has a score on {} yet.",
                self.sweep.0, self.task
            );
        };
        let mut out = format!(
            "On {}, {} is best: {} {} after {} steps (a guess scores {:.3}).",
            self.task,
            best.name,
            self.metric.0,
            score(best.mean, best.half),
            best.until,
            self.chance
        );
        if let (Some(first), Some(last)) = (self.effects.first(), self.effects.last())
            && first.axis != last.axis
        {
            out.push_str(&format!(
                " Over all, {} mattered most (means differ by {:.3}), {} least ({:.3}).",
                first.axis, first.range, last.axis, last.range
            ));
        }
        out
    }

    /// The first lines of the table.
    pub(crate) fn head(&self, count: usize) -> Vec<String> {
        let line = |(n, r): (usize, &Ranked)| {
            format!(
                "{:>4}  {:<18} round {}  {}  {}",
                n + 1,
                score(r.mean, r.half),
                r.round,
                r.label,
                r.name
            )
        };
        self.ranked.iter().take(count).enumerate().map(line).collect()
    }

    /// The command for the best.
    pub(crate) fn best_command(&self) -> Option<&str> {
        self.ranked.first().map(|r| r.command.as_str())
    }

    /// As data.
    pub(crate) fn json(&self) -> Value {
        let ranked: Vec<Value> = self
            .ranked
            .iter()
            .enumerate()
            .map(|(n, r)| {
                json!({ "rank": n + 1, "combination": r.label, "choices": r.choices, "round": r.round,
                        "steps": r.until, "score": r.mean, "interval": r.half, "scores": r.scores,
                        "forms": r.forms, "parameters": r.parameters, "state_bytes": r.state_bytes,
                        "operations_per_token": r.flops, "seconds": r.seconds, "equation": r.equation,
                        "command": r.command })
            })
            .collect();
        let effects: Vec<Value> = self
            .effects
            .iter()
            .map(|a| {
                let choices: Vec<Value> = a
                    .choices
                    .iter()
                    .map(|(c, e)| json!({ "choice": c, "mean": e.as_ref().map(|e| e.mean),
                                          "interval": e.as_ref().and_then(|e| e.half),
                                          "combinations": e.as_ref().map_or(0, |e| e.count) }))
                    .collect();
                json!({ "axis": a.axis, "range": a.range, "choices": choices })
            })
            .collect();
        let pairs: Vec<Value> = self
            .pairs
            .iter()
            .map(|p| json!({ "axes": p.axes, "choices": p.choices, "means": p.cells, "strength": p.strength }))
            .collect();
        json!({ "sweep": self.sweep.0, "over": self.sweep.1, "task": self.task, "metric": self.metric.0,
                "more_is_better": self.metric.1, "chance": self.chance, "axes": self.axes,
                "combinations": self.counts[0], "legal": self.counts[1], "duplicates": self.duplicates,
                "left_out": self.left_out, "failures": self.failures, "unreached": self.unreached,
                "whole": self.whole, "answer": self.answer(), "ranked": ranked, "effects": effects,
                "interactions": pairs })
    }

    /// Writes the page, the table and the data.
    pub(crate) fn write(&self, store: &Store) -> Outcome {
        let text = serde_json::to_string_pretty(&self.json()).map_err(Failure::bug)?;
        store.replace(&store.root().join("results.json"), &text)?;
        let table = table::table(self);
        store.replace(&store.root().join("results.csv"), table::csv(&table))?;
        store.replace(&store.root().join("results.parquet"), table::binary(&table))?;
        store.replace(&store.root().join("report.html"), page::page(self))
    }
}

fn span(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low <= high { (low, high) } else { (0.0, 0.0) }
}

fn one(
    e: &Exploration<'_>,
    (r, round): (usize, &Round),
    standing: &super::Standing,
    steps: u64,
) -> Option<Ranked> {
    let n = standing.combination;
    let facts = e.facts(n)?;
    let seed = e.question.first_seed;
    let lines = e.store.lines(n, seed);
    let chosen = &e.expanded.combinations[n].choices;
    let axes = || e.expanded.axes.iter().zip(chosen);
    let choices = axes().map(|((_, all), k)| all[*k].clone());
    let shortly = axes().map(|((_, all), k)| short(all, *k).to_owned());
    let mut command = e.command(n, seed, steps);
    let until = super::part(steps, round.until, e.question.steps);
    if until < steps {
        command.push_str(&format!(" --until {until}"));
    }
    Some(Ranked {
        label: label(n),
        name: e.name(n),
        choices: choices.collect(),
        short: shortly.collect(),
        round: r + 1,
        until,
        mean: standing.mean,
        half: standing.half,
        scores: standing.scores.clone(),
        forms: facts.forms.join(", "),
        parameters: facts.parameters,
        state_bytes: facts.state_bytes,
        flops: facts.flops,
        seconds: lines.last().map_or(0.0, |l| l.seconds),
        equation: facts.equation.clone(),
        levels: facts.levels.clone(),
        losses: lines.iter().filter_map(|l| Some((l.step, l.loss?))).collect(),
        curve: lines.iter().filter_map(|l| Some((l.step, l.score?))).collect(),
        command,
    })
}

/// Trials without a score: what they were of, and why.
fn failures(e: &Exploration<'_>) -> Vec<(String, String)> {
    let folder = e.store.root().join("results");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|f| f.path())
        .collect();
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let Some(result) = e.store.result(&path) else { continue };
        let Some(cause) = result.cause else { continue };
        let file = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let number =
            file.as_deref().and_then(|f| f.get(1..)?.split('-').next()?.parse().ok());
        let Some(n) = number.filter(|n: &usize| *n < e.verdicts.len()) else { continue };
        out.push((e.name(n), cause));
    }
    out.dedup();
    out
}

fn method(e: &Exploration<'_>) -> String {
    let q = &e.question;
    let equal = match (&q.width, q.equal) {
        (Some((width, _)), _) => {
            format!("as many parameters as `{width}` allows, the same steps")
        }
        (None, Equal::Time) => "the same time, measured on a pilot of each".to_owned(),
        (None, Equal::Operations) => "as many operations, as predicted".to_owned(),
        (None, Equal::Steps | Equal::Parameters) => "the same steps".to_owned(),
    };
    let rounds = super::budgets(q.steps, q.rounds, q.keep);
    let rounds: Vec<String> = rounds.iter().map(u64::to_string).collect();
    format!(
        "Every combination has {equal}: rounds end after {} steps of {} sequences of {} tokens; \
         one of {} goes on to the next round, and those that cannot be told from it. {} seeds \
         each; every combination is measured on the same held-out samples. Intervals are means \
         and Student's t at 95 %, with the spread within combinations pooled over a round. \
         Schedules know the length of the last round, so that scores of earlier rounds are taken \
         before learning rates have fallen.",
        rounds.join(", "),
        q.batch,
        q.length,
        q.keep,
        q.seeds
    )
}
