//! Memories without weights: what they keep is their past, so they are windows over time.
//!
//! ```text
//! before   write M (k, v) with  K = recent k, V = recent v;   y = read M (q) with K, V
//! after    K [B, T, S, ..] = window k;  V = window v;         y = read (K, V, q), every token
//! ```

use super::attention::by_place;
use super::blocks::{Look, Repeated};
use super::whole::Handed;
use super::{LEAD, TIME};
use crate::build::{broadcast, transpose};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, no_hook, vectorise_into, vectorise_values};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Memory, Update};
use nestor_ir::tensor::{Axes, Graph, NodeData, Op, Value};
use nestor_ir::ty::Dims;
use smallvec::smallvec;

/// What an update leaves for reads, over `[B, T, map..]`.
pub(super) struct Past {
    /// The kept values.
    kept: Vec<Mapped>,
    /// The streams that kept values are all of the past of, where they are that.
    streams: Vec<Option<Mapped>>,
    /// The update that they are from.
    update: Option<Repeated>,
}

/// What the update leaves for reads.
pub(super) fn kept(
    g: &mut Graph,
    memory: &Memory,
    update: &Update,
    operands: &[Mapped],
    handed: &Handed,
) -> Result<Past, PassError> {
    let lead = lead(memory);
    let function = &*handed.sized(&update.function, memory.every);
    let ranks = function.inputs.iter().map(|i| function.ty(i.value).rank());
    let arguments: Vec<Mapped> = operands
        .iter()
        .zip(ranks)
        .map(|(&m, rank)| with_lead(g, m, &lead, rank))
        .collect();
    let values =
        vectorise_values(g, function, &arguments, &lead, Some(TIME), &mut no_hook)?;
    let of = |v: Value| {
        values[v.index()].ok_or_else(|| PassError::bug("to_tensors", "nothing is kept"))
    };
    let mut past = Past::none();
    for output in &function.outputs {
        past.kept.push(of(output.value)?);
        let node = function.def(output.value);
        past.streams.push(match node.op {
            Op::Recent { size } if size == handed.size(memory.every) => {
                Some(of(node.operands[0])?)
            }
            _ => None,
        });
    }
    let (function, operands) = (function.clone(), operands.to_vec());
    past.update = Some(Repeated { function, values, operands });
    Ok(past)
}

impl Past {
    /// Of a memory that keeps nothing.
    pub(super) fn none() -> Self {
        Self { kept: vec![], streams: vec![], update: None }
    }

    /// Windows of fixed length, which states are made of, whether reads take them or not.
    pub(super) fn windows(&self) -> impl Iterator<Item = Value> {
        let recent = |update: &Repeated| -> Vec<Value> {
            let nodes = update.function.nodes.values();
            let windows = nodes.filter(
                |n| matches!(n.op, Op::Recent { size } if size.fixed().is_some()),
            );
            let value = |n: &NodeData| Some(update.values[n.results[0].index()]?.value);
            windows.filter_map(value).collect()
        };
        self.update.iter().flat_map(recent)
    }

    /// The values in the order of the sequence: `[B, T, map.., S, ..]`, shared by all tokens.
    fn by_place(&self, g: &mut Graph, lead: &[Dim], handed: &mut Handed) -> Vec<Mapped> {
        let mut out = Vec::new();
        for (kept, stream) in self.kept.iter().zip(&self.streams) {
            let Some(stream) = stream else {
                out.push(*kept);
                continue;
            };
            let value = lift(g, *stream, lead);
            let value = handed.all(g, value);
            let own = g.ty(value).dims.clone();
            // The walked axis becomes the entries'; a new one repeats them for every token.
            let mut order: Axes = (0..own.len()).filter(|&a| a != TIME).collect();
            order.insert(lead.len() - 1, TIME);
            let entries = transpose(g, value, &order);
            let mut dims = g.ty(entries).dims.clone();
            dims.insert(TIME, lead[TIME]);
            let axes: Axes = (0..dims.len()).filter(|&a| a != TIME).collect();
            out.push(Mapped::all(broadcast(g, entries, &dims, &axes)));
        }
        out
    }
}

/// Entry `s` is there for the token at position t where `s <= t`, over `[B, T, map.., S]`.
fn before(g: &mut Graph, lead: &[Dim], size: Dim) -> Mapped {
    let pairs: Dims = smallvec![lead[TIME], size];
    let token = if size == lead[TIME] {
        g.add(Op::Iota { axis: 0, dims: pairs.clone() }, &[])
    } else {
        let position = g.add(Op::Position { dims: smallvec![lead[TIME]] }, &[]);
        broadcast(g, position, &pairs, &[0])
    };
    let entry = g.add(Op::Iota { axis: 1, dims: pairs }, &[]);
    let there = g.add(Op::LessEqual, &[entry, token]);
    let dims: Dims = lead.iter().copied().chain([size]).collect();
    Mapped::all(broadcast(g, there, &dims, &[TIME, lead.len()]))
}

/// What the memory answers, over `[B, T, map..]`.
pub(super) fn answer(
    g: &mut Graph,
    memory: &Memory,
    past: &Past,
    operands: &[Mapped],
    handed: &mut Handed,
    by_blocks: bool,
) -> Result<Mapped, PassError> {
    let lead = lead(memory);
    let update = past.update.as_ref().filter(|_| by_blocks);
    let look = update.and_then(|u| Look::of(u, &memory.read, operands));
    if let Some(answer) = look.map_or(Ok(None), |look| look.answer(g, &lead))? {
        return Ok(answer);
    }
    let windows: Vec<usize> =
        (0..past.streams.len()).filter(|&n| past.streams[n].is_some()).collect();
    let by_place = by_place(&memory.read, &windows).filter(|_| !windows.is_empty());
    let ranks = memory.read.inputs.iter().map(|i| memory.read.ty(i.value).rank());
    let given: Vec<Mapped> = operands
        .iter()
        .zip(ranks.skip(past.kept.len()))
        .map(|(&m, rank)| with_lead(g, m, &lead, rank))
        .collect();
    let (read, arguments): (&Graph, Vec<Mapped>) = match &by_place {
        Some(read) => {
            let kept = past.by_place(g, &lead, handed);
            let there = before(g, &lead, handed.size(memory.every));
            (read, kept.into_iter().chain(given).chain([there]).collect())
        }
        None => (&memory.read, past.kept.iter().copied().chain(given).collect()),
    };
    let read = &*handed.sized(read, memory.every);
    let found = vectorise_into(g, read, &arguments, &lead, Some(TIME), &mut no_hook)?;
    let one = found.first().ok_or_else(|| {
        PassError::bug("to_tensors", format!("`{}` answers nothing", memory.path))
    })?;
    Ok(Mapped::all(crate::vectorise::lift(g, *one, &lead)))
}

fn lead(memory: &Memory) -> Dims {
    let time = Dim::time(memory.every);
    [Dim::Batch, time].into_iter().chain(memory.map.iter().copied()).collect()
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
