//! Which nodes belong together: they let each token be, a value of one is taken by another or both take the same, and nothing
//! that does not lies between any two of them.

use super::cheap::Cheap;
use super::connected::connected;
use super::users::{Users, width};
use crate::schedule::scalar_op;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, Group as Kind, Node, NodeData, Op, Value};
use nestor_ir::ty::Dims;
use rustc_hash::FxHashSet;

/// Numbers of a token beyond which they do not stay where they are computed: folds then go over memory as well.
const WIDEST: usize = 8192;
/// Numbers of a token up to which chunks have so many tokens that their shares of a sum are few.
const SUMMED: usize = 512;

/// Nodes that become one walk.
pub(super) struct Group {
    /// In order, with those that stand elsewhere as well.
    pub(super) nodes: Vec<Node>,
    /// What others need of those that stand here alone.
    pub(super) yields: Vec<Value>,
    /// Sums over all tokens of what these make, as a weight's gradient is one: a chunk's share of them is yielded.
    pub(super) totals: Vec<Node>,
    /// Ticks, of which a value has one entry each.
    pub(super) time: Dim,
    /// Numbers of a token, at most.
    pub(super) width: usize,
}

/// All groups of a graph.
pub(super) struct Groups {
    pub(super) all: Vec<Group>,
    /// The group of a node that stands there alone.
    pub(super) of: Vec<Option<usize>>,
}

/// The ticks of a value that has sequences and ticks in front and known sizes behind.
pub(super) fn ticks(dims: &Dims) -> Option<Dim> {
    let known = |dims: &[Dim]| dims.iter().all(|d| d.fixed().is_some());
    match dims.split_first_chunk::<2>() {
        Some(([Dim::Batch, time], rest)) if time.ticks_of().is_some() && known(rest) => {
            Some(*time)
        }
        _ => None,
    }
}

/// Which nodes compute each token's numbers from that token's alone.
pub(crate) fn by_tokens(graph: &Graph) -> Vec<bool> {
    let mut own = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter() {
        // Moves are made by who takes them: neighbours are not found in a chunk. Whole ones that are some tokens away are read from memory.
        let moved = node.operands.iter().any(|v| {
            let from = graph.values[*v].node;
            let op = &graph.nodes[from].op;
            op.info().group == Kind::Move
                && !matches!(op, Op::Shift { axis: 1, .. })
                && ticks(&graph.ty(*v).dims).is_some()
                && !own[from.index()]
        });
        own[id.index()] = !moved && is_by_tokens(graph, node);
    }
    own
}

fn is_by_tokens(graph: &Graph, node: &NodeData) -> bool {
    let [result] = node.results[..] else { return false };
    let of = |v: &Value| ticks(&graph.ty(*v).dims);
    let Some(own) = of(&result) else { return false };
    let repeats = matches!(node.op, Op::Broadcast { .. });
    if !repeats && node.operands.iter().any(|v| of(v) != Some(own)) {
        return false;
    }
    match &node.op {
        Op::Reduce { axes, .. } => axes.iter().all(|a| *a > 1),
        Op::Broadcast { .. } => true,
        Op::Reshape { dims } => graph.ty(node.operands[0]).dims.get(..2) == dims.get(..2),
        Op::Transpose { order } => order[..2] == [0, 1],
        Op::Slice { axis, .. } | Op::Pad { axis, .. } | Op::Concat { axis } => *axis > 1,
        op => scalar_op(op).is_some(),
    }
}

impl Groups {
    pub(super) fn of(graph: &Graph) -> Self {
        let own = by_tokens(graph);
        let users = Users::of(graph);
        let mut found = Self { all: vec![], of: vec![None; graph.nodes.len()] };
        for mut members in connected(graph, &own, &users) {
            let totals = match widest(graph, &members) {
                ..=SUMMED => totals(graph, &members, &users),
                _ => vec![],
            };
            users.trim(graph, &mut members, &totals);
            // What is folded is taken again, and what goes to several would be read for each of them.
            let several = users.stored(graph, &members) + totals.len() > 1;
            if !several && !users.folds(graph, &members) {
                continue;
            }
            let result = graph.nodes[members[0]].results[0];
            let Some(time) = ticks(&graph.ty(result).dims) else { continue };
            let width = widest(graph, &members);
            if width > WIDEST {
                continue;
            }
            let all = members.iter().chain(&totals);
            all.for_each(|id| found.of[id.index()] = Some(found.all.len()));
            found.all.push(Group { nodes: members, yields: vec![], totals, time, width });
        }
        if !found.all.is_empty() {
            found.hand_over(graph, &own, &users);
        }
        found
    }

    /// What goes from a group to others, and what these compute themselves.
    fn hand_over(&mut self, graph: &Graph, own: &[bool], users: &Users) {
        let cheap = Cheap::of(graph, own);
        let mut wanted = self.wanted_outside(graph, users, &cheap);
        for group in &mut self.all {
            group.copy(graph, &cheap, &mut wanted);
        }
        for (n, group) in self.all.iter_mut().enumerate() {
            let made = group.nodes.iter().filter(|id| self.of[id.index()] == Some(n));
            let results = made.map(|id| graph.nodes[*id].results[0]);
            let stored = |v: &Value| wanted[v.index()] && !is_view(graph, *v, &self.of);
            group.yields = results.filter(stored).collect();
        }
    }

    /// Which values the world and nodes of no group take as they are stored, rather than compute them as they go.
    fn wanted_outside(&self, graph: &Graph, users: &Users, cheap: &Cheap) -> Vec<bool> {
        let mut wanted = vec![false; graph.values.len()];
        graph.outputs.iter().for_each(|o| wanted[o.value.index()] = true);
        for (id, node) in graph.nodes.iter() {
            if self.of[id.index()].is_some() {
                continue;
            }
            let inlines = users.is_inlined_by(graph, id);
            let mut open: Vec<Value> = node.operands.to_vec();
            while let Some(v) = open.pop() {
                let from = graph.def(v);
                let repeats = matches!(from.op, Op::Broadcast { .. });
                let member = self.of[graph.values[v].node.index()].is_some();
                match member && (repeats || inlines && cheap.is(v)) {
                    true => open.extend(&from.operands),
                    false => wanted[v.index()] = true,
                }
            }
        }
        wanted
    }
}

impl Group {
    /// Takes in what it can as well compute itself; what it is fed is wanted.
    fn copy(&mut self, graph: &Graph, cheap: &Cheap, wanted: &mut [bool]) {
        let mut held: FxHashSet<Node> = self.nodes.iter().copied().collect();
        let mut at = 0;
        while let Some(&id) = self.nodes.get(at) {
            for &v in &graph.nodes[id].operands {
                let from = graph.values[v].node;
                match cheap.is(v) {
                    _ if held.contains(&from) => {}
                    true => {
                        held.insert(from);
                        self.nodes.push(from);
                    }
                    false => wanted[v.index()] = true,
                }
            }
            at += 1;
        }
        self.nodes.sort();
    }
}

/// Whether a value is one of no group, laid out anew: that lies in memory as it is.
fn is_view(graph: &Graph, v: Value, of: &[Option<usize>]) -> bool {
    let node = graph.def(v);
    let stored = |v: &Value| of[graph.values[*v].node.index()].is_none();
    matches!(node.op, Op::Reshape { .. }) && node.operands.iter().all(stored)
}

/// Numbers of a token that some nodes make, at most.
fn widest(graph: &Graph, members: &[Node]) -> usize {
    let made = members.iter().map(|id| width(graph, graph.nodes[*id].results[0]));
    made.max().unwrap_or(1)
}

/// Sums over all of a sequence's tokens of what one of some nodes makes.
fn totals(graph: &Graph, members: &[Node], users: &Users) -> Vec<Node> {
    let made = |id: &&Node| graph.nodes[**id].results[0];
    let taken = members.iter().map(|id| made(&id)).flat_map(|v| &users.nodes[v.index()]);
    let is_total = |id: &&Node| match &graph.nodes[**id].op {
        Op::Reduce { fold: Fold::Sum, axes } => axes.contains(&1) && !axes.contains(&0),
        _ => false,
    };
    let mut out: Vec<Node> = taken.filter(is_total).copied().collect();
    out.sort();
    out.dedup();
    out
}
