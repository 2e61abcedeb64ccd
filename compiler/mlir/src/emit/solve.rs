//! Unit triangular systems: each thread has right-hand sides of its own.
//!
//! Sixteen equations at a time: what the earlier ones contribute is summed for all sixteen at once, in registers, so that one
//! number of the right-hand side serves sixteen products and four neighbours of the matrix come in one load; then the sixteen are
//! solved where they are. A number that the next one waits for is never in memory.

use super::Emit;
use super::build::V;
use super::number::Num;
use melior::ir::Type;
use nestor_ir::tile::{Extent, Place, Tile};

/// Equations at a time.
const BLOCK: i64 = 16;
/// Numbers of one load.
const WIDE: i64 = 4;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn solve(
        &mut self,
        lower: Tile,
        x: Tile,
        n: usize,
        m: usize,
        transpose: bool,
    ) {
        let places = [lower, x].map(Place::Tile);
        match n as i64 % BLOCK == 0 && n > 0 {
            true => self.solve_by_blocks(places, n as i64, m, transpose),
            false => self.solve_by_rows(places, n, m, transpose),
        }
    }

    fn solve_by_blocks(
        &mut self,
        [lower, x]: [Place; 2],
        n: i64,
        m: usize,
        transpose: bool,
    ) {
        let (rows, width) = (Num::Known(n), Num::Known(m as i64));
        self.shared(&[Extent::Fixed(m)], |e, point| {
            let c = point[0];
            let at = |e: &mut Self, row: Num<'c, 'a>| {
                let row = e.mul(row, width);
                e.add(row, c)
            };
            e.turns(Num::Known(n / BLOCK), transpose, |e, block| {
                let first = e.mul(block, Num::Known(BLOCK));
                let end = e.add(first, Num::Known(BLOCK));
                let mut sums: Vec<V<'c, 'a>> = (0..BLOCK)
                    .map(|r| {
                        let row = e.add(first, Num::Known(r));
                        let here = at(e, row);
                        e.read(x, here)
                    })
                    .collect();
                let (from, to) =
                    if transpose { (end, rows) } else { (Num::Known(0), first) };
                let bounds = [from, to, Num::Known(WIDE)].map(|q| e.value(q));
                let (opened, j, carried) = e.b.open_for(bounds, &sums);
                let j = Num::Run(j);
                sums = e.without(lower, x, [first, j], rows, carried, transpose, &at);
                sums = e.b.close(opened, &sums);
                // The sixteen among themselves.
                let order: Vec<i64> = match transpose {
                    false => (0..BLOCK).collect(),
                    true => (0..BLOCK).rev().collect(),
                };
                for (done, &i) in order.iter().enumerate() {
                    let found = sums[i as usize];
                    let row = e.add(first, Num::Known(i));
                    // Row i of the matrix holds the factors of equation i, or those that its unknown has in the others.
                    let line = e.mul(row, rows);
                    let line = e.add(line, first);
                    if !transpose {
                        let mut factors = Vec::new();
                        for l in 0..(i + WIDE - 1) / WIDE {
                            let start = e.add(line, Num::Known(l * WIDE));
                            factors.extend(e.read_wide(lower, start));
                        }
                        let mut left = found;
                        for (l, factor) in
                            factors.into_iter().take(i as usize).enumerate()
                        {
                            left = e.minus_product(left, factor, sums[l]);
                        }
                        sums[i as usize] = left;
                    } else {
                        let rest = &order[done + 1..];
                        let count = rest.len() as i64;
                        let mut factors = Vec::new();
                        for l in 0..(count + WIDE - 1) / WIDE {
                            let start = e.add(line, Num::Known(l * WIDE));
                            factors.extend(e.read_wide(lower, start));
                        }
                        for &l in rest {
                            let l = l as usize;
                            sums[l] = e.minus_product(sums[l], factors[l], found);
                        }
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    let row = e.add(first, Num::Known(r as i64));
                    let here = at(e, row);
                    e.write(x, here, sum);
                }
            });
        });
    }

    /// Sixteen sums without what four unknowns that are known by now contribute.
    #[expect(clippy::too_many_arguments, reason = "the turn of a loop, taken out of it")]
    fn without(
        &mut self,
        lower: Place,
        x: Place,
        [first, j]: [Num<'c, 'a>; 2],
        rows: Num<'c, 'a>,
        mut sums: Vec<V<'c, 'a>>,
        transpose: bool,
        at: &impl Fn(&mut Self, Num<'c, 'a>) -> Num<'c, 'a>,
    ) -> Vec<V<'c, 'a>> {
        let known: Vec<V<'c, 'a>> = (0..WIDE)
            .map(|l| {
                let row = self.add(j, Num::Known(l));
                let here = at(self, row);
                self.read(x, here)
            })
            .collect();
        // Rows of the matrix lie along what is read at once: equations, or transposed, unknowns.
        let (lines, along) = if transpose { (WIDE, BLOCK) } else { (BLOCK, WIDE) };
        for line in 0..lines {
            let (row, column) = if transpose { (j, first) } else { (first, j) };
            let row = self.add(row, Num::Known(line));
            let start = self.mul(row, rows);
            let start = self.add(start, column);
            for part in 0..along / WIDE {
                let start = self.add(start, Num::Known(part * WIDE));
                for (l, factor) in self.read_wide(lower, start).into_iter().enumerate() {
                    let other = part as usize * WIDE as usize + l;
                    let line = line as usize;
                    let (equation, unknown) =
                        if transpose { (other, line) } else { (line, other) };
                    sums[equation] =
                        self.minus_product(sums[equation], factor, known[unknown]);
                }
            }
        }
        sums
    }

    /// `a - b c`
    fn minus_product(&mut self, a: V<'c, 'a>, b: V<'c, 'a>, c: V<'c, 'a>) -> V<'c, 'a> {
        let less = self.b.one("llvm.fneg", b);
        self.b.fma(less, c, a)
    }

    /// Four neighbours, the first one's number a multiple of four.
    fn read_wide(&mut self, place: Place, n: Num<'c, 'a>) -> Vec<V<'c, 'a>> {
        let (at, _) = self.address(place, n);
        let float = self.b.float();
        let four = self.b.load(at, Type::vector(&[WIDE as u64], float));
        (0..WIDE)
            .map(|l| {
                let l = self.b.constant(32, l);
                self.b.made("llvm.extractelement", &[four, l], float, &[])
            })
            .collect()
    }

    /// Equations one after the other.
    fn solve_by_rows(
        &mut self,
        [lower, x]: [Place; 2],
        n: usize,
        m: usize,
        transpose: bool,
    ) {
        let (rows, width) = (Num::Known(n as i64), Num::Known(m as i64));
        self.shared(&[Extent::Fixed(m)], |e, point| {
            let c = point[0];
            e.turns(rows, transpose, |e, i| {
                let after = e.add(i, Num::Known(1));
                let (from, to) = match transpose {
                    false => (Num::Known(0), i),
                    true => (after, rows),
                };
                let row = e.mul(i, width);
                let here = e.add(row, c);
                let zero = e.b.real(0.0);
                let sum = e.sum(from, to, zero, |e, j| {
                    let (row, column) = if transpose { (j, i) } else { (i, j) };
                    let row = e.mul(row, rows);
                    let factor = e.add(row, column);
                    let there = e.mul(j, width);
                    let there = e.add(there, c);
                    [e.read(lower, factor), e.read(x, there)]
                });
                let before = e.read(x, here);
                let after = e.b.two("llvm.fsub", before, sum);
                e.write(x, here, after);
            });
        });
    }
}
