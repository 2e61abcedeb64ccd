//! Which commands wait for which: those that touch the same bytes, where one of them writes.
//!
//! ```text
//! commands   0 writes a   1 reads a, writes b   2 reads a, writes c   3 reads b and c, writes a
//! waits      0 -          1 for 0               2 for 0               3 for 1 and 2 (for 0 as they do)
//! ```
//!
//! Nothing else keeps them in order: a device may do them side by side.

use fixedbitset::FixedBitSet;
use std::ops::Range;

/// Addresses that a command touches.
#[derive(Clone, Default, Debug)]
pub struct Touched {
    /// What it reads.
    pub reads: Vec<Range<u64>>,
    /// What it writes, or reads and writes.
    pub writes: Vec<Range<u64>>,
}

impl Touched {
    /// Whether either writes what the other touches.
    fn meets(&self, other: &Self) -> bool {
        let any = |a: &[Range<u64>], b: &[Range<u64>]| {
            a.iter().any(|a| b.iter().any(|b| a.start < b.end && b.start < a.end))
        };
        any(&self.writes, &other.writes)
            || any(&self.writes, &other.reads)
            || any(&self.reads, &other.writes)
    }
}

/// For each command the earlier ones that it waits for, latest first, without those that one of these waits for.
pub fn waits(commands: &[Touched]) -> Vec<Vec<usize>> {
    let mut behind: Vec<FixedBitSet> = Vec::with_capacity(commands.len());
    let mut out = Vec::with_capacity(commands.len());
    for (n, command) in commands.iter().enumerate() {
        let mut all = FixedBitSet::with_capacity(commands.len());
        let mut own = Vec::new();
        for earlier in (0..n).rev() {
            if !all.contains(earlier) && command.meets(&commands[earlier]) {
                own.push(earlier);
                all.insert(earlier);
                all.union_with(&behind[earlier]);
            }
        }
        behind.push(all);
        out.push(own);
    }
    out
}

/// The order that is farthest from the one in which commands were told: of those that wait for nothing any more, the last.
/// What is right in this order as well does not rest on the other.
pub fn latest_first(waits: &[Vec<usize>]) -> Vec<usize> {
    let mut left: Vec<usize> = waits.iter().map(Vec::len).collect();
    let mut order = Vec::with_capacity(waits.len());
    let mut ready: Vec<usize> = (0..waits.len()).filter(|n| left[*n] == 0).collect();
    while let Some(next) = ready.pop() {
        order.push(next);
        for (n, own) in waits.iter().enumerate().skip(next + 1) {
            if own.contains(&next) {
                left[n] -= 1;
                if left[n] == 0 {
                    ready.push(n);
                }
            }
        }
        ready.sort_unstable();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(reads: &[u64], writes: &[u64]) -> Touched {
        let ranges = |of: &[u64]| of.iter().map(|at| *at..at + 16).collect();
        Touched { reads: ranges(reads), writes: ranges(writes) }
    }

    #[test]
    fn readers_wait_for_their_writer_and_the_next_writer_for_them() {
        let (a, b, c) = (0, 16, 32);
        let told = [
            command(&[], &[a]),
            command(&[a], &[b]),
            command(&[a], &[c]),
            command(&[b, c], &[a]),
            command(&[], &[48]),
        ];
        let found = waits(&told);
        assert_eq!(found, [vec![], vec![0], vec![0], vec![2, 1], vec![]]);
        assert_eq!(latest_first(&found), [4, 0, 2, 1, 3]);
    }

    #[test]
    fn bytes_that_are_used_again_keep_order_and_neighbours_do_not() {
        let told = [
            command(&[0], &[16]),
            command(&[32], &[0]),
            command(&[8], &[64]),
            command(&[], &[24]),
        ];
        let found = waits(&told);
        // The first reads what the second writes; the third half of it; the last writes half of what the first did.
        assert_eq!(found, [vec![], vec![0], vec![1], vec![1]]);
    }
}
