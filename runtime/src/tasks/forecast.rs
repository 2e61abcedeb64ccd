//! Long-term forecasting in the set-up of Informer and Autoformer (Zhou et al. 2021, Wu et al.
//! 2021): from the last `lookback` rows of a table every column's next `horizon` ones.
//!
//! Columns are scaled by mean and deviation of the rows to learn from alone, and errors are
//! measured in that scale, over every window of the held-out rows, every step and every column;
//! the first held-out target is the first held-out row. Each column is a sequence of its own
//! whose tokens are patches of `patch` values, `stride` apart (PatchTST, Nie et al. 2023). A
//! token gives the model
//!
//! ```text
//! seen    [patch]     the patch
//! centre  []          the mean of the whole look-back, and
//! spread  []          its deviation, for a reversible normalisation (Kim et al. 2022)
//! coming  [horizon]   what is to be forecast, at the last token; there it is asked
//! ```
//!
//! The score is the mean squared error; the mean absolute error is said beside it.

use super::data;
use super::{
    Entry, IGNORE, Metric, NumberStream, Numbers, Options, Part, Sample, Size, Task,
    TaskError, below,
};
use crate::train::rng::Stream;
use std::sync::Arc;

/// How a table is split.
#[derive(Clone, Copy)]
enum Split {
    /// Rows to learn from, rows between, rows held out.
    Rows(usize, usize, usize),
    /// Seven tenths, a tenth, two tenths.
    Tenths,
}

#[derive(Clone, Copy)]
struct Table {
    file: &'static str,
    split: Split,
    lookback: usize,
    horizon: usize,
    patch: usize,
    stride: usize,
}

const HOURS: Split = Split::Rows(8640, 2880, 2880);
const QUARTERS: Split = Split::Rows(4 * 8640, 4 * 2880, 4 * 2880);

macro_rules! table {
    ($constant:ident, $name:literal, $about:literal, $file:literal, $split:expr, $sizes:expr, $anchors:literal) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: $anchors,
            open: |o| {
                let [lookback, horizon, patch, stride] = $sizes;
                open(
                    o,
                    Table {
                        file: $file,
                        split: $split,
                        lookback,
                        horizon,
                        patch,
                        stride,
                    },
                )
            },
        };
    };
}

/// Look-back, horizon, patch and stride that are usual; of weekly rows there are few.
const USUAL: [usize; 4] = [96, 96, 16, 8];
const WEEKLY: [usize; 4] = [36, 24, 12, 6];

table!(
    ETTH1,
    "forecast-etth1",
    "a transformer's oil temperature and loads, hourly",
    "ett/ETTh1.csv",
    HOURS,
    USUAL,
    "MSE/MAE, mean of horizons 96, 192, 336, 720: Titans' memory .420/.421, DLinear .456, iTransformer .454, PatchTST .469; at 96 the last day again .512/.433"
);
table!(
    ETTH2,
    "forecast-etth2",
    "another transformer, hourly",
    "ett/ETTh2.csv",
    HOURS,
    USUAL,
    "MSE/MAE, mean of four horizons: Titans' memory .356/.382, DLinear .559, iTransformer .383; at 96 the last day again .390/.380"
);
table!(
    ETTM1,
    "forecast-ettm1",
    "a transformer's oil temperature and loads, every quarter of an hour",
    "ett/ETTm1.csv",
    QUARTERS,
    USUAL,
    "MSE/MAE, mean of four horizons: Titans' memory .358/.387, DLinear .403, iTransformer .407; at 96 the last day again .422/.386"
);
table!(
    ETTM2,
    "forecast-ettm2",
    "another transformer, every quarter of an hour",
    "ett/ETTm2.csv",
    QUARTERS,
    USUAL,
    "MSE/MAE, mean of four horizons: Titans' memory .261/.309, DLinear .350, iTransformer .288; at 96 the last day again .263/.300"
);
table!(
    WEATHER,
    "forecast-weather",
    "21 measures of weather, every ten minutes",
    "weather/weather.csv",
    Split::Tenths,
    USUAL,
    "MSE/MAE, mean of four horizons: Titans' memory .231/.265, DLinear .265, iTransformer .258; at 96 the last value again .261/.258"
);
table!(
    EXCHANGE,
    "forecast-exchange",
    "eight currencies, daily",
    "exchange_rate/exchange_rate.csv",
    Split::Tenths,
    USUAL,
    "MSE/MAE at 96: the last value again .080/.196"
);
table!(
    ILLNESS,
    "forecast-illness",
    "influenza in the United States, weekly",
    "illness/national_illness.csv",
    Split::Tenths,
    WEEKLY,
    "MSE/MAE at 24: the last value again 6.21/1.62, the last year again 2.56/1.00"
);

/// The scaled table, and where windows lie.
struct Rows {
    columns: Vec<Vec<f32>>,
    /// The first rows of windows to learn from, and of held-out ones.
    windows: [std::ops::Range<usize>; 2],
    lookback: usize,
    horizon: usize,
}

impl Rows {
    /// What is seen in a window of a column, and what comes.
    fn window(&self, column: usize, start: usize) -> (&[f32], &[f32]) {
        let all = &self.columns[column][start..start + self.lookback + self.horizon];
        all.split_at(self.lookback)
    }

    fn place(&self, part: Part, index: usize, stream: &mut Stream) -> (usize, usize) {
        let columns = self.columns.len();
        match part {
            Part::Train => {
                let windows = &self.windows[0];
                (below(stream, columns), windows.start + below(stream, windows.len()))
            }
            Part::Test => {
                let windows = &self.windows[1];
                (index % columns, windows.start + index / columns % windows.len())
            }
        }
    }

    /// The mean squared error of the last value again.
    fn last_again(&self) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for start in self.windows[1].clone() {
            for column in 0..self.columns.len() {
                let (seen, coming) = self.window(column, start);
                let last = seen.last().copied().unwrap_or(0.0);
                sum += coming.iter().map(|y| f64::from(y - last).powi(2)).sum::<f64>();
                count += coming.len() as f64;
            }
        }
        sum / count
    }
}

fn open(o: &mut Options, table: Table) -> Result<Task, TaskError> {
    let lookback = o.whole("lookback", table.lookback)?;
    let horizon = o.whole("horizon", table.horizon)?;
    let patch = o.whole("patch", table.patch)?;
    let stride = o.whole("stride", table.stride)?;
    o.demand(
        patch >= 1 && stride >= 1 && horizon >= 1,
        "`patch`, `stride` and `horizon` are 1 or more",
    )?;
    let whole = lookback >= patch && (lookback - patch).is_multiple_of(stride);
    o.demand(whole, "`lookback` is `patch` and a multiple of `stride` more")?;
    let what = "a table of numbers, a date in front of each row, as ETDataset and Autoformer's collection have it";
    let text = data::file(o, table.file, what)?;
    let rows = Arc::new(rows(o, &text, table, lookback, horizon)?);
    let length = (lookback - patch) / stride + 1;
    let count = rows.windows[1].len() * rows.columns.len();
    // There are no tokens: everything that is seen is numbers.
    let mut task = Task::new(1, length, move |_, _, _| {
        let mut targets = vec![IGNORE; length];
        targets[length - 1] = 0;
        Sample { tokens: vec![0; length], targets }
    });
    task.chance = rows.last_again();
    task.metric = Metric::SquaredError;
    task.size = Size { rows: 64, steps: 600, test: count };
    let stream = |name, dims: &[usize]| NumberStream { name, dims: dims.to_vec() };
    let streams = vec![
        stream("seen", &[patch]),
        stream("centre", &[]),
        stream("spread", &[]),
        stream("coming", &[horizon]),
    ];
    let draw = move |part, index, stream: &mut Stream| {
        let (column, start) = rows.place(part, index, stream);
        let (seen, coming) = rows.window(column, start);
        let (centre, spread) = moments(seen.iter().map(|x| f64::from(*x)));
        // Where nothing moves, one unit is as good as any.
        let spread = if spread > 1e-5 { spread } else { 1.0 };
        let patches = (0..length).flat_map(|n| &seen[n * stride..n * stride + patch]);
        let mut last = vec![0.0; length * horizon];
        last[(length - 1) * horizon..].copy_from_slice(coming);
        vec![
            patches.copied().collect(),
            vec![centre as f32; length],
            vec![spread as f32; length],
            last,
        ]
    };
    task.numbers = Some(Numbers { streams, target: 3, draw: Box::new(draw) });
    task.sizes = vec![("patch", patch), ("stride", stride), ("horizon", horizon)];
    Ok(task)
}

fn rows(
    o: &Options,
    text: &str,
    table: Table,
    lookback: usize,
    horizon: usize,
) -> Result<Rows, TaskError> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let lines = data::csv(text);
    for (n, line) in lines.iter().enumerate().skip(1) {
        let values: Option<Vec<f64>> =
            line.iter().skip(1).map(|v| v.trim().parse().ok()).collect();
        let fits = |v: &Vec<f64>| !v.is_empty() && (n == 1 || v.len() == columns.len());
        let Some(values) = values.filter(fits) else {
            let why = format!("line {} of {} is no date and numbers", n + 1, table.file);
            return Err(o.wrong(why));
        };
        columns.resize(values.len(), vec![]);
        columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
    }
    let count = columns.first().map_or(0, Vec::len);
    let (train, between, test) = match table.split {
        Split::Rows(train, between, test) => (train, between, test),
        Split::Tenths => {
            let (train, test) = (count * 7 / 10, count * 2 / 10);
            (train, count - train - test, test)
        }
    };
    let all = train + between + test;
    let least = lookback + horizon;
    o.demand(
        count >= all && train >= least && test >= horizon && train + between >= lookback,
        format!(
            "{} has {count} rows: {all} are split into {train} to learn from, {between} and {test} \
             held out, of which windows of {lookback} and {horizon} rows are taken",
            table.file
        ),
    )?;
    let scaled = |column: &Vec<f64>| -> Vec<f32> {
        let (mean, deviation) = moments(column[..train].iter().copied());
        let deviation = if deviation > 0.0 { deviation } else { 1.0 };
        column[..all].iter().map(|x| ((x - mean) / deviation) as f32).collect()
    };
    let first = train + between - lookback;
    Ok(Rows {
        columns: columns.iter().map(scaled).collect(),
        windows: [0..train - least + 1, first..all - least + 1],
        lookback,
        horizon,
    })
}

/// Mean and deviation.
fn moments(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
#[path = "forecast/tests.rs"]
mod tests;
