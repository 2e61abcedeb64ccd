//! Multi-query associative recall (Arora et al. 2024, Zoology): pairs of a key and a value, then
//! every key once more, mostly soon; the value is asked on the key.
//!
//! Of `V` tokens, keys are `1..V/2`, values `V/2..V`, 0 fills. The context `k1 v1 ... kD vD` has
//! length `c`; after it `(T - c) / 2` slots of two tokens, slot `i` of weight `(i + 1)^(a - 1)`,
//! of which `D` different ones are drawn; key `j` stands at `c + 2 slot_j`. Fillers stay 0,
//! as in the paper's figure; with `fill=1` they are random tokens, as in its later code. *Forgetting*: after the pairs some keys are written again, each with
//! another value than it had; the last value is asked.

use super::{Entry, IGNORE, Options, Part, Sample, Size, Task, TaskError, distinct};
use crate::train::rng::Stream;

pub(super) const PLAIN: Entry = Entry {
    name: "mqar",
    about: "many keys are asked for the values they came with",
    anchors: "Zoology (Arora et al. 2024): attention 1.00 at every size; at T=256, D=64, d=64 \
              recurrent models without enough state lie far below",
    open: |o| open(o, 0),
};

pub(super) const FORGETTING: Entry = Entry {
    name: "mqar-forgetting",
    about: "some keys are written again: the last value is asked",
    anchors: "none published at this size",
    open: |o| open(o, 4),
};

#[derive(Clone, Copy)]
struct Shape {
    vocabulary: usize,
    length: usize,
    pairs: usize,
    again: usize,
    power: f64,
    random_fill: bool,
}

fn open(o: &mut Options, again: usize) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", 64)?;
    let length = o.whole("length", 32)?;
    let pairs = o.whole("pairs", 4)?;
    let again = if again > 0 { o.whole("again", again)? } else { 0 };
    let power = o.number("power", 0.01);
    let random_fill = o.whole("fill", 0)? != 0;
    o.demand(length % 2 == 0, "`length` is even")?;
    o.demand(vocabulary > length, "`vocab` is more than `length`")?;
    o.demand(
        vocabulary / 2 > pairs,
        "half of `vocab` holds more keys than there are `pairs`",
    )?;
    o.demand(
        2 * (pairs + again) + 2 * pairs <= length,
        "pairs and questions fit into `length`: 4 pairs + 2 again",
    )?;
    let shape = Shape { vocabulary, length, pairs, again, power, random_fill };
    let mut task =
        Task::new(vocabulary, length, move |_: Part, _, stream| draw(shape, stream));
    task.chance = 1.0 / (vocabulary - vocabulary / 2) as f64;
    task.size = Size { rows: 32, steps: 400, test: 256 };
    Ok(task)
}

fn draw(s: Shape, stream: &mut Stream) -> Sample {
    let half = s.vocabulary / 2;
    let values_in_all = s.vocabulary - half;
    let keys = distinct(stream, half - 1, s.pairs);
    let mut values = distinct(stream, values_in_all, s.pairs);
    let mut tokens = vec![0; s.length];
    let key = |j: usize| (keys[j] + 1) as i32;
    let mut at = 0;
    let mut write = |tokens: &mut Vec<i32>, key: i32, value: usize| {
        tokens[at] = key;
        tokens[at + 1] = (half + value) as i32;
        at += 2;
    };
    for (j, value) in values.iter().enumerate() {
        write(&mut tokens, key(j), *value);
    }
    for _ in 0..s.again {
        let j = super::below(stream, s.pairs);
        // Any value but the one it has.
        let other = super::below(stream, values_in_all - 1);
        values[j] = other + usize::from(other >= values[j]);
        write(&mut tokens, key(j), values[j]);
    }
    let context = 2 * (s.pairs + s.again);
    let mut targets = vec![IGNORE; s.length];
    let slots = weighted(stream, (s.length - context) / 2, s.pairs, s.power - 1.0);
    for (j, slot) in slots.into_iter().enumerate() {
        let place = context + 2 * slot;
        tokens[place] = key(j);
        targets[place] = (half + values[j]) as i32;
    }
    if s.random_fill {
        for token in tokens.iter_mut().filter(|t| **t == 0) {
            *token = super::below(stream, s.vocabulary) as i32;
        }
    }
    Sample { tokens, targets }
}

/// `count` different slots, each drawn by weight `(i + 1)^exponent` among those left.
fn weighted(
    stream: &mut Stream,
    slots: usize,
    count: usize,
    exponent: f64,
) -> Vec<usize> {
    let mut weights: Vec<f64> =
        (0..slots).map(|i| libm::pow((i + 1) as f64, exponent)).collect();
    (0..count)
        .map(|_| {
            let total: f64 = weights.iter().sum();
            let mut left = stream.uniform() * total;
            let free = |w: &[f64]| w.iter().rposition(|x| *x > 0.0).unwrap_or(0);
            let found = weights.iter().position(|w| {
                left -= w;
                *w > 0.0 && left < 0.0
            });
            let slot = found.unwrap_or_else(|| free(&weights));
            weights[slot] = 0.0;
            slot
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, solved};
    use super::*;

    #[test]
    fn every_key_is_asked_once_and_holds_its_value() {
        for (text, again) in [
            ("mqar:vocab=128,pairs=6,length=40", 0),
            ("mqar-forgetting:vocab=128,pairs=6,again=5,length=60", 5),
        ] {
            each(text, |task, sample| {
                assert_eq!(sample.tokens.len(), task.length);
                assert_eq!(asked(sample), 6);
                let context = 2 * (6 + again);
                for (place, target) in sample.targets.iter().enumerate() {
                    if *target != IGNORE {
                        assert!(place >= context && (place - context) % 2 == 0);
                        assert!((1..64).contains(&sample.tokens[place]));
                        assert!((64..128).contains(target));
                    }
                }
                let keys: Vec<i32> = (0..6).map(|j| sample.tokens[2 * j]).collect();
                let mut different = keys.clone();
                different.sort_unstable();
                different.dedup();
                assert_eq!(different.len(), 6);
            });
        }
    }

    #[test]
    fn looking_back_to_the_last_pair_solves_it() {
        for (text, context) in [("mqar", 8), ("mqar-forgetting", 16), ("mqar:fill=1", 8)]
        {
            solved(text, |s| {
                let look = |place: usize| {
                    (0..context)
                        .step_by(2)
                        .rev()
                        .find(|p| s.tokens[*p] == s.tokens[place])
                };
                (0..s.tokens.len())
                    .map(|place| look(place).map_or(0, |p| s.tokens[p + 1]))
                    .collect()
            });
        }
    }

    #[test]
    fn slots_are_drawn_by_their_weight() {
        let mut stream = Stream::new(1, "slots");
        let mut first = [0.0f64; 8];
        for _ in 0..20_000 {
            first[weighted(&mut stream, 8, 3, -0.99)[0]] += 1.0 / 20_000.0;
        }
        let total: f64 = (1..=8).map(|i| f64::from(i).powf(-0.99)).sum();
        for (i, share) in first.iter().enumerate() {
            let expected = ((i + 1) as f64).powf(-0.99) / total;
            assert!((share - expected).abs() < 0.015, "{i}: {share} {expected}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let wrong =
            |text: &str| super::super::open(text, None).err().map(|e| e.to_string());
        assert!(wrong("mqar:pairs=10").is_some_and(|e| e.contains("fit into")));
        assert!(wrong("mqar:pears=4").is_some_and(|e| e.contains("pairs=4")));
        assert!(wrong("mqra").is_some_and(|e| e.contains("did you mean `mqar`")));
    }
}
