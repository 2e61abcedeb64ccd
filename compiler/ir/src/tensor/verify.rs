//! What holds of every tensor graph. Checked after every pass.
//!
//! 1. A node's operands are results of earlier nodes.
//! 2. Every result has the type that `infer` gives.
//! 3. Input node number i is entry i of `inputs`; every input is listed once.
//! 4. Names of inputs are unique, and so are names of outputs.
//! 5. All of it holds of every scan's body.

use crate::entity::Entity;
use crate::tensor::infer::infer;
use crate::tensor::{Graph, Op};
use crate::ty::Type;
use smallvec::SmallVec;

/// The first violation, in words.
///
/// # Errors
/// Where an invariant does not hold.
pub fn verify(graph: &Graph) -> Result<(), String> {
    let mut inputs = 0;
    for (id, node) in graph.nodes.iter() {
        let name = node.op.info().name;
        for &operand in &node.operands {
            let data = graph
                .values
                .get(operand)
                .ok_or(format!("{name} uses no value {operand}"))?;
            if data.node >= id {
                return Err(format!("{name} uses {operand}, which comes later"));
            }
        }
        let types: SmallVec<[&Type; 3]> =
            node.operands.iter().map(|&v| graph.ty(v)).collect();
        let expected = infer(&node.op, &types).map_err(|e| e.to_string())?;
        let found: Vec<&Type> = node.results.iter().map(|&v| graph.ty(v)).collect();
        if !expected.iter().eq(found.iter().copied()) {
            return Err(format!("{name} gives {found:?}, not {expected:?}"));
        }
        if let Op::Input { index, .. } = node.op {
            let listed = graph.inputs.get(index).map(|i| i.value);
            if listed != Some(node.results[0]) {
                return Err(format!("input {index} is not listed at its place"));
            }
            inputs += 1;
        }
        if let Op::Scan { scan } = &node.op {
            verify(&scan.body).map_err(|why| format!("in the body of a scan: {why}"))?;
        }
    }
    if inputs != graph.inputs.len() {
        return Err(format!("{} inputs listed, {inputs} made", graph.inputs.len()));
    }
    for list in [&graph.inputs, &graph.outputs] {
        let mut names: Vec<&str> = list.iter().map(|n| n.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(format!("two are called `{}`", pair[0]));
        }
    }
    let known = |v: crate::tensor::Value| v.index() < graph.values.len();
    match graph.outputs.iter().find(|o| !known(o.value)) {
        Some(output) => Err(format!("output `{}` is no value", output.name)),
        None => Ok(()),
    }
}
