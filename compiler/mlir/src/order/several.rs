//! Orders that grow side by side, a statement at a time: of those that are begun the best few go on.

use super::{Live, Work};
use std::collections::BTreeSet;

/// How many go on.
const FEW: usize = 32;

/// The order in which the least lives at a time, of those that were looked at.
pub(super) fn found(work: &Work) -> Vec<usize> {
    let mut begun = vec![Begun::of(work)];
    for _ in 0..work.tiles.len() {
        let mut next: Vec<(i64, i64, usize, usize)> = Vec::new();
        for (which, order) in begun.iter().enumerate() {
            for &n in &order.ready {
                let [comes, goes] = order.live.changes(n);
                let here = order.live.bytes + comes;
                next.push((order.most.max(here), here - goes, which, n));
            }
        }
        next.sort_unstable();
        // Of those that have done the same, the best.
        let mut seen: BTreeSet<Vec<u64>> = BTreeSet::new();
        let mut further = Vec::new();
        for (_, _, which, n) in next {
            let done = begun[which].done_with(n);
            if seen.insert(done.clone()) {
                further.push(begun[which].with(n, done));
            }
            if further.len() == FEW {
                break;
            }
        }
        begun = further;
    }
    begun.swap_remove(0).order
}

/// An order that is begun.
struct Begun<'w> {
    order: Vec<usize>,
    /// Bits of the statements in it.
    done: Vec<u64>,
    /// How many must still come before each.
    waits: Vec<usize>,
    /// What may come next.
    ready: Vec<usize>,
    live: Live<'w>,
    /// The most that has lived at a time.
    most: i64,
}

impl<'w> Begun<'w> {
    fn of(work: &'w Work) -> Self {
        let waits: Vec<usize> = work.before.iter().map(Vec::len).collect();
        Self {
            order: Vec::new(),
            done: vec![0; waits.len().div_ceil(64)],
            ready: (0..waits.len()).filter(|n| waits[*n] == 0).collect(),
            waits,
            live: Live::new(work),
            most: 0,
        }
    }

    fn done_with(&self, n: usize) -> Vec<u64> {
        let mut done = self.done.clone();
        done[n / 64] |= 1 << (n % 64);
        done
    }

    fn with(&self, n: usize, done: Vec<u64>) -> Self {
        let (mut order, mut waits, mut live) =
            (self.order.clone(), self.waits.clone(), self.live.clone());
        order.push(n);
        let most = self.most.max(live.add(n));
        let mut ready: Vec<usize> =
            self.ready.iter().copied().filter(|other| *other != n).collect();
        for &other in &live.work.behind[n] {
            waits[other] -= 1;
            if waits[other] == 0 {
                ready.push(other);
            }
        }
        Self { order, done, waits, ready, live, most }
    }
}
