//! Every combination judged before anything trains: legal or not and why, what it will cost, and
//! which others are the same.

use super::Question;
use crate::explain::update_lines;
use crate::fail::{Failure, settings};
use crate::graph::picture;
use crate::roles::Roles;
use nestor_compiler::predict::{Prediction, parameters, predict};
use nestor_compiler::sweep::{Combination, Expanded, loaded};
use nestor_compiler::{Diagnostic, PassError, Program, Severity, check};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What became of a combination before training.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub(crate) enum Verdict {
    /// It can be trained.
    Legal(Box<Legal>),
    /// It is the same as another.
    Duplicate {
        /// That one.
        of: usize,
    },
    /// It is left out.
    LeftOut {
        /// Why.
        why: String,
        /// What to do, where that is known.
        help: Option<String>,
    },
}

/// A combination that can be trained.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Legal {
    /// The forms of its walks.
    pub(crate) forms: Vec<String>,
    /// Numbers that are learned.
    pub(crate) parameters: usize,
    /// Bytes of memories' weights, a sequence.
    pub(crate) state_bytes: usize,
    /// Operations of a forward pass, a token.
    pub(crate) flops: f64,
    /// The hash of what it computes.
    pub(crate) normal: String,
    /// The update of a token, derived.
    pub(crate) equation: Vec<String>,
    /// Its settings.
    pub(crate) set: Vec<String>,
    /// The picture of its levels.
    #[serde(skip)]
    pub(crate) levels: String,
}

/// Judges all combinations, on all cores.
pub(crate) fn judge(expanded: &Expanded, question: &Question) -> Vec<Verdict> {
    let all = &expanded.combinations;
    let mut verdicts = on_all_cores(all.len(), |n| one(&all[n], question, &question.set));
    if let Some((width, default)) = &question.width {
        same_size(&mut verdicts, expanded, question, width, *default);
    }
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (n, verdict) in verdicts.iter_mut().enumerate() {
        let Verdict::Legal(legal) = verdict else { continue };
        match known.get(&legal.normal) {
            Some(of) => *verdict = Verdict::Duplicate { of: *of },
            None => drop(known.insert(legal.normal.clone(), n)),
        }
    }
    verdicts
}

fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let workers = crate::doctor::threads().min(count.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let found = work(n);
                    if let Ok(mut done) = done.lock() {
                        done.push((n, found));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, found)| found).collect()
}

fn one(combination: &Combination, question: &Question, set: &[String]) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| legal(combination, question, set)));
    match judged {
        Ok(Ok(legal)) => Verdict::Legal(Box::new(legal)),
        Ok(Err((why, help))) => Verdict::LeftOut { why, help },
        Err(_) => Verdict::LeftOut {
            why: "the compiler failed on it: our bug".into(),
            help: Some("please report its file".into()),
        },
    }
}

type Why = (String, Option<String>);

fn program(
    combination: &Combination,
    question: &Question,
    set: &[String],
) -> Result<Program, Why> {
    let set = settings(set).map_err(|f| (f.message, None))?;
    let loaded = loaded(&combination.text);
    let found = check::program(&loaded, question.model.as_deref(), &set);
    found.map(|(program, _)| program).map_err(|found| first(&found))
}

fn legal(
    combination: &Combination,
    question: &Question,
    set: &[String],
) -> Result<Legal, Why> {
    let program = program(combination, question, set)?;
    let unfit = |f: Failure| (f.message.trim_start_matches("error: ").to_owned(), None);
    let roles = Roles::of(&program).map_err(unfit)?;
    roles.fit(&question.needs).map_err(unfit)?;
    let prediction = predict(&program, question.length).map_err(|e| match e {
        PassError::Limitation { code, what, help } => {
            (format!("not supported ({code}): {what}"), Some(help))
        }
        bug @ PassError::Bug { .. } => (bug.to_string(), None),
    })?;
    let Prediction { forms, parameters, state_bytes, flops, normal } = prediction;
    let equation = update_lines(&program).map_err(unfit)?;
    let (set, levels) = (set.to_vec(), picture(&program));
    Ok(Legal { forms, parameters, state_bytes, flops, normal, equation, set, levels })
}

fn first(found: &[Diagnostic]) -> Why {
    let grave = found.iter().find(|d| d.severity != Severity::Warning);
    grave.map_or_else(
        || ("it does not check".into(), None),
        |d| (format!("{}: {}", d.code, d.message), d.help.clone()),
    )
}

/// Gives every legal combination the width at which it has as many parameters as the middle one
/// has at the width written, as nearly as eighths of that width allow.
fn same_size(
    verdicts: &mut [Verdict],
    expanded: &Expanded,
    question: &Question,
    width: &str,
    default: usize,
) {
    let mut sizes: Vec<usize> = verdicts
        .iter()
        .filter_map(|v| match v {
            Verdict::Legal(legal) => Some(legal.parameters),
            Verdict::Duplicate { .. } | Verdict::LeftOut { .. } => None,
        })
        .collect();
    sizes.sort_unstable();
    let Some(target) = sizes.get(sizes.len() / 2).copied() else { return };
    let step = (default / 8).max(1);
    let found = on_all_cores(verdicts.len(), |n| {
        let Verdict::Legal(legal) = &verdicts[n] else { return None };
        let combination = &expanded.combinations[n];
        let with = |w: usize| {
            let mut set = legal.set.clone();
            set.retain(|s| s.split('=').next().map(str::trim) != Some(width));
            set.push(format!("{width}={w}"));
            set
        };
        let best = (1..=16)
            .filter_map(|k| {
                let set = with(k * step);
                let program = program(combination, question, &set).ok()?;
                Some((parameters(&program).abs_diff(target), set))
            })
            .min_by_key(|(off, _)| *off)?;
        Some(one(combination, question, &best.1))
    });
    for (verdict, found) in verdicts.iter_mut().zip(found) {
        if let Some(found) = found {
            *verdict = found;
        }
    }
}
