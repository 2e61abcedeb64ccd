//! From text to tokens and back: bytes, or a Hugging Face `tokenizer.json`.
//!
//! A tokenizer runs once over the data; its tokens are kept in a file (two bytes each where the
//! vocabulary allows, else four) named by the hash of everything they depend on, and read by
//! position as bytes are. Text is handed to the tokenizer in pieces of about a mebibyte, cut
//! after a line's end where the next line starts with no space: the cuts depend on the text alone.

use super::data::DataError;
use super::durable;
use super::files::Files;
use super::sealed::hex;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// What turns text into tokens.
#[derive(Clone)]
pub enum Codec {
    /// A token is a byte.
    Bytes,
    /// A tokenizer, and the hash of its file.
    Tokenizer(Box<Tokenizer>, String),
}

/// Tokens of training text and, after them, of validation text, in a file.
#[derive(Debug)]
pub struct TokenFile {
    files: Files,
    width: u64,
    /// Tokens for training.
    pub train: u64,
    /// Tokens for validation.
    pub validation: u64,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes => f.write_str("Bytes"),
            Self::Tokenizer(_, hash) => write!(f, "Tokenizer({hash})"),
        }
    }
}

impl Codec {
    /// Bytes, or the tokenizer in this file.
    pub fn open(tokenizer: Option<&Path>) -> Result<Self, DataError> {
        let Some(path) = tokenizer else { return Ok(Self::Bytes) };
        let bad = |why: String| DataError::Tokenizer { path: path.to_path_buf(), why };
        let bytes = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
        let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| bad(e.to_string()))?;
        Ok(Self::Tokenizer(Box::new(tokenizer), hex(&Sha256::digest(&bytes))))
    }

    /// The hash of the tokenizer's file; none for bytes.
    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::Bytes => None,
            Self::Tokenizer(_, hash) => Some(hash),
        }
    }

    /// How many different tokens there are; every token is below it.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Tokenizer(tokenizer, _) => {
                let largest = tokenizer.get_vocab(true).into_values().max();
                largest.map_or(0, |id| id as usize + 1)
            }
        }
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, DataError> {
        match self {
            Self::Bytes => Ok(text.bytes().map(i32::from).collect()),
            Self::Tokenizer(tokenizer, _) => {
                let encoded = tokenizer
                    .encode_fast(text, false)
                    .map_err(|e| DataError::Encode { why: e.to_string() })?;
                Ok(encoded.get_ids().iter().map(|id| *id as i32).collect())
            }
        }
    }

    /// The text of tokens; what is not text becomes U+FFFD.
    pub fn decode(&self, tokens: &[i32]) -> String {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> = tokens.iter().map(|t| *t as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Self::Tokenizer(tokenizer, _) => {
                let ids: Vec<u32> = tokens.iter().map(|t| *t as u32).collect();
                tokenizer.decode(&ids, false).unwrap_or_default()
            }
        }
    }
}

/// Tokens as they come, as text as soon as whole characters are there.
pub struct Streamed<'c> {
    codec: &'c Codec,
    tokens: Vec<i32>,
    /// Tokens from here to `shown` are decoded again, since what a token says may depend on the
    /// one before it (a space, in many tokenizers).
    from: usize,
    shown: usize,
}

/// A character has four bytes at most, so more tokens than this are no beginning of one.
const LONGEST: usize = 4;

impl<'c> Streamed<'c> {
    /// A stream after tokens that were shown already.
    pub fn after(codec: &'c Codec, tokens: &[i32]) -> Self {
        let from = tokens.len().saturating_sub(LONGEST);
        Self {
            codec,
            tokens: tokens[from..].to_vec(),
            from: 0,
            shown: tokens.len() - from,
        }
    }

    /// What is to be shown now that this token is here.
    pub fn push(&mut self, token: i32) -> String {
        self.tokens.push(token);
        let now = self.codec.decode(&self.tokens[self.from..]);
        let waits = self.tokens.len() - self.shown < LONGEST;
        if now.ends_with('\u{fffd}') && waits { String::new() } else { self.show(&now) }
    }

    /// What was held back, at the end.
    pub fn rest(&mut self) -> String {
        let now = self.codec.decode(&self.tokens[self.from..]);
        self.show(&now)
    }

    fn show(&mut self, now: &str) -> String {
        let before = self.codec.decode(&self.tokens[self.from..self.shown]);
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        (self.from, self.shown) = (self.shown, self.tokens.len());
        new
    }
}

impl TokenFile {
    /// The tokens of `text[..cut]` and `text[cut..]`, from the cache in `folder` or made anew.
    pub fn prepare(
        text: &Files,
        text_hash: &str,
        cut: u64,
        codec: &Codec,
        folder: &Path,
    ) -> Result<Self, DataError> {
        let tokenizer_hash = match codec {
            Codec::Bytes => "bytes",
            Codec::Tokenizer(_, hash) => hash,
        };
        let key = format!("{MAGIC}\n{text_hash}\n{tokenizer_hash}\n{cut}");
        let name = format!("tokens-{}.bin", &hex(&Sha256::digest(&key))[..16]);
        let path = folder.join(name);
        if let Some(found) = Self::open(&path, &key) {
            return Ok(found);
        }
        make(text, cut, codec, &path, &key)?;
        Self::open(&path, &key).ok_or_else(|| DataError::Cache {
            path,
            source: io::Error::other("the file is not what was just written to it"),
        })
    }

    /// A whole token file made under this key; nothing where there is none.
    fn open(path: &Path, key: &str) -> Option<Self> {
        let files = Files::open(path).ok()?;
        let mut head = [0; HEAD as usize];
        let head_start = files.length().checked_sub(HEAD)?;
        files.read(head_start, &mut head).ok()?;
        let number = |at: usize| {
            u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"))
        };
        let (width, train, validation) = (number(0), number(8), number(16));
        let tokens = train.checked_add(validation)?.checked_mul(width)?;
        let whole = head[24..] == Sha256::digest(key)[..] && tokens == head_start;
        whole.then_some(Self { files, width, train, validation })
    }

    /// Reads tokens from token `start` on.
    pub fn read(&self, start: u64, out: &mut [i32]) -> Result<(), DataError> {
        let width = self.width as usize;
        let mut bytes = vec![0; out.len() * width];
        self.files.read(start * self.width, &mut bytes)?;
        for (token, piece) in out.iter_mut().zip(bytes.chunks_exact(width)) {
            *token = piece.iter().rev().fold(0, |all, byte| all << 8 | i32::from(*byte));
        }
        Ok(())
    }
}

/// Tokens come first; the head stands at the end, for the counts are known only then: width,
/// training tokens, validation tokens, hash of the key.
const HEAD: u64 = 3 * 8 + 32;
const MAGIC: &str = "nestor tokens 1";
const PIECE: u64 = 1 << 20;

fn make(
    text: &Files,
    cut: u64,
    codec: &Codec,
    path: &Path,
    key: &str,
) -> Result<(), DataError> {
    let width: usize = if codec.vocabulary() <= 1 << 16 { 2 } else { 4 };
    let mut failure = None;
    let written = durable::replace(path, &mut |out| {
        let mut counts = [0u64; 2];
        for (part, range) in [0..cut, cut..text.length()].into_iter().enumerate() {
            let tokens = &mut counts[part];
            let result = encode_range(text, range, codec, width, out, tokens);
            if let Err(error) = result {
                let source = io::Error::other("see the first failure");
                failure = Some(error);
                return Err(source);
            }
        }
        for number in [width as u64, counts[0], counts[1]] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&Sha256::digest(key))
    });
    match (failure, written) {
        (Some(Failure::Data(error)), _) => Err(error),
        (Some(Failure::Cache(source)), _) | (None, Err(source)) => {
            Err(DataError::Cache { path: path.to_owned(), source })
        }
        (None, Ok(())) => Ok(()),
    }
}

enum Failure {
    Data(DataError),
    Cache(io::Error),
}

fn encode_range(
    text: &Files,
    range: Range<u64>,
    codec: &Codec,
    width: usize,
    out: &mut dyn Write,
    count: &mut u64,
) -> Result<(), Failure> {
    let mut at = range.start;
    let mut bytes = Vec::new();
    let mut piece = PIECE;
    while at < range.end {
        let last = range.end - at <= piece;
        bytes.resize((range.end - at).min(piece) as usize, 0);
        text.read(at, &mut bytes).map_err(|e| Failure::Data(e.into()))?;
        let whole = match std::str::from_utf8(&bytes) {
            Ok(whole) => whole,
            Err(error) if error.error_len().is_none() && !last => {
                // The piece ends within a character.
                std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid so far")
            }
            Err(error) => {
                let at = at + error.valid_up_to() as u64;
                return Err(Failure::Data(not_text(text, at)));
            }
        };
        let end = if last { Some(whole.len()) } else { line_end(whole) };
        let Some(end) = end else {
            // No good cut in this piece: look further.
            piece *= 2;
            continue;
        };
        let tokens = codec.encode(&whole[..end]).map_err(Failure::Data)?;
        for token in &tokens {
            out.write_all(&token.to_le_bytes()[..width]).map_err(Failure::Cache)?;
        }
        *count += tokens.len() as u64;
        at += end as u64;
        piece = PIECE;
    }
    Ok(())
}

/// The last place after a line's end and before something that is no space.
fn line_end(text: &str) -> Option<usize> {
    text.rmatch_indices('\n')
        .map(|(at, _)| at + 1)
        .find(|at| text[*at..].chars().next().is_some_and(|c| !c.is_whitespace()))
}

fn not_text(text: &Files, at: u64) -> DataError {
    let (path, offset) = text
        .locate(at)
        .map_or((PathBuf::new(), at), |(path, offset)| (path.to_path_buf(), offset));
    DataError::NotText { path, offset }
}
