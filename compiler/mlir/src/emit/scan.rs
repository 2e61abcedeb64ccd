//! Linear recurrences: each step's result from the one before.

use super::Emit;
use super::build::V;
use super::number::Num;
use nestor_ir::tile::{Extent, Place, Tile};

/// Steps whose numbers are loaded before the first of them is taken: what is stored meanwhile lies elsewhere, which the assembler
/// does not know.
const AT_ONCE: usize = 8;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Each thread has columns of its own, and takes their steps one after the other.
    pub(super) fn linear_scan(
        &mut self,
        [a, b, init, y]: [Tile; 4],
        (steps, n, m): (usize, usize, usize),
        reverse: bool,
    ) {
        if n == 1 && y != a && y != b {
            return self.scan_of_numbers([a, b, init, y], (steps, m), reverse);
        }
        let [a, b, init, y] = [a, b, init, y].map(Place::Tile);
        let (slots, width) = (Num::Known(n as i64), Num::Known(m as i64));
        let square = Num::Known((n * n) as i64);
        let block = Num::Known((n * m) as i64);
        self.shared(&[Extent::Fixed(m)], |e, point| {
            let c = point[0];
            let step = |e: &mut Self, t: Num<'c, 'a>, last: Place, at: Num<'c, 'a>| {
                let (factors, here) = (e.mul(t, square), e.mul(t, block));
                e.turns(slots, false, |e, i| {
                    let row = e.mul(i, width);
                    let own = e.add(here, row);
                    let own = e.add(own, c);
                    let term = e.read(b, own);
                    let row = e.mul(i, slots);
                    let row = e.add(factors, row);
                    let sum = e.sum(Num::Known(0), slots, term, |e, j| {
                        let factor = e.add(row, j);
                        let there = e.mul(j, width);
                        let there = e.add(at, there);
                        let there = e.add(there, c);
                        [e.read(a, factor), e.read(last, there)]
                    });
                    e.write(y, own, sum);
                });
            };
            if steps == 0 {
                return;
            }
            let end = Num::Known(steps as i64 - 1);
            let first = if reverse { end } else { Num::Known(0) };
            step(e, first, init, Num::Known(0));
            e.turns(end, reverse, |e, turn| {
                // Forwards from the second to the last, backwards from the last but one to the first.
                let forward = e.add(turn, Num::Known(1));
                let (t, before) = if reverse { (turn, forward) } else { (forward, turn) };
                let at = e.mul(before, block);
                step(e, t, y, at);
            });
        });
    }

    /// Of numbers, `y[t] = a[t] y[t - 1] + b[t]`: a thread has the last one in a register.
    fn scan_of_numbers(
        &mut self,
        [a, b, init, y]: [Tile; 4],
        (steps, m): (usize, usize),
        reverse: bool,
    ) {
        let [a, b, init, y] = [a, b, init, y].map(Place::Tile);
        let several = (steps / AT_ONCE) as i64;
        self.shared(&[Extent::Fixed(m)], |e, point| {
            let c = point[0];
            // So many steps from one on.
            let some =
                |e: &mut Self, from: Num<'c, 'a>, count: usize, last: V<'c, 'a>| {
                    let (from, way) = match reverse {
                        true => (e.sub(Num::Known(steps as i64 - 1), from), -1),
                        false => (from, 1),
                    };
                    let mut loaded = Vec::with_capacity(count);
                    for n in 0..count as i64 {
                        let t = e.add(from, Num::Known(n * way));
                        let own = e.mul(t, Num::Known(m as i64));
                        let own = e.add(own, c);
                        loaded.push((e.read(a, t), e.read(b, own), own));
                    }
                    let mut last = last;
                    for (factor, term, own) in loaded {
                        last = e.b.fma(factor, last, term);
                        e.write(y, own, last);
                    }
                    last
                };
            let first = e.read(init, c);
            let last =
                e.turns_with(Num::Known(several), false, &[first], |e, turn, last| {
                    let from = e.mul(turn, Num::Known(AT_ONCE as i64));
                    vec![some(e, from, AT_ONCE, last[0])]
                });
            some(e, Num::Known(several * AT_ONCE as i64), steps % AT_ONCE, last[0]);
        });
    }
}
