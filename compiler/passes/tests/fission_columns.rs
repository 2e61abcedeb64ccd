//! Walks that stay one, by pieces of the columns of their states: the same numbers, forward and backward.

use crate::common::walks::{Token, alike, gate, read, walked};
use crate::common::with_gradients;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use nestor_ir::ty::Type;
use nestor_passes::build::{add, contract, mul, outer};
use nestor_passes::fission::{Rates, in_pieces};
use nestor_passes::forms::affine;
use nestor_passes::simplify::simplify;

/// Channels of a state, which do not meet, and numbers of each.
const CHANNELS: usize = 32;
const NUMBERS: usize = 3;

/// A machine with processors for all pieces.
const MANY: Rates = Rates {
    products: 100.0,
    others: 6.0,
    processors: 64,
    alone: 2.5,
    sequences: 2,
    narrowest: 32,
    group: None,
    always: false,
};

/// A state whose every number decays by itself; its chunks are flat: channels are laid out before their numbers. What is written to all channels
/// alike has a gradient that sums over them.
fn channels() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (u, a) = (t.stream("u", &[CHANNELS]), t.stream("a", &[CHANNELS, NUMBERS]));
    let (w, r) = (t.stream("w", &[NUMBERS]), t.stream("r", &[NUMBERS]));
    let h = t.state("h", &[CHANNELS, NUMBERS]);
    let b = &mut t.body;
    let kept = mul(b, a, h);
    let new = outer(b, u, w);
    let next = add(b, kept, new);
    let y = contract(b, next, r, &[], &[(1, 0)]);
    t.scan(&[next], &[y])
}

/// Channels that are read by products of other columns: all of them meet.
fn mixed() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, a) = (t.stream("q", &[CHANNELS]), t.stream("a", &[]));
    let h = t.state("h", &[CHANNELS]);
    let b = &mut t.body;
    let y = read(b, q, h);
    let kept = gate(b, a, h);
    let new = gate(b, y, q);
    let next = add(b, kept, new);
    t.scan(&[next], &[y])
}

fn by_chunks((scan, outer, operands): (Scan, Graph, Vec<Value>)) -> Graph {
    let types: Vec<Type> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let form = affine(&scan, &types, 4).expect("a form by chunks");
    walked(&form, &outer, &operands)
}

/// The last dimension of each walk's map.
fn maps(graph: &Graph) -> Vec<Option<Dim>> {
    let walks = graph.nodes.values().filter_map(|n| match &n.op {
        Op::Scan { scan } if scan.states().count() > 0 => Some(scan.map.last().copied()),
        _ => None,
    });
    walks.collect()
}

fn by_tokens((scan, outer, operands): (Scan, Graph, Vec<Value>)) -> Graph {
    walked(&scan, &outer, &operands)
}

#[test]
fn channels_are_walked_by_themselves() {
    same(&by_chunks(channels()));
    same(&by_tokens(channels()));
}

fn same(plain: &Graph) {
    for (graph, walks) in [(simplify(plain), 1), (simplify(&with_gradients(plain)), 2)] {
        let made = in_pieces(&graph, &MANY);
        // Pieces of eight channels: what lies in memory beside them is fetched with them.
        assert_eq!(maps(&made), vec![Some(Dim::Fixed(CHANNELS / 8)); walks], "{made}");
        alike(&graph, &made);
    }
}

#[test]
fn channels_that_meet_stay_together() {
    let graph = simplify(&by_tokens(mixed()));
    assert_eq!(in_pieces(&graph, &MANY), graph);
}
