//! A scan being fed: which values of the whole sequence its body sees, and how.

use super::{LEAD, TIME};
use crate::vectorise::{Mapped, lift};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value};

/// A scan being fed.
pub(super) struct Feeds {
    /// The scan so far.
    pub(super) scan: Scan,
    /// What it is fed.
    pub(super) operands: Vec<Value>,
    known: Vec<(Value, Layout, Value)>,
}

impl Feeds {
    /// A walk over `time` for every index of `walks`, fed with nothing yet.
    pub(super) fn new(walks: &[Dim], time: Dim) -> Self {
        Self {
            scan: Scan {
                map: walks.iter().copied().collect(),
                time,
                stride: Stride::Token,
                reverse: false,
                feeds: vec![],
                yields: vec![],
                body: Graph::new(),
            },
            operands: vec![],
            known: vec![],
        }
    }

    /// Feeds a value; gives what the body sees of it.
    pub(super) fn add(
        &mut self,
        g: &Graph,
        feed: Feed,
        layout: Layout,
        value: Value,
    ) -> Value {
        let same = |(v, l, _): &&(Value, Layout, Value)| *v == value && *l == layout;
        if let (Some((_, _, seen)), true) =
            (self.known.iter().find(same), feed != Feed::Initial)
        {
            return *seen;
        }
        let ty = seen_by_body(&self.scan, feed, &layout, g.ty(value));
        let name = format!("x{}", self.operands.len());
        let seen = self.scan.body.input(name, ty);
        self.operands.push(value);
        self.scan.feeds.push((feed, layout.clone()));
        if feed != Feed::Initial {
            self.known.push((value, layout, seen));
        }
        seen
    }

    /// An operand of a statement, as one instance sees it.
    pub(super) fn operand(&mut self, g: &Graph, m: Mapped, rank: usize) -> Value {
        if !m.mapped {
            return self.add(g, Feed::Shared, unmapped_layout(g, m.value, rank), m.value);
        }
        let maps = g.ty(m.value).rank() - LEAD.len() - rank;
        let layout = self.layout_of(maps, rank);
        self.add(g, Feed::Stream, layout, m.value)
    }

    /// The operand's last `size` values, newest first.
    pub(super) fn window(
        &mut self,
        g: &mut Graph,
        m: Mapped,
        rank: usize,
        size: usize,
    ) -> Value {
        let value = lift(g, m, &[Dim::Batch, self.scan.time]);
        let window = g.add(Op::Window { axis: TIME, size: Dim::Fixed(size) }, &[value]);
        let maps = g.ty(value).rank() - LEAD.len() - rank;
        let mut layout = self.layout_of(maps, rank);
        layout.insert(TIME + 1, Axis::Body);
        self.add(g, Feed::Stream, layout, window)
    }

    fn layout_of(&self, maps: usize, rank: usize) -> Layout {
        let maps = (1..=maps).map(Axis::Map);
        [Axis::Map(0), Axis::Time]
            .into_iter()
            .chain(maps)
            .chain((0..rank).map(|_| Axis::Body))
            .collect()
    }

    /// How an answer of this rank is laid out.
    pub(super) fn stream_layout(&self, rank: usize) -> Layout {
        self.layout_of(self.scan.map.len() - 1, rank)
    }

    /// How a state's start is laid out.
    pub(super) fn shared_layout(&self, g: &Graph, value: Value, rank: usize) -> Layout {
        if g.ty(value).rank() == self.scan.map.len() + rank {
            let maps = (0..self.scan.map.len()).map(Axis::Map);
            return maps.chain((0..rank).map(|_| Axis::Body)).collect();
        }
        unmapped_layout(g, value, rank)
    }
}

/// The memory's own dimensions, where the value has them, then the body's.
pub(super) fn unmapped_layout(g: &Graph, value: Value, rank: usize) -> Layout {
    let maps = g.ty(value).rank() - rank;
    (1..=maps).map(Axis::Map).chain((0..rank).map(|_| Axis::Body)).collect()
}
