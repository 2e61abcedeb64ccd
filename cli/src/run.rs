//! `run`: tensors in, tensors out.

use crate::arguments::Choices;
use crate::fail::{Failure, Outcome, settings, tell};
use indexmap::IndexMap;
use nestor_compiler::interpret::{Array, Data as Values};
use nestor_compiler::{check, execute, source};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use std::path::Path;

/// Runs a memory or layer by its definition.
pub(crate) fn run(
    file: &Path,
    name: &str,
    inputs: &Path,
    outputs: &Path,
    choices: &Choices,
) -> Outcome {
    let settings = settings(&choices.set)?;
    let loaded = source::load(&[file.to_owned()]).map_err(Failure::data)?;
    let program = match check::program(&loaded, Some(name), &settings) {
        Ok((program, warnings)) => {
            tell(&loaded, &warnings)?;
            program
        }
        Err(found) => return tell(&loaded, &found),
    };
    let given = tensor_file::read(inputs).map_err(Failure::data)?;
    let arrays: IndexMap<String, Array> =
        given.tensors.iter().map(|t| (t.name.clone(), array(t))).collect();
    let results = execute::by_definition(&program, &arrays).map_err(Failure::data)?;
    let tensors: Vec<HostTensor> = results
        .into_iter()
        .filter_map(|(name, array)| match array.data {
            Values::Real(values) => {
                Some(HostTensor { name, dims: array.dims, data: Data::F64(values) })
            }
            Values::Int(values) => {
                Some(HostTensor { name, dims: array.dims, data: Data::I64(values) })
            }
            Values::Bool(_) => None,
        })
        .collect();
    let mut bytes = Vec::new();
    tensor_file::write(&mut bytes, &tensors, &Default::default())
        .and_then(|()| std::fs::write(outputs, bytes))
        .map_err(|e| Failure::data(format!("cannot write {}: {e}", outputs.display())))?;
    anstream::println!("{} tensors written to {}", tensors.len(), outputs.display());
    Ok(())
}

fn array(t: &HostTensor) -> Array {
    let dims = t.dims.clone();
    match &t.data {
        Data::F32(v) => Array::real(dims, v.iter().map(|x| f64::from(*x)).collect()),
        Data::F64(v) => Array::real(dims, v.clone()),
        Data::I32(v) => Array::int(dims, v.iter().map(|x| i64::from(*x)).collect()),
        Data::I64(v) => Array::int(dims, v.clone()),
        Data::U8(v) => Array::int(dims, v.iter().map(|x| i64::from(*x)).collect()),
        Data::Bool(v) => Array::bool(dims, v.clone()),
    }
}
