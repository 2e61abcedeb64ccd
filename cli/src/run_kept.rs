//! `run DIR`: what `compile -o DIR` has written, on tensors by name, without the file that it was compiled from.

use crate::arguments::RunChoices;
use crate::device::unready;
use crate::fail::{Failure, Outcome};
use crate::run::{array, host, written};
use nestor_compiler::Precision;
use nestor_compiler::dim::{Dim, Sizes};
use nestor_compiler::kept::{self, KeptError};
use nestor_compiler::ty::Type;
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use serde_json::Value;
use std::path::Path;

/// Runs an artifact.
pub(crate) fn run(
    folder: &Path,
    inputs: &Path,
    outputs: &Path,
    how: &RunChoices,
    json: bool,
) -> Outcome {
    let place = how.on.open()?;
    let artifact = kept::read(folder).map_err(|e| match e {
        KeptError::Native(e) => Failure::native(e),
        e => Failure::data(e),
    })?;
    match (&artifact.device, place.name()) {
        (Some(code), None) => {
            return Err(Failure::usage(format!(
                "`{}` holds code for {}: add `--device cuda:0`",
                folder.display(),
                code.target
            )));
        }
        (None, Some(_)) => {
            return Err(Failure::usage(format!(
                "`{}` was compiled for the CPU: leave `--device` out, or compile it with `--target sm_80|sm_86|sm_90a`",
                folder.display()
            )));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let given = tensor_file::read(inputs).map_err(Failure::data)?;
    let mut executor = place.executor(artifact).map_err(unready)?;
    let asked: Vec<(String, Type)> =
        executor.inputs().into_iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let short = short_names(folder);
    let found = |name: &str| {
        let short = short.iter().find(|(path, _)| path == name);
        let named = |t: &&HostTensor| {
            t.name == name || short.is_some_and(|(_, short)| t.name == *short)
        };
        given.tensors.iter().find(named)
    };
    let mut sizes = Sizes { batch: 1, time: 1, start: how.start.unwrap_or(0) };
    for (name, ty) in &asked {
        let dims = found(name).map_or(&[][..], |t| &t.dims);
        for (dim, &n) in ty.dims.iter().zip(dims) {
            if *dim == Dim::Batch {
                sizes.batch = n;
            } else if *dim == Dim::Time {
                sizes.time = n;
            }
        }
    }
    // Nothing flows back from what is not given.
    let any = given.tensors.iter().any(|t| t.name.starts_with("grad."));
    let mut tensors = Vec::new();
    let mut missing = Vec::new();
    for (name, ty) in &asked {
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(&sizes)).collect();
        match found(name) {
            Some(tensor) => {
                tensors.push(host(name, &array(tensor), Precision::F32));
            }
            None if any && name.starts_with("grad.") => {
                let count = dims.iter().product();
                let data = Data::F32(vec![0.0; count]);
                tensors.push(HostTensor { name: name.clone(), dims, data });
            }
            None => missing.push(format!("`{name}` {ty}")),
        }
    }
    if !missing.is_empty() {
        return Err(Failure::data(format!(
            "`{}` lacks {}; `layout.json` in `{}` says all that is taken",
            inputs.display(),
            missing.join(", "),
            folder.display()
        )));
    }
    let tensors: Vec<&HostTensor> = tensors.iter().collect();
    let mut results = executor.run(&tensors, sizes).map_err(unready)?;
    for tensor in &mut results {
        let of = tensor.name.strip_prefix("grad.");
        if let Some((_, short)) = short.iter().find(|(path, _)| of == Some(path)) {
            tensor.name = format!("grad.{short}");
        }
    }
    written(outputs, &results, json)
}

/// What files of tensors call learned values, beside their paths: `layout.json` says it.
fn short_names(folder: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder.join("layout.json")).unwrap_or_default();
    let layout: Value = serde_json::from_str(&text).unwrap_or_default();
    let weights = layout["weights"].as_array().cloned().unwrap_or_default();
    let name = |w: &Value, key: &str| w[key].as_str().map(str::to_owned);
    weights.iter().filter_map(|w| Some((name(w, "path")?, name(w, "short")?))).collect()
}
