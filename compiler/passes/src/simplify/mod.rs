//! Rewrites a graph to a plainer one of the same values: the same pass serves derived updates
//! (which should read like the papers they are from), outer gradients and what forms build.
//!
//! ```text
//! before   a = broadcast e; b = broadcast k; p = a b; g = p * 1; s = sum over [] of g
//! after    s = contract e, k
//! ```
//!
//! One driver walks the graph and rebuilds it: each node is offered to the rules of a few themes,
//! whose results are offered again, then to the table of nodes that exist already; in the end
//! what nothing uses is left out. Rules only move work outward or away, so the walk ends; it is
//! repeated while the graph still changes. Bodies of scans that an earlier round has made plain, and nothing around them has
//! changed since, are left as they are.

mod algebra;
mod constants;
mod contraction;
mod dead;
mod driver;
mod factors;
mod moves;
mod order;
mod pairs;
mod parts;
mod places;
mod scaled;
mod search;
mod share;
mod steps;
mod walks;

pub(crate) use dead::alone;
pub use dead::prune;
pub use share::share;

use nestor_ir::tensor::Graph;
use order::Orders;
use rustc_hash::FxHashMap;

/// How often the whole graph is walked at most.
const ROUNDS: usize = 8;

/// The same program, plainer. Inputs and outputs keep their names and order.
pub fn simplify(graph: &Graph) -> Graph {
    plainer(graph, Orders::AsWritten, None)
}

/// The same program, plainer, and products of several factors in the order that costs least. Forms and gradients are made of
/// what is written, so that this comes after them.
pub fn ordered(graph: &Graph) -> Graph {
    plainer(graph, Orders::Cheapest, None)
}

/// As [`ordered`], with sums taken from products that are there.
pub fn shared(graph: &Graph) -> Graph {
    let plain = simplify(graph);
    let plain = ordered(&plainer(&share(&plain), Orders::AsWritten, Some(plain)));
    // Factors taken out may leave more such sums.
    plainer(&share(&plain), Orders::Cheapest, Some(plain))
}

/// `before` is a graph that this one was made of, whose bodies of scans are plain.
fn plainer(graph: &Graph, orders: Orders, mut before: Option<Graph>) -> Graph {
    let mut graph = prune(graph);
    let mut plans = FxHashMap::default();
    for _ in 0..ROUNDS {
        let found = driver::rewritten(&graph, before.as_ref(), orders, &plans);
        let next = prune(&found);
        let settled = next == graph;
        plans = match orders {
            Orders::Cheapest if settled => order::plans(&next),
            Orders::Cheapest | Orders::AsWritten => FxHashMap::default(),
        };
        if settled && plans.is_empty() {
            break;
        }
        graph = next;
        before = Some(found);
    }
    graph
}
