//! The ranking as a table: columns by name, which the text and the binary file are written from.

use super::parquet;
use super::report::Report;

/// A column; all of a table are as long.
pub(super) enum Column {
    /// Whole numbers.
    Whole(Vec<i64>),
    /// Numbers, some of which may not be known.
    Real(Vec<Option<f64>>),
    /// Words.
    Text(Vec<String>),
}

/// Columns by name.
pub(super) type Table = Vec<(String, Column)>;

/// The ranking, the best first.
pub(super) fn table(report: &Report) -> Table {
    let ranked = &report.ranked;
    let whole = |of: &dyn Fn(usize) -> usize| {
        Column::Whole((0..ranked.len()).map(|n| of(n) as i64).collect())
    };
    let real = |of: &dyn Fn(usize) -> Option<f64>| {
        Column::Real((0..ranked.len()).map(of).collect())
    };
    let text =
        |of: &dyn Fn(usize) -> String| Column::Text((0..ranked.len()).map(of).collect());
    let scores = |n: usize| {
        let all: Vec<String> = ranked[n].scores.iter().map(f64::to_string).collect();
        all.join(" ")
    };
    let mut out = vec![
        ("rank".to_owned(), whole(&|n| n + 1)),
        ("combination".to_owned(), text(&|n| ranked[n].label.clone())),
    ];
    for (k, axis) in report.axes.iter().enumerate() {
        out.push((axis.clone(), text(&|n| ranked[n].choices[k].clone())));
    }
    let rest = [
        ("round", whole(&|n| ranked[n].round)),
        ("steps", whole(&|n| ranked[n].until as usize)),
        ("score", real(&|n| Some(ranked[n].mean))),
        ("interval", real(&|n| ranked[n].half)),
        ("scores", text(&scores)),
        ("forms", text(&|n| ranked[n].forms.clone())),
        ("parameters", whole(&|n| ranked[n].parameters)),
        ("state_bytes", whole(&|n| ranked[n].state_bytes)),
        ("operations_per_token", real(&|n| Some(ranked[n].flops))),
        ("seconds", real(&|n| Some(ranked[n].seconds))),
    ];
    out.extend(rest.map(|(name, column)| (name.to_owned(), column)));
    out
}

/// As comma-separated text.
pub(super) fn csv(table: &Table) -> String {
    let names: Vec<&str> = table.iter().map(|(name, _)| name.as_str()).collect();
    let mut out = names.join(",") + "\n";
    for row in 0..rows(table) {
        let fields: Vec<String> = table.iter().map(|(_, c)| field(c, row)).collect();
        out.push_str(&(fields.join(",") + "\n"));
    }
    out
}

fn field(column: &Column, row: usize) -> String {
    match column {
        Column::Whole(values) => values[row].to_string(),
        Column::Real(values) => values[row].map_or(String::new(), |x| x.to_string()),
        Column::Text(values) => format!("\"{}\"", values[row].replace('"', "\"\"")),
    }
}

/// As an Apache Parquet file.
pub(super) fn binary(table: &Table) -> Vec<u8> {
    parquet::write(table, rows(table))
}

fn rows(table: &Table) -> usize {
    table.first().map_or(0, |(_, column)| match column {
        Column::Whole(values) => values.len(),
        Column::Real(values) => values.len(),
        Column::Text(values) => values.len(),
    })
}
