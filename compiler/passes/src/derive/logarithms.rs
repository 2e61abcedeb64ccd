//! Logarithms of sums of exponentials, which leave the range of numbers where their result does not: e^89 is beyond
//! float32, its logarithm is 89. Before gradients are taken, so that they stay in range, too.
//!
//! ```text
//! before   log(1/2 (exp(x) + exp(-x)))      after    softplus(2 x) - x - log 2
//! before   log(1 + exp(x))                  after    softplus(x)
//! ```
//!
//! Sums of two others are left: whichever exponent is taken out, the digits of the other are lost where it is the
//! larger one, and the larger of two has no slope where they are equal.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "sums and their factors are looked for; every other op is left"
)]

use crate::build::{add, full_like, scale, sub, unary, uniform};
use nestor_ir::tensor::{Graph, Op, Value};

/// The logarithm of `a` without its exponentials, where it is such a sum with a positive factor.
pub(super) fn without_exponentials(g: &mut Graph, a: Value) -> Option<Value> {
    let (total, factor) = factored(g, a);
    let sum = g.def(total);
    if sum.op != Op::Add || factor <= 0.0 {
        return None;
    }
    let (l, r) = (sum.operands[0], sum.operands[1]);
    let (x, rest) = match exponent(g, l) {
        Some(x) => (x, r),
        None => (exponent(g, r)?, l),
    };
    let plain = match uniform(g, rest) {
        Some(c) if c > 0.0 => above(g, x, c),
        Some(_) => return None,
        None => {
            let y = exponent(g, rest)?;
            opposite(g, x, y)?
        }
    };
    Some(shifted(g, plain, factor.ln()))
}

/// A value as another one times a constant.
fn factored(g: &Graph, a: Value) -> (Value, f64) {
    let node = g.def(a);
    let constant = |n: usize| uniform(g, node.operands[n]);
    match node.op {
        Op::Mul => match (constant(0), constant(1)) {
            (Some(c), _) => (node.operands[1], c),
            (None, Some(c)) => (node.operands[0], c),
            (None, None) => (a, 1.0),
        },
        Op::Div => constant(1).map_or((a, 1.0), |c| (node.operands[0], 1.0 / c)),
        Op::Neg => (node.operands[0], -1.0),
        _ => (a, 1.0),
    }
}

/// `x` of a value `e^x`.
fn exponent(g: &Graph, value: Value) -> Option<Value> {
    let node = g.def(value);
    (node.op == Op::Exp).then(|| node.operands[0])
}

/// `log(c + e^x)`
fn above(g: &mut Graph, x: Value, c: f64) -> Value {
    let over = shifted(g, x, -c.ln());
    let soft = unary(g, Op::Softplus, over);
    shifted(g, soft, c.ln())
}

/// `log(e^x + e^y)` where y is -x.
fn opposite(g: &mut Graph, x: Value, y: Value) -> Option<Value> {
    let ((u, c), (v, d)) = (factored(g, x), factored(g, y));
    // One of them may be the other's negative, or both a constant times the same.
    if !(y == u && c == -1.0 || v == x && d == -1.0 || u == v && c == -d) {
        return None;
    }
    let twice = scale(g, x, 2.0);
    let soft = unary(g, Op::Softplus, twice);
    Some(sub(g, soft, x))
}

/// `x + c`
fn shifted(g: &mut Graph, x: Value, c: f64) -> Value {
    if c == 0.0 {
        return x;
    }
    let c = full_like(g, x, c);
    add(g, x, c)
}
