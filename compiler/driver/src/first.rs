//! What memories hold before their first token, as a program of the weights.
//!
//! ```text
//! before   y, S = scan(q, k, v; S0 = W)         outputs y, state.S
//! after    S0 over the batch                    outputs state.S
//! ```

use crate::native::{NativeError, artifact};
use crate::pipeline::tensors;
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::tensor::{Axes, Axis, Feed, Graph, Op, Value};
use nestor_passes::build::broadcast;
use nestor_passes::simplify::{prune, simplify};

/// A program that gives every state of the memories whose path is one of these as a sequence finds
/// it, from the weights. A state that is read from what is stored of it is left out.
///
/// # Errors
/// As the passes and the backend.
pub fn first_states(
    program: &crate::Program,
    memories: &[String],
) -> Result<Artifact, NativeError> {
    let whole = tensors(program, false)?;
    let mut g = whole.clone();
    g.outputs.clear();
    for memory in program.memories.values().filter(|m| memories.contains(&m.path)) {
        let own = |name: &str| {
            let short = |w: &nestor_ir::level::FastWeight| {
                name.strip_suffix(&w.short).is_some_and(|n| n.ends_with('.'))
            };
            name.starts_with("state.") && memory.weights.iter().any(short)
        };
        for output in whole.outputs.iter().filter(|o| own(&o.name)) {
            if g.find_output(&output.name).is_none()
                && let Some(value) = before(&mut g, output.value)
            {
                g.output(output.name.clone(), value);
            }
        }
    }
    artifact(&prune(&simplify(&g)), Precision::F32)
}

/// A final state's value before the first step of its walk.
fn before(g: &mut Graph, last: Value) -> Option<Value> {
    let node = g.def(last).clone();
    let Op::Scan { scan } = &node.op else { return None };
    let k = node.results.iter().position(|&r| r == last)?;
    let mut initial = scan
        .feeds
        .iter()
        .zip(&node.operands)
        .filter(|((feed, _), _)| *feed == Feed::Initial);
    let ((_, layout), &operand) = initial.nth(k)?;
    let mut body = scan.map.len();
    let axes: Axes = layout
        .iter()
        .map(|axis| match axis {
            Axis::Map(i) => *i,
            Axis::Body | Axis::Time => {
                body += 1;
                body - 1
            }
        })
        .collect();
    let dims = g.ty(last).dims.clone();
    Some(broadcast(g, operand, &dims, &axes))
}
