//! Windows of what a memory was written with: the last tokens' values, and the samples of an objective
//! that is over several of them.

use super::body::Token;
use super::inline::exists;
use crate::build::{
    accumulate, broadcast, constant, div, mul, scalar, select_or_zero, sum_all, unary,
};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Dims;

/// What one sample of an objective captured, and whether it is there.
pub(super) struct Sample {
    pub(super) captured: Vec<Value>,
    pub(super) there: Option<Value>,
}

impl Token<'_> {
    /// The samples of a window, newest first, from captured values `[n, ..]`.
    pub(super) fn window(&mut self, windows: &[Value], size: usize) -> Vec<Sample> {
        let mut out = Vec::new();
        for j in 0..size {
            let g = &mut self.g;
            let mut captured = Vec::new();
            for &window in windows {
                let dims: Dims = g.ty(window).dims[1..].iter().copied().collect();
                let row = g.add(Op::Slice { axis: 0, start: j, size: 1 }, &[window]);
                captured.push(g.add(Op::Reshape { dims }, &[row]));
            }
            let there = (j > 0).then(|| {
                let age = scalar(g, j as f64);
                g.add(Op::LessEqual, &[age, self.position])
            });
            out.push(Sample { captured, there });
        }
        out
    }
}

/// The last values with the present one, newest first, and those that the next token will find.
pub(super) fn window(
    g: &mut Graph,
    op: &Op,
    now: Value,
    past: Value,
    position: Value,
) -> (Value, Value) {
    let row: Dims =
        std::iter::once(1.into()).chain(g.ty(now).dims.iter().copied()).collect();
    let row = g.add(Op::Reshape { dims: row }, &[now]);
    let window = g.add(Op::Concat { axis: 0 }, &[row, past]);
    let size = g.ty(past).dims[0].fixed().unwrap_or(0);
    let next = g.add(Op::Slice { axis: 0, start: 0, size }, &[window]);
    let Op::Block { size } = op else { return (window, next) };
    let there = exists(g, (*size).into(), true, position);
    let dims = g.ty(window).dims.clone();
    let there = broadcast(g, there, &dims, &[0]);
    (select_or_zero(g, there, window), next)
}

/// A gradient times the weight of its age: the weights are one number, or one for each age.
pub(super) fn weighed(
    g: &mut Graph,
    gradient: Value,
    weights: Value,
    age: usize,
) -> Value {
    let mut weight = weights;
    if g.ty(weights).rank() > 0 {
        let row = g.add(Op::Slice { axis: 0, start: age, size: 1 }, &[weights]);
        weight = g.add(Op::Reshape { dims: Dims::new() }, &[row]);
    }
    let dims: Dims = g.ty(gradient).dims.clone();
    let weight = broadcast(g, weight, &dims, &[]);
    g.add(Op::Mul, &[gradient, weight])
}

/// Gradients whose length, taken together, is at most so much.
pub(super) fn bounded(g: &mut Graph, bound: f64, gradients: &[Value]) -> Vec<Value> {
    let mut total = None;
    for &gradient in gradients {
        let squares = mul(g, gradient, gradient);
        let squares = sum_all(g, squares);
        total = Some(accumulate(g, total, squares));
    }
    let Some(total) = total else { return vec![] };
    // The larger one is chosen before the root, whose slope at zero is infinite.
    let least = constant(g, bound * bound, &[]);
    let total = g.add(Op::Max, &[total, least]);
    let norm = unary(g, Op::Sqrt, total);
    let bound = scalar(g, bound);
    let factor = div(g, bound, norm);
    let one = |g: &mut Graph, gradient: Value| {
        let dims: Dims = g.ty(gradient).dims.clone();
        let factor = broadcast(g, factor, &dims, &[]);
        mul(g, gradient, factor)
    };
    gradients.iter().map(|&gradient| one(g, gradient)).collect()
}
