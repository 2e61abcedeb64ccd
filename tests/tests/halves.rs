//! Products of which half is known to be zero, or not wanted, are scheduled so: what a token sees of
//! later ones.

use nestor_compiler::interpret::tensor;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::native::scheduled;
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::{Program, Setting, SettingValue, check, source};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::plan::Launch;
use nestor_ir::tensor::{Fold, Graph, NodeData, Op, Value};
use nestor_ir::tile::{Part, Shape, Stmt};
use nestor_ir::ty::Dims;
use nestor_runtime::train::rng::Stream;
use nestor_tests::{native, root};

fn program(file: &str, entry: &str, settings: &[Setting]) -> Program {
    let loaded = source::load(&[root().join(file)]).expect("readable");
    check::program(&loaded, Some(entry), settings).expect("checks").0
}

/// How many products are whole, give a lower half, and take one.
fn products(graph: &Graph) -> [usize; 3] {
    let (_, kernels) = scheduled(graph).expect("has kernels");
    let mut found = [0; 3];
    let mut open: Vec<&Stmt> = kernels.iter().flat_map(|k| &k.body).collect();
    while let Some(stmt) = open.pop() {
        match stmt {
            Stmt::Product { shape, .. } => match shape {
                Shape::Full => found[0] += 1,
                Shape::OutputLower => found[1] += 1,
                Shape::LeftLower | Shape::LeftUpper => found[2] += 1,
            },
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => open.extend(body),
            Stmt::Map { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => {}
        }
    }
    found
}

#[test]
fn a_chunk_of_a_gated_delta_rule_skips_halves() {
    let program = program("bench/specs/gated_delta_op.nest", "GatedDeltaOp", &[]);
    let purpose = Purpose::default();
    let ahead = forward(&program, purpose).expect("compiles").graph;
    // Keys with keys and queries with keys; what was written to what is read.
    assert_eq!(products(&ahead), [3, 2, 1]);
    let both = with_gradients(&program, purpose, &["y"]).expect("compiles").graph;
    let [whole, lower, halves] = products(&both);
    assert!(
        lower >= 4 && halves >= 6,
        "{whole} whole, {lower} lower, {halves} of halves"
    );
}

#[test]
fn a_memory_of_two_layers_skips_halves() {
    // Written by every token.
    let chunk = Setting { name: "chunk".to_owned(), value: SettingValue::Number(1.0) };
    let program = program("bench/specs/mlp_memory_op.nest", "MlpMemoryOp", &[chunk]);
    let ahead = forward(&program, Purpose::default()).expect("compiles").graph;
    let [_, lower, halves] = products(&ahead);
    assert_eq!(
        (lower, halves),
        (2, 2),
        "queries with keys, and weights of what was written"
    );
    let both =
        with_gradients(&program, Purpose::default(), &["y"]).expect("compiles").graph;
    let [_, lower, halves] = products(&both);
    // On the way back, also those that only the gradients of gates look at, behind a recurrence.
    assert_eq!((lower, halves), (6, 8), "both ways");
}

/// Attention both ways, and one whose pairs somebody asks for.
fn attention() -> [Graph; 2] {
    let program = program("stdlib/checks/memories.nest", "attention", &[]);
    let graph =
        with_gradients(&program, Purpose::default(), &["out"]).expect("compiles").graph;
    let is_sum = |n: &&NodeData| matches!(n.op, Op::Reduce { fold: Fold::Sum, .. });
    let weights = |v: &Value| times(&graph.ty(*v).dims) > 1;
    let summed = |n: &NodeData| Some(n.operands[0]).filter(weights);
    let found = graph.nodes.values().filter(is_sum).find_map(summed);
    let pairs = found.expect("weights");
    let mut asked = graph.clone();
    let less = asked.add(Op::Neg, &[pairs]);
    asked.output("pairs", less);
    [graph, asked]
}

/// How many axes of tokens there are.
fn times(dims: &Dims) -> usize {
    dims.iter().filter(|d| **d == Dim::Time).count()
}

#[test]
fn attention_keeps_no_pairs_and_looks_at_half_of_them() {
    let (plan, kernels) = scheduled(&attention()[0]).expect("has kernels");
    assert_eq!(plan.tensors.values().filter(|t| times(&t.ty.dims) > 1).count(), 0);
    let mut parts = Vec::new();
    for stmt in kernels.iter().flat_map(|k| &k.body) {
        if let Stmt::Loop { part, .. } = stmt {
            parts.push(matches!(part, Part::Before(_)));
            assert!(*part != Part::All, "a walk over all pairs");
        }
    }
    parts.sort_unstable();
    assert_eq!(parts, [false, true, true], "along queries, and twice along keys");
}

#[test]
fn attention_whose_pairs_are_asked_for_computes_halves_and_copies_no_pairs() {
    let (plan, _) = scheduled(&attention()[1]).expect("has kernels");
    let shapes = plan.launches.iter().filter_map(|launch| match launch {
        Launch::Dense(d) => Some(d.shape),
        Launch::Kernel { .. } | Launch::Zero(_) | Launch::Copy { .. } => None,
    });
    let (lower, halves) =
        shapes.partition::<Vec<_>, _>(|shape| *shape == Shape::OutputLower);
    assert_eq!(lower.len(), 2, "queries with keys; an answer's gradient with values");
    assert_eq!(halves.len(), 4, "an answer, and gradients of queries, keys and values");
    assert!(!halves.contains(&Shape::Full), "{halves:?}");
    let tensors = plan.tensors.values();
    let pairs = tensors.filter(|t| t.name == "pack" && times(&t.ty.dims) > 1);
    assert_eq!(pairs.count(), 0, "copies of all pairs");
}

#[test]
fn halves_of_more_rows_than_a_strip_are_what_the_graph_says() {
    // One strip, a few, and rows left over.
    for (graph, time) in
        attention().iter().flat_map(|g| [128, 131, 277].map(|time| (g, time)))
    {
        let sizes = Sizes { batch: 2, time, start: 0 };
        let given = |input: &nestor_ir::tensor::graph::Named| {
            let dims = &graph.ty(input.value).dims;
            let dims: Vec<usize> = dims.iter().map(|d| d.size(&sizes)).collect();
            let mut numbers = Stream::new(11, &input.name);
            let count = dims.iter().product();
            Array::real(dims, (0..count).map(|_| numbers.normal()).collect())
        };
        let inputs: Vec<Array> = graph.inputs.iter().map(given).collect();
        let expected =
            tensor::run(graph, &inputs, &sizes, Precision::F64).expect("interprets");
        let found = native::run(graph, &inputs, &sizes, Precision::F64).expect("runs");
        for (output, expected) in graph.outputs.iter().zip(&expected) {
            let Data::Real(expected) = &expected.data else { continue };
            let found = found[&output.name].reals();
            let far = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
            let far = far.fold(0.0, f64::max);
            assert!(far < 1e-12, "{} at {time} tokens: off by {far}", output.name);
        }
    }
}
