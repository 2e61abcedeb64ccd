//! Nodes in order: what must be stored is stored, the rest waits for the map that uses it.

use super::elementwise::scalar_op;
use super::frame::Frame;
use super::plan::Session;
use super::solves::System;
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, NodeData, Op, Value};
use nestor_ir::tile::{Affine, Place};
use nestor_ir::ty::Type;

/// What is known of a value without computing it.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "most values of a graph are stored")]
pub(super) enum Known {
    /// It is stored.
    At(View),
    /// Whether a row of the chunk is a token: `0 <= offset + row < high`.
    /// What may be: that rows lie before the first one, and behind the last.
    Valid { offset: Affine, high: Affine, may: [bool; 2] },
    /// The position of a row: `offset + row`.
    Position { offset: Affine },
}

/// A graph being lowered: the whole program, where every statement is a kernel, or the body of a
/// walk, whose statements act on tiles of one kernel.
pub(super) struct Lower<'g> {
    pub(super) graph: &'g Graph,
    pub(super) known: Vec<Option<Known>>,
    pub(super) uses: Vec<usize>,
    /// The only node that takes a value.
    pub(super) user: Vec<Option<Node>>,
    /// All nodes that take it.
    pub(super) users: Vec<Vec<Node>>,
    /// Element-wise values used more than once: stored by the first map that computes them.
    pub(super) pending: Vec<bool>,
    /// How many element-wise operations in a row a value waits for.
    depth: Vec<usize>,
    /// Products that will be added to a sum where it lies.
    pub(super) deferred: Vec<bool>,
    /// Where a value that replaces an input goes, and the input.
    pub(super) target: Vec<Option<(View, Value)>>,
    /// Copies in another order of axes.
    pub(super) packs: Vec<(View, View)>,
    /// How many of the outputs are the next states of a walk.
    pub(super) states: usize,
    /// Inputs that are the same at every step of a walk, by number.
    pub(super) shared: Vec<usize>,
    /// What is computed before the first step.
    pub(super) fixed: Vec<bool>,
    /// Which rows of the chunk are tokens, also when the condition itself was stored: the value,
    /// and `0 <= offset + row < high`.
    pub(super) valid: Option<(Value, Affine, Affine)>,
    /// Nodes in the order in which they are lowered.
    pub(super) order: Vec<Node>,
    pub(super) done: Vec<bool>,
    /// The node that is being lowered.
    pub(super) current: Option<Node>,
    /// The tile of the state that a value is next.
    pub(super) next_in: Vec<Option<View>>,
    /// Which outputs are where they belong.
    pub(super) stored: Vec<bool>,
    pub(super) nested: bool,
    pub(super) frame: Frame,
    pub(super) session: Session,
}

/// Element-wise operations in a row beyond which a value is stored: maps are written out by functions that
/// call themselves for every operand.
const DEEP: usize = 96;

impl<'g> Lower<'g> {
    pub(super) fn new(
        graph: &'g Graph,
        nested: bool,
        frame: Frame,
        session: Session,
    ) -> Self {
        let count = graph.values.len();
        let mut uses = vec![0; count];
        let mut user = vec![None; count];
        let mut users: Vec<Vec<Node>> = vec![vec![]; count];
        for (id, node) in graph.nodes.iter() {
            for operand in &node.operands {
                uses[operand.index()] += 1;
                user[operand.index()] = Some(id);
                users[operand.index()].push(id);
            }
        }
        for output in &graph.outputs {
            uses[output.value.index()] += 1;
            user[output.value.index()] = None;
        }
        for (user, uses) in user.iter_mut().zip(&uses) {
            *user = user.filter(|_| *uses == 1);
        }
        Self {
            graph,
            known: vec![None; count],
            uses,
            user,
            users,
            pending: vec![false; count],
            depth: vec![0; count],
            deferred: vec![false; count],
            target: vec![None; count],
            packs: vec![],
            states: 0,
            shared: vec![],
            fixed: vec![false; count],
            valid: None,
            order: graph.nodes.keys().collect(),
            done: vec![false; graph.nodes.len()],
            current: None,
            next_in: vec![None; count],
            stored: vec![false; graph.outputs.len()],
            nested,
            frame,
            session,
        }
    }

    /// Whether anything takes a value.
    pub(super) fn used(&self, v: Value) -> bool {
        self.uses[v.index()] > 0
    }

    /// Lowers the nodes of which this holds; outputs are left to the caller.
    pub(super) fn nodes(
        &mut self,
        which: impl Fn(&NodeData) -> bool,
    ) -> Result<(), PassError> {
        let graph = self.graph;
        for id in self.order.clone() {
            let node = &graph.nodes[id];
            if !self.done[id.index()] && which(node) {
                self.done[id.index()] = true;
                self.current = Some(id);
                self.node(node)?;
            }
        }
        self.current = None;
        Ok(())
    }

    fn node(&mut self, node: &NodeData) -> Result<(), PassError> {
        match &node.op {
            Op::Reduce { fold, axes } if self.unrolled(node).is_none() => {
                self.reduce(node, *fold, axes)
            }
            Op::Contract { sum, .. } if !sum.is_empty() => {
                let v = node.results[0];
                if self.joins_sum(v) {
                    self.deferred[v.index()] = true;
                    return Ok(());
                }
                self.contract(node)
            }
            Op::Gather => self.gather(node),
            Op::ScatterAdd { rows } => self.scatter(node, *rows),
            Op::SolveUnitLower { transpose } => {
                self.solve(node, System::UnitLower { transpose: *transpose })
            }
            Op::Solve => self.solve(node, System::Whole),
            Op::InverseRoot { p } => self.inverse_root(node, *p),
            Op::Eigenvectors => self.inverse_root(node, f64::INFINITY),
            Op::LinearScan { reverse } => self.linear_scan(node, *reverse),
            Op::Scan { scan } => self.walk(node, scan),
            Op::Broadcast { .. } => self.before_broadcast(node),
            op => {
                let v = node.results[0];
                if self.is_sum_of_products(v) {
                    // The next state goes where the last one lay, when all have read that.
                    let waits = self.is_state(v);
                    return if waits { Ok(()) } else { self.materialise(v).map(|_| ()) };
                }
                let computed = scalar_op(op).is_some()
                    || matches!(op, Op::Contract { .. } | Op::Reduce { .. });
                if self.deepened(node) > DEEP && computed {
                    self.depth[v.index()] = 0;
                    return self.materialise(v).map(|_| ());
                }
                let again = self.cheap(node) || self.reads_one(node);
                if computed && self.uses[v.index()] > 1 && !again {
                    self.pending[v.index()] = true;
                }
                Ok(())
            }
        }
    }

    /// How many operations in a row the node's result waits for.
    fn deepened(&mut self, node: &NodeData) -> usize {
        let waits = |v: &Value| match self.known[v.index()] {
            Some(_) => 0,
            None => self.depth[v.index()],
        };
        let depth = 1 + node.operands.iter().map(waits).max().unwrap_or(0);
        node.results.iter().for_each(|v| self.depth[v.index()] = depth);
        depth
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

    /// A name for people.
    pub(super) fn name(&self, v: Value) -> String {
        let data = &self.graph.values[v];
        data.name.clone().unwrap_or_else(|| self.graph.def(v).op.info().name.to_owned())
    }
}
