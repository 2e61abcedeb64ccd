//! Gates that differ along an axis of the state: by channel of keys or of values.

use crate::common::walks::{
    K, Token, V, alike, compare, fixed, gate, gate_along, read, walked,
};
use crate::common::with_gradients;
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use nestor_passes::build::{
    add, broadcast, contract, full_like, mul, neg, outer, sub, unary,
};
use nestor_passes::forms::{FormOptions, choose};
use nestor_passes::settle::settled;

/// A gate along the keys' or the values' channels, with or without feedback.
fn channels(axis: usize, feedback: bool, name: &str) -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let alpha = t.stream(name, &[[K, V][axis]]);
    let beta = t.stream("beta", &[]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = gate_along(b, alpha, &[axis], m);
    let e = if feedback {
        let p = read(b, k, kept);
        sub(b, v, p)
    } else {
        v
    };
    let e = gate(b, beta, e);
    let ke = outer(b, k, e);
    let next = add(b, kept, ke);
    let y = read(b, q, next);
    let before = read(b, q, m);
    t.scan(&[next], &[y, before])
}

#[test]
fn gates_by_channel() {
    for axis in [0, 1] {
        for feedback in [false, true] {
            compare(channels(axis, feedback, "alpha"), &[16, 8, 1]);
            compare(channels(axis, feedback, "switch"), &[16]);
        }
    }
}

/// Several writes a token, with or without feedback, and as many reads or others.
fn rows_by_channel(
    (reads, feedback): (usize, bool),
    name: &str,
) -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let q = t.stream("q", &[reads, K]);
    let (k, v) = (t.stream("k", &[2, K]), t.stream("v", &[2, V]));
    let (alpha, beta) = (t.stream(name, &[K]), t.stream("beta", &[2]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = gate_along(b, alpha, &[0], m);
    let e = if feedback {
        let p = contract(b, k, kept, &[], &[(1, 0)]);
        sub(b, v, p)
    } else {
        v
    };
    let beta = broadcast(b, beta, &fixed(&[2, V]), &[0]);
    let e = mul(b, beta, e);
    let ke = contract(b, k, e, &[], &[(0, 0)]);
    let next = add(b, kept, ke);
    let y = contract(b, q, next, &[], &[(1, 0)]);
    let before = contract(b, q, m, &[], &[(1, 0)]);
    t.scan(&[next], &[y, before])
}

#[test]
fn several_rows_by_channel() {
    for reads in [2, 3] {
        for feedback in [false, true] {
            compare(rows_by_channel((reads, feedback), "alpha"), &[16, 8, 1]);
            compare(rows_by_channel((reads, feedback), "switch"), &[8]);
        }
    }
}

/// Gates that are known to be positive, of what is fed.
const POSITIVE: [fn(&mut Graph, Value) -> Value; 3] = [
    |g, x| unary(g, Op::Sigmoid, x),
    |g, x| {
        let rate = unary(g, Op::Exp, x);
        let rate = neg(g, rate);
        unary(g, Op::Exp, rate)
    },
    |g, x| {
        let steep = full_like(g, x, 900.0);
        let steep = mul(g, x, steep);
        let [slow, steep] = [x, steep].map(|x| unary(g, Op::Sigmoid, x));
        let both = mul(g, slow, steep);
        let half = full_like(g, x, 0.5);
        g.add(Op::Pow, &[both, half])
    },
];

/// How many nodes of a graph, and of the bodies of its walks, have an op.
fn count(graph: &Graph, op: &Op) -> usize {
    let within = |of: &Op| match of {
        Op::Scan { scan } => count(&scan.body, op),
        of => usize::from(of == op),
    };
    graph.nodes.values().map(|n| within(&n.op)).sum()
}

#[test]
fn gates_that_are_exponentials() {
    for (positive, feedback) in POSITIVE.into_iter().flat_map(|p| [(p, false), (p, true)])
    {
        for walk in [channels(0, feedback, "x"), rows_by_channel((2, feedback), "x")] {
            let (scan, mut outer, mut operands) = walk;
            let gate = operands.iter().position(|o| {
                outer.inputs.iter().any(|i| i.value == *o && i.name == "x")
            });
            let gate = &mut operands[gate.expect("it is fed")];
            *gate = positive(&mut outer, *gate);
            let plain = walked(&scan, &outer, &operands);
            let options = FormOptions { chunk: Some(8), ..FormOptions::default() };
            let (form, _) = choose(&plain, options, false).expect("a form");
            assert!(count(&form, &Op::Stop) > 0, "slopes go by sums\n{form}");
            alike(&plain, &form);
            alike(&with_gradients(&plain), &with_gradients(&form));
            let done = settled(&with_gradients(&form));
            assert_eq!(count(&done, &Op::Stop), 0, "no mark is left\n{done}");
            alike(&with_gradients(&plain), &done);
        }
    }
}
