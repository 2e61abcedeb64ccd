//! Ticks of memories that are no tokens: what ticks once a sequence is a walk of one step, and all that is walked together
//! has one clock.

use super::TIME;
use super::order::Group;
use crate::error::PassError;
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::level::{Memory, Program};
use nestor_ir::tensor::{Graph, NodeData, Op, Value};

/// What is known once a sequence as a stream of one row.
pub(super) fn stepped(g: &mut Graph, m: Mapped) -> Mapped {
    if !m.mapped {
        return m;
    }
    let mut dims = g.ty(m.value).dims.clone();
    dims.insert(TIME, Dim::Fixed(1));
    Mapped::all(g.add(Op::Reshape { dims }, &[m.value]))
}

/// The one row of a stream.
pub(super) fn of_step(g: &mut Graph, value: Value) -> Value {
    let mut dims = g.ty(value).dims.clone();
    dims.remove(TIME);
    g.add(Op::Reshape { dims }, &[value])
}

/// Refuses a memory of its past alone where there is none.
pub(super) fn nothing_before(memory: &Memory) -> PassError {
    PassError::limitation(
        "L-once",
        format!("`{}` looks at its past, and ticks once a sequence", memory.path),
        "use it at the clock of the tokens, and its result once a sequence",
    )
}

/// Refuses memories of different clocks that feed one another.
pub(super) fn one_clock(
    program: &Program,
    group: &Group,
    acts: &[NodeData],
) -> Result<(), PassError> {
    let mut clocks = group.memories.iter().map(|m| program.memories[*m].clock());
    let first = clocks.next();
    let same = clocks.all(|clock| Some(clock) == first);
    let meets = |n: &NodeData| matches!(n.op, Op::Gathered { .. } | Op::Held { .. });
    if same && !acts.iter().any(meets) {
        return Ok(());
    }
    Err(PassError::limitation(
        "L-two-clocks",
        "memories of different clocks that feed one another",
        "let what comes back to a memory come from its own clock",
    ))
}
