//! Unit triangular systems: each thread has right-hand sides of its own.
//!
//! Systems of more than one block of sixteen equations are solved on tensor cores where products are (`joins`). Here, sixteen
//! equations at a time: what the earlier ones contribute is summed for all sixteen at once, in registers, so that one
//! number of the right-hand side serves sixteen products and four neighbours of the matrix come in one load; then the sixteen are
//! solved where they are. A number that the next one waits for is never in memory.

use super::Emit;
use super::build::V;
use super::number::Num;
use melior::ir::Type;
use nestor_ir::tile::{Extent, Place, Tile};

/// Equations at a time.
pub(super) const BLOCK: i64 = crate::products::BLOCK as i64;
/// Numbers of one load.
pub(super) const WIDE: i64 = 4;

/// A system: its matrix, and its right-hand sides, which become its unknowns.
#[derive(Clone, Copy)]
pub(super) struct System {
    pub(super) lower: Place,
    pub(super) x: Place,
    pub(super) n: i64,
    pub(super) m: i64,
    pub(super) transpose: bool,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn solve(
        &mut self,
        lower: Tile,
        x: Tile,
        n: usize,
        m: usize,
        transpose: bool,
    ) {
        let joins = self.by_joins(n, m);
        let [lower, x] = [lower, x].map(Place::Tile);
        let s = System { lower, x, n: n as i64, m: m as i64, transpose };
        match s.n % BLOCK == 0 && n > 0 {
            _ if joins => self.solve_by_joins(s),
            true => self.solve_by_blocks(s),
            false => self.solve_by_rows([lower, x], n, m, transpose),
        }
    }

    fn solve_by_blocks(&mut self, s: System) {
        let System { lower, x, n, m, transpose } = s;
        let (rows, width) = (Num::Known(n), Num::Known(m));
        self.shared(&[Extent::Fixed(m as usize)], |e, point| {
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
                sums = e.among(s, first, sums);
                for (r, sum) in sums.into_iter().enumerate() {
                    let row = e.add(first, Num::Known(r as i64));
                    let here = at(e, row);
                    e.write(x, here, sum);
                }
            });
        });
    }

    /// Sixteen equations from one on, solved among themselves.
    pub(super) fn among(
        &mut self,
        s: System,
        first: Num<'c, 'a>,
        mut sums: Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        let mut order: Vec<usize> = (0..BLOCK as usize).collect();
        if s.transpose {
            order.reverse();
        }
        for i in order {
            let found = sums[i];
            let row = self.add(first, Num::Known(i as i64));
            // Row i of the matrix holds the factors of equation i, or those that its unknown has in the others.
            let factors = self.factors(s, row, first, i as i64, s.n % BLOCK != 0);
            let mut left = found;
            for (l, factor) in factors.into_iter().enumerate() {
                match s.transpose {
                    false => left = self.minus_product(left, factor, sums[l]),
                    true => sums[l] = self.minus_product(sums[l], factor, found),
                }
            }
            sums[i] = left;
        }
        sums
    }

    /// Neighbours in a row of the matrix, the first of them in a column that is a multiple of four or alone; zeros where the row
    /// may be outside and is.
    pub(super) fn factors(
        &mut self,
        s: System,
        row: Num<'c, 'a>,
        column: Num<'c, 'a>,
        count: i64,
        outside: bool,
    ) -> Vec<V<'c, 'a>> {
        let rows = Num::Known(s.n);
        let inside = outside.then(|| self.less(row, rows));
        let line = self.mul(row, rows);
        let mut start = self.add(line, column);
        if let Some(inside) = inside {
            let (there, first) = (self.value(start), self.value(Num::Known(0)));
            start = Num::Run(self.b.select(inside, there, first));
        }
        let wide = s.n % WIDE == 0 && count > 1;
        let mut out = Vec::new();
        for l in 0..count {
            match (wide, l % WIDE) {
                (true, 0) => {
                    let start = self.add(start, Num::Known(l));
                    out.extend(self.read_wide(s.lower, start));
                }
                (true, _) => {}
                (false, _) => {
                    let at = self.add(start, Num::Known(l));
                    out.push(self.read(s.lower, at));
                }
            }
        }
        out.truncate(count as usize);
        if let Some(inside) = inside {
            let zero = self.b.real(0.0);
            for factor in &mut out {
                *factor = self.b.select(inside, *factor, zero);
            }
        }
        out
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
        self.four(at)
    }

    /// Four neighbours at an address that is a multiple of sixteen bytes.
    pub(super) fn four(&mut self, at: V<'c, 'a>) -> Vec<V<'c, 'a>> {
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
