//! Levels that learn the weights of layers while they read: what depends on such weights becomes a walk
//! over windows of tokens, whose body is the model's own code followed by a gradient and an update.
//!
//! ```text
//! before   y, l = code(W, x)                                        whole sequences, W as it starts
//! after    y, l, W = scan over windows (x; W):                      one copy of W a sequence
//!              y, l, s' = code(anchor W, s, x of the window)
//!              G = gradient (sum l), anchor W
//!              W' = W + algorithm(G) where the window is complete
//! ```
//!
//! Levels of several clocks are windows within windows, the slowest outside: what a slower level
//! differentiates contains the updates of the faster ones. What does not depend on these weights stays
//! outside and is fed as streams. States are handed on as the last boundary of the slowest level left
//! them, with the rows that came since, which the next call reads again: a gradient of a window cannot be
//! cut in two.

mod act;
mod code;
mod nest;
mod outside;

use crate::error::PassError;
use nestor_ir::level::{Clock, Level, Program};
use nestor_ir::tensor::Graph;

/// A level that learns weights at a clock of tokens.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'p> {
    /// The level.
    pub(crate) level: &'p Level,
    /// It acts at the last of so many tokens.
    pub(crate) period: usize,
    /// The number of its first statement among those of all levels.
    pub(crate) first: usize,
}

/// The levels that learn weights while they read, the slowest first.
pub(crate) fn readers(program: &Program) -> Vec<Reader<'_>> {
    let mut out = Vec::new();
    let mut first = 0;
    for level in program.levels.node_weights() {
        if let (Clock::Tokens(period), None) = (level.clock, level.memory) {
            out.push(Reader { level, period, first });
        }
        first += level.objectives.len();
    }
    out.retain(|r| r.level.objectives.iter().any(|o| !o.targets.is_empty()));
    out.sort_by_key(|r| std::cmp::Reverse(r.period));
    out
}

/// Whether a level of the program learns weights while it reads.
pub fn asked(program: &Program) -> bool {
    !readers(program).is_empty()
}

/// How memories go through a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inner {
    /// Token by token, as they were derived.
    ByTokens,
    /// By chunks, where their update allows it.
    ByChunks,
}

/// The whole-sequence graph with its levels at clocks of tokens at work. `open` has every state as an input
/// `state.<name>`, and as an output `start.state.<name>` what it starts as where nothing is handed over.
///
/// # Errors
/// Where what depends on the weights looks further back than a window of fixed length, or asks for what
/// such a level cannot do.
pub fn windows(
    program: &Program,
    open: &Graph,
    resume: bool,
    inner: Inner,
) -> Result<Graph, PassError> {
    let readers = readers(program);
    for r in &readers {
        act::possible(program, r)?;
    }
    let code = code::Code::new(program, open, &readers, inner)?;
    nest::built(program, open, &code, &readers, resume)
}
