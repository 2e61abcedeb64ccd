//! What is computed for every pair of tokens and then folded, a piece of the pairs at a time.
//!
//! ```text
//! before   s = contract q, k                              [B, H, T, T]
//!          m = reduce max s;  p = exp (s - m);  l = reduce sum p;  y = contract p, v
//! after    m, l, y = scan{chunks of 64 tokens} q, k, v {             all at once
//!              scan{chunks of 64 others, those before, then these} k, v, m, l, y {  one after the other
//!                  s = contract q, k;  m' = max m, reduce max s;  p = exp (s - m');  r = exp (m - m')
//!                  l' = r l + reduce sum p;  y' = r y + contract p, v } }
//! ```
//!
//! A matrix of all pairs of tokens is as large as the square of the sequence. Where nobody wants it itself, only what is folded of it
//! (`sinks`), along either of its two axes of tokens, it is computed again for each of these folds, from what has one axis of tokens or none
//! (`cone`), by a walk over the tokens that are folded away (`step`) within a step of a walk without states over those that stay (`walk`).
//! Folds that wait for one another are walks behind one another (`stages`), but for a largest value by which sums are scaled
//! alone: that one may as well be the largest so far (`running`), and its exponentials are zero where pairs have no say (`vanishing`). Pairs that
//! are zero or have no say for whichever tokens come later, or before, are not looked at; of all others but a chunk's with itself their order is
//! known (`simpler`). A sum over pairs of one product with another is an inner product of what one of them is summed to (`inner`). What is done
//! with folds takes their axes as walks give them (`upright`).

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "ops that are followed from pairs to what they are made of; all others end there"
)]

mod axes;
mod cone;
mod inner;
mod running;
mod simpler;
mod sinks;
mod stages;
mod step;
mod upright;
mod vanishing;
mod walk;

use crate::units::remade;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Value};

pub use inner::inner;

/// How large a piece of pairs is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Tokens of either axis, at most.
    pub tokens: usize,
    /// Numbers of as many tokens, of what is summed over in products.
    pub numbers: usize,
    /// Numbers of a token that are summed at once, if there are sums to choose from.
    pub sums: usize,
    /// Whether tokens that stay are columns, which do not meet, and others rows.
    pub across: bool,
}

impl Piece {
    /// What fits near a core, which folds numbers that lie side by side.
    pub const CORES: Self =
        Self { tokens: 64, numbers: 8192, sums: usize::MAX, across: false };
    /// What fits near a block of threads, whose warps have columns each: sums in registers, beside which pairs find room.
    pub const WARPS: Self = Self { tokens: 64, numbers: 8192, sums: 192, across: true };
}

/// The graph with folds of pairs as walks.
#[must_use]
pub fn pairs(graph: &Graph, piece: Piece) -> Graph {
    let groups = stages::groups(graph, piece.sums);
    if groups.is_empty() {
        return graph.clone();
    }
    let mut of = vec![None; graph.nodes.len()];
    for (n, group) in groups.iter().enumerate() {
        group.sinks.iter().for_each(|sink| of[sink.node.index()] = Some(n));
    }
    let takes: Vec<Vec<Value>> = groups.iter().map(stages::Group::takes).collect();
    let made = remade(graph, &of, &takes, &mut |made, n| {
        walk::walk(graph, &groups[n], piece, made);
    });
    upright::upright(&made)
}

/// The axes of tokens of a value that has two of the same kind.
fn tokens(graph: &Graph, v: Value) -> Option<(Dim, [usize; 2])> {
    let dims = &graph.ty(v).dims;
    let mut axes = (0..dims.len()).filter(|&axis| dims[axis].ticks_of().is_some());
    let (first, second) = (axes.next()?, axes.next()?);
    let two = axes.next().is_none() && dims[first] == dims[second];
    two.then_some((dims[first], [first, second]))
}
