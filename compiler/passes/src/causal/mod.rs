//! What a token may see of later ones: which matrices are zero above their diagonal, and of which
//! nobody looks at what is there.

mod wanted;
mod zero;

pub(crate) use zero::{lower, never_above};

use nestor_ir::tensor::{Graph, Value};

/// Nodes that a proof looks at, at most, one behind the other.
const FUEL: usize = 40;

/// The question whether a value is zero, or not wanted, at every `column > row + offset` of the first
/// columns.
#[derive(Clone, Copy)]
struct Question {
    row: usize,
    column: usize,
    offset: i64,
    columns: i64,
    fuel: usize,
}

impl Question {
    /// Above the diagonal of a matrix of so many columns.
    fn above(columns: i64) -> Self {
        Self { row: 0, column: 1, offset: 0, columns, fuel: FUEL }
    }
}

/// Whether nothing looks at a value where its index of `column` is larger than that of `row`.
pub(crate) fn only_lower_is_wanted(
    graph: &Graph,
    v: Value,
    row: usize,
    column: usize,
) -> bool {
    zero::columns(graph, v, row, column).is_some_and(|n| {
        n > 0
            && wanted::unwanted(graph, v, Question { row, column, ..Question::above(n) })
    })
}
