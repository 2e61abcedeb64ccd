//! Forecasting against its definition: splits, scales, windows, and known forecasts.

use super::super::tests::{forecast, opened_in};
use super::*;

/// Two columns of `count` rows: a line, and a wave of seven rows.
fn table(count: usize) -> String {
    let row = |n: usize| format!("2020-01-01 {n},{},{}\n", n, (n % 7) as f64 * 2.0 - 5.0);
    "date,line,wave\n".to_owned() + &(0..count).map(row).collect::<String>()
}

fn opened(count: usize, options: &str) -> Task {
    let text = table(count);
    let files = [("exchange_rate/exchange_rate.csv", text.as_str())];
    opened_in(&format!("forecast-exchange:{options}"), &files)
}

fn numbers(task: &Task, part: Part, index: usize) -> Vec<Vec<f32>> {
    task.draw_numbers(part, index, &mut Stream::new(index as u64, "numbers"))
}

#[test]
fn windows_begin_where_the_held_out_rows_do() {
    let task = opened(200, "lookback=24,horizon=10,patch=8,stride=4");
    assert_eq!((task.length, task.test_length), (5, 5));
    // 40 held-out rows hold 31 windows of ten.
    assert_eq!(task.size.test, 31 * 2);
    // 140 rows to learn from scale both.
    let (mean, deviation) = moments((0..140).map(f64::from));
    let scaled = |row: usize| ((row as f64 - mean) / deviation) as f32;
    let [seen, centre, spread, coming] = &numbers(&task, Part::Test, 0)[..] else {
        panic!("four streams")
    };
    // Row 160 is the first held out; 24 rows before it are seen, in patches.
    let expected: Vec<f32> =
        (0..5).flat_map(|n| (0..8).map(move |i| 136 + 4 * n + i)).map(scaled).collect();
    assert_eq!(*seen, expected);
    assert_eq!(coming[..40], [0.0; 40]);
    assert_eq!(coming[40..], (160..170).map(scaled).collect::<Vec<_>>());
    let (c, s) = moments((136..160).map(|r| f64::from(scaled(r))));
    assert_eq!((centre[0], spread[4]), (c as f32, s as f32));
    // The last window ends with the last row.
    let last = &numbers(&task, Part::Test, 60)[3];
    assert_eq!(last[49], scaled(199));
    // Learned from are no rows that are held out.
    for index in 0..200 {
        let rows = numbers(&task, Part::Train, index);
        let most = scaled(139);
        assert!(rows[3][40..].iter().all(|x| *x <= most));
    }
}

#[test]
fn known_forecasts_have_known_errors() {
    let task = opened(280, "lookback=28,horizon=7,patch=7,stride=7");
    let true_ones = forecast(&task, |_, _, coming| coming.to_vec());
    assert_eq!(task.score(&true_ones), 0.0);
    // A wave of seven rows is known from the last seven; the line is off by seven rows.
    let week = forecast(&task, |seen, _, _| seen[21..].to_vec());
    let step = 7.0 / moments((0..196).map(f64::from)).1;
    assert!((task.score(&week) - step * step / 2.0).abs() < 1e-6);
    assert!((task.beside(&week).unwrap().1 - step / 2.0).abs() < 1e-6);
    let last = forecast(&task, |seen, horizon, _| vec![seen[27]; horizon]);
    assert!((task.score(&last) / task.chance - 1.0).abs() < 1e-6);
}

#[test]
fn what_cannot_be_forecast_is_said() {
    let text = table(30);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("exchange_rate")).unwrap();
    let wrong = |content: &str, options: &str| {
        let path = folder.path().join("exchange_rate/exchange_rate.csv");
        std::fs::write(path, content).unwrap();
        let opened = super::super::open(options, Some(folder.path().to_owned()));
        opened.err().expect("an error").to_string()
    };
    let said = wrong(&text, "forecast-exchange");
    assert!(
        said.contains("has 30 rows") && said.contains("windows of 96 and 96"),
        "{said}"
    );
    let said = wrong(&text, "forecast-exchange:lookback=20,patch=16");
    assert!(said.contains("a multiple of `stride` more"), "{said}");
    let said = wrong(&(text + "2021,1\n"), "forecast-exchange");
    assert!(said.contains("line 32 of exchange_rate/exchange_rate.csv"), "{said}");
}
