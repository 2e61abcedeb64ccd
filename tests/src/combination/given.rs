//! Numbers for everything that a draw takes.

use super::{Die, Draw};
use indexmap::IndexMap;
use nestor_compiler::Program;
use nestor_compiler::interpret::{Array, Data};
use nestor_ir::dim::Dim;
use nestor_runtime::train::rng::Stream;

fn own(dims: &[Dim]) -> Vec<usize> {
    dims.iter().filter_map(|d| d.fixed()).collect()
}

/// Streams of all tokens, those that went before among them, and weights.
pub fn given(draw: &Draw, program: &Program) -> IndexMap<String, Array> {
    let die = Die { seed: draw.seed };
    let time = draw.before + draw.time;
    let keys = die.below("keys", 3);
    let mut out = IndexMap::new();
    for input in &program.inputs {
        let dims = [vec![draw.batch, time], own(&input.ty.dims)].concat();
        let size: usize = dims[2..].iter().product();
        let mut stream = Stream::new(draw.seed, &format!("values of {}", input.name));
        let common: Vec<f64> = (0..draw.batch * size).map(|_| stream.normal()).collect();
        let mut values: Vec<f64> = Vec::new();
        for row in 0..draw.batch {
            for t in 0..time {
                for i in 0..size {
                    let z = stream.normal();
                    let last = values.len().checked_sub(size).map(|at| values[at]);
                    values.push(match input.name.as_str() {
                        // Near a common key, or the last one again for some tokens.
                        "k" | "p" => match (keys, last) {
                            (0, _) => 0.6 * z,
                            (1, Some(last)) if t % 5 != 0 => last,
                            _ => 0.5 * common[row * size + i] + 0.2 * z,
                        },
                        "alpha" => match (z.abs() * 1000.0) as usize % 9 {
                            0 => 0.0,
                            1 => (-20f64).exp(),
                            _ => 1.0 / (1.0 + (-z - 2.0).exp()),
                        },
                        "beta" | "eta" | "rho" => 0.8 / (1.0 + (-z).exp()),
                        "rate" | "gamma" => 0.3 / (1.0 + (-z).exp()),
                        "delta" => 0.5 + z.abs(),
                        _ => z,
                    });
                }
            }
        }
        out.insert(input.name.clone(), Array::real(dims, values));
    }
    for weight in program.weights.values() {
        let dims = own(&weight.dims);
        let mut stream = Stream::new(draw.seed, &format!("start of {}", weight.short));
        let mut number = || match draw.positive {
            true => 0.1 + 0.8 * stream.uniform(),
            false => 0.4 * stream.normal(),
        };
        let values = (0..dims.iter().product()).map(|_| number()).collect();
        out.insert(weight.short.clone(), Array::real(dims, values));
    }
    out
}

/// A state as no sequence has left it: every number times one of its own. Counts stay.
pub fn moved(seed: u64, name: &str, array: &Array) -> Array {
    let Data::Real(values) = &array.data else { return array.clone() };
    if name.starts_with("state.count") {
        return array.clone();
    }
    let mut stream = Stream::new(seed, &format!("moves {name}"));
    let moved = values.iter().map(|x| x * (0.3 * stream.normal()).exp());
    Array::real(array.dims.clone(), moved.collect())
}
