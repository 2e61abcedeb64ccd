//! Models that are another one where a setting makes them so: M3 without its slow momentum and second
//! moment is Muon, Adam is a memory of least squares, a continuum whose slow blocks never learn is a plain block behind fixed ones, and a
//! nested continuum that never starts again is a sequential one.

use indexmap::IndexMap;
use nestor_compiler::interpret::{Array, tensor};
use nestor_compiler::pipeline::{Purpose, forward, training_step};
use nestor_compiler::trained::{Start, starts};
use nestor_compiler::{FormOptions, Program};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_runtime::train::rng::{self, Stream, initial_values};
use nestor_tests::native::Compiled;
use nestor_tests::spec::Specs;
use nestor_tests::{golden, root};

type Arrays = IndexMap<String, Array>;

const SIZES: Sizes = Sizes { batch: 2, time: 7, start: 0 };
const STEPS: usize = 6;

fn program(name: &str) -> Program {
    let path = root().join("tests/own/equalities.nest");
    let specs = Specs::read(&[&path]);
    let made = specs.elaborate(name, &[]);
    made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)))
}

/// Every weight and state; weights are drawn by their path without its first part.
fn start(program: &Program) -> Arrays {
    let mut out = Arrays::new();
    for (path, dims, start) in starts(program).expect("weights start") {
        let array = match start {
            Start::Values(array) => array,
            Start::Drawn(_) | Start::Weight(_) => {
                let tail = path.split_once("CMS.").map_or(path.as_str(), |p| p.1);
                let kind = rng::Initial::Normal { std: 0.3 };
                Array::real(dims.clone(), initial_values(kind, &dims, 5, tail))
            }
        };
        out.insert(path, array);
    }
    out
}

fn stream(name: &str, width: usize, step: usize) -> Array {
    let mut numbers = Stream::new(step as u64, name);
    let count = SIZES.batch * SIZES.time * width;
    let values = (0..count).map(|_| numbers.normal()).collect();
    Array::real([SIZES.batch, SIZES.time, width], values)
}

fn given(graph: &Graph, held: &Arrays) -> Vec<Array> {
    graph.inputs.iter().map(|i| held[i.name.as_str()].clone()).collect()
}

/// The weights after some steps as machine code; levels of longer windows only wait.
fn trained(name: &str) -> Arrays {
    let program = program(name);
    let graph = training_step(&program, FormOptions::default()).expect("it trains").graph;
    let mut compiled = Compiled::new(&graph, Precision::F64).expect("it compiles");
    let mut held = start(&program);
    for step in 0..STEPS {
        for input in &program.inputs {
            let width = input.ty.dims[0].fixed().expect("a number");
            held.insert(input.name.clone(), stream(&input.name, width, step));
        }
        held.insert("step".into(), Array::real([], vec![(step + 1) as f64]));
        held.insert("steps".into(), Array::real([], vec![STEPS as f64]));
        let found = compiled.run(&given(&graph, &held), &SIZES).expect("it runs");
        held.extend(found);
    }
    let path = |n: &String| program.weights.values().any(|w| w.path == *n);
    held.into_iter().filter(|(n, _)| path(n)).collect()
}

fn same(a: &Arrays, b: &Arrays, tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (name, array) in a {
        let off = golden::distance(array, &b[name.as_str()]);
        assert!(off <= tolerance, "{name} is off by {off:.1e}");
    }
}

#[test]
fn m3_without_its_slow_momentum_and_second_moment_is_muon() {
    let (muon, m3) = (trained("Muon"), trained("M3"));
    same(&muon, &m3, 1e-12);
    assert!(golden::distance(&muon["W1"], &start(&program("Muon"))["W1"]) > 1e-3);
}

#[test]
fn adam_is_the_memory_of_least_squares_that_maps_gradients_to_their_size() {
    let (adam, memory) = (trained("Adam"), trained("AdamMemory"));
    same(&adam, &memory, 1e-12);
    assert!(golden::distance(&adam["W1"], &start(&program("Adam"))["W1"]) > 1e-3);
}

#[test]
fn blocks_whose_clock_never_ticks_are_fixed() {
    let (slow, still) = (trained("Slow"), trained("Still"));
    same(&slow, &still, 1e-14);
    let first = start(&program("Slow"));
    for (name, array) in &slow {
        let moved = golden::distance(array, &first[name.as_str()]) > 0.0;
        let learns =
            !["mid", "slow", "slower"].iter().any(|b| name.contains(&format!(".{b}.")));
        assert_eq!(moved, learns, "{name}");
    }
}

#[test]
fn a_nested_continuum_of_the_same_blocks_is_a_sequential_one() {
    let answer = |name: &str| {
        let program = program(name);
        let purpose = Purpose { resume: false, forms: FormOptions::default() };
        let graph = forward(&program, purpose).expect("it compiles").graph;
        let mut held = start(&program);
        held.insert("x".into(), stream("x", 4, 0));
        let found = tensor::run(&graph, &given(&graph, &held), &SIZES, Precision::F64);
        found.expect("it runs").remove(0)
    };
    let (nested, sequential) = (answer("Nested"), answer("Sequential"));
    assert_eq!(nested, sequential);
}

#[test]
fn a_nested_continuum_of_one_clock_learns_as_a_sequential_one() {
    let (nested, sequential) = (trained("NestedLearns"), trained("SequentialLearns"));
    let plain =
        |(name, array): (String, Array)| (name.replace("NestedCMS", "CMS"), array);
    same(&nested.into_iter().map(plain).collect(), &sequential, 1e-14);
    let first = start(&program("SequentialLearns"));
    for (name, array) in &sequential {
        assert!(golden::distance(array, &first[name.as_str()]) > 1e-3, "{name}");
    }
}
