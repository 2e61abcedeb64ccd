//! Memories without weights: what they keep is their past, so they are windows over time.
//!
//! ```text
//! before   write M (k, v) with  K = recent k, V = recent v;   y = read M (q) with K, V
//! after    K [B, T, S, ..] = window k;  V = window v;         y = read (K, V, q), every token
//! ```

use super::{LEAD, TIME};
use crate::build::broadcast;
use crate::error::PassError;
use crate::vectorise::{Mapped, no_hook, vectorise_into};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Memory, Update};
use nestor_ir::tensor::{Axes, Graph, Value};
use nestor_ir::ty::Dims;

/// What the update leaves for reads, over `[B, T, map..]`.
pub(super) fn kept(
    g: &mut Graph,
    memory: &Memory,
    update: &Update,
    operands: &[Mapped],
) -> Result<Vec<Mapped>, PassError> {
    let lead = lead(memory);
    let ranks = update.function.inputs.iter().map(|i| update.function.ty(i.value).rank());
    let arguments: Vec<Mapped> = operands
        .iter()
        .zip(ranks)
        .map(|(&m, rank)| with_lead(g, m, &lead, rank))
        .collect();
    vectorise_into(g, &update.function, &arguments, &lead, Some(TIME), &mut no_hook)
}

/// What the memory answers, over `[B, T, map..]`.
pub(super) fn answer(
    g: &mut Graph,
    memory: &Memory,
    kept: &[Mapped],
    operands: &[Mapped],
) -> Result<Mapped, PassError> {
    let lead = lead(memory);
    let ranks = memory.read.inputs.iter().map(|i| memory.read.ty(i.value).rank());
    let given: Vec<Mapped> = operands
        .iter()
        .zip(ranks.skip(kept.len()))
        .map(|(&m, rank)| with_lead(g, m, &lead, rank))
        .collect();
    let arguments: Vec<Mapped> = kept.iter().copied().chain(given).collect();
    let found =
        vectorise_into(g, &memory.read, &arguments, &lead, Some(TIME), &mut no_hook)?;
    let one = found.first().ok_or_else(|| {
        PassError::bug("to_tensors", format!("`{}` answers nothing", memory.path))
    })?;
    Ok(Mapped::all(crate::vectorise::lift(g, *one, &lead)))
}

fn lead(memory: &Memory) -> Dims {
    LEAD.iter().chain(&memory.map).copied().collect()
}

/// An operand, which may lack the memory's dimensions, batch and time, with all or none of them.
fn with_lead(g: &mut Graph, m: Mapped, lead: &[Dim], rank: usize) -> Mapped {
    let own = g.ty(m.value).dims.clone();
    let front = own.len() - rank;
    let place = |g: &mut Graph, value: Value, axes: Axes| {
        let dims: Dims = lead.iter().chain(&own[front..]).copied().collect();
        let axes: Axes = axes.into_iter().chain(lead.len()..lead.len() + rank).collect();
        Mapped::all(broadcast(g, value, &dims, &axes))
    };
    match (m.mapped, front) {
        (false, 0) => m,
        (true, n) if n == lead.len() => m,
        (true, _) => place(g, m.value, (0..LEAD.len()).collect()),
        (false, _) => place(g, m.value, (LEAD.len()..lead.len()).collect()),
    }
}
