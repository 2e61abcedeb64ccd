//! Memories drawn over all axes: every form that applies, interpreted and as machine code in
//! float64 and float32, is the derived walk token by token, forward and gradients; and that walk is
//! the definition.
//!
//! `NESTOR_COMBINATIONS=10000 cargo test --release --workspace --test combinations` draws as many;
//! `NESTOR_FIRST=5000` begins at another seed, `NESTOR_PROGRESS=50` says how far it is.

use nestor_tests::agreement::{Judged, judge};
use nestor_tests::combination::{self, draw};
use nestor_tests::spec::Specs;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Draws that once failed.
const KEPT: &[u64] = &[
    18, 1038, 1053, 1047, 10291, 10302, 10435, 40139, 40385, 40673, 41132, 41137, 50571,
    60409, 71864, 73389,
];
/// How many are drawn where nothing else is asked for.
const COUNT: u64 = 24;
/// Draws that are parsed together: the library is parsed with them.
const TOGETHER: usize = 50;

/// What was found so far.
#[derive(Default)]
struct Found {
    forms: BTreeMap<String, usize>,
    done: usize,
    wrong: Vec<String>,
}

impl Found {
    fn take(&mut self, seed: u64, text: &str, judged: Result<Judged, String>) {
        self.done += 1;
        let mut one = |what: String| *self.forms.entry(what).or_default() += 1;
        match judged {
            Ok(Judged::Same { forms, single, defined }) => {
                forms.iter().for_each(|f| one((*f).to_owned()));
                one(if single { "in float32" } else { "in float64 alone" }.to_owned());
                if !defined {
                    one("but for the definition, which leaves float64".to_owned());
                }
            }
            Ok(Judged::Refused(code)) => one(format!("refused, {code}")),
            Ok(Judged::Unbounded) => one("without bounds".to_owned()),
            Err(what) => {
                eprintln!("seed {seed}: {what}\n{text}");
                self.wrong.push(format!("seed {seed}: {what}"));
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

#[test]
fn every_form_of_drawn_memories_is_their_definition() {
    let (asked, first) = (number("NESTOR_COMBINATIONS"), number("NESTOR_FIRST"));
    let (count, first) = (asked.unwrap_or(COUNT), first.unwrap_or(0));
    let progress = number("NESTOR_PROGRESS");
    let seeds: Vec<u64> = KEPT.iter().copied().chain(first..first + count).collect();
    let groups: Vec<&[u64]> =
        seeds.chunks(TOGETHER.min(seeds.len().div_ceil(2))).collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let draws: Vec<_> = group.iter().map(|s| draw(*s)).collect();
                    let texts = draws.iter().map(|d| d.text.as_str());
                    let text: String =
                        std::iter::once(combination::OWN).chain(texts).collect();
                    let specs = Specs::of("drawn", &text);
                    assert!(specs.found.is_empty(), "{}", specs.render(&specs.found));
                    for draw in &draws {
                        let judged = std::panic::catch_unwind(|| judge(draw, &specs));
                        let judged = judged.unwrap_or_else(|_| Err("panics".to_owned()));
                        let mut found =
                            found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.take(draw.seed, &draw.text, judged);
                        if progress.is_some_and(|n| found.done.is_multiple_of(n as usize))
                        {
                            eprintln!(
                                "{} of {}, up to seed {}: {} wrong; {:?}",
                                found.done,
                                seeds.len(),
                                draw.seed,
                                found.wrong.len(),
                                found.forms
                            );
                        }
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{:?}", found.forms);
    let wrong = &found.wrong;
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let forms = ["affine", "dual", "rowwise", "sequential"];
    assert!(forms.iter().all(|f| found.forms.contains_key(*f)), "only {:?}", found.forms);
}
