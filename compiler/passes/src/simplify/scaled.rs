//! What scales all terms of a sum alike scales the sum.
//!
//! ```text
//! before   t = sum over j of (r x) c       r does not run along j
//! after    t = r (sum over j of x c)
//! ```
//!
//! Gradients of two gates that scale the same are such sums: what is left of them is one sum, and c has one use less.

use nestor_ir::tensor::rebuild::Rebuild;
use nestor_ir::tensor::{Axes, Fold, Graph, NodeData, Op, Value};

/// A sum of products of two factors, and what scales all of its terms.
pub(super) struct Scaled<'g> {
    axes: &'g Axes,
    factors: [Value; 2],
    scales: Vec<Scale>,
}

/// A factor or a divisor that runs along these axes of what it scales.
pub(super) struct Scale {
    pub(super) value: Value,
    pub(super) axes: Axes,
    pub(super) divides: bool,
}

/// The ways to see a value as something scaled by what does not run along the axes of a sum.
pub(super) fn scalings(graph: &Graph, y: Value, sum: &Axes) -> Vec<(Scale, Value)> {
    let def = graph.def(y);
    let sides = match def.op {
        Op::Mul => 0..2,
        Op::Div => 0..1,
        _ => return vec![],
    };
    let of = |n: usize| {
        let r = graph.def(def.operands[1 - n]);
        let Op::Broadcast { axes, .. } = &r.op else { return None };
        let apart = !axes.iter().any(|axis| sum.contains(axis));
        let divides = def.op == Op::Div;
        let scale = Scale { value: r.operands[0], axes: axes.clone(), divides };
        apart.then_some((scale, def.operands[n]))
    };
    sides.filter_map(of).collect()
}

/// What a node sums, where something scales all of its terms.
pub(super) fn scaled<'g>(graph: &Graph, node: &'g NodeData) -> Option<Scaled<'g>> {
    let Op::Reduce { fold: Fold::Sum, axes } = &node.op else { return None };
    let both = graph.def(node.operands[0]);
    if both.op != Op::Mul {
        return None;
    }
    let mut scales = Vec::new();
    let factors = [0, 1].map(|n| unscaled(graph, both.operands[n], axes, &mut scales));
    (!scales.is_empty()).then_some(Scaled { axes, factors, scales })
}

/// A value without the factors that scale it.
fn unscaled(graph: &Graph, y: Value, sum: &Axes, scales: &mut Vec<Scale>) -> Value {
    let mut found = scalings(graph, y, sum).into_iter().rev();
    match found.find(|(scale, _)| !scale.divides) {
        Some((scale, x)) => {
            scales.push(scale);
            unscaled(graph, x, sum, scales)
        }
        None => y,
    }
}

impl Scaled<'_> {
    /// The scaled sum.
    pub(super) fn value(&self, rebuild: &mut Rebuild) -> Value {
        let factors = self.factors.map(|v| rebuild.at(v));
        let out = &mut rebuild.graph;
        let both = out.add(Op::Mul, &factors);
        let axes = self.axes.clone();
        let mut sum = out.add(Op::Reduce { fold: Fold::Sum, axes }, &[both]);
        for Scale { value, axes, .. } in &self.scales {
            let scale = rebuild.at(*value);
            let out = &mut rebuild.graph;
            let before = |axis: &usize| self.axes.iter().filter(|a| *a < axis).count();
            let axes = axes.iter().map(|axis| axis - before(axis)).collect();
            let dims = out.ty(sum).dims.clone();
            let scale = match out.ty(scale).dims == dims {
                true => scale,
                false => out.add(Op::Broadcast { dims, axes }, &[scale]),
            };
            sum = out.add(Op::Mul, &[sum, scale]);
        }
        sum
    }
}
