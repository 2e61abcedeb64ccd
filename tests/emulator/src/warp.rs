//! What a whole warp does together: shuffles, matrix products and loads of their operands.

use crate::convert::{tensor, wide};
use crate::module::{Address, Product, Reg, SHARED, Shuffle, WarpOp};
use crate::run::{Block, LANES};
use crate::table::{bits, f32};

/// The lane, and what happened.
pub(crate) type Wrong = (usize, String);

impl Block<'_> {
    pub(crate) fn warp(&mut self, op: &WarpOp, first: usize) -> Result<(), Wrong> {
        match op {
            WarpOp::Shuffle { how, to, inside, from, by, clamp } => {
                self.shuffle(first, *how, [*from, *by, *clamp], *to, *inside);
                Ok(())
            }
            WarpOp::Product { what, to, a, b, c } => {
                self.stats.products += 1;
                self.product(first, *what, to, [a, b, c]);
                Ok(())
            }
            WarpOp::LoadMatrix { to, transposed, at } => {
                self.stats.matrices += 128 * to.len() as u64;
                let rows = self.rows_at(first, *at);
                self.load_matrix(first, to, *transposed, &rows)
            }
            WarpOp::StoreMatrix { from, transposed, at } => {
                let rows = self.rows_at(first, *at);
                self.store_matrix(first, from, *transposed, &rows)
            }
            WarpOp::Together => Ok(()),
            WarpOp::Turn { to, from } => {
                self.turn(first, *to, *from);
                Ok(())
            }
            WarpOp::Elect { to, chosen } => {
                for lane in 0..LANES {
                    let thread = &mut self.threads[first + lane];
                    thread.set(*to, 0);
                    thread.set(*chosen, u64::from(lane == 0));
                }
                Ok(())
            }
            WarpOp::Group(op) => self.group(op, first),
        }
    }

    /// Where each lane says that a row of a matrix lies.
    fn rows_at(&self, first: usize, at: Address) -> Vec<u64> {
        (0..LANES).map(|l| self.threads[first + l].address(at)).collect()
    }

    fn lanes(&self, first: usize, register: Reg) -> Vec<u64> {
        (0..LANES).map(|l| self.threads[first + l].get(register)).collect()
    }

    fn shuffle(
        &mut self,
        first: usize,
        how: Shuffle,
        [from, by, clamp]: [Reg; 3],
        to: Reg,
        inside: Option<Reg>,
    ) {
        let values = self.lanes(first, from);
        for lane in 0..LANES {
            let thread = &mut self.threads[first + lane];
            let (by, c) = (thread.get(by) as u32 & 31, thread.get(clamp) as u32);
            let (limit, segment) = (c & 31, (c >> 8) & 31);
            let l = lane as u32;
            let most = (l & segment) | (limit & !segment);
            let least = l & segment;
            let (source, is_inside) = match how {
                Shuffle::Up => (l.wrapping_sub(by), l as i32 - by as i32 >= most as i32),
                Shuffle::Down => (l + by, l + by <= most),
                Shuffle::Butterfly => (l ^ by, l ^ by <= most),
                Shuffle::Index => {
                    let source = least | (by & !segment);
                    (source, source <= most)
                }
            };
            let source = if is_inside { source as usize } else { lane };
            thread.set(to, values[source]);
            if let Some(inside) = inside {
                thread.set(inside, u64::from(is_inside));
            }
        }
    }

    /// 16 rows of 16 numbers of bfloat16, from the registers that all lanes hold them in.
    pub(crate) fn rows(&self, first: usize, registers: &[Reg]) -> Vec<f64> {
        let mut rows = vec![0.0; 16 * 16];
        for lane in 0..LANES {
            let (group, within) = (lane / 4, lane % 4);
            let thread = &self.threads[first + lane];
            for (n, register) in registers.iter().enumerate() {
                let row = group + 8 * (n % 2);
                for half in 0..2 {
                    let column = 2 * within + half + 8 * (n / 2);
                    let word = thread.get(*register) >> (16 * half);
                    rows[row * 16 + column] = f64::from(wide(word as u16));
                }
            }
        }
        rows
    }

    /// `D = A B + C`, rows 16 and columns 8; the sum over the depth is rounded once.
    fn product(
        &mut self,
        first: usize,
        what: Product,
        to: &[Reg],
        [a, b, c]: [&Vec<Reg>; 3],
    ) {
        let depth = match what {
            Product::Brain => 16,
            Product::Tensor => 8,
        };
        let mut left = match what {
            Product::Brain => self.rows(first, a),
            Product::Tensor => vec![0.0_f64; 16 * depth],
        };
        let mut right = vec![0.0_f64; depth * 8];
        for lane in 0..LANES {
            let (group, within) = (lane / 4, lane % 4);
            let thread = &self.threads[first + lane];
            match what {
                Product::Brain => {
                    for (n, register) in b.iter().enumerate() {
                        for half in 0..2 {
                            let row = 2 * within + half + 8 * n;
                            let word = thread.get(*register) >> (16 * half);
                            right[row * 8 + group] = f64::from(wide(word as u16));
                        }
                    }
                }
                Product::Tensor => {
                    for (n, register) in a.iter().enumerate() {
                        let (row, column) = (group + 8 * (n % 2), within + 4 * (n / 2));
                        let x = cut(f32(thread.get(*register)));
                        left[row * depth + column] = x;
                    }
                    for (n, register) in b.iter().enumerate() {
                        let x = cut(f32(thread.get(*register)));
                        right[(within + 4 * n) * 8 + group] = x;
                    }
                }
            }
        }
        for lane in 0..LANES {
            let (group, within) = (lane / 4, lane % 4);
            for (n, (to, c)) in to.iter().zip(c).enumerate() {
                let (row, column) = (group + 8 * (n / 2), 2 * within + n % 2);
                let sum: f64 = (0..depth)
                    .map(|k| left[row * depth + k] * right[k * 8 + column])
                    .sum();
                let thread = &mut self.threads[first + lane];
                let before = f64::from(f32(thread.get(*c)));
                thread.set(*to, bits((before + sum) as f32));
            }
        }
    }

    /// An 8 x 8 matrix of 16 bits transposed: a lane holds two neighbours of a row, before and after.
    fn turn(&mut self, first: usize, to: Reg, from: Reg) {
        let words = self.lanes(first, from);
        let entry = |row: usize, column: usize| {
            words[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff
        };
        for lane in 0..LANES {
            let (row, column) = (lane / 4, 2 * (lane % 4));
            let pair = [entry(column, row), entry(column + 1, row)];
            self.threads[first + lane].set(to, pair[0] | pair[1] << 16);
        }
    }

    /// 8 x 8 matrices of 16 bits; lane 8 n + r gives the address of row r of matrix n.
    fn load_matrix(
        &mut self,
        first: usize,
        to: &[Reg],
        transposed: bool,
        rows: &[u64],
    ) -> Result<(), Wrong> {
        for (n, register) in to.iter().enumerate() {
            let mut matrix = [[0_u64; 8]; 8];
            for (r, row) in matrix.iter_mut().enumerate() {
                let lane = 8 * n + r;
                let begins = row_at(rows, lane)?;
                let by = self.actor(first + lane);
                for (c, x) in row.iter_mut().enumerate() {
                    let at = begins + 2 * c as u64;
                    *x = self.shared[self.rank]
                        .read(at, 2, by)
                        .map_err(|what| (lane, what))?;
                }
            }
            for lane in 0..LANES {
                let (r, c) = (lane / 4, 2 * (lane % 4));
                let pair = match transposed {
                    false => [matrix[r][c], matrix[r][c + 1]],
                    true => [matrix[c][r], matrix[c + 1][r]],
                };
                self.threads[first + lane].set(*register, pair[0] | pair[1] << 16);
            }
        }
        Ok(())
    }

    /// As [`Self::load_matrix`], the other way.
    fn store_matrix(
        &mut self,
        first: usize,
        from: &[Reg],
        transposed: bool,
        rows: &[u64],
    ) -> Result<(), Wrong> {
        for (n, register) in from.iter().enumerate() {
            for (lane, word) in self.lanes(first, *register).into_iter().enumerate() {
                for half in 0..2 {
                    let (r, c) = (lane / 4, 2 * (lane % 4) + half);
                    let (row, column) = if transposed { (c, r) } else { (r, c) };
                    let at = row_at(rows, 8 * n + row)? + 2 * column as u64;
                    let (by, number) =
                        (self.actor(first + lane), word >> (16 * half) & 0xffff);
                    let written = self.shared[self.rank].write(at, 2, number, by);
                    written.map_err(|what| (lane, what))?;
                }
            }
        }
        Ok(())
    }
}

/// The byte of shared memory at which the row of a matrix begins that a lane gives the address of.
fn row_at(rows: &[u64], lane: usize) -> Result<u64, Wrong> {
    match rows[lane] {
        at if at.is_multiple_of(16) => Ok(at.wrapping_sub(SHARED)),
        at => Err((lane, format!("{at:#x} is not a multiple of 16"))),
    }
}

/// What a product of tf32 makes of an operand: what was not converted loses its low bits.
fn cut(x: f32) -> f64 {
    let rounded = f32::from_bits(x.to_bits() & !0x1fff);
    // A converted number is itself.
    debug_assert!(tensor(rounded) == rounded || rounded.is_nan());
    f64::from(rounded)
}
