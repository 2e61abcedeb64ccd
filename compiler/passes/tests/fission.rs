//! Walks split into what needs no state and what does: the same numbers, forward and backward.

use crate::common::walks::{K, Token, V, alike, gate, read, walked};
use crate::common::{with_gradients, with_gradients_keeping};
use nestor_ir::tensor::{Feed, Graph, Op, Scan, Value};
use nestor_ir::ty::Type;
use nestor_passes::autodiff::Keeping;
use nestor_passes::build::{add, outer, scale, sub};
use nestor_passes::fission::{Rates, fission};
use nestor_passes::forms::{Form, FormOptions, affine, choose};
use nestor_passes::simplify::simplify;

/// Gates, a key that is read before it is written, a read.
fn gated_delta() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let (alpha, beta) = (t.stream("alpha", &[]), t.stream("beta", &[]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let kept = gate(b, alpha, m);
    let p = read(b, k, kept);
    let e = sub(b, v, p);
    let e = gate(b, beta, e);
    let g = outer(b, k, e);
    let m2 = add(b, kept, g);
    let y = read(b, q, m2);
    t.scan(&[m2], &[y])
}

/// Momentum: two states, of which one is read.
fn with_momentum() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let eta = t.stream("eta", &[]);
    let (m, s) = (t.state("m", &[K, V]), t.state("s", &[K, V]));
    let b = &mut t.body;
    let p = read(b, k, m);
    let e = sub(b, p, v);
    let g = outer(b, k, e);
    let g = scale(b, g, 0.3);
    let kept = gate(b, eta, s);
    let s2 = sub(b, kept, g);
    let m2 = add(b, m, s2);
    let y = read(b, q, m2);
    t.scan(&[m2, s2], &[y])
}

/// No read before the write: sums alone are carried.
fn linear() -> (Scan, Graph, Vec<Value>) {
    let mut t = Token::new();
    let (q, k, v) = (t.stream("q", &[K]), t.stream("k", &[K]), t.stream("v", &[V]));
    let m = t.state("m", &[K, V]);
    let b = &mut t.body;
    let g = outer(b, k, v);
    let m2 = add(b, m, g);
    let y = read(b, q, m2);
    t.scan(&[m2], &[y])
}

/// A walk in its form by chunks of so many tokens.
fn by_chunks((scan, outer, operands): (Scan, Graph, Vec<Value>), rows: usize) -> Graph {
    let types: Vec<Type> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let form = affine(&scan, &types, rows).expect("a form by chunks");
    walked(&form, &outer, &operands)
}

fn scans(graph: &Graph) -> Vec<&Scan> {
    fn of(op: &Op) -> Option<&Scan> {
        if let Op::Scan { scan } = op { Some(scan) } else { None }
    }
    graph.nodes.values().filter_map(|n| of(&n.op)).collect()
}

fn same(walk: (Scan, Graph, Vec<Value>)) {
    let plain = by_chunks(walk, 4);
    for graph in [simplify(&plain), simplify(&with_gradients(&plain))] {
        let made = fission(&graph, &Rates::ALWAYS);
        let walks = scans(&made).iter().filter(|s| s.states().count() > 0).count();
        assert!(scans(&made).len() > walks, "nothing leaves the walk of\n{graph}");
        alike(&graph, &made);
    }
}

#[test]
fn reads_before_writes() {
    same(gated_delta());
}

#[test]
fn two_states() {
    same(with_momentum());
}

#[test]
fn sums() {
    same(linear());
}

#[test]
fn columns_are_walked_by_themselves_and_no_system_is_left_in_the_walk() {
    let made = fission(&simplify(&by_chunks(gated_delta(), 4)), &Rates::ALWAYS);
    let walk = scans(&made).into_iter().find(|s| s.states().count() > 0);
    let walk = walk.expect("a walk");
    assert_eq!(walk.map.len(), 3, "{made}");
    assert_eq!(solves(walk), 0, "{made}");
    assert_eq!(scans(&made).into_iter().map(solves).sum::<usize>(), 1, "{made}");
    let given = walk.feeds.iter().filter(|(f, _)| *f == Feed::Step).count();
    assert!(given > 0, "{made}");
}

/// Systems in the body of a walk.
fn solves(scan: &Scan) -> usize {
    let nodes = scan.body.nodes.values();
    nodes.filter(|n| matches!(n.op, Op::SolveUnitLower { .. })).count()
}

/// The way back meets the same system as the way forth: it is solved once, and read by both.
#[test]
fn what_the_way_forth_has_solved_is_taken_from_there() {
    let graph = simplify(&by_chunks(gated_delta(), 4));
    // What it solves for is kept, so that both ways ask for the system's inverse alone.
    let keeping = Keeping { enough: 1000, solving: 1000 };
    let graph = simplify(&with_gradients_keeping(&graph, keeping));
    let within = |g: &Graph| scans(g).into_iter().map(solves).sum::<usize>();
    assert!(within(&graph) > 1, "{graph}");
    let made = fission(&graph, &Rates::ALWAYS);
    assert_eq!(within(&made), 1, "{made}");
    let solved = scans(&made).into_iter().find(|s| solves(s) == 1).expect("one");
    assert_eq!(solved.states().count(), 0, "{made}");
    alike(&graph, &made);
}

#[test]
fn where_nothing_pays_nothing_is_split() {
    let graph = simplify(&by_chunks(linear(), 4));
    let rates = Rates {
        products: 1e9,
        others: 1e9,
        processors: 1,
        alone: 2.5,
        sequences: 2,
        narrowest: 32,
        group: None,
        always: false,
    };
    assert_eq!(fission(&graph, &rates), graph);
}

/// The walk in the form that is chosen where each sequence has so many workers, or in two passes where that is asked for.
fn chosen(form: Option<Form>, workers: usize, longest: Option<usize>) -> (Graph, Form) {
    let (scan, outer, operands) = gated_delta();
    let options = FormOptions {
        form,
        chunk: Some(4),
        longest,
        workers: Some(workers),
        ..FormOptions::default()
    };
    let walk = walked(&scan, &outer, &operands);
    let (graph, choices) = choose(&walk, options, false).expect("a form");
    (simplify(&graph), choices[0].form)
}

#[test]
fn two_passes_and_a_short_walk_are_the_walk() {
    let (scan, outer, operands) = gated_delta();
    let token = with_gradients(&walked(&scan, &outer, &operands));
    for workers in [1, 4, 8] {
        let (graph, _) = chosen(Some(Form::TwoPass), workers, None);
        let stateful = scans(&graph).iter().filter(|s| s.states().count() > 0).count();
        assert_eq!((scans(&graph).len(), stateful), (3, 1), "{graph}");
        let made = simplify(&with_gradients(&graph));
        alike(&token, &made);
    }
}

#[test]
fn two_passes_are_not_taken_where_they_do_not_pay() {
    // As many workers as the walk has instances; a short sequence; one of unknown length; a token that does little.
    for (workers, longest) in
        [(2, Some(1 << 24)), (64, Some(64)), (64, None), (64, Some(1 << 24))]
    {
        assert_eq!(chosen(None, workers, longest).1, Form::Affine);
    }
}

#[test]
fn what_follows_from_numbers_that_are_handed_over_is_computed_again() {
    let graph = simplify(&with_gradients(&by_chunks(gated_delta(), 4)));
    let made = fission(&graph, &Rates::ALWAYS);
    // The errors of the way there; on the way back the state, and what the gradients of errors, gates and keys are multiples of.
    let walks = scans(&made).into_iter().filter(|s| s.states().count() > 0);
    let handed: Vec<usize> = walks.map(|s| s.yields.len()).collect();
    assert_eq!(handed, [1, 2], "{made}");
}

#[test]
fn nothing_is_computed_before_the_walk_for_what_comes_behind_it_alone() {
    // Pairs of two tokens are fewer numbers than their keys and queries: but those would be read for them, too.
    let graph = simplify(&by_chunks(linear(), 2));
    let made = fission(&graph, &Rates::ALWAYS);
    let states: Vec<usize> = scans(&made).iter().map(|s| s.states().count()).collect();
    assert_eq!(states, [1, 0], "{made}");
    alike(&graph, &made);
}
