//! Operations of MLIR, one method for each that kernels are made of.
//!
//! A builder stands at the end of a block, which is in its place before it is filled, so that all values live as long as the
//! module.

mod bits;
mod boxes;
mod halves;
mod loops;
mod short;

use indexmap::IndexMap;
use melior::dialect::arith::{CmpfPredicate, CmpiPredicate};
use melior::dialect::llvm;
use melior::ir::ValueLike;
use melior::ir::attribute::{
    DenseI32ArrayAttribute, FlatSymbolRefAttribute, FloatAttribute, IntegerAttribute,
    StringAttribute, TypeAttribute,
};
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationBuilder;
use melior::ir::r#type::IntegerType;
use melior::ir::{
    Attribute, BlockRef, Identifier, Location, OperationRef, Type, TypeLike, Value,
};
use melior::{Context, IrRewriter};
use nestor_ir::tile::ScalarKind as Kind;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

/// A value of the module.
pub(super) type V<'c, 'a> = Value<'c, 'a>;

/// Builds at the end of a block.
pub(super) struct Builder<'c, 'a> {
    pub(super) context: &'c Context,
    pub(super) location: Location<'c>,
    pub(super) block: BlockRef<'c, 'a>,
    /// The function's first block, where constants stand, each once.
    entry: BlockRef<'c, 'a>,
    constants: Table<(u32, u64), V<'c, 'a>>,
    /// Names of operations, by which they are told apart.
    names: Table<String, usize>,
    /// What has been computed, in the block and in those around it: nothing is computed twice, so that what lowers it has less
    /// to read.
    known: Vec<Table<Pure, V<'c, 'a>>>,
    /// What is known of whole numbers, by their place: the least they may be, and what they are below.
    ranges: Table<usize, short::Range>,
    /// Bits of them that are zero, by their place.
    zeros: Table<usize, u64>,
    /// Reals that are a half of a register, by their place: the register, and which half.
    halves: Table<usize, (V<'c, 'a>, usize)>,
    /// Numbers of 32 bits by the places of what they are widened to.
    shorts: Table<usize, V<'c, 'a>>,
    /// Numbers that have been widened and not been read so far, by their places.
    unread: Table<usize, OperationRef<'c, 'a>>,
    /// Whether tensor cores read shared memory: a fence stands before every barrier.
    pub(super) fenced: bool,
}

/// An operation without effects: its name's number, what else says which it is, the type of its result, and its operands.
type Pure = SmallVec<[usize; 6]>;

/// A table that is asked for every operation.
type Table<K, V> = IndexMap<K, V, FxBuildHasher>;

/// The key of a real among constants.
const REAL: u32 = 0;

impl<'c: 'a, 'a> Builder<'c, 'a> {
    pub(super) fn new(context: &'c Context, block: BlockRef<'c, 'a>) -> Self {
        Self {
            context,
            location: Location::unknown(context),
            block,
            entry: block,
            constants: Table::default(),
            names: Table::default(),
            known: vec![Table::default()],
            ranges: Table::default(),
            zeros: Table::default(),
            halves: Table::default(),
            shorts: Table::default(),
            unread: Table::default(),
            fenced: false,
        }
    }

    pub(super) fn int(&self, bits: u32) -> Type<'c> {
        IntegerType::new(self.context, bits).into()
    }
    pub(super) fn float(&self) -> Type<'c> {
        Type::float32(self.context)
    }
    pub(super) fn pointer(&self, space: u32) -> Type<'c> {
        llvm::r#type::pointer(self.context, space)
    }
    /// The type of a scalar.
    pub(super) fn ty(&self, kind: Kind) -> Type<'c> {
        match kind {
            Kind::Real => self.float(),
            Kind::Int => self.int(32),
            Kind::Bool => self.int(1),
        }
    }

    /// An operation by its name.
    pub(super) fn op(
        &mut self,
        name: &str,
        operands: &[V<'c, 'a>],
        results: &[Type<'c>],
        attributes: &[(&str, Attribute<'c>)],
    ) -> OperationRef<'c, 'a> {
        let named: Vec<_> = attributes
            .iter()
            .map(|(n, a)| (Identifier::new(self.context, n), *a))
            .collect();
        let op = OperationBuilder::new(name, self.location)
            .add_results(results)
            .add_attributes(&named);
        self.appended(op, operands)
    }

    /// Appends an operation that reads these values: all do that have operands.
    fn appended(
        &mut self,
        op: OperationBuilder<'c>,
        operands: &[V<'c, 'a>],
    ) -> OperationRef<'c, 'a> {
        if !self.unread.is_empty() {
            for operand in operands {
                self.unread.swap_remove(&place(*operand));
            }
        }
        let op = op.add_operands(operands).build();
        self.block.append_operation(op.expect("an operation with its results"))
    }

    /// Ends a function; what has been widened and was never read is not part of it.
    pub(super) fn leave(&mut self) {
        self.op("llvm.return", &[], &[], &[]);
        let rewriter = IrRewriter::new(self.context);
        for (_, unread) in self.unread.drain(..) {
            rewriter.as_rewriter_base().erase_op(unread);
        }
    }

    pub(super) fn constant(&mut self, bits: u32, n: i64) -> V<'c, 'a> {
        let to = self.int(bits);
        let value = IntegerAttribute::new(to, n).into();
        let made = self.once((bits, n as u64), to, value);
        self.ranges.insert(place(made), (n, n.saturating_add(1)));
        made
    }
    pub(super) fn real(&mut self, x: f64) -> V<'c, 'a> {
        let to = self.float();
        let value = FloatAttribute::new(self.context, to, x).into();
        self.once((REAL, x.to_bits()), to, value)
    }
    fn once(&mut self, key: (u32, u64), to: Type<'c>, value: Attribute<'c>) -> V<'c, 'a> {
        if let Some(found) = self.constants.get(&key) {
            return *found;
        }
        let named = [(Identifier::new(self.context, "value"), value)];
        let op = OperationBuilder::new("llvm.mlir.constant", self.location)
            .add_attributes(&named)
            .add_results(&[to])
            .build()
            .expect("a constant");
        let made = result(self.entry.insert_operation(0, op));
        self.constants.insert(key, made);
        made
    }

    /// An instruction that stays where it is.
    pub(super) fn fixed(
        &mut self,
        instruction: &str,
        registers: &str,
        operands: &[V<'c, 'a>],
        to: Type<'c>,
    ) -> V<'c, 'a> {
        let attributes = self.inline(instruction, registers);
        self.made("llvm.inline_asm", operands, to, &attributes)
    }
    fn inline(
        &self,
        instruction: &str,
        registers: &str,
    ) -> [(&'static str, Attribute<'c>); 3] {
        let text = |t: &str| StringAttribute::new(self.context, t).into();
        [
            ("asm_string", text(instruction)),
            ("constraints", text(registers)),
            ("has_side_effects", Attribute::unit(self.context)),
        ]
    }

    /// Two of sixteen bits each as the warp's eight by eight have them when they are turned.
    pub(super) fn turned(&mut self, two: V<'c, 'a>) -> V<'c, 'a> {
        let word = self.int(32);
        let turn = "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;";
        self.fixed(turn, "=r,r", &[two], word)
    }

    /// The thread's number in its block, of a power of two of them.
    pub(super) fn thread(&mut self, threads: u32) -> V<'c, 'a> {
        let word = self.int(32);
        let thread = self.fixed("mov.u32 $0, %tid.x;", "=r", &[], word);
        let mask = self.constant(32, i64::from(threads.next_power_of_two()) - 1);
        let thread = self.two("llvm.and", thread, mask);
        self.widened(thread, (0, i64::from(threads.next_power_of_two())))
    }

    /// An operation without effects, where it has not been done already.
    fn pure(
        &mut self,
        name: &str,
        operands: &[V<'c, 'a>],
        to: Type<'c>,
        make: impl FnOnce(&mut Self) -> V<'c, 'a>,
    ) -> V<'c, 'a> {
        self.pure_of((name, 0), operands, to, make)
    }

    /// As [`Builder::pure`], where a number says which operation of the name it is.
    fn pure_of(
        &mut self,
        (name, which): (&str, usize),
        operands: &[V<'c, 'a>],
        to: Type<'c>,
        make: impl FnOnce(&mut Self) -> V<'c, 'a>,
    ) -> V<'c, 'a> {
        let name = match self.names.get(name) {
            Some(known) => *known,
            None => self.names.insert_full(name.to_owned(), self.names.len()).0,
        };
        let mut key: Pure = smallvec![name, which, to.to_raw().ptr as usize];
        key.extend(operands.iter().map(|v| place(*v)));
        if let Some(found) = self.known.iter().rev().find_map(|known| known.get(&key)) {
            return *found;
        }
        let made = make(self);
        self.known.last_mut().expect("a block").insert(key, made);
        made
    }

    /// Two operands of one type, and a result of it.
    pub(super) fn two(&mut self, name: &str, a: V<'c, 'a>, b: V<'c, 'a>) -> V<'c, 'a> {
        let (all, to) = ([a, b], a.r#type());
        if let Some(made) = self.in_short(name, all) {
            return made;
        }
        let made = self.pure(name, &all, to, |b| result(b.op(name, &all, &[to], &[])));
        self.ranged(name, all, made);
        self.zeroed(name, all, made);
        made
    }
    /// As [`Builder::two`], of reals that may be rounded once with what is computed of the result: a product and a sum become one
    /// instruction.
    pub(super) fn contracted(
        &mut self,
        name: &str,
        a: V<'c, 'a>,
        b: V<'c, 'a>,
    ) -> V<'c, 'a> {
        let (all, to) = ([a, b], a.r#type());
        self.pure_of((name, 1), &all, to, |b| {
            let how = Attribute::parse(b.context, "#llvm.fastmath<contract>");
            let how = how.expect("an attribute");
            b.made(name, &all, to, &[("fastmathFlags", how)])
        })
    }
    /// One operand, and a result of its type.
    pub(super) fn one(&mut self, name: &str, a: V<'c, 'a>) -> V<'c, 'a> {
        self.cast(name, a, a.r#type())
    }
    pub(super) fn cast(&mut self, name: &str, a: V<'c, 'a>, to: Type<'c>) -> V<'c, 'a> {
        self.pure(name, &[a], to, |b| result(b.op(name, &[a], &[to], &[])))
    }
    /// `a b + c`, rounded once.
    pub(super) fn fma(&mut self, a: V<'c, 'a>, b: V<'c, 'a>, c: V<'c, 'a>) -> V<'c, 'a> {
        let ty = self.float();
        result(self.op("llvm.intr.fma", &[a, b, c], &[ty], &[]))
    }
    pub(super) fn compare(
        &mut self,
        how: CmpfPredicate,
        a: V<'c, 'a>,
        b: V<'c, 'a>,
    ) -> V<'c, 'a> {
        let to = self.int(1);
        self.pure_of(("llvm.fcmp", how as usize), &[a, b], to, |e| {
            let how = e.predicate(how as i64);
            e.made("llvm.fcmp", &[a, b], to, &[("predicate", how)])
        })
    }
    pub(super) fn compare_whole(
        &mut self,
        how: CmpiPredicate,
        a: V<'c, 'a>,
        b: V<'c, 'a>,
    ) -> V<'c, 'a> {
        if let Some(made) = self.compare_short(how, [a, b]) {
            return made;
        }
        let to = self.int(1);
        self.pure_of(("llvm.icmp", how as usize), &[a, b], to, |e| {
            let how = e.predicate(how as i64);
            e.made("llvm.icmp", &[a, b], to, &[("predicate", how)])
        })
    }
    pub(super) fn select(
        &mut self,
        condition: V<'c, 'a>,
        a: V<'c, 'a>,
        b: V<'c, 'a>,
    ) -> V<'c, 'a> {
        if let Some(made) = self.select_short(condition, [a, b]) {
            return made;
        }
        let (all, to) = ([condition, a, b], a.r#type());
        self.pure("llvm.select", &all, to, |e| e.made("llvm.select", &all, to, &[]))
    }
    /// How to compare: the numbers of the dialects arith and llvm are the same.
    fn predicate(&self, how: i64) -> Attribute<'c> {
        IntegerAttribute::new(self.int(64), how).into()
    }

    /// An operation with one result.
    pub(super) fn made(
        &mut self,
        name: &str,
        operands: &[V<'c, 'a>],
        to: Type<'c>,
        attributes: &[(&str, Attribute<'c>)],
    ) -> V<'c, 'a> {
        result(self.op(name, operands, &[to], attributes))
    }

    /// A function of the instruction set, by its name in LLVM.
    pub(super) fn intrinsic(
        &mut self,
        name: &str,
        operands: &[V<'c, 'a>],
        to: Type<'c>,
    ) -> V<'c, 'a> {
        result(self.intrinsic_of(name, operands, &[to]))
    }

    fn intrinsic_of(
        &mut self,
        name: &str,
        operands: &[V<'c, 'a>],
        results: &[Type<'c>],
    ) -> OperationRef<'c, 'a> {
        let name = StringAttribute::new(self.context, name).into();
        let sizes =
            DenseI32ArrayAttribute::new(self.context, &[operands.len() as i32, 0]).into();
        let bundles = DenseI32ArrayAttribute::new(self.context, &[]).into();
        let attributes = [
            ("intrin", name),
            ("operandSegmentSizes", sizes),
            ("op_bundle_sizes", bundles),
        ];
        self.op("llvm.call_intrinsic", operands, results, &attributes)
    }

    /// A special register, which is below a number.
    pub(super) fn special(&mut self, name: &str, below: i64) -> V<'c, 'a> {
        let ty = self.int(32);
        let short =
            result(self.op(&format!("nvvm.read.ptx.sreg.{name}"), &[], &[ty], &[]));
        self.widened(short, (0, below))
    }
    /// What the lane has whose number differs in one bit.
    pub(super) fn shuffled(&mut self, x: V<'c, 'a>, bit: i64) -> V<'c, 'a> {
        let how = Attribute::parse(self.context, "#nvvm<shfl_kind bfly>");
        let how = how.expect("an attribute");
        let (all, bit, clamp) =
            (self.constant(32, -1), self.constant(32, bit), self.constant(32, 31));
        self.made("nvvm.shfl.sync", &[all, x, bit, clamp], x.r#type(), &[("kind", how)])
    }
    /// Begins to copy sixteen bytes, or four, from memory to shared memory; behind those that are said, zeros are written.
    pub(super) fn begin_copy(
        &mut self,
        to: V<'c, 'a>,
        from: V<'c, 'a>,
        copied: V<'c, 'a>,
        bytes: i64,
    ) {
        let name = match bytes {
            16 => "llvm.nvvm.cp.async.cg.shared.global.16.s",
            _ => "llvm.nvvm.cp.async.ca.shared.global.4.s",
        };
        self.intrinsic_of(name, &[to, from, copied], &[]);
    }
    /// Waits for all copies that this thread has begun.
    pub(super) fn wait_for_copies(&mut self) {
        self.intrinsic_of("llvm.nvvm.cp.async.wait.all", &[], &[]);
    }
    /// Where all threads of the block wait for one another.
    pub(super) fn barrier(&mut self) {
        match self.fenced {
            true => self.fenced_barrier(),
            false => _ = self.op("nvvm.barrier0", &[], &[], &[]),
        }
    }

    /// The same; what threads have written is seen behind it by hardware that reads shared memory, too.
    pub(super) fn fenced_barrier(&mut self) {
        self.fence();
        self.op("nvvm.barrier0", &[], &[], &[]);
    }

    /// What this thread has written is seen by hardware that reads shared memory, behind the barrier that follows.
    fn fence(&mut self) {
        self.told("fence.proxy.async.shared::cta;", "", &[]);
    }

    /// Where the threads of a cluster's blocks wait for one another.
    pub(super) fn meet(&mut self) {
        if self.fenced {
            self.fence();
        }
        for half in ["arrive", "wait"] {
            let name = format!("llvm.nvvm.barrier.cluster.{half}.aligned");
            self.intrinsic_of(&name, &[], &[]);
        }
    }

    pub(super) fn address_of(&mut self, symbol: &str, space: u32) -> V<'c, 'a> {
        let ty = self.pointer(space);
        self.pure(symbol, &[], ty, |b| {
            let name = FlatSymbolRefAttribute::new(b.context, symbol).into();
            result(b.op("llvm.mlir.addressof", &[], &[ty], &[("global_name", name)]))
        })
    }
    /// `base + n` elements.
    pub(super) fn element(
        &mut self,
        base: V<'c, 'a>,
        n: V<'c, 'a>,
        of: Type<'c>,
    ) -> V<'c, 'a> {
        let which = ("llvm.getelementptr", of.to_raw().ptr as usize);
        let to = base.r#type();
        self.pure_of(which, &[base, n], to, |b| {
            let dynamic = DenseI32ArrayAttribute::new(b.context, &[i32::MIN]).into();
            let attributes = [
                ("rawConstantIndices", dynamic),
                ("elem_type", TypeAttribute::new(of).into()),
            ];
            result(b.op("llvm.getelementptr", &[base, n], &[to], &attributes))
        })
    }
    pub(super) fn load(&mut self, at: V<'c, 'a>, ty: Type<'c>) -> V<'c, 'a> {
        result(self.op("llvm.load", &[at], &[ty], &[]))
    }
    /// A load that stays as it is: not joined with loads beside it, which could touch what others write.
    pub(super) fn load_alone(&mut self, at: V<'c, 'a>, ty: Type<'c>) -> V<'c, 'a> {
        let alone = Attribute::unit(self.context);
        result(self.op("llvm.load", &[at], &[ty], &[("volatile_", alone)]))
    }
    pub(super) fn store(&mut self, x: V<'c, 'a>, at: V<'c, 'a>) {
        self.op("llvm.store", &[x, at], &[], &[]);
    }
}

/// A value's place, which is its own.
fn place(v: V<'_, '_>) -> usize {
    v.to_raw().ptr as usize
}

fn result<'c, 'a>(op: OperationRef<'c, 'a>) -> V<'c, 'a> {
    op.result(0).expect("a result").into()
}
