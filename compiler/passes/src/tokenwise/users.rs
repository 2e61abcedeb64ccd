//! Who takes what, and how: as it is stored, or computing it as they go.

use crate::build::users;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group as Kind, Node, Op, Value};

/// Numbers of a token that are read again for little.
pub(super) const FEW: usize = 8;

/// Numbers of a token in a value.
pub(super) fn width(graph: &Graph, v: Value) -> usize {
    graph.ty(v).dims.iter().skip(2).filter_map(|d| d.fixed()).product()
}

/// Who takes each value, and whether the world does.
pub(crate) struct Users {
    pub(crate) nodes: Vec<Vec<Node>>,
    pub(crate) output: Vec<bool>,
}

impl Users {
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut output = vec![false; graph.values.len()];
        graph.outputs.iter().for_each(|o| output[o.value.index()] = true);
        Self { nodes: users(graph), output }
    }

    /// Whether one of some nodes takes a value.
    fn among(&self, v: Value, members: &[Node]) -> bool {
        self.nodes[v.index()].iter().any(|user| members.binary_search(user).is_ok())
    }

    /// Leaves out what only others take, where these compute it as they go; sums over tokens do not.
    pub(super) fn trim(&self, graph: &Graph, members: &mut Vec<Node>, totals: &[Node]) {
        for at in (0..members.len()).rev() {
            let node = &graph.nodes[members[at]];
            let v = node.results[0];
            let folds = matches!(node.op, Op::Reduce { .. });
            let here = self.among(v, members) || self.among(v, totals);
            if !folds && !here && self.is_inlined(graph, v) {
                members.remove(at);
            }
        }
    }

    /// Whether all that take a value compute it as they go.
    pub(crate) fn is_inlined(&self, graph: &Graph, v: Value) -> bool {
        !self.output[v.index()]
            && self.nodes[v.index()].iter().all(|user| self.is_inlined_by(graph, *user))
    }

    /// Whether a node computes what it takes as it goes.
    pub(crate) fn is_inlined_by(&self, graph: &Graph, user: Node) -> bool {
        let node = &graph.nodes[user];
        match node.op.info().group {
            Kind::Unary | Kind::Binary | Kind::Select | Kind::Reduce => true,
            // What several take some tokens later is taken from memory.
            Kind::Move if matches!(node.op, Op::Shift { .. }) => {
                self.nodes[node.operands[0].index()].len() == 1
                    && self.is_inlined(graph, node.results[0])
            }
            Kind::Move => self.is_inlined(graph, node.results[0]),
            _ => false,
        }
    }

    /// Whether what is folded is taken by another of some nodes: only then would anything be read twice.
    pub(super) fn folds(&self, graph: &Graph, members: &[Node]) -> bool {
        members.iter().map(|id| &graph.nodes[*id]).any(|node| {
            matches!(node.op, Op::Reduce { .. }) && self.among(node.results[0], members)
        })
    }

    /// How many of some nodes are stored for others.
    pub(super) fn stored(&self, graph: &Graph, members: &[Node]) -> usize {
        let is_stored = |id: &&Node| {
            let v = graph.nodes[**id].results[0];
            let as_stored = |user: &Node| !self.is_inlined_by(graph, *user);
            let taken =
                self.output[v.index()] || self.nodes[v.index()].iter().any(as_stored);
            taken && width(graph, v) >= FEW
        };
        members.iter().filter(is_stored).count()
    }
}
