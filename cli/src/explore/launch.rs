//! Trials of a round, so many at a time, in processes of their own. A process that dies without a
//! result is a result too.

use super::crew::{Crew, Ended};
use super::died::{Death, died};
use super::trial::{Status, TrialResult};
use crate::fail::Failure;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A trial to be run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Its combination.
    pub(crate) combination: usize,
    /// The words of its command.
    pub(crate) words: Vec<String>,
    /// The step it ends after.
    pub(crate) until: u64,
    /// The file of its result.
    pub(crate) result: PathBuf,
}

/// Why no more trials are begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// All are done.
    Done,
    /// The budget is spent.
    Budget,
    /// It was interrupted.
    Stopped,
}

/// How a round stands.
pub(crate) struct Moment<'a> {
    /// Trials that are done.
    pub(crate) done: usize,
    /// Trials in all.
    pub(crate) all: usize,
    /// Combinations that are running.
    pub(crate) running: &'a [usize],
}

/// How long is waited for a trial before the view is brought up to date.
const LOOK: Duration = Duration::from_millis(20);

/// Runs all jobs that have no result yet.
pub(crate) fn launch(
    jobs: &[Job],
    crew: &mut Crew,
    deadline: Option<Instant>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Moment<'_>) -> Result<(), Failure>,
) -> Result<Reason, Failure> {
    let mut waiting: Vec<&Job> =
        jobs.iter().filter(|j| TrialResult::read(&j.result).is_none()).collect();
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        let late = deadline.is_some_and(|d| Instant::now() >= d);
        if !stopped && !late {
            crew.give(&mut waiting)?;
        }
        let running = crew.running();
        let left = waiting.len() + running.len();
        watch(&Moment { done: jobs.len() - left, all: jobs.len(), running: &running })?;
        if running.is_empty() {
            return Ok(match (stopped, waiting.is_empty()) {
                (true, _) => Reason::Stopped,
                (false, true) => Reason::Done,
                (false, false) => Reason::Budget,
            });
        }
        if let Some((job, how)) = crew.listen(LOOK)?
            && !stop.load(Ordering::Relaxed)
        {
            ended(&job, how)?;
        }
    }
}

/// Where a trial left no result, its end is one.
fn ended(job: &Job, how: Ended) -> Result<(), Failure> {
    if TrialResult::read(&job.result).is_some() {
        return Ok(());
    }
    let result = match how {
        Ended::Said(cause) => TrialResult::failed(Status::Failed, job.until, cause),
        Ended::Died(status, said) => died(death(status), &said, job.until),
    };
    result.write(&job.result)
}

fn death(status: ExitStatus) -> Death {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => Death::Signal(signal),
        (None, code) => Death::Status(code.unwrap_or(0)),
    }
}
