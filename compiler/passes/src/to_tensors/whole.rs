//! All of the past, where the calls before belong to it.
//!
//! ```text
//! before   K [T, ..] = recent k, all             all tokens of this call
//! after    K [P+T, ..] = recent k, all           all tokens of the sequence so far
//! ```
//!
//! A token's own graph knows `T` as the size of such windows alone. Where states are handed over,
//! the calls before have read `P` tokens, and their keys and values are states `[B, P, ..]` that
//! grow: each call hands `P+T` entries on.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the ops that say a size are named; all others have it from their operands"
)]

use super::TIME;
use nestor_ir::dim::Dim;
use nestor_ir::level::{MemoryId, Program, Statement, StatementId};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;
use std::borrow::Cow;

/// What is handed over of streams that all of the past is asked of.
pub(super) struct Handed {
    resume: bool,
    known: Vec<(Value, Value)>,
}

impl Handed {
    /// Nothing yet; `resume` where calls before hand something over.
    pub(super) fn new(resume: bool) -> Self {
        Self { resume, known: vec![] }
    }

    /// A token's graph with the size that all of the past has, where a token is a tick of a clock.
    pub(super) fn sized<'g>(&self, graph: &'g Graph, every: usize) -> Cow<'g, Graph> {
        match self.size(every) {
            Dim::Time => Cow::Borrowed(graph),
            size => Cow::Owned(with_size(graph, &|_| size)),
        }
    }

    /// How many ticks all of the past are.
    pub(super) fn size(&self, every: usize) -> Dim {
        if self.resume { Dim::whole(every) } else { Dim::time(every) }
    }

    /// All values of a stream `[B, T, ..]` so far: `[B, P+T, ..]`, or the stream where a sequence
    /// begins.
    pub(super) fn all(&mut self, g: &mut Graph, stream: Value) -> Value {
        if let Some((_, all)) = self.known.iter().find(|(s, _)| *s == stream) {
            return *all;
        }
        let all =
            if self.resume { before(g, stream, state(self.known.len())) } else { stream };
        self.known.push((stream, all));
        all
    }

    /// The states that are handed on.
    pub(super) fn finals(&self) -> impl Iterator<Item = (String, Value)> {
        self.known.iter().enumerate().map(|(n, (_, all))| (state(n), *all))
    }
}

fn state(n: usize) -> String {
    format!("state.all.{n}")
}

/// A stream `[B, T, ..]` behind what the calls before read of it, an input `[B, P, ..]` of this
/// name.
pub(super) fn before(g: &mut Graph, stream: Value, name: String) -> Value {
    let ty = g.ty(stream).clone();
    let mut dims = ty.dims.clone();
    dims[TIME] = Dim::past(dims[TIME].ticks_of().unwrap_or(1));
    let past = g.input(name, Type { elem: ty.elem, dims });
    g.add(Op::Concat { axis: TIME }, &[past, stream])
}

/// The program whose memories keep the last `longest` tokens instead of all of the past: the same program to calls that
/// begin with the first token of their sequences and have no more than that.
pub fn bounded(program: &Program, longest: usize) -> Program {
    let mut program = program.clone();
    let size = |every: usize| Dim::Fixed(longest.div_ceil(every));
    let memories: Vec<MemoryId> = program.memories.keys().collect();
    for id in memories {
        let memory = &mut program.memories[id];
        let size = size(memory.every);
        memory.read = with_size(&memory.read, &|_| size);
        for kept in &mut memory.kept {
            grow(&mut kept.ty.dims, &|_| size);
        }
    }
    let statements: Vec<StatementId> = program.statements.keys().collect();
    for id in statements {
        if let Statement::Update(update) = &mut program.statements[id] {
            let size = size(program.memories[update.memory].every);
            update.function = with_size(&update.function, &|_| size);
        }
    }
    program
}

fn grow(dims: &mut [Dim], size: &dyn Fn(usize) -> Dim) {
    for dim in dims {
        *dim = dim.ticks_of().map_or(*dim, size);
    }
}

/// The graph with `P+T` for `T`.
pub(super) fn sized(graph: &Graph) -> Graph {
    with_size(graph, &Dim::whole)
}

/// The graph with other sizes for `T`, each by its clock. Only sizes change, so every value keeps its
/// number.
fn with_size(graph: &Graph, size: &dyn Fn(usize) -> Dim) -> Graph {
    let grow = |dims: &mut [Dim]| grow(dims, size);
    let mut graph = graph.clone();
    let values: Vec<Value> = graph.values.keys().collect();
    for v in values {
        grow(&mut graph.values[v].ty.dims);
    }
    let nodes: Vec<_> = graph.nodes.keys().collect();
    for n in nodes {
        match &mut graph.nodes[n].op {
            Op::Input { ty, .. } | Op::Constant { ty, .. } | Op::Read { ty, .. } => {
                grow(&mut ty.dims);
            }
            Op::Iota { dims, .. }
            | Op::Position { dims }
            | Op::Reshape { dims }
            | Op::Broadcast { dims, .. } => grow(dims),
            Op::Window { size, .. }
            | Op::Recent { size }
            | Op::Exists { size, .. }
            | Op::Fit { size, .. }
            | Op::Gathered { size, .. } => grow(std::slice::from_mut(size)),
            Op::Scan { scan } => {
                grow(&mut scan.map);
                grow(std::slice::from_mut(&mut scan.time));
                scan.body = with_size(&scan.body, size);
            }
            _ => {}
        }
    }
    graph
}
