//! Windows within windows: one walk for every clock, the code of a window inside the fastest.

use super::Reader;
use super::act::{Held, Values, acted, gradient_name, held, row, where_holds};
use super::code::Code;
use crate::build::{broadcast, broadcast_to, mul, scalar, select, sum_all, zeros};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Program, Reset, loss_name, read_name};
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// How many rows of an open window were handed on.
pub(super) const ROWS: &str = "rows";

/// A period, and the levels that have it with what they hold.
type Clock<'p> = (usize, Vec<(Reader<'p>, Vec<Held>)>);

/// What is the same at every depth.
pub(super) struct Nest<'p> {
    pub(super) program: &'p Program,
    pub(super) code: &'p Code,
    /// The levels of every clock, the slowest first.
    pub(super) clocks: Vec<Clock<'p>>,
    pub(super) resume: bool,
}

/// What is known at one depth.
#[derive(Clone)]
pub(super) struct Known {
    /// What levels hold and the states of the code, by name.
    pub(super) now: Values,
    /// What the weights are learned to start as, by path.
    pub(super) initial: Vec<(String, Value)>,
    pub(super) streams: Vec<Value>,
    pub(super) shared: Vec<Value>,
    /// Which rows are tokens of the sequence, and their positions.
    rows: Option<(Value, Value)>,
}

/// The whole graph: what stays outside, and the walk over the windows of the slowest level.
pub(super) fn built(
    program: &Program,
    open: &Graph,
    code: &Code,
    readers: &[Reader<'_>],
    resume: bool,
) -> Result<Graph, PassError> {
    let mut clocks: Vec<Clock<'_>> = Vec::new();
    for &reader in readers {
        let own = (reader, held(program, &reader));
        match clocks.last_mut().filter(|(period, _)| *period == reader.period) {
            Some((_, all)) => all.push(own),
            None => clocks.push((reader.period, vec![own])),
        }
    }
    let nest = Nest { program, code, clocks, resume };
    let mut g = Graph::new();
    let outside = nest.outside(open, &mut g)?;
    let at = |v: Value| outside[v.index()].ok_or_else(|| bug("a value outside"));
    let all =
        |values: &[Value]| values.iter().map(|&v| at(v)).collect::<Result<Vec<_>, _>>();
    let mut known = Known {
        now: Values::default(),
        initial: nest.initial(&g)?,
        streams: all(&code.streams)?,
        shared: all(&code.shared)?,
        rows: None,
    };
    nest.start(open, &mut g, &at, &mut known)?;
    let (outputs, now) = nest.walk(&mut g, 0, known)?;
    for output in &open.outputs {
        if let Some(k) = code.outputs.iter().position(|n| *n == output.name) {
            g.output(output.name.clone(), outputs[k]);
        } else if !code.inside[output.value.index()] && !output.name.starts_with("start.")
        {
            let value = at(output.value)?;
            g.output(output.name.clone(), value);
        }
    }
    for name in nest.carried(0) {
        g.output(handed(&name), now.of(&name)?);
    }
    Ok(g)
}

pub(super) fn bug(what: &str) -> PassError {
    PassError::bug("reading", what)
}

pub(super) fn handed(name: &str) -> String {
    read_name(name.trim_start_matches("state."))
}

pub(super) fn seen(k: usize) -> String {
    format!("seen.{k}")
}

impl Nest<'_> {
    /// Everything that is carried at a depth, by name.
    fn carried(&self, depth: usize) -> Vec<String> {
        let levels = self.clocks[depth..].iter().flat_map(|(_, all)| all);
        let held = levels.flat_map(|(_, held)| held.iter().map(|h| h.name.clone()));
        let mut out: Vec<String> = held.chain(self.code.states.iter().cloned()).collect();
        if depth == 0 {
            out.push(ROWS.to_owned());
            out.extend((0..self.code.streams.len()).map(seen));
        }
        out
    }

    /// The walk over the windows of one clock: the outputs of all rows, and what is carried at its end.
    fn walk(
        &self,
        g: &mut Graph,
        depth: usize,
        known: Known,
    ) -> Result<(Vec<Value>, Values), PassError> {
        let Some((period, _)) = self.clocks.get(depth) else {
            return self.code(g, &known);
        };
        let top = depth == 0;
        let time = if top { Dim::Time } else { Dim::Fixed(self.clocks[depth - 1].0) };
        let mut walk = Walk {
            top,
            operands: vec![],
            scan: Scan {
                map: top.then_some(Dim::Batch).into_iter().collect(),
                time,
                stride: Stride::Chunk(*period),
                reverse: false,
                feeds: vec![],
                yields: vec![],
                body: Graph::new(),
            },
        };
        let carried = self.carried(depth);
        let mut inner = Known { now: Values::default(), ..known.clone() };
        for name in &carried {
            let value = walk.feed(g, name, Feed::Initial, known.now.of(name)?);
            inner.now.set(name, value);
        }
        for h in self.clocks[..depth].iter().flat_map(|(_, all)| all).flat_map(|(_, h)| h)
        {
            let value = walk.feed(g, &h.name, Feed::Shared, known.now.of(&h.name)?);
            inner.now.set(&h.name, value);
        }
        for (path, value) in &mut inner.initial {
            *value = walk.feed(g, &format!("initial.{path}"), Feed::Shared, *value);
        }
        for (k, value) in inner.streams.iter_mut().enumerate() {
            *value = walk.feed(g, &format!("stream.{k}"), Feed::Stream, *value);
        }
        for (k, value) in inner.shared.iter_mut().enumerate() {
            *value = walk.feed(g, &format!("shared.{k}"), Feed::Shared, *value);
        }
        inner.rows = known.rows.map(|(present, position)| {
            let present = walk.feed(g, "present", Feed::Stream, present);
            (present, walk.feed(g, "at", Feed::Stream, position))
        });
        let mut body = std::mem::take(&mut walk.scan.body);
        let valid = body.input("valid", Type::bool([Dim::Fixed(*period)]));
        let position = body.input("position", Type::real([Dim::Fixed(*period)]));
        if top {
            inner.rows = Some(self.joined(&mut body, valid, position, &mut inner)?);
        }
        let (outputs, next) = self.window(&mut body, depth, inner)?;
        for name in &carried {
            let value = next.of(name)?;
            body.output(name.clone(), value);
        }
        for (k, &value) in outputs.iter().enumerate() {
            let rank = body.ty(value).rank() - 1;
            let bodies = std::iter::repeat_n(Axis::Body, rank);
            let lead = top.then_some(Axis::Map(0)).into_iter().chain([Axis::Time]);
            walk.scan.yields.push((Yield::Stream, lead.chain(bodies).collect()));
            body.output(format!("out.{k}"), value);
        }
        walk.scan.body = body;
        let results = g.add_many(Op::Scan { scan: Box::new(walk.scan) }, &walk.operands);
        let mut now = Values::default();
        for (name, &value) in carried.iter().zip(&results) {
            now.set(name, value);
        }
        Ok((results[carried.len()..].to_vec(), now))
    }

    /// The rows of the slowest window: those that were handed over, then those of this call.
    fn joined(
        &self,
        g: &mut Graph,
        valid: Value,
        position: Value,
        inner: &mut Known,
    ) -> Result<(Value, Value), PassError> {
        if !self.resume {
            return Ok((valid, position));
        }
        let dims: Dims = smallvec![Dim::Fixed(self.clocks[0].0)];
        let number = g.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
        let rows = broadcast_to(g, inner.now.of(ROWS)?, &dims);
        let before = g.add(Op::Less, &[number, rows]);
        let present = g.add(Op::Or, &[valid, before]);
        for (k, stream) in inner.streams.iter_mut().enumerate() {
            let then = inner.now.of(&seen(k))?;
            let dims = g.ty(then).dims.clone();
            let here = broadcast(g, valid, &dims, &[0]);
            *stream = select(g, here, *stream, then);
        }
        Ok((present, position))
    }

    /// One window of one clock: levels start again, the window is read, levels act.
    fn window(
        &self,
        g: &mut Graph,
        depth: usize,
        mut known: Known,
    ) -> Result<(Vec<Value>, Values), PassError> {
        let (period, levels) = &self.clocks[depth];
        let (present, position) =
            known.rows.ok_or_else(|| bug("rows without positions"))?;
        let before = known.now.clone();
        self.restart(g, levels, position, &mut known)?;
        let mut now = known.now.clone();
        let mut anchors = Values::default();
        for path in levels.iter().flat_map(|(r, _)| self.paths(r)) {
            let anchor = g.add(Op::Anchor, &[now.of(path)?]);
            anchors.set(path, anchor);
            known.now.set(path, anchor);
        }
        let streams = known.streams.clone();
        if depth == 0 {
            for stream in &mut known.streams {
                *stream = first_where_absent(g, present, *stream);
            }
        }
        let (outputs, next) = self.walk(g, depth + 1, known)?;
        let deeper = match depth + 1 < self.clocks.len() {
            true => self.carried(depth + 1),
            false => self.code.states.clone(),
        };
        for name in &deeper {
            now.set(name, next.of(name)?);
        }
        let complete = row(g, present, period - 1);
        let mut acts = Vec::new();
        for (reader, _) in levels {
            let gradients = self.gradients(g, reader, &outputs, &anchors)?;
            acts.extend(acted(g, self.program, reader, &now, &gradients)?);
        }
        for (name, new) in acts {
            let old = now.of(&name)?;
            let value = where_holds(g, complete, new, old);
            now.set(&name, value);
        }
        if depth == 0 {
            self.hand_on(g, complete, (present, &streams), &before, &mut now)?;
        }
        Ok((outputs, now))
    }

    /// Levels whose time is over start again, the slowest first.
    fn restart(
        &self,
        g: &mut Graph,
        levels: &[(Reader<'_>, Vec<Held>)],
        position: Value,
        known: &mut Known,
    ) -> Result<(), PassError> {
        let mut initial = Values::default();
        known.initial.iter().for_each(|(path, v)| initial.set(path, *v));
        let mut due: Vec<(Option<usize>, &Vec<Held>)> = Vec::new();
        for (reader, held) in levels {
            match reader.level.reset {
                Some(Reset::Tokens(n)) => due.push((Some(n), held)),
                // Where a sequence begins, copies are copies.
                _ if held.iter().any(|h| h.copies(self.program)) => {
                    due.push((None, held))
                }
                _ => {}
            }
        }
        due.sort_by_key(|(n, _)| std::cmp::Reverse(n.unwrap_or(usize::MAX)));
        for (n, held) in due {
            let (mut phase, zero) = (row(g, position, 0), scalar(g, 0.0));
            if let Some(n) = n {
                let every = scalar(g, n as f64);
                phase = g.add(Op::Rem, &[phase, every]);
            }
            let begins = g.add(Op::Equal, &[phase, zero]);
            for h in held {
                let start = h.start(g, self.program, &known.now, &initial)?;
                let value = where_holds(g, begins, start, known.now.of(&h.name)?);
                known.now.set(&h.name, value);
            }
        }
        Ok(())
    }

    fn paths<'r>(
        &'r self,
        reader: &Reader<'r>,
    ) -> impl Iterator<Item = &'r str> + use<'r> {
        let all = reader.level.objectives.iter().flat_map(|o| &o.targets);
        all.map(|t| self.program.weights[t.0].path.as_str())
    }

    /// The gradients of a level's statements, by the names that its update asks for.
    fn gradients(
        &self,
        g: &mut Graph,
        reader: &Reader<'_>,
        outputs: &[Value],
        anchors: &Values,
    ) -> Result<Values, PassError> {
        let mut out = Values::default();
        for (k, statement) in reader.level.objectives.iter().enumerate() {
            let name = self.loss(reader.first + k);
            let find = |name: &str| {
                let at = self.code.outputs.iter().position(|n| n == name)?;
                Some(outputs[at])
            };
            let rows =
                find(&name).ok_or_else(|| bug("an objective that is no output"))?;
            let rows = match find(&format!("{name}.counts")) {
                Some(counts) => mul(g, rows, counts),
                None => rows,
            };
            let objective = sum_all(g, rows);
            for (id, ..) in &statement.targets {
                let path = &self.program.weights[*id].path;
                let gradient = g.add(Op::Gradient, &[objective, anchors.of(path)?]);
                out.set(&gradient_name(path), gradient);
            }
        }
        Ok(out)
    }

    /// The output that is the objective of statement `k` of all levels.
    fn loss(&self, k: usize) -> String {
        let levels = self.program.levels.node_weights();
        let all: Vec<Value> =
            levels.flat_map(|l| &l.objectives).map(|o| o.objective).collect();
        loss_name(all.iter().position(|o| *o == all[k]).unwrap_or(k))
    }

    /// What an open window hands on is what it began with, and its rows.
    fn hand_on(
        &self,
        g: &mut Graph,
        complete: Value,
        (present, streams): (Value, &[Value]),
        before: &Values,
        now: &mut Values,
    ) -> Result<(), PassError> {
        for name in self.carried(0) {
            if let (Some(new), Some(old)) = (now.get(&name), before.get(&name)) {
                let value = where_holds(g, complete, new, old);
                now.set(&name, value);
            }
        }
        let ones = g.add(Op::Real, &[present]);
        let rows = sum_all(g, ones);
        let none = scalar(g, 0.0);
        let rows = where_holds(g, complete, none, rows);
        now.set(ROWS, rows);
        for (k, &stream) in streams.iter().enumerate() {
            let ty = g.ty(stream).clone();
            let none = zeros(g, &ty);
            let value = where_holds(g, complete, none, stream);
            now.set(&seen(k), value);
        }
        Ok(())
    }

    /// The code of the fastest window.
    fn code(
        &self,
        g: &mut Graph,
        known: &Known,
    ) -> Result<(Vec<Value>, Values), PassError> {
        let (_, position) = known.rows.ok_or_else(|| bug("rows without positions"))?;
        let named = self.code.weights.iter().chain(&self.code.states);
        let mut arguments: Vec<Value> =
            named.map(|n| known.now.of(n)).collect::<Result<_, _>>()?;
        arguments.extend(&known.streams);
        arguments.extend(&known.shared);
        arguments.push(position);
        let found = g.inline(&self.code.graph, &arguments);
        let (outputs, states) = found.split_at(self.code.outputs.len());
        let mut now = Values::default();
        for (name, &value) in self.code.states.iter().zip(states) {
            now.set(name, value);
        }
        Ok((outputs.to_vec(), now))
    }
}

/// Rows that are no tokens of the sequence see what the window's first row does, so that what nothing is made of is a number,
/// and so is its derivative: zeros would say, for instance, that there is nothing to attend to.
fn first_where_absent(g: &mut Graph, present: Value, stream: Value) -> Value {
    let dims = g.ty(stream).dims.clone();
    let first = g.add(Op::Slice { axis: 0, start: 0, size: 1 }, &[stream]);
    let own: Dims = dims[1..].iter().copied().collect();
    let first = g.add(Op::Reshape { dims: own }, &[first]);
    let axes: Vec<usize> = (1..dims.len()).collect();
    let first = broadcast(g, first, &dims, &axes);
    let present = broadcast(g, present, &dims, &[0]);
    select(g, present, stream, first)
}

/// A walk being fed.
struct Walk {
    top: bool,
    scan: Scan,
    operands: Vec<Value>,
}

impl Walk {
    fn feed(&mut self, g: &Graph, name: &str, feed: Feed, value: Value) -> Value {
        let ty = g.ty(value);
        let axis = |(n, dim): (usize, &Dim)| match (self.top, feed, dim) {
            (true, _, Dim::Batch) => Axis::Map(0),
            (true, _, Dim::Time) => Axis::Time,
            (false, Feed::Stream, _) if n == 0 => Axis::Time,
            _ => Axis::Body,
        };
        let layout: Layout = ty.dims.iter().enumerate().map(axis).collect();
        let seen = seen_by_body(&self.scan, feed, &layout, ty);
        self.scan.feeds.push((feed, layout));
        self.operands.push(value);
        self.scan.body.input(name, seen)
    }
}
