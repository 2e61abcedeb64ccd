//! Nodes in order: what must be stored is stored, the rest waits for the map that uses it.

use super::bug;
use super::elementwise::scalar_op;
use super::expression::{Program, unsplit};
use super::frame::{Coord, Frame, access};
use super::plan::Session;
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Group, NodeData, Op, Value};
use nestor_ir::tile::{Affine, Extent, Place, ScalarKind, ScalarOp, Sink, Stmt};
use nestor_ir::ty::{Dims, Type};
use smallvec::SmallVec;

/// What is known of a value without computing it.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It is stored.
    At(View),
    /// Whether a row of the chunk is a token: `0 <= offset + row < high`.
    Valid { offset: Affine, high: Affine, always: bool },
    /// The position of a row: `offset + row`.
    Position { offset: Affine },
}

/// A graph being lowered: the whole program, where every statement is a kernel, or the body of a
/// walk, whose statements act on tiles of one kernel.
pub(super) struct Lower<'g> {
    pub(super) graph: &'g Graph,
    pub(super) known: Vec<Option<Known>>,
    uses: Vec<usize>,
    pub(super) nested: bool,
    pub(super) frame: Frame,
    pub(super) session: Session,
}

impl<'g> Lower<'g> {
    pub(super) fn new(
        graph: &'g Graph,
        nested: bool,
        frame: Frame,
        session: Session,
    ) -> Self {
        let mut uses = vec![0; graph.values.len()];
        for node in graph.nodes.values() {
            for operand in &node.operands {
                uses[operand.index()] += 1;
            }
        }
        for output in &graph.outputs {
            uses[output.value.index()] += 1;
        }
        let known = vec![None; graph.values.len()];
        Self { graph, known, uses, nested, frame, session }
    }

    /// Whether anything takes a value.
    pub(super) fn used(&self, v: Value) -> bool {
        self.uses[v.index()] > 0
    }

    /// Lowers all nodes; outputs are left to the caller.
    pub(super) fn nodes(&mut self) -> Result<(), PassError> {
        let graph = self.graph;
        for node in graph.nodes.values() {
            self.node(node)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeData) -> Result<(), PassError> {
        match &node.op {
            Op::Reduce { fold, axes } => self.reduce(node, *fold, axes),
            Op::Contract { batch, sum } if !sum.is_empty() => {
                self.contract(node, batch, sum)
            }
            Op::Gather => self.gather(node),
            Op::ScatterAdd { rows } => self.scatter(node, *rows),
            Op::SolveUnitLower { transpose } => self.solve(node, *transpose),
            Op::LinearScan { reverse } => self.linear_scan(node, *reverse),
            Op::Scan { scan } => self.walk(node, scan),
            Op::Solve | Op::InverseRoot { .. } => {
                let name = node.op.info().name;
                Err(PassError::limitation(
                    "L-no-kernel",
                    format!("`{name}` on this target"),
                    "run it with the interpreter",
                ))
            }
            op => {
                let v = node.results[0];
                let computed =
                    scalar_op(op).is_some() || matches!(op, Op::Contract { .. });
                if computed && self.uses[v.index()] > 1 && !self.cheap(node) {
                    self.materialise(v)?;
                }
                Ok(())
            }
        }
    }

    /// Whether computing it again costs less than storing it.
    fn cheap(&self, node: &NodeData) -> bool {
        let leaf = |v: &Value| {
            let mut v = *v;
            loop {
                if matches!(
                    self.known[v.index()],
                    Some(Known::Valid { .. } | Known::Position { .. })
                ) {
                    return true;
                }
                let node = self.graph.def(v);
                match node.op.info().group {
                    Group::Leaf => return !matches!(node.op, Op::Input { .. }),
                    Group::Move if node.operands.len() == 1 => v = node.operands[0],
                    _ => return false,
                }
            }
        };
        node.operands.iter().all(leaf)
    }

    /// The place of a home in the kernel being built.
    pub(super) fn place(&mut self, home: Home, write: bool) -> Place {
        let plan = &self.session.plan;
        let types = |t| {
            let data: &nestor_ir::plan::TensorData = &plan.tensors[t];
            (data.name.clone(), data.ty.clone())
        };
        self.frame.place(home, &types, write)
    }

    /// Room for a new value.
    pub(super) fn room(&mut self, name: &str, ty: &Type) -> View {
        if self.nested {
            return self.frame.tile(name, ty);
        }
        let tensor = self.session.temporary(name, ty);
        View::whole(Home::Tensor(tensor), ty.elem, &ty.dims)
    }

    /// Begins a statement: a kernel of its own outside of walks.
    pub(super) fn begin(&mut self) {
        if !self.nested {
            self.frame = Frame::default();
        }
    }

    /// Ends it.
    pub(super) fn end(&mut self, name: &str) {
        if !self.nested {
            let frame = std::mem::take(&mut self.frame);
            self.session.launch(frame, name);
        }
    }

    /// Where a value is stored, perhaps by way of moves.
    pub(super) fn view_of(&self, v: Value) -> Option<View> {
        if let Some(known) = &self.known[v.index()] {
            return match known {
                Known::At(view) => Some(view.clone()),
                Known::Valid { .. } | Known::Position { .. } => None,
            };
        }
        let node = self.graph.def(v);
        match &node.op {
            Op::Transpose { order } => {
                Some(self.view_of(node.operands[0])?.transposed(order))
            }
            Op::Broadcast { dims, axes } => {
                Some(self.view_of(node.operands[0])?.broadcast(dims, axes))
            }
            Op::Slice { axis, start, size } => {
                Some(self.view_of(node.operands[0])?.slice(*axis, *start, *size))
            }
            Op::Reshape { dims } => self.view_of(node.operands[0])?.reshaped(dims),
            Op::Stop => self.view_of(node.operands[0]),
            _ => None,
        }
    }

    /// Stores what a view of `v` is to be made of, and gives it.
    pub(super) fn settled(&mut self, v: Value) -> Result<View, PassError> {
        if let Some(view) = self.view_of(v) {
            return Ok(view);
        }
        let node = self.graph.def(v);
        if matches!(
            node.op,
            Op::Transpose { .. }
                | Op::Broadcast { .. }
                | Op::Slice { .. }
                | Op::Reshape { .. }
        ) && self.known[v.index()].is_none()
        {
            let operand = node.operands[0];
            self.settled(operand)?;
            if let Some(view) = self.view_of(v) {
                return Ok(view);
            }
        }
        self.materialise(v)
    }

    /// Makes sure that `v` can be computed by a map.
    pub(super) fn prepare(&mut self, v: Value) -> Result<(), PassError> {
        if self.known[v.index()].is_some() {
            return Ok(());
        }
        let node = self.graph.def(v);
        match &node.op {
            Op::Pad { .. } | Op::Shift { .. } | Op::Window { .. } | Op::Concat { .. } => {
                for &operand in &node.operands {
                    self.settled(operand)?;
                }
            }
            Op::Reshape { dims } => {
                let operand = node.operands[0];
                let from = self.graph.ty(operand).dims.clone();
                let none = vec![Coord::fixed(Affine::default(), 0); dims.len()];
                if unsplit(&from, dims, &none, 0).is_some() {
                    return self.prepare(operand);
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
            _ => {
                for &operand in &node.operands {
                    self.prepare(operand)?;
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
        let ty = self.graph.ty(v).clone();
        let name = self.name(v);
        self.prepare(v)?;
        if let Some(Known::At(view)) = &self.known[v.index()] {
            return Ok(view.clone());
        }
        let view = self.room(&name, &ty);
        self.store(v, &view)?;
        self.known[v.index()] = Some(Known::At(view.clone()));
        Ok(view)
    }

    /// A name for people.
    pub(super) fn name(&self, v: Value) -> String {
        let data = &self.graph.values[v];
        data.name.clone().unwrap_or_else(|| self.graph.def(v).op.info().name.to_owned())
    }

    /// Indices of the grid for the first axes, coordinates for all, and the rest as a space.
    pub(super) fn spread(&mut self, dims: &Dims) -> (Vec<Coord>, SmallVec<[Extent; 4]>) {
        let spread = if self.nested { 0 } else { spread(dims) };
        let rank = (dims.len() - spread).max(1);
        let mut coords = Vec::new();
        for dim in &dims[..spread] {
            let index = self.frame.index();
            self.frame.grid.push((index, *dim));
            let one = nestor_ir::tile::Monomial::number(1);
            coords.push(Coord::fixed(Affine::index(index, one), rank));
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
        self.prepare(v)?;
        let name = self.name(v);
        self.begin();
        let dims = self.graph.ty(v).dims.clone();
        let (coords, space) = self.spread(&dims);
        let mut p = Program::new(space.len());
        let root = self.scalar(&mut p, v, &coords)?;
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        self.map(space, p, vec![(root, sink)]);
        self.end(&name);
        Ok(())
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
        let root = p.load(load, super::frame::kind(from.elem));
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        self.map(space, p, vec![(root, sink)]);
    }

    /// Fills a view.
    pub(super) fn fill(&mut self, to: &View, value: f64) {
        let (coords, space) = self.spread(&to.dims.clone());
        let mut p = Program::new(space.len());
        let root =
            p.expr.add(ScalarOp::Constant(value), &[], super::frame::kind(to.elem));
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        self.map(space, p, vec![(root, sink)]);
    }

    fn reduce(
        &mut self,
        node: &NodeData,
        fold: Fold,
        axes: &[usize],
    ) -> Result<(), PassError> {
        let (x, v) = (node.operands[0], node.results[0]);
        self.prepare(x)?;
        let from = self.graph.ty(x).dims.clone();
        let kept: Vec<usize> = (0..from.len()).filter(|a| !axes.contains(a)).collect();
        let ty = self.graph.ty(v).clone();
        let to = self.room(&self.name(v), &ty);
        let value =
            |l: &mut Self, p: &mut Program, coords: &[Coord]| l.scalar(p, x, coords);
        self.folded(fold, &from, &kept, axes, &to, value)?;
        self.known[v.index()] = Some(Known::At(to));
        Ok(())
    }

    /// Folds `axes` of a space `from` away; `value` gives a point's scalar.
    pub(super) fn folded(
        &mut self,
        fold: Fold,
        from: &Dims,
        kept: &[usize],
        axes: &[usize],
        to: &View,
        value: impl Fn(
            &mut Self,
            &mut Program,
            &[Coord],
        ) -> Result<nestor_ir::tile::ExprId, PassError>,
    ) -> Result<(), PassError> {
        self.begin();
        let kept_dims: Dims = kept.iter().map(|&a| from[a]).collect();
        let last_kept = kept.last().is_some_and(|&a| a + 1 == from.len());
        let one = nestor_ir::tile::Monomial::number(1);
        if !last_kept {
            let spread_axes =
                if self.nested { 0 } else { spread(&kept_dims).min(kept.len()) };
            let rank = kept.len() - spread_axes + axes.len();
            let mut coords = vec![Coord::fixed(Affine::default(), rank); from.len()];
            let mut space: SmallVec<[Extent; 4]> = SmallVec::new();
            let mut out = Vec::new();
            let folded_rank = kept.len() - spread_axes;
            for (n, &axis) in kept.iter().enumerate() {
                if n < spread_axes {
                    let index = self.frame.index();
                    self.frame.grid.push((index, from[axis]));
                    coords[axis] = Coord::fixed(Affine::index(index, one), rank);
                    out.push(Coord::fixed(Affine::index(index, one), folded_rank));
                } else {
                    coords[axis] = Coord::along(space.len(), rank);
                    out.push(Coord::along(space.len(), folded_rank));
                    space.push(from[axis]);
                }
            }
            for &axis in axes {
                coords[axis] = Coord::along(space.len(), rank);
                space.push(from[axis]);
            }
            let mut p = Program::new(rank);
            let root = value(self, &mut p, &coords)?;
            let place = self.place(to.home, true);
            let to = access(to, place, &out, folded_rank);
            let sink = Sink::Fold { fold, axes: axes.len(), to, accumulate: false };
            self.map(space, p, vec![(root, sink)]);
        } else {
            let identity = match fold {
                Fold::Sum => 0.0,
                Fold::Max => f64::NEG_INFINITY,
                Fold::Min => f64::INFINITY,
            };
            let (out, space) = self.spread(&kept_dims);
            let rank = space.len();
            let place = self.place(to.home, true);
            let sink = access(to, place, &out, rank);
            let mut p = Program::new(rank);
            let root = p.real(ScalarOp::Constant(identity), &[]);
            self.map(space.clone(), p, vec![(root, Sink::Store(sink.clone()))]);
            let mut coords = vec![Coord::fixed(Affine::default(), rank); from.len()];
            for (coord, &axis) in out.iter().zip(kept) {
                coords[axis] = coord.clone();
            }
            let mut loops = Vec::new();
            for &axis in axes {
                let index = self.frame.index();
                coords[axis] = Coord::fixed(Affine::index(index, one), rank);
                loops.push((index, from[axis]));
            }
            let mut p = Program::new(rank);
            let term = value(self, &mut p, &coords)?;
            let place = self.place(to.home, false);
            let before = p.load(access(to, place, &out, rank), ScalarKind::Real);
            let op = match fold {
                Fold::Sum => ScalarOp::Add,
                Fold::Max => ScalarOp::Max,
                Fold::Min => ScalarOp::Min,
            };
            let root = p.real(op, &[before, term]);
            let mut body = vec![Stmt::Map {
                space,
                expr: p.expr,
                loads: p.loads,
                sinks: vec![(root, Sink::Store(sink))],
            }];
            for (index, extent) in loops.into_iter().rev() {
                body = vec![Stmt::Loop { index, extent, reverse: false, body }];
            }
            self.frame.body.extend(body);
        }
        self.end("fold");
        Ok(())
    }
}

/// How many leading axes become the grid: enough work for a point, enough points for workers.
fn spread(dims: &Dims) -> usize {
    let inner = |n: usize| -> usize {
        dims[n..].iter().map(|d| d.fixed().unwrap_or(1)).product()
    };
    match (dims.first(), dims.get(1)) {
        (None, _) | (Some(_), None) => 0,
        (Some(Dim::Batch), Some(Dim::Time)) if dims.len() > 2 && inner(2) >= 512 => 2,
        (Some(Dim::Batch | Dim::Time | Dim::Chunks(_)), _) => 1,
        (Some(Dim::Fixed(n)), _) => usize::from(inner(1) >= 256 || n * inner(1) >= 16384),
    }
}
