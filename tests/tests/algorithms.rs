//! Every algorithm of the golden cases as the outer level of a small model: twelve steps as machine
//! code, each against the stored weights, loss and length of the gradient, and the last states.

use indexmap::IndexMap;
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::training_step;
use nestor_compiler::{FormOptions, trained};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_tests::native::Compiled;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, root};

/// How far a precision may be off; the cases say so.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F64 => 1e-9,
        Precision::F32 => 2e-4,
    }
}

/// Row `n` of an array.
fn row(array: &Array, n: usize) -> Array {
    let dims = array.dims[1..].to_vec();
    let size: usize = dims.iter().product();
    Array::real(dims, array.reals()[n * size..(n + 1) * size].to_vec())
}

/// `optimiser.m.W1` of the case's `state.W1.m`, where letters may differ in size; the only state of
/// an algorithm may have another name.
fn state_of<'n>(names: &[&'n str], weight: &str, state: &str) -> Option<&'n str> {
    let of =
        |n: &&&str| n.starts_with("optimiser.") && n.ends_with(&format!(".{weight}"));
    let own: Vec<&&str> = names.iter().filter(of).collect();
    let named = format!("optimiser.{state}.{weight}").to_lowercase();
    match own[..] {
        [one] => Some(*one),
        _ => own.iter().find(|n| n.to_lowercase() == named).map(|n| **n),
    }
}

/// Makes a graph ready to run.
type Ready<'r> = &'r dyn Fn(&Graph) -> Result<Compiled, String>;

/// What is wrong with a case, in words.
fn wrong(name: &str, precision: Precision, ready: Ready<'_>) -> Result<(), String> {
    let path = root().join(format!("tests/specs/oracle/algorithms/{name}.nest"));
    let specs = Specs::read(&[&path]);
    let made = specs.elaborate("Case", &[]);
    let program = made.program.ok_or_else(|| specs.render(&made.diagnostics))?;
    let case = golden::read(
        &root().join(format!("tests/oracle/cases/algorithms/{name}.safetensors")),
    );
    let lowered =
        training_step(&program, FormOptions::default()).map_err(|e| e.to_string())?;
    let graph = lowered.graph;
    let mut step = ready(&graph)?;
    let mut held: IndexMap<String, Array> = IndexMap::new();
    for (path, dims, start) in trained::starts(&program).map_err(|e| e.to_string())? {
        if let trained::Start::Values(array) = start {
            held.insert(path, Array::real(dims, array.reals().to_vec()));
        }
    }
    let names: Vec<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
    for (tensor, value) in &case {
        let Some(path) = tensor.strip_prefix("init.") else { continue };
        match path.split_once('.') {
            None => held.insert(path.to_owned(), value.clone()),
            Some((weight, state)) => {
                let state = state_of(&names, weight, state).ok_or("no such state")?;
                held.insert(state.to_owned(), value.clone())
            }
        };
    }
    let (steps, samples) = (case["data.x"].dims[0], case["data.x"].dims[1]);
    let sizes = Sizes { batch: 1, time: samples, start: 0 };
    let mut off: Vec<String> = Vec::new();
    let mut compare = |what: String, found: &Array, expected: &Array| {
        let distance = golden::distance(found, expected);
        if distance > tolerance(precision) {
            off.push(format!("{what} {distance:.1e}"));
        }
    };
    for n in 0..steps {
        for stream in ["x", "t"] {
            let mut value = row(&case[&format!("data.{stream}")], n);
            value.dims.insert(0, 1);
            held.insert(stream.to_owned(), value);
        }
        held.insert("step".into(), Array::real([], vec![(n + 1) as f64]));
        held.insert("steps".into(), Array::real([], vec![steps as f64]));
        let given: Vec<Array> = names.iter().map(|n| held[*n].clone()).collect();
        held.extend(step.run(&given, &sizes)?);
        let loss = Array::real([], vec![case["loss"].reals()[n]]);
        compare(format!("loss at step {n}"), &held["loss"], &loss);
        let mut squares = 0.0;
        for (tensor, value) in &case {
            if let Some(path) = tensor.strip_prefix("traj.") {
                compare(format!("{path} at step {n}"), &held[path], &row(value, n));
            }
            if tensor.starts_with("grad.") {
                squares += row(value, n).reals().iter().map(|g| g * g).sum::<f64>();
            }
        }
        let norm = Array::real([], vec![squares.sqrt()]);
        compare(format!("gradient at step {n}"), &held["gradient_norm"], &norm);
    }
    for (tensor, value) in &case {
        let Some(path) = tensor.strip_prefix("state.") else { continue };
        let (weight, state) = path.split_once('.').ok_or("a state of a weight")?;
        let name = state_of(&names, weight, state).ok_or("no such state")?;
        compare(tensor.clone(), &held[name], value);
    }
    if off.is_empty() { Ok(()) } else { Err(off.join(", ")) }
}

fn check(precision: Precision, ready: Ready<'_>) {
    let specs = files(&root().join("tests/specs/oracle/algorithms"), "nest");
    assert!(specs.len() >= 16, "only {} cases", specs.len());
    let mut failures = Vec::new();
    for path in specs {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if let Err(what) = wrong(&name, precision, ready) {
            failures.push(format!("{name}: {what}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_algorithm_takes_the_steps_of_its_case_in_float64() {
    check(Precision::F64, &|g| Compiled::new(g, Precision::F64));
}

#[test]
fn every_algorithm_takes_the_steps_of_its_case_in_float32() {
    check(Precision::F32, &|g| Compiled::new(g, Precision::F32));
}

#[cfg(feature = "cuda")]
#[test]
fn every_algorithm_takes_the_steps_of_its_case_as_ptx() {
    use nestor_compiler::gpu::Target;
    use nestor_runtime::device::Shared;
    use nestor_tests::emulated_device::EmulatedDevice;
    let device = Shared::new(Box::new(EmulatedDevice::new(1 << 30)));
    check(Precision::F32, &|g| Compiled::on(g, Target::Sm80.into(), &device));
}
