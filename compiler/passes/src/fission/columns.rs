//! Columns of a walk's states that do not meet, walked by themselves.
//!
//! ```text
//! before   walk over (b, h):      S [128, 128],  E = T (V - K S)
//! after    walk over (b, h, p):   S [128, 32],   E and V are [C, 32] of each piece p
//! ```
//!
//! Axes that operations make correspond are one group. A group that is indexed, or laid out behind another, holds columns
//! that meet; one that does not, and that every state and everything yielded has once, can be a dimension of the grid. What is yielded may also be
//! a sum over the columns: it is yielded for each piece, and summed behind the walk.

use super::cost::{MOST, Rates, WarpGroup, sides, size, sized, streams, walks};
use crate::autodiff::{body_inputs, state_inputs};
use crate::axes::Groups;
use crate::build::uniform;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{
    Feed, Fold, Graph, Group, NodeData, Op, Scan, Stride, Value, Yield,
};

/// Columns below which a walk without products is not worth it: what is fetched at once from memory.
const AT_ONCE: usize = 8;

/// Columns of a walk that can be dealt out.
pub(super) struct Columns {
    /// The axis of each value of the body that runs over them.
    pub(super) group: Vec<Option<usize>>,
    pub(super) pieces: usize,
}

impl Columns {
    /// Those of the first state that go into the most pieces, and of these those that the least is a sum over; nothing where that would not be
    /// enough for two pieces.
    pub(super) fn of(walk: &Scan, rates: &Rates) -> Option<Self> {
        let (groups, body) = (groups(walk), &walk.body);
        let state = *state_inputs(walk).first().filter(|_| sized(body))?;
        let mut best: Option<(Self, f64)> = None;
        for axis in (0..body.ty(state).rank()).rev() {
            let width = body.ty(state).dims[axis].fixed()?;
            let of_axis = groups.of_axis(state, axis);
            let Some(group) = free(walk, &groups, of_axis, width) else { continue };
            let least = least(body, &group, rates);
            let mut pieces = pieces(width, least, walks(walk), rates);
            let summed = body.outputs.iter().filter(|o| group[o.value.index()].is_none());
            let summed: f64 = summed.map(|o| size(body, o.value)).sum();
            // Every piece yields sums of its own, for which there must be memory.
            while !rates.always && pieces as f64 * summed > MOST * streams(walk) {
                pieces /= 2;
            }
            let better = best.as_ref().is_none_or(|(known, of_known)| {
                (pieces, *of_known) > (known.pieces, summed)
            });
            if pieces > 1 && better {
                best = Some((Self { group, pieces }, summed));
            }
        }
        best.map(|(columns, _)| columns)
    }
}

/// Into how many pieces so many columns go: enough for every processor, none too narrow.
fn pieces(width: usize, least: usize, walks: usize, rates: &Rates) -> usize {
    let mut pieces = 1;
    while width.is_multiple_of(2 * pieces)
        && width / (2 * pieces) >= least
        && (walks * pieces < rates.processors)
    {
        pieces *= 2;
    }
    pieces
}

/// Columns of a piece, at least: what their products are worth it for.
fn least(body: &Graph, group: &[Option<usize>], rates: &Rates) -> usize {
    let products = products(body, group);
    // What has rows and terms enough for groups of warps, and not too many, where these need not wait for others.
    let waits =
        |node: &NodeData| matches!(node.op.info().group, Group::Solve | Group::Control);
    let waits = body.nodes.values().any(waits);
    let by_groups = |g: &WarpGroup| {
        let fits = |n: &usize| (g.side..=g.most).contains(n);
        !waits && products.iter().all(|sides| sides.iter().all(fits))
    };
    match products.is_empty() {
        true => AT_ONCE.min(rates.narrowest),
        false => rates.group.filter(by_groups).map_or(rates.narrowest, |g| g.side),
    }
}

/// Rows and terms of the products of matrices that columns have.
fn products(body: &Graph, group: &[Option<usize>]) -> Vec<[usize; 2]> {
    let of = |node: &NodeData| {
        let Op::Contract { sum, .. } = &node.op else { return None };
        let own = node.operands.iter().position(|v| group[v.index()].is_some())?;
        let dims = &body.ty(node.operands[0]).dims;
        let terms = sum.iter().filter_map(|&(axis, _)| dims[axis].fixed()).product();
        let sides = sides(body, node);
        let is_one = terms <= 1 || sides.contains(&1);
        (!is_one).then_some([sides[1 - own], terms])
    };
    body.nodes.values().filter_map(of).collect()
}

/// Which axes of a walk's body correspond.
fn groups(walk: &Scan) -> Groups {
    let body = &walk.body;
    let mut out = Groups::in_pieces(body);
    for (input, next) in state_inputs(walk).iter().zip(&body.outputs) {
        out.along(body, *input, next.value);
    }
    // Rows of a chunk are what the walk goes along.
    if matches!(walk.stride, Stride::Chunk(_)) {
        let streams = walk.feeds.iter().zip(body_inputs(walk));
        for ((feed, _), input) in streams {
            if let (Feed::Stream, Some(v)) = (feed, input) {
                out.bind(v, 0);
            }
        }
        let last = &body.inputs[body.inputs.len() - 2..];
        last.iter().for_each(|i| out.bind(i.value, 0));
        let yields = walk.yields.iter().zip(&body.outputs[walk.states().count()..]);
        for ((kind, _), output) in yields {
            if *kind == Yield::Stream {
                out.bind(output.value, 0);
            }
        }
    }
    out
}

/// The axis of every value that is of a group; nothing where its columns meet but in sums that are yielded.
fn free(
    walk: &Scan,
    groups: &Groups,
    group: usize,
    width: usize,
) -> Option<Vec<Option<usize>>> {
    let body = &walk.body;
    let sums = groups.summed(group)?;
    let mut axes = Vec::new();
    for (v, data) in body.values.iter() {
        let own: Vec<usize> =
            (0..data.ty.rank()).filter(|a| groups.of_axis(v, *a) == group).collect();
        match own[..] {
            [] => axes.push(None),
            [a] if data.ty.dims[a].fixed()?.is_multiple_of(width) => axes.push(Some(a)),
            _ => return None,
        }
    }
    let mut summed = vec![false; body.values.len()];
    sums.iter().for_each(|v| summed[v.index()] = true);
    for node in body.nodes.values() {
        if !node.operands.iter().any(|v| summed[v.index()]) {
            continue;
        }
        if !is_linear(body, node, &summed) {
            return None;
        }
        node.results.iter().for_each(|v| summed[v.index()] = true);
    }
    if (0..summed.len()).any(|v| summed[v] && axes[v].is_some()) {
        // A part of a sum that is then taken for each column.
        return None;
    }
    let (states, yields) = body.outputs.split_at(walk.states().count());
    let has = |v: Value| axes[v.index()].is_some();
    let whole = states.iter().all(|o| has(o.value) && !summed[o.value.index()])
        && yields.iter().all(|o| has(o.value) != summed[o.value.index()]);
    whole.then_some(axes)
}

/// Whether what a node makes of every piece's part of sums adds up to what it makes of the sums.
fn is_linear(body: &Graph, node: &NodeData, summed: &[bool]) -> bool {
    let of: Vec<bool> = node.operands.iter().map(|v| summed[v.index()]).collect();
    match node.op {
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Broadcast { .. } => true,
        Op::Slice { .. } | Op::Pad { .. } | Op::Shift { .. } => true,
        Op::Neg | Op::Reduce { fold: Fold::Sum, .. } => true,
        Op::Add | Op::Sub => of[0] && of[1],
        Op::Mul | Op::Contract { .. } => of[0] != of[1],
        Op::Div => of[0] && !of[1],
        Op::Select => {
            let fits = |n: usize| of[n] || uniform(body, node.operands[n]) == Some(0.0);
            !of[0] && fits(1) && fits(2)
        }
        _ => false,
    }
}
