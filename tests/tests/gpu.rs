//! Kernels as PTX in the emulator: every golden case, forward and backward, against the interpreter and
//! the stored results. Needs the feature `cuda`.

#![cfg(feature = "cuda")]

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::scheduled;
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::{Program, graphs};
use nestor_mlir::{Target, compile};
use nestor_tests::emulated::Emulated;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, root};

/// Cases that no kernel is made for, with the start of the reason.
const LIMITED: &[(&str, &str)] =
    &[("selfmod_titans", "L-own-answer"), ("mesa", "L-no-kernel")];

/// What is wrong with a case.
fn wrong(
    name: &str,
    program: &Program,
    case: &IndexMap<String, Array>,
) -> Result<(), String> {
    let seeds: Vec<&str> = case
        .keys()
        .filter_map(|n| n.strip_prefix("grad."))
        .filter(|n| program.code.find_output(n).is_some())
        .collect();
    let lowered =
        with_gradients(program, Purpose::default(), &seeds).map_err(|e| e.to_string())?;
    let graph = &lowered.graph;
    let (plan, kernels) = scheduled(graph).map_err(|e| e.to_string())?;
    let sizes = sizes(program, case).map_err(|e| e.to_string())?;
    let inputs = bound(program, graph, case, &sizes).map_err(|e| e.to_string())?;
    let names = graph.inputs.iter().map(|i| i.name.clone());
    let inputs: IndexMap<String, Array> = names.zip(inputs).collect();
    let code = compile(&kernels, Target::Sm80).map_err(|e| e.to_string())?;
    if let Some(folder) = std::env::var_os("NESTOR_PTX") {
        let path = std::path::Path::new(&folder).join(name);
        std::fs::write(path.with_extension("mlir"), &code.mlir).expect("a folder");
        std::fs::write(path.with_extension("ptx"), &code.ptx).expect("a folder");
    }
    let emulated = Emulated::of(&kernels, code)?;
    let found = emulated.plan(&plan, &inputs, &sizes)?;
    let found: IndexMap<String, Array> =
        found.into_iter().map(|(n, a)| (graphs::outward(program, &n), a)).collect();
    let mut off = Vec::new();
    for (tensor, expected) in case {
        let given = program.inputs.iter().any(|i| i.name == *tensor)
            || program.weights.values().any(|w| w.short == *tensor)
            || seeds.iter().any(|s| format!("grad.{s}") == *tensor);
        if given {
            continue;
        }
        let distance = found.get(tensor).map_or(f64::INFINITY, |r| {
            let same = Array { dims: expected.dims.clone(), data: r.data.clone() };
            golden::distance(&same, expected)
        });
        let bound = if tensor.starts_with("grad.") { 1e-4 } else { 1e-5 };
        if distance > bound {
            off.push(format!("{tensor} {distance:.1e}"));
        }
    }
    if off.is_empty() { Ok(()) } else { Err(off.join(", ")) }
}

#[test]
fn every_golden_case_runs_as_ptx_forward_and_backward() {
    let only = std::env::var("NESTOR_CASE").ok();
    let folder = root().join("tests/oracle");
    let (mut failures, mut passed) = (Vec::new(), 0);
    for path in files(&folder, "nest") {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
            continue;
        }
        let specs = Specs::read(&[&path]);
        let program = specs.elaborate("Case", &[]).program.expect("a case elaborates");
        let case =
            golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
        let limited = LIMITED.iter().find(|(n, _)| *n == name);
        let begun = std::time::Instant::now();
        match (wrong(&name, &program, &case), limited) {
            (Ok(()), None) => passed += 1,
            (Err(what), Some((_, start))) if what.contains(start) => {}
            (Err(what), _) => failures.push(format!("{name}: {what}")),
            (Ok(()), Some(_)) => {
                failures.push(format!("{name} passes: take it off the list"))
            }
        }
        println!("{name}: {:.1?}", begun.elapsed());
    }
    println!("{passed} cases, {} of them limited", LIMITED.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
