//! What one step of a walk sees of the values around it, and which nodes it can do by itself.

use crate::schedule::scalar_op;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Axis, Graph, Layout, NodeData, Op, Scan, Stride};
use nestor_ir::ty::{Dims, Type};

/// The steps of a walk, as axes of values: sequences, ticks, and whatever else it maps.
pub(super) struct Points {
    shared: Dims,
    /// Tokens of a step.
    rows: usize,
}

/// A node as a step does it.
pub(super) struct Local {
    /// Nothing where the result is the operand.
    pub(super) op: Option<Op>,
    pub(super) takes: Vec<Take>,
}

/// What a step takes of an operand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Take {
    /// Its own entries, with these axes behind those of the points.
    Own(Dims),
    /// What is fed, of this shape.
    Fed(Dims, Layout),
}

impl Points {
    /// Nothing for walks whose steps wait for one another, or that go otherwise than by chunks of sequences.
    pub(super) fn of(scan: &Scan) -> Option<Self> {
        let Stride::Chunk(rows) = scan.stride else { return None };
        let (first, others) = scan.map.split_first()?;
        let whole = scan.feeds.iter().all(|(feed, _)| !feed.is_of_steps());
        let fits = *first == Dim::Batch
            && scan.time.ticks_of().is_some()
            && others.iter().all(|d| d.fixed().is_some());
        if !fits || !whole || scan.states().next().is_some() {
            return None;
        }
        let shared = [Dim::Batch, scan.time].into_iter().chain(others.iter().copied());
        Some(Self { shared: shared.collect(), rows })
    }

    /// The axes behind those of the points; nothing where a value has others in front.
    pub(super) fn rest<'d>(&self, dims: &'d Dims) -> Option<&'d [Dim]> {
        let rest = dims.strip_prefix(&self.shared[..])?;
        rest.iter().all(|d| d.fixed().is_some()).then_some(rest)
    }

    /// The shape of a value with these axes behind those of the points.
    pub(super) fn whole(&self, rest: &[Dim]) -> Dims {
        self.shared.iter().chain(rest).copied().collect()
    }

    /// The same of one that is fed or yielded so, if that is as steps have what is of their tokens.
    pub(super) fn of_tokens<'d>(
        &self,
        dims: &'d Dims,
        layout: &Layout,
    ) -> Option<&'d [Dim]> {
        self.rest(dims).filter(|rest| *layout == self.layout(rest))
    }

    /// How such a value is fed or yielded.
    pub(super) fn layout(&self, rest: &[Dim]) -> Layout {
        (0..self.shared.len() + rest.len()).map(|axis| self.axis(axis)).collect()
    }

    /// How many axes points have.
    pub(super) fn rank(&self) -> usize {
        self.shared.len()
    }

    fn axis(&self, axis: usize) -> Axis {
        match axis {
            0 => Axis::Map(0),
            1 => Axis::Time,
            _ if axis < self.rank() => Axis::Map(axis - 1),
            _ => Axis::Body,
        }
    }

    /// The shape of such a value in a step.
    fn seen(&self, rest: &[Dim]) -> Dims {
        std::iter::once(&Dim::Fixed(self.rows)).chain(rest).copied().collect()
    }

    /// An axis in a step: that of tokens, or one behind those of the points.
    fn own(&self, axis: usize) -> Option<usize> {
        match axis {
            1 => Some(0),
            _ => axis.checked_sub(self.rank()).map(|behind| behind + 1),
        }
    }

    /// A node whose result has, or is laid out anew to have, these axes behind those of the points; nothing where a step does not do it
    /// by itself.
    pub(super) fn local(
        &self,
        graph: &Graph,
        node: &NodeData,
        rest: &[Dim],
    ) -> Option<Local> {
        let [result] = node.results[..] else { return None };
        let dims = &graph.ty(result).dims;
        let as_it_is = self.rest(dims) == Some(rest);
        let from = |n: usize| &graph.ty(node.operands[n]).dims;
        let behind =
            |axis: usize| (axis >= self.rank()).then(|| self.own(axis)).flatten();
        let op = match &node.op {
            Op::Constant { value, ty } => {
                let ty = Type { elem: ty.elem, dims: self.seen(rest) };
                Op::Constant { value: *value, ty }
            }
            Op::Reshape { .. } if self.rest(from(0)).is_none() => {
                let takes = vec![Take::Own(rest.into())];
                let alike = from(0).get(..2) == self.shared.get(..2);
                return alike.then_some(Local { op: None, takes });
            }
            Op::Reshape { .. } => {
                let op = (self.rest(from(0)) != Some(rest))
                    .then(|| Op::Reshape { dims: self.seen(rest) });
                return Some(Local { op, takes: self.own_each(graph, node)? });
            }
            Op::Broadcast { axes, .. } => {
                return self.repeated(from(0), dims, axes, rest);
            }
            op if scalar_op(op).is_some() => {
                let takes = vec![Take::Own(rest.into()); node.operands.len()];
                return Some(Local { op: Some(op.clone()), takes });
            }
            _ if !as_it_is => return None,
            Op::Iota { axis, .. } => {
                Op::Iota { axis: behind(*axis)?, dims: self.seen(rest) }
            }
            Op::Reduce { fold, axes } => {
                let axes = axes.iter().map(|a| behind(*a)).collect::<Option<_>>()?;
                Op::Reduce { fold: *fold, axes }
            }
            Op::Transpose { order } => {
                let (points, others) = order.split_at(self.rank());
                if !points.iter().copied().eq(0..self.rank()) {
                    return None;
                }
                let others = others.iter().map(|a| behind(*a));
                let order =
                    std::iter::once(Some(0)).chain(others).collect::<Option<_>>()?;
                Op::Transpose { order }
            }
            Op::Slice { axis, start, size } => {
                Op::Slice { axis: behind(*axis)?, start: *start, size: *size }
            }
            Op::Pad { axis, before, after } => {
                Op::Pad { axis: behind(*axis)?, before: *before, after: *after }
            }
            Op::Concat { axis } => Op::Concat { axis: behind(*axis)? },
            _ => return None,
        };
        Some(Local { op: Some(op), takes: self.own_each(graph, node)? })
    }

    /// All operands as they are.
    fn own_each(&self, graph: &Graph, node: &NodeData) -> Option<Vec<Take>> {
        let one = |v| Some(Take::Own(self.rest(&graph.ty(v).dims)?.into()));
        node.operands.iter().map(|v| one(*v)).collect()
    }

    /// A value that stands at several places: points of which each has its own repeat that, others are fed it.
    fn repeated(
        &self,
        from: &Dims,
        to: &Dims,
        axes: &Axes,
        rest: &[Dim],
    ) -> Option<Local> {
        let rank = self.rank();
        let as_it_is = self.rest(to) == Some(rest);
        let whole = self.whole(rest);
        let axes: Axes = match axes.iter().position(|a| *a > 1) {
            _ if as_it_is => axes.clone(),
            None => axes.clone(),
            // All that is laid out anew.
            Some(n) if axes[n..].iter().copied().eq(2..to.len()) => {
                axes[..n].iter().copied().chain(2..whole.len()).collect()
            }
            Some(_) => return None,
        };
        let own =
            as_it_is && axes.get(..rank).is_some_and(|a| a.iter().copied().eq(0..rank));
        let take = match own {
            true => Take::Own(self.rest(from)?.into()),
            false => {
                let dims = axes.iter().map(|a| whole[*a]).collect();
                let dims = if as_it_is { from.clone() } else { dims };
                Take::Fed(dims, axes.iter().map(|a| self.axis(*a)).collect())
            }
        };
        if !axes.is_sorted() {
            return None;
        }
        let axes = axes.iter().filter_map(|a| self.own(*a)).collect();
        let op = Op::Broadcast { dims: self.seen(rest), axes };
        Some(Local { op: Some(op), takes: vec![take] })
    }
}
