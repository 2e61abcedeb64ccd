//! Of one token, a chunk is the token: a deep memory whose gradients are taken where the last chunk left the weights gives the golden
//! case of the memory that takes them at the present ones, outputs, states and gradients.

use nestor_ir::artifact::Precision;
use nestor_tests::measure::{Engine, distances, lowered};
use nestor_tests::spec::Specs;
use nestor_tests::{golden, root};

#[test]
fn an_anchor_of_one_token_is_the_present() {
    let specs = Specs::read(&[&root().join("tests/own/chunks.nest")]);
    let program = specs.elaborate("Anchored", &[]).program.expect("it elaborates");
    let case =
        golden::read(&root().join("tests/oracle/cases/titans_mlp_exact.safetensors"));
    let engine = Engine::Native(Precision::F64);
    let lowered = lowered(&program, &case, None).expect("it compiles").expect("a form");
    let found = distances(&program, &case, &lowered.graph, engine).expect("it runs");
    assert!(found.iter().any(|(tensor, _)| tensor.starts_with("grad.")));
    for (tensor, off) in found {
        assert!(off <= engine.tolerance(&tensor), "{tensor} is off by {off:.1e}");
    }
}
