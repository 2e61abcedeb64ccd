//! `poly(x, n)`: the monomials of a vector up to a degree, the constant left out.
//!
//! Those of degree k stand in the order of their first factor: `x_i` times every monomial of degree
//! k - 1 whose factors do not come before `x_i`, which are the last ones of that degree.
//! `poly(d, n)` of a number is how many there are.

use super::Arguments;
use crate::elaborate::Elaborator;
use crate::emit;
use crate::value::{NamedDim, Number, Tensor, Value};
use nestor_grammar::Diagnostic;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Op, Value as Node};

pub(super) fn poly<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let (x, n) = (given.take(0), given.take(1));
    let degree = this.whole(&n, given.span)?;
    if let Value::Number(_) = x {
        let d = this.whole(&x, given.span)?;
        return Some(Value::Number(Number::whole(all(d, degree))));
    }
    let t = this.real(&x, given.span)?;
    let Some(d) = t.dims.last().and_then(|d| d.size.fixed()).filter(|_| degree > 0)
    else {
        let text = "`poly` takes a vector and a degree from 1";
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    };
    let axis = t.dims.len() - 1;
    let mut total: Vec<Node> = vec![t.node];
    let mut last = t.clone();
    for k in 2..=degree {
        let mut parts = Vec::new();
        for i in 0..d {
            // What is made of `x_i` and later ones alone.
            let size = of_degree(d - i, k - 1);
            let mut rest =
                emit::slice(this.graph(), &last, axis, of_degree(d, k - 1) - size, size);
            let mut first = emit::slice(this.graph(), &t, axis, i, 1);
            rest.dims[axis].name = None;
            first.dims.pop();
            let first = emit::reshape(this.graph(), &first, first.dims.clone());
            let own: Vec<usize> = (0..axis).collect();
            let first =
                emit::broadcast(this.graph(), &first, &rest.lead, &rest.dims, &own);
            parts.push(this.graph().add(Op::Mul, &[first.node, rest.node]));
        }
        last = joined(this, &t, &parts, of_degree(d, k));
        total.push(last.node);
    }
    Some(Value::Tensor(joined(this, &t, &total, all(d, degree))))
}

fn joined(this: &mut Elaborator<'_>, t: &Tensor, parts: &[Node], size: usize) -> Tensor {
    let mut out = t.clone();
    if let Some(last) = out.dims.last_mut() {
        *last = NamedDim::plain(Dim::Fixed(size));
    }
    out.node = match parts {
        [one] => *one,
        parts => {
            let axis = t.lead.len() + t.dims.len() - 1;
            this.graph().add(Op::Concat { axis }, parts)
        }
    };
    out
}

/// Monomials of `d` variables and degree `k`.
fn of_degree(d: usize, k: usize) -> usize {
    (0..k).fold(1, |n, i| n * (d + i) / (i + 1))
}

/// Monomials of degrees 1 to `n`.
fn all(d: usize, n: usize) -> usize {
    (1..=n).map(|k| of_degree(d, k)).sum()
}
