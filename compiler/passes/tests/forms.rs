//! Chunk-parallel forms against the walk they stand for: final states, answers and gradients, for
//! lengths that no chunk divides, calls that start within a chunk, and states that are not zero.

use crate::common::walks::{
    K, Token, V, anchor, compare, compare_as, fixed, gate, gate_along, read,
};
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use nestor_ir::ty::Type;
use nestor_passes::build::{
    add, broadcast, contract, mul, neg, outer, scalar, scale, sub, sum, unary,
};
use nestor_passes::forms::{affine, rowwise};

#[test]
fn linear_attention() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kv = outer(b, k, v);
    let next = add(b, m, kv);
    let y = read(b, q, next);
    let before = read(b, q, m);
    compare(t.scan(&[next], &[y, before]), &[16, 8, 1]);
}

/// Whether a form asks which rows are there.
fn asks(make: impl Fn(&mut Graph, Value) -> Value) -> bool {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let k = make(b, k);
    let kv = outer(b, k, v);
    let kv = unary(b, Op::Neg, kv);
    let next = add(b, m, kv);
    let y = read(b, q, next);
    let (scan, outer, operands) = t.scan(&[next], &[y]);
    compare((scan.clone(), outer.clone(), operands.clone()), &[8]);
    let types: Vec<Type> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let body = affine(&scan, &types, 8).expect("a form by chunks").body;
    let body = nestor_passes::simplify::simplify(&body);
    let valid = body.inputs[body.inputs.len() - 2].value;
    body.nodes.values().any(|n| n.operands.contains(&valid))
}

#[test]
fn what_is_fed_as_zero_needs_no_mask() {
    assert!(!asks(|_, k| k), "both factors are zero in rows that are not there");
    assert!(!asks(|b, k| unary(b, Op::Exp, k)), "one of them is");
}

#[test]
fn what_is_not_zero_is_masked() {
    let mut t = Token::new();
    let (k, v) = (t.stream("k", &[K]), t.stream("v", &[V]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let (k, v) = (unary(b, Op::Exp, k), unary(b, Op::Cos, v));
    let kv = outer(b, k, v);
    let next = add(b, m, kv);
    compare(t.scan(&[next], &[m]), &[16, 8]);
}

#[test]
fn linear_attention_with_a_normaliser() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let m = t.state("m", &[V, K]);
    let z = t.state("z", &[K]);
    let b = &mut t.body;
    let (q, k) = (unary(b, Op::Exp, q), unary(b, Op::Exp, k));
    let vk = outer(b, v, k);
    let next = add(b, m, vk);
    let z2 = add(b, z, k);
    let y = contract(b, next, q, &[], &[(1, 0)]);
    let n = contract(b, z2, q, &[], &[(0, 0)]);
    let n = mul(b, n, n);
    let one = scalar(b, 5.0);
    let n = add(b, n, one);
    let n = broadcast(b, n, &fixed(&[V]), &[]);
    let y = nestor_passes::build::div(b, y, n);
    compare(t.scan(&[next, z2], &[y]), &[16, 8]);
}

#[test]
fn gated_linear() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let alpha = t.stream("alpha", &[]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kv = outer(b, k, v);
    let kept = gate(b, alpha, m);
    let next = add(b, kept, kv);
    let y = read(b, q, next);
    compare(t.scan(&[next], &[y]), &[16, 8]);
}

/// `e = beta (v - k W)`, `W' = alpha W + k (x) e`.
fn delta(gated: Option<&str>) -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let alpha = t.stream(gated.unwrap_or("alpha"), &[]);
    let beta = t.stream("beta", &[]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = if gated.is_some() { gate(b, alpha, m) } else { m };
    let p = read(b, k, kept);
    let e = sub(b, v, p);
    let e = gate(b, beta, e);
    let ke = outer(b, k, e);
    let next = add(b, kept, ke);
    let y = read(b, q, next);
    let y = unary(b, Op::Tanh, y);
    t.scan(&[next], &[y])
}

#[test]
fn delta_rule() {
    compare(delta(None), &[16, 8, 1]);
}

#[test]
fn gated_delta_rule() {
    compare(delta(Some("alpha")), &[16, 8]);
    compare(delta(Some("switch")), &[16]);
}

#[test]
fn delta_rule_with_momentum() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, eta) = (t.stream("alpha", &[]), t.stream("eta", &[]));
    let theta = t.stream("theta", &[]);
    let m = t.state("m", &[V, K]);
    let s = t.state("s", &[V, K]);
    let b = &mut t.body;
    let p = contract(b, m, k, &[], &[(1, 0)]);
    let e = sub(b, p, v);
    let g = outer(b, e, k);
    let g = gate(b, theta, g);
    let kept = gate(b, eta, s);
    let s2 = sub(b, kept, g);
    let kept = gate(b, alpha, m);
    let m2 = add(b, kept, s2);
    let y = contract(b, m2, q, &[], &[(1, 0)]);
    compare(t.scan(&[m2, s2], &[y]), &[16, 8, 1]);
}

/// Errors read the look-ahead `W + mu S`; two states that feed into each other.
#[test]
fn lookahead_momentum() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let mu = t.stream("eta", &[]);
    let theta = t.stream("theta", &[]);
    let s = t.state("s", &[K, V]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = gate(b, mu, s);
    let ahead = add(b, m, kept);
    let p = read(b, k, ahead);
    let e = sub(b, v, p);
    let e = gate(b, theta, e);
    let ke = outer(b, k, e);
    let s2 = add(b, kept, ke);
    let pulled = scale(b, m, 0.1);
    let s2 = sub(b, s2, pulled);
    let m2 = add(b, m, s2);
    let y = read(b, q, m2);
    compare(t.scan(&[s2, m2], &[y]), &[8]);
}

/// Two micro-steps a token, the second reads what the first wrote.
#[test]
fn two_steps_a_token() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (k2, v2) = (t.stream("k2", &[K]), t.stream("v2", &[V]));
    let beta = t.stream("beta", &[]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let mut w = m;
    for (k, v) in [(k, v), (k2, v2)] {
        let p = read(b, k, w);
        let e = sub(b, v, p);
        let e = gate(b, beta, e);
        let ke = outer(b, k, e);
        w = add(b, w, ke);
    }
    let y = read(b, q, w);
    compare(t.scan(&[w], &[y]), &[8]);
}

/// All of a window's errors at once: several reads and writes a token; a bias and a pull towards
/// a learned matrix besides.
#[test]
fn several_rows_a_token() {
    let mut t = Token::new();
    let (q, k, v) =
        (t.stream("q", &[2, K]), t.stream("k", &[3, K]), t.stream("v", &[3, V]));
    let gamma = t.stream("beta", &[3]);
    let first = t.shared("w0", &[K, V]);
    let m = t.state("m", &[K, V]);
    let z = t.state("z", &[V]);
    let b = &mut t.body;
    let p = contract(b, k, m, &[], &[(1, 0)]);
    let e = sub(b, v, p);
    let gamma = broadcast(b, gamma, &fixed(&[3, V]), &[0]);
    let e = mul(b, gamma, e);
    let ke = contract(b, k, e, &[], &[(0, 0)]);
    let away = sub(b, m, first);
    let away = scale(b, away, 0.2);
    let kept = sub(b, m, away);
    let next = add(b, kept, ke);
    let total = sum(b, e, &[0]);
    let z2 = scale(b, z, 0.5);
    let z2 = add(b, z2, total);
    let y = contract(b, q, next, &[], &[(1, 0)]);
    let zs = broadcast(b, z2, &fixed(&[2, V]), &[1]);
    let y = mul(b, y, zs);
    compare(t.scan(&[next, z2], &[y]), &[8]);
}

#[test]
fn anchored_linear() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, theta) = (t.stream("alpha", &[]), t.stream("theta", &[]));
    let m = t.state("m", &[K, V]);
    let held = t.state("held", &[K, V]);
    let position = t.position();
    let b = &mut t.body;
    let held = anchor(b, position, 16, m, held);
    let p = read(b, k, held);
    let e = sub(b, v, p);
    let e = gate(b, theta, e);
    let ke = outer(b, k, e);
    let kept = gate(b, alpha, m);
    let next = add(b, kept, ke);
    let y = read(b, q, next);
    compare(t.scan(&[next, held], &[y]), &[16, 8]);
}

#[test]
fn anchored_mlp_with_momentum() {
    const H: usize = 5;
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, eta) = (t.stream("alpha", &[]), t.stream("eta", &[]));
    let theta = t.stream("theta", &[]);
    let shapes: [&[usize]; 4] = [&[K, H], &[H], &[H, V], &[V]];
    let mut weights = Vec::new();
    let mut momenta = Vec::new();
    let mut anchors = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        weights.push(t.state(&format!("w{i}"), shape));
        momenta.push(t.state(&format!("s{i}"), shape));
        anchors.push(t.state(&format!("a{i}"), shape));
    }
    let position = t.position();
    let b = &mut t.body;
    let mut nexts = Vec::new();
    let a: Vec<Value> =
        (0..4).map(|i| anchor(b, position, 16, weights[i], anchors[i])).collect();
    let u = read(b, k, a[0]);
    let u = add(b, u, a[1]);
    let h = unary(b, Op::Tanh, u);
    let o = read(b, h, a[2]);
    let o = add(b, o, a[3]);
    let e = sub(b, o, v);
    let g3 = e;
    let g2 = outer(b, h, e);
    let back = contract(b, a[2], e, &[], &[(1, 0)]);
    let hh = mul(b, h, h);
    let hh = mul(b, hh, back);
    let g1 = sub(b, back, hh);
    let g0 = outer(b, k, g1);
    let mut now = Vec::new();
    for (i, g) in [g0, g1, g2, g3].into_iter().enumerate() {
        let g = gate(b, theta, g);
        let kept = gate(b, eta, momenta[i]);
        let s = sub(b, kept, g);
        let kept = gate(b, alpha, weights[i]);
        let w = add(b, kept, s);
        now.push(w);
        nexts.extend([w, s, a[i]]);
    }
    let u = read(b, q, now[0]);
    let u = add(b, u, now[1]);
    let h = unary(b, Op::Tanh, u);
    let y = read(b, h, now[2]);
    let y = add(b, y, now[3]);
    compare(t.scan(&nexts, &[y]), &[16, 8]);
}

/// Steps that differ by column: a system for every column.
#[test]
fn steps_by_column() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, beta) = (t.stream("alpha", &[]), t.stream("beta", &[V]));
    let m = t.state("m", &[V, K]);
    let b = &mut t.body;
    let p = contract(b, m, k, &[], &[(1, 0)]);
    let e = sub(b, v, p);
    let e = mul(b, e, beta);
    let ke = outer(b, e, k);
    let kept = gate(b, alpha, m);
    let next = add(b, kept, ke);
    let y = contract(b, next, q, &[], &[(1, 0)]);
    compare(t.scan(&[next], &[y]), &[16, 8]);
}

/// Keys removed are not the keys written; a write without feedback besides.
#[test]
fn different_erasing_and_writing() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (kk, a) = (t.stream("k2", &[K]), t.stream("eta", &[K]));
    let alpha = t.stream("alpha", &[K]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = gate_along(b, alpha, &[0], m);
    let removed = read(b, kk, m);
    let kka = mul(b, kk, a);
    let removed = outer(b, kka, removed);
    let kept = sub(b, kept, removed);
    let kv = outer(b, k, v);
    let next = add(b, kept, kv);
    let y = read(b, q, next);
    compare(t.scan(&[next], &[y]), &[16, 8]);
}

/// Vectors and entries with gates of their own, and two memories of which one is read with what
/// the other answers.
#[test]
fn entries_with_gates_of_their_own() {
    let mut t = Token::new();
    let (q, u) = (t.stream("q", &[V]), t.stream("k", &[K]));
    let (rate, dt) = (t.shared("alpha", &[K, V]), t.stream("eta", &[K]));
    let keep = t.stream("beta", &[K]);
    let (h, x) = (t.state("h", &[K, V]), t.state("x", &[K]));
    let b = &mut t.body;
    let kept = gate_along(b, dt, &[0], rate);
    let kept = unary(b, Op::Neg, kept);
    let kept = unary(b, Op::Exp, kept);
    let kept = mul(b, kept, h);
    let write = outer(b, u, q);
    let h2 = add(b, kept, write);
    let kept = mul(b, keep, x);
    let read = contract(b, h2, q, &[], &[(1, 0)]);
    let x2 = add(b, kept, read);
    let y = mul(b, x2, u);
    compare(t.scan(&[h2, x2], &[y, h2]), &[8, 4]);
}

/// A state that is solved with: it enters a function whole.
#[test]
fn a_system_of_the_state_is_solved() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let alpha = t.stream("alpha", &[]);
    let (kk, kv) = (t.shared("kk", &[K, 5]), t.state("kv", &[K, V]));
    let h = t.state("h", &[K, K]);
    let b = &mut t.body;
    let square = contract(b, kk, kk, &[], &[(1, 1)]);
    let write = outer(b, k, k);
    let kept = gate(b, alpha, h);
    let h2 = add(b, kept, write);
    let write = outer(b, k, v);
    let kept = gate(b, alpha, kv);
    let kv2 = add(b, kept, write);
    let system = contract(b, h2, h2, &[], &[(1, 1)]);
    let system = add(b, system, square);
    let eye = {
        let dims: nestor_ir::ty::Dims = fixed(&[K, K]).into_iter().collect();
        let i = b.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
        let j = b.add(Op::Iota { axis: 1, dims }, &[]);
        let same = b.add(Op::Equal, &[i, j]);
        b.add(Op::Real, &[same])
    };
    let system = add(b, system, eye);
    let column = nestor_passes::build::broadcast(b, q, &fixed(&[K, 1]), &[0]);
    let x = b.add(Op::Solve, &[system, column]);
    let x = sum(b, x, &[1]);
    let y = read(b, x, kv2);
    compare(t.scan(&[kv2, h2], &[y]), &[8]);
}

/// A switch on the error's norm; gates and steps by column.
#[test]
fn errors_that_are_functions_of_reads() {
    for axes in [&[][..], &[1]] {
        let mut t = Token::new();
        let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
        let dims: &[usize] = if axes.is_empty() { &[] } else { &[V] };
        let (alpha, eta) = (t.stream("alpha", dims), t.stream("beta", dims));
        let delta = t.shared("delta", &[]);
        let m = t.state("m", &[K, V]);
        let b = &mut t.body;
        let p = read(b, k, m);
        let e = sub(b, p, v);
        let square = mul(b, e, e);
        let norm = sum(b, square, &[0]);
        let norm = unary(b, Op::Sqrt, norm);
        let small = b.add(Op::Less, &[norm, delta]);
        let small = broadcast(b, small, &fixed(&[V]), &[]);
        let norm = broadcast(b, norm, &fixed(&[V]), &[]);
        let unit = nestor_passes::build::div(b, e, norm);
        let bent = unary(b, Op::Tanh, e);
        let e = nestor_passes::build::select(b, small, bent, unit);
        let g = outer(b, k, e);
        let step = gate_along(b, eta, axes, g);
        let kept = gate_along(b, alpha, axes, m);
        let next = sub(b, kept, step);
        let y = read(b, q, next);
        compare_as(rowwise, t.scan(&[next], &[y, p]), &[16, 8, 1]);
    }
}

/// Errors that weigh what the momentum answers by what the memory does.
#[test]
fn momentum_that_forgets_along_errors() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (eta, theta) = (t.stream("eta", &[]), t.stream("theta", &[]));
    let (m, s) = (t.state("m", &[K, V]), t.state("s", &[K, V]));
    let z = t.state("z", &[V]);
    let b = &mut t.body;
    let p = read(b, k, m);
    let p = add(b, p, z);
    let e = sub(b, p, v);
    let square = mul(b, e, e);
    let size = sum(b, square, &[0]);
    let one = scalar(b, 1.0);
    let bound = add(b, size, one);
    let share = nestor_passes::build::div(b, size, bound);
    let r = read(b, k, s);
    let forgotten = gate(b, share, r);
    let g = outer(b, k, forgotten);
    let kept = sub(b, s, g);
    let kept = gate(b, eta, kept);
    let g = outer(b, k, e);
    let g = gate(b, theta, g);
    let s2 = sub(b, kept, g);
    let m2 = add(b, m, s2);
    let moved = gate(b, share, e);
    let z2 = sub(b, z, moved);
    let y = read(b, q, m2);
    compare_as(rowwise, t.scan(&[m2, s2, z2], &[y, z2]), &[8, 4]);
}

fn refused(scan: (Scan, Graph, Vec<Value>), chunk: usize, because: &str) {
    let types: Vec<Type> = scan.2.iter().map(|&o| scan.1.ty(o).clone()).collect();
    let reason = affine(&scan.0, &types, chunk).expect_err("does not apply");
    assert!(reason.what.contains(because), "{reason}");
}

#[test]
fn what_is_not_affine_says_why() {
    let rule = |change: fn(&mut Graph, Value, Value) -> (Value, Value)| {
        let mut t = Token::new();
        let (k, v) = (t.stream("k", &[K]), t.stream("v", &[V]));
        let m = t.state("m", &[K, V]);
        let b = &mut t.body;
        let p = read(b, k, m);
        let e = sub(b, v, p);
        let (e, m) = change(b, e, m);
        let ke = outer(b, k, e);
        let next = add(b, m, ke);
        t.scan(&[next], &[p])
    };
    refused(rule(|b, e, m| (unary(b, Op::Tanh, e), m)), 8, "`tanh`");
    refused(rule(|b, e, m| (e, unary(b, Op::Tanh, m))), 8, "`tanh`");
    refused(rule(|b, e, m| (mul(b, e, e), m)), 8, "not affine");
    refused(rule(|b, e, m| (neg(b, e), mul(b, m, m))), 8, "gate");
    let mut t = Token::new();
    let k = t.stream("k", &[K]);
    let (m, held) = (t.state("m", &[K]), t.state("held", &[K]));
    let position = t.position();
    let b = &mut t.body;
    let held = anchor(b, position, 12, m, held);
    let next = add(b, m, k);
    refused(t.scan(&[next, held], &[]), 8, "boundary every 12");
}
