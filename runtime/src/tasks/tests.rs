//! What tests of tasks share, and what holds for every task: samples fit the task's sizes, are
//! reproducible, an oracle scores 1, a guess scores its chance.

use super::*;

/// Samples that a property is checked on.
const SAMPLES: u64 = 40;

/// The task of a text, over a small text where it wants one.
fn opened(text: &str, content: Option<&str>) -> Task {
    let content =
        content.unwrap_or("It was so. She came late! Who knows? Nobody, he said. ");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, content.repeat(8000 / content.len() + 1)).unwrap();
    open(text, Some(path)).unwrap_or_else(|e| panic!("{e}"))
}

/// The task of a text, over a folder of these files.
pub(super) fn opened_in(text: &str, files: &[(&str, &str)]) -> Task {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    open(text, Some(folder.path().to_owned())).unwrap_or_else(|e| panic!("{e}"))
}

/// Checks held-out samples over these files.
pub(super) fn each_in(
    text: &str,
    files: &[(&str, &str)],
    mut check: impl FnMut(&Task, &Sample),
) {
    run(&opened_in(text, files), Part::Test, &mut check);
}

/// Tasks that need no folder of data.
fn alone() -> impl Iterator<Item = &'static Entry> {
    let over = [
        "babilong",
        "lambada",
        "forecast",
        "piqa",
        "hellaswag",
        "arc",
        "winogrande",
        "siqa",
        "copa",
        "dna",
        "banking77",
    ];
    TASKS.iter().filter(move |e| !over.iter().any(|o| e.name.starts_with(o)))
}

#[test]
fn data_that_is_not_there_is_said_with_what_it_is() {
    let known = alone().map(|e| e.name).collect::<Vec<_>>();
    let over = TASKS.iter().filter(|e| !known.contains(&e.name));
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in over {
        for data in [None, Some(folder.path().to_owned())] {
            let said = open(entry.name, data).err().expect("an error").to_string();
            assert!(said.contains("--data DIR") && said.contains(entry.name), "{said}");
        }
        count += 1;
    }
    assert_eq!(count + known.len(), TASKS.len());
    assert_eq!(count, 25);
}

pub(super) fn run(task: &Task, part: Part, check: &mut dyn FnMut(&Task, &Sample)) {
    for n in 0..SAMPLES {
        let sample = task.sample(part, n as usize, &mut Stream::new(7, "test").fork(n));
        check(task, &sample);
    }
}

/// Checks held-out samples.
pub(super) fn each(text: &str, mut check: impl FnMut(&Task, &Sample)) {
    run(&opened(text, None), Part::Test, &mut check);
}

/// Checks samples of a part.
pub(super) fn each_of(text: &str, part: Part, mut check: impl FnMut(&Task, &Sample)) {
    run(&opened(text, None), part, &mut check);
}

/// Checks held-out samples over this text.
pub(super) fn each_over(
    text: &str,
    content: &str,
    mut check: impl FnMut(&Task, &Sample),
) {
    run(&opened(text, Some(content)), Part::Test, &mut check);
}

/// How many targets are asked.
pub(super) fn asked(sample: &Sample) -> usize {
    sample.targets.iter().filter(|t| **t != IGNORE).count()
}

/// A sample of bytes as text.
pub(super) fn text_of(sample: &Sample) -> String {
    sample.tokens.iter().map(|t| char::from(*t as u8)).collect()
}

/// What is answered where this text stands from place `start` on: every byte at the one before.
pub(super) fn laid(sample: &Sample, start: usize, text: &str) -> Vec<i32> {
    let mut out = vec![0; sample.tokens.len()];
    for (at, byte) in text.bytes().enumerate() {
        if let Some(place) = out.get_mut(start + at - 1) {
            *place = i32::from(byte);
        }
    }
    out
}

/// What a forecast of every held-out window scores: from what was seen, how far, and what comes.
pub(super) fn forecast(
    task: &Task,
    guess: impl Fn(&[f32], usize, &[f32]) -> Vec<f32>,
) -> Vec<RowTally> {
    let numbers = task.numbers.as_ref().expect("numbers");
    let (patch, horizon) = (numbers.streams[0].dims[0], numbers.streams[3].dims[0]);
    let one = |index: usize| {
        let drawn = task.draw_numbers(Part::Test, index, &mut Stream::new(0, ""));
        let (seen, coming) = (&drawn[0], &drawn[3][(task.length - 1) * horizon..]);
        // Patches that touch are the look-back; where they overlap, the first rows of each are.
        let last = seen.len() - patch;
        let stride = task.sizes.iter().find(|s| s.0 == "stride").map_or(patch, |s| s.1);
        let mut whole: Vec<f32> =
            seen[..last].chunks(patch).flat_map(|p| p[..stride].to_vec()).collect();
        whole.extend(&seen[last..]);
        RowTally::foretold(coming, &guess(&whole, horizon, coming))
    };
    (0..task.size.test).map(one).collect()
}

fn tally(sample: &Sample, answer: &[i32]) -> RowTally {
    let pairs = sample.targets.iter().zip(answer);
    RowTally::of(pairs.map(|(t, a)| (f64::from(*t != IGNORE), 0.0, t == a)))
}

/// An oracle, which sees tokens (and where it is asked), is right everywhere.
pub(super) fn solved(text: &str, oracle: impl Fn(&Sample) -> Vec<i32>) {
    let task = opened(text, None);
    let mut rows = Vec::new();
    run(&task, Part::Test, &mut |_, sample| rows.push(tally(sample, &oracle(sample))));
    assert_eq!(task.score(&rows), 1.0, "{text}");
}

#[test]
fn samples_fit_what_their_task_says() {
    for entry in alone() {
        let task = opened(entry.name, None);
        for part in [Part::Train, Part::Test] {
            let length = if part == Part::Test { task.test_length } else { task.length };
            run(&task, part, &mut |task, s| {
                let known = |t: &i32| (0..task.vocabulary as i32).contains(t);
                assert_eq!(
                    (s.tokens.len(), s.targets.len()),
                    (length, length),
                    "{}",
                    entry.name
                );
                assert!(s.tokens.iter().all(known), "{}", entry.name);
                assert!(
                    s.targets.iter().all(|t| *t == IGNORE || known(t)),
                    "{}",
                    entry.name
                );
                assert!(asked(s) > 0, "{} asks nothing", entry.name);
                if task.next {
                    assert_eq!(s.tokens[1..], s.targets[..length - 1]);
                }
            });
            let draw = |seed| task.sample(part, 0, &mut Stream::new(seed, "again"));
            assert_eq!(draw(1), draw(1), "{}", entry.name);
            assert_ne!(
                (1..9).map(draw).collect::<Vec<_>>(),
                (11..19).map(draw).collect::<Vec<_>>(),
                "{}",
                entry.name
            );
        }
        assert!(!entry.about.is_empty() && !entry.anchors.is_empty());
    }
}

#[test]
fn guesses_score_their_chance() {
    for entry in alone() {
        let task = opened(entry.name, None);
        // Bits of a guess are those of the vocabulary.
        if task.metric == Metric::Bits {
            assert_eq!(task.chance, (task.vocabulary as f64).log2());
            continue;
        }
        // Longer answers are harder to guess, and slower to draw.
        let samples = if task.metric == Metric::Accuracy { 600 } else { 100 };
        // Guessed is among the range of what is ever the answer.
        let mut answers = std::collections::BTreeSet::new();
        for n in 0..samples {
            let s =
                task.sample(Part::Test, n, &mut Stream::new(3, "answers").fork(n as u64));
            answers.extend(s.targets.into_iter().filter(|t| *t != IGNORE));
        }
        let (first, last) = (answers.first().copied(), answers.last().copied());
        let answers: Vec<i32> = (first.unwrap()..=last.unwrap()).collect();
        let mut rows = Vec::new();
        let mut guess = Stream::new(5, "guess");
        for n in 0..samples {
            let s =
                task.sample(Part::Test, n, &mut Stream::new(4, "asked").fork(n as u64));
            let answer: Vec<i32> = s
                .targets
                .iter()
                .map(|_| answers[below(&mut guess, answers.len())])
                .collect();
            rows.push(tally(&s, &answer));
        }
        let asked: f64 = rows.iter().map(|r| r.asked).sum();
        let (score, chance) = (task.score(&rows), task.chance);
        if task.metric != Metric::Accuracy {
            assert!(score - chance < 0.02, "{}: {score} {chance}", entry.name);
            continue;
        }
        let spread = 5.0 * (chance * (1.0 - chance) / asked).sqrt();
        assert!((score - chance).abs() < spread, "{}: {score} {chance}", entry.name);
    }
}

#[test]
fn batches_depend_on_seed_and_step_and_held_out_ones_on_neither() {
    use crate::train::data::Source;
    let data = TaskData::open("mqar:test=5", None).unwrap();
    let batch = |seed, step| data.train_batch(seed, step, 4, 64).unwrap();
    assert_eq!(batch(1, 2), batch(1, 2));
    assert_ne!(batch(1, 2), batch(1, 3));
    assert_ne!(batch(1, 2), batch(2, 2));
    let rows: Vec<usize> = (0..data.validation_batches(2, 64))
        .map(|n| data.validation_batch(n, 2, 64).unwrap().rows)
        .collect();
    assert_eq!(rows, [2, 2, 1]);
    let few = TaskData::open("induction:examples=3", None).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..20 {
        let batch = few.train_batch(1, step, 4, 64).unwrap();
        seen.extend(batch.inputs.chunks(64).map(<[i32]>::to_vec));
    }
    assert_eq!(seen.len(), 3, "there are as many different samples as was said");
}
