//! Trials as processes, so many at a time. A process that dies without a result is a result too.

use super::trial::{Status, TrialResult};
use crate::fail::Failure;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
    /// Where what it says goes.
    pub(crate) log: PathBuf,
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

/// How often running trials are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Runs all jobs that have no result yet.
pub(crate) fn launch(
    jobs: &[Job],
    workers: usize,
    deadline: Option<Instant>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Moment<'_>) -> Result<(), Failure>,
) -> Result<Reason, Failure> {
    let mut waiting: Vec<&Job> =
        jobs.iter().rev().filter(|j| TrialResult::read(&j.result).is_none()).collect();
    let mut running: Vec<(&Job, Child)> = Vec::new();
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        let late = deadline.is_some_and(|d| Instant::now() >= d);
        while !stopped && !late && running.len() < workers {
            let Some(job) = waiting.pop() else { break };
            running.push((job, spawn(job)?));
        }
        let now: Vec<usize> = running.iter().map(|(j, _)| j.combination).collect();
        let left = waiting.len() + running.len();
        watch(&Moment { done: jobs.len() - left, all: jobs.len(), running: &now })?;
        if running.is_empty() {
            return Ok(match (stopped, waiting.is_empty()) {
                (true, _) => Reason::Stopped,
                (false, true) => Reason::Done,
                (false, false) => Reason::Budget,
            });
        }
        std::thread::sleep(LOOK);
        let mut still = Vec::new();
        for (job, mut child) in running {
            match child.try_wait() {
                Ok(None) => still.push((job, child)),
                Ok(Some(status)) => {
                    if !stop.load(Ordering::Relaxed) {
                        ended(job, status)?;
                    }
                }
                Err(e) => {
                    return Err(Failure::bug(format!(
                        "a trial cannot be waited for: {e}"
                    )));
                }
            }
        }
        running = still;
    }
}

fn spawn(job: &Job) -> Result<Child, Failure> {
    let wrong = |e: std::io::Error| Failure::data(format!("cannot begin a trial: {e}"));
    let program = std::env::current_exe().map_err(wrong)?;
    let log = std::fs::File::create(&job.log).map_err(wrong)?;
    // A worker is a core; more threads in each would only wait for one another.
    let mut command = Command::new(program);
    command.args(&job.words).env("RAYON_NUM_THREADS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(wrong)
}

/// Where a trial left no result, its end is one.
fn ended(job: &Job, status: std::process::ExitStatus) -> Result<(), Failure> {
    if TrialResult::read(&job.result).is_some() {
        return Ok(());
    }
    let said = last_line(&job.log);
    let result = match signal(status) {
        Some(9) => TrialResult::failed(
            Status::Killed,
            job.until,
            "killed by the system, most likely for want of memory".into(),
        ),
        Some(n) => TrialResult::failed(
            Status::Failed,
            job.until,
            format!("ended by signal {n}: our bug; {said}"),
        ),
        None => TrialResult::failed(Status::Failed, job.until, said),
    };
    result.write(&job.result)
}

fn signal(status: std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.signal()
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|l| !l.trim().is_empty());
    line.unwrap_or("it said nothing").trim_start_matches("error: ").to_owned()
}
