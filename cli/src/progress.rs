//! What a run of training shows while it runs: a line that stays in its place on a terminal, plain
//! lines without control characters elsewhere.

use nestor_runtime::train::LevelReport;
use nestor_runtime::train::progress::{Event, StepLine};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Cells of the bar.
const BAR: usize = 32;
/// Not on a terminal, a line comes this often at most.
const EVERY: Duration = Duration::from_secs(5);

/// The screen of a run.
pub(crate) struct Screen {
    terminal: bool,
    /// Bits a byte for a nat a token.
    bits: f64,
    /// When a plain line was printed last.
    last: Option<Instant>,
    /// Whether the line of an evaluation waits for the checkpoint that may follow.
    open: bool,
    /// The last report of each level, the fastest first.
    levels: Vec<LevelReport>,
}

impl Screen {
    /// A screen; `bits` is how many bits a byte one nat a token is.
    pub(crate) fn new(bits: f64) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, bits, last: None, open: false, levels: vec![] }
    }

    /// Shows what happened.
    pub(crate) fn show(&mut self, event: &Event) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        let saved = match event {
            Event::Saved { path, .. } => Some(path.as_path()),
            _ => None,
        };
        self.close(saved);
        match event {
            Event::Started { step, resumed, train_tokens, validation_tokens, .. } => {
                if let Some(path) = resumed {
                    let path = path.display();
                    anstream::println!("going on after step {step} from {path}");
                }
                let learned = match *train_tokens {
                    u64::MAX => "tokens without end".to_owned(),
                    n => format!("{n} tokens"),
                };
                anstream::println!(
                    "{learned} to learn from, {validation_tokens} held out"
                );
            }
            Event::Step(line) if self.terminal => {
                self.remember(line);
                // Where the terminal is narrow the line ends at its edge, so that it can be cleared.
                anstream::print!("{clear}\x1b[?7l{}\x1b[?7h", self.line(line, true));
                let _ = std::io::stdout().flush();
            }
            Event::Step(line) => {
                self.remember(line);
                let due = self.last.is_none_or(|last| last.elapsed() >= EVERY);
                if due || line.step == line.steps {
                    self.last = Some(Instant::now());
                    anstream::println!("{}", self.line(line, false));
                }
            }
            Event::Evaluated { step, loss, score: Some((metric, score)), .. } => {
                anstream::print!(
                    "{clear}      held out: {metric} {score:.4}, loss {loss:.4} at step {step}"
                );
                self.open = true;
            }
            Event::Evaluated { step, loss, bits_per_byte, best, score: None } => {
                let bits = bits_per_byte.unwrap_or(loss * self.bits);
                anstream::print!(
                    "{clear}      validation {bits:.3} bits/byte at step {step} · best {:.3} \
                     at step {}",
                    best.1 * self.bits,
                    best.0,
                );
                self.open = true;
            }
            Event::Saved { .. } => {}
            Event::Stopping { step } => {
                anstream::println!("{clear}stopping after step {step}, saving");
            }
        }
    }

    /// Ends the line of an evaluation, with the checkpoint of the same step where there is one.
    fn close(&mut self, saved: Option<&Path>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let saved = saved.map(|p| format!(" · saved {}", p.display()));
        anstream::println!("{}", saved.unwrap_or_default());
        for level in &self.levels {
            anstream::println!("{}", level_line(level));
        }
    }

    /// What each level said when it acted last.
    fn remember(&mut self, line: &StepLine) {
        for level in &line.levels {
            match self.levels.iter_mut().find(|l| l.name == level.name) {
                Some(before) => {
                    let rate = level.rate.or(before.rate);
                    *before = LevelReport { rate, ..level.clone() };
                }
                None => self.levels.push(level.clone()),
            }
        }
        self.levels.sort_by_key(|l| l.period);
    }

    fn line(&self, line: &StepLine, bar: bool) -> String {
        let StepLine {
            step, steps, loss, gradient_norm, tokens_per_second, left, ..
        } = *line;
        let width = steps.to_string().len();
        let bits = loss * self.bits;
        let bar = if bar { format!("  {}", drawn(step, steps)) } else { String::new() };
        format!(
            "step {step:>width$}/{steps}{bar}  loss {loss:.3} nats  {bits:.3} bits/byte  {} \
             tokens/s  grad {gradient_norm:.2}  {} left",
            short(tokens_per_second),
            time(left)
        )
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close(None);
    }
}

/// How often a level acted, and its last gradient and rate.
fn level_line(level: &LevelReport) -> String {
    let LevelReport { name, period, updates, gradient_norm, rate } = level;
    let every = if *period == 1 { "step".into() } else { format!("{period} steps") };
    let times = if *updates == 1 { "update" } else { "updates" };
    let rate = rate.map_or(String::new(), |r| format!("  rate {r:.2e}"));
    format!(
        "      level {name:<12} every {every:<9} {updates:>6} {times:<7}  grad \
         {gradient_norm:.3}{rate}"
    )
}

/// How much is done, as a bar of half cells.
fn drawn(step: u64, steps: u64) -> String {
    let halves = usize::try_from(step * 2 * BAR as u64 / steps.max(1)).unwrap_or(0);
    let (full, half) = (halves / 2, halves % 2);
    let rest = BAR - full - half;
    format!("{}{}{}", "━".repeat(full), "╸".repeat(half), "─".repeat(rest))
}

/// A large number in three digits or so.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// Hours, minutes and seconds, as far as there are any.
fn time(left: Duration) -> String {
    let s = left.as_secs();
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_the_run_is() {
        let mut screen = Screen::new(1.5);
        screen.terminal = false;
        let line = StepLine {
            step: 420,
            steps: 900,
            loss: 2.0,
            gradient_norm: 0.84,
            levels: vec![],
            tokens_per_second: 21_400.0,
            left: Duration::from_secs(72),
        };
        assert_eq!(
            screen.line(&line, false),
            "step 420/900  loss 2.000 nats  3.000 bits/byte  21.4k tokens/s  grad 0.84  1:12 left"
        );
        assert_eq!(drawn(0, 9).chars().count(), BAR);
        assert_eq!(drawn(5, 9).chars().count(), BAR);
        assert_eq!(drawn(9, 9), "━".repeat(BAR));
        assert_eq!(time(Duration::from_secs(3725)), "1:02:05");
    }
}
