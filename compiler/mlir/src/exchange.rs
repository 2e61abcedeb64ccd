//! Tiles whose parts are exchanged: within a line of shared memory, by the number of its row, whoever touches them. So numbers
//! that are touched at a time, of rows below one another, lie in different banks.
//!
//! Where groups of warps read a tile themselves (`emit/groups`), no row is longer than a line: a wide tile's columns lie in planes one
//! behind the other, each of all rows and a line wide.

/// Bytes of a line: all banks once.
pub const LINE: i64 = 128;
const LINE_BITS: u32 = LINE.trailing_zeros();
/// Rows after which the same parts are exchanged again, at least.
pub const EIGHT: i64 = 8;

/// How the parts of a tile's lines are exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The bit at which a row's number begins in that of a byte.
    row: u32,
    /// The bit at which a part's does.
    part: u32,
    /// Rows of a plane, where the tile lies in planes.
    lines: Option<i64>,
}

impl Exchange {
    /// Of rows of so many bytes, a power of two, by parts of so many.
    pub fn of(row: i64, part: i64) -> Self {
        let row = row.trailing_zeros().max(LINE_BITS);
        Self { row, part: part.trailing_zeros(), lines: None }
    }
    /// The same in planes of so many rows, a multiple of eight.
    pub fn in_planes(self, lines: i64) -> Self {
        Self { lines: Some(lines), ..self }
    }
    /// Whether rows are lines one behind the other.
    pub fn is_of_lines(self) -> bool {
        self.row == LINE_BITS || self.lines.is_some()
    }
    /// Bytes of a part.
    pub fn part(self) -> i64 {
        1 << self.part
    }
    /// Bytes between a line and that of the next row.
    pub fn pitch(self) -> i64 {
        if self.lines.is_some() { LINE } else { 1 << self.row }
    }
    /// Bytes between a line and the next one of its row.
    pub fn plane(self) -> i64 {
        self.lines.map_or(LINE, |lines| lines * LINE)
    }
    /// The bit at which a row's number begins, and the lines of a row, where the tile lies in planes.
    pub fn planes(self) -> Option<(u32, i64)> {
        self.lines.map(|_| (self.row, 1 << (self.row - LINE_BITS)))
    }
    /// How far the bits of a row's number that are exchanged by are moved down, to where a part's are, and which those are.
    pub fn moved(self) -> (u32, i64) {
        (self.pitch().trailing_zeros() - self.part, LINE - self.part())
    }
    /// Bytes after which the same parts are exchanged again.
    pub fn period(self) -> i64 {
        (LINE / self.part()) << self.row
    }
    /// How far apart bytes lie that are so many periods apart.
    pub fn of_periods(self, bytes: i64) -> i64 {
        (bytes >> self.row) * self.pitch()
    }
    /// Where a byte lies.
    pub fn byte(self, n: i64) -> i64 {
        let (down, bits) = self.moved();
        let n = match self.planes() {
            None => n,
            Some((row, count)) => {
                let plane = (n >> LINE_BITS) & (count - 1);
                (n >> row) * LINE + n % LINE + plane * self.plane()
            }
        };
        n ^ ((n >> down) & bits)
    }
}

/// By tile: how its parts are exchanged; nothing where they are not.
pub type Exchanged = Vec<Option<Exchange>>;

#[cfg(test)]
mod tests {
    use super::{Exchange, LINE};

    /// Sixteen rows of so many bytes, plain and in planes.
    fn all() -> impl Iterator<Item = (i64, Exchange)> {
        [128, 256, 512].into_iter().flat_map(|row| {
            let plain = Exchange::of(row, 16);
            [(row, plain), (row, plain.in_planes(16))]
        })
    }

    #[test]
    fn every_byte_has_a_place_of_its_own() {
        for (row, exchange) in all() {
            let mut places: Vec<i64> = (0..16 * row).map(|n| exchange.byte(n)).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..16 * row), "{exchange:?}");
        }
    }

    #[test]
    fn lines_of_planes_are_exchanged_as_their_addresses_say() {
        for (row, exchange) in all().filter(|(_, x)| x.is_of_lines()) {
            for n in 0..16 * row {
                let (line, column) = (n / row, n % row);
                let there = column / LINE * 16 * LINE + line * LINE + column % LINE;
                assert_eq!(exchange.byte(n), there ^ ((there >> 7 & 7) << 4));
            }
        }
    }

    #[test]
    fn periods_are_exchanged_alike() {
        for (row, exchange) in all() {
            let period = exchange.period();
            for n in 0..16 * row - period {
                let further = exchange.byte(n + period) - exchange.byte(n);
                assert_eq!(further, exchange.of_periods(period));
            }
        }
    }
}
