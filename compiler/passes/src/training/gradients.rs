//! The forward graph with its gradients, for people who ask for them.

use crate::autodiff::{Keeping, keep_boundaries, pullback};
use crate::build::{is_real, zeros_like};
use crate::error::PassError;
use crate::settle::settled;
use crate::simplify::{shared, simplify};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Value};

/// The forward graph with cotangents: inputs `grad.<output>` for the real outputs of these names
/// (all of them where none is named), outputs `grad.<input>` for every real input that is no
/// state.
///
/// # Errors
/// Where something on the way has no derivative that is known.
pub fn gradients(forward: &Graph, outputs: &[&str]) -> Result<Graph, PassError> {
    gradients_keeping(forward, outputs, Keeping::default())
}

/// As [`gradients`], with what pays to be kept for the way back on some machine.
///
/// # Errors
/// As [`gradients`].
pub fn gradients_keeping(
    forward: &Graph,
    outputs: &[&str],
    keeping: Keeping,
) -> Result<Graph, PassError> {
    Ok(shared(&settled(&both_ways(forward, outputs, keeping)?)))
}

/// As [`gradients`], with nothing shared and every product in the order in which it was derived: what other graphs are
/// compared with.
///
/// # Errors
/// As [`gradients`].
pub fn gradients_as_derived(
    forward: &Graph,
    outputs: &[&str],
) -> Result<Graph, PassError> {
    Ok(simplify(&both_ways(forward, outputs, Keeping::default())?))
}

fn both_ways(
    forward: &Graph,
    outputs: &[&str],
    keeping: Keeping,
) -> Result<Graph, PassError> {
    let mut g = keep_boundaries(forward, keeping);
    let wrt: Vec<Named> = g
        .inputs
        .iter()
        .filter(|i| is_real(&g, i.value) && !i.name.starts_with("state."))
        .cloned()
        .collect();
    let mut seeds = Vec::new();
    for output in g.outputs.clone() {
        let asked = outputs.is_empty() || outputs.contains(&output.name.as_str());
        if asked && is_real(&g, output.value) {
            let ty = g.ty(output.value).clone();
            let seed = g.input(format!("grad.{}", output.name), ty);
            seeds.push((output.value, seed));
        }
    }
    let values: Vec<Value> = wrt.iter().map(|i| i.value).collect();
    let found = pullback(&mut g, &seeds, &values)?;
    for (input, found) in wrt.iter().zip(found) {
        let gradient = found.unwrap_or_else(|| zeros_like(&mut g, input.value));
        g.output(format!("grad.{}", input.name), gradient);
    }
    Ok(g)
}
