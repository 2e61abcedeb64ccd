//! The graph itself: nodes in topological order, each with its operands in order and its results.
//!
//! Invariants, checked by the verifier: a node's operands are results of earlier nodes; every
//! result's type is what [`infer`](super::infer) says; every input node is listed in `inputs` at
//! its index. Passes do not edit a graph in place: they build a new one.

use crate::entity;
use crate::entity::Arena;
use crate::tensor::infer::{TypeError, infer};
use crate::tensor::ops::Op;
use crate::ty::Type;
use smallvec::SmallVec;

entity!(
    /// A value: one result of one node.
    Value,
    "%"
);
entity!(
    /// A node: one op applied.
    Node,
    "n"
);

/// What is known of a value.
#[derive(Clone, PartialEq, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// The node it comes from.
    pub node: Node,
    /// Which of the node's results it is.
    pub result: usize,
    /// A name for people; means nothing.
    pub name: Option<String>,
}

/// One op applied.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeData {
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub operands: SmallVec<[Value; 3]>,
    /// What comes out.
    pub results: SmallVec<[Value; 1]>,
}

/// A named input or output.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// Its name, unique among the inputs or the outputs.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A program over tensors.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    /// All values.
    pub values: Arena<Value, ValueData>,
    /// All nodes, operands before users.
    pub nodes: Arena<Node, NodeData>,
    /// What comes in, in order.
    pub inputs: Vec<Named>,
    /// What goes out, in order.
    pub outputs: Vec<Named>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node; its results' types are inferred.
    ///
    /// # Errors
    /// Where the op does not take operands of these types.
    pub fn try_add(
        &mut self,
        op: Op,
        operands: &[Value],
    ) -> Result<SmallVec<[Value; 1]>, TypeError> {
        let tys = {
            let types: SmallVec<[&Type; 3]> =
                operands.iter().map(|&v| &self.values[v].ty).collect();
            infer(&op, &types)?
        };
        let node = self.nodes.push(NodeData {
            op,
            operands: operands.iter().copied().collect(),
            results: SmallVec::new(),
        });
        for (result, ty) in tys.into_iter().enumerate() {
            let value = self.values.push(ValueData { ty, node, result, name: None });
            self.nodes[node].results.push(value);
        }
        Ok(self.nodes[node].results.clone())
    }

    /// Adds a node of one result.
    ///
    /// # Panics
    /// Where the types do not fit: a pass that builds an ill-typed node has a bug.
    pub fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        self.add_many(op, operands)[0]
    }

    /// Adds a node of any number of results.
    ///
    /// # Panics
    /// As [`Graph::add`].
    pub fn add_many(&mut self, op: Op, operands: &[Value]) -> SmallVec<[Value; 1]> {
        match self.try_add(op, operands) {
            Ok(results) => results,
            Err(error) => panic!("ill-typed node: {error}"),
        }
    }

    /// Adds an input.
    pub fn input(&mut self, name: impl Into<String>, ty: Type) -> Value {
        let name = name.into();
        let value = self.add(Op::Input { index: self.inputs.len(), ty }, &[]);
        self.values[value].name = Some(name.clone());
        self.inputs.push(Named { name, value });
        value
    }

    /// Declares an output.
    pub fn output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Named { name: name.into(), value });
    }

    /// A value's type.
    pub fn ty(&self, value: Value) -> &Type {
        &self.values[value].ty
    }

    /// The node a value comes from.
    pub fn def(&self, value: Value) -> &NodeData {
        &self.nodes[self.values[value].node]
    }

    /// The output of this name.
    pub fn find_output(&self, name: &str) -> Option<Value> {
        self.outputs.iter().find(|o| o.name == name).map(|o| o.value)
    }

    /// The input of this name.
    pub fn find_input(&self, name: &str) -> Option<Value> {
        self.inputs.iter().find(|i| i.name == name).map(|i| i.value)
    }

    /// Copies all nodes of `other` into this graph, its inputs replaced by `arguments`; returns
    /// the values that stand for other's outputs, in order.
    pub fn inline(&mut self, other: &Graph, arguments: &[Value]) -> Vec<Value> {
        let map = self.splice(other, arguments);
        other.outputs.iter().map(|o| map[crate::entity::Entity::index(o.value)]).collect()
    }

    /// As [`Graph::inline`], but returns what stands for every value of `other`, by its index.
    pub fn splice(&mut self, other: &Graph, arguments: &[Value]) -> Vec<Value> {
        use crate::entity::Entity;
        let mut map: Vec<Value> = vec![Value::new(0); other.values.len()];
        for node in other.nodes.values() {
            if let Op::Input { index, .. } = node.op {
                map[node.results[0].index()] = arguments[index];
                continue;
            }
            let operands: SmallVec<[Value; 3]> =
                node.operands.iter().map(|v| map[v.index()]).collect();
            let results = self.add_many(node.op.clone(), &operands);
            for (&from, &to) in node.results.iter().zip(&results) {
                map[from.index()] = to;
                self.values[to].name.clone_from(&other.values[from].name);
            }
        }
        map
    }
}

impl std::fmt::Display for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::tensor::text::print(self))
    }
}
