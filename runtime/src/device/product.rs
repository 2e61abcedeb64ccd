//! Dense products on a device: by its library, else by the kernel that comes with every program.

use super::{Command, Module};
use nestor_ir::artifact::DeviceProduct;

/// `out = alpha * left @ right (+ out)` in float32, repeated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Product {
    /// Rows, columns, depth.
    pub shape: [usize; 3],
    /// How often, each with its own operands.
    pub repeats: usize,
    /// Factor.
    pub alpha: f32,
    /// Left, right, out.
    pub operands: [Operand; 3],
    /// Adds to what is there.
    pub accumulate: bool,
}

/// An operand: an address, and elements between repetitions, rows and columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
    /// Its first entry.
    pub address: u64,
    /// Elements between repetitions.
    pub repeat: i64,
    /// Elements between rows.
    pub row: i64,
    /// Elements between columns.
    pub column: i64,
}

/// The launch of the program's own kernel.
pub fn launch(module: Module, kernel: &DeviceProduct, what: &Product) -> Command {
    let [m, n, k] = what.shape;
    let [high, wide] = kernel.tile;
    let mut params: Vec<u64> = what.operands.iter().map(|o| o.address).collect();
    params.extend([m, n, k].map(|d| d as u64));
    for o in &what.operands {
        params.extend([o.repeat, o.row, o.column].map(|s| s as u64));
    }
    params.extend([u64::from(what.alpha.to_bits()), u64::from(what.accumulate)]);
    Command::Kernel {
        module,
        symbol: kernel.symbol.clone(),
        grid: what.repeats * m.div_ceil(high) * n.div_ceil(wide),
        threads: kernel.threads,
        shared: kernel.shared,
        params,
        maps: vec![],
    }
}

/// A matrix as a library of column-major products takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Laid {
    /// The operand has its columns side by side in memory, not its rows.
    pub turned: bool,
    /// Elements between what lies side by side.
    pub pitch: i64,
}

/// How a library can take an operand of so many rows and columns; nothing where no dimension is contiguous.
pub fn laid(o: &Operand, rows: usize, columns: usize) -> Option<Laid> {
    let (rows, columns) = (rows as i64, columns as i64);
    if (o.column == 1 || columns == 1) && (o.row >= columns || rows == 1) {
        return Some(Laid { turned: false, pitch: o.row.max(columns) });
    }
    if (o.row == 1 || rows == 1) && (o.column >= rows || columns == 1) {
        return Some(Laid { turned: true, pitch: o.column.max(rows) });
    }
    None
}

/// An operand as the library sees it: rows and columns as they lie, and whether it is to be turned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it lies.
    pub operand: Operand,
    /// Rows as they lie, column by column.
    pub rows: usize,
    /// Columns as they lie.
    pub columns: usize,
    /// Elements between columns.
    pub pitch: i64,
    /// It is to be turned.
    pub turned: bool,
}

impl Part {
    /// Bytes that its address is a multiple of, up to those that the library takes for granted where it is told nothing.
    pub fn alignment(&self) -> u32 {
        const GRANTED: u32 = 256;
        1 << self.operand.address.trailing_zeros().min(GRANTED.trailing_zeros())
    }
}

/// The three matrices of the transposed product, column by column: its left, its right, its result; nothing where one of
/// them has no contiguous dimension.
pub fn arranged(what: &Product) -> Option<[Part; 3]> {
    let [m, n, k] = what.shape;
    let [left, right, out] = what.operands;
    if laid(&out, m, n)?.turned {
        // The result's transpose is that of the operands' transposes in the other order.
        let other = |o: Operand| Operand { row: o.column, column: o.row, ..o };
        let operands = [other(right), other(left), other(out)];
        return (!laid(&operands[2], n, m)?.turned)
            .then(|| arranged(&Product { shape: [n, m, k], operands, ..*what }))
            .flatten();
    }
    let part = |operand: Operand, rows: usize, columns: usize, how: Laid| match how.turned
    {
        false => Part {
            operand,
            rows: columns,
            columns: rows,
            pitch: how.pitch,
            turned: false,
        },
        true => Part { operand, rows, columns, pitch: how.pitch, turned: true },
    };
    Some([
        part(right, k, n, laid(&right, k, n)?),
        part(left, m, k, laid(&left, m, k)?),
        part(out, m, n, laid(&out, m, n)?),
    ])
}

#[cfg(test)]
mod tests {
    use super::{Operand, Part, Product, arranged};

    /// Entry of a matrix that lies column by column, turned where it is to be.
    fn entry(data: &[f64], part: &Part, row: usize, column: usize) -> f64 {
        let (row, column) = if part.turned { (column, row) } else { (row, column) };
        assert!(row < part.rows && column < part.columns, "outside of the matrix");
        data[part.operand.address as usize + row + column * part.pitch as usize]
    }

    /// Strides of a matrix `[rows, columns]` that lies one way or the other, with room between its lines.
    fn strides(rows: usize, columns: usize, turned: bool, room: i64) -> (i64, i64) {
        match turned {
            false => (columns as i64 + room, 1),
            true => (1, rows as i64 + room),
        }
    }

    #[test]
    fn parts_say_how_their_addresses_are_aligned() {
        let of = |address| {
            let operand = Operand { address, repeat: 0, row: 4, column: 1 };
            let part = Part { operand, rows: 4, columns: 4, pitch: 4, turned: false };
            part.alignment()
        };
        assert_eq!([4, 48, 4096, 0].map(of), [4, 16, 256, 256]);
    }

    #[test]
    fn a_column_major_library_computes_the_row_major_product() {
        let numbers: Vec<f64> =
            (0..600).map(|i| ((i * 37) % 101) as f64 / 50.0 - 1.0).collect();
        let all = (0..8).map(|n| [0, 1, 2].map(|bit| n >> bit & 1 == 1));
        for turned in all {
            for [m, n, k] in [[3, 4, 5], [1, 7, 2], [6, 1, 3], [4, 5, 1], [1, 1, 1]] {
                for room in [0, 3] {
                    let shapes = [(m, k), (k, n), (m, n)];
                    let mut at = 0;
                    let operands = [0, 1, 2].map(|o| {
                        let (rows, columns) = shapes[o];
                        let (row, column) = strides(rows, columns, turned[o], room);
                        let operand = Operand { address: at, repeat: 0, row, column };
                        at += 150;
                        operand
                    });
                    let what = Product {
                        shape: [m, n, k],
                        repeats: 1,
                        alpha: 1.0,
                        operands,
                        accumulate: false,
                    };
                    let [a, b, d] = arranged(&what).expect("every operand is contiguous");
                    assert!(!d.turned, "results are not turned");
                    let [left, right, out] = operands;
                    let of = |o: &Operand, i: usize, j: usize| {
                        o.address as i64 + i as i64 * o.row + j as i64 * o.column
                    };
                    let inner = if a.turned { a.rows } else { a.columns };
                    assert_eq!(inner, k, "terms of {what:?}");
                    for i in 0..m {
                        for j in 0..n {
                            let want: f64 = (0..k)
                                .map(|l| {
                                    numbers[of(&left, i, l) as usize]
                                        * numbers[of(&right, l, j) as usize]
                                })
                                .sum();
                            // Where the library stores this entry.
                            let place = of(&out, i, j) - d.operand.address as i64;
                            let (column, row) = (place / d.pitch, place % d.pitch);
                            let (row, column) = (row as usize, column as usize);
                            assert!(row < d.rows && column < d.columns, "{what:?}");
                            let got: f64 = (0..k)
                                .map(|l| {
                                    entry(&numbers, &a, row, l)
                                        * entry(&numbers, &b, l, column)
                                })
                                .sum();
                            assert!(
                                (got - want).abs() < 1e-12,
                                "{what:?}: {got}, not {want}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_contiguous_dimension_is_left_to_our_kernel() {
        let operand = |row, column| Operand { address: 0, repeat: 0, row, column };
        let operands = [operand(20, 2), operand(4, 1), operand(4, 1)];
        let what = Product {
            shape: [3, 4, 5],
            repeats: 1,
            alpha: 1.0,
            operands,
            accumulate: false,
        };
        assert_eq!(arranged(&what), None);
    }
}
