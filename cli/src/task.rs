//! `task`: what there is to learn, with samples.

use crate::fail::{Failure, Outcome};
use nestor_runtime::tasks::{self, IGNORE, Part, TASKS, Task};
use nestor_runtime::train::rng::Stream;
use serde_json::json;
use std::path::PathBuf;

/// Lists tasks, or shows one.
pub(crate) fn task(
    name: Option<&str>,
    samples: usize,
    seed: u64,
    data: Option<PathBuf>,
    as_json: bool,
) -> Outcome {
    let Some(name) = name else {
        list(as_json);
        return Ok(());
    };
    let task = tasks::open(name, data.or_else(shipped)).map_err(Failure::data)?;
    let entry = TASKS.iter().find(|e| Some(e.name) == name.split(':').next());
    let draw = |n: usize| {
        let mut stream = Stream::new(seed, "shown").fork(n as u64);
        task.sample(Part::Test, n, &mut stream)
    };
    let numbers = |n: usize| {
        let mut stream = Stream::new(seed, "shown").fork(n as u64);
        let drawn = task.draw_numbers(Part::Test, n, &mut stream);
        let names = task.numbers.iter().flat_map(|n| &n.streams);
        names.zip(drawn).collect::<Vec<_>>()
    };
    if as_json {
        let one = |n: usize| {
            let s = draw(n);
            let mut shown = json!({ "tokens": s.tokens, "targets": s.targets });
            for (stream, values) in numbers(n) {
                shown[stream.name] = json!(values);
            }
            shown
        };
        let all: Vec<_> = (0..samples).map(one).collect();
        anstream::println!(
            "{}",
            json!({ "task": name, "vocabulary": task.vocabulary, "length": task.length,
                    "test_length": task.test_length, "metric": task.metric.name(),
                    "chance": task.chance, "batch": task.size.rows, "steps": task.size.steps,
                    "samples": all })
        );
        return Ok(());
    }
    if let Some(entry) = entry {
        anstream::println!("{name}: {}", entry.about);
        anstream::println!("  published   {}", entry.anchors);
    }
    anstream::println!(
        "  tokens      {} kinds, {} to learn from, {} held out\n  metric      {}, a guess scores \
         {:.3}\n  small size  {} steps of {} sequences, measured on {}",
        task.vocabulary,
        task.length,
        task.test_length,
        task.metric.name(),
        task.chance,
        task.size.steps,
        task.size.rows,
        task.size.test
    );
    for n in 0..samples {
        let sample = draw(n);
        anstream::println!("\nsample {}", n + 1);
        if task.numbers.is_some() {
            for (stream, values) in numbers(n) {
                // The last token has seen all, and is asked.
                let width: usize = stream.dims.iter().product();
                let last = &values[values.len() - width..];
                let shown: Vec<String> = last.iter().map(|x| format!("{x:.3}")).collect();
                anstream::println!("  {:<8} {}", stream.name, shown.join(" "));
            }
            continue;
        }
        anstream::println!("  tokens   {}", line(&task, &sample.tokens));
        anstream::println!("  targets  {}", line(&task, &sample.targets));
    }
    Ok(())
}

/// The text that ships with the examples, where it is near.
fn shipped() -> Option<PathBuf> {
    let path = PathBuf::from("examples/data/tinyshakespeare.txt");
    path.exists().then_some(path)
}

fn list(as_json: bool) {
    if as_json {
        let one = |e: &tasks::Entry| json!({ "task": e.name, "about": e.about, "published": e.anchors });
        let all: Vec<_> = TASKS.iter().map(one).collect();
        anstream::println!("{}", json!(all));
        return;
    }
    for entry in TASKS {
        anstream::println!("{:<20} {}", entry.name, entry.about);
    }
    anstream::println!(
        "\nnestor task NAME --sample 3 shows one; nestor train FILE --task NAME learns it"
    );
}

/// Tokens as people read them; where nothing is asked stands a dot.
fn line(task: &Task, tokens: &[i32]) -> String {
    let text = matches!(task.words, tasks::Words::Bytes);
    let asked = tokens.contains(&IGNORE);
    if text && asked {
        let word =
            |t: &i32| if *t == IGNORE { "\u{b7}".to_owned() } else { task.word(*t) };
        let all: Vec<String> = tokens.iter().map(word).collect();
        let first = all.iter().position(|w| w != "\u{b7}").unwrap_or(0);
        return format!("... {}", all[first..].concat().trim_end_matches('\u{b7}'));
    }
    if text {
        return tokens.iter().map(|t| task.word(*t)).collect();
    }
    let width = tokens
        .iter()
        .map(|t| if *t == IGNORE { 1 } else { task.word(*t).chars().count() });
    let width = width.max().unwrap_or(1).max(3);
    let word = |t: &i32| {
        let word = if *t == IGNORE { ".".to_owned() } else { task.word(*t) };
        format!("{word:>width$}")
    };
    tokens.iter().map(word).collect::<Vec<_>>().join(" ")
}
