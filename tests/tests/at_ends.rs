//! Memories that are written once a chunk: what the boundary makes of their states is computed of these as the chunk ends, and not at
//! every token before.

use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::{Setting, SettingValue, check, source};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Op};
use nestor_tests::root;

const WIDTH: usize = 24;
const CHUNK: usize = 16;

/// The most numbers that a walk's body has for every token of a chunk.
fn most_of_a_token(graph: &Graph) -> usize {
    let of_value = |dims: &[Dim]| match dims.split_first() {
        Some((Dim::Fixed(CHUNK), rest)) => {
            rest.iter().map(|d| d.fixed().unwrap_or(0)).product()
        }
        _ => 0,
    };
    let bodies = graph.nodes.values().filter_map(|node| match &node.op {
        Op::Scan { scan } => Some(&scan.body),
        _ => None,
    });
    bodies
        .flat_map(|body| body.values.values().map(|v| of_value(&v.ty.dims)))
        .max()
        .unwrap_or(0)
}

#[test]
fn no_token_has_a_matrix_of_its_own() {
    let loaded =
        source::load(&[root().join("tests/gpu/memories.nest")]).expect("readable");
    for (entry, widths) in [
        ("lact", &["d_k", "d_v", "hidden"][..]),
        ("lact_muon", &["d_k", "d_v", "hidden"]),
        ("chunk_mlp", &["d"]),
        ("tnt_global", &["d"]),
    ] {
        let set = |name: &str, n: usize| Setting {
            name: name.to_owned(),
            value: SettingValue::Number(n as f64),
        };
        let widths = widths.iter().map(|name| set(name, WIDTH));
        let settings: Vec<Setting> = widths.chain([set("chunk", CHUNK)]).collect();
        let program = check::program(&loaded, Some(entry), &settings).expect("checks").0;
        let outputs: Vec<&str> =
            program.code.outputs.iter().map(|o| o.name.as_str()).collect();
        let lowered =
            with_gradients(&program, Purpose::default(), &outputs).expect("lowers");
        let most = most_of_a_token(&lowered.graph);
        // A row of a matrix is as wide as a layer of four widths at most.
        assert!(
            (WIDTH..=4 * WIDTH).contains(&most),
            "{entry}: {most} numbers of a token"
        );
    }
}
