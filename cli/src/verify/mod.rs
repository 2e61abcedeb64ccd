//! `verify`: every form that applies, as machine code in both precisions, against the derived walk
//! token by token in float64; that walk against the definition, whose inner gradients are taken
//! by differences; and its gradients against differences of its outputs.
//!
//! Without a file it runs programs that hold every definition of the library.

mod compare;
mod draw;
mod effort;
mod slope;
mod table;

use crate::arguments::Choices;
use crate::device::{Place, Where};
use crate::doctor::threads;
use crate::fail::{Failure, Outcome};
use crate::spec::checked;
use nestor_compiler::interpret::Array;
use nestor_compiler::source::Loaded;
use nestor_compiler::{Severity, check, source};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

type Arrays = indexmap::IndexMap<String, Array>;

/// What was found out about one program.
pub(crate) struct Report {
    /// Its name.
    pub(crate) name: String,
    /// What was measured, or why nothing could be.
    pub(crate) found: Found,
}

/// What came of a check.
pub(crate) enum Found {
    /// Numbers.
    Measured(compare::Measured),
    /// What the compiler cannot do yet, with its code.
    Limited(String),
    /// Nothing could be measured, and that is wrong.
    Failed(String),
}

impl Report {
    /// Whether nothing is wrong.
    pub(crate) fn good(&self) -> bool {
        match &self.found {
            Found::Measured(m) => m.good(),
            Found::Limited(_) => true,
            Found::Failed(_) => false,
        }
    }

    /// What is not supported: of the whole program, or of its forms and kernels.
    pub(crate) fn limitations(&self) -> Vec<String> {
        match &self.found {
            Found::Measured(m) => m.limitations(),
            Found::Limited(why) => vec![why.clone()],
            Found::Failed(_) => vec![],
        }
    }
}

/// Checks an entry, or everything in the library; fails where one form is not the same thing.
pub(crate) fn verify(
    file: Option<&Path>,
    name: Option<&str>,
    choices: &Choices,
    on: &Where,
    json: bool,
) -> Outcome {
    let place = on.open()?;
    let Some(file) = file else {
        if let Some(setting) = choices.set.first() {
            return Err(Failure::usage(format!(
                "`--set {setting}` is of no entry\nhelp: say which file and name it is for; without them the whole library is verified"
            )));
        }
        let loaded = source::checks();
        let reports = all(&loaded, &check::entries(&loaded), &place);
        return conclude(&reports, json, true);
    };
    let program = checked(file, name, &choices.set)?;
    let report =
        Report { name: program.name.clone(), found: compare::measure(&program, &place) };
    conclude(&[report], json, false)
}

/// Reports of entries, several at a time, in their order.
fn all(loaded: &Loaded, entries: &[String], place: &Place) -> Vec<Report> {
    let threads = threads();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Report)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(entries.len()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = entries.get(n) else { break };
                    let report = one(loaded, name, place);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((n, report));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, report)| report).collect()
}

fn one(loaded: &Loaded, name: &str, place: &Place) -> Report {
    let found = match check::program(loaded, Some(name), &[]) {
        Ok((program, _)) => compare::measure(&program, place),
        Err(found) => {
            let of = |s| found.iter().find(|d| d.severity == s);
            match (of(Severity::Error), of(Severity::Limitation)) {
                (None, Some(d)) => Found::Limited(format!("{}: {}", d.code, d.message)),
                (Some(d), _) => Found::Failed(format!("{}: {}", d.code, d.message)),
                (None, None) => Found::Failed("it does not check".into()),
            }
        }
    };
    Report { name: name.to_owned(), found }
}

fn conclude(reports: &[Report], json: bool, short: bool) -> Outcome {
    if json {
        table::json(reports);
    } else if short {
        table::short(reports);
    } else {
        reports.iter().for_each(table::long);
    }
    let bad: Vec<&str> =
        reports.iter().filter(|r| !r.good()).map(|r| r.name.as_str()).collect();
    if bad.is_empty() {
        Ok(())
    } else if json {
        // The document says what is wrong.
        Err(Failure { status: 3, message: String::new() })
    } else {
        let names = bad.join(", ");
        Err(Failure::bug(format!("not the same thing in every form: {names}")))
    }
}
