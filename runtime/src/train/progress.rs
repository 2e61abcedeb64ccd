//! What happens in a run, as events, and the rates people want to see.
//!
//! The runtime never prints: the loop hands each event to a callback and the caller renders it.

use super::LevelReport;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The loop begins, after this many steps of an earlier sitting.
    Started {
        /// Steps finished before.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// The checkpoint that was loaded.
        resumed: Option<PathBuf>,
        /// Tokens to learn from.
        train_tokens: u64,
        /// Tokens held out.
        validation_tokens: u64,
    },
    /// A step is finished.
    Step(StepLine),
    /// The held-out data was evaluated.
    Evaluated {
        /// After this step.
        step: u64,
        /// Nats a token.
        loss: f64,
        /// Bits a byte of text.
        bits_per_byte: Option<f64>,
        /// The best so far: step and nats a token.
        best: (u64, f64),
        /// The name and the value of the score, where there is one beside the loss.
        score: Option<(&'static str, f64)>,
    },
    /// A checkpoint is on the disk.
    Saved {
        /// After this step.
        step: u64,
        /// The file.
        path: PathBuf,
    },
    /// The stop flag was seen; a checkpoint follows, then the end.
    Stopping {
        /// After this step.
        step: u64,
    },
}

/// A finished step.
#[derive(Clone, PartialEq, Debug)]
pub struct StepLine {
    /// The step, from 1.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Nats a token.
    pub loss: f64,
    /// Length of the gradient.
    pub gradient_norm: f64,
    /// Levels that acted, where there are several.
    pub levels: Vec<LevelReport>,
    /// Tokens a second, over the last seconds.
    pub tokens_per_second: f64,
    /// Time left at this rate, evaluations included.
    pub left: Duration,
}

/// Measures rates over the last few seconds.
#[derive(Debug)]
pub struct Meter {
    /// Time and steps at the ends of the window, oldest first.
    marks: std::collections::VecDeque<(Instant, u64)>,
    /// Time spent computing steps since each mark is kept apart from evaluation.
    tokens_per_step: u64,
}

/// Seconds that a rate is taken over: long enough to be calm, short enough to follow.
const WINDOW: Duration = Duration::from_secs(10);

impl Meter {
    /// Starts measuring after `step` steps.
    pub fn new(step: u64, tokens_per_step: u64) -> Self {
        Self { marks: [(Instant::now(), step)].into(), tokens_per_step }
    }

    /// Notes a finished step; gives tokens a second and the time left.
    pub fn tick(&mut self, step: u64, steps: u64) -> (f64, Duration) {
        let now = Instant::now();
        self.marks.push_back((now, step));
        while self.marks.len() > 2 && now - self.marks[1].0 > WINDOW {
            self.marks.pop_front();
        }
        let (then, before) = self.marks[0];
        let seconds = (now - then).as_secs_f64().max(1e-9);
        let rate = (step - before) as f64 / seconds;
        let left = steps.saturating_sub(step) as f64 / rate.max(1e-9);
        (rate * self.tokens_per_step as f64, Duration::from_secs_f64(left.min(1e12)))
    }
}
