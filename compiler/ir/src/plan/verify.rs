//! What holds of every plan. Checked where one is made.
//!
//! 1. A launch names tensors and kernels that exist, and gives a kernel as many tensors as it has
//!    buffers, each of its buffer's type, none of them twice.
//! 2. Plain inputs are not written.
//! 3. Temporaries and outputs are written before they are read; outputs are written.
//! 4. A life is from the first to the last launch that touches the tensor.
//! 5. Only temporaries share a slot, and no two whose lives overlap.
//! 6. A copy is between tensors of one type. Products are of reals, stay within their tensors at a
//!    few sizes, and do not overwrite what they read.
//! 7. Names of inputs are unique, and so are names of outputs.

use crate::dim::Sizes;
use crate::entity::Entity;
use crate::plan::{Dense, DenseOperand, Launch, Plan, Role, Tensor};
use crate::tile::reads::reads_first;
use crate::tile::size::elements;
use crate::tile::{Kernel, Monomial, Shape, Use};
use crate::ty::{Elem, Type};

/// The first violation, in words.
///
/// # Errors
/// Where an invariant does not hold.
pub fn verify(plan: &Plan, kernels: &[Kernel]) -> Result<(), String> {
    let mut given: Vec<bool> = plan
        .tensors
        .values()
        .map(|t| match t.role {
            Role::Input(_) | Role::InPlace { .. } => true,
            Role::Output(_) | Role::Temporary => false,
        })
        .collect();
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.tensors.len()];
    for (n, launch) in plan.launches.iter().enumerate() {
        let touched = touched(plan, kernels, launch);
        let touched = touched.map_err(|why| format!("launch {n}: {why}"))?;
        for &(t, usage) in &touched {
            let data = &plan.tensors[t];
            if usage != Use::Write && !given[t.index()] {
                return Err(format!("launch {n}: {t} is read before it is written"));
            }
            if usage != Use::Read && matches!(data.role, Role::Input(_)) {
                return Err(format!("launch {n}: the input {t} is written"));
            }
        }
        for (t, usage) in touched {
            given[t.index()] |= usage != Use::Read;
            let life = &mut lives[t.index()];
            *life = Some((life.map_or(n, |l| l.0), n));
        }
    }
    for ((t, data), life) in plan.tensors.iter().zip(&lives) {
        if matches!(data.role, Role::Output(_)) && !given[t.index()] {
            return Err(format!("the output {t} is never written"));
        }
        if life.is_some_and(|life| life != data.life) {
            let (first, last) = data.life;
            return Err(format!("{t} does not live {first}..{last}, but {life:?}"));
        }
    }
    slots(plan)?;
    names(plan)
}

fn touched(
    plan: &Plan,
    kernels: &[Kernel],
    launch: &Launch,
) -> Result<Vec<(Tensor, Use)>, String> {
    let ty = |t: Tensor| match plan.tensors.get(t) {
        Some(data) => Ok(&data.ty),
        None => Err(format!("there is no {t}")),
    };
    match launch {
        Launch::Kernel { kernel, buffers } => {
            let made = kernels
                .get(kernel.index())
                .ok_or_else(|| format!("there is no {kernel}"))?;
            if made.buffers.len() != buffers.len() {
                let (found, taken) = (buffers.len(), made.buffers.len());
                return Err(format!("{found} tensors for {kernel}, which takes {taken}"));
            }
            let mut out: Vec<(Tensor, Use)> = Vec::new();
            for (&t, (b, buffer)) in buffers.iter().zip(made.buffers.iter()) {
                let taken = Type { elem: buffer.elem, dims: buffer.dims.clone() };
                if *ty(t)? != taken {
                    return Err(format!("{t} is {}, {b} of {kernel} {taken}", ty(t)?));
                }
                if out.iter().any(|(other, _)| *other == t) {
                    return Err(format!("{t} is given twice"));
                }
                // A buffer that the kernel fills before it reads it need not hold anything.
                let usage = match buffer.usage {
                    Use::Update if !reads_first(made, b) => Use::Write,
                    usage => usage,
                };
                out.push((t, usage));
            }
            Ok(out)
        }
        Launch::Dense(d) => {
            let Dense { left, right, out, .. } = d;
            for x in [left, right, out] {
                if ty(x.tensor)?.elem != Elem::Real {
                    return Err(format!("{} is no matrix of reals", x.tensor));
                }
            }
            reach(plan, left, [d.batch, d.m, d.k])?;
            reach(plan, right, [d.batch, d.k, d.n])?;
            reach(plan, out, [d.batch, d.m, d.n])?;
            if out.tensor == left.tensor || out.tensor == right.tensor {
                return Err(format!("{} is overwritten and read", out.tensor));
            }
            if d.accumulate && d.shape == Shape::OutputLower {
                return Err(format!(
                    "half of {} is wanted and all of it there",
                    out.tensor
                ));
            }
            let usage = if d.accumulate { Use::Update } else { Use::Write };
            Ok(vec![
                (left.tensor, Use::Read),
                (right.tensor, Use::Read),
                (out.tensor, usage),
            ])
        }
        Launch::Zero(t) => ty(*t).map(|_| vec![(*t, Use::Write)]),
        Launch::Copy { from, to } => {
            if ty(*from)? != ty(*to)? || from == to {
                return Err(format!("{from} is no copy for {to}"));
            }
            Ok(vec![(*from, Use::Read), (*to, Use::Write)])
        }
    }
}

/// The smallest call, and one that divides nothing.
const SAMPLES: &[Sizes] =
    &[Sizes { batch: 1, time: 1, start: 0 }, Sizes { batch: 3, time: 7, start: 5 }];

fn reach(plan: &Plan, x: &DenseOperand, extents: [Monomial; 3]) -> Result<(), String> {
    if !x.origin.terms.is_empty() {
        return Err(format!("{} begins at an index", x.tensor));
    }
    for sizes in SAMPLES {
        let count = elements(&plan.tensors[x.tensor].ty.dims).eval(sizes);
        let mut low = x.origin.eval(sizes, &[]);
        let mut high = low;
        let steps = [x.batch, x.row, x.column];
        let last = extents.map(|n| n.eval(sizes) - 1);
        for (by, last) in steps.iter().map(|s| s.eval(sizes)).zip(last) {
            low += by.min(0) * last;
            high += by.max(0) * last;
        }
        if last.iter().all(|last| *last >= 0) && (low < 0 || high >= count) {
            return Err(format!(
                "{} is reached from {low} to {high} of {count} at B = {}, T = {}",
                x.tensor, sizes.batch, sizes.time
            ));
        }
    }
    Ok(())
}

fn slots(plan: &Plan) -> Result<(), String> {
    let mut placed: Vec<(usize, Tensor, (usize, usize))> = Vec::new();
    for (t, data) in plan.tensors.iter() {
        let Some(slot) = data.slot else { continue };
        if data.role != Role::Temporary {
            return Err(format!("{t} has slot {slot}, but is no temporary"));
        }
        let (first, last) = data.life;
        let overlaps = |(other, _, life): &&(usize, Tensor, (usize, usize))| {
            *other == slot && life.0 <= last && first <= life.1
        };
        if let Some((_, other, _)) = placed.iter().find(overlaps) {
            return Err(format!("{t} and {other} share slot {slot} and live together"));
        }
        placed.push((slot, t, data.life));
    }
    Ok(())
}

fn names(plan: &Plan) -> Result<(), String> {
    let (mut inputs, mut outputs): (Vec<&str>, Vec<&str>) = (vec![], vec![]);
    for data in plan.tensors.values() {
        match &data.role {
            Role::Input(name) => inputs.push(name),
            Role::Output(names) => outputs.extend(names.iter().map(String::as_str)),
            Role::InPlace { input, output } => {
                inputs.push(input);
                outputs.push(output);
            }
            Role::Temporary => {}
        }
    }
    for names in [&mut inputs, &mut outputs] {
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(format!("two are called `{}`", pair[0]));
        }
    }
    Ok(())
}
