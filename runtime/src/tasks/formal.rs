//! Formal languages (Bhattamishra, Ahuja and Goyal 2020, whose set-up Nested Learning uses): at
//! every token, which symbols may come next. A set of symbols, the end among them, is one target;
//! a string counts only where every one of its targets is right.
//!
//! Strings to learn from are of 2 to 50 symbols; `bin=1` measures on 51 to 100.

use super::Words;
use super::{Entry, Metric, Options, Part, Sample, Size, Task, TaskError, below, padded};
use crate::train::rng::Stream;

macro_rules! language {
    ($constant:ident, $name:literal, $about:literal, $anchors:literal, $kind:expr) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: $anchors,
            open: |o| open(o, $kind),
        };
    };
}

language!(
    PARITY,
    "parity",
    "strings with an even number of ones",
    "Nested Learning, table 5, bins 0/1: Hope, LSTM 100/100; DeltaNet 98.2/10.1; linear attention \
     78.1/0; Transformer 46.4/0",
    Language { names: &["0", "1"], draw: parity, next: next_parity }
);
language!(
    AA,
    "aa",
    "(aa)*: an even number of a",
    "Nested Learning, table 5, bins 0/1: Hope, LSTM 100/100; DeltaNet, linear attention, Transformer 0/0",
    Language {
        names: &["a"],
        draw: |s, n| repeated(s, n, &[0, 0]),
        next: |p| vec![0].into_iter().chain(end(p.len() % 2 == 0)).collect()
    }
);
language!(
    ABAB,
    "abab",
    "(abab)*",
    "Nested Learning, table 5, bins 0/1: Hope, LSTM 100/100; DeltaNet, linear attention, Transformer 0/0",
    Language {
        names: &["a", "b"],
        draw: |s, n| repeated(s, n, &[0, 1, 0, 1]),
        next: next_abab
    }
);
language!(
    AN_BN,
    "anbn",
    "a^n b^n",
    "Nested Learning, table 5: every model 100/100",
    Language {
        names: &["a", "b"],
        draw: |s, n| counted(s, n, 2),
        next: |p| next_counted(p, 2)
    }
);
language!(
    AN_BN_CN,
    "anbncn",
    "a^n b^n c^n",
    "Nested Learning, table 5: every model 100/100",
    Language {
        names: &["a", "b", "c"],
        draw: |s, n| counted(s, n, 3),
        next: |p| next_counted(p, 3)
    }
);
language!(
    SHUFFLE_2,
    "shuffle-2",
    "two bracket languages, shuffled",
    "Nested Learning, table 5: every model 100/100",
    Language { names: &["(", ")", "[", "]"], draw: shuffled, next: next_shuffled }
);

#[derive(Clone, Copy)]
struct Language {
    names: &'static [&'static str],
    /// A string of the language of about this many symbols.
    draw: fn(&mut Stream, usize) -> Vec<usize>,
    /// What may follow a beginning; [`END`] is the end.
    next: fn(&[usize]) -> Vec<usize>,
}

/// The end of a string.
const END: usize = usize::MAX;

fn end(holds: bool) -> Option<usize> {
    holds.then_some(END)
}

fn open(o: &mut Options, language: Language) -> Result<Task, TaskError> {
    let bin = o.whole("bin", 0)?;
    let length = o.whole("length", 50)?;
    o.demand(length >= 12, "`length` is 12 or more")?;
    o.demand(bin <= 1, "`bin` is 0 or 1")?;
    let kinds = language.names.len();
    let pad = kinds;
    let sets = 1 << (kinds + 1);
    let test_length = length * (bin + 1);
    let mut task = Task::new(sets.max(kinds + 1), length, move |part, _, stream| {
        let tested = part == Part::Test && bin == 1;
        let (low, high) = if tested { (length + 1, 2 * length) } else { (2, length) };
        let room = if part == Part::Test { test_length } else { length };
        let string = loop {
            let wanted = low + below(stream, high - low + 1);
            let string = (language.draw)(stream, wanted);
            if (low..=high).contains(&string.len()) {
                break string;
            }
        };
        let targets = (1..=string.len())
            .map(|n| set((language.next)(&string[..n]), kinds))
            .collect();
        let tokens = string.iter().map(|s| *s as i32).collect();
        padded(Sample { tokens, targets }, room, pad as i32)
    });
    task.test_length = test_length;
    task.metric = Metric::Sequences;
    task.chance = 0.0;
    task.size = Size { rows: 32, steps: 800, test: 256 };
    let names = language.names.iter().map(|n| (*n).to_owned());
    task.words = Words::Names(names.chain(["_".to_owned()]).collect());
    Ok(task)
}

/// A set of symbols as a number, the end as the bit above them.
fn set(symbols: Vec<usize>, kinds: usize) -> i32 {
    symbols.into_iter().map(|s| 1 << s.min(kinds)).sum()
}

fn parity(stream: &mut Stream, n: usize) -> Vec<usize> {
    let mut out: Vec<usize> = (1..n).map(|_| below(stream, 2)).collect();
    out.push(out.iter().sum::<usize>() % 2);
    out
}

fn next_parity(prefix: &[usize]) -> Vec<usize> {
    [0, 1].into_iter().chain(end(prefix.iter().sum::<usize>() % 2 == 0)).collect()
}

fn repeated(_: &mut Stream, n: usize, motif: &[usize]) -> Vec<usize> {
    let times = n.div_ceil(motif.len());
    motif.iter().copied().cycle().take(times * motif.len()).collect()
}

fn next_abab(prefix: &[usize]) -> Vec<usize> {
    [prefix.len() % 2].into_iter().chain(end(prefix.len().is_multiple_of(4))).collect()
}

fn counted(_: &mut Stream, n: usize, letters: usize) -> Vec<usize> {
    let each = (n / letters).max(1);
    (0..letters).flat_map(|l| std::iter::repeat_n(l, each)).collect()
}

fn next_counted(prefix: &[usize], letters: usize) -> Vec<usize> {
    let count = |l: usize| prefix.iter().filter(|x| **x == l).count();
    let (first, now) = (count(0), prefix.last().copied().unwrap_or(0));
    match now {
        0 if first > 0 => vec![0, 1],
        0 => vec![0],
        _ if count(now) < first => vec![now],
        _ if now + 1 < letters => vec![now + 1],
        _ => vec![END],
    }
}

/// Both depths wander; the string ends where both are zero.
fn shuffled(stream: &mut Stream, n: usize) -> Vec<usize> {
    let (mut out, mut depth) = (Vec::new(), [0usize; 2]);
    let whole = n / 2 * 2;
    while out.len() < whole {
        let open: usize = depth.iter().sum();
        let kind = below(stream, 2);
        let must_close = open >= whole - out.len();
        if must_close || (open > 0 && below(stream, 2) == 1) {
            let kind = if depth[kind] > 0 { kind } else { 1 - kind };
            depth[kind] -= 1;
            out.push(2 * kind + 1);
        } else {
            depth[kind] += 1;
            out.push(2 * kind);
        }
    }
    out
}

fn next_shuffled(prefix: &[usize]) -> Vec<usize> {
    let open = |kind: usize| {
        let count = |s: usize| prefix.iter().filter(|x| **x == s).count();
        count(2 * kind) > count(2 * kind + 1)
    };
    let closing = [0, 1].into_iter().filter(|k| open(*k)).map(|k| 2 * k + 1);
    [0, 2].into_iter().chain(closing).chain(end(!open(0) && !open(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::IGNORE;
    use super::super::tests::{each, solved};

    const LANGUAGES: [(&str, i32); 6] = [
        ("parity", 2),
        ("aa", 1),
        ("abab", 2),
        ("anbn", 2),
        ("anbncn", 3),
        ("shuffle-2", 4),
    ];

    /// Whether a beginning has an end that makes it a string of the language.
    fn begins(name: &str, s: &[i32]) -> bool {
        let count = |t: i32| s.iter().filter(|x| **x == t).count();
        let sorted = s.windows(2).all(|w| w[0] <= w[1]);
        match name {
            "parity" | "aa" => true,
            "abab" => s.iter().enumerate().all(|(i, t)| *t == i as i32 % 2),
            "anbn" => sorted && count(1) <= count(0),
            // A block may be shorter than the first only where it is the last one.
            "anbncn" => {
                let whole = count(2) == 0 || count(1) == count(0);
                sorted && whole && count(1) <= count(0) && count(2) <= count(0)
            }
            _ => (1..=s.len()).all(|n| {
                let count = |t: i32| s[..n].iter().filter(|x| **x == t).count();
                count(0) >= count(1) && count(2) >= count(3)
            }),
        }
    }

    #[test]
    fn what_may_follow_is_what_the_definition_allows() {
        for (name, kinds) in LANGUAGES {
            for bin in [0, 1] {
                solved(&format!("{name}:bin={bin}"), |s| {
                    let allowed = |n: usize| {
                        let string = &s.tokens[..n];
                        let follows = |x: &i32| begins(name, &[string, &[*x]].concat());
                        let set: i32 = (0..kinds).filter(follows).map(|x| 1 << x).sum();
                        set + (i32::from(member(name, string)) << kinds)
                    };
                    (1..=s.tokens.len())
                        .map(|n| if s.targets[n - 1] == IGNORE { 0 } else { allowed(n) })
                        .collect()
                });
            }
        }
    }

    /// Whether a string is of the language, by its definition.
    fn member(name: &str, s: &[i32]) -> bool {
        let count = |t: i32| s.iter().filter(|x| **x == t).count();
        let sorted = s.windows(2).all(|w| w[0] <= w[1]);
        match name {
            "parity" => count(1) % 2 == 0,
            "aa" => s.len().is_multiple_of(2),
            "abab" => {
                s.len().is_multiple_of(4)
                    && s.iter().enumerate().all(|(i, t)| *t == i as i32 % 2)
            }
            "anbn" => sorted && count(0) == count(1),
            "anbncn" => sorted && count(0) == count(1) && count(1) == count(2),
            _ => (0..2).all(|k| {
                let mut depth = 0;
                let step = |t: &i32| {
                    depth += i32::from(*t == 2 * k) - i32::from(*t == 2 * k + 1);
                    depth
                };
                let depths: Vec<i32> = s.iter().map(step).collect();
                depths.iter().all(|d| *d >= 0) && depths.last() == Some(&0)
            }),
        }
    }

    #[test]
    fn strings_are_of_the_language_and_their_ends_are_where_it_says() {
        for (name, kinds) in LANGUAGES {
            for bin in [0, 1] {
                each(&format!("{name}:bin={bin}"), |_, s| {
                    let n = s.targets.iter().filter(|t| **t != IGNORE).count();
                    let string = &s.tokens[..n];
                    assert!(member(name, string), "{name} {string:?}");
                    assert!(if bin == 1 {
                        (51..=100).contains(&n)
                    } else {
                        (2..=50).contains(&n)
                    });
                    for end in 1..=n {
                        let ends = s.targets[end - 1] >> kinds & 1 == 1;
                        assert_eq!(
                            ends,
                            member(name, &string[..end]),
                            "{name} {string:?} {end}"
                        );
                    }
                    for p in 1..n {
                        let allowed = s.targets[p - 1] >> string[p] & 1;
                        assert_eq!(allowed, 1, "{name} {string:?} {p}");
                    }
                });
            }
        }
    }
}
