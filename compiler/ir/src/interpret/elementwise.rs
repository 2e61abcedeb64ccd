//! Element-wise ops and reductions of the interpreter.

use super::array::{Array, Data, indices, strides};
use super::math;
use crate::tensor::{Fold, Op};

/// One operand.
pub(super) fn unary(op: &Op, a: &Array) -> Array {
    let map = |f: fn(f64) -> f64| Data::Real(a.reals().iter().map(|&x| f(x)).collect());
    let data = match op {
        Op::Neg => map(|x| -x),
        Op::Abs => map(f64::abs),
        Op::Sign => map(math::sign),
        Op::Sqrt => map(f64::sqrt),
        Op::Exp => map(f64::exp),
        Op::Log => map(f64::ln),
        Op::Sin => map(f64::sin),
        Op::Cos => map(f64::cos),
        Op::Tanh => map(f64::tanh),
        Op::Erf => map(math::erf),
        Op::Sigmoid => map(math::sigmoid),
        Op::Softplus => map(math::softplus),
        Op::Floor => map(f64::floor),
        Op::Not => Data::Bool(a.bools().iter().map(|x| !x).collect()),
        Op::Real => Data::Real(match &a.data {
            Data::Real(v) => v.clone(),
            Data::Int(v) => v.iter().map(|&x| x as f64).collect(),
            Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
        }),
        other => unreachable!("{} is not unary", other.info().name),
    };
    Array { dims: a.dims.clone(), data }
}

/// Two operands of one shape.
pub(super) fn binary(op: &Op, a: &Array, b: &Array) -> Array {
    let zip = |f: fn(f64, f64) -> f64| {
        Data::Real(a.reals().iter().zip(b.reals()).map(|(&x, &y)| f(x, y)).collect())
    };
    let compare = |f: fn(f64, f64) -> bool| {
        Data::Bool(a.reals().iter().zip(b.reals()).map(|(&x, &y)| f(x, y)).collect())
    };
    let logic = |f: fn(bool, bool) -> bool| {
        Data::Bool(a.bools().iter().zip(b.bools()).map(|(&x, &y)| f(x, y)).collect())
    };
    let data = match op {
        Op::Add => zip(|x, y| x + y),
        Op::Sub => zip(|x, y| x - y),
        Op::Mul => zip(|x, y| x * y),
        Op::Div => zip(|x, y| x / y),
        Op::Pow => zip(f64::powf),
        Op::Rem => zip(math::rem),
        Op::Max => zip(|x, y| if x >= y { x } else { y }),
        Op::Min => zip(|x, y| if x <= y { x } else { y }),
        Op::Less => compare(|x, y| x < y),
        Op::LessEqual => compare(|x, y| x <= y),
        Op::Equal => match (&a.data, &b.data) {
            (Data::Int(x), Data::Int(y)) => {
                Data::Bool(x.iter().zip(y).map(|(x, y)| x == y).collect())
            }
            (Data::Real(_) | Data::Int(_) | Data::Bool(_), _) => compare(|x, y| x == y),
        },
        Op::And => logic(|x, y| x && y),
        Op::Or => logic(|x, y| x || y),
        other => unreachable!("{} is not binary", other.info().name),
    };
    Array { dims: a.dims.clone(), data }
}

/// `if c then a else b`.
pub(super) fn select(c: &Array, a: &Array, b: &Array) -> Array {
    fn pick<T: Copy>(c: &[bool], a: &[T], b: &[T]) -> Vec<T> {
        c.iter().enumerate().map(|(i, &c)| if c { a[i] } else { b[i] }).collect()
    }
    let data = match (&a.data, &b.data) {
        (Data::Real(x), Data::Real(y)) => Data::Real(pick(c.bools(), x, y)),
        (Data::Int(x), Data::Int(y)) => Data::Int(pick(c.bools(), x, y)),
        (Data::Bool(x), Data::Bool(y)) => Data::Bool(pick(c.bools(), x, y)),
        (Data::Real(_) | Data::Int(_) | Data::Bool(_), _) => {
            unreachable!("checked types")
        }
    };
    Array { dims: a.dims.clone(), data }
}

/// Folds axes away.
pub(super) fn reduce(fold: Fold, axes: &[usize], a: &Array) -> Array {
    let kept: Vec<usize> = (0..a.dims.len()).filter(|i| !axes.contains(i)).collect();
    let dims: Vec<usize> = kept.iter().map(|&i| a.dims[i]).collect();
    let start = match fold {
        Fold::Sum => 0.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    };
    let mut out = vec![start; dims.iter().product()];
    let to = strides(&dims);
    for (n, index) in indices(&a.dims).enumerate() {
        let o: usize = kept.iter().zip(&to).map(|(&i, s)| index[i] * s).sum();
        let x = a.reals()[n];
        out[o] = match fold {
            Fold::Sum => out[o] + x,
            Fold::Max => {
                if x > out[o] || x.is_nan() {
                    x
                } else {
                    out[o]
                }
            }
            Fold::Min => {
                if x < out[o] || x.is_nan() {
                    x
                } else {
                    out[o]
                }
            }
        };
    }
    Array::real(dims, out)
}
