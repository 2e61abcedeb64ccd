//! What is left to do once gradients are taken.

use crate::common::walks::{K, Token, V, alike, gate_along, walked};
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use nestor_passes::build::{add, mul, neg, outer, sub, unary};
use nestor_passes::forms::{FormOptions, choose};
use nestor_passes::settle::settled;

/// A walk whose gate is made of what is fed, by channel.
fn gated(made: impl Fn(&mut Graph, Value) -> Value) -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (k, v, x) = (t.stream("k", &[K]), t.stream("v", &[V]), t.stream("x", &[K]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let gate = made(b, x);
    let kept = gate_along(b, gate, &[0], m);
    let kv = outer(b, k, v);
    let next = add(b, kept, kv);
    t.scan(&[next], &[])
}

/// The ops of a graph's walks.
fn walks(graph: &Graph) -> Vec<Op> {
    let body = |op: &Op| match op {
        Op::Scan { scan } => scan.body.nodes.values().map(|n| n.op.clone()).collect(),
        _ => vec![],
    };
    graph.nodes.values().flat_map(|n| body(&n.op)).collect()
}

#[test]
fn what_only_slopes_take_goes_with_the_marks() {
    let (scan, mut outer, mut operands) = gated(|_, x| x);
    operands[2] = unary(&mut outer, Op::Sigmoid, operands[2]);
    let plain = walked(&scan, &outer, &operands);
    let options = FormOptions { chunk: Some(8), ..FormOptions::default() };
    let (form, _) = choose(&plain, options, false).expect("a form");
    assert!(walks(&form).contains(&Op::Stop), "slopes go by sums\n{form}");
    let done = settled(&form);
    for op in [Op::Stop, Op::LinearScan { reverse: false }, Op::Exp] {
        assert!(!walks(&done).contains(&op), "{} is left\n{done}", op.info().name);
    }
    alike(&plain, &done);
}

#[test]
fn an_exponential_of_what_is_fed_is_fed() {
    let stopped = |b: &mut Graph, x| {
        let gate = unary(b, Op::Exp, x);
        b.add(Op::Stop, &[gate])
    };
    let (scan, mut outer, mut operands) = gated(stopped);
    operands[2] = neg(&mut outer, operands[2]);
    let plain = walked(&scan, &outer, &operands);
    let done = settled(&plain);
    assert!(!walks(&done).contains(&Op::Exp), "it is taken outside\n{done}");
    assert!(done.nodes.values().any(|n| n.op == Op::Exp), "it is taken once\n{done}");
    alike(&plain, &done);
}

#[test]
fn what_is_used_for_something_else_stays() {
    let both = |b: &mut Graph, x| {
        let gate = unary(b, Op::Exp, x);
        let gate = b.add(Op::Stop, &[gate]);
        let difference = sub(b, gate, x);
        mul(b, gate, difference)
    };
    let (scan, mut outer, mut operands) = gated(both);
    operands[2] = neg(&mut outer, operands[2]);
    let plain = walked(&scan, &outer, &operands);
    let done = settled(&plain);
    assert!(walks(&done).contains(&Op::Exp), "the walk needs both\n{done}");
    alike(&plain, &done);
}

#[test]
fn a_graph_without_marks_stays() {
    let (scan, outer, operands) = gated(|b, x| unary(b, Op::Exp, x));
    let plain = walked(&scan, &outer, &operands);
    assert_eq!(settled(&plain), plain);
}
