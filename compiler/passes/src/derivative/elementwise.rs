//! Derivatives of element-wise ops.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "every op is named where the table begins; these are its groups"
)]

use super::{Derivative, left};
use crate::build::{
    add, constant, dims, div, full_like, mul, neg, scale, select as choose,
    select_or_zero, sub, unary as apply, uniform, zero_or_select,
};
use crate::error::PassError;
use nestor_ir::tensor::{Graph, NodeData, Op, Value};

const STEP: &str = "a step function is flat where it has a slope";
const CONDITION: &str = "conditions are constants";

pub(super) fn unary(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
) -> Result<Derivative, PassError> {
    let (a, y) = (node.operands[0], node.results[0]);
    let da = match &node.op {
        Op::Neg => within(g, d, neg),
        Op::Abs => {
            let sign = apply(g, Op::Sign, a);
            mul(g, d, sign)
        }
        Op::Sqrt => {
            let slope = at_positive(g, a, y, |g, y| {
                let half = full_like(g, y, 0.5);
                div(g, half, y)
            });
            mul(g, d, slope)
        }
        Op::Exp => within(g, d, |g, d| mul(g, d, y)),
        Op::Log => within(g, d, |g, d| div(g, d, a)),
        Op::Sin => {
            let slope = apply(g, Op::Cos, a);
            mul(g, d, slope)
        }
        Op::Cos => {
            let sine = apply(g, Op::Sin, a);
            let product = mul(g, d, sine);
            neg(g, product)
        }
        Op::Tanh => {
            let one = full_like(g, y, 1.0);
            let square = mul(g, y, y);
            let slope = sub(g, one, square);
            mul(g, d, slope)
        }
        Op::Erf => {
            let square = mul(g, a, a);
            let exponent = neg(g, square);
            let bell = apply(g, Op::Exp, exponent);
            let slope = scale(g, bell, std::f64::consts::FRAC_2_SQRT_PI);
            mul(g, d, slope)
        }
        Op::Sigmoid => {
            let one = full_like(g, y, 1.0);
            let rest = sub(g, one, y);
            let slope = mul(g, y, rest);
            mul(g, d, slope)
        }
        Op::Softplus => {
            let slope = apply(g, Op::Sigmoid, a);
            mul(g, d, slope)
        }
        Op::Sign | Op::Floor => return Ok(Derivative::None(STEP)),
        Op::Not => return Ok(Derivative::None(CONDITION)),
        Op::Real => return Ok(Derivative::None("whole numbers do not move")),
        other => return Err(left(other)),
    };
    Ok(Derivative::one(da))
}

pub(super) fn binary(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    wanted: &[bool],
) -> Result<Derivative, PassError> {
    let (a, b, y) = (node.operands[0], node.operands[1], node.results[0]);
    let (left_wanted, right_wanted) = (wanted[0], wanted[1]);
    let da;
    let db;
    match &node.op {
        Op::Add => (da, db) = (Some(d), Some(d)),
        Op::Sub => {
            da = Some(d);
            db = right_wanted.then(|| neg(g, d));
        }
        Op::Mul => {
            // A choice is handed on to what a number multiplies.
            let by = |g: &mut Graph, x: Value| match uniform(g, x) {
                Some(_) => within(g, d, |g, d| mul(g, d, x)),
                None => mul(g, d, x),
            };
            da = left_wanted.then(|| by(g, b));
            db = right_wanted.then(|| by(g, a));
        }
        Op::Div => {
            let part = within(g, d, |g, d| div(g, d, b));
            da = Some(part);
            db = right_wanted.then(|| {
                within(g, part, |g, part| {
                    let product = mul(g, part, y);
                    neg(g, product)
                })
            });
        }
        Op::Pow => {
            da = left_wanted.then(|| power_in_base(g, a, b, d));
            db = (right_wanted && uniform(g, b).is_none())
                .then(|| power_in_exponent(g, a, y, d));
        }
        Op::Rem => {
            da = Some(d);
            db = right_wanted.then(|| {
                let ratio = div(g, a, b);
                let whole = apply(g, Op::Floor, ratio);
                let product = mul(g, d, whole);
                neg(g, product)
            });
        }
        // Where both are equal the first is taken.
        Op::Max | Op::Min => {
            let order = if node.op == Op::Max { [b, a] } else { [a, b] };
            let first = g.add(Op::LessEqual, &order);
            da = left_wanted.then(|| select_or_zero(g, first, d));
            db = right_wanted.then(|| zero_or_select(g, first, d));
        }
        Op::Less | Op::LessEqual | Op::Equal | Op::And | Op::Or => {
            return Ok(Derivative::None(CONDITION));
        }
        other => return Err(left(other)),
    }
    Ok(Derivative::Of(vec![da, db]))
}

/// A cotangent times a slope, `of`, that may be no number where a choice left the value out: the cotangent is zero there, and
/// so is its product with anything.
fn within(g: &mut Graph, d: Value, of: impl FnOnce(&mut Graph, Value) -> Value) -> Value {
    let node = g.def(d);
    let (c, a, b) = match node.operands[..] {
        [c, a, b] if node.op == Op::Select => (c, a, b),
        _ => return of(g, d),
    };
    match (uniform(g, a), uniform(g, b)) {
        (_, Some(0.0)) => {
            let product = of(g, a);
            select_or_zero(g, c, product)
        }
        (Some(0.0), _) => {
            let product = of(g, b);
            zero_or_select(g, c, product)
        }
        _ => of(g, d),
    }
}

/// The slope of a root of `a`, a function of `x`, and 0 where `a` is 0: what is never negative is flat where it is
/// 0, so that nothing of an infinite slope is left there. A norm's subgradient at 0 is 0 thereby. A sum with a
/// positive number, as below the root of a normalisation, is not asked.
fn at_positive(
    g: &mut Graph,
    a: Value,
    x: Value,
    slope: impl FnOnce(&mut Graph, Value) -> Value,
) -> Value {
    let def = g.def(a);
    let guarded = def.op == Op::Add
        && def.operands.iter().any(|&v| uniform(g, v).is_some_and(|n| n > 0.0));
    if guarded {
        return slope(g, x);
    }
    let zero = full_like(g, a, 0.0);
    let one = full_like(g, x, 1.0);
    let positive = g.add(Op::Less, &[zero, a]);
    let safe = choose(g, positive, x, one);
    let slope = slope(g, safe);
    select_or_zero(g, positive, slope)
}

/// `d b a^(b-1)`
fn power_in_base(g: &mut Graph, a: Value, b: Value, d: Value) -> Value {
    let slope = match uniform(g, b) {
        Some(0.0) => return full_like(g, a, 0.0),
        Some(1.0) => return d,
        Some(2.0) => add(g, a, a),
        Some(n) if 0.0 < n && n < 1.0 => at_positive(g, a, a, |g, a| {
            let lower = full_like(g, a, n - 1.0);
            let power = g.add(Op::Pow, &[a, lower]);
            scale(g, power, n)
        }),
        Some(n) => {
            let lower = full_like(g, a, n - 1.0);
            let power = g.add(Op::Pow, &[a, lower]);
            scale(g, power, n)
        }
        None => {
            let one = full_like(g, b, 1.0);
            let lower = sub(g, b, one);
            let power = g.add(Op::Pow, &[a, lower]);
            mul(g, power, b)
        }
    };
    within(g, d, |g, d| mul(g, d, slope))
}

/// `d y log a`, zero where the base is not positive. The logarithm never sees such a base, so
/// that no nan hides behind the choice.
fn power_in_exponent(g: &mut Graph, a: Value, y: Value, d: Value) -> Value {
    let shape = dims(g, a);
    let zero = constant(g, 0.0, &shape);
    let one = constant(g, 1.0, &shape);
    let positive = g.add(Op::Less, &[zero, a]);
    let base = choose(g, positive, a, one);
    let logarithm = apply(g, Op::Log, base);
    let slope = mul(g, y, logarithm);
    let product = mul(g, d, slope);
    select_or_zero(g, positive, product)
}

pub(super) fn select(
    g: &mut Graph,
    node: &NodeData,
    d: Value,
    wanted: &[bool],
) -> Derivative {
    let c = node.operands[0];
    let da = wanted[1].then(|| select_or_zero(g, c, d));
    let db = wanted[2].then(|| zero_or_select(g, c, d));
    Derivative::Of(vec![None, da, db])
}
