//! Forms of updates that are derived from an objective rather than written.

use crate::common::walks::{K, Token, V, anchor, compare, gate, read};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Graph, Op, Scan, Value};
use nestor_passes::build::{
    add, broadcast, contract, div, mul, outer, scalar, scale, select, sub, sum, unary,
};
use nestor_passes::derive::derive;
use smallvec::smallvec;

/// `1/2 |y - v|^2`
fn squared(b: &mut Graph, y: Value, v: Value) -> Value {
    let e = sub(b, y, v);
    let e = mul(b, e, e);
    let all: Vec<usize> = (0..b.ty(e).rank()).collect();
    let total = sum(b, e, &all);
    scale(b, total, 0.5)
}

/// The gradients of the objective with respect to the values.
fn gradients(
    b: &mut Graph,
    at: &[Value],
    objective: impl FnOnce(&mut Graph, &[Value]) -> Value,
) -> Vec<Value> {
    let marks: Vec<Value> = at.iter().map(|&w| b.add(Op::Anchor, &[w])).collect();
    let objective = objective(b, &marks);
    marks.iter().map(|&m| b.add(Op::Gradient, &[objective, m])).collect()
}

fn derived(
    (scan, outer, operands): (Scan, Graph, Vec<Value>),
) -> (Scan, Graph, Vec<Value>) {
    let body = derive(&scan.body).expect("derives");
    (Scan { body, ..scan }, outer, operands)
}

fn silu(b: &mut Graph, x: Value) -> Value {
    let s = unary(b, Op::Sigmoid, x);
    mul(b, x, s)
}

fn layernorm(b: &mut Graph, x: Value) -> Value {
    let dims = b.ty(x).dims.clone();
    let n = V as f64;
    let mean = b.add(Op::Reduce { fold: Fold::Sum, axes: smallvec![0] }, &[x]);
    let mean = scale(b, mean, 1.0 / n);
    let mean = broadcast(b, mean, &dims, &[]);
    let x = sub(b, x, mean);
    let square = mul(b, x, x);
    let variance = sum(b, square, &[0]);
    let variance = scale(b, variance, 1.0 / n);
    let eps = scalar(b, 1e-2);
    let variance = add(b, variance, eps);
    let deviation = unary(b, Op::Sqrt, variance);
    let deviation = broadcast(b, deviation, &dims, &[]);
    div(b, x, deviation)
}

#[test]
fn delta_rule_at_the_kept_state_with_unit_keys() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, beta) = (t.stream("alpha", &[]), t.stream("beta", &[]));
    let gain = t.shared("gain", &[K]);
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let scaled = mul(b, k, gain);
    let square = mul(b, scaled, scaled);
    let norm = sum(b, square, &[0]);
    let norm = unary(b, Op::Sqrt, norm);
    let norm = broadcast(b, norm, &[Dim::Fixed(K)], &[]);
    let k = div(b, scaled, norm);
    let kept = gate(b, alpha, m);
    let g = gradients(b, &[kept], |b, w| {
        let y = read(b, k, w[0]);
        squared(b, y, v)
    });
    let step = gate(b, beta, g[0]);
    let next = sub(b, kept, step);
    let y = read(b, q, next);
    compare(derived(t.scan(&[next], &[y])), &[16, 8]);
}

/// The last three tokens with weights, and a step along `Z' Z W` besides.
#[test]
fn a_window_of_errors() {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[3, K]), t.stream("v", &[3, V]));
    let (gamma, alpha) = (t.stream("beta", &[3]), t.stream("alpha", &[]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let g = gradients(b, &[m], |b, w| {
        let y = contract(b, k, w[0], &[], &[(1, 0)]);
        let e = sub(b, y, v);
        let square = mul(b, e, e);
        let each = sum(b, square, &[1]);
        let each = mul(b, each, gamma);
        let total = sum(b, each, &[0]);
        scale(b, total, 0.5)
    });
    let z = contract(b, k, m, &[], &[(1, 0)]);
    let z = contract(b, k, z, &[], &[(0, 0)]);
    let z = scale(b, z, 0.1);
    let kept = gate(b, alpha, m);
    let next = sub(b, kept, g[0]);
    let next = sub(b, next, z);
    let y = read(b, q, next);
    compare(derived(t.scan(&[next], &[y])), &[8]);
}

/// Two layers with a residual, momentum, decay; the gradient at an anchor.
#[test]
fn a_network_with_momentum() {
    const H: usize = 5;
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[V]), t.stream("k", &[V]), t.stream("v", &[V]));
    let (alpha, eta) = (t.stream("alpha", &[]), t.stream("eta", &[]));
    let theta = t.stream("theta", &[]);
    let shapes: [&[usize]; 2] = [&[V, H], &[H, V]];
    let mut states = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        for name in ["w", "s", "a"] {
            states.push(t.state(&format!("{name}{i}"), shape));
        }
    }
    let position = t.position();
    let b = &mut t.body;
    let answer = |b: &mut Graph, q: Value, w: &[Value]| {
        let u = read(b, q, w[0]);
        let h = silu(b, u);
        let o = read(b, h, w[1]);
        add(b, q, o)
    };
    let a: Vec<Value> = (0..2)
        .map(|i| anchor(b, position, 16, states[3 * i], states[3 * i + 2]))
        .collect();
    let g = gradients(b, &a, |b, w| {
        let y = answer(b, k, w);
        squared(b, y, v)
    });
    let mut nexts = Vec::new();
    let mut now = Vec::new();
    for i in 0..2 {
        let g = gate(b, theta, g[i]);
        let kept = gate(b, eta, states[3 * i + 1]);
        let s = sub(b, kept, g);
        let kept = gate(b, alpha, states[3 * i]);
        let w = add(b, kept, s);
        now.push(w);
        nexts.extend([w, s, a[i]]);
    }
    let y = answer(b, q, &now);
    compare(derived(t.scan(&nexts, &[y])), &[16, 8]);
}

/// A normalised layer that restarts from its anchor with the sum of the period's gradients.
#[test]
fn a_normalised_layer_by_minibatches() {
    const N: usize = 8;
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[V]), t.stream("k", &[V]), t.stream("v", &[V]));
    let (eta, rate) = (t.stream("eta", &[]), t.stream("theta", &[]));
    let (gain, shift) = (t.shared("gain", &[V]), t.shared("shift", &[V]));
    let shapes: [&[usize]; 2] = [&[V, V], &[V]];
    let mut states = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        for name in ["w", "g", "a"] {
            states.push(t.state(&format!("{name}{i}"), shape));
        }
    }
    let position = t.position();
    let b = &mut t.body;
    let answer = |b: &mut Graph, q: Value, w: &[Value]| {
        let u = read(b, q, w[0]);
        let u = add(b, u, w[1]);
        let o = layernorm(b, u);
        let o = mul(b, o, gain);
        let o = add(b, o, shift);
        add(b, q, o)
    };
    let a: Vec<Value> = (0..2)
        .map(|i| anchor(b, position, N, states[3 * i], states[3 * i + 2]))
        .collect();
    let g = gradients(b, &a, |b, w| {
        let y = answer(b, k, w);
        squared(b, y, v)
    });
    let size = scalar(b, N as f64);
    let index = b.add(Op::Rem, &[position, size]);
    let zero = scalar(b, 0.0);
    let first = b.add(Op::Equal, &[index, zero]);
    let mut nexts = Vec::new();
    let mut now = Vec::new();
    for i in 0..2 {
        let dims = b.ty(g[i]).dims.clone();
        let none = nestor_passes::build::constant(b, 0.0, &dims);
        let restart = broadcast(b, first, &dims, &[]);
        let before = select(b, restart, none, states[3 * i + 1]);
        let step = gate(b, eta, g[i]);
        let total = add(b, step, before);
        let by = gate(b, rate, total);
        let moved = sub(b, a[i], by);
        let moved = sub(b, moved, states[3 * i]);
        let w = add(b, states[3 * i], moved);
        now.push(w);
        nexts.extend([w, total, a[i]]);
    }
    let y = answer(b, q, &now);
    compare(derived(t.scan(&nexts, &[y])), &[8, 4]);
}

/// A gated network whose first layer has two weights, one write a token for each.
#[test]
fn a_gated_network_without_anchor_is_refused() {
    const H: usize = 5;
    let mut t = Token::new();
    let (k, v) = (t.stream("k", &[K]), t.stream("v", &[V]));
    let w0 = t.state("w0", &[K, H]);
    let w1 = t.state("w1", &[H, V]);
    let b = &mut t.body;
    let g = gradients(b, &[w0, w1], |b, w| {
        let u = read(b, k, w[0]);
        let h = silu(b, u);
        let y = read(b, h, w[1]);
        squared(b, y, v)
    });
    let n0 = sub(b, w0, g[0]);
    let n1 = sub(b, w1, g[1]);
    let kv = outer(b, k, v);
    let y = contract(b, kv, n1, &[], &[(1, 1)]);
    let (scan, outer, operands) = derived(t.scan(&[n0, n1], &[y]));
    let types: Vec<_> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let reason =
        nestor_passes::forms::affine(&scan, &types, 8).expect_err("does not apply");
    assert!(!reason.what.is_empty());
}

/// Whether the token is the last of `n`.
fn completes(b: &mut Graph, position: Value, n: usize) -> Value {
    let one = scalar(b, 1.0);
    let next = add(b, position, one);
    let n = scalar(b, n as f64);
    let rest = b.add(Op::Rem, &[next, n]);
    let zero = scalar(b, 0.0);
    b.add(Op::Equal, &[rest, zero])
}

/// A gated network that moves once every N tokens by the momentum of the sum of their gradients,
/// with columns that keep their norm; the token that completes the window reads the new weights.
#[test]
fn weights_that_change_every_few_tokens() {
    const H: usize = 5;
    const N: usize = 16;
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let rate = t.stream("theta", &[]);
    let keep = t.stream("alpha", &[]);
    let shapes: [&[usize]; 3] = [&[K, H], &[H, V], &[K, H]];
    let mut states = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        for name in ["w", "s", "open"] {
            states.push(t.state(&format!("{name}{i}"), shape));
        }
    }
    let share = t.state("share", &[]);
    let position = t.position();
    let b = &mut t.body;
    let answer = |b: &mut Graph, q: Value, w: &[Value]| {
        let u = read(b, q, w[0]);
        let h = silu(b, u);
        let g = read(b, q, w[2]);
        let h = mul(b, h, g);
        read(b, h, w[1])
    };
    let w: Vec<Value> = (0..3).map(|i| states[3 * i]).collect();
    let g = gradients(b, &w, |b, w| {
        let y = answer(b, k, w);
        squared(b, y, v)
    });
    let now = completes(b, position, N);
    let share2 = add(b, share, keep);
    let beta = unary(b, Op::Tanh, share2);
    let zero = scalar(b, 0.0);
    let mut nexts = Vec::new();
    let mut weights = Vec::new();
    for i in 0..3 {
        let dims = b.ty(g[i]).dims.clone();
        let now = broadcast(b, now, &dims, &[]);
        let step = gate(b, rate, g[i]);
        let total = add(b, states[3 * i + 2], step);
        let kept = gate(b, beta, states[3 * i + 1]);
        let s = add(b, kept, total);
        let moved = unary(b, Op::Tanh, s);
        let moved = sub(b, states[3 * i], moved);
        let s = select(b, now, s, states[3 * i + 1]);
        let w = select(b, now, moved, states[3 * i]);
        let none = nestor_passes::build::constant(b, 0.0, &dims);
        let open = select(b, now, none, total);
        weights.push(w);
        nexts.extend([w, s, open]);
    }
    nexts.push(select(b, now, zero, share2));
    let y = answer(b, q, &weights);
    let old = answer(b, q, &w);
    compare(derived(t.scan(&nexts, &[y, old])), &[16, 8, 1]);
}
