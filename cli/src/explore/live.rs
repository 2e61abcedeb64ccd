//! What an exploration shows while it runs: on a terminal a table that stays in its place, else a
//! plain line now and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Combinations that are shown.
const SHOWN: usize = 10;
/// How often the table is drawn.
const DRAWN: Duration = Duration::from_millis(500);
/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(30);

/// A line of the table.
pub(crate) struct Row {
    /// What the combination is.
    pub(crate) name: String,
    /// Its mean score.
    pub(crate) mean: f64,
    /// Half its interval.
    pub(crate) half: Option<f64>,
    /// Losses on the way.
    pub(crate) curve: Vec<f64>,
}

/// Everything that is shown.
pub(crate) struct View {
    /// `round 1 of 3, 50 steps`.
    pub(crate) round: String,
    /// Trials that are done, and all.
    pub(crate) trials: (usize, usize),
    /// Names of those running.
    pub(crate) running: Vec<String>,
    /// How many failed.
    pub(crate) failed: usize,
    /// The best so far, the best first.
    pub(crate) rows: Vec<Row>,
    /// Time left of the round.
    pub(crate) left: Option<Duration>,
}

/// The screen of an exploration.
pub(crate) struct Live {
    terminal: bool,
    lines: usize,
    last: Option<Instant>,
}

impl Live {
    /// A screen on standard output.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), lines: 0, last: None }
    }

    /// Whether it is time to show something.
    pub(crate) fn due(&self) -> bool {
        let every = if self.terminal { DRAWN } else { PLAIN };
        self.last.is_none_or(|l| l.elapsed() >= every)
    }

    /// Shows how it stands.
    pub(crate) fn show(&mut self, view: &View) {
        self.last = Some(Instant::now());
        if !self.terminal {
            anstream::println!("{}", headline(view, true));
            return;
        }
        let text = table(view);
        let up = match self.lines {
            0 => String::new(),
            n => format!("\x1b[{n}A"),
        };
        // Where the terminal is narrow a line ends at its edge: a second line would move the table.
        anstream::print!(
            "{up}\x1b[?7l{}\x1b[?7h",
            text.iter().map(|l| format!("\x1b[2K{l}\n")).collect::<String>()
        );
        // What the last table had more.
        for _ in text.len()..self.lines {
            anstream::print!("\x1b[2K\n");
        }
        self.lines = self.lines.max(text.len());
        let _ = std::io::stdout().flush();
    }

    /// Leaves the table where it is; what follows is written below it.
    pub(crate) fn done(&mut self) {
        self.lines = 0;
        self.last = None;
    }
}

fn headline(view: &View, with_best: bool) -> String {
    let failed = match view.failed {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    let left = view.left.map_or(String::new(), |l| {
        format!(", {}:{:02} left", l.as_secs() / 60, l.as_secs() % 60)
    });
    let best = view.rows.first().filter(|_| with_best).map_or(String::new(), |r| {
        format!(" · best {} {}", score(r.mean, r.half), r.name)
    });
    format!(
        "{}: {} of {} trials{failed}{left}{best}",
        view.round, view.trials.0, view.trials.1
    )
}

fn table(view: &View) -> Vec<String> {
    let mut out = vec![headline(view, false)];
    for (n, row) in view.rows.iter().take(SHOWN).enumerate() {
        let name: String = row.name.chars().take(64).collect();
        out.push(format!(
            "{:>3}  {:<17} {:<12}  {name}",
            n + 1,
            score(row.mean, row.half),
            spark(&row.curve)
        ));
    }
    if !view.running.is_empty() {
        let names: String = view.running.join(" | ").chars().take(90).collect();
        out.push(format!("now  {names}"));
    }
    out
}

/// A score with its interval.
pub(crate) fn score(mean: f64, half: Option<f64>) -> String {
    half.map_or(format!("{mean:.4}"), |h| format!("{mean:.4} ± {h:.4}"))
}

/// A curve in twelve letters.
pub(crate) fn spark(curve: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let good: Vec<f64> = curve.iter().copied().filter(|x| x.is_finite()).collect();
    let (low, high) = good
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    let count = good.len().min(12);
    (0..count)
        .map(|n| {
            let value = good[n * good.len() / count];
            let part = if high > low { (value - low) / (high - low) } else { 0.0 };
            BARS[(part * 7.0).round() as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_stands() {
        let row = Row {
            name: "l2 · sgd".into(),
            mean: 0.5,
            half: Some(0.01),
            curve: vec![2.0, 1.0, 0.0],
        };
        let view = View {
            round: "round 1 of 3, 50 steps".into(),
            trials: (3, 10),
            running: vec!["dot".into()],
            failed: 1,
            rows: vec![row],
            left: Some(Duration::from_secs(62)),
        };
        assert_eq!(
            headline(&view, true),
            "round 1 of 3, 50 steps: 3 of 10 trials, 1 failed, 1:02 left · best 0.5000 ± 0.0100 l2 · sgd"
        );
        assert_eq!(spark(&[2.0, 1.0, 0.0]), "█▅▁");
        assert_eq!(table(&view).len(), 3);
        assert_eq!(spark(&[f64::NAN]), "");
    }
}
