//! Gates that differ along an axis of the state: by channel of keys or of values.

use crate::common::walks::{K, Token, V, compare, fixed, gate, gate_along, read};
use nestor_ir::tensor::{Graph, Scan, Value};
use nestor_passes::build::{add, broadcast, contract, mul, outer, sub};

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
