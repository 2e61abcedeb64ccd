//! Numbers: constants, neutral elements, signs and constant factors pulled outward.
//!
//! ```text
//! before   (2 x) (1/2 y) + 0        after   x y
//! before   (-x) y - z               after   -(x y + z)
//! before   e^(-softplus(-x))        after   sigmoid(x)
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use super::driver::Rewriter;
use super::{constants, places};
use nestor_ir::tensor::{Group, Op, Value};

/// What stands for the node, where a rule applies.
pub(super) fn rule(rw: &mut Rewriter, op: &Op, x: &[Value]) -> Option<Value> {
    match op.info().group {
        Group::Unary => unary(rw, op, x[0]),
        Group::Binary => binary(rw, op, x[0], x[1]),
        Group::Select => select(rw, x[0], x[1], x[2]),
        Group::Mark => match op {
            Op::Stop => rw.constant_of(x[0]).map(|_| x[0]),
            _ => None,
        },
        Group::Leaf
        | Group::Reduce
        | Group::Contract
        | Group::Move
        | Group::Index
        | Group::Solve
        | Group::Control
        | Group::Token => None,
    }
}

fn unary(rw: &mut Rewriter, op: &Op, a: Value) -> Option<Value> {
    if let Some(n) = rw.constant_of(a) {
        let value = constants::unary(op, n)?;
        let mut ty = rw.graph.ty(a).clone();
        if *op == Op::Real {
            ty.elem = nestor_ir::ty::Elem::Real;
        }
        return Some(rw.emit(Op::Constant { value, ty }, &[]));
    }
    match (op, rw.op(a).clone()) {
        (Op::Neg, Op::Neg) | (Op::Not, Op::Not) => Some(rw.operand(a, 0)),
        (Op::Neg, Op::Sub) => {
            let (l, r) = (rw.operand(a, 0), rw.operand(a, 1));
            Some(rw.emit(Op::Sub, &[r, l]))
        }
        (Op::Exp, Op::Neg) => {
            let soft = rw.operand(a, 0);
            if *rw.op(soft) != Op::Softplus {
                return None;
            }
            let x = rw.operand(soft, 0);
            let opposite = times(rw, x, -1.0);
            Some(rw.emit(Op::Sigmoid, &[opposite]))
        }
        (Op::Neg, Op::Mul) => {
            let (x, c) = factor(rw, a)?;
            Some(times(rw, x, -c))
        }
        (Op::Abs, Op::Neg | Op::Abs) => {
            let inner = rw.operand(a, 0);
            Some(rw.emit(Op::Abs, &[inner]))
        }
        _ => None,
    }
}

/// `(x, c)` of a value `x c` with a constant c.
pub(super) fn factor(rw: &Rewriter, value: Value) -> Option<(Value, f64)> {
    match rw.op(value) {
        Op::Neg => Some((rw.operand(value, 0), -1.0)),
        Op::Mul => {
            let c = rw.constant_of(rw.operand(value, 1))?;
            Some((rw.operand(value, 0), c))
        }
        _ => None,
    }
}

/// `x c`
pub(super) fn times(rw: &mut Rewriter, x: Value, c: f64) -> Value {
    if c == 1.0 {
        return x;
    }
    if c == -1.0 {
        return rw.emit(Op::Neg, &[x]);
    }
    let c = rw.constant_like(x, c);
    rw.emit(Op::Mul, &[x, c])
}

fn binary(rw: &mut Rewriter, op: &Op, a: Value, b: Value) -> Option<Value> {
    let (ca, cb) = (rw.constant_of(a), rw.constant_of(b));
    if let (Some(x), Some(y)) = (ca, cb) {
        let value = constants::binary(op, x, y)?;
        let mut ty = rw.graph.ty(a).clone();
        if matches!(op, Op::Less | Op::LessEqual | Op::Equal) {
            ty.elem = nestor_ir::ty::Elem::Bool;
        }
        return Some(rw.emit(Op::Constant { value, ty }, &[]));
    }
    match op {
        Op::Add => sum(rw, a, b, ca, cb),
        Op::Sub => difference(rw, a, b, ca, cb),
        Op::Mul => product(rw, a, b, ca, cb),
        Op::Div => match (ca, cb) {
            (_, Some(1.0)) | (Some(0.0), _) => Some(a),
            _ => {
                let (x, c) = factor(rw, a).filter(|_| ca.is_none())?;
                let ratio = rw.emit(Op::Div, &[x, b]);
                Some(times(rw, ratio, c))
            }
        },
        Op::Pow => power(rw, a, cb?),
        Op::Max | Op::Min => (a == b).then_some(a),
        Op::And | Op::Or => logic(rw, op, (a, ca), (b, cb)),
        Op::Less | Op::LessEqual | Op::Equal => places::compared(rw, op, a, b),
        _ => None,
    }
}

fn sum(
    rw: &mut Rewriter,
    a: Value,
    b: Value,
    ca: Option<f64>,
    cb: Option<f64>,
) -> Option<Value> {
    if ca == Some(0.0) {
        return Some(b);
    }
    if cb == Some(0.0) {
        return Some(a);
    }
    if a == b {
        return Some(times(rw, a, 2.0));
    }
    if ca.is_some() {
        return Some(rw.emit(Op::Add, &[b, a]));
    }
    match (rw.op(a).clone(), rw.op(b).clone()) {
        (Op::Neg, Op::Neg) => {
            let (x, y) = (rw.operand(a, 0), rw.operand(b, 0));
            let total = rw.emit(Op::Add, &[x, y]);
            Some(rw.emit(Op::Neg, &[total]))
        }
        (_, Op::Neg) => {
            let y = rw.operand(b, 0);
            Some(rw.emit(Op::Sub, &[a, y]))
        }
        (Op::Neg, _) => {
            let x = rw.operand(a, 0);
            Some(rw.emit(Op::Sub, &[b, x]))
        }
        (Op::Select, Op::Select) => disjoint(rw, a, b),
        _ => super::parts::sum(rw, a, b)
            .or_else(|| tangent(rw, a, b, -1.0))
            .or_else(|| tangent(rw, b, a, -1.0)),
    }
}

/// `(if c then x else 0) + (if c then 0 else y)` is `if c then x else y`.
fn disjoint(rw: &mut Rewriter, a: Value, b: Value) -> Option<Value> {
    let (c, d) = (rw.operand(a, 0), rw.operand(b, 0));
    if c != d {
        return None;
    }
    let zero = |rw: &Rewriter, v: Value| rw.constant_of(v) == Some(0.0);
    let (a1, a2) = (rw.operand(a, 1), rw.operand(a, 2));
    let (b1, b2) = (rw.operand(b, 1), rw.operand(b, 2));
    if zero(rw, a2) && zero(rw, b1) {
        return Some(rw.emit(Op::Select, &[c, a1, b2]));
    }
    if zero(rw, a1) && zero(rw, b2) {
        return Some(rw.emit(Op::Select, &[c, b1, a2]));
    }
    None
}

fn difference(
    rw: &mut Rewriter,
    a: Value,
    b: Value,
    ca: Option<f64>,
    cb: Option<f64>,
) -> Option<Value> {
    if cb == Some(0.0) {
        return Some(a);
    }
    if ca == Some(0.0) {
        return Some(rw.emit(Op::Neg, &[b]));
    }
    if a == b {
        return Some(rw.constant_like(a, 0.0));
    }
    match (rw.op(a).clone(), rw.op(b).clone()) {
        (_, Op::Neg) => {
            let y = rw.operand(b, 0);
            Some(rw.emit(Op::Add, &[a, y]))
        }
        (Op::Neg, _) if cb.is_none() => {
            let x = rw.operand(a, 0);
            let total = rw.emit(Op::Add, &[x, b]);
            Some(rw.emit(Op::Neg, &[total]))
        }
        _ => tangent(rw, a, b, 1.0),
    }
}

/// `2 y sigmoid(2 x) - y` is `y tanh(x)`, and so without y: a and b are these, b times `sign`.
fn tangent(rw: &mut Rewriter, a: Value, b: Value, sign: f64) -> Option<Value> {
    let (whole, c) = factor(rw, a)?;
    let sigmoid = |v: Value| *rw.op(v) == Op::Sigmoid;
    let (y, steep, d) = if sigmoid(whole) {
        (None, whole, rw.constant_of(b)?)
    } else if *rw.op(whole) == Op::Mul {
        let (l, r) = (rw.operand(whole, 0), rw.operand(whole, 1));
        let ways = [(l, r), (r, l)].into_iter().filter(|way| sigmoid(way.1));
        let mut ways = ways.map(|(y, steep)| (y, steep, ratio(rw, b, y)));
        let (y, steep, d) = ways.find(|way| way.2.is_some())?;
        (Some(y), steep, d?)
    } else {
        return None;
    };
    if c != 2.0 * sign * d {
        return None;
    }
    let twice = rw.operand(steep, 0);
    let x = times(rw, twice, 0.5);
    let tanh = rw.emit(Op::Tanh, &[x]);
    let slope = y.map_or(tanh, |y| rw.emit(Op::Mul, &[y, tanh]));
    Some(times(rw, slope, c / 2.0))
}

/// `c` of a value `x c`, where it is that; a constant may stand below the broadcast of both.
fn ratio(rw: &Rewriter, value: Value, x: Value) -> Option<f64> {
    if value == x {
        return Some(1.0);
    }
    match factor(rw, value) {
        Some((y, c)) => (y == x).then_some(c),
        None => {
            let both =
                matches!(rw.op(x), Op::Broadcast { .. }) && rw.op(x) == rw.op(value);
            both.then(|| ratio(rw, rw.operand(value, 0), rw.operand(x, 0)))?
        }
    }
}

fn product(
    rw: &mut Rewriter,
    a: Value,
    b: Value,
    ca: Option<f64>,
    cb: Option<f64>,
) -> Option<Value> {
    if ca.is_some() {
        return Some(rw.emit(Op::Mul, &[b, a]));
    }
    match cb {
        Some(0.0) => return Some(b),
        Some(1.0) => return Some(a),
        Some(-1.0) => return Some(rw.emit(Op::Neg, &[a])),
        Some(c) => {
            let (x, d) = factor(rw, a)?;
            return Some(times(rw, x, c * d));
        }
        None => {}
    }
    if let Some((x, c)) = factor(rw, a) {
        let inner = rw.emit(Op::Mul, &[x, b]);
        return Some(times(rw, inner, c));
    }
    let (y, c) = factor(rw, b)?;
    let inner = rw.emit(Op::Mul, &[a, y]);
    Some(times(rw, inner, c))
}

fn power(rw: &mut Rewriter, a: Value, n: f64) -> Option<Value> {
    if n == 0.0 {
        return Some(rw.constant_like(a, 1.0));
    }
    if n == 1.0 {
        return Some(a);
    }
    if n.fract() == 0.0 && (2.0..=8.0).contains(&n) {
        // A square of the half, once more the base where n is odd.
        let half = (n / 2.0).floor();
        let root = if half == 1.0 { a } else { power(rw, a, half)? };
        let square = rw.emit(Op::Mul, &[root, root]);
        return Some(if n % 2.0 == 0.0 {
            square
        } else {
            rw.emit(Op::Mul, &[square, a])
        });
    }
    if n == 0.5 {
        return Some(rw.emit(Op::Sqrt, &[a]));
    }
    if n == -1.0 || n == -0.5 {
        let below = if n == -1.0 { a } else { rw.emit(Op::Sqrt, &[a]) };
        let one = rw.constant_like(a, 1.0);
        return Some(rw.emit(Op::Div, &[one, below]));
    }
    None
}

type Known = (Value, Option<f64>);

fn logic(rw: &mut Rewriter, op: &Op, (a, ca): Known, (b, cb): Known) -> Option<Value> {
    if a == b {
        return Some(a);
    }
    let (c, known, other) = match (ca, cb) {
        (Some(c), _) => (c, a, b),
        (None, Some(c)) => (c, b, a),
        (None, None) => return None,
    };
    let decided = (c == 0.0) == (*op == Op::And);
    let _ = rw;
    Some(if decided { known } else { other })
}

fn select(rw: &mut Rewriter, c: Value, a: Value, b: Value) -> Option<Value> {
    if a == b {
        return Some(a);
    }
    if let Some(c) = rw.constant_of(c) {
        return Some(if c == 0.0 { b } else { a });
    }
    if let (Some(x), Some(y)) = (rw.constant_of(a), rw.constant_of(b))
        && x == y
    {
        return Some(a);
    }
    if *rw.op(c) == Op::Not {
        let c = rw.operand(c, 0);
        return Some(rw.emit(Op::Select, &[c, b, a]));
    }
    if *rw.op(a) == Op::Select && rw.operand(a, 0) == c {
        let a = rw.operand(a, 1);
        return Some(rw.emit(Op::Select, &[c, a, b]));
    }
    if *rw.op(b) == Op::Select && rw.operand(b, 0) == c {
        let b = rw.operand(b, 2);
        return Some(rw.emit(Op::Select, &[c, a, b]));
    }
    None
}
