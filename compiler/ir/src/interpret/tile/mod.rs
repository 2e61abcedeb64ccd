//! Runs a tile kernel one element at a time, in float64 or with every result rounded to float32:
//! a second reading of the kernel language, as plain as possible, that backends are compared with.
//!
//! It is stricter than a backend can afford to be. Scratch is filled with NaN before every point of
//! the grid. An element outside its place is an error, and so is what would make the result hang
//! on the order of things that have none: an element of a buffer that one point of the grid writes
//! and another one touches, or that one point of a map stores and another one loads.

mod blocks;
mod map;
mod memory;
mod team;

use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::tile::size::elements;
use crate::tile::{Affine, Extent, Kernel, Place, Stmt};
use memory::Traces;
use thiserror::Error;

/// Why a kernel could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("kernel `{kernel}`: {what}")]
pub struct KernelError {
    /// The kernel.
    pub kernel: String,
    /// What happened.
    pub what: String,
}

/// Runs a kernel on its buffers, in order; an element is a double, whatever it is of.
///
/// # Errors
/// Where a buffer has another number of elements than its shape, an access leaves its place, or
/// the result hangs on the order of points.
pub fn run(
    kernel: &Kernel,
    buffers: &mut [Vec<f64>],
    sizes: &Sizes,
    precision: Precision,
) -> Result<(), KernelError> {
    run_rounding(kernel, buffers, sizes, precision, &|_, x| x)
}

/// How the operands of a product of these rows, columns and terms are rounded before they are multiplied.
pub type Operands<'o> = &'o dyn Fn([Extent; 3], f64) -> f64;

/// As [`run`], with the operands of products rounded, as instructions of matrices do.
///
/// # Errors
/// As [`run`].
pub fn run_rounding(
    kernel: &Kernel,
    buffers: &mut [Vec<f64>],
    sizes: &Sizes,
    precision: Precision,
    operands: Operands<'_>,
) -> Result<(), KernelError> {
    let error = |what| KernelError { kernel: kernel.name.clone(), what };
    let sized = kernel.buffers.values().map(|b| elements(&b.dims).eval(sizes));
    if !sized.eq(buffers.iter().map(|b| b.len() as i64)) {
        let found: Vec<usize> = buffers.iter().map(Vec::len).collect();
        return Err(error(format!("its buffers cannot have {found:?} elements")));
    }
    let traces = buffers.iter().map(|b| Traces::new(b.len())).collect();
    let tiles = kernel.tiles.values().map(|t| elements(&t.dims).eval(sizes));
    let tiles = tiles.map(|n| vec![f64::NAN; n.max(0) as usize]).collect();
    let mut machine = Machine {
        buffers,
        tiles,
        traces,
        indices: vec![0; kernel.indices],
        sizes: *sizes,
        precision,
        operands,
        point: 0,
    };
    let grid: Vec<usize> = kernel.grid.iter().map(|(_, d)| d.size(sizes)).collect();
    if kernel.team() > 1 {
        return machine.teams(kernel, &grid).map_err(error);
    }
    for point in super::array::indices(&grid) {
        machine.begin(kernel, &point);
        machine.body(&kernel.body).map_err(error)?;
    }
    Ok(())
}

/// The state of one point of the grid, and the buffers that all share.
struct Machine<'b> {
    buffers: &'b mut [Vec<f64>],
    tiles: Vec<Vec<f64>>,
    traces: Vec<Traces>,
    indices: Vec<i64>,
    sizes: Sizes,
    precision: Precision,
    operands: Operands<'b>,
    /// This point's number, from 1.
    point: u32,
}

type Done = Result<(), String>;

impl Machine<'_> {
    /// The next point of the grid.
    fn begin(&mut self, kernel: &Kernel, point: &[usize]) {
        self.point += 1;
        for tile in &mut self.tiles {
            tile.fill(f64::NAN);
        }
        for ((index, _), i) in kernel.grid.iter().zip(point) {
            self.indices[index.index()] = *i as i64;
        }
    }

    fn body(&mut self, body: &[Stmt]) -> Done {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Done {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                self.map(space, expr, loads, sinks)
            }
            Stmt::Product { m, n, k, alpha, left, right, out, accumulate, shape } => {
                let extent = [*m, *n, *k];
                self.product(extent, *alpha, [left, right, out], *accumulate, *shape)
            }
            Stmt::SolveUnitLower { lower, x, n, m, transpose } => {
                self.solve(Place::Tile(*lower), Place::Tile(*x), [*n, *m], *transpose)
            }
            Stmt::Eliminate { a, x, n, m } => {
                self.eliminate(Place::Tile(*a), Place::Tile(*x), [*n, *m])
            }
            Stmt::InverseRoot { a, basis, n, p } => {
                self.inverse_root([a, basis].map(|t| Place::Tile(*t)), *n, *p)
            }
            Stmt::LinearScan { a, b, init, y, extent, reverse } => {
                let places = [a, b, init, y].map(|t| Place::Tile(*t));
                self.linear_scan(places, *extent, *reverse)
            }
            Stmt::Gather { table, rows, index, count, width, out } => {
                let count = self.size(*count);
                self.gather((Place::Buffer(*table), *rows), index, [count, *width], out)
            }
            Stmt::ScatterAdd { table, rows, index, count, width, values, share } => {
                let count = self.size(*count);
                let table = (Place::Buffer(*table), *rows);
                let share = share.map(|(i, n)| (self.indices[i.index()], n as i64));
                self.scatter_add(table, index, [count, *width], values, share)
            }
            Stmt::Loop { index, extent, part, reverse, body } => {
                let n = self.size(*extent) as i64;
                let (first, n) = part.range(n, |i| self.indices[i.index()]);
                for i in 0..n {
                    let turn = if *reverse { n - 1 - i } else { i };
                    self.indices[index.index()] = first + turn;
                    self.body(body)?;
                }
                Ok(())
            }
            Stmt::When { value, low, high, body } => {
                let v = self.value(value);
                if self.value(low) <= v && v < self.value(high) {
                    return self.body(body);
                }
                Ok(())
            }
            Stmt::Together { body } => self.body(body),
            // A team of one.
            Stmt::Total { .. } => Ok(()),
        }
    }

    fn size(&self, extent: Extent) -> usize {
        extent.size(&self.sizes)
    }

    fn value(&self, affine: &Affine) -> i64 {
        affine.eval(&self.sizes, &self.indices)
    }

    /// A result as the working precision holds it.
    fn round(&self, x: f64) -> f64 {
        match self.precision {
            Precision::F32 => f64::from(x as f32),
            Precision::F64 => x,
        }
    }
}
