//! Runs a program by its definition: token by token, in float64.

use indexmap::IndexMap;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::{Array, Data, level};
use nestor_ir::level::{Clock, Input, Program};
use nestor_ir::ty::{Elem, Type};
use thiserror::Error;

/// Why inputs do not fit a program.
#[derive(Debug, Error)]
pub enum RunError {
    /// A tensor that is not there.
    #[error("the tensor `{name}` is missing; expected {expected}")]
    Missing {
        /// Its name.
        name: String,
        /// What it should be.
        expected: String,
    },
    /// A tensor of another shape.
    #[error("the tensor `{name}` is {found}, expected {expected}")]
    Shape {
        /// Its name.
        name: String,
        /// What was given.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A tensor of another kind of elements.
    #[error("the tensor `{name}` holds {found}, expected {expected}")]
    Kind {
        /// Its name.
        name: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A tensor that nothing takes.
    #[error(
        "the tensor `{name}` is no input: rename it or leave it out; the inputs are {known}"
    )]
    Unknown {
        /// Its name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A program without streams, whose sizes nothing tells.
    #[error("no stream tells the batch and the length")]
    NoStream,
    /// The interpreter stopped.
    #[error(transparent)]
    Interpreter(#[from] nestor_ir::interpret::tensor::RunError),
}

/// Outputs and final states by name.
///
/// # Errors
/// Where inputs do not fit, each by its name with the shape found and the shape expected.
pub fn by_definition(
    program: &Program,
    given: &IndexMap<String, Array>,
) -> Result<IndexMap<String, Array>, RunError> {
    let sizes = sizes(program, given)?;
    let mut inputs = IndexMap::new();
    for input in &program.inputs {
        let flat = given.get(&input.name).and_then(|a| unflattened(a, input, &sizes));
        let array = match &flat {
            Some(array) => array,
            None => {
                let lead = input.clock.lead(&sizes);
                fitting(given, &[&input.name], &input.ty, &lead)?
            }
        };
        inputs.insert(input.name.clone(), held(input, &input.name, array)?);
        let ahead = format!("next.{}", input.name);
        if given.contains_key(&ahead) {
            let array = fitting(given, &[&ahead], &input.ty, &input.clock.lead(&sizes))?;
            inputs.insert(ahead.clone(), held(input, &ahead, array)?);
        }
    }
    for weight in program.weights.values() {
        let ty = Type::real(weight.dims.iter().copied());
        let array = fitting(given, &[&weight.short, &weight.path], &ty, &[])?;
        inputs.insert(weight.path.clone(), array.clone());
    }
    self::known(program, given)?;
    Ok(level::run(program, &inputs, &sizes)?)
}

/// Refuses tensors that nothing takes.
///
/// # Errors
/// The first such tensor, with what there is.
pub fn known(program: &Program, given: &IndexMap<String, Array>) -> Result<(), RunError> {
    let names = |name: &str| {
        let stream =
            program.inputs.iter().any(|i| name.trim_start_matches("next.") == i.name);
        let weight = program.weights.values().any(|w| w.path == name || w.short == name);
        let other = ["grad.", "state."].iter().any(|p| name.starts_with(p));
        stream || weight || other || program.code.find_output(name).is_some()
    };
    let Some(name) = given.keys().find(|n| !names(n)) else { return Ok(()) };
    let streams = program.inputs.iter().map(|i| i.name.as_str());
    let weights = program.weights.values().map(|w| w.short.as_str());
    let known: Vec<&str> = streams.chain(weights).collect();
    Err(RunError::Unknown { name: name.clone(), known: known.join(", ") })
}

/// The inputs of a graph, in order, from tensors by name.
///
/// # Errors
/// As [`by_definition`].
pub fn bound(
    program: &Program,
    graph: &nestor_ir::tensor::Graph,
    given: &IndexMap<String, Array>,
    sizes: &Sizes,
) -> Result<Vec<Array>, RunError> {
    let mut out = Vec::new();
    for input in &graph.inputs {
        let ty = graph.ty(input.value);
        let short = program.weights.values().find(|w| w.path == input.name);
        let short = short.map_or(input.name.as_str(), |w| w.short.as_str());
        let stream = program.inputs.iter().find(|i| i.name == input.name);
        let flat = stream
            .and_then(|i| given.get(&input.name).and_then(|a| unflattened(a, i, sizes)));
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
        let array = match &flat {
            Some(array) => array,
            None => shaped(given, &[short, &input.name], &dims)?,
        };
        let ahead = |i: &&Input| input.name == format!("next.{}", i.name);
        let of = stream.or_else(|| program.inputs.iter().find(ahead));
        out.push(match of {
            Some(of) => held(of, &input.name, array)?,
            None => fitting_kind(&input.name, array, ty)?,
        });
    }
    Ok(out)
}

/// B and T, from the first stream.
///
/// # Errors
/// Where no stream tells them.
pub fn sizes(
    program: &Program,
    given: &IndexMap<String, Array>,
) -> Result<Sizes, RunError> {
    // A stream `[n, ..]` may be stored as `[B, T n, ..]`: one stored in full tells the length.
    let stored = |i: &Input| given.get(&i.name).map(|a| (a, i.clone()));
    let full = |(a, i): &(&Array, Input)| a.dims.len() == i.ty.rank() + 2;
    let streams = || program.inputs.iter().filter(|i| i.clock == Clock::Tokens(1));
    let stream =
        streams().filter_map(stored).find(full).or_else(|| streams().find_map(stored));
    let Some((array, input)) = stream else {
        return Err(match streams().next() {
            Some(input) => RunError::Missing {
                name: input.name.clone(),
                expected: expected(&input.ty, &["B", "T"]),
            },
            None => RunError::NoStream,
        });
    };
    if array.dims.len() != input.ty.rank() + 2 {
        return Err(RunError::Shape {
            name: input.name.clone(),
            found: format!("{:?}", array.dims),
            expected: expected(&input.ty, &["B", "T"]),
        });
    }
    Ok(Sizes { batch: array.dims[0], time: array.dims[1], start: 0 })
}

/// A stream `[B, T n, ..]` as `[B, T, n, ..]`.
fn unflattened(array: &Array, input: &Input, sizes: &Sizes) -> Option<Array> {
    let own: Vec<usize> = input.ty.dims.iter().filter_map(|d| d.fixed()).collect();
    let (n, rest) = own.split_first()?;
    let flat: Vec<usize> =
        [sizes.batch, sizes.time * n].into_iter().chain(rest.iter().copied()).collect();
    let dims = [vec![sizes.batch, sizes.time], own.clone()].concat();
    let stream = input.clock == Clock::Tokens(1);
    (stream && array.dims == flat && flat != dims)
        .then(|| Array { dims, data: array.data.clone() })
}

fn expected(ty: &Type, lead: &[&str]) -> String {
    let own = ty.dims.iter().map(ToString::to_string);
    let all: Vec<String> = lead.iter().map(|l| (*l).to_owned()).chain(own).collect();
    format!("[{}]", all.join(", "))
}

fn fitting<'g>(
    given: &'g IndexMap<String, Array>,
    names: &[&str],
    ty: &Type,
    lead: &[usize],
) -> Result<&'g Array, RunError> {
    let own = ty.dims.iter().filter_map(|d| d.fixed());
    let dims: Vec<usize> = lead.iter().copied().chain(own).collect();
    shaped(given, names, &dims)
}

fn shaped<'g>(
    given: &'g IndexMap<String, Array>,
    names: &[&str],
    dims: &[usize],
) -> Result<&'g Array, RunError> {
    let found = names.iter().find_map(|n| given.get(*n).map(|a| (n, a)));
    match found {
        None => Err(RunError::Missing {
            name: names[0].to_owned(),
            expected: format!("{dims:?}"),
        }),
        Some((_, array)) if array.dims == dims => Ok(array),
        Some((name, array)) => Err(RunError::Shape {
            name: (*name).to_owned(),
            found: format!("{:?}", array.dims),
            expected: format!("{dims:?}"),
        }),
    }
}

/// A stream in the kind of its type, its tokens below what they have to be below.
fn held(input: &Input, name: &str, array: &Array) -> Result<Array, RunError> {
    let array = fitting_kind(name, array, &input.ty)?;
    let (Data::Int(values), Some(below)) = (&array.data, input.below) else {
        return Ok(array);
    };
    let bad = values.iter().position(|t| *t < 0 || *t >= below as i64);
    let Some(at) = bad else { return Ok(array) };
    Err(RunError::Kind {
        name: name.to_owned(),
        found: format!("the token {} at {:?}", values[at], place(at, &array.dims)),
        expected: format!("whole numbers from 0 to {}", below - 1),
    })
}

/// The index of element number `at`.
fn place(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut out: Vec<usize> = dims
        .iter()
        .rev()
        .map(|d| {
            let here = at % d;
            at /= d;
            here
        })
        .collect();
    out.reverse();
    out
}

/// An array in the kind of a type.
fn fitting_kind(name: &str, array: &Array, ty: &Type) -> Result<Array, RunError> {
    let fraction = |v: &[f64]| v.iter().copied().find(|x| x.fract() != 0.0);
    let (found, expected) = match (&array.data, ty.elem) {
        (Data::Int(_), Elem::Real) => ("whole numbers".into(), "real numbers"),
        (Data::Bool(_), Elem::Real) => ("conditions".into(), "real numbers"),
        (Data::Bool(_), Elem::Int) => ("conditions".into(), "whole numbers"),
        (Data::Int(_), Elem::Bool) => ("whole numbers".into(), "conditions"),
        (Data::Real(v), Elem::Int) => match fraction(v) {
            Some(x) => (format!("{x}"), "whole numbers"),
            None => return Ok(whole(array, ty)),
        },
        (Data::Real(_), Elem::Real | Elem::Bool)
        | (Data::Int(_), Elem::Int)
        | (Data::Bool(_), Elem::Bool) => return Ok(whole(array, ty)),
    };
    let expected = expected.to_owned();
    Err(RunError::Kind { name: name.to_owned(), found, expected })
}

/// A stream in the kind of its type: files may hold whole numbers as floats.
fn whole(array: &Array, ty: &Type) -> Array {
    let data = match (&array.data, ty.elem) {
        (Data::Real(v), Elem::Int) => Data::Int(v.iter().map(|x| *x as i64).collect()),
        (Data::Real(v), Elem::Bool) => Data::Bool(v.iter().map(|x| *x != 0.0).collect()),
        (data, _) => data.clone(),
    };
    Array { dims: array.dims.clone(), data }
}
