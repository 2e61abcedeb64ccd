//! A process that runs one trial after another, as it is told on its input, one JSON list of a
//! trial's words a line. What was compiled for a trial serves the others of its combination, all
//! seeds and later rounds. It ends when nothing more can come, or when it is interrupted.

use super::trial::trial_with;
use crate::arguments::{Arguments, Command, TrialArguments};
use crate::fail::{Failure, Outcome};
use crate::interrupt;
use crate::train::Ready;
use clap::Parser;
use std::io::{BufRead, Write};
use std::sync::atomic::Ordering;

/// Begins a line that says how a trial ended; what follows is a cause, or nothing.
pub(super) const ANSWER: &str = "trial ended";

/// Combinations whose code is kept; those used last stay. With 92 of `examples/miras_grid.nest` a worker
/// had 440 MB resident at its peak, with none 28 MB: one takes 4.5 MB, and so many as these 0.6 GB.
const KEPT: usize = 128;

/// Runs trials until the input ends.
pub(crate) fn worker() -> Outcome {
    let stop = interrupt::flag();
    let mut kept: Vec<(String, Option<Ready>)> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(Failure::bug)?;
        let words: Vec<String> = serde_json::from_str(&line).map_err(Failure::bug)?;
        let arguments =
            Arguments::try_parse_from(std::iter::once("nestor".to_owned()).chain(words));
        let Command::Trial(a) = arguments.map_err(Failure::bug)?.command else {
            return Err(Failure::bug("a worker was told something else than a trial"));
        };
        let what = combination(&a);
        let place = kept.iter().position(|(of, _)| *of == what);
        let (of, mut ready) = place.map_or((what, None), |at| kept.remove(at));
        let ended = trial_with(&a, &mut ready);
        kept.push((of, ready));
        if kept.len() > KEPT {
            kept.remove(0);
        }
        let said = ended.err().map_or(String::new(), |f| f.message.replace('\n', " "));
        let answered = writeln!(std::io::stdout(), "{ANSWER} {said}");
        // Where nobody listens any more, the exploration was killed.
        if answered.is_err() || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// All of a trial that what is compiled depends on.
fn combination(a: &TrialArguments) -> String {
    let TrialArguments { file, name, task, data, on, choices, .. } = a;
    format!("{file:?} {name:?} {task:?} {data:?} {on:?} {choices:?}")
}
