//! Descriptors of matrices in shared memory: where the entries of an operand of a product lie.
//!
//! An operand has 16 entries along the sum (k) for each row of A or column of B (mn). It lies in patterns of eight lines, each as long as the
//! swizzle is wide; in every line parts of 16 bytes change places by the number of the line. Swizzling goes by the address itself and
//! not by the distance from the start, so that a start within a pattern names a part of it.

use crate::module::SHARED;

/// Entries along the sum of one product.
pub(crate) const DEPTH: usize = 16;

/// What an address of shared memory is known by.
const ADDRESSES: u64 = 1 << 18;

/// By the swizzle's number: bytes of a line.
const WIDTHS: [Option<u64>; 4] = [None, Some(128), Some(64), Some(32)];

/// How an operand lies in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// Bytes from the base of shared memory.
    start: u64,
    /// Bytes to the next pattern: along mn where an operand is turned, and to the next eight of the other direction.
    leading: u64,
    stride: u64,
    /// Bytes of a line.
    width: u64,
    /// Whether mn is what goes along a line.
    turned: bool,
}

/// Eight numbers side by side: where they lie, and the first one's place in the operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) at: u64,
    pub(crate) mn: usize,
    pub(crate) k: usize,
}

impl Layout {
    /// Reads a descriptor; bits that belong to no field are not looked at.
    pub(crate) fn of(descriptor: u64, turned: bool) -> Result<Self, String> {
        let field = |from: u32, bits: u32| descriptor >> from & ((1 << bits) - 1);
        let bytes = |from: u32| field(from, 14) << 4;
        let outside = |what: &str| format!("a descriptor {what} is not of the subset");
        if field(49, 3) != 0 {
            return Err(outside("with a base offset"));
        }
        let width = WIDTHS[field(62, 2) as usize];
        let width = width.ok_or_else(|| outside("without swizzle"))?;
        // Shared memory begins higher here than in a device and may end behind all addresses that a descriptor can say. It is
        // smaller than these are many: only one place in it is meant.
        let start = bytes(0).wrapping_sub(SHARED) % ADDRESSES;
        Ok(Self { start, leading: bytes(16), stride: bytes(32), width, turned })
    }

    /// The parts that hold so many rows or columns behind the first ones.
    pub(crate) fn parts(self, from: usize, count: usize) -> impl Iterator<Item = Part> {
        (0..count * DEPTH / 8).map(move |n| {
            let (mn, k) = match self.turned {
                false => (from + n / 2, 8 * (n % 2)),
                true => (from + 8 * (n / DEPTH), n % DEPTH),
            };
            Part { at: self.place(mn as u64, k as u64), mn, k }
        })
    }

    /// Bytes from the base of shared memory to an entry.
    fn place(&self, mn: u64, k: u64) -> u64 {
        let Self { start, leading, stride, width, turned } = *self;
        let line = width / 2;
        let before = match turned {
            false => (mn % 8) * width + (mn / 8) * stride + k * 2,
            true => {
                (mn % line) * 2
                    + (mn / line) * leading
                    + (k % 8) * width
                    + (k / 8) * stride
            }
        };
        swizzled(start + before, width)
    }
}

/// Where a byte of a line goes: the number of its part is changed by that of the line. Shared memory begins at a multiple of every pattern,
/// so it is the same for addresses and for distances from its base.
pub(crate) fn swizzled(at: u64, width: u64) -> u64 {
    const { assert!(SHARED.is_multiple_of(1024)) };
    let parts = width / 16;
    at ^ ((at >> 7) & (parts - 1)) << 4
}

#[cfg(test)]
mod tests {
    use super::{Layout, Part, swizzled};
    use crate::module::SHARED;

    /// A descriptor of an operand at a distance from the base.
    fn descriptor(at: u64, leading: u64, stride: u64, mode: u64) -> u64 {
        let start = (SHARED + at) % (1 << 18);
        start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | mode << 62
    }

    fn layout(at: u64, strides: [u64; 2], mode: u64, turned: bool) -> Layout {
        let [leading, stride] = strides;
        Layout::of(descriptor(at, leading, stride, mode), turned)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn parts_of_a_line_change_places_by_its_number() {
        // The first part of every line of 128 bytes.
        let first: Vec<u64> = (0..9).map(|n| swizzled(128 * n, 128) % 128).collect();
        assert_eq!(first, [0, 16, 32, 48, 64, 80, 96, 112, 0]);
        // Two lines of 64 bytes have one number, and four of 32 bytes.
        let first: Vec<u64> = (0..9).map(|n| swizzled(64 * n, 64) % 64).collect();
        assert_eq!(first, [0, 0, 16, 16, 32, 32, 48, 48, 0]);
        let first: Vec<u64> = (0..9).map(|n| swizzled(32 * n, 32) % 32).collect();
        assert_eq!(first, [0, 0, 0, 0, 16, 16, 16, 16, 0]);
    }

    #[test]
    fn lines_go_along_the_sum_or_across_it() {
        let along = layout(0, [0, 1024], 1, false);
        assert_eq!(along.place(0, 8), 16);
        assert_eq!(along.place(1, 0), 128 + 16);
        assert_eq!(along.place(11, 9), 1024 + 3 * 128 + (16 ^ 48) + 2);
        let across = layout(0, [4096, 1024], 1, true);
        assert_eq!(across.place(9, 0), 18);
        assert_eq!(across.place(8, 1), 128);
        assert_eq!(across.place(65, 10), 4096 + 1024 + 2 * 128 + 32 + 2);
    }

    #[test]
    fn a_start_within_a_pattern_names_a_part_of_it() {
        let whole = layout(2048, [0, 1024], 1, false);
        let part = layout(2048 + 32, [0, 1024], 1, false);
        for mn in 0..16 {
            for k in 0..16 {
                assert_eq!(part.place(mn, k), whole.place(mn, k + 16), "{mn}, {k}");
            }
        }
        let whole = layout(0, [0, 1024], 1, true);
        let part = layout(32, [0, 1024], 1, true);
        for mn in 0..16 {
            for k in 0..16 {
                assert_eq!(part.place(mn, k), whole.place(mn + 16, k), "{mn}, {k}");
            }
        }
    }

    #[test]
    fn parts_are_all_entries_by_eights() {
        for turned in [false, true] {
            let all = layout(512, [2048, 512], 2, turned);
            let parts: Vec<Part> = all.parts(32, 16).collect();
            assert_eq!(parts.len(), 32);
            for Part { at, mn, k } in parts {
                assert!(at.is_multiple_of(16));
                for n in 0..8 {
                    let step = if turned { [n, 0] } else { [0, n] };
                    let entry = all.place(mn as u64 + step[0], k as u64 + step[1]);
                    assert_eq!(entry, at + 2 * n);
                }
            }
        }
    }

    #[test]
    fn addresses_behind_what_a_descriptor_can_say_are_found() {
        let end = 227 * 1024 - 1024;
        assert_eq!(layout(end, [0, 1024], 1, false).place(0, 0), end);
        assert_eq!(layout(0, [0, 1024], 1, false).place(0, 0), 0);
    }

    #[test]
    fn what_is_not_of_the_subset_is_said() {
        let plain = Layout::of(descriptor(0, 16, 1024, 0), false).expect_err("none");
        assert!(plain.contains("without swizzle is not of the subset"), "{plain}");
        let moved = descriptor(0, 16, 1024, 1) | 1 << 49;
        let moved = Layout::of(moved, false).expect_err("an offset");
        assert!(moved.contains("with a base offset is not of the subset"), "{moved}");
    }
}
