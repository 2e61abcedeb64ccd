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
mod moves;
mod share;
mod walks;

pub(crate) use dead::alone;
pub use dead::prune;
pub use share::share;

use nestor_ir::tensor::Graph;

/// How often the whole graph is walked at most.
const ROUNDS: usize = 6;

/// The same program, plainer. Inputs and outputs keep their names and order.
pub fn simplify(graph: &Graph) -> Graph {
    plainer(graph, None)
}

/// The same program, plainer, with sums taken from products that are there.
pub fn shared(graph: &Graph) -> Graph {
    let plain = simplify(graph);
    plainer(&share(&plain), Some(plain))
}

/// `before` is a graph that this one was made of, whose bodies of scans are plain.
fn plainer(graph: &Graph, mut before: Option<Graph>) -> Graph {
    let mut graph = prune(graph);
    for _ in 0..ROUNDS {
        let found = driver::rewritten(&graph, before.as_ref());
        let next = prune(&found);
        if next == graph {
            break;
        }
        graph = next;
        before = Some(found);
    }
    graph
}
