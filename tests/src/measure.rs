//! How far a golden case is off: every tensor of the file against what a form gives on an engine.

use crate::{golden, native};
use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::gpu::Options;
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Lowered, Purpose, with_gradients};
use nestor_compiler::{Form, FormOptions, Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_ir::tensor::Graph;
use nestor_runtime::device::Shared;

/// What runs a graph, and how far it may be off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// The interpreter, in float64.
    Interpreter,
    /// Machine code.
    Native(Precision),
}

impl Engine {
    /// What a tensor may be off by.
    pub fn tolerance(self, tensor: &str) -> f64 {
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

/// The forms that may be asked for; nothing asks for none.
pub fn forms() -> impl Iterator<Item = Option<Form>> {
    std::iter::once(None).chain(Form::ALL.iter().map(|(f, _)| Some(*f)))
}

/// Outputs that a case has cotangents of.
fn seeds<'c>(program: &Program, case: &'c IndexMap<String, Array>) -> Vec<&'c str> {
    let all = case.keys().filter_map(|n| n.strip_prefix("grad."));
    all.filter(|n| program.code.find_output(n).is_some()).collect()
}

/// A case in a form with its gradients; nothing where the form does not apply.
///
/// # Errors
/// Where it has no form at all.
pub fn lowered(
    program: &Program,
    case: &IndexMap<String, Array>,
    form: Option<Form>,
) -> Result<Option<Lowered>, String> {
    let purpose =
        Purpose { resume: false, forms: FormOptions { form, ..FormOptions::default() } };
    match with_gradients(program, purpose, &seeds(program, case)) {
        Ok(lowered) => Ok(Some(lowered)),
        Err(_) if form.is_some() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// How far every tensor that the case gives, and that is not an input, is off.
///
/// # Errors
/// Where the graph does not run.
pub fn distances(
    program: &Program,
    case: &IndexMap<String, Array>,
    graph: &Graph,
    engine: Engine,
) -> Result<Vec<(String, f64)>, String> {
    Ok(apart(program, case, &engine.run(program, graph, case)?))
}

/// As [`distances`], on a device.
///
/// # Errors
/// As [`distances`].
pub fn distances_on(
    program: &Program,
    case: &IndexMap<String, Array>,
    graph: &Graph,
    (options, device): (Options, &Shared),
) -> Result<Vec<(String, f64)>, String> {
    let mut compiled = native::Compiled::on(graph, options, device)?;
    distances_of(program, case, graph, &mut compiled)
}

/// As [`distances`], of code that is made.
///
/// # Errors
/// As [`distances`].
pub fn distances_of(
    program: &Program,
    case: &IndexMap<String, Array>,
    graph: &Graph,
    compiled: &mut native::Compiled,
) -> Result<Vec<(String, f64)>, String> {
    let sizes = sizes(program, case).map_err(|e| e.to_string())?;
    let inputs = bound(program, graph, case, &sizes).map_err(|e| e.to_string())?;
    let found = compiled.run(&inputs, &sizes)?;
    let found = found.into_iter().map(|(n, a)| (graphs::outward(program, &n), a));
    Ok(apart(program, case, &found.collect()))
}

/// How far every tensor of a case that is not given is off.
fn apart(
    program: &Program,
    case: &IndexMap<String, Array>,
    found: &IndexMap<String, Array>,
) -> Vec<(String, f64)> {
    let seeds = seeds(program, case);
    let given = |tensor: &String| {
        program.inputs.iter().any(|i| i.name == *tensor)
            || program.weights.values().any(|w| w.short == *tensor)
            || seeds.iter().any(|s| format!("grad.{s}") == *tensor)
    };
    let results = case.iter().filter(|(tensor, _)| !given(tensor));
    let off = |(tensor, expected): (&String, &Array)| {
        let distance = found.get(tensor).map_or(f64::INFINITY, |r| {
            if r.len() == expected.len() && r.dims != expected.dims {
                let same = Array { dims: expected.dims.clone(), data: r.data.clone() };
                return golden::distance(&same, expected);
            }
            golden::distance(r, expected)
        });
        (tensor.clone(), distance)
    };
    results.map(off).collect()
}
