//! Levels that learn the weights of layers while they read, against their definition, whose gradients are
//! differences: outputs, outer gradients through the inner updates, states handed over anywhere.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, by_definition};
use nestor_compiler::interpret::{Array, tensor};
use nestor_compiler::pipeline::{
    Purpose, derived, forward, training_step, with_gradients,
};
use nestor_compiler::trained::{Start, starts};
use nestor_compiler::{FormOptions, Program};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::level::Clock;
use nestor_ir::tensor::{Graph, Op, Stride};
use nestor_ir::ty::Elem;
use nestor_runtime::train::rng::{self, Stream, initial_values};
use nestor_tests::native::Compiled;
use nestor_tests::spec::Specs;
use nestor_tests::{golden, root};

type Arrays = IndexMap<String, Array>;

/// Divides nothing.
const TIME: usize = 11;
const BATCH: usize = 2;
const CUTS: &[usize] = &[0, 3, 4, 9, TIME];
const MODELS: &[&str] = &[
    "One",
    "Memories",
    "Boundaries",
    "Aligned",
    "Clocks",
    "Again",
    "Chosen",
    "Stopped",
    "Turned",
    "Attends",
    "Looks",
];

fn program(name: &str) -> Program {
    let path = root().join("tests/own/reading.nest");
    let specs = Specs::read(&[&path]);
    let made = specs.elaborate(name, &[]);
    made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)))
}

/// Streams and weights, drawn by their names.
fn drawn(program: &Program) -> Arrays {
    let mut out = Arrays::new();
    for input in &program.inputs {
        let own = input.ty.dims.iter().filter_map(|d| d.fixed());
        let dims: Vec<usize> = [BATCH, TIME].into_iter().chain(own).collect();
        let count: usize = dims.iter().product();
        let mut numbers = Stream::new(3, &input.name);
        let array = match input.ty.elem {
            Elem::Bool => {
                Array::bool(dims, (0..count).map(|_| numbers.below(3) > 0).collect())
            }
            Elem::Real | Elem::Int => {
                Array::real(dims, (0..count).map(|_| numbers.normal()).collect())
            }
        };
        out.insert(input.name.clone(), array);
    }
    for (path, dims, start) in starts(program).expect("weights start") {
        let array = match start {
            Start::Values(array) if path.starts_with("optimiser.") => array,
            Start::Values(_) | Start::Drawn(_) | Start::Weight(_) => {
                let kind = rng::Initial::Normal { std: 0.4 };
                Array::real(dims.clone(), initial_values(kind, &dims, 7, &path))
            }
        };
        out.insert(path, array);
    }
    out
}

fn sizes(start: usize, time: usize) -> Sizes {
    Sizes { batch: BATCH, time, start }
}

fn evaluated(program: &Program, graph: &Graph, given: &Arrays, sizes: &Sizes) -> Arrays {
    let inputs = bound(program, graph, given, sizes).expect("they fit");
    let found = tensor::run(graph, &inputs, sizes, Precision::F64).expect("it runs");
    graph.outputs.iter().map(|o| o.name.clone()).zip(found).collect()
}

/// What calls promise, so that all of the past is a window.
fn as_promised() -> Purpose {
    let forms = FormOptions { longest: Some(TIME), ..FormOptions::default() };
    Purpose { resume: false, forms }
}

fn whole(program: &Program) -> Graph {
    forward(program, as_promised()).expect("it compiles").graph
}

/// Outputs that are streams.
fn streams(program: &Program) -> impl Iterator<Item = &str> {
    program.code.outputs.iter().map(|o| o.name.as_str())
}

/// What the definition is given: a value for every weight, though it does not look at those of copies.
fn defined(program: &Program, given: &Arrays) -> Arrays {
    let mut out = given.clone();
    for weight in program.weights.values() {
        out.entry(weight.path.clone()).or_insert_with(|| {
            let dims: Vec<usize> = weight.dims.iter().filter_map(|d| d.fixed()).collect();
            Array::zeros(Elem::Real, dims)
        });
    }
    out.retain(|n, _| !n.starts_with("optimiser.") && !n.starts_with("window."));
    out
}

#[test]
fn windows_are_read_as_their_definition_says() {
    for name in MODELS {
        let program = program(name);
        let given = drawn(&program);
        let expected =
            by_definition(&program, &defined(&program, &given)).expect("it is defined");
        let found = evaluated(&program, &whole(&program), &given, &sizes(0, TIME));
        for output in streams(&program) {
            let off = golden::distance(&found[output], &expected[output]);
            assert!(off < 1e-8, "{name}: {output} is off by {off:.1e}");
        }
    }
}

/// At a boundary of the slowest level nothing waits: what is handed on is what the definition holds.
#[test]
fn states_are_those_of_the_definition() {
    let reads = |l: &nestor_ir::level::Level| match l.clock {
        Clock::Tokens(n) if l.memory.is_none() => Some(n),
        _ => None,
    };
    for name in MODELS {
        let program = program(name);
        let slowest = program.levels.node_weights().filter_map(reads).max();
        let slowest = slowest.expect("a level that reads");
        let time = TIME / slowest * slowest;
        let mut given = drawn(&program);
        for input in &program.inputs {
            let array = &mut given[input.name.as_str()];
            let mut dims = array.dims.clone();
            dims[1] = time;
            *array = array.rearranged(dims, |i| Some(i.to_vec()));
        }
        let expected =
            by_definition(&program, &defined(&program, &given)).expect("it is defined");
        let found = evaluated(&program, &whole(&program), &given, &sizes(0, time));
        let mut compared = 0;
        for (state, array) in &found {
            let Some(own) = state.strip_prefix("state.reading.") else { continue };
            let of = [state.clone(), format!("state.{own}")];
            let Some(held) = of.iter().find_map(|n| expected.get(n.as_str())) else {
                continue;
            };
            let off = golden::distance(array, held);
            assert!(off < 1e-8, "{name}: {state} is off by {off:.1e}");
            compared += 1;
        }
        let read = expected.keys().filter(|n| n.starts_with("state.reading.")).count();
        assert!(read > 0 && compared >= read, "{name}: {compared} of {read} states");
    }
}

#[test]
fn learning_while_reading_changes_what_is_read() {
    for name in MODELS {
        let mut program = program(name);
        let given = drawn(&program);
        let learns = evaluated(&program, &whole(&program), &given, &sizes(0, TIME));
        for level in program.levels.node_weights_mut() {
            if matches!(level.clock, Clock::Tokens(_)) {
                level.objectives.iter_mut().for_each(|o| o.targets.clear());
            }
        }
        // What started from other weights has values of its own then.
        if *name == "Again" {
            continue;
        }
        let still = evaluated(&program, &whole(&program), &given, &sizes(0, TIME));
        let off = golden::distance(&learns["y"], &still["y"]);
        assert!(off > 1e-3, "{name}: the levels did nothing, {off:.1e}");
    }
}

#[test]
fn a_past_that_grows_without_bound_is_refused_behind_what_learns() {
    let program = program("Attends");
    for purpose in [Purpose::default(), Purpose { resume: true, ..as_promised() }] {
        let error = forward(&program, purpose).expect_err("it cannot");
        let said = error.to_string();
        assert!(said.contains("give it a window of so many tokens"), "{said}");
    }
}

/// Whether a memory with products is walked by tokens anywhere; a window of the past is only moved along.
fn by_tokens(graph: &Graph) -> bool {
    let multiplies = |g: &Graph| {
        g.nodes.values().any(|n| matches!(n.op, Op::Contract { .. } | Op::Mul))
    };
    graph.nodes.values().any(|node| match &node.op {
        Op::Scan { scan } => {
            scan.stride == Stride::Token && multiplies(&scan.body)
                || by_tokens(&scan.body)
        }
        _ => false,
    })
}

#[test]
fn memories_go_through_windows_by_chunks_where_their_boundaries_allow_it() {
    for (name, expected) in
        [("Memories", false), ("Boundaries", true), ("Aligned", false)]
    {
        let program = program(name);
        assert_eq!(by_tokens(&whole(&program)), expected, "{name}");
        assert!(by_tokens(&derived(&program, false).expect("it is derived")), "{name}");
    }
}

/// The gradients of the sum of squares of everything that a model gives.
fn gradients(program: &Program) -> Graph {
    with_gradients(program, as_promised(), &["y", "loss"]).expect("it compiles").graph
}

fn seeds(given: &Arrays) -> Arrays {
    let mut out = given.clone();
    for (name, dims) in
        [("grad.y", vec![BATCH, TIME, 2]), ("grad.loss", vec![BATCH, TIME])]
    {
        let count = dims.iter().product();
        let mut numbers = Stream::new(5, name);
        let values = (0..count).map(|_| numbers.normal()).collect();
        out.insert(name.to_owned(), Array::real(dims, values));
    }
    out
}

#[test]
fn outer_gradients_pass_through_inner_updates() {
    // Differences do not know what `stop` hides.
    for name in MODELS.iter().filter(|n| **n != "Stopped") {
        let program = program(name);
        let given = seeds(&drawn(&program));
        let graph = gradients(&program);
        let size = sizes(0, TIME);
        let found = evaluated(&program, &graph, &given, &size);
        let forward = whole(&program);
        let objective = |given: &Arrays| -> f64 {
            let out = evaluated(&program, &forward, given, &size);
            let part = |n: &str| -> f64 {
                let seed = given[&format!("grad.{n}")].reals();
                out[n].reals().iter().zip(seed).map(|(a, b)| a * b).sum()
            };
            part("y") + part("loss")
        };
        for weight in program.weights.values() {
            let Some(gradient) = found.get(&format!("grad.{}", weight.path)) else {
                continue;
            };
            let mut numbers = Stream::new(11, &weight.path);
            let way: Vec<f64> =
                gradient.reals().iter().map(|_| numbers.normal()).collect();
            let moved = |by: f64| {
                let mut given = given.clone();
                let old = &given[weight.path.as_str()];
                let values =
                    old.reals().iter().zip(&way).map(|(x, d)| x + by * d).collect();
                let new = Array::real(old.dims.clone(), values);
                given.insert(weight.path.clone(), new);
                objective(&given)
            };
            let h = 1e-4;
            let fourth = (8.0 * (moved(h) - moved(-h))
                - (moved(2.0 * h) - moved(-2.0 * h)))
                / (12.0 * h);
            let said: f64 = gradient.reals().iter().zip(&way).map(|(a, b)| a * b).sum();
            let off = (fourth - said).abs() / fourth.abs().max(1.0);
            assert!(off < 1e-7, "{name}: {} {said} but {fourth}", weight.path);
        }
    }
}

#[test]
fn machine_code_gives_the_same_outputs_and_gradients() {
    for name in MODELS {
        let program = program(name);
        let given = seeds(&drawn(&program));
        let graph = gradients(&program);
        let size = sizes(0, TIME);
        let expected = evaluated(&program, &graph, &given, &size);
        let inputs = bound(&program, &graph, &given, &size).expect("they fit");
        for (precision, tolerance) in [(Precision::F64, 1e-10), (Precision::F32, 1e-3)] {
            let mut compiled = Compiled::new(&graph, precision).expect("it compiles");
            let found = compiled.run(&inputs, &size).expect("it runs");
            for (output, array) in &expected {
                let off = golden::distance(&found[output.as_str()], array);
                assert!(off < tolerance, "{name}: {output} is off by {off:.1e}");
            }
        }
    }
}

#[test]
fn a_sequence_cut_anywhere_is_the_sequence_in_one_call() {
    // All of a past that grows from call to call has no place among the states of windows.
    for name in MODELS.iter().filter(|n| **n != "Attends") {
        let program = program(name);
        let given = drawn(&program);
        let begin = forward(&program, Purpose::default()).expect("it compiles").graph;
        let purpose = Purpose { resume: true, forms: FormOptions::default() };
        let resume = forward(&program, purpose).expect("it compiles").graph;
        let expected = evaluated(&program, &begin, &given, &sizes(0, TIME));
        let mut states = Arrays::new();
        for cut in CUTS.windows(2) {
            let mut own = given.clone();
            for input in &program.inputs {
                let array = &mut own[input.name.as_str()];
                let mut dims = array.dims.clone();
                dims[1] = cut[1] - cut[0];
                *array = array.rearranged(dims, |i| {
                    let mut i = i.to_vec();
                    i[1] += cut[0];
                    Some(i)
                });
            }
            own.extend(states.clone());
            let graph = if cut[0] == 0 { &begin } else { &resume };
            let size = sizes(cut[0], cut[1] - cut[0]);
            let found = evaluated(&program, graph, &own, &size);
            for output in streams(&program) {
                let array = &found[output];
                let part = expected[output].rearranged(array.dims.clone(), |i| {
                    let mut i = i.to_vec();
                    i[1] += cut[0];
                    Some(i)
                });
                let off = golden::distance(array, &part);
                assert!(off < 1e-10, "{name}: {output} from {} by {off:.1e}", cut[0]);
            }
            states = found;
            states.retain(|n, _| n.starts_with("state."));
        }
    }
}

/// A whole model with memories before and behind the blocks that learn: a step of training.
#[test]
fn a_whole_model_trains_through_its_inner_updates() {
    let program = program("Whole");
    let graph = training_step(&program, FormOptions::default()).expect("it trains").graph;
    let size = Sizes { batch: 2, time: 13, start: 0 };
    let mut given = Arrays::new();
    let mut numbers = Stream::new(1, "tokens");
    let text: Vec<i64> = (0..2 * 14).map(|_| numbers.below(5) as i64).collect();
    for (name, from) in [("tokens", 0), ("next.tokens", 1)] {
        let rows = text.chunks(14).flat_map(|row| row[from..from + 13].to_vec());
        given.insert(name.into(), Array::int([2, 13], rows.collect::<Vec<_>>()));
    }
    for (path, dims, start) in starts(&program).expect("weights start") {
        let array = match start {
            Start::Values(array) => array,
            Start::Drawn(_) | Start::Weight(_) => {
                let kind = rng::Initial::Normal { std: 0.2 };
                Array::real(dims.clone(), initial_values(kind, &dims, 7, &path))
            }
        };
        given.insert(path, array);
    }
    given.insert("step".into(), Array::real([], vec![1.0]));
    given.insert("steps".into(), Array::real([], vec![10.0]));
    let expected = evaluated(&program, &graph, &given, &size);
    let inputs = bound(&program, &graph, &given, &size).expect("they fit");
    let mut compiled = Compiled::new(&graph, Precision::F64).expect("it compiles");
    let found = compiled.run(&inputs, &size).expect("it runs");
    for (output, array) in &expected {
        let off = golden::distance(&found[output.as_str()], array);
        assert!(off < 1e-10, "{output} is off by {off:.1e}");
    }
}
