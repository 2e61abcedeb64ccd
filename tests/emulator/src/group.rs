//! Matrix products of groups of four warps. Every warp computes its 16 of the 64 rows when its lanes are together; that the four warps
//! did the same is looked at behind them, at barriers and at the end.

use crate::convert::wide;
use crate::descriptor::{DEPTH, Layout, Part};
use crate::launch::Fault;
use crate::module::{GroupOp, GroupProduct, Left, Matrix, Reg};
use crate::run::{Block, LANES};
use crate::table::{bits, f32};
use crate::warp::Wrong;

/// Threads of a group.
const GROUP: usize = 4 * LANES;

/// Rows of a warp.
const ROWS: usize = 16;

impl Block<'_> {
    pub(crate) fn group(&mut self, op: &GroupOp, first: usize) -> Result<(), Wrong> {
        let asked = if self.launch.trusted { 0 } else { LANES };
        for lane in 0..asked {
            let progress = &mut self.threads[first + lane].progress;
            progress.advance(op).map_err(|what| (lane, what))?;
        }
        match op {
            GroupOp::Product(product) => self.group_product(product, first),
            GroupOp::Fence | GroupOp::Commit | GroupOp::Wait(_) => Ok(()),
        }
    }

    /// `D = A B`, D as it was before added; the sum over the depth is rounded once.
    fn group_product(&mut self, op: &GroupProduct, first: usize) -> Result<(), Wrong> {
        let GroupProduct { to, a, b, adds } = op;
        if first / GROUP * GROUP + GROUP > self.threads.len() {
            return Err((0, "the warp's group has fewer than four warps".to_owned()));
        }
        let adds = self.common(first, *adds, "flag for the sum")? != 0;
        let from = first % GROUP / LANES * ROWS;
        let (left, left_descriptor) = match a {
            Left::Registers(parts) => (self.rows(first, parts), None),
            Left::Shared(matrix) => {
                let at = |mn: usize, k: usize| (mn - from) * DEPTH + k;
                let (entries, said) = self.operand(first, *matrix, [from, ROWS], at)?;
                (entries, Some(said))
            }
        };
        let columns = to.len() * 2;
        let at = |mn: usize, k: usize| k * columns + mn;
        let (right, right_descriptor) = self.operand(first, *b, [0, columns], at)?;
        let mut sums = vec![0.0_f64; ROWS * columns];
        for (row, sums) in left.chunks(DEPTH).zip(sums.chunks_mut(columns)) {
            for (x, along) in row.iter().zip(right.chunks(columns)) {
                for (sum, y) in sums.iter_mut().zip(along) {
                    *sum += x * y;
                }
            }
        }
        for lane in 0..LANES {
            let thread = &mut self.threads[first + lane];
            for (n, to) in to.iter().enumerate() {
                let row = lane / 4 + 8 * (n / 2 % 2);
                let column = 8 * (n / 4) + 2 * (lane % 4) + n % 2;
                let before = if adds { f64::from(f32(thread.get(*to))) } else { 0.0 };
                let sum = sums[row * columns + column];
                thread.set(*to, bits((before + sum) as f32));
            }
        }
        self.stats.products += columns as u64 / 8;
        let rows = if left_descriptor.is_some() { 4 * ROWS } else { 0 };
        self.stats.matrices += ((rows + columns) * DEPTH * 2 / 4) as u64;
        let thread = &mut self.threads[first];
        let at = thread.at;
        thread.progress.note((at, left_descriptor, right_descriptor, adds));
        Ok(())
    }

    /// The entries of an operand for the rows or columns behind the first ones, in an order of the caller's, and its descriptor.
    fn operand(
        &mut self,
        first: usize,
        matrix: Matrix,
        [from, count]: [usize; 2],
        order: impl Fn(usize, usize) -> usize,
    ) -> Result<(Vec<f64>, u64), Wrong> {
        let descriptor = self.common(first, matrix.descriptor, "descriptor")?;
        let wrong = |what| (0, what);
        let layout = Layout::of(descriptor, matrix.turned).map_err(wrong)?;
        let by = self.actor(first);
        let (shared, threads) = (&mut self.shared[self.rank], &self.threads);
        let settled = |thread: u32| threads[thread as usize].progress.settled;
        let mut out = vec![0.0; count * DEPTH];
        for Part { at, mn, k } in layout.parts(from, count) {
            let numbers = shared.read_part(at, by, settled).map_err(wrong)?;
            for (n, number) in numbers.into_iter().enumerate() {
                let place = match matrix.turned {
                    false => order(mn, k + n),
                    true => order(mn + n, k),
                };
                out[place] = f64::from(wide(number));
            }
        }
        Ok((out, descriptor))
    }

    /// What all lanes of a warp hold in a register.
    fn common(&self, first: usize, register: Reg, what: &str) -> Result<u64, Wrong> {
        let value = self.threads[first].get(register);
        let other = |lane: &usize| self.threads[first + lane].get(register) != value;
        match (0..LANES).find(other) {
            Some(lane) => {
                Err((lane, format!("its {what} is not that of the warp's first lane")))
            }
            None => Ok(value),
        }
    }

    /// The warps of every group have done the same products since the last barrier.
    pub(crate) fn groups_agree(&self) -> Result<(), Fault> {
        for (n, group) in self.threads.chunks(GROUP).enumerate() {
            let lead = &group[0].progress;
            let mut warps = group.iter().map(|t| &t.progress).step_by(LANES);
            if let Some(warp) = warps.position(|w| !w.agrees(lead)) {
                let counts = [lead.done, group[warp * LANES].progress.done];
                let how = match counts {
                    [a, b] if a == b => "by another instruction or descriptor".to_owned(),
                    [a, b] => format!("{b} of them here, {a} in the first warp"),
                };
                let what = "the warps of a group do different matrix products";
                let thread = n * GROUP + warp * LANES;
                return Err(self.fault(thread, format!("{what}: {how}")));
            }
        }
        Ok(())
    }
}
