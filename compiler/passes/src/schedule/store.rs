//! Storing values: what a map is made of, where it goes, and what else it stores on its way.

use super::bug;
use super::elementwise::scalar_op;
use super::expression::{Program, unsplit};
use super::fold::spread;
use super::frame::{Coord, access, kind, place_of};
use super::lower::{Known, Lower};
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Op, Value};
use nestor_ir::tile::{Affine, ExprId, Extent, ScalarOp, Sink, Stmt};
use nestor_ir::ty::{Dims, Type};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

/// Numbers beside one another, of which a part of a value has whole multiples where it is worth a map of its own.
const LINE: usize = 32;

/// How a computation reads a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Touch {
    /// Not at all.
    Not,
    /// Each element only for the element of the result that lies there.
    InPlace,
    /// In another way.
    Elsewhere,
}

impl Lower<'_> {
    /// Makes sure that `v` can be computed by a map; `same` where the map's points are the
    /// elements of `v`, so that it can store `v` as well.
    pub(super) fn prepare(&mut self, v: Value, same: bool) -> Result<(), PassError> {
        if self.known[v.index()].is_some() {
            return Ok(());
        }
        if self.pending[v.index()] && !same
            || self.deferred[v.index()]
            || self.is_sum_of_products(v)
        {
            return self.materialise(v).map(|_| ());
        }
        let node = self.graph.def(v);
        match &node.op {
            Op::Pad { .. } | Op::Shift { .. } if self.moves_along(node.operands[0]) => {
                self.prepare(node.operands[0], false)?;
            }
            Op::Pad { .. }
            | Op::Fit { .. }
            | Op::Shift { .. }
            | Op::Window { .. }
            | Op::Concat { .. } => {
                for &operand in &node.operands {
                    self.settled(operand)?;
                }
            }
            Op::Reshape { dims } => {
                let operand = node.operands[0];
                let from = self.graph.ty(operand).dims.clone();
                let none = vec![Coord::fixed(Affine::default(), 0); dims.len()];
                if unsplit(&from, dims, &none, 0).is_some() {
                    return self.prepare(operand, false);
                }
                let view = self.settled(operand)?;
                let reshaped = match view.reshaped(dims) {
                    Some(reshaped) => reshaped,
                    None => {
                        let copy = self.copied(&view, "copy")?;
                        copy.reshaped(dims).ok_or_else(|| bug("a reshape of a copy"))?
                    }
                };
                self.known[v.index()] = Some(Known::At(reshaped));
            }
            op => {
                let same = same && (scalar_op(op).is_some() || *op == Op::Stop);
                for &operand in &node.operands {
                    self.prepare(operand, same)?;
                }
            }
        }
        Ok(())
    }

    /// Computes and stores a value.
    pub(super) fn materialise(&mut self, v: Value) -> Result<View, PassError> {
        if let Some(Known::At(view)) = &self.known[v.index()] {
            return Ok(view.clone());
        }
        let implicit = self.known[v.index()].is_some();
        if self.deferred[v.index()] {
            self.deferred[v.index()] = false;
            let node = self.graph.def(v);
            self.contract(node)?;
        } else {
            if let Some(view) = self.in_parts(v)? {
                return Ok(view);
            }
            if !self.is_sum_of_products(v) {
                self.pending[v.index()] = false;
                self.prepare(v, true)?;
            }
            if !matches!(self.known[v.index()], Some(Known::At(_))) {
                let view = self.home_of(v);
                self.store(v, &view)?;
                // What is known without a place stays so: masks are asked for by their bounds.
                if implicit {
                    return Ok(view);
                }
                self.known[v.index()] = Some(Known::At(view));
            }
        }
        match &self.known[v.index()] {
            Some(Known::At(view)) => Ok(view.clone()),
            _ => Err(bug("a value that was not stored")),
        }
    }

    /// Things one after another, on a tile: each is computed where it belongs.
    fn in_parts(&mut self, v: Value) -> Result<Option<View>, PassError> {
        let node = self.graph.def(v);
        let Op::Concat { axis } = node.op else { return Ok(None) };
        let size = |part: &Value| self.graph.ty(*part).dims[axis].fixed();
        let sizes: Option<Vec<usize>> = node.operands.iter().map(size).collect();
        let behind = &self.graph.ty(v).dims[axis + 1..];
        let line = behind.iter().map(|d| d.fixed()).product::<Option<usize>>();
        let lines = line.is_some_and(|n| n.is_multiple_of(LINE));
        let waits = self.nested && self.known[v.index()].is_none();
        let Some(sizes) = sizes.filter(|_| lines && waits) else { return Ok(None) };
        let whole = self.home_of(v);
        let mut start = 0;
        for (&part, size) in node.operands.iter().zip(sizes) {
            let to = whole.slice(axis, start, size);
            self.store(part, &to)?;
            if self.view_of(part).is_none() {
                self.pending[part.index()] = false;
                self.known[part.index()] = Some(Known::At(to));
            }
            start += size;
        }
        self.known[v.index()] = Some(Known::At(whole.clone()));
        Ok(Some(whole))
    }

    /// Indices of the grid for the first axes, coordinates for all, and the rest as a space.
    pub(super) fn spread(&mut self, dims: &Dims) -> (Vec<Coord>, SmallVec<[Extent; 4]>) {
        let spread = if self.nested { 0 } else { spread(dims) };
        let rank = (dims.len() - spread).max(1);
        let mut coords = Vec::new();
        for dim in &dims[..spread] {
            let index = self.frame.index();
            self.frame.grid.push((index, *dim));
            coords.push(Coord::fixed(place_of(index, *dim), rank));
        }
        for d in 0..dims.len() - spread {
            coords.push(Coord::along(d, rank));
        }
        let mut space: SmallVec<[Extent; 4]> = dims[spread..].iter().copied().collect();
        if space.is_empty() {
            space.push(Dim::Fixed(1));
        }
        (coords, space)
    }

    /// Computes a value and stores it in `to`, whatever else is known of it.
    pub(super) fn store(&mut self, v: Value, to: &View) -> Result<(), PassError> {
        if self.known[v.index()].is_none() && self.is_sum_of_products(v) {
            return self.store_sum(v, to);
        }
        self.prepare(v, true)?;
        let name = self.name(v);
        self.begin();
        let dims = self.graph.ty(v).dims.clone();
        let (coords, space) = self.spread(&dims);
        let mut p = Program::new(space.len()).over(&dims, &coords);
        let root = self.scalar(&mut p, v, &coords)?;
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        let sinks = self.with_extras(&mut p, &coords, space.len(), (v, root, sink));
        self.map(space, p, sinks);
        self.end(&name);
        Ok(())
    }

    /// The sinks of a map that makes a value, and those of the values that it computes on its way
    /// and others need.
    pub(super) fn with_extras(
        &mut self,
        p: &mut Program,
        coords: &[Coord],
        rank: usize,
        (made, root, sink): (Value, ExprId, Sink),
    ) -> Vec<(ExprId, Sink)> {
        let mut sinks = vec![(root, sink)];
        for (v, root) in std::mem::take(&mut p.extras) {
            if v != made && self.served(p, v, made) {
                continue;
            }
            let to = self.home_of(v);
            let place = self.place(to.home, true);
            sinks.push((root, Sink::Store(access(&to, place, coords, rank))));
            self.known[v.index()] = Some(Known::At(to));
            self.pending[v.index()] = false;
        }
        sinks
    }

    /// Whether everything that takes a value is in the map that makes another one.
    fn served(&self, p: &Program, v: Value, made: Value) -> bool {
        let output = self.graph.outputs.iter().any(|o| o.value == v);
        !output
            && self.users[v.index()].iter().all(|&user| {
                let result = self.graph.nodes[user].results[0];
                result == made
                    || self.is_term_of(result, made)
                    || p.computes(result)
                        && (self.pending[result.index()] || self.served(p, result, made))
            })
    }

    /// Room for a value: the input that it replaces where nothing else reads that, or new.
    pub(super) fn home_of(&mut self, v: Value) -> View {
        if let Some((view, input)) = self.target[v.index()].clone()
            && self.uses[input.index()] == 1
            && self.touches(v, view.home, true) == Touch::InPlace
        {
            return view;
        }
        if let Some(tile) = self.place_of_old(v) {
            return tile;
        }
        self.room_in_order(v)
    }

    /// How computing a value reads what lies in a home.
    pub(super) fn touches(&self, v: Value, home: Home, same: bool) -> Touch {
        self.touches_anew(v, home, same, &mut FxHashSet::default())
    }

    /// The same, of what was not looked into before: most values are reached on many ways.
    pub(super) fn touches_anew(
        &self,
        v: Value,
        home: Home,
        same: bool,
        seen: &mut FxHashSet<(Value, bool)>,
    ) -> Touch {
        if !seen.insert((v, same)) {
            return Touch::Not;
        }
        if matches!(
            self.known[v.index()],
            Some(Known::Valid { .. } | Known::Position { .. })
        ) {
            return Touch::Not;
        }
        if let Some(view) = self.view_of(v) {
            return match (view.home == home, same && view.is_whole()) {
                (false, _) => Touch::Not,
                (true, true) => Touch::InPlace,
                (true, false) => Touch::Elsewhere,
            };
        }
        let node = self.graph.def(v);
        let same = same && (scalar_op(&node.op).is_some() || node.op == Op::Stop);
        let operands = node.operands.iter();
        let each = operands.map(|&o| self.touches_anew(o, home, same, seen));
        each.max().unwrap_or(Touch::Not)
    }

    /// The values that a map of `v` computes at its own points and others need, too.
    pub(super) fn on_the_way(&self, v: Value, found: &mut Vec<Value>) {
        for &operand in &self.graph.def(v).operands {
            let waits =
                self.known[operand.index()].is_none() && self.view_of(operand).is_none();
            let new = !found.contains(&operand);
            if waits && new && scalar_op(&self.graph.def(v).op).is_some() {
                if self.pending[operand.index()] {
                    found.push(operand);
                }
                self.on_the_way(operand, found);
            }
        }
    }

    pub(super) fn map(
        &mut self,
        space: SmallVec<[Extent; 4]>,
        p: Program,
        sinks: Vec<(nestor_ir::tile::ExprId, Sink)>,
    ) {
        self.frame.body.push(Stmt::Map { space, expr: p.expr, loads: p.loads, sinks });
    }

    /// A contiguous copy of a view's elements.
    pub(super) fn copied(&mut self, from: &View, name: &str) -> Result<View, PassError> {
        let ty = Type { elem: from.elem, dims: from.dims.clone() };
        let to = self.room(name, &ty);
        self.begin();
        self.copy(from, &to);
        self.end(name);
        Ok(to)
    }

    /// Copies between views of one shape.
    pub(super) fn copy(&mut self, from: &View, to: &View) {
        let (coords, space) = self.spread(&from.dims.clone());
        let mut p = Program::new(space.len());
        let place = self.place(from.home, false);
        let load = access(from, place, &coords, space.len());
        let root = p.load(load, kind(from.elem));
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        self.map(space, p, vec![(root, sink)]);
    }

    /// Fills a view.
    pub(super) fn fill(&mut self, to: &View, value: f64) {
        let (coords, space) = self.spread(&to.dims.clone());
        let mut p = Program::new(space.len());
        let root = p.expr.add(ScalarOp::Constant(value), &[], kind(to.elem));
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        self.map(space, p, vec![(root, sink)]);
    }
}
