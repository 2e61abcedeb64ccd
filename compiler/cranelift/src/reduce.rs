//! Folds: accumulators in vector lanes, joined in one fixed order.
//!
//! The order depends on sizes alone, never on how many workers there are, so results are the
//! same on every run.

use crate::access::Reach;
use crate::emitter::Emitter;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::ScalarKind;

/// How many vectors go abreast in the main loop.
pub(crate) const ABREAST: usize = 4;

/// Accumulators of one fold.
#[derive(Clone)]
pub(crate) struct Accumulator {
    /// How.
    pub(crate) fold: Fold,
    /// Vectors, one for each step of the unrolled loop; none where the loop is too short.
    pub(crate) vectors: Vec<Variable>,
    /// For what is left over.
    pub(crate) scalar: Variable,
}

impl Emitter<'_> {
    /// Accumulators that hold nothing yet.
    pub(crate) fn accumulator(&mut self, fold: Fold, vectors: usize) -> Accumulator {
        let nothing = match fold {
            Fold::Sum => 0.0,
            Fold::Max => f64::NEG_INFINITY,
            Fold::Min => f64::INFINITY,
        };
        let real = self.real();
        let scalar = self.b.declare_var(real);
        let v = self.number(nothing);
        self.b.def_var(scalar, v);
        let lanes = self.lanes();
        let ty = self.kind_type(ScalarKind::Real, lanes);
        let vectors = (0..vectors).map(|_| {
            let var = self.b.declare_var(ty);
            let v = self.number(nothing);
            let v = self.splat(ScalarKind::Real, v, lanes);
            self.b.def_var(var, v);
            var
        });
        let vectors = vectors.collect();
        Accumulator { fold, vectors, scalar }
    }
    /// Folds a value in; `abreast` says which vector.
    pub(crate) fn gather(
        &mut self,
        a: &Accumulator,
        abreast: usize,
        v: Value,
        lanes: usize,
    ) {
        let var = if lanes == 1 { a.scalar } else { a.vectors[abreast] };
        let old = self.b.use_var(var);
        let new = self.fold(a.fold, old, v, lanes);
        self.b.def_var(var, new);
    }
    /// Joins all and stores the result.
    pub(crate) fn finish(&mut self, a: &Accumulator, to: &Reach, accumulate: bool) {
        let lanes = self.lanes();
        let mut vectors: Vec<Value> =
            a.vectors.iter().map(|v| self.b.use_var(*v)).collect();
        while vectors.len() > 1 {
            let half = vectors.len().div_ceil(2);
            for i in half..vectors.len() {
                vectors[i - half] =
                    self.fold(a.fold, vectors[i - half], vectors[i], lanes);
            }
            vectors.truncate(half);
        }
        let mut result = self.b.use_var(a.scalar);
        if let Some(&v) = vectors.first() {
            let mut parts: Vec<Value> =
                (0..lanes).map(|n| self.extract(ScalarKind::Real, v, n)).collect();
            while parts.len() > 1 {
                let half = parts.len() / 2;
                for i in half..parts.len() {
                    parts[i - half] = self.fold(a.fold, parts[i - half], parts[i], 1);
                }
                parts.truncate(half);
            }
            result = self.fold(a.fold, parts[0], result, 1);
        }
        let address = Self::address(to);
        let fold = a.fold;
        let elem = to.elem;
        let store = move |e: &mut Self| {
            let mut result = result;
            if accumulate {
                let old = e.load_scalar(elem, address);
                result = e.fold(fold, old, result, 1);
            }
            e.store_scalar(elem, result, address);
        };
        match self.there(to) {
            Some(there) => self.when(there, store),
            None => store(self),
        }
    }
    fn fold(&mut self, fold: Fold, old: Value, new: Value, lanes: usize) -> Value {
        let cc = match fold {
            Fold::Sum => return self.b.ins().fadd(old, new),
            Fold::Max => FloatCC::GreaterThan,
            Fold::Min => FloatCC::LessThan,
        };
        let better = self.b.ins().fcmp(cc, new, old);
        let nan = self.b.ins().fcmp(FloatCC::Unordered, new, new);
        let take = self.b.ins().bor(better, nan);
        self.pick(take, new, old, lanes)
    }
}
