//! Sums over pairs of one product with another, as inner products of what one of them is summed to.
//!
//! ```text
//! before   y_t = sum over s of p_ts v_s;   d_t = sum over s of p_ts (g_t . v_s) / l_t
//! after    y_t = sum over s of p_ts v_s;   d_t = (g_t . y_t) / l_t
//! ```

use super::cone::{Role, Roles, of_pairs};
use super::sinks::{Sink, sinks};
use crate::build::{broadcast, div, mul, scale, sum, transpose, uniform};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::rebuild::Rebuild;
use nestor_ir::tensor::{Axes, Graph, Node, Op, Value};
use nestor_ir::ty::Dims;
use smallvec::smallvec;

/// The graph with such sums as inner products.
#[must_use]
pub fn inner(graph: &Graph) -> Graph {
    let all = sinks(graph);
    let found: Vec<Inner> =
        all.iter().filter_map(|sink| Inner::of(graph, &all, sink)).collect();
    if found.is_empty() {
        return graph.clone();
    }
    graph.rebuilt(|r, id, _| {
        let inner = found.iter().find(|inner| inner.node == id)?;
        Some(smallvec![inner.made(graph, r)])
    })
}

/// A value, and whether it divides.
type Factor = (Value, bool);

/// A sum over pairs that is an inner product.
struct Inner {
    node: Node,
    /// What is there of both, and the roles of their axes.
    of: [(Value, Roles); 2],
    /// What scales the sum.
    scale: f64,
    /// The same for each row.
    rows: Vec<(Factor, Roles)>,
    result: Roles,
}

impl Inner {
    fn of(graph: &Graph, all: &[Sink], sink: &Sink) -> Option<Self> {
        if sink.with.is_some() || sink.is_largest(graph) {
            return None;
        }
        let roles = |v: Value| &sink.cone.roles[&v];
        let mut factors = Vec::new();
        factored(graph, sink, (sink.pairs, false), &mut factors);
        let mut scale = 1.0;
        factors.retain(|&(v, divides)| {
            let Some(number) = uniform(graph, v) else { return true };
            scale *= if divides { 1.0 / number } else { number };
            false
        });
        let (pairs, rows): (Vec<Factor>, Vec<Factor>) =
            factors.into_iter().partition(|(v, _)| roles(*v).contains(&Role::Summed));
        let [(a, false), (b, false)] = pairs[..] else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(product, weights)| {
            let Op::Contract { sum, .. } = &graph.def(product).op else { return None };
            let operands = &graph.def(product).operands;
            let (kept, summed) = match operands[..] {
                [a, b] if roles(b).contains(&Role::Summed) => (a, b),
                [a, b] => (b, a),
                _ => return None,
            };
            let summed_to = all.iter().find(|other| {
                let same = other.with.is_some_and(|(v, _)| v == summed);
                let alike = other.cone.roles.get(&summed) == Some(roles(summed));
                same && alike
                    && other.pairs == weights
                    && other.roles == *roles(weights)
                    && other.node < sink.node
            })?;
            let given = summed_to.result.clone();
            let both = [(kept, roles(kept).clone()), (summed_to.value(graph), given)];
            let single =
                |roles: &Roles| roles.iter().filter(|r| **r == Role::Own).count() == 1;
            let full = |roles: &Roles| roles.len() == sink.maps.len() + 2;
            let fits = both.iter().all(|(_, roles)| single(roles) && full(roles));
            (fits && sum.len() == 1 && of_pairs(roles(product))).then(|| Self {
                node: sink.node,
                of: both,
                scale,
                rows: rows.iter().map(|f| (*f, roles(f.0).clone())).collect(),
                result: sink.result.clone(),
            })
        })
    }

    fn made(&self, graph: &Graph, r: &mut Rebuild) -> Value {
        let [(a, order), (b, given)] = &self.of;
        let (a, b) = (r.at(*a), r.at(*b));
        let g = &mut r.graph;
        let b = transpose(g, b, &places(given, order));
        let all = mul(g, a, b);
        let own = order.iter().position(|r| *r == Role::Own).expect("it has one");
        let mut left = order.clone();
        left.remove(own);
        let total = sum(g, all, &[own]);
        let mut total = transpose(g, total, &places(&left, &self.result));
        if self.scale != 1.0 {
            total = scale(g, total, self.scale);
        }
        for ((v, divides), roles) in &self.rows {
            let x = r.at(*v);
            let dims = r.graph.ty(total).dims.clone();
            let x = spread(&mut r.graph, x, roles, (&self.result, &dims));
            let scaled = if *divides { div } else { mul };
            total = scaled(&mut r.graph, total, x);
        }
        debug_assert_eq!(
            r.graph.ty(total),
            graph.ty(graph.nodes[self.node].results[0]),
            "the same sums"
        );
        total
    }
}

/// The factors that pairs are a product of.
fn factored(graph: &Graph, sink: &Sink, (v, divides): Factor, out: &mut Vec<Factor>) {
    let node = graph.def(v);
    let of_pairs = of_pairs(&sink.cone.roles[&v]);
    match &node.op {
        Op::Mul | Op::Div if of_pairs => {
            let turns = node.op == Op::Div;
            factored(graph, sink, (node.operands[0], divides), out);
            factored(graph, sink, (node.operands[1], divides != turns), out);
        }
        Op::Transpose { .. } | Op::Broadcast { .. } if of_pairs => {
            factored(graph, sink, (node.operands[0], divides), out);
        }
        Op::Stop => factored(graph, sink, (node.operands[0], divides), out),
        _ => out.push((v, divides)),
    }
}

/// Where axes with some roles are among others.
fn places(from: &[Role], to: &[Role]) -> Axes {
    let place = |role: &Role| from.iter().position(|r| r == role);
    to.iter().map(|role| place(role).expect("both have the same axes")).collect()
}

/// A value along more axes.
fn spread(
    g: &mut Graph,
    v: Value,
    roles: &[Role],
    (to, dims): (&[Role], &Dims),
) -> Value {
    let there: Roles = to.iter().copied().filter(|r| roles.contains(r)).collect();
    let v = transpose(g, v, &places(roles, &there));
    let axes: Vec<usize> = (0..to.len()).filter(|n| roles.contains(&to[*n])).collect();
    let dims: &[Dim] = dims;
    broadcast(g, v, dims, &axes)
}
