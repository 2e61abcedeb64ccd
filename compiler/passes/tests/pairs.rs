//! Folds of pairs of tokens as walks: the same numbers, and nothing as large as the square of the sequence.

use crate::common::schedule::agree;
use crate::common::{Numbers, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::text::parse;
use nestor_ir::tensor::{Graph, Op};
use nestor_passes::pairs::{Piece, inner, pairs};
use nestor_passes::simplify::{ordered, simplify};
use nestor_passes::training::gradients;

/// Pieces that sequences of a few tokens have several of, and a last one that is not full.
const SMALL: Piece = Piece { tokens: 4, numbers: 4096, sums: usize::MAX, across: false };

/// A read of all tokens by weights of pairs: `made` makes `%9`, the weights, of `%3`, products of queries and keys, and `%4` and `%5`, the
/// numbers of tokens that ask and that are asked.
fn read(made: &str) -> String {
    format!(
        r#"graph {{
          %0 "q": [B, T, 2, 3] = input
          %1 "k": [B, T, 2, 3] = input
          %2 "v": [B, T, 2, 5] = input
          %30: [B, 2, T, T] = contract{{batch=(0:0, 2:2), sum=(3:3)}} %0, %1
          %3: [B, T, 2, T] = transpose{{order=(0, 2, 1, 3)}} %30
          %40: [T, T] = iota{{axis=0, dims=[T, T]}}
          %50: [T, T] = iota{{axis=1, dims=[T, T]}}
          %4: [B, T, 2, T] = broadcast{{dims=[B, T, 2, T], axes=(1, 3)}} %40
          %5: [B, T, 2, T] = broadcast{{dims=[B, T, 2, T], axes=(1, 3)}} %50
          %6: [B, T, 2, T] = constant{{value=0}}
          {made}
          %91: [B, 2, T, 5] = contract{{batch=(0:0, 2:2), sum=(3:1)}} %9, %2
          %92: [B, T, 2, 5] = transpose{{order=(0, 2, 1, 3)}} %91
          output "y" %92
        }}"#
    )
}

/// Weights as of a softmax, of `%70` where `%71` holds.
fn softmax(scores: &str) -> String {
    format!(
        "{scores}
          %72: [B, T, 2, T] = constant{{value=-inf}}
          %73: [B, T, 2, T] = select %71, %70, %72
          %74: [B, T, 2] = reduce{{fold=max, axes=(3)}} %73
          %75: [B, T, 2] = stop %74
          %76: [B, T, 2, T] = broadcast{{dims=[B, T, 2, T], axes=(0, 1, 2)}} %75
          %77: [B, T, 2, T] = sub %70, %76
          %78: [B, T, 2, T] = exp %77
          %79: [B, T, 2, T] = select %71, %78, %6
          %80: [B, T, 2] = reduce{{fold=sum, axes=(3)}} %79
          %81: [B, T, 2, T] = broadcast{{dims=[B, T, 2, T], axes=(0, 1, 2)}} %80
          %9: [B, T, 2, T] = div %79, %81"
    )
}

const CAUSAL: &str = "%71: bool[B, T, 2, T] = less_equal %5, %4
          %69: [B, T, 2, T] = constant{value=0.5}
          %70: [B, T, 2, T] = mul %3, %69";

/// Values that are as large as the square of the sequence.
fn squares(graph: &Graph) -> usize {
    let is_long = |d: &&Dim| d.ticks_of().is_some();
    let long = |ty: &nestor_ir::ty::Type| ty.dims.iter().filter(is_long).count();
    graph.values.values().filter(|v| long(&v.ty) > 1).count()
}

/// A graph whose values are numbered in any way.
fn parsed(text: &str) -> Graph {
    let number = |part: &str| -> String {
        part.chars().take_while(char::is_ascii_digit).collect()
    };
    let lines = text.lines().filter_map(|l| l.trim().strip_prefix('%'));
    let known: Vec<String> = lines.map(number).collect();
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |out, part| {
        let old = number(part);
        let at = known.iter().position(|n| *n == old).expect("a value of the graph");
        format!("{out}%{at}{}", &part[old.len()..])
    });
    parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Both give the same, whatever the length and wherever the call begins; the numbers of walks, and of those that end early.
fn same(graph: &Graph, made: &Graph) -> [usize; 2] {
    for (seed, (batch, time, start)) in
        [(2, 7, 0), (1, 13, 0), (2, 9, 6), (1, 1, 3), (1, 4, 4)].into_iter().enumerate()
    {
        let sizes = sizes(batch, time, start);
        let given = inputs(graph, &sizes, &mut Numbers::new(seed as u64 + 1));
        let wanted = evaluate(graph, &given, &sizes);
        let found = evaluate(made, &given, &sizes);
        for ((a, b), output) in found.iter().zip(&wanted).zip(&graph.outputs) {
            assert_eq!(a.dims, b.dims, "{}", output.name);
            for (a, b) in a.reals().iter().zip(b.reals()) {
                let near = (a - b).abs() <= 1e-12 * (1.0 + b.abs());
                assert!(near, "{} is {a}, not {b}, {sizes:?}\n{made}", output.name);
            }
        }
    }
    agree(&made.to_string());
    let walks = made.nodes.values().filter_map(|n| match &n.op {
        Op::Scan { scan } => Some(scan),
        _ => None,
    });
    let ends = |n: &Op| match n {
        Op::Scan { scan } => scan.feeds.iter().any(|(f, _)| f.is_of_steps()),
        _ => false,
    };
    let walks: Vec<_> = walks.collect();
    let early =
        walks.iter().filter(|w| w.body.nodes.values().any(|n| ends(&n.op))).count();
    [walks.len(), early]
}

/// Of a read and of its gradients: the numbers of walks, and of those that end early; nothing of pairs is left.
fn walks(text: &str) -> [[usize; 2]; 2] {
    let graph = simplify(&parsed(text));
    let names: Vec<&str> = graph.outputs.iter().map(|o| &o.name[..]).collect();
    let both = gradients(&graph, &names).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    [ordered(&graph), both].map(|graph| {
        let [found, across] = [false, true].map(|across| {
            let made = pairs(&inner(&graph), Piece { across, ..SMALL });
            assert_eq!(squares(&made), 0, "{made}");
            same(&graph, &made)
        });
        assert_eq!(found, across);
        found
    })
}

/// Attention: one walk for the largest weight, their sum and what is read, one for the gradient of queries, and one for those of keys and values.
#[test]
fn attention() {
    assert_eq!(walks(&read(&softmax(CAUSAL))), [[1, 1], [3, 3]]);
}

/// Where there is room for few sums at a time, those of keys and of values are walks of their own.
#[test]
fn few_sums_at_a_time() {
    let graph = simplify(&parsed(&read(&softmax(CAUSAL))));
    let both = gradients(&graph, &["y"]).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let made = pairs(&inner(&both), Piece { sums: 7, ..SMALL });
    assert_eq!(same(&both, &made), [4, 4]);
}

/// The same of what happens every third token alone.
#[test]
fn attention_at_a_clock() {
    let text = read(&softmax(CAUSAL)).replace(", T", ", T:3").replace("[T, ", "[T:3, ");
    assert_eq!(walks(&text), [[1, 1], [3, 3]]);
}

/// The same of all tokens, later ones too.
#[test]
fn attention_to_all() {
    let all = "%71: bool[B, T, 2, T] = equal %6, %6
          %70: [B, T, 2, T] = sub %3, %6";
    assert_eq!(walks(&read(&softmax(all))), [[1, 0], [3, 0]]);
}

/// Of earlier tokens, less for those that are far away, whose number for each head is a gradient of its own.
#[test]
fn attention_with_distances() {
    let far = "%71: bool[B, T, 2, T] = less_equal %5, %4
          %68: [B, T, 2, T] = sub %5, %4
          %69: [B, T, 2, T] = constant{value=0.25}
          %67: [B, T, 2, T] = mul %68, %69
          %70: [B, T, 2, T] = add %3, %67";
    assert_eq!(walks(&read(&softmax(far))), [[1, 1], [3, 3]]);
}

/// Weights of which none waits for others: what is read and the gradient of queries are one walk, and what is summed over queries is another.
#[test]
fn sigmoid_weights() {
    let made = "%70: [B, T, 2, T] = sigmoid %3
          %71: bool[B, T, 2, T] = less_equal %5, %4
          %9: [B, T, 2, T] = select %71, %70, %6";
    assert_eq!(walks(&read(made)), [[1, 1], [2, 2]]);
}

/// Weights of what follows alone: walks begin where those of what is before end.
#[test]
fn later_tokens() {
    let made = "%71: bool[B, T, 2, T] = less_equal %4, %5
          %70: [B, T, 2, T] = mul %3, %3
          %9: [B, T, 2, T] = select %71, %70, %6";
    assert_eq!(walks(&read(made)), [[1, 1], [2, 2]]);
}

/// A largest value that is not only what weights are scaled by is known before they are.
#[test]
fn largest_first() {
    let made = "%70: [B, T, 2] = reduce{fold=max, axes=(3)} %3
          %71: [B, T, 2, T] = broadcast{dims=[B, T, 2, T], axes=(0, 1, 2)} %70
          %72: [B, T, 2, T] = sub %3, %71
          %9: [B, T, 2, T] = sigmoid %72";
    let graph = simplify(&parsed(&read(made)));
    let made = pairs(&inner(&graph), SMALL);
    assert_eq!(squares(&made), 0, "{made}");
    assert_eq!(same(&graph, &made), [2, 0]);
}

/// Heads that share their keys, and a scale for each pair of a query's head.
#[test]
fn shared_keys() {
    let graph = parsed(
        r#"graph {
          %0 "q": [B, T, 2, 3] = input
          %1 "k": [B, T, 3] = input
          %2 "v": [B, T, 5] = input
          %3 "scale": [2] = input
          %4: [B, T, 2, T] = contract{batch=(0:0), sum=(3:2)} %0, %1
          %5: [B, T, 2, T] = broadcast{dims=[B, T, 2, T], axes=(2)} %3
          %6: [B, T, 2, T] = mul %4, %5
          %7: [B, T, 2, T] = tanh %6
          %8: [B, T, 2, 5] = contract{batch=(0:0), sum=(3:1)} %7, %2
          output "y" %8
        }"#,
    );
    let made = pairs(&inner(&graph), SMALL);
    assert_eq!(squares(&made), 0, "{made}");
    assert_eq!(same(&graph, &made), [1, 0]);
}

/// What is asked for itself, or by something that is no fold, stays as it is, and all that hangs together with it.
#[test]
fn pairs_that_are_wanted() {
    let asked =
        read(&softmax(CAUSAL)).replace(r#"output "y""#, "output \"p\" %9\noutput \"y\"");
    let counted = "%70: [B, T, 2, T] = mul %3, %4
          %71: bool[B, T, 2, T] = less_equal %5, %4
          %9: [B, T, 2, T] = select %71, %70, %6";
    for text in [asked, read(counted)] {
        let graph = parsed(&text);
        assert_eq!(pairs(&inner(&graph), SMALL).to_string(), graph.to_string());
    }
}

/// Where a walk ends is written and read back.
#[test]
fn limits_in_text() {
    let made = pairs(&simplify(&parsed(&read(&softmax(CAUSAL)))), SMALL);
    let text = made.to_string();
    assert!(text.contains("before") && text.contains(" at("), "{text}");
    assert_eq!(parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), made);
}
