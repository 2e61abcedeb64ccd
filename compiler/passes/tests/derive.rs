//! Inner gradients: marks become the update that a paper writes, and are what differences say.

use crate::common::{Numbers, check, close, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::interpret::array::{Array, Data};
use nestor_ir::tensor::text::parse;
use nestor_ir::tensor::{Axis, Feed, Fold, Graph, Layout, Op, Scan, Stride, Yield};
use nestor_ir::ty::Type;
use nestor_passes::build::{broadcast, contract, mul, scale, sub};
use nestor_passes::derive::derive;
use nestor_passes::simplify::simplify;
use smallvec::smallvec;

fn n() -> Dim {
    Dim::Fixed(2)
}

fn body_of(layout: &[Axis], last: usize) -> Layout {
    layout.iter().copied().chain((0..last).map(|_| Axis::Body)).collect()
}

/// `W' = W - eta dW 1/2 |W k - v|^2`, the gradient written as a mark: the delta rule.
fn delta_rule(marked: bool) -> Graph {
    let mut b = Graph::new();
    let k = b.input("k", Type::real([n()]));
    let v = b.input("v", Type::real([n()]));
    let eta = b.input("eta", Type::real([]));
    let w = b.input("w", Type::real([n(), n()]));
    b.input("valid", Type::bool([]));
    b.input("position", Type::real([]));
    let anchor = if marked { b.add(Op::Anchor, &[w]) } else { w };
    let wk = contract(&mut b, anchor, k, &[], &[(1, 0)]);
    let e = sub(&mut b, wk, v);
    let gradient = if marked {
        let square = mul(&mut b, e, e);
        let total = b.add(Op::Reduce { fold: Fold::Sum, axes: smallvec![0] }, &[square]);
        let objective = scale(&mut b, total, 0.5);
        b.add(Op::Gradient, &[objective, anchor])
    } else {
        contract(&mut b, e, k, &[], &[])
    };
    let eta = broadcast(&mut b, eta, &[n(), n()], &[]);
    let by = mul(&mut b, gradient, eta);
    let next = sub(&mut b, w, by);
    b.output("w", next);
    b.output("y", wk);
    let (batch, time) = (Dim::Batch, Dim::Time);
    let mut g = Graph::new();
    let k = g.input("k", Type::real([batch, time, n()]));
    let v = g.input("v", Type::real([batch, time, n()]));
    let eta = g.input("eta", Type::real([batch, time]));
    let w = g.input("w", Type::real([n(), n()]));
    let scan = Scan {
        map: smallvec![batch],
        time,
        stride: Stride::Token,
        reverse: false,
        feeds: vec![
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 1)),
            (Feed::Stream, body_of(&[Axis::Map(0), Axis::Time], 0)),
            (Feed::Initial, body_of(&[], 2)),
        ],
        yields: vec![(Yield::Stream, body_of(&[Axis::Map(0), Axis::Time], 1))],
        body: b,
    };
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[k, v, eta, w]);
    g.output("w", r[0]);
    g.output("y", r[1]);
    g
}

#[test]
fn a_derived_update_reads_like_the_delta_rule() {
    let derived = derive(&delta_rule(true)).expect("derives");
    let written = simplify(&delta_rule(false));
    assert_eq!(derived.to_string(), written.to_string());
    check(&derived, &sizes(2, 3, 0), 27);
}

/// The gradient that replaces the mark `"G"` with respect to the input `"x"`, against differences
/// of the objective `"l"`, all else held.
fn as_differences_say(text: &str) {
    let marked = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let derived = derive(&marked).expect("derives");
    let marks =
        derived.nodes.values().filter(|n| matches!(n.op, Op::Gradient | Op::Anchor));
    assert_eq!(marks.count(), 0, "{derived}");
    let s = sizes(1, 3, 0);
    let mut at = inputs(&derived, &s, &mut Numbers::new(31));
    let output = |name: &str, values: &[Array]| {
        let place = derived.outputs.iter().position(|o| o.name == name);
        values[place.expect("an output")].clone()
    };
    let found = output("G", &evaluate(&derived, &at, &s));
    let x = derived.inputs.iter().position(|i| i.name == "x").expect("an input");
    let mut slopes = Vec::new();
    for i in 0..at[x].len() {
        let mut moved = |by: f64| {
            let Data::Real(values) = &mut at[x].data else { panic!("a real input") };
            values[i] += by;
            output("l", &evaluate(&derived, &at, &s)).reals()[0]
        };
        let h = 1e-5;
        let (up, down) = (moved(h), moved(-2.0 * h));
        moved(h);
        slopes.push((up - down) / (2.0 * h));
    }
    let expected = Array::real(at[x].dims.clone(), slopes);
    close(&format!("{derived}"), &found, &expected, 1e-8);
}

#[test]
fn a_gradient_of_a_bent_answer() {
    as_differences_say(
        r#"graph {
          %0 "x": [2, 3] = input
          %1 "k": [3] = input
          %2 "v": [2] = input
          %3: [2, 3] = anchor %0
          %4: [2] = contract{batch=(), sum=(1:0)} %3, %1
          %5: [2] = tanh %4
          %6: [2] = sub %5, %2
          %7: [2] = mul %6, %6
          %8: [] = reduce{fold=sum, axes=(0)} %7
          %9: [2, 3] = gradient %8, %3
          output "l" %8
          output "G" %9
        }"#,
    );
}

/// The gradient of `sum l(x)`: `ops` give l, the last of them, from the anchored x, `%1`, and 1/2, `%2`, of its type.
fn summed(ops: &[&str]) -> String {
    let numbered = ops.iter().zip(3..).map(|(op, n)| format!("%{n}: [3] = {op}\n"));
    let (lines, last) = (numbered.collect::<String>(), ops.len() + 2);
    format!(
        r#"graph {{
          %0 "x": [3] = input
          %1: [3] = anchor %0
          %2: [3] = constant{{value=0.5}}
          {lines}
          %{total}: [] = reduce{{fold=sum, axes=(0)}} %{last}
          %{slopes}: [3] = gradient %{total}, %1
          output "l" %{total}
          output "G" %{slopes}
        }}"#,
        total = last + 1,
        slopes = last + 2,
    )
}

/// Logarithms of sums of exponentials, with what they and their slopes are at -1000, 1 and 1000.
fn logarithms() -> [(String, [f64; 3], [f64; 3]); 4] {
    use std::f64::consts::LN_2;
    let cosh = ["exp %1", "neg %1", "exp %4", "add %3, %5", "mul %6, %2", "log %7"];
    let halved = [
        "mul %1, %2",
        "neg %3",
        "exp %3",
        "exp %4",
        "add %6, %5",
        "div %7, %2",
        "log %8",
    ];
    let (above, below) = (
        ["exp %1", "add %2, %3", "log %4"],
        ["neg %1", "exp %3", "add %4, %2", "log %5"],
    );
    let (cosh, halved) = (summed(&cosh), summed(&halved));
    let (above, below) = (summed(&above), summed(&below));
    let (e, half) = (1f64.exp(), 0.5f64);
    [
        (
            cosh,
            [1000.0 - LN_2, 1f64.cosh().ln(), 1000.0 - LN_2],
            [-1.0, 1f64.tanh(), 1.0],
        ),
        (
            halved,
            [500.0 + LN_2, half.cosh().ln() + 2.0 * LN_2, 500.0 + LN_2],
            [-0.5, half.tanh() / 2.0, 0.5],
        ),
        (above, [-LN_2, (e + 0.5).ln(), 1000.0], [0.0, e / (e + 0.5), 1.0]),
        (
            below,
            [1000.0, (1.0 / e + 0.5).ln(), -LN_2],
            [-1.0, -1.0 / (1.0 + e / 2.0), 0.0],
        ),
    ]
}

#[test]
fn a_logarithm_of_exponentials_stays_in_range() {
    for (text, values, slopes) in logarithms() {
        as_differences_say(&text);
        let derived = derive(&parse(&text).unwrap_or_else(|e| panic!("{e}")));
        let derived = derived.expect("derives");
        let ops = |op: &Op| derived.nodes.values().filter(|n| n.op == *op).count();
        assert_eq!((ops(&Op::Exp), ops(&Op::Log)), (0, 0), "{derived}");
        let x = Array::real([3], vec![-1000.0, 1.0, 1000.0]);
        let found = evaluate(&derived, &[x], &sizes(1, 1, 0));
        let total = Array::real(found[0].dims.clone(), vec![values.iter().sum()]);
        close(&text, &found[0], &total, 1e-12);
        let slopes = Array::real(found[1].dims.clone(), slopes.to_vec());
        close(&text, &found[1], &slopes, 1e-12);
    }
}

#[test]
fn the_slope_of_a_hyperbolic_cosine_reads_as_a_tangent() {
    let [(cosh, ..), (halved, ..), ..] = logarithms();
    for text in [cosh, halved] {
        let derived = derive(&parse(&text).unwrap_or_else(|e| panic!("{e}")));
        let derived = derived.expect("derives");
        let has = |op: &Op| derived.nodes.values().any(|n| n.op == *op);
        assert!(has(&Op::Tanh) && !has(&Op::Sigmoid), "{derived}");
    }
}

#[test]
fn a_gradient_twice_through_one_anchor() {
    as_differences_say(
        r#"graph {
          %0 "x": [3] = input
          %1 "v": [3] = input
          %2: [3] = anchor %0
          %3: [3] = mul %2, %2
          %4: [3] = mul %3, %1
          %5: [3] = mul %4, %2
          %6: [] = reduce{fold=sum, axes=(0)} %5
          %7: [3] = gradient %6, %2
          output "l" %6
          output "G" %7
        }"#,
    );
}

#[test]
fn what_does_not_hang_on_the_anchor_is_a_constant() {
    let text = |gradient: &str| {
        format!(
            r#"graph {{
              %0 "x": [3] = input
              %1: [3] = anchor %0
              %2: [3] = mul %0, %0
              %3: [3] = mul %2, %1
              %4: [] = reduce{{fold=sum, axes=(0)}} %3
              %5: [3] = {gradient}
              output "G" %5
            }}"#
        )
    };
    let marked = parse(&text("gradient %4, %1")).expect("a graph");
    let by_hand = parse(&text("mul %0, %0")).expect("a graph");
    let derived = derive(&marked).expect("derives");
    assert_eq!(derived.to_string(), derive(&by_hand).expect("derives").to_string());
}

#[test]
fn a_gradient_that_nothing_reaches_is_zero() {
    let marked = parse(
        r#"graph {
          %0 "x": [3] = input
          %1 "y": [3] = input
          %2: [3] = anchor %0
          %3: [] = reduce{fold=sum, axes=(0)} %1
          %4: [3] = gradient %3, %2
          output "G" %4
        }"#,
    );
    let derived = derive(&marked.expect("a graph")).expect("derives");
    let s = sizes(1, 1, 0);
    let at = inputs(&derived, &s, &mut Numbers::new(32));
    assert_eq!(evaluate(&derived, &at, &s)[0].reals(), &[0.0; 3]);
}
