//! What element-wise ops give for numbers known at compile time.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the ops it looks for; there is none for the others"
)]

use nestor_ir::interpret::math;
use nestor_ir::tensor::Op;

/// The value of a unary op at a number.
pub(super) fn unary(op: &Op, a: f64) -> Option<f64> {
    Some(match op {
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Sign => math::sign(a),
        Op::Sqrt => a.sqrt(),
        Op::Exp => a.exp(),
        Op::Log => a.ln(),
        Op::Sin => a.sin(),
        Op::Cos => a.cos(),
        Op::Tanh => a.tanh(),
        Op::Erf => math::erf(a),
        Op::Sigmoid => math::sigmoid(a),
        Op::Softplus => math::softplus(a),
        Op::Floor => a.floor(),
        Op::Not => truth(a == 0.0),
        Op::Real => a,
        _ => return None,
    })
}

/// The value of a binary op at two numbers.
pub(super) fn binary(op: &Op, a: f64, b: f64) -> Option<f64> {
    Some(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Pow => a.powf(b),
        Op::Rem => math::rem(a, b),
        Op::Max => a.max(b),
        Op::Min => a.min(b),
        Op::Less => truth(a < b),
        Op::LessEqual => truth(a <= b),
        Op::Equal => truth(a == b),
        Op::And => truth(a != 0.0 && b != 0.0),
        Op::Or => truth(a != 0.0 || b != 0.0),
        _ => return None,
    })
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
