//! What a program of a memory is given in a check: streams as layers give them, and a memory that some sequence has left
//! behind, so that nothing starts from zero.

use indexmap::IndexMap;
use nestor_compiler::interpret::Array;
use nestor_compiler::trained::{Start, starts};
use nestor_compiler::{Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_runtime::train::rng::{self, Stream, initial_values};

type Arrays = IndexMap<String, Array>;

/// Where nothing is drawn.
const NOTHING: rng::Initial = rng::Initial::Constant(0.0);

/// Streams, weights and cotangents of a program's outputs by name, and what a graph with gradients makes of them in float64:
/// memories start near where they are declared to start, or there, where no number comes of it otherwise.
///
/// # Errors
/// Where no number comes of either.
pub fn given(
    program: &Program,
    graph: &Graph,
    sizes: &Sizes,
) -> Result<(Arrays, Arrays), String> {
    let mut worst = String::new();
    for moved in [true, false] {
        let mut all = weights(program, moved)?;
        all.extend(streams(program, sizes));
        all.extend(cotangents(graph, sizes));
        let made = graphs::interpreted(program, graph, &all, 0, Precision::F64);
        let made = made.map_err(|e| e.to_string())?;
        let odd = made.iter().find(|(_, a)| !a.reals().iter().all(|x| x.is_finite()));
        let Some((name, _)) = odd else { return Ok((all, made)) };
        worst = format!("`{name}` is not finite");
    }
    Err(worst)
}

/// Rows with norms around one.
fn rows(name: &str, dims: Vec<usize>) -> Array {
    let mut numbers = Stream::new(1, name);
    let width = dims[2..].last().copied().unwrap_or(1);
    let scale = 1.0 / (width as f64).sqrt();
    let count = dims.iter().product();
    Array::real(dims, (0..count).map(|_| scale * numbers.normal()).collect())
}

fn streams(program: &Program, sizes: &Sizes) -> Arrays {
    let one = |name: &str, clock: nestor_compiler::level::Clock, own: Vec<usize>| {
        let dims = [clock.lead(sizes), own].concat();
        (name.to_owned(), rows(name, dims))
    };
    let inputs = program.inputs.iter();
    let own =
        |dims: &nestor_ir::ty::Dims| dims.iter().filter_map(|d| d.fixed()).collect();
    inputs.map(|i| one(&i.name, i.clock, own(&i.ty.dims))).collect()
}

fn cotangents(graph: &Graph, sizes: &Sizes) -> Arrays {
    let seeds = graph.inputs.iter().filter(|i| i.name.starts_with("grad."));
    seeds
        .map(|i| {
            let dims = graph.ty(i.value).dims.iter().map(|d| d.size(sizes)).collect();
            (i.name.clone(), rows(&i.name, dims))
        })
        .collect()
}

/// Weights as they start; those of memories times numbers around one, and above zero where they start from it.
fn weights(program: &Program, moved: bool) -> Result<Arrays, String> {
    let mut out = Arrays::new();
    for (path, dims, start) in starts(program).map_err(|e| e.to_string())? {
        let numbers = |kind| initial_values(kind, &dims, 3, &path);
        let mut values = match start {
            Start::Values(array) => array.reals().to_vec(),
            Start::Drawn(kind) => numbers(rng::Initial::of(&kind).unwrap_or(NOTHING)),
            Start::Weight(_) => numbers(NOTHING),
        };
        let of_memory = program
            .weights
            .values()
            .any(|w| w.path == path && w.memory.is_some() && !w.fixed);
        if moved && of_memory {
            let mut numbers = Stream::new(2, &path);
            let zero = values.iter().all(|x| *x == 0.0);
            for x in &mut values {
                *x = match zero {
                    true => 0.2 * numbers.uniform(),
                    false => *x * (0.2 * numbers.normal()).exp(),
                };
            }
        }
        out.insert(path, Array::real(dims, values));
    }
    Ok(out)
}
