//! Chunk-parallel forms: a walk token by token becomes an equal walk chunk by chunk, whose body
//! is made of products of whole tiles.
//!
//! ```text
//! before   walk by tokens: e = b (v - k W);  W' = a W + k (x) e;  y = q W'
//! after    walk by chunks: P = (I + L)^-1 R;  E = B (V - P);  Y = rho (Q W) + (Gamma o Q K') E;
//!                          W' = rho_C W + (Gamma_C o K)' E
//! ```
//!
//! No update is known by name. The token's program is interpreted over a small domain (a value is
//! known without the state, affine in reads of it, a sum of gated states and outer products, or
//! none of these), which finds gates, reads and writes; a unit triangular system gives the reads
//! of all tokens at once where errors depend on them; everything else is the token's own program,
//! repeated over the chunk. States that change only at a boundary that chunks are aligned to are
//! constants of the chunk, so that gradients taken at an anchor are known at its start.

mod anchors;
mod channels;
mod choose;
mod chunk;
mod clocks;
mod decays;
mod domain;
mod flat;
mod gates;
mod matrices;
mod once;
mod reads;
mod rules;
mod runs;
mod sequential;
mod solve;
mod substitution;
mod terms;
mod tuned;
mod two_pass;
mod work;

pub use anchors::periods;
pub use choose::{Choice, Form, FormOptions, choose, within};
pub use chunk::Structure;
pub use sequential::sequential;
pub use tuned::Tuned;
pub use work::Work;

use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Feed, Op, Scan, Stride, Yield};
use nestor_ir::ty::{Elem, Type};
use std::fmt;

/// Why a form does not apply, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What stands in the way.
    pub what: String,
}

impl Reason {
    /// A reason.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How a walk is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Tokens of a chunk.
    pub tokens: usize,
    /// Every call begins with the first token of its sequences, so that every chunk has its first row.
    pub from_start: bool,
}

impl From<usize> for Cut {
    fn from(tokens: usize) -> Self {
        Self { tokens, from_start: false }
    }
}

/// The same walk by chunks: same operands, same results.
///
/// # Errors
/// Where the update is not affine in its states, or a boundary falls within a chunk.
pub fn affine(
    scan: &Scan,
    operands: &[Type],
    cut: impl Into<Cut>,
) -> Result<Scan, Reason> {
    chunked(scan, operands, cut.into(), false).map(|(scan, _)| scan)
}

/// As [`affine`], and errors may be any functions of reads: they are solved row by row within the
/// chunk, by a walk that does not touch the state.
///
/// # Errors
/// Where what is read or written with depends on the state, or a boundary falls within a chunk.
pub fn rowwise(
    scan: &Scan,
    operands: &[Type],
    cut: impl Into<Cut>,
) -> Result<Scan, Reason> {
    chunked(scan, operands, cut.into(), true).map(|(scan, _)| scan)
}

fn chunked(
    scan: &Scan,
    operands: &[Type],
    cut: Cut,
    substitute: bool,
) -> Result<(Scan, Structure), Reason> {
    let chunk = cut.tokens;
    if scan.stride != Stride::Token || scan.reverse {
        return Err(Reason::new("only a forward walk by tokens is cut into chunks"));
    }
    if scan.feeds.iter().any(|(feed, _)| feed.is_of_steps()) {
        return Err(Reason::new("some tokens are skipped"));
    }
    if chunk == 0 || scan.time.fixed().is_some_and(|n| n % chunk != 0) {
        return Err(Reason::new("the walk is no whole number of chunks"));
    }
    let mark = |op: &Op| matches!(op, Op::Gradient | Op::Anchor | Op::Position { .. });
    if scan.body.nodes.values().any(|n| mark(&n.op)) {
        return Err(Reason::new("the inner gradient is not derived yet"));
    }
    let mut out = scan.clone();
    out.stride = Stride::Chunk(chunk);
    for (feed, _) in &mut out.feeds {
        *feed = match *feed {
            Feed::Step => Feed::Stream,
            feed @ (Feed::Shared
            | Feed::Stream
            | Feed::Initial
            | Feed::Mask
            | Feed::Reach(_)) => feed,
        };
    }
    for (kind, _) in &mut out.yields {
        *kind = match *kind {
            Yield::Step | Yield::Stream => Yield::Stream,
        };
    }
    let mut types: Vec<Type> = out
        .feeds
        .iter()
        .zip(operands)
        .map(|((feed, layout), ty)| seen_by_body(&out, *feed, layout, ty))
        .collect();
    let rows = nestor_ir::dim::Dim::Fixed(chunk);
    types.push(Type::bool([rows]));
    types.push(Type::real([rows]));
    let token = crate::simplify::simplify(&scan.body);
    let (body, structure) = chunk::built(&token, &out.feeds, &types, cut, substitute)?;
    out.body = crate::simplify::simplify(&body);
    debug_assert!(out.body.inputs.iter().zip(&types).all(|(i, ty)| {
        let found = out.body.ty(i.value);
        found.dims == ty.dims && (ty.elem != Elem::Bool || found.elem == Elem::Bool)
    }));
    Ok((out, structure))
}
