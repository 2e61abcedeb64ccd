//! A kernel as a function of MLIR: the block's threads share the points of every statement.

mod about;
mod access;
mod ahead;
mod beside;
mod blocks;
mod boxes;
mod build;
mod calls;
mod check;
mod cores;
mod dense;
mod direct;
mod functions;
mod groups;
mod inner;
mod joins;
mod laid;
mod map;
mod number;
mod operands;
mod parts;
mod places;
mod points;
mod scalar;
mod scan;
mod solve;
mod staged;
mod strips;
mod systems;
mod together;
mod total;
mod whole;
mod wide;

use crate::ahead::copies;
use crate::barriers::barriers;
use crate::boxes::{Bulk, bulk};
use crate::often::often;
use crate::{BackendError, Code, Entry, Options, target};
use about::About;
use build::{Builder, V};
use laid::{Laid, laid};
use melior::Context;
use melior::dialect::llvm::r#type as types;
use melior::ir::attribute::{DenseI32ArrayAttribute, StringAttribute, TypeAttribute};
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationBuilder;
use melior::ir::operation::OperationLike;
use melior::ir::{Attribute, Block, BlockRef, Identifier, Location, Region, RegionLike};
use nestor_ir::artifact::Narrow;
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Kernel, Part, Stmt};
use number::Num;
use places::blocks_of;

/// Threads of a block that has all registers of a thread, and of another one beside it.
const MOST_OF_TWO: u32 = 128;

/// The name of a block's shared memory.
const SHARED: &str = "shared";

/// Kernels as PTX of a target.
///
/// # Errors
/// Where a statement has no code, or LLVM refuses: both are ours.
pub fn compile(
    kernels: &[Kernel],
    options: impl Into<Options>,
) -> Result<Code, BackendError> {
    let wide: Vec<Narrow> =
        kernels.iter().map(|k| vec![false; k.buffers.len()]).collect();
    compiled(kernels, Some(&wide), options.into(), false)
}

/// As [`compile`], with buffers as bfloat16 where that is said of a kernel, or with nothing of the kind, not even tiles; and with the
/// MLIR as text where that is wanted.
///
/// # Errors
/// As [`compile`].
pub fn compiled(
    kernels: &[Kernel],
    narrow: Option<&[Narrow]>,
    options: Options,
    text: bool,
) -> Result<Code, BackendError> {
    let of = |n: usize| Some(narrow?[n].as_slice());
    let all: Vec<Wanted<'_>> =
        kernels.iter().enumerate().map(|(n, k)| (k, of(n))).collect();
    parts::compiled(&all, options, text)
}

/// A kernel and which of its buffers are narrow; nothing where all of it is float32.
type Wanted<'k> = (&'k Kernel, Option<&'k [bool]>);

fn name<'c>(context: &'c Context, text: &str) -> Attribute<'c> {
    StringAttribute::new(context, text).into()
}

fn parsed<'c>(context: &'c Context, text: &str) -> Attribute<'c> {
    Attribute::parse(context, text).expect("an attribute")
}

/// Appends an operation with one region of one block, and gives the block.
fn nested<'c: 'a, 'a>(
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    op: &str,
    attributes: &[(&str, Attribute<'c>)],
    arguments: &[melior::ir::Type<'c>],
) -> BlockRef<'c, 'a> {
    let location = Location::unknown(context);
    let arguments: Vec<_> = arguments.iter().map(|t| (*t, location)).collect();
    let region = Region::new();
    region.append_block(Block::new(&arguments));
    let named: Vec<_> =
        attributes.iter().map(|(n, a)| (Identifier::new(context, n), *a)).collect();
    let op = OperationBuilder::new(op, location)
        .add_attributes(&named)
        .add_regions([region])
        .build()
        .expect("an operation");
    let op = block.append_operation(op);
    op.region(0).expect("a region").first_block().expect("a block")
}

/// Letters, digits and `_` only.
fn symbol(kernel: &Kernel, n: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = kernel.name.chars().map(plain).take(40).collect();
    format!("k{n}_{name}")
}

fn function<'c: 'a, 'a>(
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    (kernel, narrow): Wanted<'_>,
    n: usize,
    options: Options,
) -> Result<Entry, BackendError> {
    check::check(kernel)?;
    let laid = laid(kernel, narrow, options);
    let exchanged = laid.exchanged(options);
    let Laid { kernel, kept, placement, staged, threads, .. } = laid;
    let kernel = &kernel;
    let narrow =
        narrow.map_or_else(|| vec![false; kernel.buffers.len()], <[bool]>::to_vec);
    // What warps carry takes more registers than two blocks of so many threads leave.
    let many = placement.strips.carries(kernel) && threads > MOST_OF_TWO;
    let bulk = bulk(kernel, &placement, (&kept, &exchanged), (threads, options));
    let blocks = match blocks_of(bulk.shared, options) {
        2 if !many => "2 : i32",
        _ => "1 : i32",
    };
    let symbol = symbol(kernel, n);
    let about = About {
        symbol: &symbol,
        kernel,
        exchanged: &exchanged,
        kept: &kept,
        placement: &placement,
        bulk: &bulk,
        often: &often(kernel, &kept, &placement, &exchanged, &bulk),
        threads,
        products: options.products,
        groups: options.groups(),
        staged,
    };
    calls::functions(context, block, about);
    let b = Builder::new(context, block);
    let mut arguments = vec![b.pointer(1); kernel.buffers.len() + 1];
    arguments.extend([b.int(64); 3]);
    arguments.extend(vec![b.pointer(0); bulk.boxes.len()]);
    let ty = types::function(types::void(context), &arguments, false);
    let unit = Attribute::unit(context);
    let mut attributes = vec![
        ("sym_name", name(context, &symbol)),
        ("function_type", TypeAttribute::new(ty).into()),
        ("linkage", parsed(context, "#llvm.linkage<external>")),
        ("gpu.kernel", unit),
        ("nvvm.kernel", unit),
        // Registers for as many blocks as shared memory has room for, up to two.
        ("nvvm.minctasm", parsed(context, blocks)),
        (
            "nvvm.maxntid",
            DenseI32ArrayAttribute::new(context, &[threads as i32, 1, 1]).into(),
        ),
        ("arg_attrs", parsed(context, &argument_attributes(kernel, &bulk))),
    ];
    if kernel.team() > 1 {
        let blocks = [kernel.team() as i32, 1, 1];
        attributes.push((
            "nvvm.cluster_dim",
            DenseI32ArrayAttribute::new(context, &blocks).into(),
        ));
    }
    let body = nested(context, block, "llvm.func", &attributes, &arguments);
    let argument =
        |n: usize| -> V<'c, 'a> { body.argument(n).expect("an argument").into() };
    let count = kernel.buffers.len();
    let mut emit = Emit::new(Builder::new(context, body), about);
    emit.before = barriers(kernel, &placement);
    emit.buffers = (0..count).map(argument).collect();
    emit.scratch = Some(argument(count));
    emit.sizes = [1, 2, 3].map(|n| {
        let size = argument(count + n);
        emit.b.keep_range(size, (0, Sizes::BELOW as i64));
        Num::Run(size)
    });
    emit.maps = (0..bulk.boxes.len()).map(|n| argument(count + 4 + n)).collect();
    emit.in_order = emit.are_in_order();
    emit.begin();
    emit.make_barriers();
    emit.body(&kernel.body);
    emit.b.leave();
    let shared = usize::try_from(bulk.shared).expect("a size");
    let (scratch, boxes) = (placement.scratch, bulk.boxes);
    Ok(Entry { symbol, threads, shared, scratch, narrow, boxes })
}

/// What is only read may go through the cache for constants. Buffers that are written must not be said to
/// have no other name: another thread writes to them between two barriers.
fn argument_attributes(kernel: &Kernel, bulk: &Bulk) -> String {
    let read = "{llvm.noalias, llvm.readonly}";
    let mut all: Vec<&str> = kernel
        .buffers
        .values()
        .map(|b| if b.usage == nestor_ir::tile::Use::Read { read } else { "{}" })
        .collect();
    all.extend(["{}"; 4]);
    // What a driver makes of boxes: kernels have it as it came.
    let map =
        "{llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant}";
    all.extend(vec![map; bulk.boxes.len()]);
    format!("[{}]", all.join(", "))
}

/// A kernel being written, or a function of one.
struct Emit<'c, 'a, 'k> {
    b: Builder<'c, 'a>,
    about: About<'k>,
    /// Whether a barrier stands before each statement, and the next one's number.
    before: Vec<bool>,
    number: usize,
    /// The last statement outside of loops that a barrier stood before, and how many copies of no loop have begun.
    passed: usize,
    early: Vec<bool>,
    /// This thread's number in its block.
    thread: V<'c, 'a>,
    buffers: Vec<V<'c, 'a>>,
    /// The block's shared memory, where it is not told by its name, and its scratch memory.
    shared: Option<V<'c, 'a>>,
    scratch: Option<V<'c, 'a>>,
    /// What a driver has made of its boxes.
    maps: Vec<V<'c, 'a>>,
    /// Tiles that a function is given.
    tiles: Vec<V<'c, 'a>>,
    /// Numbers that a function is given, with which of its statement's they are.
    numbers: Vec<(usize, V<'c, 'a>)>,
    /// B, T and t0.
    sizes: [Num<'c, 'a>; 3],
    indices: Vec<Option<Num<'c, 'a>>>,
    /// Which of its two places each tile that is copied ahead is at in this turn of its loop: 0 or 1.
    stages: Vec<Option<Num<'c, 'a>>>,
    /// Loops of the kernel around what is being written.
    loops: usize,
    /// What a map's loads give, by number, where that is known already: entries of its product, or what was loaded with what lies
    /// beside it.
    brought: Vec<V<'c, 'a>>,
    /// Whether columns that groups of warps have go to rows of instructions in their own order (`strips`).
    in_order: bool,
    /// The number of a map's first number among its statement's.
    first_number: usize,
    /// What this thread has of tiles that are held, by tile.
    held: Vec<Option<Vec<V<'c, 'a>>>>,
}

impl<'c: 'a, 'a, 'k> Emit<'c, 'a, 'k> {
    /// At the begin of a kernel or of a function, which has no arguments yet.
    fn new(mut b: Builder<'c, 'a>, about: About<'k>) -> Self {
        b.fenced = groups::some(&about) || about.bulk.reuses();
        Self {
            thread: b.thread(about.threads),
            b,
            before: Vec::new(),
            number: 0,
            passed: 0,
            early: vec![false; about.bulk.early.len()],
            buffers: Vec::new(),
            shared: None,
            scratch: None,
            maps: Vec::new(),
            tiles: Vec::new(),
            numbers: Vec::new(),
            sizes: [Num::Known(0); 3],
            indices: vec![None; about.kernel.indices],
            stages: vec![None; about.kernel.tiles.len()],
            loops: 0,
            brought: Vec::new(),
            in_order: false,
            first_number: 0,
            held: vec![None; about.kernel.tiles.len()],
            about,
        }
    }
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Scratch and the indices of the grid.
    fn begin(&mut self) {
        let block = Num::Run(self.b.special("ctaid.x", target::BLOCKS));
        if let Some(scratch) = self.scratch {
            let each = self.lines(&self.about.placement.scratch);
            let own = self.mul(block, each);
            let own = self.value(own);
            let byte = self.b.int(8);
            self.scratch = Some(self.b.element(scratch, own, byte));
        }
        let kernel = self.about.kernel;
        let extents: Vec<Num<'c, 'a>> =
            kernel.grid.iter().map(|(_, d)| self.extent(*d)).collect();
        let point = self.unravelled(block, &extents);
        // Loops up to a block's own index count in 32 bits: it is below what there are of it. Where none does, a number of 64 bits that is there
        // anyway takes fewer registers than one of 32 beside it.
        let is_partly =
            |s: &Stmt| matches!(s, Stmt::Loop { part, .. } if *part != Part::All);
        let counts = kernel.body.iter().any(is_partly);
        for (((index, _), n), extent) in kernel.grid.iter().zip(point).zip(extents) {
            if let (true, Num::Run(n), Num::Run(extent)) = (counts, n, extent)
                && let Some((_, below)) = self.b.range(extent)
            {
                self.b.keep_range(n, (0, below - 1));
            }
            self.indices[index.index()] = Some(n);
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        let mut rest = body;
        while let [stmt, others @ ..] = rest {
            let here = self.number;
            if self.before[here] {
                self.b.barrier();
            }
            self.begin_early(here);
            let (own, behind) = rest.split_at(self.strips_of(rest));
            if !own.is_empty() {
                self.anew_for(|e| e.strips(own));
                self.number += own.iter().map(|s| 1 + s.inner().len()).sum::<usize>();
                rest = behind;
                continue;
            }
            rest = others;
            self.number += 1;
            match (self.about.bulk.early_at(here), self.about.often.call(here)) {
                (Some(early), _) => self.wait_for_early(early),
                (None, Some(call)) => self.call(call),
                (None, None) => self.stmt(stmt),
            }
            if let Stmt::Together { body } = stmt {
                self.number += body.len();
            }
        }
    }

    /// What is known before the first loop is read anew by every statement, so that what is computed of it stays near
    /// its use. Else all of it is computed before the first loop, and lives in registers to the last.
    fn stmt(&mut self, stmt: &Stmt) {
        if matches!(stmt, Stmt::Loop { .. } | Stmt::When { .. }) {
            return self.control(stmt);
        }
        self.anew_for(|e| e.work(stmt));
    }

    fn anew_for(&mut self, work: impl FnOnce(&mut Self)) {
        let (sizes, scratch, indices) = (self.sizes, self.scratch, self.indices.clone());
        self.thread = self.b.thread(self.about.threads);
        for n in &mut self.sizes[1..] {
            if let Num::Run(v) | Num::Further(v, _) = n {
                *v = self.b.anew(*v);
            }
        }
        if !self.about.placement.scratch.is_empty() {
            self.scratch = scratch.map(|s| self.b.anew(s));
        }
        for (index, _) in &self.about.kernel.grid {
            if let Some(Num::Run(v) | Num::Further(v, _)) =
                &mut self.indices[index.index()]
            {
                *v = self.b.anew(*v);
            }
        }
        work(self);
        (self.sizes, self.scratch, self.indices) = (sizes, scratch, indices);
    }

    fn work(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                self.map(map::Map { space, expr, loads, sinks });
            }
            Stmt::Product { .. } => {
                self.product(blocks::Product::of(stmt).expect("it is one"));
            }
            Stmt::SolveUnitLower { lower, x, n, m, transpose } => {
                self.solve(*lower, *x, *n, *m, *transpose);
            }
            Stmt::Eliminate { a, x, n, m } => self.eliminate(*a, *x, *n, *m),
            Stmt::InverseRoot { a, basis, n, p } => {
                self.inverse_root(*a, *basis, *n, *p);
            }
            Stmt::LinearScan { a, b, init, y, extent, reverse } => {
                self.linear_scan([*a, *b, *init, *y], *extent, *reverse);
            }
            Stmt::Gather { table, rows, index, count, width, out } => {
                let (table, rows, count, width) = (*table, *rows, *count, *width);
                self.gather(blocks::Rows { table, rows, index, count, width }, out);
            }
            Stmt::ScatterAdd { table, rows, index, count, width, values, share } => {
                let (table, rows, count, width) = (*table, *rows, *count, *width);
                let rows = blocks::Rows { table, rows, index, count, width };
                self.scatter_add(rows, values, *share);
            }
            Stmt::Together { body } => self.products_and_map(body),
            Stmt::Total { tiles } => self.total(tiles),
            Stmt::Loop { .. } | Stmt::When { .. } => self.control(stmt),
        }
    }

    /// Statements that hold others.
    fn control(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Loop { index, extent, part, reverse, body }
                if copies(body, self.about.placement) > 0 =>
            {
                let (first, rest) = body.split_at(copies(body, self.about.placement));
                let turns = self.range(*extent, *part);
                self.loop_ahead((*index, turns, *reverse), first, rest);
            }
            Stmt::Loop { index, extent, part, reverse, body } => {
                let (from, extent) = self.range(*extent, *part);
                self.loops += 1;
                let held = self.about.placement.strips.written(body);
                let start = self.numbers_of(&held);
                let end = self.turns_with(extent, *reverse, &start, |e, turn, own| {
                    e.hold(&held, own);
                    e.indices[index.index()] = Some(e.add(from, turn));
                    e.body(body);
                    e.numbers_of(&held)
                });
                self.hold(&held, &end);
                self.loops -= 1;
            }
            Stmt::When { value, low, high, body } => {
                let [value, low, high] = [value, low, high].map(|q| self.affine(q));
                let condition = self.within(value, low, high);
                let opened = self.b.open_if(condition, &[]);
                self.body(body);
                self.b.close(opened, &[]);
            }
            Stmt::Map { .. }
            | Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. }
            | Stmt::Together { .. } => self.work(stmt),
        }
    }
}
