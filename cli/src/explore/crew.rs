//! The processes that run trials. Each keeps what it compiled, so a combination's trials go to the
//! process that has it, as long as that one is not what all others wait for.

use super::launch::Job;
use super::worker::ANSWER;
use crate::fail::Failure;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// The processes.
pub(crate) struct Crew {
    most: usize,
    /// Where what they say goes.
    logs: PathBuf,
    workers: Vec<Worker>,
    begun: usize,
    told: Sender<(usize, Heard)>,
    heard: Receiver<(usize, Heard)>,
}

struct Worker {
    id: usize,
    child: Child,
    orders: ChildStdin,
    log: PathBuf,
    /// What it runs, and how long its log was when that began.
    job: Option<(Job, u64)>,
    /// The combinations that it has compiled.
    knows: BTreeSet<usize>,
}

enum Heard {
    Line(String),
    End,
}

/// How a trial ended.
pub(crate) enum Ended {
    /// The process says so; the cause where it left no result.
    Said(String),
    /// The process died; what it said.
    Died(ExitStatus, String),
}

impl Crew {
    /// So many processes at the most; they begin when there is work.
    pub(crate) fn new(most: usize, logs: PathBuf) -> Self {
        let (told, heard) = channel();
        Self { most, logs, workers: vec![], begun: 0, told, heard }
    }

    /// The combinations that are running.
    pub(crate) fn running(&self) -> Vec<usize> {
        let jobs = self.workers.iter().filter_map(|w| w.job.as_ref());
        jobs.map(|(job, _)| job.combination).collect()
    }

    /// Gives waiting jobs to processes that have none.
    pub(crate) fn give(&mut self, waiting: &mut Vec<&Job>) -> Result<(), Failure> {
        while !waiting.is_empty() {
            let free = self.workers.iter().position(|w| w.job.is_none());
            let free = match free {
                Some(free) => free,
                None if self.workers.len() < self.most => self.begin()?,
                None => break,
            };
            let job = waiting.remove(self.choice(free, waiting));
            let worker = &mut self.workers[free];
            let words = serde_json::to_string(&job.words).map_err(Failure::bug)?;
            let length = std::fs::metadata(&worker.log).map_or(0, |m| m.len());
            if writeln!(worker.orders, "{words}")
                .and_then(|()| worker.orders.flush())
                .is_err()
            {
                // It died while it had nothing to do: no trial's fault.
                let mut gone = self.workers.remove(free);
                let _ = gone.child.wait();
                waiting.insert(0, job);
                continue;
            }
            worker.job = Some((job.clone(), length));
            worker.knows.insert(job.combination);
        }
        Ok(())
    }

    /// The job that costs this process least: one of a combination that it has, else one that
    /// no other has, else any.
    fn choice(&self, worker: usize, waiting: &[&Job]) -> usize {
        let knows = |w: &Worker, job: &Job| w.knows.contains(&job.combination);
        let own = waiting.iter().position(|job| knows(&self.workers[worker], job));
        let new =
            || waiting.iter().position(|job| !self.workers.iter().any(|w| knows(w, job)));
        own.or_else(new).unwrap_or(0)
    }

    fn begin(&mut self) -> Result<usize, Failure> {
        let wrong =
            |e: std::io::Error| Failure::data(format!("cannot begin a trial: {e}"));
        let program = std::env::current_exe().map_err(wrong)?;
        let id = self.begun;
        self.begun += 1;
        let log = self.logs.join(format!("worker-{id}.log"));
        let file = std::fs::File::create(&log).map_err(wrong)?;
        // A worker is a core; more threads in each would only wait for one another.
        let mut command = Command::new(program);
        command.arg("worker").env("RAYON_NUM_THREADS", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().map_err(wrong)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, answers) =
            pipes.ok_or_else(|| Failure::bug("a worker without pipes"))?;
        let told = self.told.clone();
        std::thread::spawn(move || {
            let lines = BufReader::new(answers).lines().map_while(Result::ok);
            let all = lines.map(Heard::Line).chain([Heard::End]);
            // Where nobody listens any more, nothing is to be said.
            all.map(|heard| told.send((id, heard)))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        let knows = BTreeSet::new();
        self.workers.push(Worker { id, child, orders, log, job: None, knows });
        Ok(self.workers.len() - 1)
    }

    /// Waits this long for a trial to end.
    pub(crate) fn listen(
        &mut self,
        wait: Duration,
    ) -> Result<Option<(Job, Ended)>, Failure> {
        let Ok((id, heard)) = self.heard.recv_timeout(wait) else { return Ok(None) };
        let Some(at) = self.workers.iter().position(|w| w.id == id) else {
            return Ok(None);
        };
        match heard {
            Heard::Line(line) => {
                let Some(cause) = line.strip_prefix(ANSWER) else { return Ok(None) };
                let job = self.workers[at].job.take();
                Ok(job.map(|(job, _)| (job, Ended::Said(cause.trim().to_owned()))))
            }
            Heard::End => {
                let mut worker = self.workers.remove(at);
                let status = worker.child.wait().map_err(|e| {
                    Failure::bug(format!("a worker cannot be waited for: {e}"))
                })?;
                let Some((job, from)) = worker.job else { return Ok(None) };
                Ok(Some((job, Ended::Died(status, said_since(&worker.log, from)))))
            }
        }
    }
}

impl Drop for Crew {
    /// Processes end when nothing more can come; those that run something are not waited for.
    fn drop(&mut self) {
        for Worker { mut child, orders, job, .. } in self.workers.drain(..) {
            drop(orders);
            if job.is_none() {
                let _ = child.wait();
            }
        }
    }
}

/// What was said from a place on.
fn said_since(log: &Path, from: u64) -> String {
    let read = || {
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        std::io::read_to_string(file)
    };
    read().unwrap_or_default()
}
