//! A map as a nest of loops around vectors of sixteen elements along one dimension.
//!
//! Everything that moves with the loops is a *cursor*: the address of an access, the quantity of
//! a bound, an index. A cursor starts at an argument and goes on by a step for each loop; after a
//! loop it is put back, so that one register serves all levels.

use crate::normalise::MapParts;
use nestor_ir::artifact::Precision;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::size::elements;
use nestor_ir::tile::{Access, Affine, Bound, Kernel, Monomial, Place, Sink, Use};
use nestor_ir::ty::Elem;

/// Elements of a vector.
pub(super) const LANES: i64 = 16;
/// Bytes of a cache line.
pub(super) const LINE: i64 = 64;

/// What a map is called with: a whole number each.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Argument {
    /// The address of an element of a place.
    Address(Place, Affine, i64),
    /// A number.
    Number(Affine),
    /// How wide a range is; one that ends before it begins is empty.
    Width(Affine),
}

/// A number, known now or an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Quantity {
    Known(i64),
    Argument(usize),
}

/// What moves with the loops.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cursor {
    pub(super) start: Quantity,
    /// By dimension of the map.
    pub(super) steps: Vec<Quantity>,
}

/// `0 <= cursor + lane step < width`
#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) cursor: usize,
    pub(super) step: i64,
    pub(super) width: Quantity,
}

/// How an access goes along the lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Along {
    /// The same element.
    Same,
    /// Neighbours.
    Near,
    /// Elements this many bytes apart.
    Far(i64),
}

/// An access.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) cursor: usize,
    pub(super) elem: Elem,
    pub(super) along: Along,
    pub(super) limits: Vec<Limit>,
    pub(super) pad: f64,
    /// Of a store that goes along whole cache lines: how many elements the tensor has.
    pub(super) lines: Option<Quantity>,
}

/// Where a root goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Store(Reach),
    Fold { fold: Fold, to: Reach, accumulate: bool, begin: usize },
}

/// The nest.
pub(super) struct Nest {
    /// Extents of the map's dimensions.
    pub(super) extents: Vec<Quantity>,
    /// The loops from the outermost, by dimension.
    pub(super) order: Vec<usize>,
    /// The dimension of the lanes.
    pub(super) lanes: usize,
    pub(super) cursors: Vec<Cursor>,
    pub(super) loads: Vec<Reach>,
    pub(super) targets: Vec<Target>,
    /// Cursors of the indices of dimensions with an offset, as the program asks for them.
    pub(super) indices: Vec<(usize, usize, usize)>,
    pub(crate) arguments: Vec<Argument>,
}

/// The nest of a map; nothing where lanes cannot go along any dimension.
pub(super) fn nest(
    kernel: &Kernel,
    m: &MapParts,
    asked: &[(usize, usize)],
) -> Option<Nest> {
    let folded = folded(m);
    let lanes = best_lanes(kernel, m, folded)?;
    let rank = m.space.len();
    let kept = rank - folded;
    // Folded loops go inside the vectors of a kept dimension.
    let mut order: Vec<usize> = (0..kept).filter(|&d| d != lanes).collect();
    if lanes < kept {
        order.push(lanes);
    }
    order.extend((kept..rank).filter(|&d| d != lanes));
    if lanes >= kept {
        order.push(lanes);
    }
    let mut n = Nest {
        extents: Vec::new(),
        order,
        lanes,
        cursors: Vec::new(),
        loads: Vec::new(),
        targets: Vec::new(),
        indices: Vec::new(),
        arguments: Vec::new(),
    };
    for dim in &m.space {
        let extent = n.quantity(&Affine::from(Monomial::dim(*dim)));
        n.extents.push(extent);
    }
    for load in &m.loads {
        let reach = n.reach(kernel, load)?;
        n.loads.push(reach);
    }
    for (_, sink) in &m.sinks {
        let target = match sink {
            Sink::Store(to) => {
                let reach = n.reach(kernel, to)?;
                let lines = n.lines(kernel, to, &reach);
                Target::Store(Reach { lines, ..reach })
            }
            Sink::Fold { fold, axes, to, accumulate } => {
                let to = n.reach(kernel, to)?;
                if !to.limits.is_empty() || to.elem != Elem::Real {
                    return None;
                }
                let begin = rank - axes;
                Target::Fold { fold: *fold, to, accumulate: *accumulate, begin }
            }
        };
        n.targets.push(target);
    }
    for &(d, offset) in asked {
        let start = n.quantity(&m.expr.offsets[offset]);
        let mut steps = vec![Quantity::Known(0); rank];
        steps[d] = Quantity::Known(1);
        let cursor = n.cursor(Cursor { start, steps });
        n.indices.push((d, offset, cursor));
    }
    Some(n)
}

/// How many trailing dimensions are folded by some sink. Stores beside folds, and folds of
/// different depth, are taken only along the natural order of the loops.
fn folded(m: &MapParts) -> usize {
    let axes = m.sinks.iter().map(|(_, s)| match s {
        Sink::Fold { axes, .. } => *axes,
        Sink::Store(_) => 0,
    });
    axes.max().unwrap_or(0)
}

fn access(sink: &Sink) -> &Access {
    match sink {
        Sink::Store(a) | Sink::Fold { to: a, .. } => a,
    }
}

fn elem_of(kernel: &Kernel, place: Place) -> Elem {
    match place {
        Place::Buffer(b) => kernel.buffers[b].elem,
        Place::Tile(t) => kernel.tiles[t].elem,
    }
}

/// Bytes of an element.
pub(super) fn bytes(elem: Elem) -> i64 {
    Precision::F32.bytes_of(elem) as i64
}

/// Whether lanes can go along dimension `d` of an access, and what that costs a vector.
fn along_cost(a: &Access, d: usize, elem: Elem, store: bool) -> Option<i64> {
    let step = match a.strides.get(d) {
        None => 0,
        Some(s) => s.as_number()?,
    };
    let bounded = a.bounds.iter().any(|b| b.strides.get(d).is_some_and(|&s| s != 0));
    let bound = if bounded { 2 } else { 0 };
    match step {
        // All lanes into one element: only where there is one.
        0 if store => None,
        0 if elem == Elem::Bool && (!a.bounds.is_empty()) => None,
        0 => Some(1 + bound),
        1 => Some(2 + bound),
        _ if elem == Elem::Bool || step.abs() > 1 << 20 => None,
        _ => Some(20 + bound),
    }
}

/// The dimension along which vectors cost least.
fn best_lanes(kernel: &Kernel, m: &MapParts, folded: usize) -> Option<usize> {
    let rank = m.space.len();
    let kept = rank - folded;
    let same_depth = m.sinks.iter().all(|(_, s)| match s {
        Sink::Fold { axes, .. } => *axes == folded,
        Sink::Store(_) => true,
    });
    let mut best: Option<(usize, i64)> = None;
    for d in (0..rank).rev() {
        if d != rank - 1 && !same_depth {
            break;
        }
        let extent = m.space[d].fixed().map_or(256, |n| n as i64).max(1);
        let mut cost = Some(4);
        for load in &m.loads {
            let one = along_cost(load, d, elem_of(kernel, load.place), false);
            cost = cost.zip(one).map(|(a, b)| a + b);
        }
        for (_, sink) in &m.sinks {
            let to = access(sink);
            let fold = matches!(sink, Sink::Fold { .. });
            // A fold over the lanes has one element for all of them, after a horizontal sum.
            let one = match fold && d >= kept {
                true => Some(1 + 60 * LANES / extent),
                false if extent == 1 => Some(2),
                false => along_cost(to, d, elem_of(kernel, to.place), true),
            };
            cost = cost.zip(one).map(|(a, b)| a + b);
        }
        let Some(cost) = cost else { continue };
        let vectors = (extent + LANES - 1) / LANES;
        let each = cost * vectors * 1000 / extent;
        if best.is_none_or(|(_, c)| each < c) {
            best = Some((d, each));
        }
    }
    best.map(|b| b.0)
}

impl Nest {
    /// A number that is known, or an argument for it.
    fn quantity(&mut self, a: &Affine) -> Quantity {
        match a.as_number() {
            Some(n) => Quantity::Known(n),
            None => self.argument(Argument::Number(a.clone())),
        }
    }
    fn argument(&mut self, a: Argument) -> Quantity {
        let known = self.arguments.iter().position(|b| *b == a);
        Quantity::Argument(known.unwrap_or_else(|| {
            self.arguments.push(a);
            self.arguments.len() - 1
        }))
    }
    fn cursor(&mut self, c: Cursor) -> usize {
        let known = self.cursors.iter().position(|d| *d == c);
        known.unwrap_or_else(|| {
            self.cursors.push(c);
            self.cursors.len() - 1
        })
    }

    fn reach(&mut self, kernel: &Kernel, a: &Access) -> Option<Reach> {
        let elem = elem_of(kernel, a.place);
        let size = bytes(elem);
        let rank = self.extents.len();
        let start = self.argument(Argument::Address(a.place, a.origin.clone(), size));
        let mut steps = Vec::new();
        for d in 0..rank {
            let step = match a.strides.get(d) {
                Some(s) => self.quantity(&s.clone().scaled(size)),
                None => Quantity::Known(0),
            };
            steps.push(step);
        }
        let lanes = steps[self.lanes];
        let cursor = self.cursor(Cursor { start, steps });
        let along = match lanes {
            Quantity::Known(0) => Along::Same,
            Quantity::Known(n) if n == size => Along::Near,
            Quantity::Known(n) => Along::Far(n),
            Quantity::Argument(_) => return None,
        };
        let mut limits = Vec::new();
        for b in &a.bounds {
            if !self.always(b) {
                limits.push(self.limit(b, rank));
            }
        }
        Some(Reach { cursor, elem, along, limits, pad: a.pad, lines: None })
    }

    /// How many elements a tensor has that a store goes through by whole cache lines, if it begins on one; nothing
    /// where it does not, or where the kernel reads the tensor too, or its size is known now.
    fn lines(&mut self, kernel: &Kernel, a: &Access, reach: &Reach) -> Option<Quantity> {
        let Place::Buffer(buffer) = a.place else { return None };
        let data = &kernel.buffers[buffer];
        let near = reach.along == Along::Near && reach.limits.is_empty();
        let steps = self.cursors[reach.cursor].steps.iter().enumerate();
        let mut apart = steps.filter(|(d, _)| *d != self.lanes).map(|(_, s)| *s);
        let line = |q: Quantity| matches!(q, Quantity::Known(n) if n % LINE == 0);
        let vectors =
            matches!(self.extents[self.lanes], Quantity::Known(n) if n % LANES == 0);
        let whole = near && vectors && apart.all(line) && data.elem == Elem::Real;
        if !whole || data.usage != Use::Write {
            return None;
        }
        let size = self.quantity(&Affine::from(elements(&data.dims)));
        matches!(size, Quantity::Argument(_)).then_some(size)
    }

    /// Whether a bound holds at every point, as far as can be known now.
    fn always(&self, b: &Bound) -> bool {
        let known = |a: &Affine| a.as_number();
        let (Some(at), Some(low), Some(high)) =
            (known(&b.offset), known(&b.low), known(&b.high))
        else {
            return false;
        };
        let (mut least, mut most) = (at, at);
        for (d, extent) in self.extents.iter().enumerate() {
            let step = b.strides.get(d).copied().unwrap_or(0);
            let Quantity::Known(n) = *extent else {
                if step != 0 {
                    return false;
                }
                continue;
            };
            let far = step * (n - 1).max(0);
            least += far.min(0);
            most += far.max(0);
        }
        low <= least && most < high
    }

    fn limit(&mut self, b: &Bound, rank: usize) -> Limit {
        let minus = b.low.clone().scaled(-1);
        let start = self.quantity(&b.offset.clone().plus(&minus));
        let width = b.high.clone().plus(&minus);
        let width = match width.as_number() {
            Some(n) => Quantity::Known(n),
            None => self.argument(Argument::Width(width)),
        };
        let at = |d: usize| b.strides.get(d).copied().unwrap_or(0);
        let steps = (0..rank).map(|d| Quantity::Known(at(d))).collect();
        let cursor = self.cursor(Cursor { start, steps });
        Limit { cursor, step: at(self.lanes), width }
    }

    /// The position of the loop over a dimension.
    pub(super) fn position(&self, d: usize) -> usize {
        self.order.iter().position(|&o| o == d).expect("a loop for every dimension")
    }

    /// The number of the innermost loop that a cursor moves with, counted from one.
    pub(super) fn depth(&self, cursor: usize) -> usize {
        let steps = &self.cursors[cursor].steps;
        let moves = |&(_, &d): &(usize, &usize)| steps[d] != Quantity::Known(0);
        self.order.iter().enumerate().rfind(moves).map_or(0, |(p, _)| p + 1)
    }
}
