//! Inputs from a fixed seed, resident in the executor.

use crate::Failure;
use nestor_compiler::ty::Elem;
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::{Initial, initial_values};
use std::collections::BTreeMap;

/// Draws every input of a program and keeps it in the executor.
pub(crate) fn inputs(
    executor: &mut Executor,
    sizes: Sizes,
    uniform: &[String],
) -> Result<(), Failure> {
    let mut ranges = BTreeMap::new();
    for text in uniform {
        let (name, low, high) = range(text)
            .ok_or_else(|| format!("`{text}` is not of the form name=low..high"))?;
        ranges.insert(name, (low, high));
    }
    let wanted: Vec<(String, Vec<usize>, bool)> = executor
        .inputs()
        .into_iter()
        .map(|(name, ty)| {
            let dims = ty.dims.iter().map(|d| d.size(&sizes)).collect();
            (name.to_owned(), dims, ty.elem == Elem::Int)
        })
        .collect();
    for (name, dims, whole) in wanted {
        let between = |low: f64, high: f64| {
            let kind = Initial::Uniform { bound: 0.5 };
            let values = initial_values(kind, &dims, 1, &name);
            values.into_iter().map(move |x| low + (high - low) * (x + 0.5))
        };
        let data = if whole {
            // Tokens of the smallest vocabulary in use.
            Data::I32(between(0.0, 255.0).map(|x| x as i32).collect())
        } else if let Some((low, high)) = ranges.get(name.as_str()) {
            Data::F32(between(*low, *high).map(|x| x as f32).collect())
        } else {
            let kind = match name.as_str() {
                "step" => Initial::Constant(1.0),
                "steps" => Initial::Constant(1e6),
                _ if dims.is_empty() => Initial::Constant(1.0),
                _ if name.starts_with("optimiser.") => Initial::Constant(0.0),
                _ if name.contains('.') && !name.starts_with("grad.") => {
                    Initial::Normal { std: 0.02 }
                }
                _ => Initial::Normal { std: 1.0 },
            };
            let values = initial_values(kind, &dims, 1, &name);
            Data::F32(values.into_iter().map(|x| x as f32).collect())
        };
        executor.set(&HostTensor { name, dims, data })?;
    }
    Ok(())
}

fn range(text: &str) -> Option<(String, f64, f64)> {
    let (name, range) = text.split_once('=')?;
    let (low, high) = range.split_once("..")?;
    Some((name.to_owned(), low.parse().ok()?, high.parse().ok()?))
}
