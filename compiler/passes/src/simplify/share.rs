//! Sums that need a product of their own are taken from a product that is needed anyway.
//!
//! ```text
//! before   s = sum over j of x (a @ W);      d = (r x) @ W^T        three products with d's gradient
//! after    z = x @ W^T;  s = sum over p of a z;  d = r z            a @ W is gone
//! ```
//!
//! r may be a divisor, too.
//!
//! `sum over j, p of x_j a_p W_pj` can be taken either way. The gradient of a gate that scales what is
//! read of a state is such a sum, and the gradient of what it was read with is the product: a chunk
//! then multiplies with a state once where it did so twice.
//!
//! What scales all terms of a sum alike scales the sum ([`scaled`](super::scaled)), so that more sums are of such a product.

use super::contraction::labels;
use super::scaled::{Scale, scaled, scalings};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::rebuild::Rebuild;
use nestor_ir::tensor::{Axes, AxisPairs, Fold, Graph, Node, NodeData, Op, Scan, Value};
use nestor_ir::ty::Dims;
use rustc_hash::FxHashMap;

/// The same program with such sums taken from products that are there; walks, too.
pub fn share(graph: &Graph) -> Graph {
    let found = turns(graph);
    let mut made = FxHashMap::default();
    graph.rebuilt(|r, id, node| {
        if let Op::Scan { scan } = &node.op {
            let scan = Scan { body: share(&scan.body), ..(**scan).clone() };
            let operands = r.operands(node);
            return Some(r.graph.add_many(Op::Scan { scan: Box::new(scan) }, &operands));
        }
        let Some(turn) = found.iter().find(|t| t.sum == id || t.product == id) else {
            return Some([scaled(graph, node)?.value(r)].into());
        };
        let z = turn.unscaled(graph, r, &mut made);
        let value = if turn.sum == id { turn.summed(r, z) } else { turn.scaled(r, z) };
        Some([value].into())
    })
}

/// One sum that can be taken from another product. Labels are the axes of `a @ W` and, after
/// them, those it sums.
struct Turn {
    /// `sum over j of x (a @ W)`
    sum: Node,
    /// `(r x) @ W^T`
    product: Node,
    a: Value,
    a_labels: Vec<usize>,
    x: Value,
    /// Which operand of the product is `r x`.
    side: usize,
    /// What scales it, the last first.
    scales: Vec<Scale>,
    /// The labels of the axes of `x @ W^T`, and how many labels are no sums of `a @ W`.
    z_labels: Vec<usize>,
    kept: usize,
}

/// Contractions and who uses what.
struct Uses<'g> {
    graph: &'g Graph,
    count: Vec<usize>,
    products: Vec<Node>,
}

fn turns(graph: &Graph) -> Vec<Turn> {
    let mut count = vec![0; graph.values.len()];
    for node in graph.nodes.values() {
        node.operands.iter().for_each(|v| count[v.index()] += 1);
    }
    graph.outputs.iter().for_each(|o| count[o.value.index()] += 1);
    let products = graph.nodes.iter();
    let products = products.filter(|(_, n)| summing(n).is_some()).map(|(id, _)| id);
    let uses = Uses { graph, count, products: products.collect() };
    let mut found: Vec<Turn> = Vec::new();
    // A product that goes cannot be what another sum is taken from, nor the other way round.
    let (mut gone, mut held): (Vec<Node>, Vec<Node>) = (Vec::new(), Vec::new());
    for (id, node) in graph.nodes.iter() {
        if let Some((turn, own)) = uses.turn(id, node, &gone, &held) {
            gone.push(own);
            held.push(turn.product);
            found.push(turn);
        }
    }
    found
}

fn summing(node: &NodeData) -> Option<(&AxisPairs, &AxisPairs)> {
    match &node.op {
        Op::Contract { batch, sum } if !sum.is_empty() => Some((batch, sum)),
        _ => None,
    }
}

impl Uses<'_> {
    fn rank(&self, v: Value) -> usize {
        self.graph.ty(v).rank()
    }

    /// Labels of both operands of a product, and how many axes it has.
    fn labels(&self, node: Node) -> Option<([Vec<usize>; 2], usize)> {
        let node = &self.graph.nodes[node];
        let (batch, sum) = summing(node)?;
        let ranks = (self.rank(node.operands[0]), self.rank(node.operands[1]));
        let (a, b, rank) = labels(ranks, batch, sum);
        Some(([a, b], rank))
    }

    /// A turn of this sum, and the product that it saves.
    fn turn(
        &self,
        sum: Node,
        node: &NodeData,
        gone: &[Node],
        held: &[Node],
    ) -> Option<(Turn, Node)> {
        let Op::Reduce { fold: Fold::Sum, axes } = &node.op else { return None };
        let both = node.operands[0];
        let def = self.graph.def(both);
        if def.op != Op::Mul || self.count[both.index()] != 1 {
            return None;
        }
        for n in 0..2 {
            let (c, x) = (def.operands[n], def.operands[1 - n]);
            let own = self.graph.values[c].node;
            if self.count[c.index()] != 1 || held.contains(&own) || c == x {
                continue;
            }
            let Some((sides, rank)) = self.labels(own) else { continue };
            for w in 0..2 {
                let (of_w, of_a) = (&sides[w], &sides[1 - w]);
                let kept = |l: &usize| *l < rank && !axes.contains(l);
                let fits = axes.iter().all(|l| of_w.contains(l) && !of_a.contains(l))
                    && (0..rank).filter(kept).all(|l| of_a.contains(&l));
                if !fits {
                    continue;
                }
                let operands = &self.graph.nodes[own].operands;
                let part = Part { w: operands[w], of_w, axes, rank, x };
                let others = self.products.iter().filter(|p| **p != own);
                let product = others
                    .filter(|p| !gone.contains(p))
                    .find_map(|&p| Some((p, self.product(p, &part)?)));
                if let Some((product, (side, scales, z_labels))) = product {
                    let turn = Turn {
                        sum,
                        product,
                        a: operands[1 - w],
                        a_labels: of_a.clone(),
                        x,
                        side,
                        scales,
                        z_labels,
                        kept: rank,
                    };
                    return Some((turn, own));
                }
            }
        }
        None
    }

    /// Which operand of a product is `x` or `r x`, what r is, and the labels of its result, where
    /// the other operand is W and what they sum is what the sum is over.
    fn product(&self, node: Node, part: &Part<'_>) -> Option<Served> {
        let operands = &self.graph.nodes[node].operands;
        let (sides, rank) = self.labels(node)?;
        for side in 0..2 {
            let (y, of_y, of_w) = (operands[side], &sides[side], &sides[1 - side]);
            if operands[1 - side] != part.w || self.rank(y) != part.rank {
                continue;
            }
            let Some(scales) = self.scales(y, part) else { continue };
            let pairs = part.of_w.iter().zip(of_w).all(|(&l, &here)| {
                if l >= part.rank {
                    here < rank && !of_y.contains(&here)
                } else if part.axes.contains(&l) {
                    here >= rank && of_y[l] == here
                } else {
                    here < rank && of_y[l] == here
                }
            });
            let z_labels: Option<Vec<usize>> = (0..rank)
                .map(|axis| {
                    let in_y = of_y.iter().position(|&l| l == axis);
                    in_y.or_else(|| {
                        Some(part.of_w[of_w.iter().position(|&l| l == axis)?])
                    })
                })
                .collect();
            if pairs {
                return Some((side, scales, z_labels?));
            }
        }
        None
    }

    /// What scales x to be a value, the last first: nothing of it changes along the summed axes.
    fn scales(&self, y: Value, part: &Part<'_>) -> Option<Vec<Scale>> {
        if y == part.x {
            return Some(vec![]);
        }
        scalings(self.graph, y, part.axes).into_iter().find_map(|(own, x)| {
            let others = self.scales(x, part)?;
            Some([own].into_iter().chain(others).collect())
        })
    }
}

/// Which operand of a product is x or r x, what scales it, and the labels of the product's axes.
type Served = (usize, Vec<Scale>, Vec<usize>);

/// What a product must have to serve a sum.
struct Part<'a> {
    w: Value,
    of_w: &'a [usize],
    /// Labels that the sum is over.
    axes: &'a Axes,
    rank: usize,
    x: Value,
}

impl Turn {
    /// `z = x @ W^T`, made once.
    fn unscaled(
        &self,
        graph: &Graph,
        r: &mut Rebuild,
        made: &mut FxHashMap<Node, Value>,
    ) -> Value {
        *made.entry(self.product).or_insert_with(|| {
            let node = &graph.nodes[self.product];
            // What scales x may come later than the sum.
            let of =
                |(n, v): (usize, &Value)| r.at(if n == self.side { self.x } else { *v });
            let operands: Vec<Value> = node.operands.iter().enumerate().map(of).collect();
            r.graph.add(node.op.clone(), &operands)
        })
    }

    /// `r z`
    fn scaled(&self, rebuild: &mut Rebuild, z: Value) -> Value {
        self.scales.iter().rev().fold(z, |z, scale| self.scaled_by(scale, rebuild, z))
    }

    fn scaled_by(&self, scale: &Scale, rebuild: &mut Rebuild, z: Value) -> Value {
        let Scale { value, axes, divides } = scale;
        let mut r = rebuild.at(*value);
        let out = &mut rebuild.graph;
        let place = |l: &usize| self.z_labels.iter().position(|z| z == l).unwrap_or(0);
        let dims: Dims = out.ty(z).dims.clone();
        let axes: Axes = axes.iter().map(place).collect();
        // Axes of a repetition rise.
        let mut order: Vec<usize> = (0..axes.len()).collect();
        order.sort_by_key(|&i| axes[i]);
        if !order.iter().copied().eq(0..order.len()) {
            let order = order.iter().copied().collect();
            r = out.add(Op::Transpose { order }, &[r]);
        }
        let axes: Axes = order.iter().map(|&i| axes[i]).collect();
        let r = out.add(Op::Broadcast { dims, axes }, &[r]);
        out.add(if *divides { Op::Div } else { Op::Mul }, &[z, r])
    }

    /// `sum over p of a z`, with the axes of the sum that it stands for.
    fn summed(&self, rebuild: &mut Rebuild, z: Value) -> Value {
        let a = rebuild.at(self.a);
        let out = &mut rebuild.graph;
        let order: Axes = self
            .z_labels
            .iter()
            .map(|l| self.a_labels.iter().position(|a| a == l).unwrap_or(0))
            .collect();
        let a = transposed(out, a, order);
        let both = out.add(Op::Mul, &[a, z]);
        let gone = |i: &usize| self.z_labels[*i] >= self.kept;
        let axes: Axes = (0..self.z_labels.len()).filter(gone).collect();
        let total = out.add(Op::Reduce { fold: Fold::Sum, axes }, &[both]);
        let left: Vec<usize> =
            self.z_labels.iter().copied().filter(|l| *l < self.kept).collect();
        let mut order: Axes = (0..left.len()).collect();
        order.sort_by_key(|&i| left[i]);
        transposed(out, total, order)
    }
}

fn transposed(out: &mut Graph, v: Value, order: Axes) -> Value {
    if order.iter().copied().eq(0..order.len()) {
        return v;
    }
    out.add(Op::Transpose { order }, &[v])
}
