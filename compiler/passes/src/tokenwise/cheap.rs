//! What is computed wherever it is taken: little work makes it of no more than one value that is there.

use crate::schedule::{AGAIN, own_weight};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, NodeData, Op, Value};

/// Which of a graph's values are.
pub(crate) struct Cheap {
    /// By value: the one of its own rank that it is made of, if there is one, and the work.
    made: Vec<Option<(Option<Value>, usize)>>,
}

impl Cheap {
    /// `own` of the nodes that let each token be.
    pub(crate) fn of(graph: &Graph, own: &[bool]) -> Self {
        let mut out = Self { made: vec![None; graph.values.len()] };
        for (id, node) in graph.nodes.iter() {
            let found = match own[id.index()] && !matches!(node.op, Op::Reduce { .. }) {
                true => out.made_of(graph, node),
                false => everywhere(node).then_some((None, 0)),
            };
            if let Some(made) = found {
                out.made[node.results[0].index()] = Some(made);
            }
        }
        out
    }

    /// Whether a value is one of these.
    pub(crate) fn is(&self, v: Value) -> bool {
        self.made[v.index()].is_some()
    }

    fn made_of(&self, graph: &Graph, node: &NodeData) -> Option<(Option<Value>, usize)> {
        let rank = graph.ty(node.results[0]).rank();
        let mut read = None;
        let mut weight = match node.op.info().group {
            Group::Move => 0,
            _ => own_weight(&node.op),
        };
        for &v in &node.operands {
            let from = match self.made[v.index()] {
                Some((from, work)) => {
                    weight += work;
                    from
                }
                None => Some(v),
            };
            // Fewer numbers a token cost nothing beside.
            let from = from.filter(|v| graph.ty(*v).rank() >= rank);
            if from.is_some() && read.is_some_and(|r| Some(r) != from) {
                return None;
            }
            read = read.or(from);
        }
        (weight <= AGAIN).then_some((read, weight))
    }
}

/// Whether a node takes nothing, and is the same for all tokens.
fn everywhere(node: &NodeData) -> bool {
    match &node.op {
        Op::Constant { .. } => true,
        Op::Iota { axis, dims } => dims[*axis].fixed().is_some(),
        _ => false,
    }
}
