//! Memories that are windows of fixed length, read by blocks of tokens: the same outputs, states and gradients as with a
//! window for every token, at lengths around those of blocks.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Purpose, reference, with_gradients};
use nestor_compiler::{Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_ir::tensor::Graph;
use nestor_runtime::train::rng::Stream;
use nestor_tests::spec::Specs;
use nestor_tests::{golden, native, root};

type Arrays = IndexMap<String, Array>;

const BATCH: usize = 2;

fn program(name: &str) -> Program {
    let specs = Specs::read(&[&root().join("tests/own/windows.nest")]);
    let made = specs.elaborate(name, &[]);
    made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)))
}

fn given(program: &Program, time: usize) -> Arrays {
    let mut out = Arrays::new();
    let mut draw = |name: &str, dims: Vec<usize>| {
        let mut stream = Stream::new(7, name);
        let size = if name.ends_with(".W") { 0.3 } else { 1.0 };
        let values = (0..dims.iter().product()).map(|_| size * stream.normal()).collect();
        out.insert(name.to_owned(), Array::real(dims, values));
    };
    let tokens = |ty: &nestor_ir::ty::Type| -> Vec<usize> {
        [BATCH, time]
            .into_iter()
            .chain(ty.dims.iter().filter_map(|d| d.fixed()))
            .collect()
    };
    for input in &program.inputs {
        draw(&input.name, tokens(&input.ty));
    }
    for weight in program.weights.values() {
        draw(&weight.path, weight.dims.iter().filter_map(|d| d.fixed()).collect());
    }
    let y = program.code.find_output("y").expect("an output");
    draw("grad.y", tokens(program.code.ty(y)));
    out
}

/// What a graph gives as machine code.
fn ran(program: &Program, graph: &Graph, given: &Arrays, precision: Precision) -> Arrays {
    let sizes = sizes(program, given).expect("sizes");
    let inputs = bound(program, graph, given, &sizes).expect("inputs");
    let found = native::run(graph, &inputs, &sizes, precision).expect("it runs");
    found.into_iter().map(|(n, a)| (graphs::outward(program, &n), a)).collect()
}

/// Compares at some lengths; how many reads go by blocks.
fn same(name: &str) -> usize {
    let program = program(name);
    let found = with_gradients(&program, Purpose::default(), &["y"]).expect("it lowers");
    let tokens = reference(&program, &["y"]).expect("it lowers");
    for time in [1, 16, 33, 64, 101] {
        let given = given(&program, time);
        let expected = graphs::interpreted(&program, &tokens, &given, 0, Precision::F64)
            .expect("runs");
        let hold = |found: &Arrays, how: &str, most: f64| {
            assert_eq!(found.len(), expected.len(), "{name}, {how}");
            for (value, expected) in &expected {
                let off = golden::distance(&found[value], expected);
                assert!(
                    off < most,
                    "{name}, {how}, T = {time}: {value} is off by {off:.1e}"
                );
            }
        };
        let interpreted =
            graphs::interpreted(&program, &found.graph, &given, 0, Precision::F64);
        hold(&interpreted.expect("runs"), "interpreted", 1e-12);
        for (precision, most) in [(Precision::F64, 1e-11), (Precision::F32, 1e-4)] {
            let ran = ran(&program, &found.graph, &given, precision);
            hold(&ran, "machine code", most);
        }
    }
    found.blocks
}

#[test]
fn windows_of_attention_are_read_by_blocks() {
    for name in ["Sixteen", "AsWide", "Long"] {
        assert_eq!(same(name), 1, "{name}");
    }
}

#[test]
fn entries_may_stand_behind_others_that_are_always_there() {
    assert_eq!(same("Learned"), 1);
}

#[test]
fn what_a_rule_makes_of_entries_is_its_own_matter() {
    assert_eq!(same("Summed"), 1);
    assert_eq!(same("Gated"), 1);
    assert_eq!(same("Mean"), 1);
}

#[test]
fn a_window_for_every_token_where_that_is_less() {
    // Few entries; more than a number for each; windows of two lengths.
    for name in ["Short", "Kernel", "Mixed"] {
        assert_eq!(same(name), 0, "{name}");
    }
}

#[test]
fn layers_follow_one_another() {
    assert_eq!(same("Stacked"), 2);
}

#[test]
fn what_a_token_does_not_see_may_be_as_large_as_it_likes() {
    // The first key is all that the first tokens see, and its score is below any that an exponential could be taken from.
    for name in ["Sixteen", "Short", "All"] {
        let program = program(name);
        let mut given = given(&program, 40);
        for value in ["q", "k"] {
            let old = &given[value];
            let large =
                old.reals().iter().enumerate().map(|(n, x)| match (value, n / 12) {
                    ("k", 0) => -9.0,
                    ("k", 10..) => x.abs() * 80.0,
                    _ => x.abs() * 9.0,
                });
            given[value] = Array::real(old.dims.clone(), large.collect());
        }
        let lowered =
            with_gradients(&program, Purpose::default(), &["y"]).expect("it lowers");
        for (value, array) in ran(&program, &lowered.graph, &given, Precision::F32) {
            assert!(array.reals().iter().all(|x| x.is_finite()), "{name}: {value}");
        }
    }
}

/// As kernels for a GPU, each beside the interpreter, and what comes out beside a window for every token; the walk parted, so
/// that all blocks are read at once.
#[cfg(feature = "cuda")]
#[test]
fn blocks_are_read_all_at_once_on_a_gpu() {
    use nestor_compiler::gpu::{Options, Products, Target};
    use nestor_compiler::native::{Machine, scheduled_for};
    use nestor_tests::emulated::Emulated;
    for (products, most) in [(Products::Float32, 1e-4), (Products::Brain, 2e-2)] {
        for name in ["AsWide", "Learned"] {
            let program = program(name);
            let options = Options { target: Target::Sm90a, products };
            let found =
                with_gradients(&program, Purpose::default(), &["y"]).expect("it lowers");
            let tokens = reference(&program, &["y"]).expect("it lowers");
            let given = given(&program, 101);
            let expected =
                graphs::interpreted(&program, &tokens, &given, 0, Precision::F64)
                    .expect("runs");
            let (plan, kernels) = scheduled_for(&found.graph, Machine::Gpu(options))
                .expect("it is scheduled");
            let sizes = sizes(&program, &given).expect("sizes");
            let inputs = bound(&program, &found.graph, &given, &sizes).expect("inputs");
            let names = found.graph.inputs.iter().map(|i| i.name.clone());
            let inputs: Arrays = names.zip(inputs).collect();
            let mut emulated = Emulated::new(&kernels, options).expect("code");
            emulated.tolerance = 4.0 * most;
            let ran = emulated.plan(&plan, &inputs, &sizes).expect("it runs");
            for (value, array) in ran {
                let value = graphs::outward(&program, &value);
                let off = golden::distance(&array, &expected[&value]);
                assert!(off < most, "{name}, {products:?}: {value} is off by {off:.1e}");
            }
            // A point of the grid for every block.
            let blocks = kernels.iter().filter(|k| k.grid.len() == 3).count();
            assert!(blocks >= 2, "{name}: {blocks} kernels go by blocks");
        }
    }
}
