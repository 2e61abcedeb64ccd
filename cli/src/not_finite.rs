//! Where a step of training met a value that is not finite: the step's forward pass is taken again
//! with every value on the way looked at, then its gradients.

use nestor_compiler::Program;
use nestor_compiler::diagnose::{
    Probe, Spot, forward_probe, gradient_probe, weight_place,
};
use nestor_runtime::Sizes;
use nestor_runtime::executor::{Executor, first_not_finite};
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::Place;

/// The place of the first value that is not finite, in the order of the model; of gradients, the
/// one nearest to the loss, where they start.
pub(crate) fn find(
    program: &Program,
    state: &[HostTensor],
    streams: &[HostTensor],
    rows: usize,
    length: usize,
) -> Place {
    if let Some(path) = first_not_finite(state) {
        return weight(program, path);
    }
    let forward = forward_probe(program).ok();
    if let Some(place) = forward.and_then(|p| first(p, state, streams, rows, length)) {
        return place;
    }
    let gradients = gradient_probe(program).ok();
    let found = gradients.and_then(|p| last(p, state, streams, rows, length));
    found.unwrap_or_else(|| Place {
        what: "the length of the gradient".into(),
        level: None,
        memory: None,
    })
}

/// The place of a weight or an optimiser state.
pub(crate) fn weight(program: &Program, path: &str) -> Place {
    let unknown = || Place { what: format!("`{path}`"), level: None, memory: None };
    weight_place(program, path).map_or_else(unknown, |spot| place(&spot))
}

fn place(spot: &Spot) -> Place {
    Place {
        what: spot.what.clone(),
        level: spot.level.clone(),
        memory: spot.memory.clone(),
    }
}

fn bad(spot: &Spot, found: &[HostTensor]) -> bool {
    let Some(tensor) = found.iter().find(|t| t.name == spot.output) else { return false };
    let Data::F32(values) = &tensor.data else { return false };
    let meant = |x: &f32| spot.masked && *x == f32::NEG_INFINITY;
    values.iter().any(|x| !x.is_finite() && !meant(x))
}

/// The first bad spot of any sequence; one sequence at a time, since everything is kept.
fn first(
    probe: Probe,
    state: &[HostTensor],
    streams: &[HostTensor],
    rows: usize,
    length: usize,
) -> Option<Place> {
    let mut executor = Executor::new(probe.artifact).ok()?;
    let mut first: Option<usize> = None;
    for row in 0..rows {
        let own: Vec<HostTensor> = streams
            .iter()
            .filter_map(|s| {
                let part = row * length..(row + 1) * length;
                let data = match &s.data {
                    Data::I32(v) => Data::I32(v[part].to_vec()),
                    Data::Bool(v) => Data::Bool(v[part].to_vec()),
                    _ => return None,
                };
                Some(HostTensor { name: s.name.clone(), dims: vec![1, length], data })
            })
            .collect();
        let found = run(&mut executor, state, &own, 1, length)?;
        let here = probe.spots.iter().position(|spot| bad(spot, &found));
        first = first.into_iter().chain(here).min();
    }
    first.map(|n| place(&probe.spots[n]))
}

/// The last weight whose gradient is bad; where only their length is, the weight of the largest.
fn last(
    probe: Probe,
    state: &[HostTensor],
    streams: &[HostTensor],
    rows: usize,
    length: usize,
) -> Option<Place> {
    let mut executor = Executor::new(probe.artifact).ok()?;
    let seed = executor.inputs().into_iter().find(|(n, _)| *n == "grad.loss")?;
    let (dims, each) = match seed.1.rank() {
        0 => (vec![], 1.0),
        _ => (vec![rows, length], 1.0 / (rows * length) as f32),
    };
    let seed = HostTensor::f32("grad.loss", &dims, vec![each; dims.iter().product()]);
    let given: Vec<HostTensor> = streams.iter().cloned().chain([seed]).collect();
    let found = run(&mut executor, state, &given, rows, length)?;
    if let Some(spot) = probe.spots.iter().rev().find(|spot| bad(spot, &found)) {
        return Some(place(spot));
    }
    let largest = |spot: &&Spot| {
        let tensor = found.iter().find(|t| t.name == spot.output);
        match tensor.map(|t| &t.data) {
            Some(Data::F32(v)) => v.iter().fold(0.0f32, |m, x| m.max(x.abs())),
            _ => 0.0,
        }
    };
    let spot = probe.spots.iter().max_by(|a, b| largest(a).total_cmp(&largest(b)))?;
    let what = format!("the length of the gradient, the largest being {}", spot.what);
    Some(Place { what, ..place(spot) })
}

fn run(
    executor: &mut Executor,
    state: &[HostTensor],
    streams: &[HostTensor],
    rows: usize,
    length: usize,
) -> Option<Vec<HostTensor>> {
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let given: Vec<&HostTensor> =
        streams.iter().chain(state).filter(|t| asked.contains(&t.name)).collect();
    executor.run(&given, Sizes { batch: rows, time: length, start: 0 }).ok()
}
