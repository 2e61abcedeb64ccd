//! Gates of a walk as exponentials of what is fed.
//!
//! ```text
//! before   S' = a S + k (x) v          a = sigmoid(x) is fed
//! after    S' = e^l S + k (x) v        l = -softplus(-x) is fed
//! ```
//!
//! What a gate does to many tokens is the exponential of a sum, and gradients of sums are cheap: see
//! [`super::channels`]. A gate of which it is not known that it is positive stays as it is. Where nothing needs the
//! logarithm, [`crate::settle`] feeds the gate again.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "functions that are positive are looked for; of all others nothing is known"
)]

use crate::autodiff::{body_inputs, state_inputs};
use crate::build::{add, full_like, neg, scale, unary, uniform};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Op, Scan, Value};

/// The walk with logarithms of its gates fed, and its operands; nothing where of no gate the logarithm is known.
pub(super) fn by_logarithms(
    g: &mut Graph,
    scan: &Scan,
    operands: &[Value],
) -> Option<(Scan, Vec<Value>)> {
    let gates = gates(scan);
    let of = |(input, &operand): (&Option<Value>, &Value)| {
        input.filter(|v| gates[v.index()]).and_then(|_| logarithm(g, operand))
    };
    let inputs = body_inputs(scan);
    let found: Vec<Option<Value>> = inputs.iter().zip(operands).map(of).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let fed = found.iter().zip(operands).map(|(log, operand)| log.unwrap_or(*operand));
    let exponents: Vec<Value> =
        found.iter().zip(&inputs).filter_map(|(log, input)| log.and(*input)).collect();
    let body = exponentials_of(&scan.body, &exponents);
    Some((Scan { body, ..scan.clone() }, fed.collect()))
}

/// Which inputs of a walk's body have axes and multiply a state, as they are or repeated.
fn gates(scan: &Scan) -> Vec<bool> {
    let body = &scan.body;
    let states = state_inputs(scan);
    let mut out = vec![false; body.values.len()];
    for node in body.nodes.values().filter(|n| n.op == Op::Mul) {
        for (side, &factor) in node.operands.iter().enumerate() {
            let from = unmoved(body, factor);
            let is_gate = states.contains(&unmoved(body, node.operands[1 - side]));
            let fed = matches!(body.def(from).op, Op::Input { .. });
            if is_gate && fed && body.ty(from).rank() > 0 && !states.contains(&from) {
                out[from.index()] = true;
            }
        }
    }
    // A mask is an input, too, and has no operand of its own.
    for (feed, input) in scan.feeds.iter().zip(body_inputs(scan)) {
        if let (Feed::Initial, Some(input)) = (feed.0, input) {
            out[input.index()] = false;
        }
    }
    out
}

/// What a value is a view of.
fn unmoved(g: &Graph, mut v: Value) -> Value {
    while let Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } =
        g.def(v).op
    {
        v = g.def(v).operands[0];
    }
    v
}

/// A body to which logarithms of some inputs are given in their place.
fn exponentials_of(body: &Graph, inputs: &[Value]) -> Graph {
    let mut out = Graph::new();
    let given: Vec<Value> = body
        .inputs
        .iter()
        .map(|i| out.input(i.name.clone(), body.ty(i.value).clone()))
        .collect();
    let arguments: Vec<Value> = body
        .inputs
        .iter()
        .zip(given)
        .map(|(i, v)| match inputs.contains(&i.value) {
            true => unary(&mut out, Op::Exp, v),
            false => v,
        })
        .collect();
    let map = out.splice(body, &arguments);
    for output in &body.outputs {
        out.output(output.name.clone(), map[output.value.index()]);
    }
    out
}

/// The logarithm of a value that is known to be positive.
pub(super) fn logarithm(g: &mut Graph, v: Value) -> Option<Value> {
    let node = g.def(v).clone();
    let of = |n: usize| node.operands[n];
    Some(match &node.op {
        Op::Exp => of(0),
        Op::Sigmoid => {
            let x = neg(g, of(0));
            let soft = unary(g, Op::Softplus, x);
            neg(g, soft)
        }
        Op::Constant { value, .. } if *value > 0.0 => full_like(g, v, value.ln()),
        Op::Mul => {
            let a = logarithm(g, of(0))?;
            let b = logarithm(g, of(1))?;
            add(g, a, b)
        }
        Op::Pow => {
            let power = uniform(g, of(1))?;
            let a = logarithm(g, of(0))?;
            scale(g, a, power)
        }
        op @ (Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. }) => {
            let a = logarithm(g, of(0))?;
            g.add(op.clone(), &[a])
        }
        _ => return None,
    })
}
