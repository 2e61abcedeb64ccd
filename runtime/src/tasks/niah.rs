//! A needle in a haystack, RULER's (Hsieh et al. 2024; `scripts/data/synthetic/niah.py`): magic
//! values hidden in text, asked for at its end. S-NIAH-1, -2 and -3 are `niah-1`, `-2`, `-3`.
//!
//! A token is a byte. The haystack is as long as `length` allows; the value's bytes are asked,
//! each after the true ones before it. The score is RULER's: the share of the values asked for
//! that are found, each as a whole. RULER's question and instructions take 360 bytes; for small
//! models of bytes `brief=1` leaves them out and asks in the needle's own words.

use super::haystack::{Kind, NOISE, among_lines, among_sentences};
use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, Words, ask,
    below, data, padded,
};
use crate::train::rng::Stream;
use std::sync::Arc;

/// What the needles lie in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hay {
    Noise,
    Text,
    Needles,
}

#[derive(Clone, Copy)]
struct Kinds {
    hay: Hay,
    key: Kind,
    value: Kind,
    /// Keys in the text.
    keys: usize,
    /// Values of each.
    values: usize,
    /// Keys asked for.
    asked: usize,
    length: usize,
    /// Whether the needle's own words are the question.
    brief: bool,
}

macro_rules! needle {
    ($constant:ident, $name:literal, $about:literal, $anchors:literal, $hay:ident $key:ident $value:ident $keys:literal $values:literal $asked:literal $length:literal) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: $anchors,
            open: |o| {
                open(
                    o,
                    Kinds {
                        hay: Hay::$hay,
                        key: Kind::$key,
                        value: Kind::$value,
                        keys: $keys,
                        values: $values,
                        asked: $asked,
                        length: $length,
                        brief: false,
                    },
                )
            },
        };
    };
}

needle!(SINGLE_1, "niah-1", "one number hidden in a sentence that repeats",
    "Titans, table 2, 2K/4K/8K/16K: LMM 99.8/98.4/98.2/96.2, Mamba2 98.6/61.4/31.0/5.4, DeltaNet 96.8/98.8/98.6/71.4",
    Noise Word Number 1 1 1 512);
needle!(SINGLE_2, "niah-2", "one number hidden in text",
    "Titans, table 2, 2K/4K/8K/16K: LMM 100/99.8/93.4/80.2, Mamba2 98.4/55.8/14.2/0, DeltaNet 47.2/15.4/12.8/5.4",
    Text Word Number 1 1 1 512);
needle!(SINGLE_3, "niah-3", "one identifier hidden in text",
    "Titans, table 2, 2K/4K/8K/16K: LMM 90.4/89.4/85.8/80.6, Mamba2 42.2/4.2/0/0, DeltaNet 46.2/20.0/1.6/0",
    Text Word Uuid 1 1 1 512);
needle!(MULTI_KEY_1, "niah-multikey-1", "one of four numbers hidden in text",
    "Nested Learning, table 1, 4K/8K/16K: Hope 29.4/24.8/14.8, Titans 26.4/23.6/8.2, Transformer 79.4/83.0/61.4",
    Text Word Number 4 1 1 768);
needle!(MULTI_KEY_2, "niah-multikey-2", "one number among as many as fit",
    "RULER (Hsieh et al. 2024) has it for large models alone", Needles Word Number 1 1 1 768);
needle!(MULTI_KEY_3, "niah-multikey-3", "one identifier among as many as fit",
    "RULER (Hsieh et al. 2024) has it for large models alone", Needles Uuid Uuid 1 1 1 1024);
needle!(MULTI_VALUE, "niah-multivalue", "four numbers of one key",
    "Nested Learning, table 1, 4K/8K/16K: Hope 31.4/17.2/11.4, Titans 24.6/15.1/8.2, Transformer 37.5/34.1/21.5",
    Text Word Number 1 4 1 768);
needle!(MULTI_QUERY, "niah-multiquery", "the numbers of four keys",
    "Nested Learning, table 1, 4K/8K/16K: Hope 31.7/24.8/14.2, Titans 22.8/19.8/9.4, Transformer 58.9/48.0/29.8",
    Text Word Number 4 1 4 768);

fn open(o: &mut Options, mut kinds: Kinds) -> Result<Task, TaskError> {
    kinds.brief = o.whole("brief", 0)? > 0;
    o.demand(
        !kinds.brief || kinds.asked * kinds.values == 1,
        "`brief` is for tasks that ask for one value",
    )?;
    let length = o.whole("length", kinds.length)?;
    let test_length = o.whole("test_length", length)?;
    let words = match kinds.hay {
        Hay::Text => data::words(o)?,
        Hay::Noise | Hay::Needles => vec![],
    };
    let words = Arc::new(words);
    // What the question takes with its needles, at the most.
    let least = bare(kinds);
    o.demand(
        length.min(test_length) >= least,
        format!("`length` is {least} bytes or more: the question alone takes as many"),
    )?;
    let mut task = Task::new(256, length, move |part, _, stream| {
        let room = if part == Part::Test { test_length } else { length };
        padded(draw(kinds, &words, room, stream), room, 0)
    });
    task.test_length = test_length;
    task.metric = Metric::Answers;
    task.words = Words::Bytes;
    task.size = Size { rows: 8, steps: 2000, test: 100 };
    Ok(task)
}

/// The longest that a question with its needles can be.
fn bare(kinds: Kinds) -> usize {
    let mut stream = Stream::new(0, "longest");
    let most = |s: &mut Stream| {
        let fixed = Fixed::draw(kinds, s);
        fixed.whole(&fixed.needles.join("\n")).0.len()
    };
    (0..64).map(|_| most(&mut stream)).max().unwrap_or(0) + 32
}

/// Everything of a sample but its haystack.
struct Fixed {
    needles: Vec<String>,
    before: String,
    after: String,
    answers: Vec<String>,
}

impl Fixed {
    fn draw(k: Kinds, stream: &mut Stream) -> Self {
        let keys = k.key.several(stream, k.keys);
        let values: Vec<Vec<String>> =
            (0..k.keys).map(|_| k.value.several(stream, k.values)).collect();
        let plural = k.value.plural();
        let mut placed: Vec<(usize, &String)> = values
            .iter()
            .enumerate()
            .flat_map(|(n, v)| v.iter().map(move |v| (n, v)))
            .collect();
        shuffle(&mut placed);
        let needles =
            placed.iter().map(|(n, value)| needle(plural, &keys[*n], value)).collect();
        let asked = &keys[..k.asked];
        let query = match asked {
            [one] => one.clone(),
            [most @ .., last] => format!("{}, and {last}", most.join(", ")),
            [] => String::new(),
        };
        // Keys in the order of the question, values of a key in the order of the text.
        let of = |key: usize| placed.iter().filter(move |(n, _)| *n == key);
        let answers: Vec<String> =
            (0..k.asked).flat_map(|key| of(key).map(|(_, v)| (*v).clone())).collect();
        if k.brief {
            let after = format!("\nOne of the special magic {plural} for {query} is:");
            return Self { needles, before: String::new(), after, answers };
        }
        let several = k.asked * k.values > 1;
        let before = single(
            &format!(
                "Some special magic {plural} are hidden within the following text. Make sure to \
                 memorize it. I will quiz you about the {plural} afterwards.\n"
            ),
            plural,
            several,
        );
        let after = single(
            &format!(
                "\nWhat are all the special magic {plural} for QUERY mentioned in the provided \
                 text? The special magic {plural} for QUERY mentioned in the provided text are"
            ),
            plural,
            several,
        );
        // The key is filled in last: "are" may stand in it.
        let after = after.replace("QUERY", &query);
        Self { needles, before, after, answers }
    }

    /// The text with its answers, and for each answer where it begins.
    fn whole(&self, context: &str) -> (String, Vec<usize>) {
        let mut text = format!("{}{context}{}", self.before, self.after);
        let mut starts = Vec::new();
        for (n, answer) in self.answers.iter().enumerate() {
            text.push_str(if n == 0 { " " } else { ", " });
            starts.push(text.len());
            text.push_str(answer);
        }
        (text, starts)
    }
}

fn needle(plural: &str, key: &str, value: &str) -> String {
    format!("One of the special magic {plural} for {key} is: {value}.")
}

/// RULER's way from its text for several values to that for one.
fn single(text: &str, plural: &str, several: bool) -> String {
    if several {
        return text.to_owned();
    }
    let one = text.replace("Some", "A").replace("are all", "is").replace("are", "is");
    one.replace(plural, plural.strip_suffix('s').unwrap_or(plural))
}

/// The fixed seed of RULER's order of needles.
fn shuffle<T>(needles: &mut [T]) {
    let mut stream = Stream::new(42, "needles");
    for i in (1..needles.len()).rev() {
        needles.swap(i, below(&mut stream, i + 1));
    }
}

fn draw(k: Kinds, words: &[String], length: usize, stream: &mut Stream) -> Sample {
    let fixed = Fixed::draw(k, stream);
    let start = if words.is_empty() { 0 } else { below(stream, words.len()) };
    let seed = stream.next_u64();
    // The same places and distractors at every size, so that sizes can be compared.
    let context = |n: usize| {
        let mut stream = Stream::new(seed, "context");
        match k.hay {
            Hay::Noise => {
                among_lines(&mut stream, vec![NOISE.to_owned(); n], &fixed.needles)
            }
            Hay::Text => among_sentences(&mut stream, words, start, n, &fixed.needles),
            Hay::Needles => {
                let other = |s: &mut Stream| {
                    let key = loop {
                        let key = k.key.draw(s);
                        if !fixed.after.contains(&key) {
                            break key;
                        }
                    };
                    needle(k.value.plural(), &key, &k.value.draw(s))
                };
                let mut others = stream.fork(1);
                let lines = (0..n).map(|_| other(&mut others)).collect();
                among_lines(&mut stream, lines, &fixed.needles)
            }
        }
    };
    let fits = |n: usize| fixed.whole(&context(n)).0.len() <= length;
    let (mut low, mut high) = (0, length / 2);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if fits(middle) { low = middle } else { high = middle }
    }
    let (text, starts) = fixed.whole(&context(low));
    let tokens: Vec<i32> = text.bytes().map(i32::from).collect();
    let mut targets = vec![IGNORE; tokens.len()];
    for (start, answer) in starts.into_iter().zip(&fixed.answers) {
        ask(&mut targets, &tokens, start..start + answer.len());
    }
    Sample { tokens, targets }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, each_over, laid, solved, text_of};
    use super::*;

    /// Every task of this file.
    const ALL: [&str; 8] = [
        "niah-1",
        "niah-2",
        "niah-3",
        "niah-multikey-1",
        "niah-multikey-2",
        "niah-multikey-3",
        "niah-multivalue",
        "niah-multiquery",
    ];

    /// The keys of the question, and what the text before it says of each.
    fn looked_up(text: &str) -> Vec<&str> {
        let (body, end) = text.split_once("\nWhat ").unwrap();
        let query = end.split_once(" for ").unwrap().1;
        let query = query.split_once(" mentioned").unwrap().0;
        let keys = query.split(", ").map(|k| k.trim_start_matches("and "));
        keys.flat_map(|key| {
            let sentence = format!(" for {key} is: ");
            let places: Vec<usize> =
                body.match_indices(&sentence).map(|(at, s)| at + s.len()).collect();
            places.into_iter().map(|at| body[at..].split('.').next().unwrap())
        })
        .collect()
    }

    #[test]
    fn looking_the_keys_up_solves_every_one() {
        for name in ALL {
            solved(name, |s| {
                let text = text_of(s);
                let several = text.contains("\nWhat are all");
                let end =
                    if several { "provided text are " } else { "provided text is " };
                let start = text.rfind(end).unwrap() + end.len();
                laid(s, start, &looked_up(&text[..start]).join(", "))
            });
        }
        // At other lengths, too, and with more text held out than learned from.
        for name in ["niah-1:length=400,test_length=1500", "niah-3:test_length=2000"] {
            solved(name, |s| {
                let text = text_of(s);
                let start = text.rfind("provided text is ").unwrap() + 17;
                laid(s, start, &looked_up(&text[..start]).join(", "))
            });
        }
    }

    #[test]
    fn in_brief_the_needle_asks_for_itself() {
        for name in ["niah-1", "niah-3", "niah-multikey-2"] {
            solved(&format!("{name}:brief=1,length=300,test_length=900"), |s| {
                let text = text_of(s);
                let (body, asked) = text.rsplit_once("\nOne of ").unwrap();
                let sentence = asked.split_once(" is: ").unwrap().0;
                let found = body.split_once(&format!("{sentence} is: ")).unwrap().1;
                let start = text.rfind(" is: ").unwrap() + 5;
                laid(s, start, found.split('.').next().unwrap())
            });
        }
        let said = super::super::open("niah-multiquery:brief=1", None).err().unwrap();
        assert!(said.to_string().contains("one value"), "{said}");
    }

    #[test]
    fn a_part_of_the_values_is_a_part_of_the_score() {
        // One of four values is known: a quarter.
        let task = super::super::open("niah-1", None).unwrap();
        assert_eq!(task.metric, Metric::Answers);
        let row = |whole: [bool; 4]| {
            let digit = |n: usize| (1.0, 0.5, whole[n / 9] || n % 9 != 3);
            let gap = (0.0, 0.0, false);
            crate::train::RowTally::of(
                (0..36).map(|n| if n % 9 > 6 { gap } else { digit(n) }),
            )
        };
        let rows = [row([true, false, false, false]), row([true, true, true, false])];
        assert_eq!((rows[0].answers, rows[0].whole, rows[0].asked), (4.0, 1.0, 28.0));
        assert_eq!((rows[0].right, rows[0].nats), (25.0, 14.0));
        assert_eq!(task.score(&rows), 0.5);
    }

    #[test]
    fn values_are_of_their_kind_and_lie_at_every_depth() {
        let mut depths = [0; 4];
        each("niah-3:test_length=3000", |_, s| {
            let text = text_of(s);
            let body = text.split("\nWhat ").next().unwrap();
            let value = looked_up(&text)[0];
            let parts: Vec<usize> = value.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert!(value.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
            assert!(
                value.as_bytes()[14] == b'4' && b"89ab".contains(&value.as_bytes()[19])
            );
            depths[(4 * body.find(value).unwrap() / body.len()).min(3)] += 1;
        });
        assert!(depths.iter().all(|n| *n > 2), "{depths:?}");
        each("niah-2", |_, s| {
            let value = looked_up(&text_of(s))[0].parse::<u32>().unwrap();
            assert!((1_000_000..10_000_000).contains(&value));
        });
    }

    #[test]
    fn one_needle_in_noise_is_asked_for_by_its_key() {
        each("niah-1", |task, s| {
            let text = text_of(s);
            assert!(text.starts_with("A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the number afterwards.\n"));
            let (body, end) =
                text.split_once("\nWhat is the special magic number for ").unwrap();
            let key = end.split(' ').next().unwrap();
            let sentence = format!("One of the special magic numbers for {key} is: ");
            assert_eq!(body.matches("One of the special magic").count(), 1);
            let value = &body[body.find(&sentence).unwrap() + sentence.len()..][..7];
            assert!(
                text.trim_end_matches('\0')
                    .ends_with(&format!("mentioned in the provided text is {value}"))
            );
            assert_eq!(asked(s), 7);
            assert_eq!(s.tokens.len(), task.length);
            assert!(body.contains(NOISE));
            let used = text.trim_end_matches('\0').len();
            assert!(used + NOISE.len() + 1 > task.length, "one more line would not fit");
        });
    }

    #[test]
    fn every_value_stands_in_the_text_once_before_it_is_asked() {
        let counts = [
            ("niah-2", 7, 1),
            ("niah-3", 36, 1),
            ("niah-multikey-1", 7, 4),
            ("niah-multivalue", 28, 4),
            ("niah-multiquery", 28, 4),
        ];
        for (name, bytes, needles) in counts {
            each_over(name, "She sat. He was there! It rained, they said. ", |_, s| {
                let text = text_of(s);
                let body = text.split("\nWhat ").next().unwrap();
                assert_eq!(asked(s), bytes, "{name}");
                assert_eq!(body.matches("One of the special magic").count(), needles);
                let answers: String = s
                    .targets
                    .iter()
                    .filter(|t| **t != IGNORE)
                    .map(|t| char::from(*t as u8))
                    .collect();
                let each = if bytes == 36 { 36 } else { 7 };
                for at in (0..bytes).step_by(each) {
                    assert_eq!(body.matches(&answers[at..at + each]).count(), 1);
                }
            });
        }
        for (name, bytes) in [("niah-multikey-2", 7), ("niah-multikey-3", 36)] {
            each(name, |_, s| {
                let text = text_of(s);
                assert_eq!(asked(s), bytes);
                assert!(text.matches("One of the special magic").count() >= 4);
                let asked_key =
                    text.split(" for ").last().unwrap().split(' ').next().unwrap();
                assert_eq!(text.matches(&format!("for {asked_key} is:")).count(), 1);
            });
        }
    }
}
