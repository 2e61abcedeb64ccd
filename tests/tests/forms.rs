//! Every golden case through the passes: as whole-sequence graphs, in every form that applies,
//! against the stored outputs, final states and gradients.

use indexmap::IndexMap;
use nestor_compiler::interpret::Array;
use nestor_compiler::{Form, Program};
use nestor_ir::artifact::Precision;
use nestor_tests::measure::{Engine, distances, forms, lowered};
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, root};
use std::path::Path;

/// What is wrong with a case in a form; nothing where the form does not apply.
fn wrong(
    name: &str,
    program: &Program,
    case: &IndexMap<String, Array>,
    form: Option<Form>,
    engine: Engine,
) -> Option<String> {
    let of = form.map_or("auto", Form::name);
    let lowered = match lowered(program, case, form) {
        Ok(lowered) => lowered?,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let found = match distances(program, case, &lowered.graph, engine) {
        Ok(found) => found,
        Err(error) => return Some(format!("{name} ({of}): {error}")),
    };
    let far = found.iter().filter(|(tensor, off)| *off > engine.tolerance(tensor));
    let off: Vec<String> = far.map(|(t, off)| format!("{t} {off:.1e}")).collect();
    if std::env::var_os("NESTOR_CHOICES").is_some() {
        for choice in &lowered.choices {
            eprintln!("{name} ({of}): {choice}");
        }
    }
    (!off.is_empty()).then(|| format!("{name} ({of}): {}", off.join(", ")))
}

fn check(engine: Engine) {
    let only = std::env::var("NESTOR_CASE").ok();
    let folder = root().join("tests/oracle");
    let mut failures = Vec::new();
    for path in files(&folder, "nest") {
        let name = stem(&path);
        if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
            continue;
        }
        let specs = Specs::read(&[&path]);
        let program = specs.elaborate("Case", &[]).program.expect("a case elaborates");
        let case =
            golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
        failures.extend(forms().filter_map(|f| wrong(&name, &program, &case, f, engine)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_form_of_every_golden_case_gives_outputs_states_and_gradients() {
    check(Engine::Interpreter);
}

#[test]
fn machine_code_in_float64_gives_outputs_states_and_gradients() {
    check(Engine::Native(Precision::F64));
}

#[test]
fn machine_code_in_float32_gives_outputs_states_and_gradients() {
    check(Engine::Native(Precision::F32));
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}
