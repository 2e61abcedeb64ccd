//! From one clock to another: windows of what ticks faster, the last value of what ticks slower.
//!
//! ```text
//! before   w = gathered x                     x at every token, w at every N tokens
//! after    w [B, T:N, N, ..] = fit (scan over T by N (x [B, T, ..]))
//! before   y = held w                         w at every N tokens, y at every token
//! after    y [B, T, ..] = scan over T by N (fit w; the value before)
//! ```
//!
//! Walks by N tokens meet the boundaries of the slower clock, wherever a call begins. What is not
//! complete at the end of a call is a state, `state.window.<number>`, zero where nothing is yet; so is
//! the last value that a call has held, `state.held.<number>`.

use super::whole::Handed;
use super::{TIME, lead};
use crate::build::{broadcast, broadcast_leading, scalar, select, zero_or_select, zeros};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift};
use nestor_ir::dim::Dim;
use nestor_ir::level::Clock;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// The way from one clock to another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Tokens of a tick of the faster clock.
    fast: usize,
    /// Ticks of the faster clock in one of the slower.
    ratio: usize,
}

impl Way {
    fn new(fast: usize, slow: usize) -> Result<Self, PassError> {
        if !slow.is_multiple_of(fast) {
            return Err(PassError::bug("to_tensors", "clocks that do not divide"));
        }
        Ok(Self { fast, ratio: slow / fast })
    }
    fn time(self) -> Dim {
        Dim::time(self.fast)
    }
    /// The slower clock's ticks, and those that this call touches.
    fn slow(self) -> (Dim, Dim) {
        let touched = self.time().chunks(self.ratio);
        (Dim::time(self.fast * self.ratio), touched.expect("ticks have chunks"))
    }
}

/// Where clocks have met so far.
pub(super) struct Meetings {
    resume: bool,
    gathered: Vec<(Value, Way, Value)>,
    held: Vec<(Value, Way, Value)>,
    finals: Vec<(String, Value)>,
}

impl Meetings {
    /// None yet; `resume` where calls before hand something over.
    pub(super) fn new(resume: bool) -> Self {
        Self { resume, gathered: vec![], held: vec![], finals: vec![] }
    }

    /// States that are handed on.
    pub(super) fn finals(self) -> Vec<(String, Value)> {
        self.finals
    }

    /// The value at a slower clock: `ahead` where it is known from the start of its sequence.
    pub(super) fn gathered(
        &mut self,
        g: &mut Graph,
        (value, from): (Mapped, Clock),
        (to, ahead): (Clock, bool),
        handed: &mut Handed,
    ) -> Result<Mapped, PassError> {
        if ahead && self.resume {
            return Err(PassError::limitation(
                "L-whole",
                "a view of the whole sequence where a sequence goes on from an earlier call",
                "give the sequence in one call",
            ));
        }
        let value = lift(g, value, &lead(from));
        match (from, to) {
            (Clock::Tokens(_), Clock::Sequence) => Ok(Mapped::all(handed.all(g, value))),
            (Clock::Tokens(fast), Clock::Tokens(slow)) => {
                let way = Way::new(fast, slow)?;
                if let Some((.., known)) =
                    self.gathered.iter().find(|(v, w, _)| (*v, *w) == (value, way))
                {
                    return Ok(Mapped::all(*known));
                }
                let made = self.window(g, value, way);
                self.gathered.push((value, way, made));
                Ok(Mapped::all(made))
            }
            _ => Err(PassError::bug("to_tensors", "a window of what is no faster")),
        }
    }

    /// The value at a faster clock.
    pub(super) fn held(
        &mut self,
        g: &mut Graph,
        (value, from): (Mapped, Clock),
        to: Clock,
    ) -> Result<Mapped, PassError> {
        let value = lift(g, value, &lead(from));
        match (from, to) {
            (Clock::Sequence, Clock::Tokens(_)) => {
                let own = g.ty(value).dims[1..].iter().copied();
                let dims: Dims = lead(to).into_iter().chain(own).collect();
                let axes: Vec<usize> = (0..dims.len()).filter(|a| *a != TIME).collect();
                Ok(Mapped::all(broadcast(g, value, &dims, &axes)))
            }
            (Clock::Tokens(slow), Clock::Tokens(fast)) => {
                let way = Way::new(fast, slow)?;
                if let Some((.., known)) =
                    self.held.iter().find(|(v, w, _)| (*v, *w) == (value, way))
                {
                    return Ok(Mapped::all(*known));
                }
                let made = self.last(g, value, way);
                self.held.push((value, way, made));
                Ok(Mapped::all(made))
            }
            _ => Err(PassError::bug("to_tensors", "what is held is no slower")),
        }
    }

    /// `[B, T:N, N, ..]`, the oldest first.
    fn window(&mut self, g: &mut Graph, stream: Value, way: Way) -> Value {
        let ty = g.ty(stream).clone();
        let rows: Dims = [Dim::Fixed(way.ratio)]
            .into_iter()
            .chain(ty.dims[2..].iter().copied())
            .collect();
        let name = format!("state.window.{}", self.finals.len());
        let (pending, maps) =
            self.begins(g, &name, &Type { elem: ty.elem, dims: rows.clone() });
        let bodies = rows.len();
        let mut scan = walk(way);
        scan.feeds = vec![
            (Feed::Stream, stream_layout(bodies - 1)),
            (Feed::Initial, start_layout(maps, bodies)),
        ];
        let b = &mut scan.body;
        let seen = Type { elem: ty.elem, dims: rows.clone() };
        let x = b.input("x", seen.clone());
        let before = b.input("before", seen);
        let valid = b.input("valid", Type::bool([Dim::Fixed(way.ratio)]));
        b.input("position", Type::real([Dim::Fixed(way.ratio)]));
        let there = broadcast_leading(b, valid, &rows);
        let window = select(b, there, x, before);
        let complete = complete(b, valid, way, &rows);
        let rest = zero_or_select(b, complete, window);
        b.output("state.window", rest);
        let step = (Yield::Step, stream_layout(bodies));
        let windows = if self.resume {
            scan.yields.push(step);
            scan.body.output("window", window);
            let found = g.add_many(Op::Scan { scan: Box::new(scan) }, &[stream, pending]);
            self.finals.push((name, found[0]));
            found[1]
        } else {
            // A sequence that begins has nothing before it, so its windows need no state.
            let mut plain = walk(way);
            plain.feeds = vec![scan.feeds[0].clone()];
            plain.yields.push(step);
            let x = plain.body.input("x", Type { elem: ty.elem, dims: rows });
            plain.body.input("valid", Type::bool([Dim::Fixed(way.ratio)]));
            plain.body.input("position", Type::real([Dim::Fixed(way.ratio)]));
            plain.body.output("window", x);
            let last = g.add_many(Op::Scan { scan: Box::new(scan) }, &[stream, pending]);
            self.finals.push((name, last[0]));
            g.add_many(Op::Scan { scan: Box::new(plain) }, &[stream])[0]
        };
        g.add(Op::Fit { axis: TIME, size: way.slow().0 }, &[windows])
    }

    /// `[B, T, ..]`: the value of the last tick at or before each token.
    fn last(&mut self, g: &mut Graph, value: Value, way: Way) -> Value {
        let ty = g.ty(value).clone();
        let own: Dims = ty.dims[2..].iter().copied().collect();
        let touched = g.add(Op::Fit { axis: TIME, size: way.slow().1 }, &[value]);
        let name = format!("state.held.{}", self.finals.len());
        let one = Type { elem: ty.elem, dims: own.clone() };
        let (start, maps) = self.begins(g, &name, &one);
        let mut scan = walk(way);
        scan.feeds = vec![
            (Feed::Step, stream_layout(own.len())),
            (Feed::Initial, start_layout(maps, own.len())),
        ];
        scan.yields = vec![(Yield::Stream, stream_layout(own.len()))];
        let b = &mut scan.body;
        let now = b.input("now", one.clone());
        let before = b.input("before", one);
        let valid = b.input("valid", Type::bool([Dim::Fixed(way.ratio)]));
        b.input("position", Type::real([Dim::Fixed(way.ratio)]));
        let complete = complete(b, valid, way, &own);
        let next = select(b, complete, now, before);
        b.output("state.held", next);
        // The last row of a tick is where the tick happens.
        let dims: Dims =
            [Dim::Fixed(way.ratio)].into_iter().chain(own.iter().copied()).collect();
        let row = b.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
        let last = scalar(b, way.ratio as f64 - 1.0);
        let last = broadcast(b, last, &dims, &[]);
        let ticks = b.add(Op::Equal, &[row, last]);
        let axes: Vec<usize> = (1..dims.len()).collect();
        let (now, before) =
            (broadcast(b, now, &dims, &axes), broadcast(b, before, &dims, &axes));
        let rows = select(b, ticks, now, before);
        b.output("held", rows);
        let found = g.add_many(Op::Scan { scan: Box::new(scan) }, &[touched, start]);
        self.finals.push((name, found[0]));
        found[1]
    }

    /// How a state begins, and whether each sequence has its own.
    fn begins(&self, g: &mut Graph, name: &str, one: &Type) -> (Value, usize) {
        if !self.resume {
            return (zeros(g, one), 0);
        }
        let dims = [Dim::Batch].into_iter().chain(one.dims.iter().copied()).collect();
        (g.input(name.to_owned(), Type { elem: one.elem, dims }), 1)
    }
}

fn walk(way: Way) -> Scan {
    Scan {
        map: smallvec![Dim::Batch],
        time: way.time(),
        stride: Stride::Chunk(way.ratio),
        reverse: false,
        feeds: vec![],
        yields: vec![],
        body: Graph::new(),
    }
}

/// Whether this call has the tick's last row, in every element.
fn complete(b: &mut Graph, valid: Value, way: Way, dims: &Dims) -> Value {
    let last = Op::Slice { axis: 0, start: way.ratio - 1, size: 1 };
    let last = b.add(last, &[valid]);
    let last = b.add(Op::Reshape { dims: Dims::new() }, &[last]);
    broadcast(b, last, dims, &[])
}

fn stream_layout(rank: usize) -> Layout {
    [Axis::Map(0), Axis::Time]
        .into_iter()
        .chain(std::iter::repeat_n(Axis::Body, rank))
        .collect()
}

fn start_layout(maps: usize, rank: usize) -> Layout {
    (0..maps).map(Axis::Map).chain(std::iter::repeat_n(Axis::Body, rank)).collect()
}
