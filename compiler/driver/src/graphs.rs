//! Runs a tensor graph on tensors by name, in the interpreter.

use crate::execute::{RunError, bound, sizes};
use indexmap::IndexMap;
use nestor_ir::artifact::Precision;
use nestor_ir::interpret::{Array, tensor};
use nestor_ir::level::Program;
use nestor_ir::tensor::Graph;

/// Outputs by name. Weights are found by their short names or paths; the gradient of a weight
/// is called by its short name, as in files of inputs.
///
/// # Errors
/// Where inputs do not fit, each by its name with the shape found and the shape expected.
pub fn interpreted(
    program: &Program,
    graph: &Graph,
    given: &IndexMap<String, Array>,
    start: usize,
    precision: Precision,
) -> Result<IndexMap<String, Array>, RunError> {
    let mut sizes = sizes(program, given)?;
    sizes.start = start;
    let inputs = bound(program, graph, given, &sizes)?;
    let results = tensor::run(graph, &inputs, &sizes, precision)?;
    let names = graph.outputs.iter().map(|o| outward(program, &o.name));
    Ok(names.zip(results).collect())
}

/// An output's name in files: gradients of weights by their short names.
pub fn outward(program: &Program, name: &str) -> String {
    let Some(of) = name.strip_prefix("grad.") else { return name.to_owned() };
    let weight = program.weights.values().find(|w| w.path == of);
    weight.map_or_else(|| name.to_owned(), |w| format!("grad.{}", w.short))
}
