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
