//! Products of several factors: which a sum is of, and what computes them now.
//!
//! ```text
//! y = k @ (S / c)                        the factors k, S and 1/c
//! s = sum over i, j of (k (x) g) S       the factors k, g and S
//! ```
//!
//! A contraction, a sum of products, or an outer product that is scaled is looked through down to what is no product: a factor has
//! labels, the axes of the result that it varies along and, after them, those that are summed.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "products are looked through, and nothing else is"
)]

use super::contraction::{labels, stripped};
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Node, NodeData, Op, Value};
use nestor_ir::ty::Elem;
use rustc_hash::FxHashSet;

/// A division takes as long as so many products. On vector units it is between four and eight.
pub(super) const DIVISION: f64 = 4.0;

/// Of how many factors all orders are tried, and of how many labels.
const MOST: usize = 6;
const LABELS: usize = 31;

/// How large what only a call knows is taken to be.
const SIZES: Sizes = Sizes { batch: 4, time: 1024, start: 1024 };

/// What is multiplied, or divided by, and the labels that it varies along.
pub(super) struct Factor {
    pub(super) value: Value,
    pub(super) labels: Vec<usize>,
    pub(super) below: bool,
}

/// A sum of products of factors over the labels that its result lacks.
pub(super) struct Product {
    /// Where it ends.
    pub(super) root: Node,
    pub(super) factors: Vec<Factor>,
    /// The axes of the result are the labels below this one.
    pub(super) rank: usize,
    /// By label.
    pub(super) sizes: Vec<Dim>,
    /// Nodes that were looked through.
    pub(super) inner: Vec<Node>,
}

impl Factor {
    pub(super) fn set(&self) -> u32 {
        set(&self.labels)
    }
}

impl Product {
    /// The labels of the result.
    pub(super) fn results(&self) -> u32 {
        (1 << self.rank) - 1
    }
}

/// Labels as bits.
pub(super) fn set(labels: &[usize]) -> u32 {
    labels.iter().fold(0, |set, l| set | 1 << l)
}

pub(super) fn holds(set: u32, label: usize) -> bool {
    set >> label & 1 == 1
}

/// Every product of a graph that could be taken in another order; these nodes are factors where they are met.
pub(super) fn products(
    graph: &Graph,
    users: &[Vec<Node>],
    whole: &FxHashSet<Node>,
) -> Vec<Product> {
    let shown: FxHashSet<Value> = graph.outputs.iter().map(|o| o.value).collect();
    let found = graph.nodes.iter().filter_map(|(id, node)| {
        let product = product(graph, id, node, whole)?;
        let scaled = matches!(node.op, Op::Mul | Op::Div);
        // A scaled outer product belongs to who multiplies it on.
        let taken = |v: Value| {
            let multiplied = |&u: &Node| multiplies(graph, &graph.nodes[u]);
            !shown.contains(&v) && users[v.index()].iter().all(multiplied)
        };
        let outer = |&n: &Node| matches!(graph.nodes[n].op, Op::Contract { .. });
        let ends = !scaled || product.inner.iter().any(outer) && !taken(node.results[0]);
        ends.then_some(product)
    });
    found.collect()
}

/// How many numbers these labels span.
pub(super) fn extent(sizes: &[Dim], labels: impl Iterator<Item = usize>) -> f64 {
    labels.map(|l| sizes[l].size(&SIZES) as f64).product()
}

/// What it costs to compute a node that was looked through, apart from others.
pub(super) fn cost(graph: &Graph, node: Node) -> f64 {
    let node = &graph.nodes[node];
    let dims = &graph.ty(node.results[0]).dims;
    let size = extent(dims, 0..dims.len());
    if node.op == Op::Div { DIVISION * size } else { size }
}

/// Whether a node is looked through by a product that takes it in, or is where one ends.
pub(super) fn multiplies(graph: &Graph, node: &NodeData) -> bool {
    let constant = |&v: &Value| matches!(graph.def(v).op, Op::Constant { .. });
    match node.op {
        Op::Contract { .. } | Op::Reduce { fold: Fold::Sum, .. } => true,
        Op::Mul | Op::Div => !node.operands.iter().any(constant),
        _ => false,
    }
}

fn product(
    graph: &Graph,
    root: Node,
    node: &NodeData,
    whole: &FxHashSet<Node>,
) -> Option<Product> {
    let result = *node.results.first()?;
    if graph.ty(result).elem != Elem::Real {
        return None;
    }
    let rank = graph.ty(result).rank();
    let mut found = Found { graph, whole, factors: Vec::new(), inner: Vec::new() };
    let mut sizes = graph.ty(result).dims.to_vec();
    match &node.op {
        Op::Contract { batch, sum } if !sum.is_empty() => {
            let (a, b) = (node.operands[0], node.operands[1]);
            let (la, lb, _) =
                labels((graph.ty(a).rank(), graph.ty(b).rank()), batch, sum);
            sizes.extend(sum.iter().map(|&(l, _)| graph.ty(a).dims[l]));
            found.through(a, &la);
            found.through(b, &lb);
        }
        Op::Reduce { fold: Fold::Sum, axes } => {
            let a = node.operands[0];
            let (inner, below) = (graph.values[a].node, graph.def(a));
            let scaled = matches!(below.op, Op::Mul | Op::Div);
            if !scaled || !multiplies(graph, below) || whole.contains(&inner) {
                return None;
            }
            let dims = &graph.ty(a).dims;
            sizes.extend(axes.iter().map(|&i| dims[i]));
            let kept = (0..dims.len()).filter(|i| !axes.contains(i));
            let mut of_a = vec![0; dims.len()];
            kept.chain(axes.iter().copied()).enumerate().for_each(|(l, i)| of_a[i] = l);
            found.operands(inner, &of_a);
            found.inner.push(inner);
        }
        Op::Mul | Op::Div if multiplies(graph, node) => {
            found.operands(root, &(0..rank).collect::<Vec<usize>>());
        }
        _ => return None,
    }
    let Found { factors, inner, .. } = found;
    let summed_somewhere =
        (rank..sizes.len()).all(|l| factors.iter().any(|f| f.labels.contains(&l)));
    let few = (2..=MOST).contains(&factors.len()) && sizes.len() <= LABELS;
    let multiplied = factors.len() > 2 || factors.iter().all(|f| !f.below);
    let product = Product { root, factors, rank, sizes, inner };
    (summed_somewhere && few && multiplied).then_some(product)
}

struct Found<'g> {
    graph: &'g Graph,
    whole: &'g FxHashSet<Node>,
    factors: Vec<Factor>,
    inner: Vec<Node>,
}

impl Found<'_> {
    /// Looks through a value for as long as some factor of it varies along less than it does.
    fn through(&mut self, value: Value, of_value: &[usize]) {
        let (value, labels) = stripped(self.graph, value, of_value);
        let (factors, inner) = (self.factors.len(), self.inner.len());
        let node = self.graph.values[value].node;
        let scattered =
            self.whole.contains(&node) || labels.len() < self.graph.ty(value).rank();
        if !scattered && self.operands(node, &labels) {
            let fewer = |f: &Factor| f.labels.len() < labels.len();
            if self.factors[factors..].iter().any(fewer) {
                self.inner.push(node);
                return;
            }
            self.factors.truncate(factors);
            self.inner.truncate(inner);
        }
        self.factors.push(Factor { value, labels, below: false });
    }

    /// Looks through the operands of a node that multiplies and sums nothing.
    fn operands(&mut self, node: Node, of_node: &[usize]) -> bool {
        let node = &self.graph.nodes[node];
        if !multiplies(self.graph, node) {
            return false;
        }
        let x = &node.operands;
        match &node.op {
            Op::Mul => {
                self.through(x[0], of_node);
                self.through(x[1], of_node);
            }
            Op::Div => {
                self.through(x[0], of_node);
                let (value, labels) = stripped(self.graph, x[1], of_node);
                self.factors.push(Factor { value, labels, below: true });
            }
            Op::Contract { batch, sum } if sum.is_empty() => {
                let ranks = (self.graph.ty(x[0]).rank(), self.graph.ty(x[1]).rank());
                let (la, lb, _) = labels(ranks, batch, sum);
                let of = |own: Vec<usize>| -> Vec<usize> {
                    own.into_iter().map(|l| of_node[l]).collect()
                };
                self.through(x[0], &of(la));
                self.through(x[1], &of(lb));
            }
            _ => return false,
        }
        true
    }
}
