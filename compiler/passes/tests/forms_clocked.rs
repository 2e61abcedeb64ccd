//! States that change at the ends of windows alone, by chunks, against the walk they stand for.

use crate::common::walks::{K, Token, V, compare, gate, read};
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use nestor_ir::ty::Type;
use nestor_passes::build::{add, broadcast, outer, scalar, select, sub};
use nestor_passes::forms::affine;

const PERIOD: usize = 16;

/// Whether the token is the last one of its window.
fn ends(b: &mut Graph, position: Value) -> Value {
    let period = scalar(b, PERIOD as f64);
    let last = scalar(b, PERIOD as f64 - 1.0);
    let rest = b.add(Op::Rem, &[position, period]);
    b.add(Op::Equal, &[rest, last])
}

fn at_the_end(b: &mut Graph, when: Value, changed: Value, otherwise: Value) -> Value {
    let dims = b.ty(otherwise).dims.clone();
    let when = broadcast(b, when, &dims, &[]);
    select(b, when, changed, otherwise)
}

fn zero_like(b: &mut Graph, value: Value) -> Value {
    let dims = b.ty(value).dims.clone();
    let zero = scalar(b, 0.0);
    broadcast(b, zero, &dims, &[])
}

/// Errors at the memory that the window began with, applied when it ends.
fn once_a_window() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, eta) = (t.stream("alpha", &[]), t.stream("eta", &[]));
    let m = t.state("m", &[K, V]);
    let s = t.state("s", &[K, V]);
    let pending = t.state("pending", &[K, V]);
    let position = t.position();
    let b = &mut t.body;
    let when = ends(b, position);
    let p = read(b, k, m);
    let e = sub(b, p, v);
    let g = outer(b, k, e);
    let g = add(b, pending, g);
    let kept = gate(b, eta, s);
    let s2 = sub(b, kept, g);
    let kept = gate(b, alpha, m);
    let m2 = add(b, kept, s2);
    let (m2, s2) = (at_the_end(b, when, m2, m), at_the_end(b, when, s2, s));
    let zero = zero_like(b, g);
    let next = at_the_end(b, when, zero, g);
    let y = read(b, q, m2);
    t.scan(&[m2, s2, next], &[y])
}

#[test]
fn an_update_once_a_window() {
    compare(once_a_window(), &[PERIOD, PERIOD / 2, 4]);
}

#[test]
fn what_a_window_wrote_is_one_product() {
    let (scan, outer, operands) = once_a_window();
    let types: Vec<Type> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let form = affine(&scan, &types, PERIOD).expect("a form");
    let over_rows =
        |op: &Op| matches!(op, Op::Contract { sum, .. } if sum[..] == [(0, 0)]);
    let writes = form.body.nodes.values().filter(|n| {
        over_rows(&n.op) && n.operands.iter().all(|&o| form.body.ty(o).rank() == 2)
    });
    assert_eq!(writes.count(), 1, "{}", form.body);
}

#[test]
fn a_memory_that_begins_anew_after_each_window() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let alpha = t.stream("alpha", &[]);
    let m = t.state("m", &[K, V]);
    let position = t.position();
    let b = &mut t.body;
    let when = ends(b, position);
    let kept = gate(b, alpha, m);
    let p = read(b, k, kept);
    let e = sub(b, v, p);
    let written = outer(b, k, e);
    let full = add(b, kept, written);
    let y = read(b, q, full);
    let zero = zero_like(b, full);
    let next = at_the_end(b, when, zero, full);
    let left = read(b, q, next);
    compare(t.scan(&[next], &[y, left]), &[PERIOD, PERIOD / 2]);
}
