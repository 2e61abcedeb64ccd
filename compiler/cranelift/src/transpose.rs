//! Maps that do nothing but turn a matrix are left to a routine.

use crate::access::Reach;
use crate::emitter::{Emitter, Num};
use cranelift_codegen::ir::{InstBuilder, Value};
use nestor_ir::tile::{Expr, ExprId, ScalarOp};
use nestor_ir::ty::Elem;

/// A matrix smaller than this in a direction is not worth a call.
const FEW: i64 = 8;

/// A turned matrix.
pub(crate) struct Turned {
    source: Value,
    source_stride: i64,
    target: Value,
    target_stride: i64,
    rows: Num,
    columns: Num,
}

/// Sees whether the last two dimensions, from `d` on, turn a matrix: what is read goes along
/// the outer of them element by element, what is written along the inner one.
pub(crate) fn turned(
    e: &Emitter<'_>,
    (expr, root): (&Expr, ExprId),
    loads: &[Reach],
    store: &Reach,
    d: usize,
    (outer, inner): (Num, Num),
) -> Option<Turned> {
    let ScalarOp::Load(n) = expr.scalars[root].op else { return None };
    let load = &loads[n];
    let bytes = e.bytes(Elem::Real);
    let large = |n: Num| match n {
        Num::Const(n) => n >= FEW,
        Num::Run(_) => true,
    };
    let (read, write) =
        (Emitter::constant_strides(load, d)?, Emitter::constant_strides(store, d)?);
    let real = load.elem == Elem::Real && store.elem == Elem::Real;
    let fits = read.0 == bytes && write.1 == bytes && read.1 > bytes && write.0 > bytes;
    (real && fits && large(outer) && large(inner)).then(|| Turned {
        source: Emitter::address(load),
        source_stride: read.1 / bytes,
        target: Emitter::address(store),
        target_stride: write.0 / bytes,
        rows: inner,
        columns: outer,
    })
}

impl Emitter<'_> {
    /// Calls the routine.
    pub(crate) fn turn(&mut self, t: &Turned) {
        let numbers = [
            Num::Const(t.source_stride),
            Num::Run(t.target),
            Num::Const(t.target_stride),
            t.rows,
            t.columns,
        ];
        let mut arguments = vec![t.source];
        for n in numbers {
            arguments.push(self.value(n));
        }
        let routine = self.routines.get("transpose");
        self.b.ins().call(routine, &arguments);
    }
}
