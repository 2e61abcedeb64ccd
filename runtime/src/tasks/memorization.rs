//! MAD's memorisation (Poli et al. 2024): a fixed random map from keys to values that is nowhere
//! in the sequence; it must be learned into the weights.
//!
//! The map is drawn once from seed 12345. A sequence is key, insert token, key, insert token ...;
//! the value is asked at the insert token.

use super::{Entry, IGNORE, Options, Sample, Size, Task, TaskError, below};
use crate::train::rng::Stream;

pub(super) const ENTRY: Entry = Entry {
    name: "mad-memorization",
    about: "facts that are in no sequence: a fixed map, learned into the weights",
    anchors: "Nested Learning, table 4: Hope 85.2, Titans 83.4",
    open,
};

/// The seed of the map, MAD's own.
const MAP: u64 = 12345;

fn map(keys: usize, first: usize, values: usize) -> Vec<i32> {
    let mut stream = Stream::new(MAP, "memorization");
    (0..keys).map(|_| (first + below(&mut stream, values)) as i32).collect()
}

fn open(o: &mut Options) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", 256)?;
    let length = o.whole("length", 32)?;
    o.demand(vocabulary >= 4, "`vocab` is 4 or more")?;
    o.demand(length % 2 == 0 && length >= 2, "`length` is even")?;
    let keys = (vocabulary - 1) / 2;
    let values = vocabulary - 1 - keys;
    let known = map(keys, keys, values);
    let insert = vocabulary as i32 - 1;
    let mut task = Task::new(vocabulary, length, move |_, _, stream| {
        let mut sample = Sample::default();
        for _ in 0..length / 2 {
            let key = below(stream, keys);
            sample.tokens.extend([key as i32, insert]);
            sample.targets.extend([IGNORE, known[key]]);
        }
        sample
    });
    task.chance = 1.0 / values as f64;
    task.examples = Some(256);
    task.size = Size { rows: 32, steps: 600, test: 256 };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{each, solved};
    use super::*;

    #[test]
    fn the_map_solves_it_and_is_always_the_same() {
        let known = map(127, 127, 128);
        assert_eq!(known.len(), 127);
        assert!(known.iter().all(|v| (127..255).contains(v)));
        solved("mad-memorization", |s| {
            (0..s.tokens.len())
                .map(|p| if p % 2 == 1 { known[s.tokens[p - 1] as usize] } else { 0 })
                .collect()
        });
        each("mad-memorization", |_, s| {
            assert!(s.tokens.iter().skip(1).step_by(2).all(|t| *t == 255));
            assert!(s.tokens.iter().step_by(2).all(|t| *t < 127));
        });
    }
}
