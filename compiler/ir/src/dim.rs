//! Sizes. A dimension is a number, or one of the few quantities known only at run time: the batch
//! `B`, the length `T`, the tokens before the call, and the number of chunks a sequence is cut
//! into. A new length therefore never means a new program.
//!
//! Chunks are aligned to absolute positions: a call that starts at position `t0` has
//! `t0 mod C` rows of its first chunk before its first token, so that a call in two parts meets
//! the same boundaries as one call on the joined sequence.

use std::fmt;

/// One dimension of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dim {
    /// A number known at compile time.
    Fixed(usize),
    /// `B`, sequences in the batch.
    Batch,
    /// `T`, tokens of this call.
    Time,
    /// `P`, tokens of the calls before: `t0`.
    Past,
    /// `P+T`, all tokens of the sequence up to the end of this call.
    Whole,
    /// `B*T`, all tokens of this call as rows of one matrix.
    Samples,
    /// `T/c`: chunks of `c` tokens that this call touches, `ceil((t0 mod c + T) / c)`.
    Chunks(usize),
}

impl Dim {
    /// The number, where it is known at compile time.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(n),
            Dim::Batch
            | Dim::Time
            | Dim::Past
            | Dim::Whole
            | Dim::Samples
            | Dim::Chunks(_) => None,
        }
    }
    /// The number at run time.
    pub fn size(self, sizes: &Sizes) -> usize {
        match self {
            Dim::Fixed(n) => n,
            Dim::Batch => sizes.batch,
            Dim::Time => sizes.time,
            Dim::Past => sizes.start,
            Dim::Whole => sizes.start + sizes.time,
            Dim::Samples => sizes.batch * sizes.time,
            Dim::Chunks(c) => (sizes.start % c + sizes.time).div_ceil(c),
        }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Dim::Fixed(n)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Batch => f.write_str("B"),
            Dim::Time => f.write_str("T"),
            Dim::Past => f.write_str("P"),
            Dim::Whole => f.write_str("P+T"),
            Dim::Samples => f.write_str("B*T"),
            Dim::Chunks(c) => write!(f, "T/{c}"),
        }
    }
}

/// What a call fixes: everything a program does not know when it is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// `B`.
    pub batch: usize,
    /// `T`.
    pub time: usize,
    /// `t0`, the absolute position of the call's first token in its sequence.
    pub start: usize,
}

impl Sizes {
    /// Rows of the first chunk of `c` tokens that lie before this call.
    pub fn phase(&self, c: usize) -> usize {
        self.start % c
    }
}
