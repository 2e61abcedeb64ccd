//! Runs a tensor graph, node by node, in float64 or with every result rounded to float32.
//!
//! The graph may still hold marks: `gradient` is evaluated by central differences nowhere here;
//! a graph is differentiated before it runs, so a `gradient` node is an error.

use super::array::{Array, Data, indices};
use super::{elementwise, linear, scan};
use crate::artifact::Precision;
use crate::dim::{Dim, Sizes};
use crate::entity::Entity;
use crate::tensor::{Graph, Group, NodeData, Op, Value};
use thiserror::Error;

/// Why a graph could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// An input of the wrong shape or kind.
    #[error("input `{name}` is {found}, the graph takes {expected}")]
    Input {
        /// The input.
        name: String,
        /// What was given.
        found: String,
        /// What the graph takes.
        expected: String,
    },
    /// A different number of inputs.
    #[error("{found} inputs given, the graph takes {expected}")]
    Count {
        /// Given.
        found: usize,
        /// Taken.
        expected: usize,
    },
    /// An op that has no meaning here.
    #[error("`{0}` has no value: a pass must remove it first")]
    Op(&'static str),
}

/// Runs a graph on inputs in order; gives its outputs in order.
///
/// # Errors
/// Where inputs do not fit, or a mark is left that has no value.
pub fn run(
    graph: &Graph,
    inputs: &[Array],
    sizes: &Sizes,
    precision: Precision,
) -> Result<Vec<Array>, RunError> {
    let values = evaluate(graph, inputs, sizes, precision)?;
    Ok(graph.outputs.iter().map(|o| values[o.value.index()].clone()).collect())
}

/// Runs a graph and gives every value, by its index.
///
/// # Errors
/// As [`run`].
pub fn evaluate(
    graph: &Graph,
    inputs: &[Array],
    sizes: &Sizes,
    precision: Precision,
) -> Result<Vec<Array>, RunError> {
    evaluate_with(graph, inputs, sizes, precision, &mut |_, _| Ok(None))
}

/// What a hook says of a node: its results, or nothing where it has its usual meaning.
pub(super) type Said = Result<Option<Vec<Array>>, RunError>;

/// As [`evaluate`], but `hook` is asked first what each node means.
pub(super) fn evaluate_with(
    graph: &Graph,
    inputs: &[Array],
    sizes: &Sizes,
    precision: Precision,
    hook: &mut dyn FnMut(&NodeData, &[&Array]) -> Said,
) -> Result<Vec<Array>, RunError> {
    if inputs.len() != graph.inputs.len() {
        return Err(RunError::Count {
            found: inputs.len(),
            expected: graph.inputs.len(),
        });
    }
    for (given, named) in inputs.iter().zip(&graph.inputs) {
        let ty = graph.ty(named.value);
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
        if given.dims != dims || given.elem() != ty.elem {
            return Err(RunError::Input {
                name: named.name.clone(),
                found: format!("{:?} {:?}", given.elem(), given.dims),
                expected: format!("{ty}, here {dims:?}"),
            });
        }
    }
    let nothing = Array::zeros(crate::ty::Elem::Real, vec![]);
    let mut values: Vec<Array> = vec![nothing; graph.values.len()];
    for node in graph.nodes.values() {
        let operands: Vec<&Array> =
            node.operands.iter().map(|v: &Value| &values[v.index()]).collect();
        let results = match (&node.op, hook(node, &operands)?) {
            (_, Some(said)) => said,
            (Op::Input { index, .. }, None) => vec![inputs[*index].clone()],
            (_, None) => results_of(node, &operands, sizes, precision)?,
        };
        for (&value, mut result) in node.results.iter().zip(results) {
            let expected: Vec<usize> =
                graph.ty(value).dims.iter().map(|d| d.size(sizes)).collect();
            debug_assert_eq!(result.dims, expected, "{}", node.op.info().name);
            round(&mut result, precision);
            values[value.index()] = result;
        }
    }
    Ok(values)
}

/// What a node that is no input gives.
pub(super) fn results_of(
    node: &NodeData,
    operands: &[&Array],
    sizes: &Sizes,
    precision: Precision,
) -> Result<Vec<Array>, RunError> {
    match &node.op {
        Op::Scan { scan } => scan::run(scan, operands, sizes, precision),
        op => Ok(vec![single(op, operands, sizes)?]),
    }
}

fn round(array: &mut Array, precision: Precision) {
    if let (Precision::F32, Data::Real(v)) = (precision, &mut array.data) {
        for x in v {
            *x = single_precision(*x);
        }
    }
}

/// A number as float32 holds it where programs run: what is too small to be held in full is 0.
pub(super) fn single_precision(x: f64) -> f64 {
    let x = x as f32;
    if x.is_subnormal() { 0.0 } else { f64::from(x) }
}

fn single(op: &Op, x: &[&Array], sizes: &Sizes) -> Result<Array, RunError> {
    let shape = |dims: &[crate::dim::Dim]| -> Vec<usize> {
        dims.iter().map(|d| d.size(sizes)).collect()
    };
    Ok(match op.info().group {
        Group::Leaf => leaf(op, &shape, sizes)?,
        Group::Unary => elementwise::unary(op, x[0]),
        Group::Binary => elementwise::binary(op, x[0], x[1]),
        Group::Select => elementwise::select(x[0], x[1], x[2]),
        Group::Move => moved(op, x, &shape),
        Group::Reduce
        | Group::Contract
        | Group::Index
        | Group::Solve
        | Group::Control => computed(op, x)?,
        Group::Mark => match op {
            Op::Stop | Op::Anchor => x[0].clone(),
            other => return Err(RunError::Op(other.info().name)),
        },
        Group::Token => return Err(RunError::Op(op.info().name)),
    })
}

fn leaf(
    op: &Op,
    shape: &dyn Fn(&[crate::dim::Dim]) -> Vec<usize>,
    sizes: &Sizes,
) -> Result<Array, RunError> {
    Ok(match op {
        Op::Constant { value, ty } => {
            let mut out = Array::zeros(ty.elem, shape(&ty.dims));
            match &mut out.data {
                Data::Real(v) => v.fill(*value),
                Data::Int(v) => v.fill(*value as i64),
                Data::Bool(v) => v.fill(*value != 0.0),
            }
            out
        }
        Op::Iota { axis, dims } => {
            let dims = shape(dims);
            let data = indices(&dims).map(|i| i[*axis] as f64).collect();
            Array::real(dims, data)
        }
        Op::Position { dims } => {
            let every = dims.first().and_then(|d| d.ticks_of());
            let start = every.map_or(sizes.start, |every| sizes.every(every).start);
            let dims = shape(dims);
            let n: usize = dims.iter().product();
            Array::real(dims, (0..n).map(|t| (start + t) as f64).collect())
        }
        other => return Err(RunError::Op(other.info().name)),
    })
}

fn moved(
    op: &Op,
    x: &[&Array],
    shape: &dyn Fn(&[crate::dim::Dim]) -> Vec<usize>,
) -> Array {
    let a = x[0];
    let with = |axis: usize, n: usize| {
        let mut dims = a.dims.clone();
        dims[axis] = n;
        dims
    };
    let at = |index: &[usize], axis: usize, n: usize| {
        let mut index = index.to_vec();
        index[axis] = n;
        Some(index)
    };
    match op {
        Op::Reshape { dims } => Array { dims: shape(dims), data: a.data.clone() },
        Op::Transpose { order } => {
            let dims = order.iter().map(|&i| a.dims[i]).collect();
            a.rearranged(dims, |index| {
                let mut from = vec![0; index.len()];
                for (i, &o) in order.iter().enumerate() {
                    from[o] = index[i];
                }
                Some(from)
            })
        }
        Op::Broadcast { dims, axes } => a.rearranged(shape(dims), |index| {
            Some(axes.iter().map(|&i| index[i]).collect())
        }),
        Op::Slice { axis, start, size } => {
            a.rearranged(with(*axis, *size), |i| at(i, *axis, i[*axis] + start))
        }
        Op::Fit { axis, size } => {
            let n = a.dims[*axis];
            a.rearranged(with(*axis, shape(&[*size])[0]), |i| {
                (i[*axis] < n).then(|| i.to_vec())
            })
        }
        Op::Pad { axis, before, after } => {
            let n = a.dims[*axis];
            a.rearranged(with(*axis, n + before + after), |i| {
                let from = i[*axis].checked_sub(*before).filter(|&f| f < n)?;
                at(i, *axis, from)
            })
        }
        Op::Concat { axis } => {
            let n = x.iter().map(|p| p.dims[*axis]).sum();
            let mut out = Array::zeros(a.elem(), with(*axis, n));
            let mut start = 0;
            for part in x {
                out.place(part, |i| at(i, *axis, i[*axis] + start));
                start += part.dims[*axis];
            }
            out
        }
        Op::Shift { axis, by } => a.rearranged(a.dims.clone(), |i| {
            let from = i[*axis] as i64 - by;
            let from = usize::try_from(from).ok().filter(|&f| f < a.dims[*axis])?;
            at(i, *axis, from)
        }),
        Op::Window { axis, size } => {
            let mut dims = a.dims.clone();
            let ages = shape(&[*size])[0];
            // Tokens of the calls before have no window.
            let rows = match size.of_tokens() {
                (Dim::Whole, every) if dims[*axis] == ages => {
                    shape(&[Dim::time(every)])[0]
                }
                _ => dims[*axis],
            };
            let before = dims[*axis] - rows;
            dims[*axis] = rows;
            dims.insert(axis + 1, ages);
            a.rearranged(dims, |i| {
                let mut from = i.to_vec();
                let age = from.remove(axis + 1);
                from[*axis] = (before + from[*axis]).checked_sub(age)?;
                Some(from)
            })
        }
        other => unreachable!("{} moves nothing", other.info().name),
    }
}

fn computed(op: &Op, x: &[&Array]) -> Result<Array, RunError> {
    Ok(match op {
        Op::Reduce { fold, axes } => elementwise::reduce(*fold, axes, x[0]),
        Op::Contract { batch, sum } => linear::contract(batch, sum, x[0], x[1]),
        Op::SolveUnitLower { transpose } => {
            linear::solve_unit_lower(x[0], x[1], *transpose)
        }
        Op::Solve => linear::solve(x[0], x[1]),
        Op::InverseRoot { p } => linear::inverse_root(x[0], *p),
        Op::Eigenvectors => linear::eigenvectors(x[0]),
        Op::LinearScan { reverse } => linear::linear_scan(x[0], x[1], x[2], *reverse),
        Op::Gather => {
            let dims: Vec<usize> =
                x[1].dims.iter().chain(&x[0].dims[1..]).copied().collect();
            let lead = x[1].dims.len();
            let strides = super::array::strides(&x[1].dims);
            x[0].rearranged(dims, |i| {
                let o: usize = i[..lead].iter().zip(&strides).map(|(a, s)| a * s).sum();
                let row =
                    usize::try_from(x[1].ints()[o]).ok().filter(|&r| r < x[0].dims[0])?;
                Some(std::iter::once(row).chain(i[lead..].iter().copied()).collect())
            })
        }
        Op::ScatterAdd { rows } => {
            let lead = x[1].dims.len();
            let row: Vec<usize> = x[0].dims[lead..].to_vec();
            let width: usize = row.iter().product();
            let mut out = vec![0.0; rows * width];
            for (n, &to) in x[1].ints().iter().enumerate() {
                if let Some(to) = usize::try_from(to).ok().filter(|t| t < rows) {
                    for c in 0..width {
                        out[to * width + c] += x[0].reals()[n * width + c];
                    }
                }
            }
            Array::real(std::iter::once(*rows).chain(row).collect::<Vec<_>>(), out)
        }
        other => return Err(RunError::Op(other.info().name)),
    })
}
