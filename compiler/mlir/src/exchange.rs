//! Tiles whose parts are exchanged: within a line of shared memory, by the number of its row, whoever touches them. So numbers
//! that are touched at a time, of rows below one another, lie in different banks.

/// Bytes of a line: all banks once.
pub const LINE: i64 = 128;
const LINE_BITS: u32 = LINE.trailing_zeros();

/// How the parts of a tile's lines are exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The bit at which a row's number begins in that of a byte.
    row: u32,
    /// The bit at which a part's does.
    part: u32,
}

impl Exchange {
    /// Of rows of so many bytes, a power of two, by parts of so many.
    pub fn of(row: i64, part: i64) -> Self {
        Self { row: row.trailing_zeros().max(LINE_BITS), part: part.trailing_zeros() }
    }
    /// Bytes of a part.
    pub fn part(self) -> i64 {
        1 << self.part
    }
    /// How far the bits of a row's number that are exchanged by are moved down, to where a part's are, and which those are.
    pub fn moved(self) -> (u32, i64) {
        (self.row - self.part, LINE - self.part())
    }
    /// Bytes after which the same parts are exchanged again.
    pub fn period(self) -> i64 {
        (LINE / self.part()) << self.row
    }
    /// Where a byte lies.
    pub fn byte(self, n: i64) -> i64 {
        let (down, bits) = self.moved();
        n ^ ((n >> down) & bits)
    }
}

/// By tile: how its parts are exchanged; nothing where they are not.
pub type Exchanged = Vec<Option<Exchange>>;
