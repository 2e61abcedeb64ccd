//! The data of a run: what it learns from, and what is held out.
//!
//! The last tenth (by bytes of text, before any tokenizer) is held out unless asked otherwise.
//! Training batches are windows at random places; the batch of step `s` depends on the seed and
//! on `s` alone, so nothing about sampling has to be saved. Validation goes through the held-out
//! tokens once in consecutive windows: the last token of a window is the first of the next, so
//! that every token but the first is predicted exactly once (a rest shorter than a window is
//! left out).

use super::files::{Files, ReadError};
use super::rng::Stream;
use super::tokens::{Codec, TokenFile};
use super::{Batch, RowTally};
use std::io;
use std::path::{Path, PathBuf};

/// Where data comes from.
#[derive(Clone, Debug)]
pub struct DataOptions {
    /// A file, or a folder of files.
    pub path: PathBuf,
    /// A `tokenizer.json`; bytes without.
    pub tokenizer: Option<PathBuf>,
    /// The fraction held out, from the end; zero for none.
    pub validation: f64,
    /// The folder where tokens are kept.
    pub cache: PathBuf,
}

/// The data of a run.
#[derive(Debug)]
pub struct Corpus {
    /// What turns its text into tokens.
    pub codec: Codec,
    /// What it is, for the record of a run.
    pub identity: DataIdentity,
    tokens: Tokens,
    train: u64,
    validation: u64,
    validation_bytes: u64,
}

/// What must be the same when a run is resumed.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct DataIdentity {
    /// Where the data was.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The hash of its content.
    pub hash: String,
    /// The hash of the tokenizer; none for bytes.
    pub tokenizer: Option<String>,
    /// The fraction held out.
    pub validation: f64,
    /// The task, where batches are drawn from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// What a run learns from and is measured on.
pub trait Source {
    /// Whether each part has at least one sequence that predicts `length` tokens.
    ///
    /// # Errors
    /// Where one has none.
    fn check_length(&self, length: usize) -> Result<(), DataError>;

    /// Tokens to learn from.
    fn train_tokens(&self) -> u64;

    /// Tokens held out.
    fn validation_tokens(&self) -> u64;

    /// The training batch of a step; see [`Source::check_length`].
    ///
    /// # Errors
    /// Where data cannot be read.
    fn train_batch(
        &self,
        seed: u64,
        step: u64,
        rows: usize,
        length: usize,
    ) -> Result<Batch, DataError>;

    /// How many validation batches there are.
    fn validation_batches(&self, rows: usize, length: usize) -> u64;

    /// A validation batch, below [`Source::validation_batches`]; the last may have fewer rows.
    ///
    /// # Errors
    /// Where data cannot be read.
    fn validation_batch(
        &self,
        index: u64,
        rows: usize,
        length: usize,
    ) -> Result<Batch, DataError>;

    /// Bits a byte of held-out text, from nats a token; for bytes the two differ by ln 2 alone.
    /// None where nothing is held out, or where tokens are no text.
    fn bits_per_byte(&self, nats_per_token: f64) -> Option<f64>;

    /// The name and the value of the score of all held-out rows, where there is one beside the loss.
    fn score(&self, _rows: &[RowTally]) -> Option<(&'static str, f64)> {
        None
    }

    /// What is said beside the score.
    fn beside(&self, _rows: &[RowTally]) -> Option<(&'static str, f64)> {
        None
    }

    /// Whether what is asked differs from the next token, or is not asked everywhere.
    fn masked(&self) -> bool {
        false
    }
}

#[derive(Debug)]
enum Tokens {
    Bytes(Files),
    File(TokenFile),
}

/// What can be wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is nothing at the path.
    #[error("there is no data at {}: give `--data` a text file or a folder of them", path.display())]
    Absent {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("the data at {} is empty: give `--data` a file with text or a folder of them", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// A part has not one whole sequence.
    #[error(
        "the {part} part of {} has {tokens} tokens, fewer than one sequence of {} (length {length} and the token after it): give more data, or shorter sequences with `--length`",
        path.display(), length + 1
    )]
    Short {
        /// The path.
        path: PathBuf,
        /// `training` or `validation`.
        part: &'static str,
        /// How many tokens it has.
        tokens: u64,
        /// The length of a sequence.
        length: usize,
    },
    /// The fraction held out makes no sense.
    #[error(
        "a validation part of {0} is not possible: it lies from 0 up to, not including, 1"
    )]
    Fraction(f64),
    /// A tokenizer needs text.
    #[error(
        "{} is not text: byte {offset} is not UTF-8; without a tokenizer any bytes will do",
        path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first bad byte.
        offset: u64,
    },
    /// The tokenizer cannot be used.
    #[error("cannot use the tokenizer {}: {why}; give a Hugging Face `tokenizer.json`", path.display())]
    Tokenizer {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The tokenizer refused a text.
    #[error("the tokenizer failed: {why}")]
    Encode {
        /// What it said.
        why: String,
    },
    /// The tokens cannot be kept.
    #[error("cannot keep tokens in {}: {source}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A task has its own length.
    #[error(
        "the task's sequences have {wanted} tokens, not {length}: set its option `length`"
    )]
    TaskLength {
        /// What was asked for.
        length: usize,
        /// What the task has.
        wanted: usize,
    },
    /// The data cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Corpus {
    /// Opens data and, with a tokenizer, makes or finds its tokens.
    pub fn open(options: &DataOptions) -> Result<Self, DataError> {
        let path = || options.path.clone();
        if !(0.0..1.0).contains(&options.validation) {
            return Err(DataError::Fraction(options.validation));
        }
        let text =
            Files::open(&options.path).map_err(|error| match error.source.kind() {
                io::ErrorKind::NotFound => DataError::Absent { path: error.path },
                _ => DataError::Read(error),
            })?;
        if text.length() == 0 {
            return Err(DataError::Empty { path: path() });
        }
        let codec = Codec::open(options.tokenizer.as_deref())?;
        let hash = text.hash()?;
        let held_out = (text.length() as f64 * options.validation) as u64;
        let mut cut = text.length() - held_out;
        let bytes = text.length();
        let (tokens, train, validation, tokenizer) = match &codec {
            Codec::Bytes => (Tokens::Bytes(text), cut, held_out, None),
            Codec::Tokenizer(_, tokenizer_hash) => {
                cut = character_start(&text, cut)?;
                std::fs::create_dir_all(&options.cache).map_err(|source| {
                    DataError::Cache { path: options.cache.clone(), source }
                })?;
                let file = TokenFile::prepare(&text, &hash, cut, &codec, &options.cache)?;
                let (train, validation) = (file.train, file.validation);
                (Tokens::File(file), train, validation, Some(tokenizer_hash.clone()))
            }
        };
        let validation_bytes = bytes - cut;
        let identity = DataIdentity {
            path: path(),
            bytes,
            hash,
            tokenizer,
            validation: options.validation,
            task: None,
        };
        Ok(Self { codec, identity, tokens, train, validation, validation_bytes })
    }

    /// All tokens, those to learn from first.
    pub fn tokens(&self) -> u64 {
        self.train + self.validation
    }

    /// Reads tokens from any place on.
    ///
    /// # Errors
    /// Where there are not so many, or they cannot be read.
    pub fn read(&self, start: u64, out: &mut [i32]) -> Result<(), DataError> {
        match &self.tokens {
            Tokens::Bytes(files) => {
                let mut bytes = vec![0; out.len()];
                files.read(start, &mut bytes)?;
                out.iter_mut().zip(bytes).for_each(|(t, b)| *t = i32::from(b));
                Ok(())
            }
            Tokens::File(file) => file.read(start, out),
        }
    }
}

impl Source for Corpus {
    fn train_tokens(&self) -> u64 {
        self.train
    }

    fn validation_tokens(&self) -> u64 {
        self.validation
    }

    fn check_length(&self, length: usize) -> Result<(), DataError> {
        let parts = [("training", self.train), ("validation", self.validation)];
        for (part, tokens) in parts {
            let wanted = part == "training" || self.identity.validation > 0.0;
            if wanted && tokens <= length as u64 {
                let path = self.identity.path.clone();
                return Err(DataError::Short { path, part, tokens, length });
            }
        }
        Ok(())
    }

    fn train_batch(
        &self,
        seed: u64,
        step: u64,
        rows: usize,
        length: usize,
    ) -> Result<Batch, DataError> {
        let mut places = Stream::new(seed, "training batches").fork(step);
        let mut tokens = vec![0; rows * (length + 1)];
        for row in tokens.chunks_exact_mut(length + 1) {
            self.read(places.below(self.train - length as u64), row)?;
        }
        Ok(Batch::windows(rows, length, &tokens))
    }

    fn validation_batches(&self, rows: usize, length: usize) -> u64 {
        (self.validation.saturating_sub(1) / length as u64).div_ceil(rows as u64)
    }

    fn validation_batch(
        &self,
        index: u64,
        rows: usize,
        length: usize,
    ) -> Result<Batch, DataError> {
        let windows = self.validation.saturating_sub(1) / length as u64;
        let first = index * rows as u64;
        let rows = windows.saturating_sub(first).min(rows as u64) as usize;
        let mut tokens = vec![0; rows * (length + 1)];
        for (row, window) in tokens.chunks_exact_mut(length + 1).zip(first..) {
            self.read(self.train + window * length as u64, row)?;
        }
        Ok(Batch::windows(rows, length, &tokens))
    }

    fn bits_per_byte(&self, nats_per_token: f64) -> Option<f64> {
        (self.validation_bytes > 0).then(|| {
            let tokens_per_byte = self.validation as f64 / self.validation_bytes as f64;
            nats_per_token * tokens_per_byte / std::f64::consts::LN_2
        })
    }
}

/// The start of the character that byte `at` lies in.
fn character_start(text: &Files, mut at: u64) -> Result<u64, DataError> {
    let mut byte = [0];
    while at > 0 && at < text.length() {
        text.read(at, &mut byte)?;
        if byte[0] & 0xc0 != 0x80 {
            break;
        }
        at -= 1;
    }
    Ok(at)
}

/// The default folder for tokens: next to the runs.
pub fn cache_beside(runs: &Path) -> PathBuf {
    runs.join("cache")
}
