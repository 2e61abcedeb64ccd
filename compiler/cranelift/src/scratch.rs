//! Where tiles lie in a worker's scratch, and the walk over the grid.

use crate::emitter::{Emitter, Num};
use cranelift_codegen::ir::{InstBuilder, Value};
use nestor_ir::artifact::Precision;
use nestor_ir::entity::Entity;
use nestor_ir::tile::lifetimes::{LINE, shared};
use nestor_ir::tile::size::elements;
use nestor_ir::tile::{Kernel, Monomial};

/// Bytes of scratch a kernel needs: the sum of these.
pub(crate) fn needed(kernel: &Kernel, precision: Precision) -> Vec<Monomial> {
    let shared = shared(kernel, precision);
    let mut out = vec![Monomial::number(shared.bytes)];
    for (tile, _) in kernel.tiles.values().zip(&shared.offsets).filter(|t| t.1.is_none())
    {
        let bytes = precision.bytes_of(tile.elem) as i64;
        out.push(elements(&tile.dims).times(Monomial::number(bytes)));
        out.push(Monomial::number(LINE));
    }
    out
}

impl Emitter<'_> {
    /// Computes the tiles' addresses: those of fixed size first, then the others in a row.
    pub(crate) fn place_tiles(&mut self, scratch: Value) {
        let shared = shared(self.kernel, self.precision);
        let mut at = Num::Const(shared.bytes);
        for (tile, offset) in self.kernel.tiles.values().zip(shared.offsets) {
            if let Some(offset) = offset {
                let address = self.offset(scratch, Num::Const(offset));
                self.tiles.push(address);
                continue;
            }
            let address = self.offset(scratch, at);
            self.tiles.push(address);
            let count = self.monomial(&elements(&tile.dims));
            let bytes = self.bytes(tile.elem);
            let bytes = self.mul(count, Num::Const(bytes));
            let end = self.add(at, bytes);
            let end = self.add(end, Num::Const(LINE - 1));
            at = match end {
                Num::Const(n) => Num::Const(n / LINE * LINE),
                Num::Run(v) => Num::Run(self.b.ins().band_imm_s(v, -LINE)),
            };
        }
    }

    /// Runs the body for the points `first .. last`.
    pub(crate) fn walk_grid(&mut self, first: Value, last: Value) {
        let kernel = self.kernel;
        let extents: Vec<Num> =
            kernel.grid.iter().map(|(_, d)| self.extent(*d)).collect();
        self.count(Num::Run(first), Num::Run(last), 1, |e, point| {
            let mut rest = point;
            for (n, (index, _)) in kernel.grid.iter().enumerate().rev() {
                if n == 0 {
                    e.indices[index.index()] = Some(rest);
                    break;
                }
                let size = e.value(extents[n]);
                let quotient = e.b.ins().udiv(rest, size);
                let whole = e.b.ins().imul(quotient, size);
                e.indices[index.index()] = Some(e.b.ins().isub(rest, whole));
                rest = quotient;
            }
            e.body_of(&kernel.body);
        });
    }
}
