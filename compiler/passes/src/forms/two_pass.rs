//! Two passes over time, and a short walk between them: for walks too few to keep all workers busy.
//!
//! ```text
//! before   walk by chunks:       E = T (V - a K S),  S' = a S + K' E,  Y = Q S + P E
//! after    all chunks at once:   what each does to the state, as factors: T, a, K
//!          a short walk:         S' = a S + K' T (V - a K S)         S as every chunk finds it
//!          all chunks at once:   Y
//! ```
//!
//! The first pass finds each chunk's own transition and contribution, which no state is needed for; the walk joins them; the
//! second reads all chunks at once. A transition stays in its factors, of as many rows as a chunk has: multiplied out over
//! groups of chunks it would cost more than twice the work, which two or three workers do not make up for. The walk between goes by
//! columns of the states where these do not meet. It is [`crate::fission`] on the way forward; the way back parts alike.

use super::work::Work;
use crate::fission::Rates;

/// What a core does while a number is moved, on the CPU: products from registers, maps by vectors (not measured).
const PRODUCTS: f64 = 40.0;
const OTHERS: f64 = 3.0;
/// Columns below which a product is not worth its loads (not measured).
const NARROWEST: usize = 32;

/// What parting costs where a sequence has so many workers to itself; parted in any case where that was asked for.
pub(super) fn rates(workers: usize, asked: bool) -> Rates {
    Rates {
        products: PRODUCTS,
        others: OTHERS,
        processors: workers,
        alone: 1.0,
        sequences: 1,
        narrowest: if asked { 2 } else { NARROWEST },
        group: None,
        always: asked,
    }
}

/// Operations of a sequence below which starting workers thrice costs more than they save (measured: a third of a
/// millisecond).
const LONG: f64 = 2e8;
/// Operations of a token below which what chunks hand over costs more than it saves (measured: heads of 32 lose, of 64 gain).
const DENSE: f64 = 2e4;

/// Whether a token does enough, and the longest sequence has enough of them, for a walk to be parted.
pub(super) fn enough(work: Work, longest: Option<usize>) -> bool {
    let token = work.flops as f64;
    token >= DENSE && longest.is_some_and(|tokens| token * tokens as f64 >= LONG)
}
