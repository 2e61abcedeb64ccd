//! Every golden case through the passes: as whole-sequence graphs, in every form that applies,
//! against the stored outputs, final states and gradients.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::{Form, FormOptions, Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_ir::tensor::Graph;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, native, root};
use std::path::Path;

/// What runs a graph, and how far it may be off.
#[derive(Clone, Copy)]
enum Engine {
    Interpreter,
    Native(Precision),
}

impl Engine {
    fn tolerance(self, tensor: &str) -> f64 {
        match self {
            Engine::Interpreter | Engine::Native(Precision::F64) => 1e-10,
            Engine::Native(Precision::F32) if tensor.starts_with("grad.") => 1e-4,
            Engine::Native(Precision::F32) => 1e-5,
        }
    }

    fn run(
        self,
        program: &Program,
        graph: &Graph,
        case: &IndexMap<String, Array>,
    ) -> Result<IndexMap<String, Array>, String> {
        let precision = match self {
            Engine::Interpreter => {
                return graphs::interpreted(program, graph, case, 0, Precision::F64)
                    .map_err(|e| e.to_string());
            }
            Engine::Native(precision) => precision,
        };
        let sizes = sizes(program, case).map_err(|e| e.to_string())?;
        let inputs = bound(program, graph, case, &sizes).map_err(|e| e.to_string())?;
        let found = native::run(graph, &inputs, &sizes, precision)?;
        Ok(found.into_iter().map(|(n, a)| (graphs::outward(program, &n), a)).collect())
    }
}

/// Cases that the passes do not take yet, with the start of the reason.
const LIMITED: &[(&str, &str)] = &[("selfmod_titans", "L-own-answer")];

/// Cases that have no kernel for one of their ops.
const NO_KERNEL: (&str, &str) = ("mesa", "L-no-kernel");

fn limited_natively() -> Vec<(&'static str, &'static str)> {
    LIMITED.iter().copied().chain([NO_KERNEL]).collect()
}

/// What is wrong with a case in a form; nothing where the form does not apply.
fn wrong(
    name: &str,
    program: &Program,
    case: &IndexMap<String, Array>,
    form: Option<Form>,
    engine: Engine,
) -> Option<String> {
    let purpose = Purpose { resume: false, forms: FormOptions { form, chunk: None } };
    let of = form.map_or("auto", Form::name);
    let seeds: Vec<&str> = case
        .keys()
        .filter_map(|n| n.strip_prefix("grad."))
        .filter(|n| program.code.find_output(n).is_some())
        .collect();
    let lowered = match with_gradients(program, purpose, &seeds) {
        Ok(lowered) => lowered,
        Err(_) if form.is_some() => return None,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let found = match engine.run(program, &lowered.graph, case) {
        Ok(found) => found,
        Err(error) => return Some(format!("{name} ({of}): {error}")),
    };
    let mut off = Vec::new();
    for (tensor, expected) in case {
        let given = program.inputs.iter().any(|i| i.name == *tensor)
            || program.weights.values().any(|w| w.short == *tensor)
            || seeds.iter().any(|s| format!("grad.{s}") == *tensor);
        if given {
            continue;
        }
        let distance = found.get(tensor).map_or(f64::INFINITY, |r| {
            if r.len() == expected.len() && r.dims != expected.dims {
                let same = Array { dims: expected.dims.clone(), data: r.data.clone() };
                return golden::distance(&same, expected);
            }
            golden::distance(r, expected)
        });
        let bound = engine.tolerance(tensor);
        if distance > bound {
            off.push(format!("{tensor} {distance:.1e}"));
        }
    }
    if std::env::var_os("NESTOR_CHOICES").is_some() {
        for choice in &lowered.choices {
            eprintln!("{name} ({of}): {choice}");
        }
    }
    (!off.is_empty()).then(|| format!("{name} ({of}): {}", off.join(", ")))
}

fn check(engine: Engine, limited: &[(&str, &str)]) {
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
        let limited = limited.iter().find(|(n, _)| *n == name);
        let forms = std::iter::once(None).chain(Form::ALL.iter().map(|(f, _)| Some(*f)));
        for form in forms {
            match (wrong(&name, &program, &case, form, engine), limited) {
                (None, None) => {}
                (Some(what), Some((_, start))) if what.contains(start) => {}
                (Some(what), _) => failures.push(what),
                (None, Some(_)) if form.is_none() => {
                    failures.push(format!("{name} passes: take it off the list"));
                }
                (None, Some(_)) => {}
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_form_of_every_golden_case_gives_outputs_states_and_gradients() {
    check(Engine::Interpreter, LIMITED);
}

#[test]
fn machine_code_in_float64_gives_outputs_states_and_gradients() {
    check(Engine::Native(Precision::F64), &limited_natively());
}

#[test]
fn machine_code_in_float32_gives_outputs_states_and_gradients() {
    check(Engine::Native(Precision::F32), &limited_natively());
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}
