//! Gradients without a derivative table: differences of eighth order, conditions held.
//!
//! The second opinion on inner differentiation. Every condition, and every choice that `abs`,
//! `sign`, `floor`, `max` and `min` make, is taken at the base point and kept while an element is
//! moved, which is what the language says a gradient sees. What is left is smooth, but nothing
//! says on what scale: a layer norm of small weights bends within a thousandth. So each element
//! is differenced at several steps, and the step is kept at which the stencils of sixth and eighth
//! order, which share their points, agree best.

use super::array::{Array, Data};
use super::tensor::{RunError, evaluate, results_of};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::tensor::{Graph, NodeData, Op, Value};
use crate::ty::Elem;

/// How far an element is moved, the longest first: rounding is of the size of the objective, not of its slope, so a flat
/// objective wants long steps.
const STEPS: [f64; 4] = [2e-2, 2e-3, 2e-4, 2e-5];
/// Weights of the central difference of eighth order, at 1 to 4 steps.
const EIGHTH: [f64; 4] = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
/// And of sixth order.
const SIXTH: [f64; 4] = [3.0 / 4.0, -3.0 / 20.0, 1.0 / 60.0, 0.0];
/// Where the two agree to this, relative to the differences taken, no shorter step is tried:
/// rounding is of this size.
const ENOUGH: f64 = 1e-12;

/// The gradient of the graph's one scalar output with respect to input `wrt`.
pub(super) fn gradient(
    graph: &Graph,
    inputs: &[Array],
    wrt: usize,
    sizes: &Sizes,
) -> Result<Array, RunError> {
    let base = evaluate(graph, inputs, sizes, Precision::F64)?;
    let moving = moving(graph, wrt);
    let mut moved: Vec<Option<Array>> = vec![None; graph.values.len()];
    let at = |element: usize, by: f64| -> Result<f64, RunError> {
        let mut input = inputs[wrt].clone();
        if let Data::Real(values) = &mut input.data {
            values[element] += by;
        }
        moved[graph.inputs[wrt].value.index()] = Some(input);
        held(graph, &moving, &mut moved, &base, sizes)
    };
    let found = slopes(inputs[wrt].len(), at)?;
    Ok(Array::real(inputs[wrt].dims.clone(), found))
}

/// The slope along every one of `count` elements, given the objective with one of them moved.
pub(super) fn slopes(
    count: usize,
    mut at: impl FnMut(usize, f64) -> Result<f64, RunError>,
) -> Result<Vec<f64>, RunError> {
    let mut out = Vec::with_capacity(count);
    for element in 0..count {
        let mut best = (f64::INFINITY, f64::NAN);
        for step in STEPS {
            let (mut eighth, mut sixth, mut size) = (0.0, 0.0, 0.0_f64);
            for k in 0..EIGHTH.len() {
                let by = step * (k + 1) as f64;
                let (after, before) = (at(element, by)?, at(element, -by)?);
                eighth += EIGHTH[k] * (after - before);
                sixth += SIXTH[k] * (after - before);
                size = size.max(after.abs()).max(before.abs());
            }
            let off = (eighth - sixth).abs();
            if off / step < best.0 || best.1.is_nan() {
                best = (off / step, eighth / step);
            }
            if off <= ENOUGH * size {
                break;
            }
        }
        out.push(best.1);
    }
    Ok(out)
}

/// What a node gives where every choice is as at the base point; nothing where it chooses nothing.
pub(super) fn as_it_was(
    graph: &Graph,
    node: &NodeData,
    x: &[&Array],
    base: &[Array],
) -> Option<Array> {
    let result = *node.results.first()?;
    let was = &base[result.index()];
    if graph.ty(result).elem != Elem::Real {
        return Some(was.clone());
    }
    let operand = |n: usize| base[node.operands[n].index()].reals();
    let choose = |f: &dyn Fn(usize) -> f64| {
        let data = (0..was.len()).map(f).collect();
        Some(Array::real(was.dims.clone(), data))
    };
    match node.op {
        Op::Sign | Op::Floor | Op::Stop => Some(was.clone()),
        Op::Abs => choose(&|i| x[0].reals()[i] * operand(0)[i].signum()),
        Op::Max => choose(&|i| x[usize::from(operand(0)[i] < operand(1)[i])].reals()[i]),
        Op::Min => choose(&|i| x[usize::from(operand(0)[i] > operand(1)[i])].reals()[i]),
        _ => None,
    }
}

/// Runs a graph that holds marks of gradients of its own: each is taken by differences.
pub(super) fn with_gradients(
    graph: &Graph,
    inputs: &[Array],
    sizes: &Sizes,
) -> Result<Vec<Array>, RunError> {
    let mut values: Vec<Option<Array>> = vec![None; graph.values.len()];
    let of = |values: &[Option<Array>], v: Value| {
        values[v.index()].clone().ok_or(RunError::Op("gradient"))
    };
    for node in graph.nodes.values() {
        let x: Vec<Array> = node
            .operands
            .iter()
            .map(|v| of(&values, *v))
            .collect::<Result<_, RunError>>()?;
        let results = match &node.op {
            Op::Input { index, .. } => vec![inputs[*index].clone()],
            Op::Gradient => {
                let known = |v: Value| of(&values, v);
                vec![mark(graph, (node.operands[0], node.operands[1]), &known, sizes)?]
            }
            _ => results_of(node, &x.iter().collect::<Vec<_>>(), sizes, Precision::F64)?,
        };
        for (v, result) in node.results.iter().zip(results) {
            values[v.index()] = Some(result);
        }
    }
    graph.outputs.iter().map(|o| of(&values, o.value)).collect()
}

/// The gradient of a value of a graph at another one of it; all that does not depend on that is given.
fn mark(
    graph: &Graph,
    (objective, anchor): (Value, Value),
    known: &dyn Fn(Value) -> Result<Array, RunError>,
    sizes: &Sizes,
) -> Result<Array, RunError> {
    let mut part = Graph::new();
    let mut given = vec![known(anchor)?];
    let mut map: Vec<Option<Value>> = vec![None; graph.values.len()];
    map[anchor.index()] = Some(part.input("anchor", graph.ty(anchor).clone()));
    for node in graph.nodes.values() {
        if !node.operands.iter().any(|v| map[v.index()].is_some()) {
            continue;
        }
        if node.op == Op::Gradient {
            continue;
        }
        let mut operands = Vec::new();
        for &v in &node.operands {
            if map[v.index()].is_none() {
                let name = format!("x{}", given.len());
                given.push(known(v)?);
                map[v.index()] = Some(part.input(name, graph.ty(v).clone()));
            }
            operands.extend(map[v.index()]);
        }
        let results = part.add_many(node.op.clone(), &operands);
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = Some(to);
        }
        if node.results.contains(&objective) {
            break;
        }
    }
    let Some(value) = map[objective.index()] else {
        return Ok(Array::zeros(Elem::Real, given[0].dims.clone()));
    };
    part.output("objective", value);
    gradient(&part, &given, 0, sizes)
}

/// The nodes that an input moves, in order; what a choice fixes moves no further.
fn moving(graph: &Graph, wrt: usize) -> Vec<&NodeData> {
    let mut moves = vec![false; graph.values.len()];
    moves[graph.inputs[wrt].value.index()] = true;
    let mut out = Vec::new();
    for node in graph.nodes.values() {
        let fixed = matches!(node.op, Op::Input { .. } | Op::Sign | Op::Floor | Op::Stop)
            || node.results.iter().all(|v| graph.ty(*v).elem != Elem::Real);
        if !fixed && node.operands.iter().any(|v| moves[v.index()]) {
            node.results.iter().for_each(|v| moves[v.index()] = true);
            out.push(node);
        }
    }
    out
}

/// The objective with every choice as at the base point. What does not move is as it was there, too.
fn held(
    graph: &Graph,
    moving: &[&NodeData],
    moved: &mut [Option<Array>],
    base: &[Array],
    sizes: &Sizes,
) -> Result<f64, RunError> {
    for node in moving {
        let of = |v: &Value| moved[v.index()].as_ref().unwrap_or(&base[v.index()]);
        let operands: Vec<&Array> = node.operands.iter().map(of).collect();
        let results = match as_it_was(graph, node, &operands, base) {
            Some(one) => vec![one],
            None => results_of(node, &operands, sizes, Precision::F64)?,
        };
        for (value, result) in node.results.iter().zip(results) {
            moved[value.index()] = Some(result);
        }
    }
    let objective = graph.outputs.first().map(|o| {
        moved[o.value.index()].as_ref().unwrap_or(&base[o.value.index()]).reals()[0]
    });
    objective.ok_or(RunError::Count { found: 0, expected: 1 })
}
