//! Products of which half is known to be zero, or not wanted, are scheduled so: what a token sees of
//! later ones.

use nestor_compiler::native::scheduled;
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::{Program, Setting, SettingValue, check, source};
use nestor_ir::tensor::Graph;
use nestor_ir::tile::{Shape, Stmt};
use nestor_tests::root;

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
            Stmt::Loop { body, .. } | Stmt::When { body, .. } => open.extend(body),
            Stmt::Map { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. } => {}
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
