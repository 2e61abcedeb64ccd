//! Sizes. A dimension is a number, or one of the few quantities known only at run time: the batch
//! `B`, the length `T`, the tokens before the call, and the number of chunks a sequence is cut
//! into. A new length therefore never means a new program.
//!
//! Chunks are aligned to absolute positions: a call that starts at position `t0` has
//! `t0 mod C` rows of its first chunk before its first token, so that a call in two parts meets
//! the same boundaries as one call on the joined sequence.
//!
//! What happens every N tokens has sizes of its own: a call sees the ticks whose last token it has,
//! `(t0 mod N + T) / N` of them, after `t0 / N` before it.

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
    /// `T:n`, ticks of every n tokens that this call completes.
    Ticks(usize),
    /// `P:n`, ticks of the calls before.
    TicksPast(usize),
    /// `P+T:n`, all ticks up to the end of this call.
    TicksWhole(usize),
    /// `T/c:n`: chunks of `c` ticks of every n tokens that this call touches.
    TickChunks {
        /// The clock.
        every: usize,
        /// Ticks of a chunk.
        chunk: usize,
    },
}

impl Dim {
    /// Ticks of every so many tokens: `T` for every token.
    pub fn time(every: usize) -> Self {
        if every == 1 { Dim::Time } else { Dim::Ticks(every) }
    }
    /// Ticks of the calls before.
    pub fn past(every: usize) -> Self {
        if every == 1 { Dim::Past } else { Dim::TicksPast(every) }
    }
    /// All ticks up to the end of this call.
    pub fn whole(every: usize) -> Self {
        if every == 1 { Dim::Whole } else { Dim::TicksWhole(every) }
    }
    /// The dimension that this is to the tokens, and how many tokens a tick of its clock has.
    pub fn of_tokens(self) -> (Self, usize) {
        match self {
            Dim::Ticks(n) => (Dim::Time, n),
            Dim::TicksPast(n) => (Dim::Past, n),
            Dim::TicksWhole(n) => (Dim::Whole, n),
            Dim::TickChunks { every, chunk } => (Dim::Chunks(chunk), every),
            Dim::Fixed(_)
            | Dim::Batch
            | Dim::Time
            | Dim::Past
            | Dim::Whole
            | Dim::Samples
            | Dim::Chunks(_) => (self, 1),
        }
    }
    /// How many tokens a tick has, where this is the ticks of this call.
    pub fn ticks_of(self) -> Option<usize> {
        let (dim, every) = self.of_tokens();
        (dim == Dim::Time).then_some(every)
    }
    /// Chunks of `c` of the ticks of this call.
    pub fn chunks(self, chunk: usize) -> Option<Self> {
        Some(match self.ticks_of()? {
            1 => Dim::Chunks(chunk),
            every => Dim::TickChunks { every, chunk },
        })
    }
    /// The number, where it is known at compile time.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(n),
            Dim::Batch
            | Dim::Time
            | Dim::Past
            | Dim::Whole
            | Dim::Samples
            | Dim::Chunks(_)
            | Dim::Ticks(_)
            | Dim::TicksPast(_)
            | Dim::TicksWhole(_)
            | Dim::TickChunks { .. } => None,
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
            Dim::Ticks(n) => sizes.every(n).time,
            Dim::TicksPast(n) => sizes.every(n).start,
            Dim::TicksWhole(n) => Dim::Whole.size(&sizes.every(n)),
            Dim::TickChunks { every, chunk } => {
                Dim::Chunks(chunk).size(&sizes.every(every))
            }
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
            Dim::Ticks(n) => write!(f, "T:{n}"),
            Dim::TicksPast(n) => write!(f, "P:{n}"),
            Dim::TicksWhole(n) => write!(f, "P+T:{n}"),
            Dim::TickChunks { every, chunk } => write!(f, "T/{chunk}:{every}"),
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
    /// What each is below on a device, where kernels count in 32 bits what is known to fit.
    pub const BELOW: usize = 1 << 30;

    /// The first of them that is not, with its name.
    pub fn too_large(&self) -> Option<(&'static str, usize)> {
        let all = [("B", self.batch), ("T", self.time), ("t0", self.start)];
        all.into_iter().find(|(_, n)| *n >= Self::BELOW)
    }

    /// The call as what happens every so many tokens sees it.
    #[must_use]
    pub fn every(&self, tokens: usize) -> Self {
        let time = (self.start % tokens + self.time) / tokens;
        Self { batch: self.batch, time, start: self.start / tokens }
    }
    /// Rows of the first chunk of `c` tokens that lie before this call.
    pub fn phase(&self, c: usize) -> usize {
        self.start % c
    }
}
