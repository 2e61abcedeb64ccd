//! Where entries of an operand lie in shared memory, told by patterns and parts as the book's pictures show them.

/// An operand in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Bytes from the base of shared memory.
    pub(crate) at: usize,
    /// Bytes that the swizzle is wide: 128, 64 or 32.
    pub(crate) width: usize,
    /// Whether rows of A, or columns of B, go along a line.
    pub(crate) turned: bool,
    pub(crate) leading: usize,
    pub(crate) stride: usize,
}

impl Place {
    /// Patterns of eight lines, side by side: for 64 lines at most where lines go along the sum.
    pub(crate) fn new(at: usize, width: usize, turned: bool) -> Self {
        let pattern = 8 * width;
        // Turned, the two patterns along the sum are neighbours.
        let leading = if turned { 2 * pattern } else { 0 };
        Self { at, width, turned, leading, stride: pattern }
    }

    /// The byte where an entry lies; `k` may go on behind the 16 of one product.
    pub(crate) fn byte(&self, mn: usize, k: usize) -> usize {
        let (pattern, line, along) = if self.turned {
            let patterns = mn / (self.width / 2) * self.leading + k / 8 * self.stride;
            (patterns, k % 8, mn % (self.width / 2))
        } else {
            (mn / 8 * self.stride, mn % 8, k)
        };
        let plain = self.at + pattern + line * self.width + 2 * along;
        // Of eight parts in 128 bytes some change places.
        let (row, part, rest) = (plain / 128, plain / 16 % 8, plain % 16);
        128 * row + 16 * (part ^ (row % (self.width / 16))) + rest
    }

    /// Writes entries, so many rows or columns by so many along the sum, as bfloat16.
    pub(crate) fn fill(
        &self,
        image: &mut [u8],
        [rows, depth]: [usize; 2],
        entry: impl Fn(usize, usize) -> f32,
    ) {
        for mn in 0..rows {
            for k in 0..depth {
                let number = (entry(mn, k).to_bits() >> 16) as u16;
                let byte = self.byte(mn, k);
                image[byte..byte + 2].copy_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Instructions that put its descriptor into a register, the start so many bytes on; `%rd5` is the base.
    pub(crate) fn descriptor(&self, register: &str, on: usize) -> String {
        let mode = [128, 64, 32].iter().position(|w| *w == self.width);
        let mode = mode.expect("a swizzle") as u64 + 1;
        let fields = (self.leading as u64 / 16) << 16 | (self.stride as u64 / 16) << 32;
        format!(
            "add.s64 {register}, %rd5, {};
            and.b64 {register}, {register}, 262143;
            shr.u64 {register}, {register}, 4;
            or.b64 {register}, {register}, {};\n",
            self.at + on,
            fields | mode << 62
        )
    }
}

/// Small whole numbers, other ones for each entry nearby.
pub(crate) fn left(row: usize, k: usize) -> f32 {
    ((row * 7 + k * 3 + row / 11) % 11) as f32 - 5.0
}

/// The same for B.
pub(crate) fn right(column: usize, k: usize) -> f32 {
    ((column * 5 + k * 2 + column / 13) % 13) as f32 - 6.0
}
