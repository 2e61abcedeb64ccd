//! Sums that are scaled by a largest value, which may therefore be the largest so far.
//!
//! ```text
//! l = sum over s of exp (x_s - m) g_s
//! ```
//!
//! Of another m that is l times a power of e, so that sums over some of the tokens are taken along as m grows.

use super::cone::Cone;
use crate::build::uniform;
use nestor_ir::tensor::{Graph, Op, Value};
use std::collections::BTreeMap;

/// How a value depends on the largest one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// It is zero everywhere.
    Zero,
    /// Not at all.
    Nothing,
    /// It is that value, for each row.
    Itself,
    /// Something from which it is taken away.
    Less,
    /// As its exponential, to the power of minus one, times something else.
    Scale,
    /// In any other way.
    Else,
}

/// Whether pairs are scaled by a value of their rows, which takes part in nothing else.
pub(super) fn is_scaled(
    graph: &Graph,
    cone: &Cone,
    largest: Value,
    pairs: Value,
) -> bool {
    let mut by: BTreeMap<Value, By> = BTreeMap::new();
    for &v in cone.roles.keys() {
        let node = graph.def(v);
        let of = |n: usize| by.get(&node.operands[n]).copied().unwrap_or(By::Else);
        let found = match &node.op {
            _ if v == largest => By::Itself,
            _ if uniform(graph, v) == Some(0.0) => By::Zero,
            _ if cone.leaves.contains(&v) => By::Nothing,
            Op::Constant { .. } | Op::Iota { .. } | Op::Position { .. } => By::Nothing,
            Op::Broadcast { .. } | Op::Transpose { .. } | Op::Stop => of(0),
            Op::Neg if of(0) == By::Scale => By::Scale,
            Op::Exp if of(0) == By::Less => By::Scale,
            op => {
                let all: Vec<By> = (0..node.operands.len()).map(of).collect();
                joined(op, &all)
            }
        };
        by.insert(v, found);
    }
    by.get(&pairs) == Some(&By::Scale)
}

fn joined(op: &Op, all: &[By]) -> By {
    let free = |b: &By| matches!(b, By::Zero | By::Nothing);
    let scaled = |b: &By| matches!(b, By::Zero | By::Scale);
    match (op, all) {
        _ if all.iter().all(free) => By::Nothing,
        (Op::Sub, [a, By::Itself]) if free(a) => By::Less,
        (Op::Mul | Op::Div, [By::Scale, b]) if free(b) => By::Scale,
        (Op::Mul, [a, By::Scale]) if free(a) => By::Scale,
        (Op::Select, [c, a, b]) if free(c) && scaled(a) && scaled(b) => By::Scale,
        _ => By::Else,
    }
}
