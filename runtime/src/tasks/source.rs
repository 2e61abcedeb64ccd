//! A task as the data of a run: batches by seed and step, the same held-out samples for all.

use super::{Part, Task, TaskError};
use crate::train::data::{DataError, DataIdentity, Source};
use crate::train::rng::Stream;
use crate::train::{Batch, Numbers, RowTally};
use std::path::PathBuf;

/// The seed of held-out samples, whatever the seed of a run.
const HELD_OUT: u64 = 0x5eed;

/// A task that a run learns from.
pub struct TaskData {
    /// The task.
    pub task: Task,
    text: String,
    data: Option<PathBuf>,
}

impl TaskData {
    /// Opens a task by its text.
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn open(text: &str, data: Option<PathBuf>) -> Result<Self, TaskError> {
        let task = super::open(text, data.clone())?;
        Ok(Self { task, text: text.to_owned(), data })
    }

    /// What must be the same when a run is resumed: the task, and its data by a hash of samples.
    pub fn identity(&self) -> DataIdentity {
        let test = self.batch(Part::Test, &mut |row| self.test_stream(row), 4, 0);
        let numbers = test.numbers.iter().flat_map(|n| &n.values);
        let tokens: Vec<u8> = test
            .inputs
            .iter()
            .chain(&test.targets)
            .flat_map(|t| t.to_le_bytes())
            .chain(numbers.flat_map(|x| x.to_le_bytes()))
            .collect();
        use sha2::{Digest, Sha256};
        DataIdentity {
            path: self.data.clone().unwrap_or_default(),
            bytes: 0,
            hash: crate::train::sealed::hex(&Sha256::digest(&tokens)),
            tokenizer: None,
            validation: 0.0,
            task: Some(self.text.clone()),
        }
    }

    fn test_stream(&self, row: u64) -> Stream {
        Stream::new(HELD_OUT, "task held out").fork(row)
    }

    fn batch(
        &self,
        part: Part,
        stream: &mut dyn FnMut(u64) -> Stream,
        rows: usize,
        first: u64,
    ) -> Batch {
        let length =
            if part == Part::Test { self.task.test_length } else { self.task.length };
        let named = self.task.numbers.iter().flat_map(|n| {
            n.streams.iter().enumerate().map(|(k, s)| Numbers {
                name: s.name.to_owned(),
                dims: s.dims.clone(),
                values: vec![],
                target: k == n.target,
            })
        });
        let numbers = named.collect();
        let among = self.task.among.clone();
        let mut batch =
            Batch { rows, length, inputs: vec![], targets: vec![], numbers, among };
        for row in first..first + rows as u64 {
            let sample = self.task.sample(part, row as usize, &mut stream(row));
            let drawn = self.task.draw_numbers(part, row as usize, &mut stream(row));
            batch.numbers.iter_mut().zip(drawn).for_each(|(n, d)| n.values.extend(d));
            batch.inputs.extend(sample.tokens);
            batch.targets.extend(sample.targets);
        }
        batch
    }
}

impl Source for TaskData {
    fn check_length(&self, length: usize) -> Result<(), DataError> {
        if length == self.task.length {
            return Ok(());
        }
        Err(DataError::TaskLength { length, wanted: self.task.length })
    }

    fn train_tokens(&self) -> u64 {
        self.task.examples.map_or(u64::MAX, |n| n * self.task.length as u64)
    }

    fn validation_tokens(&self) -> u64 {
        (self.task.size.test * self.task.test_length) as u64
    }

    fn train_batch(
        &self,
        seed: u64,
        step: u64,
        rows: usize,
        _: usize,
    ) -> Result<Batch, DataError> {
        let places = Stream::new(seed, "task batches").fork(step);
        let samples = Stream::new(seed, "task samples");
        let mut stream = |row: u64| match self.task.examples {
            Some(n) => {
                samples.fork(((u128::from(places.at(row)) * u128::from(n)) >> 64) as u64)
            }
            None => places.fork(row),
        };
        Ok(self.batch(Part::Train, &mut stream, rows, 0))
    }

    fn validation_batches(&self, rows: usize, _: usize) -> u64 {
        self.task.size.test.div_ceil(rows) as u64
    }

    fn validation_batch(
        &self,
        index: u64,
        rows: usize,
        _: usize,
    ) -> Result<Batch, DataError> {
        let first = index * rows as u64;
        let left = (self.task.size.test as u64).saturating_sub(first);
        let rows = left.min(rows as u64) as usize;
        Ok(self.batch(Part::Test, &mut |row| self.test_stream(row), rows, first))
    }

    fn bits_per_byte(&self, nats: f64) -> Option<f64> {
        self.task.next.then(|| nats / std::f64::consts::LN_2)
    }

    fn score(&self, rows: &[RowTally]) -> Option<(&'static str, f64)> {
        Some((self.task.metric.name(), self.task.score(rows)))
    }

    fn beside(&self, rows: &[RowTally]) -> Option<(&'static str, f64)> {
        self.task.beside(rows)
    }

    fn masked(&self) -> bool {
        !self.task.next
    }
}
