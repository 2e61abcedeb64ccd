//! The compiler as a list: from a checked program to the graph that is run.
//!
//! ```text
//! to_tensors -> derive (-> reading -> derive) -> forms -> (training | gradients) -> schedule -> native code
//! ```

use crate::Program;
use nestor_ir::tensor::{Graph, Op, Stride};
use nestor_passes::forms::{Choice, Form, FormOptions, choose};
use nestor_passes::reading::Inner;
use nestor_passes::settle::settled;
use nestor_passes::simplify::{ordered, simplify};
use nestor_passes::to_tensors::{self, bounded, to_tensors};
pub use nestor_passes::training::{gradients, gradients_as_derived};
use nestor_passes::{PassError, derive, reading, training};

/// What a graph is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purpose {
    /// States are handed over as inputs.
    pub resume: bool,
    /// What is said about forms.
    pub forms: FormOptions,
}

/// A program as a whole-sequence graph, each walk in its form.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The graph.
    pub graph: Graph,
    /// What was chosen for each walk.
    pub choices: Vec<Choice>,
    /// How many reads of windows go by blocks of tokens.
    pub blocks: usize,
}

/// Whole sequences, inner gradients as marks.
///
/// # Errors
/// As [`to_tensors`].
pub fn tensors(program: &Program, resume: bool) -> Result<Graph, PassError> {
    to_tensors(program, to_tensors::Options { resume, ..Default::default() })
}

/// Inner gradients as the equations they stand for.
///
/// # Errors
/// As the passes.
pub fn derived(program: &Program, resume: bool) -> Result<Graph, PassError> {
    if !reading::asked(program) {
        return derive::derive(&tensors(program, resume)?);
    }
    read(program, resume, Inner::ByTokens)
}

fn read(program: &Program, resume: bool, inner: Inner) -> Result<Graph, PassError> {
    let open =
        to_tensors(program, to_tensors::Options { resume, open: true, blocks: false })?;
    let open = derive::derive(&open)?;
    derive::derive(&reading::windows(program, &open, resume, inner)?)
}

/// As [`derived`], where levels learn while reading: memories go through windows by chunks, and all of the past, where it
/// depends on such levels, is as long as calls promise to be.
fn read_within(program: &Program, purpose: Purpose) -> Result<Graph, PassError> {
    let Purpose { resume, forms } = purpose;
    let inner = match forms.form == Some(Form::Sequential) {
        true => Inner::ByTokens,
        false => Inner::ByChunks,
    };
    let found = read(program, resume, inner);
    match (&found, forms.longest.filter(|_| !resume)) {
        (Err(PassError::Limitation { code: "L-reading", .. }), Some(longest)) => {
            read(&bounded(program, longest), resume, inner)
        }
        _ => found,
    }
}

/// As [`derived`], where windows are read by blocks of tokens unless one token after another was asked for.
fn in_blocks(program: &Program, purpose: Purpose) -> Result<Graph, PassError> {
    let blocks = !purpose.resume && purpose.forms.form != Some(Form::Sequential);
    let options = to_tensors::Options { resume: purpose.resume, open: false, blocks };
    derive::derive(&to_tensors(program, options)?)
}

/// Whether a walk goes by chunks before any was given a form, and answers something: it reads windows.
fn is_by_blocks(op: &Op) -> bool {
    let Op::Scan { scan } = op else { return false };
    matches!(scan.stride, Stride::Chunk(_)) && !scan.yields.is_empty()
}

/// The forward graph, each walk in its form.
///
/// # Errors
/// As the passes.
pub fn forward(program: &Program, purpose: Purpose) -> Result<Lowered, PassError> {
    let formed = formed(program, purpose)?;
    Ok(Lowered { graph: ordered(&settled(&formed.graph)), ..formed })
}

/// As [`forward`], with every product in the order in which it is written: what gradients are taken of, so that terms of
/// theirs that cancel are rounded alike.
///
/// # Errors
/// As the passes.
pub fn formed(program: &Program, purpose: Purpose) -> Result<Lowered, PassError> {
    let derived = match reading::asked(program) {
        true => read_within(program, purpose)?,
        false => in_blocks(program, purpose)?,
    };
    let blocks = derived.nodes.values().filter(|n| is_by_blocks(&n.op)).count();
    let (graph, choices) = choose(&derived, purpose.forms, !purpose.resume)?;
    Ok(Lowered { graph: simplify(&graph), choices, blocks })
}

/// The forward graph with the cotangents of `outputs` in, and the gradients of inputs out.
///
/// # Errors
/// As the passes.
pub fn with_gradients(
    program: &Program,
    purpose: Purpose,
    outputs: &[&str],
) -> Result<Lowered, PassError> {
    let forward = formed(program, purpose)?;
    let graph =
        training::gradients_keeping(&forward.graph, outputs, purpose.forms.keeping)?;
    Ok(Lowered { graph, ..forward })
}

/// What every form is compared with: the derived walk token by token, as it was derived, with the
/// cotangents of `outputs` in and the gradients of inputs out. Nothing is chosen or rearranged.
///
/// # Errors
/// As the passes.
pub fn reference(program: &Program, outputs: &[&str]) -> Result<Graph, PassError> {
    gradients_as_derived(&derived(program, false)?, outputs)
}

/// One step of training.
///
/// # Errors
/// As the passes.
pub fn training_step(
    program: &Program,
    forms: FormOptions,
) -> Result<Lowered, PassError> {
    let forward = formed(program, Purpose { resume: false, forms })?;
    let graph = training::training(program, &forward.graph, forms.keeping)?;
    Ok(Lowered { graph, ..forward })
}
