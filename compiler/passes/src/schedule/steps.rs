//! What a step of a walk sees of what the walk is fed, and where it puts what it yields.

use super::bug;
use super::frame::Frame;
use super::lower::{Known, Lower};
use super::view::{Limit, View, times};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axis, Feed, NodeData, Op, Reach, Scan, Stride, Value};
use nestor_ir::tile::{Affine, Index, Monomial};
use smallvec::SmallVec;

/// How steps meet tokens.
pub(super) struct Steps {
    pub(super) index: Affine,
    /// The token of row 0.
    pub(super) token: Affine,
    /// Tokens there are.
    pub(super) high: Affine,
    /// Tokens of a step; nothing by tokens.
    pub(super) chunk: Option<usize>,
    /// Whether a chunk may hold rows that are no tokens.
    pub(super) partial: bool,
    /// What a chunk may hold: rows before the first token, and behind the last one.
    pub(super) may: [bool; 2],
    /// Position of row 0.
    pub(super) position: Affine,
}

impl Lower<'_> {
    /// What a walk is fed from, and how many tokens later it sees what lies there: by chunks, neighbours are read from memory.
    pub(super) fn source(
        &self,
        v: Value,
        scan: &Scan,
        (feed, layout): (Feed, &[Axis]),
    ) -> (Value, i64) {
        let outer = scan.time.ticks_of().is_some() && !self.nested;
        let chunks = outer && matches!(scan.stride, Stride::Chunk(_));
        let open = chunks && feed == Feed::Stream && self.known[v.index()].is_none();
        let node = self.graph.def(v);
        match node.op {
            Op::Shift { axis, by } if open && layout[axis] == Axis::Time => {
                (node.operands[0], by)
            }
            _ => (v, 0),
        }
    }
}

impl Lower<'_> {
    /// By which index of a walk around it a walk has some steps alone.
    pub(super) fn reach(
        &self,
        node: &NodeData,
        scan: &Scan,
    ) -> Result<Option<(Reach, Index)>, PassError> {
        let mut all = node.operands.iter().zip(&scan.feeds).filter_map(|(v, (f, _))| {
            let Feed::Reach(reach) = f else { return None };
            Some((*v, *reach))
        });
        let Some((v, reach)) = all.next() else { return Ok(None) };
        let around = match (&self.known[v.index()], scan.stride) {
            (Some(Known::Position { offset }), Stride::Chunk(c)) => {
                let by_chunks = Monomial::number(c as i64);
                offset.terms.iter().find(|(_, by)| *by == by_chunks).map(|(i, _)| *i)
            }
            _ => None,
        };
        match (around, all.next()) {
            (Some(index), None) => Ok(Some((reach, index))),
            _ => Err(bug("a walk beside no chunk of one around it")),
        }
    }

    /// Whether a value is the positions of a chunk.
    pub(super) fn is_position(&self, v: Value) -> bool {
        matches!(self.known[v.index()], Some(Known::Position { .. }))
    }
}

/// Rows of a chunk that lie so many before its own, where there are such.
pub(super) fn moved(mut view: View, by: i64) -> View {
    if by == 0 {
        return view;
    }
    if let (Some(limit), Some(stride)) = (&mut view.limit, view.strides.first()) {
        let (by, end) = (Affine::number(by), Affine::number(by.max(0)));
        view.origin = view.origin.plus(&times(&by, *stride).scaled(-1));
        limit.offset = limit.offset.clone().plus(&by.scaled(-1));
        limit.high = limit.high.clone().plus(&end.scaled(-1));
    }
    view
}

/// The loop over the steps of a walk, or the index that it has its only step at, and how steps meet tokens.
pub(super) fn steps(
    scan: &Scan,
    frame: &mut Frame,
    reach: Option<(Reach, Index)>,
) -> (Index, Steps) {
    let index = match reach {
        Some((Reach::At, index)) => index,
        _ => frame.index(),
    };
    let by = |n: usize| Affine::index(index, Monomial::number(n as i64));
    let ticks = scan.time.ticks_of();
    let (outer, every) = (ticks.is_some(), ticks.unwrap_or(1));
    let chunk = match scan.stride {
        Stride::Token => None,
        Stride::Chunk(c) => Some(c),
    };
    let mut token = by(chunk.unwrap_or(1));
    if let (true, Some(c)) = (outer && chunk != Some(1), chunk) {
        token = token.plus(&Affine::from(Monomial::phase(every, c)).scaled(-1));
    }
    let position = if outer {
        token.clone().plus(&Affine::from(Monomial::start(every)))
    } else {
        token.clone()
    };
    let steps = Steps {
        index: by(1),
        token,
        high: Affine::from(Monomial::dim(scan.time)),
        chunk,
        partial: outer && chunk.is_some(),
        may: match reach {
            _ if !outer || chunk.is_none() => [false, false],
            // A chunk before another is full to its end, and one after another from its begin.
            Some((Reach::Before, _)) => [true, false],
            Some((Reach::After, _)) => [false, true],
            Some((Reach::At, _)) | None => [true, true],
        },
        position,
    };
    (index, steps)
}

/// What a step of one walk sees of an operand, or where it puts a result.
pub(super) fn along(
    view: &View,
    layout: &[Axis],
    at: &[Affine],
    feed: Option<Feed>,
    steps: &Steps,
) -> View {
    let mut out =
        View { dims: SmallVec::new(), strides: SmallVec::new(), ..view.clone() };
    let mut row = None;
    // An axis of an operand that is bounded itself keeps its bound.
    out.limit = None;
    for (i, axis) in layout.iter().enumerate() {
        let stride = view.strides[i];
        match axis {
            Axis::Map(m) => {
                out.origin = out.origin.clone().plus(&times(&at[*m], stride));
            }
            Axis::Body => {
                out.dims.push(view.dims[i]);
                out.strides.push(stride);
            }
            Axis::Time => {
                let first =
                    if feed == Some(Feed::Step) { &steps.index } else { &steps.token };
                out.origin = out.origin.clone().plus(&times(first, stride));
                row = Some(stride);
            }
        }
    }
    if let (Some(Feed::Stream), Some(c), Some(stride)) = (feed, steps.chunk, row) {
        out.dims.insert(0, Dim::Fixed(c));
        out.strides.insert(0, stride);
        out.limit = steps.partial.then(|| Limit {
            axis: 0,
            offset: steps.token.clone(),
            high: steps.high.clone(),
        });
    }
    out
}
