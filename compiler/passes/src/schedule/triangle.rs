//! Halves of products that a token may not see: they need not be computed.

use super::lower::Lower;
use crate::causal::{lower, only_lower_is_wanted};
use nestor_ir::tensor::{NodeData, Op, Value};
use nestor_ir::tile::Shape;

impl Lower<'_> {
    /// What is known to be zero, or not wanted, of a product of two matrices.
    pub(super) fn shape_of(&self, node: &NodeData) -> Shape {
        let Op::Contract { batch, sum } = &node.op else { return Shape::Full };
        let dims = |v: Value| &self.graph.ty(v).dims;
        let (a, v) = (node.operands[0], node.results[0]);
        let matrices = batch.is_empty()
            && sum.len() == 1
            && node.operands.iter().all(|&o| dims(o).len() == 2);
        if !matrices {
            return Shape::Full;
        }
        let summed = sum[0].0;
        let (rows, columns) = if summed == 1 { (0, 1) } else { (1, 0) };
        // A matrix that is summed over its rows is used turned.
        if summed == 1 && lower(self.graph, a, rows, columns) {
            return Shape::LeftLower;
        }
        if summed == 0 && lower(self.graph, a, columns, rows) {
            return Shape::LeftUpper;
        }
        if only_lower_is_wanted(self.graph, v) {
            return Shape::OutputLower;
        }
        Shape::Full
    }
}
