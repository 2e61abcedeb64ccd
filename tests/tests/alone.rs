//! Every memory of the library by itself, with streams made for what it takes: it compiles, and where the compiler has
//! no limitation it answers what its definition says, beginning from zeros, too.

use indexmap::IndexMap;
use nestor_compiler::execute::by_definition;
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::derived;
use nestor_compiler::{PassError, Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_runtime::train::rng::Stream;
use nestor_tests::spec::Specs;
use nestor_tests::{golden, on_all_cores};

type Arrays = IndexMap<String, Array>;

/// Tokens; few, because the definition is slow.
const TIME: usize = 3;
/// What the definition may be off, whose gradients are differences: relative to what is expected.
const DIFFERENCES: f64 = 1e-6;

/// Streams, and weights that are all 0 or drawn; what chooses its gate between 0 and 1 is given that.
fn given(program: &Program, zero: bool) -> Arrays {
    let mut out = Arrays::new();
    let drawn = |name: &str, dims: Vec<usize>, gate: bool| {
        let mut stream = Stream::new(5, name);
        let mut one = || match gate {
            true => 0.2 + 0.6 * stream.uniform(),
            false => 0.4 * stream.normal(),
        };
        let values = (0..dims.iter().product()).map(|_| one()).collect();
        Array::real(dims, values)
    };
    for input in &program.inputs {
        let own = input.ty.dims.iter().filter_map(|d| d.fixed());
        let dims: Vec<usize> = [1, TIME].into_iter().chain(own).collect();
        let gate = !["q", "k", "v", "p", "w"].contains(&input.name.as_str());
        out.insert(input.name.clone(), drawn(&input.name, dims, gate));
    }
    for weight in program.weights.values() {
        let dims: Vec<usize> = weight.dims.iter().filter_map(|d| d.fixed()).collect();
        let array = match zero {
            true => Array::real(dims.clone(), vec![0.0; dims.iter().product()]),
            false => drawn(&weight.path, dims, true),
        };
        out.insert(weight.short.clone(), array);
    }
    out
}

/// What is wrong with a memory, started in one way.
fn wrong(name: &str, program: &Program, zero: bool) -> Option<String> {
    let graph = match derived(program, false) {
        Ok(graph) => graph,
        Err(PassError::Limitation { .. }) => return None,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let given = given(program, zero);
    let meant = match by_definition(program, &given) {
        Ok(meant) => meant,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let found = graphs::interpreted(program, &graph, &given, 0, Precision::F64);
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let (found, meant) = (&found["y"], &meant["y"]);
    // A rule whose weights must be positive says nothing of zeros.
    if zero && !meant.reals().iter().all(|x| x.is_finite()) {
        return None;
    }
    let off = golden::distance(found, meant);
    (off.is_nan() || off > DIFFERENCES)
        .then(|| format!("{name}, from zeros {zero}: off by {off:.1e}"))
}

#[test]
fn every_memory_of_the_library_stands_by_itself() {
    let specs = Specs::of("alone", "layer Nothing() {\n    in x: []\n    out x\n}\n");
    let table = nestor_stdlib::FILES.iter().filter_map(|(path, text)| {
        let name = text.split("\nmemory ").nth(1)?.split('(').next()?;
        path.starts_with("stdlib/memory/").then(|| name.to_owned())
    });
    let names: Vec<String> = table.collect();
    assert!(names.len() > 40, "{names:?}");
    let wrong = on_all_cores(&names, |name| {
        let made = specs.elaborate(name, &[]);
        let Some(program) = made.program else {
            return vec![format!("{name}: {}", specs.render(&made.diagnostics))];
        };
        [false, true].into_iter().filter_map(|zero| wrong(name, &program, zero)).collect()
    });
    let wrong: Vec<String> = wrong.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_gate_of_the_norm_lets_gradients_through_zeros() {
    let text = "memory Cell(d_k, d_v; alpha, beta) {
    structure matrix(d_k, d_v)
    bias      l2
    retention lq(q = 4; alpha)
    algorithm sgd(beta)
}
";
    let specs = Specs::of("lq", text);
    let made = specs.elaborate("Cell", &[]);
    let program =
        made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)));
    let walk = derived(&program, false).expect("it is derived");
    let graph =
        nestor_compiler::pipeline::gradients(&walk, &["y"]).expect("it has slopes");
    let mut given = given(&program, true);
    let dims = vec![1, TIME, 8];
    given.insert("grad.y".into(), Array::real(dims.clone(), vec![1.0; TIME * 8]));
    let found = graphs::interpreted(&program, &graph, &given, 0, Precision::F64);
    for (name, array) in found.expect("it runs") {
        assert!(array.reals().iter().all(|x| x.is_finite()), "{name}: {array:?}");
    }
}
