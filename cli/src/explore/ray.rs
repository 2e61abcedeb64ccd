//! An exploration whose trials a Ray cluster places: the launcher of `python/`, with this command's
//! own words. It asks for the trials that come next, has them run, and calls this command for the
//! report; results are the same, trial by trial.

use crate::fail::{Failure, Outcome};
use std::process::Command;

const LAUNCHER: &str = include_str!("../../../python/explore_on_ray.py");

/// Runs the launcher.
pub(super) fn explore() -> Outcome {
    let python = std::env::var("NESTOR_PYTHON").unwrap_or_else(|_| "python3".into());
    let wrong = |e: std::io::Error| {
        Failure::data(format!(
            "cannot start `{python}`: {e}; `--on ray` needs python3 with ray"
        ))
    };
    let own = std::env::current_exe().map_err(wrong)?;
    let status =
        Command::new(&python).arg("-c").arg(LAUNCHER).arg(own).args(words()).status();
    match status.map_err(wrong)?.code() {
        Some(0) => Ok(()),
        // What went wrong was said.
        _ => Err(Failure::silent()),
    }
}

/// The words of this command without `--on ray`.
fn words() -> Vec<String> {
    let mut out = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        match word.as_str() {
            "--on" => drop(given.next()),
            w if w.starts_with("--on=") => {}
            _ => out.push(word),
        }
    }
    out
}
