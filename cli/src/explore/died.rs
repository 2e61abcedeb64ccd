//! What a trial's process that died without a result leaves: a result, with what killed it as its
//! cause. Whoever placed the trial knows how the process ended and what it said last.

use super::trial::{Status, TrialResult};

/// A program says this when it is given no memory.
const NO_MEMORY: &str = "memory allocation of ";
/// A program says this when it meets a mistake of ours.
const PANIC: &str = "panicked at ";
/// Signals by which somebody ends a process on purpose: hang up, interrupt, terminate.
const ASKED_TO_END: [i32; 3] = [1, 2, 15];

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl Death {
    /// As a shell says it: 128 and the signal, or a status.
    pub(super) fn of_shell(status: i32) -> Self {
        if status > 128 { Self::Signal(status - 128) } else { Self::Status(status) }
    }

    /// Whether somebody wanted it to end, so that the trial is to be run again.
    pub(super) fn was_asked(self) -> bool {
        matches!(self, Self::Signal(n) if ASKED_TO_END.contains(&n))
    }
}

/// The result of a trial up to step `until` whose process ended this way and had said `text`.
pub(super) fn died(death: Death, text: &str, until: u64) -> TrialResult {
    let told = told(text);
    let (status, cause) = match death {
        _ if told.contains(NO_MEMORY) => (
            Status::Killed,
            format!(
                "no memory was left: {told}; a smaller --batch or fewer --workers take less"
            ),
        ),
        Death::Signal(9) => (
            Status::Killed,
            "killed by the system, most likely for want of memory".to_owned(),
        ),
        Death::Signal(n) if death.was_asked() => {
            (Status::Killed, format!("ended from outside by signal {n}"))
        }
        Death::Signal(n) if told.is_empty() => {
            (Status::Failed, format!("ended by signal {n}: what it printed says why"))
        }
        Death::Signal(n) => {
            (Status::Failed, format!("ended by signal {n}: our bug; {told}"))
        }
        Death::Status(_) if !told.is_empty() => (Status::Failed, told.to_owned()),
        Death::Status(n) => {
            (Status::Failed, format!("ended with status {n} and said nothing"))
        }
    };
    TrialResult::failed(status, until, cause)
}

/// Of everything that was said, the line that says why.
fn told(text: &str) -> &str {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty());
    let why = |l: &&str| l.starts_with("error:") || l.contains(NO_MEMORY);
    // What a panic says follows the line that says where.
    let panicked = || lines().skip_while(|l| !l.contains(PANIC)).nth(1);
    let line = lines().rfind(why).or_else(panicked).or_else(|| lines().next_back());
    line.unwrap_or("").trim_start_matches("error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(death: Death, text: &str) -> (Status, String) {
        let result = died(death, text, 7);
        assert_eq!((result.until, result.score), (7, None));
        (result.status, result.cause.expect("a cause"))
    }

    #[test]
    fn the_cause_is_what_killed_it() {
        let (status, why) =
            cause(Death::Signal(6), "step 1\nmemory allocation of 4096 bytes failed\n");
        assert_eq!(status, Status::Killed);
        assert!(
            why.contains("no memory was left: memory allocation of 4096 bytes failed")
        );
        let (status, why) = cause(Death::of_shell(137), "");
        assert!(status == Status::Killed && why.contains("want of memory"));
        let (status, why) = cause(Death::Signal(11), "step 1\n");
        assert!(status == Status::Failed && why.contains("signal 11: our bug; step 1"));
        let (_, why) = cause(Death::of_shell(134), "");
        assert_eq!(why, "ended by signal 6: what it printed says why");
        let (_, why) = cause(Death::Status(1), "error: no such task\nstep 2\n");
        assert_eq!(why, "no such task");
        let panic = "thread 'main' panicked at a.rs:1:2:\nindex 3\nnote: run with more\n";
        assert_eq!(cause(Death::Status(101), panic).1, "index 3");
        let (_, why) = cause(Death::Status(4), " \n");
        assert_eq!(why, "ended with status 4 and said nothing");
    }

    #[test]
    fn who_is_asked_to_end_is_run_again() {
        assert!(Death::of_shell(143).was_asked() && Death::Signal(2).was_asked());
        assert!(!Death::of_shell(137).was_asked() && !Death::Status(15).was_asked());
    }
}
