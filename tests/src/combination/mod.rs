//! Memories drawn at random over all axes, with inputs that are hard on their forms: keys that
//! resemble one another or repeat, gates of 0 and of exp(-20), lengths that divide nothing, states
//! in the middle of a sequence that no sequence has left so.

mod axes;
mod given;
mod written;

pub use given::{given, moved};

use nestor_runtime::train::rng::Stream;
use std::fmt::Write;

/// A die that is thrown by name, so that one more choice changes no other.
struct Die {
    seed: u64,
}

impl Die {
    fn below(&self, name: &str, n: usize) -> usize {
        let mut stream = Stream::new(self.seed, name);
        ((stream.uniform() * n as f64) as usize).min(n - 1)
    }

    fn of<'t>(&self, name: &str, choices: &[&'t str]) -> &'t str {
        choices[self.below(name, choices.len())]
    }

    /// Once in `n` throws.
    fn once(&self, name: &str, n: usize) -> bool {
        self.below(name, n) == 0
    }
}

/// A memory, and how it is run.
#[derive(Clone, PartialEq, Debug)]
pub struct Draw {
    /// What it was drawn from.
    pub seed: u64,
    /// A memory `Drawn<seed>` and a layer `Case<seed>` that uses it.
    pub text: String,
    /// The layer.
    pub entry: String,
    /// Initial weights are between 0 and 1: the retention asks for it.
    pub positive: bool,
    /// Sequences.
    pub batch: usize,
    /// Tokens.
    pub time: usize,
    /// Tokens that went before, whose states, moved at random, are handed over.
    pub before: usize,
    /// Tokens of a chunk; the compiler's choice where there is none.
    pub chunk: Option<usize>,
}

/// Definitions that draws use beside the library's.
pub const OWN: &str = include_str!("own.nest");

/// The draw of a seed.
pub fn draw(seed: u64) -> Draw {
    let die = Die { seed };
    let memory = match die.once("written", 6) {
        true => written::memory(&die),
        false => axes::memory(&die),
    };
    let heads = 1 + die.below("heads", 2);
    let d_k = 2 + die.below("d_k", 4);
    let d_v = if memory.square { d_k.max(3) } else { 2 + die.below("d_v", 4) };
    let d_k = if memory.square { d_v } else { d_k };
    // Where a gate has a shape and a recurrence is written, sizes tell rows from columns.
    let d_v = if memory.apart && d_v == d_k { d_k + 1 } else { d_v };
    let window = memory.window;
    let mut text = memory.text(seed, window);
    let own = |name: &str| memory.shape(name).replace(": [", ", ").replace(']', "");
    let mut layer = format!(
        "layer Case{seed}(heads = {heads}, d_k = {d_k}, d_v = {d_v}) {{
    in q, k, p: [heads, d_k]
    in v, w: [heads, d_v]
"
    );
    for gate in GATES {
        let _ = writeln!(layer, "    in {gate}: [heads{}]", own(gate));
    }
    let write = match memory.arguments {
        3 => "M.write(k, v, p)".to_owned(),
        _ if die.once("writes", 8) => "M.write(k, v)\n    M.write(p, w)".to_owned(),
        _ => "M.write(k, v)".to_owned(),
    };
    let (read, write) = match die.below("order", 8) {
        0 | 1 => ("y = M.read(q)", format!("    {write}")),
        2 => ("y = M.read(q) + M.read(k)", format!("    {write}")),
        _ => (write.as_str(), "    y = M.read(q)".to_owned()),
    };
    let _ = write!(
        layer,
        "    in gamma: [heads, {window}]
    M = Drawn{seed}(d_k, d_v; {}, gamma)
    {read}\n{write}
    out y
}}
",
        GATES.join(", ")
    );
    text.push_str(&layer);
    Draw {
        seed,
        text,
        entry: format!("Case{seed}"),
        positive: memory.positive,
        batch: 1 + die.below("batch", 2),
        time: 3 + die.below("time", 38),
        before: if die.once("resumed", 3) { 1 + die.below("before", 9) } else { 0 },
        chunk: [None, None, None, Some(4), Some(8), Some(16), Some(5)]
            [die.below("chunk", 7)],
    }
}

/// What changes with every token beside keys and values, in the order of the memory's parameters.
const GATES: [&str; 6] = ["alpha", "rate", "beta", "delta", "eta", "rho"];

/// The clauses of a memory.
struct Clauses {
    /// In the order of the text.
    clauses: Vec<String>,
    /// Shapes of gates that are no scalars, as `: [d_k]`.
    shapes: Vec<(&'static str, &'static str)>,
    /// Tokens of the objective's window.
    window: usize,
    /// Keys and values are of one size.
    square: bool,
    /// Keys and values are of two sizes.
    apart: bool,
    /// See [`Draw::positive`].
    positive: bool,
    /// What a write takes.
    arguments: usize,
}

impl Clauses {
    fn shape(&self, gate: &str) -> &'static str {
        self.shapes.iter().find(|(g, _)| *g == gate).map_or("", |(_, s)| s)
    }

    fn text(&self, seed: u64, window: usize) -> String {
        let gates = GATES.map(|g| format!("{g}{}", self.shape(g))).join(", ");
        let mut out =
            format!("memory Drawn{seed}(d_k, d_v; {gates}, gamma: [{window}]) {{\n");
        for clause in &self.clauses {
            let _ = writeln!(out, "    {clause}");
        }
        out.push_str("}\n");
        out
    }
}
