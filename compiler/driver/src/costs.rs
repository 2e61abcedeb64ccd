//! Forms that cost too much at the length of the sequences that they are to be used on: what is
//! costly, why it takes that form, and how much.
//!
//! Two things grow beyond what a machine gives: a window over the whole past holds every pair of
//! tokens, and a walk that found no chunk-parallel form moves its whole state once a token.

use crate::source::Loaded;
use nestor_grammar::ast::EntryKind;
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Memory, MemoryId, Program, Statement};
use nestor_ir::tensor::{Graph, Op};
use nestor_passes::forms::{Choice, Form};

/// What one sequence may hold of pairs of tokens, or move of states, in bytes. A guess: an eighth
/// of the memory of a small machine, and some seconds of what it moves.
const LIMIT: f64 = 1024.0 * 1024.0 * 1024.0;
/// Bytes of a number in training.
const NUMBER: f64 = 4.0;

/// Warnings for sequences of `time` tokens.
pub fn costs(
    loaded: &Loaded,
    program: &Program,
    choices: &[Choice],
    time: usize,
) -> Vec<Diagnostic> {
    let span = named(loaded, &program.name);
    let mut out = Vec::new();
    for (id, memory) in program.memories.iter() {
        let windows = whole_windows(program, id);
        let held =
            time as f64 * time as f64 * instances(memory) * windows as f64 * NUMBER;
        if windows > 0 && held > LIMIT {
            let text = format!(
                "`{}` holds every pair of {time} tokens: {} a sequence",
                memory.path,
                bytes(held)
            );
            out.push(
                Diagnostic::warning("W701", span, text)
                    .says("costly at this length")
                    .note("it keeps its whole past (`all`), so every token meets every other")
                    .help("give it a window, `window = 512`, or shorter sequences"),
            );
        }
        let state = instances(memory) * numbers(memory) * NUMBER;
        let moved = 2.0 * state * time as f64;
        let Some(choice) = sequential(choices, memory).filter(|_| moved > LIMIT) else {
            continue;
        };
        let text = format!(
            "`{}` is walked token by token: {time} steps one after another move {} a sequence",
            memory.path,
            bytes(moved)
        );
        let mut diagnostic = Diagnostic::warning("W701", span, text)
            .says("costly at this length")
            .help("take gradients where a boundary left the weights, `gradient at every 64 tokens`, so that chunks become products");
        for (form, reason) in &choice.reasons {
            diagnostic = diagnostic.note(format!("not {}: {reason}", form.name()));
        }
        out.push(diagnostic);
    }
    out
}

/// Where the definition of this name stands, in the last file that has it.
fn named(loaded: &Loaded, name: &str) -> Span {
    let files = loaded.files.iter().chain(loaded.library.iter()).map(|(_, file)| file);
    let mut found = files.flat_map(|f| &f.entries).filter_map(|e| match &e.kind {
        EntryKind::Definition(d) if d.name.text == name => Some(d.name.span),
        EntryKind::Definition(_)
        | EntryKind::Use(_)
        | EntryKind::Constant(..)
        | EntryKind::Sweep(_) => None,
    });
    found.next().unwrap_or_default()
}

/// How many windows over the whole past a memory's updates keep.
fn whole_windows(program: &Program, id: MemoryId) -> usize {
    let in_graph = |graph: &Graph| {
        let all = graph.nodes.values();
        all.filter(|n| matches!(n.op, Op::Recent { size: Dim::Time })).count()
    };
    let updates = program.statements.values().filter_map(|s| match s {
        Statement::Update(u) if u.memory == id => Some(in_graph(&u.function)),
        Statement::Update(_) | Statement::Minimize(_) => None,
    });
    // Keys and values are two windows over one set of pairs.
    updates.sum::<usize>().div_ceil(2)
}

fn instances(memory: &Memory) -> f64 {
    memory.map.iter().filter_map(|d| d.fixed()).product::<usize>() as f64
}

fn numbers(memory: &Memory) -> f64 {
    let of = |dims: &[Dim]| dims.iter().filter_map(|d| d.fixed()).product::<usize>();
    memory.weights.iter().map(|w| of(&w.dims)).sum::<usize>() as f64
}

/// The choice of a memory's walk, where it is the last resort.
fn sequential<'c>(choices: &'c [Choice], memory: &Memory) -> Option<&'c Choice> {
    let first = format!("state.{}", memory.weights.first()?.short);
    choices.iter().find(|c| {
        let mut states = c.walk.split(", ");
        c.form == Form::Sequential && !c.reasons.is_empty() && states.any(|s| s == first)
    })
}

fn bytes(n: f64) -> String {
    let gib = n / LIMIT;
    format!("{gib:.1} GiB")
}
