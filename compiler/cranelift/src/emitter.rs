//! The state of one kernel's emission, and the small helpers every part of it uses.
//!
//! [`Num`] is a number that is known now or at run time: extents, strides and offsets stay
//! constants as long as they are, so that loops over fixed extents have no tests left in them.

use crate::jit::RoutineRefs;
use crate::wide_call::WideUnit;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind,
    Type, Value, types,
};
use cranelift_frontend::FunctionBuilder;
use cranelift_jit::JITModule;
use nestor_ir::artifact::Precision;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Kernel, Place};
use nestor_ir::ty::Elem;

/// Elements of a row buffer between two stages of a map.
pub(crate) const ROW: i64 = 256;

/// A number, known now or at run time (an i64).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Num {
    /// Known now.
    Const(i64),
    /// Known at run time.
    Run(Value),
}

/// What one kernel's emission knows.
pub(crate) struct Emitter<'a> {
    /// Cranelift's builder of this function.
    pub(crate) b: FunctionBuilder<'a>,
    /// The kernel.
    pub(crate) kernel: &'a Kernel,
    /// The working precision.
    pub(crate) precision: Precision,
    /// Fused multiply-add is one instruction here.
    pub(crate) fma: bool,
    /// Addresses of the buffers' first elements.
    pub(crate) buffers: Vec<Value>,
    /// Addresses of the tiles.
    pub(crate) tiles: Vec<Value>,
    /// Values of the indices in scope.
    pub(crate) indices: Vec<Option<Value>>,
    /// B, T, t0.
    pub(crate) sizes: [Value; 3],
    /// Routines by name.
    pub(crate) routines: RoutineRefs,
    /// Row buffers made so far.
    pub(crate) rows: Vec<StackSlot>,
    /// Where maps may become vector functions, and the module that holds them.
    pub(crate) wide: Option<(&'a mut WideUnit, &'a mut JITModule)>,
    /// The list of words that such functions are called with.
    pub(crate) words: Option<StackSlot>,
}

/// Memory of ours: it does not trap.
pub(crate) fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl Emitter<'_> {
    /// The scalar type of `Real`.
    pub(crate) fn real(&self) -> Type {
        match self.precision {
            Precision::F32 => types::F32,
            Precision::F64 => types::F64,
        }
    }
    /// Lanes of a 128-bit vector of reals.
    pub(crate) fn lanes(&self) -> usize {
        16 / self.precision.bytes()
    }
    /// Bytes of an element in memory.
    pub(crate) fn bytes(&self, elem: Elem) -> i64 {
        self.precision.bytes_of(elem) as i64
    }
    /// Address and element of a place.
    pub(crate) fn place(&self, place: Place) -> (Value, Elem) {
        match place {
            Place::Buffer(b) => (self.buffers[b.index()], self.kernel.buffers[b].elem),
            Place::Tile(t) => (self.tiles[t.index()], self.kernel.tiles[t].elem),
        }
    }
    /// A row buffer.
    pub(crate) fn row(&mut self, number: usize) -> Value {
        while self.rows.len() <= number {
            let bytes = u32::try_from(ROW).expect("small") * 8;
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
            let slot = self.b.create_sized_stack_slot(data);
            self.rows.push(slot);
        }
        self.b.ins().stack_addr(types::I64, self.rows[number], 0)
    }

    /// As a run-time value.
    pub(crate) fn value(&mut self, n: Num) -> Value {
        match n {
            Num::Const(n) => self.b.ins().iconst(types::I64, n),
            Num::Run(v) => v,
        }
    }
    /// `x + y`
    pub(crate) fn add(&mut self, x: Num, y: Num) -> Num {
        match (x, y) {
            (Num::Const(a), Num::Const(b)) => Num::Const(a + b),
            (Num::Const(0), n) | (n, Num::Const(0)) => n,
            (Num::Run(v), Num::Const(n)) | (Num::Const(n), Num::Run(v)) => {
                Num::Run(self.b.ins().iadd_imm_s(v, n))
            }
            (Num::Run(v), Num::Run(w)) => Num::Run(self.b.ins().iadd(v, w)),
        }
    }
    /// `x y`
    pub(crate) fn mul(&mut self, x: Num, y: Num) -> Num {
        match (x, y) {
            (Num::Const(a), Num::Const(b)) => Num::Const(a * b),
            (Num::Const(0), _) | (_, Num::Const(0)) => Num::Const(0),
            (Num::Const(1), n) | (n, Num::Const(1)) => n,
            (Num::Run(v), Num::Const(n)) | (Num::Const(n), Num::Run(v)) => {
                let factor = self.b.ins().iconst(types::I64, n);
                Num::Run(self.b.ins().imul(v, factor))
            }
            (Num::Run(v), Num::Run(w)) => Num::Run(self.b.ins().imul(v, w)),
        }
    }
    /// `x - y`
    pub(crate) fn sub(&mut self, x: Num, y: Num) -> Num {
        let minus = self.mul(y, Num::Const(-1));
        match (x, y) {
            (Num::Run(v), Num::Run(w)) => Num::Run(self.b.ins().isub(v, w)),
            (Num::Const(_), _) | (_, Num::Const(_)) => self.add(x, minus),
        }
    }
    /// The smaller.
    pub(crate) fn min(&mut self, x: Num, y: Num) -> Num {
        match (x, y) {
            (Num::Const(a), Num::Const(b)) => Num::Const(a.min(b)),
            (x, y) => {
                let (v, w) = (self.value(x), self.value(y));
                Num::Run(self.b.ins().smin(v, w))
            }
        }
    }
    /// The larger.
    pub(crate) fn max(&mut self, x: Num, y: Num) -> Num {
        match (x, y) {
            (Num::Const(a), Num::Const(b)) => Num::Const(a.max(b)),
            (x, y) => {
                let (v, w) = (self.value(x), self.value(y));
                Num::Run(self.b.ins().smax(v, w))
            }
        }
    }
    /// `address + n`
    pub(crate) fn offset(&mut self, address: Value, n: Num) -> Value {
        let sum = self.add(Num::Run(address), n);
        self.value(sum)
    }
    /// `x < y`, or whatever else is asked, as a truth value.
    pub(crate) fn compare(&mut self, cc: IntCC, x: Num, y: Num) -> Value {
        let (v, w) = (self.value(x), self.value(y));
        self.b.ins().icmp(cc, v, w)
    }

    /// Goes to a block.
    pub(crate) fn jump(&mut self, to: Block, with: &[Value]) {
        let args: Vec<BlockArg> = with.iter().map(|v| BlockArg::Value(*v)).collect();
        self.b.ins().jump(to, &args);
    }
    /// Goes on in a block from which nothing jumps back to before.
    pub(crate) fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
    }
    /// Runs `then` where the condition holds.
    pub(crate) fn when(&mut self, condition: Value, then: impl FnOnce(&mut Self)) {
        let (yes, after) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, yes, &[], after, &[]);
        self.enter(yes);
        then(self);
        self.jump(after, &[]);
        self.enter(after);
    }
    /// A value from one of two places.
    pub(crate) fn choose(
        &mut self,
        condition: Value,
        ty: Type,
        yes: impl FnOnce(&mut Self) -> Value,
        no: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (a, b, after) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(after, ty);
        self.b.ins().brif(condition, a, &[], b, &[]);
        self.enter(a);
        let v = yes(self);
        self.jump(after, &[v]);
        self.enter(b);
        let v = no(self);
        self.jump(after, &[v]);
        self.enter(after);
        result
    }
    /// `for i = from; i + step <= to; i += step`: runs the body, returns the first i not done.
    pub(crate) fn count(
        &mut self,
        from: Num,
        to: Num,
        step: i64,
        body: impl FnOnce(&mut Self, Value),
    ) -> Num {
        if let (Num::Const(a), Num::Const(z)) = (from, to) {
            let steps = (z - a).max(0) / step;
            if steps == 0 {
                return from;
            }
            if steps == 1 {
                let i = self.value(from);
                body(self, i);
                return Num::Const(a + step);
            }
        }
        let (head, inside, after) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(head, types::I64);
        let limit = self.add(to, Num::Const(1 - step));
        let limit = self.value(limit);
        let start = self.value(from);
        self.jump(head, &[start]);
        self.enter(head);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, i, limit);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.enter(inside);
        body(self, i);
        let next = self.b.ins().iadd_imm_s(i, step);
        self.jump(head, &[next]);
        self.enter(after);
        match (from, to) {
            (Num::Const(a), Num::Const(z)) => Num::Const(a + (z - a) / step * step),
            (Num::Const(_) | Num::Run(_), _) => Num::Run(i),
        }
    }
}
