//! A graph made again node by node, some of its nodes replaced: what most passes are.

use super::graph::Named;
use super::{Graph, Node, NodeData, Value};
use crate::entity::Entity;
use smallvec::SmallVec;
use std::convert::Infallible;

/// What stands for a node's results.
pub type Results = SmallVec<[Value; 1]>;

/// A graph being made again.
pub struct Rebuild {
    /// What is made so far.
    pub graph: Graph,
    map: Vec<Value>,
}

impl Rebuild {
    /// What stands for a value of the graph that is made again; its node came before.
    pub fn at(&self, value: Value) -> Value {
        self.map[value.index()]
    }

    /// What stands for a node's operands.
    pub fn operands(&self, node: &NodeData) -> SmallVec<[Value; 3]> {
        node.operands.iter().map(|&v| self.at(v)).collect()
    }
}

impl Graph {
    /// The graph with the nodes for which `make` gives results replaced, and the others copied.
    /// Inputs and outputs keep their names and order, values their names where they have none yet.
    pub fn rebuilt(
        &self,
        mut make: impl FnMut(&mut Rebuild, Node, &NodeData) -> Option<Results>,
    ) -> Self {
        let made = self.try_rebuilt(|r, id, node| Ok::<_, Infallible>(make(r, id, node)));
        match made {
            Ok(graph) => graph,
            Err(never) => match never {},
        }
    }

    /// As [`Graph::rebuilt`].
    ///
    /// # Errors
    /// The first one of `make`.
    pub fn try_rebuilt<E>(
        &self,
        mut make: impl FnMut(&mut Rebuild, Node, &NodeData) -> Result<Option<Results>, E>,
    ) -> Result<Self, E> {
        let map = vec![Value::new(0); self.values.len()];
        let mut r = Rebuild { graph: Self::new(), map };
        for (id, node) in self.nodes.iter() {
            let results = match make(&mut r, id, node)? {
                Some(results) => results,
                None => {
                    let operands = r.operands(node);
                    r.graph.add_many(node.op.clone(), &operands)
                }
            };
            for (&from, &to) in node.results.iter().zip(&results) {
                r.map[from.index()] = to;
                let name = &mut r.graph.values[to].name;
                if name.is_none() {
                    name.clone_from(&self.values[from].name);
                }
            }
        }
        let Rebuild { mut graph, map } = r;
        let renamed = |list: &[Named]| {
            let at = |n: &Named| map[n.value.index()];
            list.iter().map(|n| Named { name: n.name.clone(), value: at(n) }).collect()
        };
        graph.inputs = renamed(&self.inputs);
        graph.outputs = renamed(&self.outputs);
        Ok(graph)
    }
}
