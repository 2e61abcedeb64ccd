//! Runs a plan launch by launch, in float64 or with every result rounded to float32.
//!
//! Every tensor has memory of its own, filled with NaN before the first and after the last launch of
//! its life, so that what is read too early or too late shows in the outputs.

use super::array::{Array, Data};
use super::tile::{self, KernelError};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::plan::{Dense, DenseOperand, Launch, Plan, Role};
use crate::tile::Kernel;
use crate::tile::size::elements;
use crate::ty::{Elem, Type};
use indexmap::IndexMap;
use thiserror::Error;

/// Why a plan could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// An input that is not given, or of another shape or kind.
    #[error("input `{name}` is {found}, the plan takes {expected}")]
    Input {
        /// The input.
        name: String,
        /// What was given.
        found: String,
        /// What the plan takes.
        expected: String,
    },
    /// A kernel stopped.
    #[error("launch {launch}: {source}")]
    Kernel {
        /// Which launch.
        launch: usize,
        /// Why.
        source: KernelError,
    },
    /// A launch that cannot be done.
    #[error("launch {launch}: {what}")]
    Launch {
        /// Which launch.
        launch: usize,
        /// What happened.
        what: String,
    },
}

/// Runs a plan on inputs by name; gives outputs by name, those of tensors updated in place included.
///
/// # Errors
/// Where inputs do not fit, or a launch leaves its tensors.
pub fn run(
    plan: &Plan,
    kernels: &[Kernel],
    inputs: &IndexMap<String, Array>,
    sizes: &Sizes,
    precision: Precision,
) -> Result<IndexMap<String, Array>, PlanError> {
    let mut run = |n: usize, buffers: &mut [Vec<f64>]| {
        tile::run(&kernels[n], buffers, sizes, precision)
    };
    run_with(plan, kernels, inputs, sizes, precision, &mut run)
}

/// What runs kernel number `.0` on its buffers.
pub type RunKernel<'r> =
    &'r mut dyn FnMut(usize, &mut [Vec<f64>]) -> Result<(), KernelError>;

/// As [`run`], with something else than the interpreter to run kernels.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    plan: &Plan,
    kernels: &[Kernel],
    inputs: &IndexMap<String, Array>,
    sizes: &Sizes,
    precision: Precision,
    run_kernel: RunKernel<'_>,
) -> Result<IndexMap<String, Array>, PlanError> {
    let mut memory: Vec<Vec<f64>> = Vec::new();
    for data in plan.tensors.values() {
        memory.push(match &data.role {
            Role::Input(name) | Role::InPlace { input: name, .. } => {
                let mut given = given(inputs, name, &data.ty, sizes)?;
                if data.ty.elem == Elem::Real {
                    given.iter_mut().for_each(|x| *x = rounded(*x, precision));
                }
                given
            }
            Role::Output(_) | Role::Temporary => {
                vec![f64::NAN; elements(&data.ty.dims).eval(sizes) as usize]
            }
        });
    }
    for (n, launch) in plan.launches.iter().enumerate() {
        step(&mut memory, kernels.len(), launch, n, (sizes, precision), run_kernel)?;
        for (t, data) in plan.tensors.iter() {
            if data.role == Role::Temporary && data.life.1 == n {
                memory[t.index()].fill(f64::NAN);
            }
        }
    }
    let mut outputs = IndexMap::new();
    for (t, data) in plan.tensors.iter() {
        let names = match &data.role {
            Role::Output(names) => names.as_slice(),
            Role::InPlace { output, .. } => std::slice::from_ref(output),
            Role::Input(_) | Role::Temporary => &[],
        };
        for name in names {
            let array = array(&memory[t.index()], &data.ty, sizes);
            outputs.insert(name.clone(), array);
        }
    }
    Ok(outputs)
}

fn step(
    memory: &mut [Vec<f64>],
    kernels: usize,
    launch: &Launch,
    n: usize,
    (sizes, precision): (&Sizes, Precision),
    run_kernel: RunKernel<'_>,
) -> Result<(), PlanError> {
    let error = |what: String| PlanError::Launch { launch: n, what };
    match launch {
        Launch::Kernel { kernel, buffers } => {
            if kernel.index() >= kernels {
                return Err(error(format!("there is no kernel {kernel}")));
            }
            let mut seen = buffers.clone();
            seen.sort_unstable();
            if let Some(pair) = seen.windows(2).find(|w| w[0] == w[1]) {
                return Err(error(format!("{} is given twice", pair[0])));
            }
            let mut given: Vec<Vec<f64>> =
                buffers.iter().map(|t| std::mem::take(&mut memory[t.index()])).collect();
            let done = run_kernel(kernel.index(), &mut given);
            for (t, data) in buffers.iter().zip(given) {
                memory[t.index()] = data;
            }
            done.map_err(|source| PlanError::Kernel { launch: n, source })
        }
        Launch::Dense(d) => dense(memory, d, sizes, precision).map_err(error),
        Launch::Zero(t) => {
            memory[t.index()].fill(0.0);
            Ok(())
        }
        Launch::Copy { from, to } => {
            let data = memory[from.index()].clone();
            if data.len() != memory[to.index()].len() {
                return Err(error(format!("{from} and {to} have not one size")));
            }
            memory[to.index()] = data;
            Ok(())
        }
    }
}

fn dense(
    memory: &mut [Vec<f64>],
    d: &Dense,
    sizes: &Sizes,
    precision: Precision,
) -> Result<(), String> {
    let [batch, m, n, k] = [d.batch, d.m, d.n, d.k].map(|size| size.eval(sizes));
    let mut results: Vec<(i64, f64)> = Vec::new();
    for b in 0..batch {
        for i in 0..m {
            for j in 0..n {
                let mut sum = 0.0;
                for l in 0..k {
                    if d.shape.leaves_out([i, j, l].map(|n| n as usize)) {
                        continue;
                    }
                    let left = read(memory, &d.left, place(&d.left, [b, i, l], sizes))?;
                    sum +=
                        left * read(memory, &d.right, place(&d.right, [b, l, j], sizes))?;
                }
                results.push((place(&d.out, [b, i, j], sizes), d.alpha * sum));
            }
        }
    }
    for (at, x) in results {
        let before = read(memory, &d.out, at)?;
        let x = if d.accumulate { before + x } else { x };
        memory[d.out.tensor.index()][at as usize] = rounded(x, precision);
    }
    Ok(())
}

fn place(x: &DenseOperand, [batch, row, column]: [i64; 3], sizes: &Sizes) -> i64 {
    x.origin.eval(sizes, &[])
        + batch * x.batch.eval(sizes)
        + row * x.row.eval(sizes)
        + column * x.column.eval(sizes)
}

fn read(memory: &[Vec<f64>], x: &DenseOperand, at: i64) -> Result<f64, String> {
    let data = &memory[x.tensor.index()];
    let found = usize::try_from(at).ok().and_then(|at| data.get(at));
    let count = data.len();
    found
        .copied()
        .ok_or_else(|| format!("{}[{at}] is outside its {count} elements", x.tensor))
}

fn given(
    inputs: &IndexMap<String, Array>,
    name: &str,
    ty: &Type,
    sizes: &Sizes,
) -> Result<Vec<f64>, PlanError> {
    let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
    let error = |found| PlanError::Input {
        name: name.to_owned(),
        found,
        expected: format!("{ty}, here {dims:?}"),
    };
    let array = inputs.get(name).ok_or_else(|| error("missing".to_owned()))?;
    if array.dims != dims || array.elem() != ty.elem {
        return Err(error(format!("{:?} {:?}", array.elem(), array.dims)));
    }
    Ok(match &array.data {
        Data::Real(v) => v.clone(),
        Data::Int(v) => v.iter().map(|x| *x as f64).collect(),
        Data::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
    })
}

fn array(data: &[f64], ty: &Type, sizes: &Sizes) -> Array {
    let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
    match ty.elem {
        Elem::Real => Array::real(dims, data.to_vec()),
        Elem::Int => Array::int(dims, data.iter().map(|x| *x as i64).collect()),
        Elem::Bool => Array::bool(dims, data.iter().map(|x| *x != 0.0).collect()),
    }
}

fn rounded(x: f64, precision: Precision) -> f64 {
    match precision {
        Precision::F32 => super::tensor::single_precision(x),
        Precision::F64 => x,
    }
}
