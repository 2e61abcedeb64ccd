//! MAD's recall tasks and compression (Poli et al. 2024): recall in context, with noise, with keys
//! of several symbols, and reconstruction from one state.
//!
//! The recall tasks are learned from next tokens; what is asked of held-out sequences is the
//! value of a key that was there before.

use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, below, distinct,
};
use crate::train::rng::Stream;
use std::collections::BTreeMap;

pub(super) const RECALL: Entry = Entry {
    name: "mad-recall",
    about: "pairs of a key and a value: the value of a key that returns",
    anchors: "MAD (Poli et al. 2024) through Atlas, average of the six: Transformer 75.5, Gated \
              DeltaNet 71.0, Titans 76.4, Atlas 79.5",
    open: recall,
};

pub(super) const NOISY: Entry = Entry {
    name: "mad-noisy",
    about: "recall with pairs of noise in between",
    anchors: "Nested Learning, table 4, recall tasks: Hope 100, Titans 100",
    open: noisy,
};

pub(super) const FUZZY: Entry = Entry {
    name: "mad-fuzzy",
    about: "recall with keys and values of one to three symbols",
    anchors: "Nested Learning, table 4: Hope 52.1, Titans 50.0",
    open: fuzzy,
};

pub(super) const COMPRESSION: Entry = Entry {
    name: "mad-compression",
    about: "every token again, from the state at the last token alone (the model must have that \
            bottleneck: read the last position, add positions, decode)",
    anchors: "Nested Learning, table 4: Hope 51.2, Titans 49.8",
    open: compression,
};

fn recall(o: &mut Options) -> Result<Task, TaskError> {
    pairs(o, 16, 0, 0.0)
}

fn noisy(o: &mut Options) -> Result<Task, TaskError> {
    pairs(o, 32, 16, 0.2)
}

/// What is asked to learn: the next token; nothing follows the last.
fn next_tokens(tokens: &[i32]) -> Vec<i32> {
    tokens.iter().skip(1).copied().chain([IGNORE]).collect()
}

fn pairs(
    o: &mut Options,
    vocabulary: usize,
    noise: usize,
    share: f64,
) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", vocabulary)?;
    let length = o.whole("length", 128)?;
    let (noise, share) = if noise > 0 {
        (o.whole("noise", noise)?, o.number("share", share))
    } else {
        (0, 0.0)
    };
    o.demand(length % 2 == 0 && length >= 4, "`length` is even, 4 or more")?;
    o.demand(noise + 4 <= vocabulary, "`vocab` holds keys and values beside the noise")?;
    o.demand((0.0..1.0).contains(&share), "`share` lies from 0 up to, not including, 1")?;
    let real = vocabulary - noise;
    let mut task = Task::new(vocabulary, length, move |part, _, stream| {
        let half = real / 2;
        let slots = length / 2 - 1;
        let always = below(stream, slots);
        let mut held: BTreeMap<usize, usize> = BTreeMap::new();
        let mut tokens = Vec::with_capacity(length);
        let mut targets = vec![IGNORE; length];
        for slot in 0..slots {
            let quiet = slot == always || noise == 0 || stream.uniform() >= share;
            if !quiet {
                tokens.extend([0; 2].map(|_| (real + below(stream, noise)) as i32));
                continue;
            }
            let key = below(stream, half);
            if let Some(value) = held.get(&key) {
                targets[tokens.len()] = *value as i32;
            }
            let fresh = half + below(stream, real - half);
            let value = *held.entry(key).or_insert(fresh);
            tokens.extend([key as i32, value as i32]);
        }
        let keys: Vec<(usize, usize)> = held.into_iter().collect();
        let (key, value) = keys[below(stream, keys.len())];
        targets[tokens.len()] = value as i32;
        tokens.extend([key as i32, value as i32]);
        if part == Part::Train {
            targets = next_tokens(&tokens);
        }
        Sample { tokens, targets }
    });
    task.chance = 1.0 / (real - real / 2) as f64;
    task.size = Size { rows: 32, steps: 800, test: 256 };
    Ok(task)
}

/// A tuple without repeated symbol.
fn tuple(stream: &mut Stream, size: usize, from: usize, count: usize) -> Vec<i32> {
    distinct(stream, count, size).into_iter().map(|s| (from + s) as i32).collect()
}

fn fuzzy(o: &mut Options) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", 16)?;
    let length = o.whole("length", 128)?;
    let most = o.whole("motif", 3)?;
    let pad = vocabulary.saturating_sub(1);
    let half = pad / 2;
    o.demand(most >= 1 && half > most, "`vocab` holds keys of `motif` symbols")?;
    o.demand(length >= 6 * most, "`length` holds three pairs of tuples")?;
    let mut task = Task::new(vocabulary, length, move |part, _, stream| {
        let key_of = |stream: &mut Stream| {
            let size = if part == Part::Test { most } else { 1 + below(stream, most) };
            tuple(stream, size, 0, half)
        };
        let value_of = |stream: &mut Stream| {
            let size = 1 + below(stream, most);
            tuple(stream, size, half, pad - half)
        };
        let probe = (key_of(stream), value_of(stream));
        let room = length - 2 * (probe.0.len() + probe.1.len());
        let mut held: BTreeMap<Vec<i32>, Vec<i32>> = BTreeMap::new();
        let (mut all, mut used) = (Vec::new(), 0);
        loop {
            let key = key_of(stream);
            let fresh = value_of(stream);
            if key == probe.0 {
                continue;
            }
            let value = held.entry(key.clone()).or_insert(fresh).clone();
            used += key.len() + value.len();
            if used > room {
                break;
            }
            all.push((key, value));
        }
        all.insert(below(stream, all.len() + 1), probe.clone());
        all.push(probe.clone());
        let content: Vec<i32> =
            all.into_iter().flat_map(|(k, v)| [k, v].concat()).collect();
        let mut tokens = vec![pad as i32; length - content.len()];
        tokens.extend(content);
        let mut targets = vec![IGNORE; length];
        match part {
            Part::Train => {
                targets = next_tokens(&tokens);
                let pads = tokens.iter().take_while(|t| **t == pad as i32).count();
                targets[..pads].fill(IGNORE);
            }
            Part::Test => {
                let first = length - probe.1.len();
                targets[first - 1..length - 1].copy_from_slice(&tokens[first..]);
            }
        }
        Sample { tokens, targets }
    });
    task.chance = 1.0 / (pad - half) as f64;
    task.size = Size { rows: 32, steps: 800, test: 256 };
    Ok(task)
}

fn compression(o: &mut Options) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", 16)?;
    let length = o.whole("length", 32)?;
    o.demand(vocabulary >= 3 && length >= 2, "`vocab` is 3 or more, `length` 2 or more")?;
    let mut task = Task::new(vocabulary, length, move |_, _, stream| {
        let mut tokens: Vec<i32> =
            (1..length).map(|_| below(stream, vocabulary - 1) as i32).collect();
        let mut targets = tokens.clone();
        tokens.push(vocabulary as i32 - 1);
        targets.push(IGNORE);
        Sample { tokens, targets }
    });
    task.metric = Metric::Accuracy;
    task.chance = 1.0 / (vocabulary - 1) as f64;
    task.size = Size { rows: 64, steps: 1500, test: 256 };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, each_of, solved};
    use super::*;

    /// What followed the last time that this stood at an even place.
    fn lookup(s: &Sample) -> Vec<i32> {
        let before =
            |p: usize| (0..p).step_by(2).rev().find(|q| s.tokens[*q] == s.tokens[p]);
        (0..s.tokens.len()).map(|p| before(p).map_or(0, |q| s.tokens[q + 1])).collect()
    }

    #[test]
    fn recall_asks_for_every_key_that_returns() {
        solved("mad-recall", lookup);
        solved("mad-noisy", lookup);
        each("mad-recall", |_, s| {
            let returns = (0..s.tokens.len())
                .step_by(2)
                .filter(|p| (0..*p).step_by(2).any(|q| s.tokens[q] == s.tokens[*p]));
            assert_eq!(asked(s), returns.count());
            assert!(s.targets[126] != IGNORE, "the last pair's key was seen");
            assert!(s.tokens.iter().step_by(2).all(|t| *t < 8));
            assert!(s.tokens.iter().skip(1).step_by(2).all(|t| (8..16).contains(t)));
        });
    }

    #[test]
    fn noise_comes_in_pairs_at_its_share() {
        let (mut noise, mut slots) = (0, 0);
        each("mad-noisy:share=0.4", |_, s| {
            for pair in s.tokens[..126].chunks(2) {
                assert_eq!(pair[0] >= 16, pair[1] >= 16);
                noise += usize::from(pair[0] >= 16);
                slots += 1;
            }
        });
        // One slot of 63 is always real.
        let share = noise as f64 / slots as f64;
        assert!((share - 0.4 * 62.0 / 63.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn learning_is_from_next_tokens() {
        for text in ["mad-recall", "mad-noisy", "mad-fuzzy"] {
            each_of(text, Part::Train, |_, s| {
                for p in 1..s.tokens.len() {
                    assert!([IGNORE, s.tokens[p]].contains(&s.targets[p - 1]));
                }
                // The fuzzy one begins with some padding.
                assert!(asked(s) > s.tokens.len() - 16);
            });
        }
    }

    #[test]
    fn a_fuzzy_probe_is_planted_once() {
        let key = |t: i32| (0..7).contains(&t);
        each("mad-fuzzy", |_, s| {
            let end = s.targets.iter().position(|t| *t != IGNORE).unwrap();
            let probe = &s.tokens[end - 2..=end];
            let planted = (2..end)
                .filter(|p| s.tokens[p - 2..=*p] == *probe && !key(s.tokens[p + 1]));
            assert_eq!(planted.count(), 1);
            assert!((1..=3).contains(&asked(s)));
        });
        solved("mad-fuzzy", |s| {
            let end = s.targets.iter().position(|t| *t != IGNORE).unwrap();
            let probe = &s.tokens[end - 2..=end];
            let at = (2..end).find(|p| s.tokens[p - 2..=*p] == *probe).unwrap();
            let mut out = vec![0; s.tokens.len()];
            let value = s.tokens[at + 1..].iter().take_while(|t| !key(**t));
            for (n, t) in value.enumerate() {
                if end + n < out.len() {
                    out[end + n] = *t;
                }
            }
            out
        });
    }

    #[test]
    fn compression_asks_for_every_token() {
        each("mad-compression", |_, s| {
            assert_eq!(s.tokens.iter().position(|t| *t == 15), Some(31));
            assert_eq!(s.targets[..31], s.tokens[..31]);
            assert_eq!(s.targets[31], IGNORE);
        });
        solved("mad-compression", |s| s.tokens.clone());
    }
}
