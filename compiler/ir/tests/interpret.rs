//! The interpreter against sums done by hand.

use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::interpret::{Array, tensor};
use nestor_ir::tensor::{Axis, Feed, Graph, Op, Scan, Stride, Yield};
use nestor_ir::ty::Type;
use smallvec::smallvec;

/// A running sum over tokens, one walk for each batch row, in chunks of `c`.
fn running_sum(chunk: Option<usize>) -> Graph {
    let mut body = Graph::new();
    let rows: Vec<Dim> = chunk.map(Dim::Fixed).into_iter().collect();
    let x = body.input("x", Type::real(rows.clone()));
    let s = body.input("s", Type::real([]));
    body.input("valid", Type::bool(rows.clone()));
    body.input("position", Type::real(rows.clone()));
    if let Some(c) = chunk {
        let axes = smallvec![0];
        let total =
            body.add(Op::Reduce { fold: nestor_ir::tensor::Fold::Sum, axes }, &[x]);
        let next = body.add(Op::Add, &[s, total]);
        let dims = smallvec![Dim::Fixed(c)];
        let rows = body.add(Op::Broadcast { dims, axes: smallvec![] }, &[s]);
        body.output("s", next);
        body.output("before", rows);
    } else {
        let next = body.add(Op::Add, &[s, x]);
        body.output("s", next);
        body.output("before", s);
    }
    let mut graph = Graph::new();
    let x = graph.input("x", Type::real([Dim::Batch, Dim::Time]));
    let s = graph.input("s", Type::real([]));
    let scan = Scan {
        map: smallvec![Dim::Batch],
        time: Dim::Time,
        stride: chunk.map_or(Stride::Token, Stride::Chunk),
        reverse: false,
        feeds: vec![
            (Feed::Stream, smallvec![Axis::Map(0), Axis::Time]),
            (Feed::Initial, smallvec![]),
        ],
        yields: vec![(Yield::Stream, smallvec![Axis::Map(0), Axis::Time])],
        body,
    };
    let results = graph.add_many(Op::Scan { scan: Box::new(scan) }, &[x, s]);
    graph.output("s", results[0]);
    graph.output("before", results[1]);
    graph
}

#[test]
fn a_scan_by_tokens_and_by_chunks_gives_one_sum() {
    let sizes = Sizes { batch: 2, time: 5, start: 2 };
    let x = Array::real([2, 5], (0..10).map(f64::from).collect());
    let s = Array::real([], vec![100.0]);
    for chunk in [None, Some(3), Some(8)] {
        let graph = running_sum(chunk);
        let out = tensor::run(&graph, &[x.clone(), s.clone()], &sizes, Precision::F64);
        let out = out.expect("runs");
        assert_eq!(out[0].reals(), [110.0, 135.0]);
        if chunk.is_none() {
            assert_eq!(out[1].reals()[..5], [100.0, 100.0, 101.0, 103.0, 106.0]);
        }
        if chunk == Some(3) {
            // The call starts at position 2: its first chunk holds one token of it.
            assert_eq!(out[1].reals()[..5], [100.0, 100.0, 100.0, 100.0, 106.0]);
        }
    }
}

#[test]
fn eigenvectors_are_of_length_one_and_make_their_matrix_diagonal() {
    let n = Dim::Fixed(3);
    let mut graph = Graph::new();
    let a = graph.input("a", Type::real([n, n]));
    let v = graph.add(Op::Eigenvectors, &[a]);
    let product = |g: &mut Graph, a, b, (l, r)| {
        g.add(Op::Contract { batch: smallvec![], sum: smallvec![(l, r)] }, &[a, b])
    };
    let av = product(&mut graph, a, v, (1, 0));
    let vav = product(&mut graph, v, av, (0, 0));
    let vv = product(&mut graph, v, v, (0, 0));
    graph.output("values", vav);
    graph.output("lengths", vv);
    // A direction is missing: nothing is divided by its value.
    let a = Array::real([3, 3], vec![2.0, 2.0, 1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0]);
    let sizes = Sizes { batch: 1, time: 1, start: 0 };
    let out = tensor::run(&graph, &[a], &sizes, Precision::F64).expect("runs");
    let (values, lengths) = (out[0].reals(), out[1].reals());
    for i in 0..9 {
        let one = if i % 4 == 0 { 1.0 } else { 0.0 };
        assert!((lengths[i] - one).abs() < 1e-12, "{lengths:?}");
        assert!(i % 4 == 0 || values[i].abs() < 1e-12, "{values:?}");
    }
    assert!((values[0] + values[4] + values[8] - 6.0).abs() < 1e-12);
}

#[test]
fn an_inverse_root_taken_p_times_is_the_inverse() {
    let n = Dim::Fixed(3);
    let mut graph = Graph::new();
    let a = graph.input("a", Type::real([n, n]));
    let r = graph.add(Op::InverseRoot { p: 2.0 }, &[a]);
    let product = |g: &mut Graph, a, b| {
        g.add(Op::Contract { batch: smallvec![], sum: smallvec![(1, 0)] }, &[a, b])
    };
    let ra = product(&mut graph, r, a);
    let rar = product(&mut graph, ra, r);
    graph.output("identity", rar);
    let a = Array::real([3, 3], vec![4.0, 1.0, 0.5, 1.0, 3.0, 0.2, 0.5, 0.2, 2.0]);
    let sizes = Sizes { batch: 1, time: 1, start: 0 };
    let out = tensor::run(&graph, &[a], &sizes, Precision::F64).expect("runs");
    for (i, x) in out[0].reals().iter().enumerate() {
        let expected = if i % 4 == 0 { 1.0 } else { 0.0 };
        assert!((x - expected).abs() < 1e-12, "{x} at {i}");
    }
}

#[test]
fn text_reads_back_as_the_same_graph() {
    for chunk in [None, Some(3)] {
        let graph = running_sum(chunk);
        let text = graph.to_string();
        let read = nestor_ir::tensor::text::parse(&text)
            .unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read, graph, "{text}");
        nestor_ir::tensor::verify::verify(&read).expect("verifies");
    }
}
