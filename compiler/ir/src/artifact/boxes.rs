//! Boxes of a buffer that a device copies to shared memory by itself: the shape of one, of which a driver makes what the hardware reads.

use crate::dim::Sizes;
use crate::tile::Monomial;

/// Bytes between the places at which a box may begin, besides its rows.
pub const STEP: u64 = 16;

/// Boxes of a buffer of a kernel: rows of lines, each line of numbers side by side. Lines of one number in their rows lie one behind the other in
/// shared memory, all lines of the next number behind them. A box begins at a row and so many [`STEP`]s further on; rows that are not there are zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boxes {
    /// The buffer.
    pub buffer: usize,
    /// Bytes of a number.
    pub width: usize,
    /// Numbers of a line, lines of a row, and rows.
    pub shape: [usize; 3],
    /// Numbers between the beginnings of two rows.
    pub apart: usize,
    /// Rows that there are from the first one on: the sum of these.
    pub rows: Vec<Monomial>,
    /// Parts of sixteen bytes change places in lines of 128 bytes, by the three bits of the address above a line's.
    pub exchanged: bool,
}

impl Boxes {
    /// Bytes of a box.
    pub fn bytes(&self) -> usize {
        self.width * self.shape.iter().product::<usize>()
    }

    /// Boxes of a buffer that begins at an address and has so many bytes.
    pub fn at(&self, address: u64, bytes: usize, sizes: &Sizes) -> TensorMap {
        let [line, lines, rows] = self.shape.map(|n| n as u64);
        let width = self.width as u64;
        let there: i64 = self.rows.iter().map(|m| m.eval(sizes)).sum();
        let there = u64::try_from(there).unwrap_or(0).max(1);
        let steps = (bytes as u64 / STEP).max(1);
        TensorMap {
            address,
            width: self.width,
            sizes: [line, there, lines, steps],
            strides: [self.apart as u64 * width, line * width, STEP],
            boxes: [line, rows, lines, 1].map(|n| n as u32),
            exchanged: self.exchanged,
        }
    }
}

/// A tensor in a device's memory, and the boxes that are copied of it, as CUDA's driver is told them; the dimension of neighbours first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMap {
    /// Where it begins.
    pub address: u64,
    /// Bytes of a number.
    pub width: usize,
    /// Numbers along each dimension.
    pub sizes: [u64; 4],
    /// Bytes between neighbours along each dimension but the first.
    pub strides: [u64; 3],
    /// Numbers of a box along each dimension.
    pub boxes: [u32; 4],
    /// As [`Boxes::exchanged`].
    pub exchanged: bool,
}
