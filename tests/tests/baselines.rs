//! Trivial models reach the figures that are known for them: a task that is read wrongly shows
//! here. What ships with the examples is always measured; for the rest NESTOR_DATA names a folder
//! laid out as the head of `runtime/src/tasks/data.rs` says, and without it checks are skipped.

use nestor_runtime::tasks::{IGNORE, Part, Sample, Task, open};
use nestor_runtime::train::RowTally;
use nestor_runtime::train::rng::Stream;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn shipped() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data"))
}

fn opened(name: &str, data: PathBuf) -> Task {
    open(name, Some(data)).unwrap_or_else(|e| panic!("{e}"))
}

/// A task over data that does not ship; none where the folder or its data is not there.
fn elsewhere(name: &str) -> Option<Task> {
    let found = std::env::var_os("NESTOR_DATA").map(|d| open(name, Some(d.into())));
    match found {
        Some(Ok(task)) => return Some(task),
        Some(Err(e)) => eprintln!("1 check skipped: {e}"),
        None => eprintln!("1 check skipped: {name}: NESTOR_DATA names no folder"),
    }
    None
}

fn held_out(task: &Task) -> impl Iterator<Item = Sample> {
    let draw = |n: usize| {
        task.sample(Part::Test, n, &mut Stream::new(11, "held").fork(n as u64))
    };
    (0..task.size.test).map(draw)
}

fn close(what: &str, found: f64, known: f64, off: f64) {
    eprintln!("{what}: {found:.4}, known is {known}");
    assert!((found - known).abs() <= off, "{what}: {found}, known is {known}");
}

// ---------------------------------------------------------------------------------------- text

/// Counts of what followed contexts of one length, sorted by context and byte.
struct Counts(Vec<(u64, f64)>);

impl Counts {
    fn of(text: &[u8], context: usize) -> Self {
        let code = |w: &[u8]| w.iter().fold(0, |c, b| c << 8 | u64::from(*b));
        let mut codes: Vec<u64> = text.windows(context + 1).map(code).collect();
        codes.sort_unstable();
        let runs = codes.chunk_by(|a, b| a == b);
        Self(runs.map(|r| (r[0], r.len() as f64)).collect())
    }

    /// Everything that followed a context.
    fn after(&self, context: u64) -> &[(u64, f64)] {
        let first = self.0.partition_point(|e| e.0 < context << 8);
        let last = self.0.partition_point(|e| e.0 < (context + 1) << 8);
        &self.0[first..last]
    }
}

/// Witten and Bell's interpolation of all shorter contexts.
fn probability(orders: &[Counts], before: &[u8], byte: u8) -> f64 {
    let mut p = 1.0 / 256.0;
    for (n, counts) in orders.iter().enumerate().take(before.len() + 1) {
        let context =
            before[before.len() - n..].iter().fold(0, |c, b| c << 8 | u64::from(*b));
        let after = counts.after(context);
        let all: f64 = after.iter().map(|e| e.1).sum();
        if all > 0.0 {
            let code = context << 8 | u64::from(byte);
            let own = after.iter().find(|e| e.0 == code).map_or(0.0, |e| e.1);
            p = (own + after.len() as f64 * p) / (all + after.len() as f64);
        }
    }
    p
}

#[test]
fn five_bytes_foretell_text_as_well_as_is_known() {
    let path = shipped().join("tinyshakespeare.txt");
    let text = std::fs::read(&path).expect("the text ships");
    let learned = &text[..text.len() - text.len() / 10];
    let orders: Vec<Counts> = (0..5).map(|n| Counts::of(learned, n)).collect();
    let task = opened("text:length=2000,test=16", path);
    let rows: Vec<RowTally> = held_out(&task)
        .map(|s| {
            let bytes: Vec<u8> = s.tokens.iter().map(|t| *t as u8).collect();
            let nats = |at: usize| {
                let before = &bytes[(at + 1).saturating_sub(4)..=at];
                -probability(&orders, before, s.targets[at] as u8).ln()
            };
            RowTally::of((0..bytes.len()).map(|at| (1.0, nats(at), false)))
        })
        .collect();
    close("bits a byte", task.score(&rows), 2.408, 0.03);
}

// ---------------------------------------------------------------------------------------- numbers

/// Errors of a forecast of every `step`th held-out window of so many columns; one patch is all
/// that is seen.
fn foretold(
    task: &Task,
    (columns, step): (usize, usize),
    guess: impl Fn(&[f32], usize) -> Vec<f32>,
) -> (f64, f64) {
    let horizon = task.numbers.as_ref().expect("numbers").streams[3].dims[0];
    let rows: Vec<RowTally> = (0..task.size.test)
        .filter(|n| (n / columns).is_multiple_of(step))
        .map(|n| {
            let drawn = task.draw_numbers(Part::Test, n, &mut Stream::new(0, ""));
            let coming = &drawn[3][drawn[3].len() - horizon..];
            RowTally::foretold(coming, &guess(&drawn[0], horizon))
        })
        .collect();
    (task.score(&rows), task.beside(&rows).expect("an absolute error").1)
}

fn last_again(seen: &[f32], horizon: usize) -> Vec<f32> {
    vec![seen.last().copied().unwrap_or(0.0); horizon]
}

fn again(season: usize) -> impl Fn(&[f32], usize) -> Vec<f32> {
    move |seen, horizon| {
        let last = &seen[seen.len() - season..];
        (0..horizon).map(|h| last[h % season]).collect()
    }
}

type Errors = (f64, f64);

/// The last value again, and the last season again, on every `step`th window: the known figures are
/// from these.
fn check(
    name: &str,
    task: &Task,
    (columns, season, step): (usize, usize, usize),
    known: [Errors; 2],
) {
    let of = (columns, step);
    let found = [foretold(task, of, last_again), foretold(task, of, again(season))];
    for (found, known) in found.into_iter().zip(known) {
        close(name, found.0, known.0, 0.01 * known.0.max(0.2));
        close(name, found.1, known.1, 0.01 * known.1.max(0.2));
    }
}

#[test]
fn the_last_day_again_has_the_errors_that_are_known() {
    let whole = opened("forecast-etth1:patch=96", shipped());
    // Zeng et al. 2023 have the last value again on all windows.
    let last = foretold(&whole, (7, 1), last_again);
    close("all windows", last.0, 1.295, 0.001);
    close("all windows", last.1, 0.713, 0.001);
    close("the guess of the table", whole.chance, last.0, 1e-6);
    for (horizon, known) in [
        (96, [(1.305, 0.717), (0.512, 0.433)]),
        (336, [(1.339, 0.748), (0.650, 0.501)]),
        (720, [(1.337, 0.754), (0.655, 0.514)]),
    ] {
        let name = format!("forecast-etth1:patch=96,horizon={horizon}");
        let task = opened(&name, shipped());
        assert_eq!(task.size.test, (2880 - horizon + 1) * 7);
        check(&name, &task, (7, 24, 4), known);
    }
    for (name, sizes, known) in [
        ("forecast-etth2:patch=96", (7, 24, 4), [(0.423, 0.416), (0.390, 0.380)]),
        ("forecast-ettm1:patch=96", (7, 96, 32), [(0.991, 0.624), (0.422, 0.386)]),
        ("forecast-ettm2:patch=96", (7, 96, 32), [(0.288, 0.340), (0.263, 0.300)]),
        (
            "forecast-weather:lookback=144,patch=144",
            (21, 144, 64),
            [(0.261, 0.258), (0.317, 0.288)],
        ),
        ("forecast-exchange:patch=96", (8, 7, 4), [(0.080, 0.196), (0.086, 0.205)]),
        (
            "forecast-illness:lookback=104,patch=104",
            (7, 52, 1),
            [(6.21, 1.62), (2.56, 1.00)],
        ),
    ] {
        if let Some(task) = elsewhere(name) {
            check(name, &task, sizes, known);
        }
    }
}

// ---------------------------------------------------------------------------------------- classes

/// What naive Bayes over these features of a sequence reaches.
fn naive_bayes(task: &Task, draws: u64, features: impl Fn(&[i32]) -> Vec<u64>) -> f64 {
    let mut counts: BTreeMap<(i32, u64), f64> = BTreeMap::new();
    let mut all: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
    let asked = |s: &Sample| s.targets[s.targets.len() - 1];
    for n in 0..draws {
        let s =
            task.sample(Part::Train, n as usize, &mut Stream::new(5, "learned").fork(n));
        let found = features(&s.tokens);
        let own = all.entry(asked(&s)).or_default();
        own.0 += 1.0;
        own.1 += found.len() as f64;
        for f in found {
            *counts.entry((asked(&s), f)).or_default() += 1.0;
        }
    }
    let kinds =
        counts.keys().map(|k| k.1).collect::<std::collections::BTreeSet<_>>().len()
            as f64;
    let likely = |class: i32, found: &[u64]| {
        let (rows, features) = all[&class];
        let each = |f: &u64| {
            let own = counts.get(&(class, *f)).copied().unwrap_or(0.0);
            ((own + 1.0) / (features + kinds)).ln()
        };
        rows.ln() + found.iter().map(each).sum::<f64>()
    };
    let rows: Vec<RowTally> = held_out(task)
        .map(|s| {
            let found = features(&s.tokens);
            let best = all
                .keys()
                .map(|c| (likely(*c, &found), *c))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            RowTally::of([(1.0, 0.0, best.expect("classes").1 == asked(&s))])
        })
        .collect();
    task.score(&rows)
}

#[test]
fn naive_bayes_tells_dna_apart_as_well_as_is_known() {
    let task = opened("dna-splice", shipped());
    assert_eq!((task.size.test, task.length), (638, 60));
    let place = |tokens: &[i32]| -> Vec<u64> {
        tokens.iter().enumerate().map(|(n, t)| 8 * n as u64 + *t as u64).collect()
    };
    close("dna-splice", naive_bayes(&task, 8000, place), 0.953, 0.02);
    let five = |tokens: &[i32]| -> Vec<u64> {
        tokens.windows(5).map(|w| w.iter().fold(0, |c, t| 8 * c + *t as u64)).collect()
    };
    for (name, known) in
        [("dna-tata", 0.594), ("dna-core-tata", 0.729), ("dna-mouse", 0.762)]
    {
        if let Some(task) = elsewhere(name) {
            close(name, naive_bayes(&task, 12_000, five), known, 0.03);
        }
    }
}

// ---------------------------------------------------------------------------------------- text that is asked about

#[test]
fn the_longest_answer_is_right_as_often_as_is_known() {
    for (name, questions, known) in [
        ("hellaswag", 1000, 0.225),
        ("piqa", 1838, 0.485),
        ("arc-easy", 2376, 0.266),
        ("arc-challenge", 1172, 0.272),
        ("siqa", 1954, 0.356),
        ("copa", 100, 0.46),
    ] {
        let Some(task) = elsewhere(&format!("{name}:length=4000")) else { continue };
        let rows: Vec<RowTally> = held_out(&task)
            .map(|s| {
                let asked = s.targets.iter().filter(|t| **t != IGNORE).count();
                RowTally { nats: -(asked as f64), ..RowTally::default() }
            })
            .collect();
        let nestor_runtime::tasks::Metric::Choice { rows: known_rows } = &task.metric
        else {
            panic!("{name} is a choice")
        };
        assert_eq!(known_rows.last().map(|r| r.0 + 1), Some(questions), "{name}");
        close(name, task.score(&rows), known, 0.012);
    }
}

#[test]
fn the_last_place_of_a_person_answers_the_first_question() {
    let Some(task) = elsewhere("babilong-qa1:length=1000,test=200") else { return };
    let rows: Vec<RowTally> = held_out(&task)
        .map(|s| {
            let bytes: Vec<u8> = s.tokens.iter().map(|t| *t as u8).collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let (body, question) = text.split_once(" Where is ").expect("a question");
            let person = question.split('?').next().unwrap_or("");
            let places =
                ["bathroom", "bedroom", "garden", "hallway", "kitchen", "office"];
            let fact = |place: &str| {
                let facts = [
                    "moved to",
                    "went to",
                    "journeyed to",
                    "travelled to",
                    "went back to",
                ];
                facts
                    .iter()
                    .filter_map(|f| body.rfind(&format!("{person} {f} the {place}.")))
                    .max()
            };
            let answer = places.iter().max_by_key(|p| fact(p)).expect("places");
            let first = s.targets.iter().position(|t| *t != IGNORE).expect("a target");
            let said =
                |at: usize| answer.as_bytes().get(at - first).copied().map(i32::from);
            RowTally::of((first..s.targets.len()).map(|at| {
                let asked = s.targets[at] != IGNORE;
                (f64::from(asked), 0.0, said(at) == Some(s.targets[at]))
            }))
        })
        .collect();
    assert_eq!(task.score(&rows), 1.0);
}

#[test]
fn a_word_of_the_passage_is_the_last_one_as_often_as_is_known() {
    let Some(task) = elsewhere("lambada:length=2000,test=5153") else { return };
    let rows: Vec<f64> = held_out(&task)
        .map(|s| {
            let bytes: Vec<u8> = s.tokens.iter().map(|t| *t as u8).collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let plain =
                |w: &str| w.replace(|c: char| !c.is_alphanumeric() && c != '\'', "");
            let mut words: Vec<String> =
                text.trim_matches('\0').split_whitespace().map(plain).collect();
            let last = words.pop().expect("a word");
            words.retain(|w| !w.is_empty());
            words.iter().filter(|w| **w == last).count() as f64 / words.len() as f64
        })
        .collect();
    // Paperno et al. 2016, table 2: a word of the passage, drawn.
    close("lambada", rows.iter().sum::<f64>() / rows.len() as f64, 0.016, 0.002);
}
