//! Inputs for a check: where a rule is defined, and where it does something.
//!
//! Vectors are drawn with norms around one, as layers give them. A gate (a number an instance, or
//! what only the algorithm or the retention takes) is drawn from the one of three ranges in which
//! the memory keeps most of how it started without growing: that is what a gate is for. Weights
//! start as they are declared. Where outputs or gradients are not numbers then, or outputs have no
//! slope, rates are tried a tenth as large, and after that initial values of memories above 0 with
//! columns that sum to 1.

use super::Arrays;
use super::slope::slope;
use crate::fail::Failure;
use crate::model::initial;
use crate::run::array;
use indexmap::IndexMap;
use nestor_compiler::interpret::distance::distances;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::level::{AlgorithmInput, RetentionInput, Statement};
use nestor_compiler::pipeline::{derived, reference};
use nestor_compiler::tensor::{Graph, Op, Value};
use nestor_compiler::{Precision, Program, graphs};
use nestor_runtime::Sizes;
use nestor_runtime::train::rng::Stream;

/// Sequences and tokens: neither is a multiple of anything.
pub(super) const BATCH: usize = 2;
/// Tokens.
pub(super) const TIME: usize = 37;
/// Tokens of the runs that choose ranges.
const TRIAL: usize = 16;
/// How much of a change of the initial weights may be left at the end.
const GROWTH: f64 = 1.05;
/// How far the derived walk may be from itself in float32: beyond, inputs are near a pole.
const CONDITION: f64 = 1e-2;

/// A range of numbers.
type Range = (f64, f64);

/// Rates.
const RATES: Range = (0.02, 0.2);
/// Other ranges of gates: factors kept, logarithms of factors kept.
const KEPT: [Range; 2] = [(0.8, 0.98), (-0.2, -0.02)];

/// Inputs with cotangents, what the derived walk makes of them, and its own errors.
pub(super) struct Sound {
    /// The derived walk.
    pub(super) walk: Graph,
    /// Inputs and cotangents by name.
    pub(super) given: Arrays,
    /// Outputs, states and gradients in float64.
    pub(super) expected: Arrays,
    /// Distance of each in float32.
    pub(super) rounding: IndexMap<String, f64>,
    /// Distance of gradients from differences of outputs.
    pub(super) slope: f64,
    /// What does not start as declared.
    pub(super) drawn: Vec<String>,
}

/// Inputs at which a program is well defined.
pub(super) fn drawn(program: &Program, outputs: &[String]) -> Result<Sound, Failure> {
    let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let graph = reference(program, &names).map_err(|e| Failure::pass(&e))?;
    let walk = derived(program, false).map_err(|e| Failure::pass(&e))?;
    let mut last = String::new();
    for (simplex, scale) in [(false, 1.0), (false, 0.1), (true, 1.0), (true, 0.1)] {
        let (weights, mut drawn) = weights(program, simplex)?;
        if simplex && drawn.is_empty() {
            break;
        }
        let rates = (scale * RATES.0, scale * RATES.1);
        if scale < 1.0 {
            drawn.push(format!("rates between {:.3} and {:.3}", rates.0, rates.1));
        }
        let given = streams(program, &walk, weights, rates);
        match sound(program, &graph, &walk, given, drawn)? {
            Ok(sound) => return Ok(sound),
            Err(why) => last = why,
        }
    }
    Err(Failure::bug(format!("{last} on drawn inputs: nothing to compare with")))
}

/// The derived walk on these inputs, or what is not a number or hangs on rounding.
fn sound(
    program: &Program,
    graph: &Graph,
    walk: &Graph,
    mut given: Arrays,
    drawn: Vec<String>,
) -> Result<Result<Sound, String>, Failure> {
    let run = |graph: &Graph, given: &Arrays, precision| {
        graphs::interpreted(program, graph, given, 0, precision).map_err(Failure::bug)
    };
    let forward = run(walk, &given, Precision::F64)?;
    for output in &program.code.outputs {
        let Some(found) = forward.get(&output.name) else { continue };
        let mut numbers = Stream::new(2, &output.name);
        let values = (0..found.len()).map(|_| numbers.normal()).collect();
        given.insert(
            format!("grad.{}", output.name),
            Array::real(found.dims.clone(), values),
        );
    }
    let expected = run(graph, &given, Precision::F64)?;
    if let Some((name, _)) = expected.iter().find(|(_, a)| !finite(a)) {
        return Ok(Err(format!("`{name}` is not finite")));
    }
    let single = run(graph, &given, Precision::F32)?;
    let rounding = distances(&single, &expected);
    let far = rounding.iter().find(|(_, off)| off.is_nan() || **off > CONDITION);
    if let Some((name, off)) = far {
        return Ok(Err(format!("`{name}` is off by {off:.0e} in float32 by rounding")));
    }
    Ok(match slope(program, walk, &given, &expected)? {
        Some(slope) => {
            Ok(Sound { walk: walk.clone(), given, expected, rounding, slope, drawn })
        }
        None => Err("outputs have no slope".to_owned()),
    })
}

fn finite(a: &Array) -> bool {
    match &a.data {
        Data::Real(v) => v.iter().all(|x| x.is_finite()),
        Data::Int(_) | Data::Bool(_) => true,
    }
}

/// Weights as they start; those of memories with columns that sum to 1, where asked.
fn weights(program: &Program, simplex: bool) -> Result<(Arrays, Vec<String>), Failure> {
    let starts = initial(program, 0)?;
    let (mut out, mut drawn) = (Arrays::new(), Vec::new());
    for weight in program.weights.values() {
        let Some(start) = starts.iter().find(|t| t.name == weight.path) else { continue };
        let mut start = array(start);
        if simplex && weight.memory.is_some() && !weight.fixed {
            start = columns(&weight.path, &start.dims);
            drawn.push(format!("{} with columns that sum to 1", weight.short));
        }
        out.insert(weight.path.clone(), start);
    }
    Ok((out, drawn))
}

/// Numbers above 0 that sum to 1 along the axis before the last.
fn columns(name: &str, dims: &[usize]) -> Array {
    let mut numbers = Stream::new(4, name);
    let mut values: Vec<f64> =
        (0..dims.iter().product()).map(|_| 0.2 + numbers.uniform()).collect();
    let width = dims.last().copied().unwrap_or(1);
    let height = if dims.len() < 2 { 1 } else { dims[dims.len() - 2] };
    if dims.len() >= 2 {
        for matrix in values.chunks_exact_mut(width * height) {
            for c in 0..width {
                let total: f64 = (0..height).map(|r| matrix[r * width + c]).sum();
                (0..height).for_each(|r| matrix[r * width + c] /= total);
            }
        }
    }
    Array::real(dims.to_vec(), values)
}

/// Streams by name, beside the weights.
fn streams(program: &Program, walk: &Graph, weights: Arrays, rates: Range) -> Arrays {
    let gates = gates(program);
    let mut out = weights;
    for input in &program.inputs {
        for name in [input.name.clone(), format!("next.{}", input.name)] {
            let sizes = Sizes { batch: BATCH, time: TIME, start: 0 };
            let dims: Vec<usize> = input
                .clock
                .lead(&sizes)
                .into_iter()
                .chain(input.ty.dims.iter().filter_map(|d| d.fixed()))
                .collect();
            let array = match input.below {
                Some(below) => whole(&name, dims, below),
                None if gates.contains(&input.name) => uniform(&name, dims, rates),
                None => normal(&name, dims),
            };
            out.insert(name, array);
        }
    }
    for gate in &gates {
        let dims = out[gate].dims.clone();
        let score = |range| {
            let mut tried = out.clone();
            tried.insert(gate.clone(), uniform(gate, dims.clone(), range));
            let kept = kept(program, walk, &tried).unwrap_or(f64::INFINITY);
            if kept <= GROWTH { kept } else { 0.9 * GROWTH / kept }
        };
        let mut best = (score(rates), rates);
        for range in KEPT {
            let found = score(range);
            if found > 1.01 * best.0 {
                best = (found, range);
            }
        }
        out.insert(gate.clone(), uniform(gate, dims.clone(), best.1));
    }
    out
}

/// How much of a small change of all initial weights of memories is left in the final states.
fn kept(program: &Program, walk: &Graph, given: &Arrays) -> Option<f64> {
    let given = prefix(program, given, 1, TRIAL);
    let mut moved = given.clone();
    let mut size = 0.0;
    for weight in program.weights.values().filter(|w| w.memory.is_some()) {
        let array = &given[&weight.path];
        let mut numbers = Stream::new(5, &weight.path);
        let by: Vec<f64> = (0..array.len()).map(|_| 1e-4 * numbers.normal()).collect();
        size += by.iter().map(|x| x * x).sum::<f64>();
        let values = array.reals().iter().zip(&by).map(|(x, d)| x + d).collect();
        moved.insert(weight.path.clone(), Array::real(array.dims.clone(), values));
    }
    let run = |given: &Arrays| {
        graphs::interpreted(program, walk, given, 0, Precision::F64).ok()
    };
    let (a, b) = (run(&given)?, run(&moved)?);
    let mut off = 0.0;
    for (name, x) in a.iter().filter(|(n, _)| n.starts_with("state.")) {
        off += x
            .reals()
            .iter()
            .zip(b[name].reals())
            .map(|(x, y)| (x - y) * (x - y))
            .sum::<f64>();
    }
    let ratio = (off / size.max(f64::MIN_POSITIVE)).sqrt();
    ratio.is_finite().then_some(ratio)
}

/// The first sequences and tokens of inputs.
pub(super) fn prefix(
    program: &Program,
    given: &Arrays,
    batch: usize,
    time: usize,
) -> Arrays {
    let mut out = given.clone();
    out.retain(|n, _| !n.starts_with("grad."));
    for (name, array) in &mut out {
        let stream =
            program.inputs.iter().find(|i| name.trim_start_matches("next.") == i.name);
        if let Some(stream) = stream {
            let lead = stream.clock.lead(&Sizes { batch, time, start: 0 });
            let dims = [&lead, &array.dims[lead.len()..]].concat();
            *array = array.rearranged(dims, |i| Some(i.to_vec()));
        }
    }
    out
}

fn whole(name: &str, dims: Vec<usize>, below: usize) -> Array {
    let mut numbers = Stream::new(1, name);
    let count = dims.iter().product();
    Array::int(dims, (0..count).map(|_| numbers.below(below as u64) as i64).collect())
}

fn uniform(name: &str, dims: Vec<usize>, (from, to): Range) -> Array {
    let mut numbers = Stream::new(1, name);
    let count = dims.iter().product();
    let values = (0..count).map(|_| from + (to - from) * numbers.uniform()).collect();
    Array::real(dims, values)
}

/// Rows with norms around one.
fn normal(name: &str, dims: Vec<usize>) -> Array {
    let mut numbers = Stream::new(1, name);
    let width = if dims.len() > 2 { dims[dims.len() - 1] } else { 1 };
    let scale = 1.0 / (width as f64).sqrt();
    let count = dims.iter().product();
    Array::real(dims, (0..count).map(|_| scale * numbers.normal()).collect())
}

/// Streams that are gates: as many numbers as instances, or taken by nothing but algorithms and
/// retentions.
fn gates(program: &Program) -> Vec<String> {
    let code = &program.code;
    let mut taken: Vec<Value> = Vec::new();
    let mut other: Vec<Value> = code.outputs.iter().map(|o| o.value).collect();
    for node in code.nodes.values() {
        let Op::Write { statement } = node.op else {
            if let Op::Read { .. } = node.op {
                other.extend(&node.operands);
            }
            continue;
        };
        match &program.statements[statement] {
            Statement::Update(_) => other.extend(&node.operands),
            Statement::Minimize(m) => {
                for (c, &value) in node.operands.iter().enumerate() {
                    let own = m.targets.iter().any(|t| {
                        let retention = t.retention.iter().flat_map(|r| &r.inputs);
                        t.algorithm.inputs.contains(&AlgorithmInput::Captured(c))
                            || retention
                                .copied()
                                .any(|i| i == RetentionInput::Captured(c))
                    });
                    if own { taken.push(value) } else { other.push(value) }
                }
            }
        }
    }
    let taken = reached(code, taken);
    let other = reached(code, other);
    let maps = program.memories.values().map(|m| m.map.len()).max();
    let gate = |n: usize| {
        let input = &program.inputs[n];
        let value = code.inputs[n].value;
        let scalar = maps.is_some_and(|maps| input.ty.rank() <= maps);
        let captured = taken.contains(&value) && !other.contains(&value);
        input.below.is_none() && (scalar || captured)
    };
    (0..program.inputs.len())
        .filter(|&n| gate(n))
        .map(|n| program.inputs[n].name.clone())
        .collect()
}

/// All that values are made of.
fn reached(code: &Graph, from: Vec<Value>) -> Vec<Value> {
    let mut all = from;
    let mut n = 0;
    while n < all.len() {
        let node = code.def(all[n]);
        let through = !matches!(node.op, Op::Read { .. });
        for &v in node.operands.iter().filter(|_| through) {
            if !all.contains(&v) {
                all.push(v);
            }
        }
        n += 1;
    }
    all
}
