//! Workers that take the parts of one job after another, without sleeping in between.
//!
//! ```text
//! leader     publishes job j with n parts, takes parts, waits until all n are done, goes on
//! helper     watches; takes a part that nobody has, does it, watches again
//! ```
//!
//! A plan has hundreds of launches of some ten microseconds each. To wake a sleeping thread takes as
//! long, so that helpers watch as long as a plan runs. Parts are taken one by one: who is
//! late does fewer. A helper that sees nothing for a while gives its core to others.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::yield_now;

/// Looks before a core is offered to others, some ten microseconds.
const LOOKS: u32 = 1 << 12;

/// The job and the next part of it that nobody has, and how many parts are done.
#[derive(Default)]
pub(super) struct Crew {
    /// The job in the upper half, the part in the lower.
    next: AtomicU64,
    done: AtomicUsize,
}

/// Says that no more jobs come, however the leader leaves.
pub(super) struct Leader<'a>(&'a Crew);

/// Counts a part as done, however it ends.
struct Part<'a>(&'a Crew);

/// Above all jobs.
const END: u64 = u32::MAX as u64;

fn packed(job: u64, part: u64) -> u64 {
    job << 32 | part
}

impl Crew {
    /// For the one worker that publishes jobs.
    pub(super) fn lead(&self) -> Leader<'_> {
        Leader(self)
    }

    /// Takes a part of the job that stands in `seen`, if nobody else did.
    fn take(&self, seen: u64) -> Option<Part<'_>> {
        self.next
            .compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            .then(|| Part(self))
    }

    /// Takes part in jobs until the leader leaves; `parts` of a job are known to all.
    pub(super) fn help(&self, parts: impl Fn(u64) -> u64, run: impl Fn(u64, u64)) {
        let mut known = (0, 0);
        let mut looks = 0;
        loop {
            let seen = self.next.load(Ordering::Acquire);
            let (job, part) = (seen >> 32, seen & u64::from(u32::MAX));
            if job == END {
                return;
            }
            if job != known.0 {
                known = (job, parts(job));
            }
            if part < known.1 {
                looks = 0;
                if let Some(_part) = self.take(seen) {
                    run(job, part);
                }
            } else if looks < LOOKS {
                looks += 1;
                spin_loop();
            } else {
                yield_now();
            }
        }
    }
}

impl Leader<'_> {
    /// Does a job of so many parts with whoever helps; jobs count up from 1.
    pub(super) fn job(&self, job: u64, parts: u64, run: impl Fn(u64)) {
        let crew = self.0;
        crew.done.store(0, Ordering::Relaxed);
        crew.next.store(packed(job, 0), Ordering::Release);
        loop {
            let seen = crew.next.load(Ordering::Acquire);
            let part = seen & u64::from(u32::MAX);
            if part >= parts {
                break;
            }
            if let Some(_part) = crew.take(seen) {
                run(part);
            }
        }
        let mut looks = 0;
        while crew.done.load(Ordering::Acquire) < parts as usize {
            looks += 1;
            if looks < LOOKS { spin_loop() } else { yield_now() }
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.0.next.store(packed(END, 0), Ordering::Release);
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{Crew, packed};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Every part of every job is done once, and no job begins before the one before it is done.
    #[test]
    fn jobs_are_done_one_after_another_and_whole() {
        const JOBS: u64 = 700;
        let parts = |job: u64| job % 7;
        let crew = Crew::default();
        let counts: Vec<AtomicU64> = (0..=JOBS).map(|_| AtomicU64::new(0)).collect();
        let run = |job: u64, part: u64| {
            // Long enough for the leader to find nothing left and wait.
            if part % 2 == 1 {
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
            counts[job as usize].fetch_add(1 << (8 * part), Ordering::Relaxed);
        };
        let whole = |job: u64| -> u64 { (0..parts(job)).map(|p| 1_u64 << (8 * p)).sum() };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| crew.help(parts, run));
            }
            let leader = crew.lead();
            for job in 1..=JOBS {
                leader.job(job, parts(job), |part| run(job, part));
                assert_eq!(counts[job as usize].load(Ordering::Relaxed), whole(job));
            }
        });
        let late: u64 = counts.iter().map(|c| c.load(Ordering::Relaxed)).sum();
        assert_eq!(late, (1..=JOBS).map(whole).sum::<u64>());
    }

    /// A part that somebody else took is not counted by who came late.
    #[test]
    fn who_comes_late_counts_nothing() {
        let crew = Crew::default();
        let seen = packed(1, 0);
        crew.next.store(seen, Ordering::Relaxed);
        let first = crew.take(seen);
        assert!(first.is_some() && crew.take(seen).is_none());
        assert_eq!(crew.done.load(Ordering::Relaxed), 0);
        drop(first);
        assert_eq!(crew.done.load(Ordering::Relaxed), 1);
    }

    /// A part that fails is counted, and the helpers go home.
    #[test]
    fn a_part_that_fails_keeps_nobody_waiting() {
        let crew = Crew::default();
        let ended = std::thread::scope(|scope| {
            let helper =
                scope.spawn(|| crew.help(|_| 64, |_, _| panic!("a part failed")));
            let leader = crew.lead();
            let job = |_| std::thread::sleep(std::time::Duration::from_millis(1));
            leader.job(1, 64, job);
            drop(leader);
            helper.join()
        });
        assert!(ended.is_err(), "the helper took no part");
    }
}
