//! `compile -o`: everything that a program becomes, in a folder: its plan and kernels as text, how
//! its weights lie, and where all of it is from.

use crate::fail::{Failure, Outcome};
use crate::tuned::written;
use nestor_compiler::machine::vectors;
use nestor_compiler::plan::{Plan, Role, TensorData};
use nestor_compiler::source::Loaded;
use nestor_compiler::trained::spec_hash;
use nestor_compiler::ty::Elem;
use nestor_compiler::{Precision, Program, Tuned, native, tensor};
use serde_json::{Value, json};
use std::path::Path;

/// What is compiled, and from what.
pub(crate) struct Source<'s> {
    /// The files.
    pub(crate) loaded: &'s Loaded,
    /// The checked entry.
    pub(crate) program: &'s Program,
    /// What was set on the command line.
    pub(crate) set: &'s [String],
    /// The target's name.
    pub(crate) target: &'s str,
    /// Forms and chunks that were measured.
    pub(crate) tuned: &'s [Tuned],
}

/// Writes the artifact of a graph into a folder, which is made where it is not there.
pub(crate) fn write(
    source: &Source<'_>,
    graph: &tensor::Graph,
    what: &str,
    folder: &Path,
    as_json: bool,
) -> Outcome {
    let (plan, kernels) = native::scheduled(graph).map_err(Failure::native)?;
    let clif = native::clif(&kernels, Precision::F32).map_err(Failure::native)?;
    let tiles: String = kernels.iter().map(ToString::to_string).collect();
    let files = [
        ("plan.txt", native::plan_text(&plan, &kernels)),
        ("kernels.txt", tiles),
        ("kernels.clif", clif),
        ("layout.json", pretty(&layout(source.program, &plan))),
        ("provenance.json", pretty(&provenance(source, what))),
    ];
    let told =
        Told { source, what, kernels: kernels.len(), launches: plan.launches.len() };
    put(&told, &files, folder, as_json)
}

/// What is said of an artifact.
pub(crate) struct Told<'s> {
    /// What is compiled.
    pub(crate) source: &'s Source<'s>,
    /// What it does.
    pub(crate) what: &'s str,
    /// How many kernels.
    pub(crate) kernels: usize,
    /// How many launches.
    pub(crate) launches: usize,
}

/// Writes files into a folder, which is made where it is not there, and says so.
pub(crate) fn put(
    told: &Told<'_>,
    files: &[(&str, String)],
    folder: &Path,
    as_json: bool,
) -> Outcome {
    let Told { source, what, kernels, launches } = told;
    let failed = |path: &Path, e: &std::io::Error| {
        Failure::data(format!("cannot write `{}`: {e}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| failed(&path, &e))?;
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    if as_json {
        let folder = folder.display().to_string();
        let entry = &source.program.name;
        let report = json!({ "entry": entry, "folder": folder, "files": names,
                             "kernels": kernels, "launches": launches });
        anstream::println!("{report}");
    } else {
        anstream::println!(
            "{}: {what} for {}, {} launches of {} kernels and library products\n{}: {}",
            source.program.name,
            source.target,
            launches,
            kernels,
            folder.display(),
            names.join(", ")
        );
    }
    Ok(())
}

pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// How weights lie, and what a caller gives and takes: row-major, nothing between the rows.
pub(crate) fn layout(program: &Program, plan: &Plan) -> Value {
    let weights: Vec<Value> = program
        .weights
        .values()
        .map(|w| {
            let dims: Vec<usize> = w.dims.iter().filter_map(|d| d.fixed()).collect();
            let mut strides = vec![4; dims.len()];
            for axis in (1..dims.len()).rev() {
                strides[axis - 1] = strides[axis] * dims[axis];
            }
            let count: usize = dims.iter().product();
            json!({ "path": w.path, "short": w.short, "dtype": "f32", "dims": dims, "strides_bytes": strides,
                    "bytes": 4 * count, "learned": !w.fixed })
        })
        .collect();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for tensor in plan.tensors.values() {
        match &tensor.role {
            Role::Input(name) => inputs.push(named(name, tensor)),
            Role::Output(names) => {
                outputs.extend(names.iter().map(|n| named(n, tensor)));
            }
            Role::InPlace { input, output } => {
                inputs.push(named(input, tensor));
                outputs.push(named(output, tensor));
            }
            Role::Temporary => {}
        }
    }
    json!({ "order": "row-major", "weights": weights, "inputs": inputs, "outputs": outputs })
}

fn named(name: &str, tensor: &TensorData) -> Value {
    let dims: Vec<String> = tensor.ty.dims.iter().map(ToString::to_string).collect();
    let dtype = match (tensor.ty.elem, tensor.narrow) {
        (Elem::Real, true) => "bf16",
        (Elem::Real, false) => "f32",
        (Elem::Int, _) => "i32",
        (Elem::Bool, _) => "bool",
    };
    json!({ "name": name, "dtype": dtype, "dims": dims })
}

/// Where an artifact is from: the same of all these gives the same files.
pub(crate) fn provenance(source: &Source<'_>, what: &str) -> Value {
    let sources = &source.loaded.sources;
    let files: Vec<&str> = source
        .loaded
        .files
        .iter()
        .map(|(id, _)| sources.get(*id).name.as_str())
        .collect();
    let vectors = vectors();
    json!({
        "compiler": { "name": "nestor", "version": env!("CARGO_PKG_VERSION") },
        "entry": source.program.name,
        "what": what,
        "files": files,
        "set": source.set,
        "spec_sha256": spec_hash(source.loaded, &source.program.name, source.set),
        "target": source.target,
        "tuned": written(source.tuned),
        "simd": vectors.level,
        "vector_functions": vectors.functions,
    })
}
