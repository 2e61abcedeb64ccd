//! `run`: tensors in, tensors out.

use crate::arguments::{Choices, Dtype, RunChoices};
use crate::device::{Place, unready};
use crate::fail::{Failure, Outcome};
use crate::run_kept;
use crate::spec::checked;
use crate::tuned;
use indexmap::IndexMap;
use nestor_compiler::execute::{self, bound, sizes};
use nestor_compiler::interpret::{Array, Data as Values};
use nestor_compiler::native::NativeError;
use nestor_compiler::pipeline::{Lowered, Purpose, forward, with_gradients};
use nestor_compiler::tensor::Graph;
use nestor_compiler::{Form, FormOptions, PassError, Precision, Program, graphs, kept};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use nestor_runtime::train::durable;
use std::path::Path;

type Arrays = IndexMap<String, Array>;

/// Runs a memory or layer on tensors by name; or, of a folder, what it was compiled to.
pub(crate) fn run(
    file: &Path,
    name: Option<&str>,
    inputs: &Path,
    outputs: &Path,
    choices: &Choices,
    how: &RunChoices,
    json: bool,
) -> Outcome {
    if kept::is_kept(file) {
        return run_kept::run(file, inputs, outputs, how, json);
    }
    let Some(name) = name else {
        return Err(Failure::usage(
            "say which memory or layer of the file: `nestor run FILE NAME ...`; a folder that `compile -o` has written needs no name",
        ));
    };
    let place = how.on.open()?;
    if place.name().is_some() && how.dtype == Dtype::F64 {
        return Err(Failure::usage(
            "kernels for GPUs are of float32: leave `--dtype f64` or `--device` out",
        ));
    }
    let program = checked(file, Some(name), &choices.set)?;
    let given = tensor_file::read(inputs).map_err(Failure::data)?;
    let mut arrays: Arrays =
        given.tensors.iter().map(|t| (t.name.clone(), array(t))).collect();
    execute::known(&program, &arrays).map_err(Failure::data)?;
    without_ends(&program, &mut arrays, how);
    let mut results = match how.form.as_str() {
        "definition" if !how.grad => {
            execute::by_definition(&program, &arrays).map_err(Failure::data)?
        }
        form => compiled(&program, &arrays, form, how, &place)?,
    };
    let count = |a: &Array| a.dims.iter().product::<usize>();
    // A gradient is stored as what it belongs to was given: `[B, T*n, ..]` or `[B, T, n, ..]`.
    for (name, array) in &mut results {
        let of = name.strip_prefix("grad.").and_then(|of| arrays.get(of));
        if let Some(of) = of.filter(|of| count(of) == count(array)) {
            array.dims = of.dims.clone();
        }
    }
    let tensors: Vec<HostTensor> = results
        .iter()
        .map(|(name, array)| host(name, array, how.dtype.precision()))
        .collect();
    written(outputs, &tensors, json)
}

/// Writes tensors and says so.
pub(crate) fn written(outputs: &Path, tensors: &[HostTensor], json: bool) -> Outcome {
    let fields = Default::default();
    durable::replace(outputs, &mut |out| tensor_file::write(out, tensors, &fields))
        .map_err(|e| Failure::data(format!("cannot write {}: {e}", outputs.display())))?;
    if json {
        let one = |t: &HostTensor| serde_json::json!({ "name": t.name, "dtype": t.dtype().name(), "shape": t.dims });
        let all: Vec<_> = tensors.iter().map(one).collect();
        anstream::println!(
            "{}",
            serde_json::json!({ "outputs": outputs, "tensors": all })
        );
    } else {
        anstream::println!("{} tensors written to {}", tensors.len(), outputs.display());
    }
    Ok(())
}

/// Leaves out the states that a file with outputs ended with, unless they are asked for.
fn without_ends(program: &Program, given: &mut Arrays, how: &RunChoices) {
    let outputs = given.keys().any(|n| program.code.find_output(n).is_some());
    if how.start.is_some() || !outputs {
        return;
    }
    let all = given.len();
    given.retain(|name, _| !name.starts_with("state."));
    if given.len() < all {
        anstream::eprintln!(
            "note: the inputs hold outputs as well, so that their states are taken for final ones; `--start N` begins with them"
        );
    }
}

/// Through the compiler; what has no machine code yet runs in the interpreter, and says so.
fn compiled(
    program: &Program,
    given: &Arrays,
    form: &str,
    how: &RunChoices,
    place: &Place,
) -> Result<Arrays, Failure> {
    let form = match (form, Form::of(form)) {
        ("auto", _) => None,
        (_, Some(form)) => Some(form),
        (other, None) => {
            let all: Vec<&str> = Form::ALL.iter().map(|(_, n)| *n).collect();
            return Err(Failure::usage(format!(
                "there is no form `{other}`; there are auto, definition, {}",
                all.join(", ")
            )));
        }
    };
    let resume = given.keys().any(|n| n.starts_with("state."));
    let sizes = sizes(program, given).ok();
    let longest = sizes.map(|s| s.time);
    let workers = sizes.and_then(|s| place.workers(s.batch.max(1)));
    let machine = place.machine_of(how.dtype.precision());
    let tuned = tuned::used(&how.tuned, machine)?;
    let forms = machine.suited(FormOptions {
        form,
        chunk: how.chunk,
        longest,
        workers,
        tuned,
        ..FormOptions::default()
    });
    let purpose = Purpose { resume, forms };
    let lowered = if how.grad {
        let seeds: Vec<&str> = given
            .keys()
            .filter_map(|n| n.strip_prefix("grad."))
            .filter(|n| program.code.find_output(n).is_some() || n.starts_with("state."))
            .collect();
        if seeds.is_empty() {
            return Err(Failure::data(
                "`--grad` takes the cotangents of outputs as tensors `grad.<output>`",
            ));
        }
        with_gradients(program, purpose, &seeds)
    } else {
        forward(program, purpose)
    };
    let Lowered { graph, choices, .. } = match lowered {
        Ok(lowered) => lowered,
        Err(error @ PassError::Limitation { .. }) if !how.grad && form.is_none() => {
            anstream::eprintln!("note: {error}\nnote: run by the definition instead");
            return execute::by_definition(program, given).map_err(Failure::data);
        }
        Err(error) => return Err(Failure::pass(&error)),
    };
    for choice in &choices {
        anstream::eprintln!("{choice}");
    }
    let start = how.start.unwrap_or(0);
    execute_graph(program, &graph, given, start, how.dtype.precision(), place)
}

/// A graph on tensors by name, as machine code; in the interpreter where an op has no kernel.
pub(crate) fn execute_graph(
    program: &Program,
    graph: &Graph,
    given: &Arrays,
    start: usize,
    precision: Precision,
    place: &Place,
) -> Result<Arrays, Failure> {
    native(program, graph, given, start, precision, place)?.or_else(|error| {
        anstream::eprintln!("note: {error}");
        graphs::interpreted(program, graph, given, start, precision)
            .map_err(Failure::data)
    })
}

/// A graph on tensors by name, as machine code, or why there is none yet.
pub(crate) fn native(
    program: &Program,
    graph: &Graph,
    given: &Arrays,
    start: usize,
    precision: Precision,
    place: &Place,
) -> Result<Result<Arrays, PassError>, Failure> {
    let mut sizes = sizes(program, given).map_err(Failure::data)?;
    sizes.start = start;
    let inputs = bound(program, graph, given, &sizes).map_err(Failure::data)?;
    let machine = place.machine_of(precision);
    let artifact = match nestor_compiler::native::compiled(graph, machine) {
        Ok(artifact) => artifact,
        Err(NativeError::Pass(error @ PassError::Limitation { .. })) => {
            return Ok(Err(error));
        }
        Err(error) => return Err(Failure::native(error)),
    };
    let mut executor = place.executor(artifact).map_err(unready)?;
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let tensors: Vec<HostTensor> = graph
        .inputs
        .iter()
        .zip(&inputs)
        .filter(|(named, _)| asked.contains(&named.name))
        .map(|(named, array)| host(&named.name, array, precision))
        .collect();
    let all: Vec<&HostTensor> = tensors.iter().collect();
    let results = executor.run(&all, sizes).map_err(unready)?;
    let named = |t: &HostTensor| (graphs::outward(program, &t.name), array(t));
    Ok(Ok(results.iter().map(named).collect()))
}

impl Dtype {
    fn precision(self) -> Precision {
        match self {
            Dtype::F32 => Precision::F32,
            Dtype::F64 => Precision::F64,
        }
    }
}

/// An array as a file's tensor.
pub(crate) fn host(name: &str, array: &Array, precision: Precision) -> HostTensor {
    let data = match (&array.data, precision) {
        (Values::Real(v), Precision::F32) => {
            Data::F32(v.iter().map(|x| *x as f32).collect())
        }
        (Values::Real(v), Precision::F64) => Data::F64(v.clone()),
        (Values::Int(v), _) => {
            Data::I32(v.iter().map(|x| i32::try_from(*x).unwrap_or(-1)).collect())
        }
        (Values::Bool(v), _) => Data::Bool(v.clone()),
    };
    HostTensor { name: name.to_owned(), dims: array.dims.clone(), data }
}

/// A file's tensor as an array.
pub(crate) fn array(t: &HostTensor) -> Array {
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
