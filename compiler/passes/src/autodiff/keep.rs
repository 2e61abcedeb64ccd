//! Which values of a chunk are worth keeping for the way back, beside the states it starts from.
//!
//! ```text
//! h = gate (q @ W) + gate (q @ S) + pairs @ u      three products an element: kept
//! a = tanh h                                       computed again from h
//! p = k @ W                                        one short product an element: computed again
//! ```
//!
//! Computing a chunk again costs products; keeping a value costs writing and reading it. What pays is
//! the end of a sum of products: what follows it element by element is cheap from there.

use crate::build::users;
use crate::causal::only_lower_is_wanted;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, Node, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Elem};

/// What a machine does while an element is written and read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Operations an element from which keeping costs less than computing again.
    pub enough: usize,
    /// As how many operations of products one of a system of equations counts.
    pub solving: usize,
}

/// A core of a CPU, which does about a hundred operations in that time.
impl Default for Keeping {
    fn default() -> Self {
        Self { enough: 200, solving: 1 }
    }
}

/// The same for what is copied within a core's own memory.
const TO_CARRY: Keeping = Keeping { enough: 16, solving: 1 };

/// Values of a body that its reverse should find instead of computing them again.
pub(super) fn worth_keeping(body: &Graph, keeping: Keeping) -> Vec<Value> {
    let near: Vec<Vec<Node>> = near(body);
    let of = |v: Value| &near[v.index()];
    let enough = |v: Value| enough(body, &near, v, keeping);
    let users = users(body);
    let last = |v: Value| {
        users[v.index()].iter().all(|&user| {
            let node = &body.nodes[user];
            !by_element(&node.op) || node.results.iter().all(|&r| of(r) == of(v))
        })
    };
    let first = |v: Value| {
        let node = body.def(v);
        !by_element(&node.op) || node.operands.iter().all(|&o| of(o) != of(v))
    };
    let output = |v: Value| body.outputs.iter().any(|o| o.value == v);
    let results = body.nodes.values().filter(|n| n.results.len() == 1);
    let values = results.map(|n| n.results[0]);
    // Half of a matrix of pairs of tokens need not be computed at all, which keeping it would undo.
    let half = |v: Value| body.ty(v).rank() == 2 && only_lower_is_wanted(body, v, 0, 1);
    let ends =
        values.filter(|&v| enough(v) && last(v) && first(v) && !output(v) && !half(v));
    or_products(body, &near, ends.collect(), &|v| output(v) || half(v))
}

/// The products that values are element-wise functions of, instead of values that take no less room: then
/// products are not computed again for what else follows from them.
fn or_products(
    body: &Graph,
    near: &[Vec<Node>],
    mut ends: Vec<Value>,
    not: &dyn Fn(Value) -> bool,
) -> Vec<Value> {
    let room = |v: &Value| count(&body.ty(*v).dims).unwrap_or(0);
    let mut done: Vec<Vec<Node>> = Vec::new();
    while let Some(set) =
        ends.iter().map(|v| &near[v.index()]).find(|set| !done.contains(set))
    {
        done.push(set.clone());
        let products: Option<Vec<Value>> = set
            .iter()
            .map(|n| match &body.nodes[*n] {
                NodeData { op: Op::Contract { .. }, results, .. } => Some(results[0]),
                _ => None,
            })
            .collect();
        let Some(products) = products else { continue };
        let of_set = |v: &&Value| near[v.index()] == *set;
        let taken: usize = ends.iter().filter(of_set).map(room).sum();
        let instead: usize = products.iter().map(room).sum();
        let new = |v: &Value| !not(*v) && !ends.contains(v);
        if instead <= taken && products.len() > 1 && products.iter().all(new) {
            let set = set.clone();
            ends.retain(|v| near[v.index()] != set);
            ends.extend(products);
        }
    }
    ends.sort_unstable();
    ends
}

/// States, of the first `states` outputs, that the chunk reads as it leaves them, and that cost more
/// to compute again than to carry from the step that the way back came from.
pub(super) fn ends_worth_carrying(body: &Graph, states: usize) -> Vec<usize> {
    let near = near(body);
    let read = |v: Value| body.nodes.values().any(|n| n.operands.contains(&v));
    let made = |v: Value| !matches!(body.def(v).op, Op::Input { .. });
    let worth = |k: &usize| {
        let v = body.outputs[*k].value;
        made(v) && read(v) && enough(body, &near, v, TO_CARRY)
    };
    (0..states).filter(worth).collect()
}

/// Whether a value costs as many operations an element.
fn enough(body: &Graph, near: &[Vec<Node>], v: Value, keeping: Keeping) -> bool {
    let ty = body.ty(v);
    let size = count(&ty.dims).filter(|n| *n > 0 && ty.elem == Elem::Real);
    let work: Option<usize> =
        near[v.index()].iter().map(|n| operations(body, *n, keeping)).sum();
    matches!((size, work), (Some(size), Some(work)) if work / size >= keeping.enough)
}

/// For every value the products that it is an element-wise function of.
fn near(body: &Graph) -> Vec<Vec<Node>> {
    let mut near: Vec<Vec<Node>> = vec![vec![]; body.values.len()];
    for (id, node) in body.nodes.iter() {
        let mut found = match &node.op {
            Op::Contract { sum, .. } if !sum.is_empty() => vec![id],
            Op::SolveUnitLower { .. } => {
                let behind = near[node.operands[1].index()].iter().copied();
                behind.chain([id]).collect()
            }
            op if by_element(op) => {
                node.operands.iter().flat_map(|v| near[v.index()].clone()).collect()
            }
            _ => vec![],
        };
        found.sort_unstable();
        found.dedup();
        for result in &node.results {
            near[result.index()].clone_from(&found);
        }
    }
    near
}

fn by_element(op: &Op) -> bool {
    matches!(op.info().group, Group::Unary | Group::Binary | Group::Select)
        || *op == Op::Stop
}

/// A multiplication and an addition as two.
fn operations(body: &Graph, node: Node, keeping: Keeping) -> Option<usize> {
    let node = &body.nodes[node];
    let result = count(&body.ty(node.results[0]).dims)?;
    let depth = match &node.op {
        Op::Contract { sum, .. } => {
            let dims = &body.ty(node.operands[0]).dims;
            sum.iter().map(|&(axis, _)| dims[axis].fixed()).product::<Option<usize>>()?
        }
        // Half of the rows before a row, on average.
        _ => body.ty(node.operands[0]).dims.last()?.fixed()?.div_ceil(2),
    };
    let each = match &node.op {
        Op::Contract { .. } => 2,
        _ => 2 * keeping.solving,
    };
    Some(each * result * depth)
}

fn count(dims: &Dims) -> Option<usize> {
    dims.iter().map(|d| d.fixed()).product()
}
