//! Products of several factors are taken in the order that costs least.
//!
//! ```text
//! before   x = S / c;  y = k @ x                        a division for every number of S
//! after    y = (k @ S) / c
//! before   s = sum over i, j of (k (x) g) S             a matrix is made
//! after    z = S @ g;  s = k @ z                        and z may be needed anyway
//! before   (k (x) e) r                                  r varies along the axis of e
//! after    k (x) (e r)
//! ```
//!
//! What is no product is a factor ([`factors`](super::factors)), all orders of pairs of factors are compared
//! ([`search`](super::search)), and the best is taken where it costs less than what is written.
//!
//! All orders are one value in exact arithmetic, and all have one bound of what rounding does to them, in which no terms cancel. So
//! that terms which cancel elsewhere are rounded alike, nothing is computed in two ways: what something else needs as it is written is a
//! factor, too, and gradients are taken before. In floating point a step may
//! overflow where another order's does not: `k @ S` where S is large and c as large. Divisors are never multiplied with each other, which
//! would square what is far from one.

use super::factors::{Product, cost, extent, products};
use super::pairs::Pairs;
use super::search::best;
use super::steps::Plan;
use crate::build::users;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, Op, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// In which orders products are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Orders {
    /// As they are written: what forms are found in, and gradients are taken of.
    #[default]
    AsWritten,
    /// In those that cost least.
    Cheapest,
}

/// The plans that pay, by the node that they stand for.
pub(super) fn plans(graph: &Graph) -> FxHashMap<Node, Plan> {
    let users = users(graph);
    let (mut whole, mut dear) = (FxHashSet::default(), FxHashSet::default());
    loop {
        let found = products(graph, &users, &whole);
        let (bare, left): (Vec<Product>, Vec<Product>) = found
            .into_iter()
            .partition(|p| p.factors.len() == 2 || dear.contains(&p.root));
        let through = through(&left);
        let stays = stays(graph, &users, &left, &through);
        if !stays.is_empty() {
            whole.extend(stays);
            continue;
        }
        let pairs = Pairs::of(bare.iter().chain(&left));
        let before = dear.len();
        let mut plans = FxHashMap::default();
        for product in left {
            match best(&product, &pairs) {
                Some((steps, new)) if new < as_it_is(graph, &product, &through) => {
                    plans.insert(product.root, Plan { product, steps });
                }
                _ => {
                    dear.insert(product.root);
                }
            }
        }
        // One that does not pay needs what others thought to be gone.
        if dear.len() == before {
            return plans;
        }
    }
}

/// How many products look through each node.
fn through(products: &[Product]) -> FxHashMap<Node, usize> {
    let mut through = FxHashMap::default();
    for node in products.iter().flat_map(|p| &p.inner) {
        *through.entry(*node).or_insert(0) += 1;
    }
    through
}

/// What is looked through and needed for itself, too.
fn stays(
    graph: &Graph,
    users: &[Vec<Node>],
    products: &[Product],
    through: &FxHashMap<Node, usize>,
) -> Vec<Node> {
    let shown: FxHashSet<Value> = graph.outputs.iter().map(|o| o.value).collect();
    let roots: FxHashSet<Node> = products.iter().map(|p| p.root).collect();
    let factors = products.iter().flat_map(|p| &p.factors);
    let factors: FxHashSet<Node> = factors.map(|f| graph.values[f.value].node).collect();
    let taken = |node: &Node| roots.contains(node) || through.contains_key(node);
    let needed = |node: &Node| {
        if factors.contains(node) {
            return true;
        }
        let mut to: Vec<Value> = graph.nodes[*node].results.to_vec();
        while let Some(v) = to.pop() {
            if shown.contains(&v) {
                return true;
            }
            for user in &users[v.index()] {
                match &graph.nodes[*user].op {
                    Op::Broadcast { .. } | Op::Transpose { .. } => {
                        to.extend(&graph.nodes[*user].results);
                    }
                    _ if !taken(user) => return true,
                    _ => {}
                }
            }
        }
        false
    };
    let inner = products.iter().flat_map(|p| &p.inner);
    inner.copied().filter(needed).collect()
}

/// What a product costs as it is.
fn as_it_is(graph: &Graph, product: &Product, through: &FxHashMap<Node, usize>) -> f64 {
    let shares = product.inner.iter().map(|n| cost(graph, *n) / through[n] as f64);
    let root = match graph.nodes[product.root].op {
        Op::Mul | Op::Div => cost(graph, product.root),
        // What is summed is multiplied on the way.
        Op::Reduce { .. } => 0.0,
        _ => extent(&product.sizes, 0..product.sizes.len()),
    };
    root + shares.sum::<f64>()
}
