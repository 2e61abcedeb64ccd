//! Predicted against measured time over the library: every program of `stdlib/checks`, forward and
//! with all gradients, on one thread.
//!
//! Measured is processor time, so that other work on the machine only disturbs caches.

use nestor_compiler::native::artifact;
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::source::{self, Loaded};
use nestor_compiler::time::{Counts, RATES, counted};
use nestor_compiler::{Form, Precision, Setting, check};
use nestor_ir::dim::Sizes;
use nestor_ir::ty::Elem;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::Stream;
use std::fmt::Write;
use std::time::Instant;

/// Tokens of a call.
const TIME: usize = 512;
/// Sizes that programs are given where they have such parameters.
const WIDTHS: [(&str, usize); 3] = [("d", 64), ("d_k", 32), ("d_v", 32)];
/// Calls that are averaged, at least, and seconds that they take together.
const CALLS: (usize, f64) = (5, 0.03);
/// A call that takes so many seconds is measured by itself.
const LONG: f64 = 1.0;

/// A program with seconds of a call.
pub struct Row {
    /// Its name; `gradients` where all of them are taken.
    pub name: String,
    /// Forms of its walks.
    pub forms: String,
    /// What is counted in its plan.
    pub counts: Counts,
    /// Processor time of a call.
    pub measured: f64,
}

impl Row {
    /// What the counts come to.
    pub fn predicted(&self) -> f64 {
        self.counts.seconds(&RATES)
    }
}

/// Measures every program; those that do not compile are named with the reason.
pub fn rows(gradients: bool) -> (Vec<Row>, Vec<String>) {
    let loaded = source::checks();
    let (mut rows, mut not) = (Vec::new(), Vec::new());
    for name in check::entries(&loaded) {
        match row(&loaded, &name, gradients) {
            Ok(row) => rows.push(row),
            Err(why) => not.push(format!("`{name}`: {why}")),
        }
    }
    (rows, not)
}

fn row(loaded: &Loaded, name: &str, gradients: bool) -> Result<Row, String> {
    let known = check::parameters(loaded, Some(name));
    let own = WIDTHS.iter().filter(|(n, _)| known.iter().any(|k| k == n));
    let settings: Result<Vec<Setting>, String> = own
        .map(|(n, size)| {
            let value = size.to_string().parse()?;
            Ok(Setting { name: (*n).to_owned(), value })
        })
        .collect();
    let (program, _) = check::program(loaded, Some(name), &settings?)
        .map_err(|found| found.first().map(|d| d.message.clone()).unwrap_or_default())?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let lowered = match gradients {
        true => with_gradients(&program, Purpose::default(), &outputs),
        false => forward(&program, Purpose::default()),
    };
    let lowered = lowered.map_err(|e| e.to_string())?;
    let mut forms: Vec<Form> = lowered.choices.iter().map(|c| c.form).collect();
    forms.sort_by_key(|f| Form::ALL.iter().position(|(g, _)| g == f));
    forms.dedup();
    let forms: Vec<&str> = forms.into_iter().map(Form::name).collect();
    let artifact = artifact(&lowered.graph, Precision::F32).map_err(|e| e.to_string())?;
    let sizes = Sizes { batch: 1, time: TIME, start: 0 };
    let counts = counted(&artifact.plan, &artifact.kernels, &sizes, 1);
    let executor = Executor::with_workers(artifact, 1).map_err(|e| e.to_string())?;
    let measured = measured(executor, sizes)?;
    Ok(Row { name: name.to_owned(), forms: forms.join(", "), counts, measured })
}

/// Seconds of a call, on drawn inputs.
fn measured(mut executor: Executor, sizes: Sizes) -> Result<f64, String> {
    let wanted: Vec<(String, Vec<usize>, Elem)> = executor
        .inputs()
        .into_iter()
        .map(|(name, ty)| {
            let dims = ty.dims.iter().map(|d| d.size(&sizes)).collect();
            (name.to_owned(), dims, ty.elem)
        })
        .collect();
    for (name, dims, elem) in wanted {
        let mut stream = Stream::new(0, &name);
        let count: usize = dims.iter().product();
        let data = match elem {
            Elem::Int => Data::I32(vec![0; count]),
            Elem::Bool => Data::Bool(vec![true; count]),
            Elem::Real => {
                Data::F32((0..count).map(|_| 0.2 * stream.normal() as f32).collect())
            }
        };
        let tensor = HostTensor { name, dims, data };
        executor.set(&tensor).map_err(|e| e.to_string())?;
    }
    let mut step = || executor.step(sizes).map_err(|e| e.to_string());
    let began = now();
    step()?;
    let first = now() - began;
    if first > LONG {
        return Ok(first);
    }
    step()?;
    let (mut calls, began) = (0, now());
    while calls < CALLS.0 || now() - began < CALLS.1 {
        step()?;
        calls += 1;
    }
    Ok((now() - began) / calls as f64)
}

/// Processor time of all threads of this program in seconds, where the system tells it; otherwise
/// time.
fn now() -> f64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let own = threads.filter_map(|t| {
        let text = std::fs::read_to_string(t.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    let nanoseconds: f64 = own.sum();
    if nanoseconds > 0.0 {
        return nanoseconds * 1e-9;
    }
    BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Spearman's correlation: of places by one number and by another.
pub fn rank_correlation(rows: &[Row]) -> f64 {
    let all: Vec<&Row> = rows.iter().collect();
    correlation(&all, Row::predicted)
}

fn correlation(rows: &[&Row], predicted: impl Fn(&Row) -> f64) -> f64 {
    let pairs: Vec<(f64, f64)> =
        rows.iter().map(|r| (predicted(r), r.measured)).collect();
    of_places(&pairs)
}

/// Whether what is first by one number is first by the other: the correlation of their places.
pub(crate) fn of_places(pairs: &[(f64, f64)]) -> f64 {
    let a = places(&pairs.iter().map(|p| p.0).collect::<Vec<_>>());
    let b = places(&pairs.iter().map(|p| p.1).collect::<Vec<_>>());
    let mean = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// The place of every number; equal ones share theirs.
fn places(numbers: &[f64]) -> Vec<f64> {
    let one = |x: &f64| {
        let below = numbers.iter().filter(|y| *y < x).count() as f64;
        let same = numbers.iter().filter(|y| *y == x).count() as f64;
        below + (same - 1.0) / 2.0
    };
    numbers.iter().map(one).collect()
}

/// How well rates foretell what they were not fitted to: fitted to every other row, the rank correlation and the
/// median of the larger one over the smaller one of predicted and measured over the rows between, and the other way
/// around.
pub fn halves(rows: &[Row]) -> [(usize, f64, f64); 2] {
    [0, 1].map(|first| {
        let part = |n: usize| rows.iter().skip(n).step_by(2).collect::<Vec<_>>();
        let (own, other) = (part(first), part(1 - first));
        let rates = fitted(&own);
        let predicted = |row: &Row| product(&row.counts.0, &rates);
        let mut off: Vec<f64> = other
            .iter()
            .map(|row| (predicted(row) / row.measured).ln().abs().exp())
            .collect();
        off.sort_by(f64::total_cmp);
        let median = off.get(off.len() / 2).copied().unwrap_or(f64::NAN);
        (other.len(), correlation(&other, predicted), median)
    })
}

fn product(counts: &[f64; 9], rates: &[f64; 9]) -> f64 {
    counts.iter().zip(rates).map(|(n, rate)| n * rate).sum()
}

fn fitted(rows: &[&Row]) -> [f64; 9] {
    let relative: Vec<[f64; 9]> =
        rows.iter().map(|r| r.counts.0.map(|n| n / r.measured)).collect();
    least_off(&relative)
}

/// Rates, none below 0, with which predictions are least off, relatively, of counts over what was measured: least squares,
/// one rate after another.
pub(crate) fn least_off<const N: usize>(relative: &[[f64; N]]) -> [f64; N] {
    let mut rates = [0.0; N];
    for _ in 0..20_000 {
        for k in 0..rates.len() {
            let (mut along, mut square) = (0.0, 0.0);
            for row in relative {
                let other = row.iter().zip(&rates).map(|(n, rate)| n * rate).sum::<f64>();
                let rest = 1.0 - other + row[k] * rates[k];
                along += row[k] * rest;
                square += row[k] * row[k];
            }
            rates[k] = if square > 0.0 { (along / square).max(0.0) } else { 0.0 };
        }
    }
    rates
}

/// A table as Markdown, with what it says as a whole.
pub fn table(what: &str, rows: &[Row], not: &[String]) -> String {
    let [(count, one, off), (others, other, away)] = halves(rows);
    let mut out = format!(
        "## {what}\n\n{} programs, rank correlation {:.3}. With rates fitted to every other program alone, over the \
         {count} and {others} between them: {one:.3} and {other:.3}; half of the predictions are within a factor \
         of {off:.2} and {away:.2}.\n\n\
         | program | forms | predicted | measured | ratio |\n|---|---|---|---|---|\n",
        rows.len(),
        rank_correlation(rows)
    );
    let token = |seconds: f64| 1e6 * seconds / TIME as f64;
    for row in rows {
        let (predicted, measured) = (token(row.predicted()), token(row.measured));
        let _ = writeln!(
            out,
            "| `{}` | {} | {predicted:.2} | {measured:.2} | {:.2} |",
            row.name,
            row.forms,
            predicted / measured
        );
    }
    for why in not {
        let _ = writeln!(out, "\nNot measured: {why}.");
    }
    out
}
