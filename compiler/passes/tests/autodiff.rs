//! Gradients through walks: by tokens, by chunks, nested under a mask, with several states and
//! shared operands, for lengths that no chunk divides and calls that start within a chunk.

use crate::common::{check, sizes, with_gradients};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::Type;
use nestor_passes::build::{add, broadcast, contract, mul, scale, select, sum, unary};
use nestor_passes::simplify::simplify;
use smallvec::smallvec;

const N: usize = 2;

fn n() -> Dim {
    Dim::Fixed(N)
}

fn body_of(layout: &[Axis], last: usize) -> Layout {
    layout.iter().copied().chain((0..last).map(|_| Axis::Body)).collect()
}

/// One step of a memory with momentum: `s' = tanh(w x + r s)`, `W' = a W + s' x'`.
fn step(
    b: &mut Graph,
    x: Value,
    gate: Value,
    w: Value,
    s: Value,
    m: Value,
) -> (Value, Value, Value) {
    let wx = contract(b, w, x, &[], &[(1, 0)]);
    let ms = contract(b, m, s, &[], &[(1, 0)]);
    let both = add(b, wx, ms);
    let s2 = unary(b, Op::Tanh, both);
    let gate = unary(b, Op::Sigmoid, gate);
    let kept = broadcast(b, gate, &[n(), n()], &[]);
    let kept = mul(b, kept, m);
    let new = contract(b, s2, x, &[], &[]);
    let new = scale(b, new, 0.5);
    let m2 = add(b, kept, new);
    let y = contract(b, m2, x, &[], &[(1, 0)]);
    (s2, m2, y)
}

fn token_body() -> Graph {
    let mut b = Graph::new();
    let x = b.input("x", Type::real([n()]));
    let gate = b.input("gate", Type::real([]));
    let w = b.input("w", Type::real([n(), n()]));
    let s = b.input("s", Type::real([n()]));
    let m = b.input("m", Type::real([n(), n()]));
    b.input("valid", Type::bool([]));
    b.input("position", Type::real([]));
    let (s2, m2, y) = step(&mut b, x, gate, w, s, m);
    b.output("s", s2);
    b.output("m", m2);
    b.output("y", y);
    b
}

/// Streams differ in which mapped dimensions they have; `w` is shared by the batch, its layout
/// has the map inside; `m` lacks both.
fn outer(reverse: bool) -> Graph {
    let (batch, time, heads) = (Dim::Batch, Dim::Time, Dim::Fixed(3));
    let mut g = Graph::new();
    let x = g.input("x", Type::real([batch, time, heads, n()]));
    let gate = g.input("gate", Type::real([time, batch]));
    let w = g.input("w", Type::real([n(), heads, n()]));
    let s = g.input("s", Type::real([heads, batch, n()]));
    let m = g.input("m", Type::real([n(), n()]));
    let scan = Scan {
        map: smallvec![batch, heads],
        time,
        stride: Stride::Token,
        reverse,
        feeds: vec![
            (Feed::Stream, smallvec![Axis::Map(0), Axis::Time, Axis::Map(1), Axis::Body]),
            (Feed::Stream, smallvec![Axis::Time, Axis::Map(0)]),
            (Feed::Shared, smallvec![Axis::Body, Axis::Map(1), Axis::Body]),
            (Feed::Initial, smallvec![Axis::Map(1), Axis::Map(0), Axis::Body]),
            (Feed::Initial, smallvec![Axis::Body, Axis::Body]),
        ],
        yields: vec![(
            Yield::Stream,
            smallvec![Axis::Map(1), Axis::Time, Axis::Body, Axis::Map(0)],
        )],
        body: token_body(),
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, gate, w, s, m]);
    for (name, value) in ["s", "m", "y"].iter().zip(&r) {
        g.output(*name, *value);
    }
    g
}

#[test]
fn a_walk_by_tokens() {
    for reverse in [false, true] {
        check(&outer(reverse), &sizes(2, 3, 1), 20);
    }
}

#[test]
fn a_walk_by_tokens_twice() {
    check(&with_gradients(&outer(false)), &sizes(1, 3, 0), 21);
}

#[test]
fn only_the_final_state_matters() {
    let mut g = outer(false);
    g.outputs.remove(2);
    g.outputs.remove(0);
    check(&g, &sizes(2, 3, 0), 22);
    let plainer = simplify(&g);
    assert!(plainer.to_string().len() < g.to_string().len());
}

/// Chunks: decayed sums with a position, a step feed, a step yield and masked rows.
fn chunked(c: usize, reverse: bool) -> Graph {
    let rows = Dim::Fixed(c);
    let mut b = Graph::new();
    let x = b.input("x", Type::real([rows, n()]));
    let u = b.input("u", Type::real([n()]));
    let w = b.input("w", Type::real([n(), n()]));
    let s = b.input("s", Type::real([n()]));
    let valid = b.input("valid", Type::bool([rows]));
    let position = b.input("position", Type::real([rows]));
    let wx = contract(&mut b, x, w, &[], &[(1, 1)]);
    let h = unary(&mut b, Op::Sin, wx);
    let offset = unary(&mut b, Op::Cos, position);
    let offset = broadcast(&mut b, offset, &[rows, n()], &[0]);
    let h = add(&mut b, h, offset);
    let valid = broadcast(&mut b, valid, &[rows, n()], &[0]);
    let h = nestor_passes::build::select_or_zero(&mut b, valid, h);
    let total = sum(&mut b, h, &[0]);
    let su = mul(&mut b, s, u);
    let su = unary(&mut b, Op::Tanh, su);
    let next = add(&mut b, su, total);
    let before = broadcast(&mut b, s, &[rows, n()], &[1]);
    let y = mul(&mut b, before, h);
    b.output("s", next);
    b.output("y", y);
    b.output("step", total);
    let mut g = Graph::new();
    let (batch, time) = (Dim::Batch, Dim::Time);
    let x = g.input("x", Type::real([batch, time, n()]));
    let u = g.input("u", Type::real([Dim::Chunks(c), n()]));
    let w = g.input("w", Type::real([n(), n()]));
    let s = g.input("s", Type::real([batch, n()]));
    let scan = Scan {
        map: smallvec![batch],
        time,
        stride: Stride::Chunk(c),
        reverse,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Step, body_of(&[Axis::Time], 1)),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Initial, body_of(&[Axis::Map(0)], 1)),
        ],
        yields: vec![
            (Yield::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Yield::Step, body_of(&[Axis::Map(0), Axis::Time], 1)),
        ],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, u, w, s]);
    for (name, value) in ["s", "y", "step"].iter().zip(&r) {
        g.output(*name, *value);
    }
    g
}

#[test]
fn a_walk_by_chunks() {
    for (c, time, start) in [(2, 5, 0), (3, 5, 2), (8, 5, 6), (4, 4, 0), (1, 3, 5)] {
        for reverse in [false, true] {
            check(&chunked(c, reverse), &sizes(2, time, start), 23);
        }
    }
    check(&with_gradients(&chunked(3, false)), &sizes(1, 4, 2), 24);
}

/// Chunks that multiply long rows: what costs most is kept for the way back.
fn long_rows(c: usize) -> Graph {
    let (rows, long) = (Dim::Fixed(c), Dim::Fixed(128));
    let mut b = Graph::new();
    let x = b.input("x", Type::real([rows, long]));
    let w = b.input("w", Type::real([long, n()]));
    let s = b.input("s", Type::real([n()]));
    b.input("valid", Type::bool([rows]));
    b.input("position", Type::real([rows]));
    let h = contract(&mut b, x, w, &[], &[(1, 0)]);
    let before = broadcast(&mut b, s, &[rows, n()], &[1]);
    let h = mul(&mut b, h, before);
    let y = unary(&mut b, Op::Sin, h);
    let again = mul(&mut b, y, h);
    let total = sum(&mut b, again, &[0]);
    let next = unary(&mut b, Op::Tanh, total);
    b.output("s", next);
    b.output("y", y);
    let mut g = Graph::new();
    let (batch, time) = (Dim::Batch, Dim::Time);
    let x = g.input("x", Type::real([batch, time, long]));
    let w = g.input("w", Type::real([long, n()]));
    let s = g.input("s", Type::real([batch, n()]));
    let scan = Scan {
        map: smallvec![batch],
        time,
        stride: Stride::Chunk(c),
        reverse: false,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Initial, body_of(&[Axis::Map(0)], 1)),
        ],
        yields: vec![(Yield::Stream, body_of(&[Axis::Map(0), Axis::Time], 1))],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, w, s]);
    g.output("s", r[0]);
    g.output("y", r[1]);
    g
}

#[test]
fn what_costs_most_is_not_computed_again() {
    check(&long_rows(3), &sizes(1, 4, 2), 26);
    // On the way back the gradients of x and w, and not h.
    assert_eq!(products_of_walks(&long_rows(3)), [1, 2]);
}

/// How many products the bodies of the walks of a graph and of its gradients hold.
fn products_of_walks(graph: &Graph) -> Vec<usize> {
    let both = nestor_passes::simplify::simplify(&with_gradients(graph));
    let walks = both.nodes.values().filter_map(|n| match &n.op {
        Op::Scan { scan } => Some(&scan.body),
        _ => None,
    });
    let product = |op: &Op| matches!(op, Op::Contract { sum, .. } if !sum.is_empty());
    walks.map(|body| body.nodes.values().filter(|n| product(&n.op)).count()).collect()
}

/// Chunks in which two values follow from two products, each worth keeping only beside the other.
fn two_products(c: usize) -> Graph {
    let (rows, long) = (Dim::Fixed(c), Dim::Fixed(64));
    let mut b = Graph::new();
    let x = b.input("x", Type::real([rows, long]));
    let w = b.input("w", Type::real([long, n()]));
    let v = b.input("v", Type::real([long, n()]));
    let s = b.input("s", Type::real([n()]));
    b.input("valid", Type::bool([rows]));
    b.input("position", Type::real([rows]));
    let p = contract(&mut b, x, w, &[], &[(1, 0)]);
    let q = contract(&mut b, x, v, &[], &[(1, 0)]);
    let both = mul(&mut b, p, q);
    let either = add(&mut b, p, q);
    let (y, z) = (unary(&mut b, Op::Sin, both), unary(&mut b, Op::Tanh, either));
    let total = sum(&mut b, z, &[0]);
    let next = mul(&mut b, s, total);
    b.output("s", next);
    b.output("y", y);
    let mut g = Graph::new();
    let (batch, time) = (Dim::Batch, Dim::Time);
    let x = g.input("x", Type::real([batch, time, long]));
    let w = g.input("w", Type::real([long, n()]));
    let v = g.input("v", Type::real([long, n()]));
    let s = g.input("s", Type::real([batch, n()]));
    let scan = Scan {
        map: smallvec![batch],
        time,
        stride: Stride::Chunk(c),
        reverse: false,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Initial, body_of(&[Axis::Map(0)], 1)),
        ],
        yields: vec![(Yield::Stream, body_of(&[Axis::Map(0), Axis::Time], 1))],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, w, v, s]);
    g.output("s", r[0]);
    g.output("y", r[1]);
    g
}

#[test]
fn products_are_kept_rather_than_what_follows_from_them() {
    check(&two_products(3), &sizes(1, 4, 2), 27);
    // On the way back x's gradient takes two products, those of w and v one each.
    assert_eq!(products_of_walks(&two_products(3)), [2, 4]);
}

/// A walk by chunks whose body walks the chunk's tokens under a mask.
fn nested(c: usize) -> Graph {
    let rows = Dim::Fixed(c);
    let mut b = Graph::new();
    let x = b.input("x", Type::real([rows, n()]));
    let gate = b.input("gate", Type::real([rows]));
    let w = b.input("w", Type::real([n(), n()]));
    let s = b.input("s", Type::real([n()]));
    let m = b.input("m", Type::real([n(), n()]));
    let valid = b.input("valid", Type::bool([rows]));
    b.input("position", Type::real([rows]));
    let inner = Scan {
        map: smallvec![],
        time: rows,
        stride: Stride::Token,
        reverse: false,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Time], 1)),
            (Feed::Mask, smallvec![Axis::Time]),
            (Feed::Stream, smallvec![Axis::Time]),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Initial, body_of(&[], 1)),
            (Feed::Initial, body_of(&[], 2)),
        ],
        yields: vec![(Yield::Stream, body_of(&[Axis::Time], 1))],
        body: token_body(),
    };
    let r = b.add_many(Op::Scan { scan: Box::new(inner) }, &[x, valid, gate, w, s, m]);
    for (name, value) in ["s", "m", "y"].iter().zip(&r) {
        b.output(*name, *value);
    }
    let (batch, time) = (Dim::Batch, Dim::Time);
    let mut g = Graph::new();
    let x = g.input("x", Type::real([batch, time, n()]));
    let gate = g.input("gate", Type::real([batch, time]));
    let w = g.input("w", Type::real([n(), n()]));
    let s = g.input("s", Type::real([n()]));
    let m = g.input("m", Type::real([batch, n(), n()]));
    let scan = Scan {
        map: smallvec![batch],
        time,
        stride: Stride::Chunk(c),
        reverse: false,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 0)),
            (Feed::Shared, body_of(&[], 2)),
            (Feed::Initial, body_of(&[], 1)),
            (Feed::Initial, body_of(&[Axis::Map(0)], 2)),
        ],
        yields: vec![(Yield::Stream, body_of(&[Axis::Map(0), Axis::Time], 1))],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, gate, w, s, m]);
    for (name, value) in ["s", "m", "y"].iter().zip(&r) {
        g.output(*name, *value);
    }
    g
}

#[test]
fn a_walk_within_a_walk() {
    for (c, time, start) in [(2, 5, 1), (3, 4, 0), (4, 3, 2)] {
        check(&nested(c), &sizes(2, time, start), 25);
    }
    check(&with_gradients(&nested(2)), &sizes(1, 3, 1), 26);
}

#[test]
fn a_choice_by_position_carries_gradients_both_ways() {
    let mut b = Graph::new();
    let x = b.input("x", Type::real([]));
    let s = b.input("s", Type::real([]));
    let held = b.input("held", Type::real([]));
    b.input("valid", Type::bool([]));
    let position = b.input("position", Type::real([]));
    let two = nestor_passes::build::scalar(&mut b, 2.0);
    let zero = nestor_passes::build::scalar(&mut b, 0.0);
    let phase = b.add(Op::Rem, &[position, two]);
    let at = b.add(Op::Equal, &[phase, zero]);
    let held = select(&mut b, at, s, held);
    let product = mul(&mut b, held, x);
    let next = add(&mut b, s, product);
    b.output("s", next);
    b.output("held", held);
    let mut g = Graph::new();
    let x = g.input("x", Type::real([Dim::Time]));
    let s = g.input("s", Type::real([]));
    let held = g.input("held", Type::real([]));
    let scan = Scan {
        map: smallvec![],
        time: Dim::Time,
        stride: Stride::Token,
        reverse: false,
        feeds: vec![
            (Feed::Stream, smallvec![Axis::Time]),
            (Feed::Initial, smallvec![]),
            (Feed::Initial, smallvec![]),
        ],
        yields: vec![],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, s, held]);
    g.output("s", r[0]);
    for start in [0, 1] {
        check(&g, &sizes(1, 5, start), 28);
    }
}
