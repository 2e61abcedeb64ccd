//! What of a launch on the CPU any worker may do by itself: grid points of a kernel, rows or columns
//! of a product.

use super::engine::Call;
use crate::device::cpu::{self, Block, Multiply, Strided};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, KernelId, Launch};
use nestor_ir::tile::{Monomial, Shape};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A launch whose tensors hold fewer elements than this stays on one worker: starting the others
/// costs more than they would save.
const SMALL: usize = 1 << 14;
/// The same for a product of so many multiplications.
const FEW: usize = 64 * 64 * 64;
/// Rows of a strip of half a product.
const STRIP: usize = 128;
/// Rows or columns of a piece are a multiple of this, so that none ends inside a vector of its neighbour.
const GRAIN: usize = 16;

/// The launches of a call, with where everything lies.
pub(super) struct Parts<'c> {
    pub(super) call: &'c Call<'c>,
    /// Of every tensor.
    pub(super) addresses: &'c [usize],
    /// Of every worker.
    pub(super) scratch: &'c [Mutex<Block>],
}

impl Parts<'_> {
    /// How many parts a launch falls into; any workers may do them in any order.
    pub(super) fn count(&self, launch: &Launch) -> u64 {
        let workers = self.scratch.len();
        let parts = match launch {
            Launch::Kernel { kernel, buffers } => {
                let points = self.points(*kernel);
                let bytes = &self.call.bytes;
                let elements: usize = buffers.iter().map(|b| bytes[b.index()] / 4).sum();
                // A few parts a worker, so that a late one can be helped.
                let many = workers > 1 && elements >= SMALL;
                points.min(if many { workers * 4 } else { 1 })
            }
            Launch::Dense(dense) => {
                let pieces = pieces(shape(dense, self.call.sizes), workers).1;
                extent(&dense.batch, self.call.sizes) * pieces
            }
            Launch::Zero(_) | Launch::Copy { .. } => 1,
        };
        parts as u64
    }

    fn points(&self, kernel: KernelId) -> usize {
        let grid = &self.call.artifact.kernels[kernel.index()].grid;
        grid.iter().map(|(_, d)| d.size(&self.call.sizes)).product()
    }

    /// One part of a launch.
    pub(super) fn run(&self, launch: &Launch, part: u64, worker: usize) {
        let (addresses, sizes) = (self.addresses, &self.call.sizes);
        match launch {
            Launch::Kernel { kernel, buffers } => {
                let native = &self.call.artifact.native[kernel.index()];
                let (points, parts) = (self.points(*kernel), self.count(launch) as usize);
                let buffers: Vec<usize> =
                    buffers.iter().map(|b| addresses[b.index()]).collect();
                let words = [sizes.batch as u64, sizes.time as u64, sizes.start as u64];
                let mut scratch =
                    self.scratch[worker].lock().unwrap_or_else(PoisonError::into_inner);
                let part = part as usize;
                let (first, last) = (part * points / parts, (part + 1) * points / parts);
                cpu::call(native, &buffers, words, first, last, &mut scratch);
            }
            Launch::Dense(dense) => self.dense(dense, part as usize),
            Launch::Zero(tensor) => {
                cpu::zero(addresses[tensor.index()], self.call.bytes[tensor.index()]);
            }
            Launch::Copy { from, to } => {
                let bytes = self.call.bytes[to.index()];
                cpu::copy(addresses[from.index()], addresses[to.index()], bytes);
            }
        }
    }

    /// One piece of a product: some rows or columns of the result.
    fn dense(&self, dense: &Dense, part: usize) {
        let entry = self.call.artifact.dense.expect("a plan with products has a library");
        let precision = self.call.artifact.precision;
        let sizes = self.call.sizes;
        let [m, n, k] = shape(dense, sizes);
        let (size, count) = pieces([m, n, k], self.scratch.len());
        let (repeat, from) = (part / count, part % count * size);
        let at = |o: &DenseOperand, row: usize, column: usize| {
            let strides = [o.row.eval(&sizes), o.column.eval(&sizes)];
            let first = o.origin.eval(&sizes, &[])
                + o.batch.eval(&sizes) * repeat as i64
                + strides[0] * row as i64
                + strides[1] * column as i64;
            let bytes =
                usize::try_from(first).expect("inside the tensor") * precision.bytes();
            Strided {
                address: self.addresses[o.tensor.index()] + bytes,
                row: strides[0] as isize,
                column: strides[1] as isize,
            }
        };
        let (left, right, out) = (&dense.left, &dense.right, &dense.out);
        let (rows, columns) = if m >= n {
            (from..m.min(from + size), 0..n)
        } else {
            (0..m, from..n.min(from + size))
        };
        let (alpha, accumulate) = (dense.alpha, dense.accumulate);
        for strip in strips(dense.shape, &rows, &columns, k) {
            let Strip { rows, columns, sum } = strip;
            let shape = [rows.len(), columns.len(), sum.len()];
            let operands = [
                at(left, rows.start, sum.start),
                at(right, sum.start, columns.start),
                at(out, rows.start, columns.start),
            ];
            cpu::multiply(
                entry,
                precision,
                &Multiply { shape, alpha, operands, accumulate },
            );
        }
        if dense.shape == Shape::OutputLower {
            for row in rows {
                let above = (row + 1).max(columns.start)..columns.end;
                if !above.is_empty() {
                    cpu::clear(at(out, row, above.start), above.len(), precision.bytes());
                }
            }
        }
    }
}

/// Rows of a product of which only some columns are wanted, or only some of the sum is not zero.
struct Strip {
    rows: Range<usize>,
    columns: Range<usize>,
    sum: Range<usize>,
}

/// What is to be computed of a piece of a product. Half of a product goes by strips of rows: a strip's square on the
/// diagonal is computed whole.
fn strips(
    shape: Shape,
    rows: &Range<usize>,
    columns: &Range<usize>,
    k: usize,
) -> Vec<Strip> {
    let height = if shape == Shape::Full { rows.len() } else { STRIP };
    let mut out = Vec::new();
    let mut row = rows.start;
    while row < rows.end {
        let rows = row..rows.end.min(row + height);
        row = rows.end;
        let mut strip = Strip { rows, columns: columns.clone(), sum: 0..k };
        let end = strip.rows.end;
        match shape {
            Shape::Full => {}
            Shape::OutputLower => {
                strip.columns.end = columns.end.min(end).max(columns.start)
            }
            Shape::LeftLower => strip.sum.end = k.min(end),
            Shape::LeftUpper => strip.sum.start = k.min(strip.rows.start),
        }
        if !strip.columns.is_empty() {
            out.push(strip);
        }
    }
    out
}

fn extent(m: &Monomial, sizes: Sizes) -> usize {
    usize::try_from(m.eval(&sizes)).unwrap_or(0)
}

fn shape(dense: &Dense, sizes: Sizes) -> [usize; 3] {
    [&dense.m, &dense.n, &dense.k].map(|m| extent(m, sizes))
}

/// The longer side of a product's result in pieces: their size, and how many there are.
fn pieces([m, n, k]: [usize; 3], workers: usize) -> (usize, usize) {
    let long = m.max(n);
    if workers < 2 || m * n * k <= FEW {
        return (long, long.min(1));
    }
    let size = long.div_ceil(workers).next_multiple_of(GRAIN);
    (size, long.div_ceil(size))
}
