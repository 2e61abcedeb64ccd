//! Halves of products that a token may not see: they need not be computed.

use super::lower::Lower;
use crate::causal::{lower, only_lower_is_wanted};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{NodeData, Op, Value};
use nestor_ir::tile::Shape;

impl Lower<'_> {
    /// What is known to be zero, or not wanted, of a product of two matrices, or of many beside one another; and
    /// whether it is that of its operands exchanged.
    pub(super) fn shape_of(&self, node: &NodeData) -> (Shape, bool) {
        const FULL: (Shape, bool) = (Shape::Full, false);
        let Op::Contract { batch, sum } = &node.op else { return FULL };
        let dims = |v: Value| &self.graph.ty(v).dims;
        let (a, b, v) = (node.operands[0], node.operands[1], node.results[0]);
        // In a walk matrices are taken as they are.
        let matrices = !self.nested
            || batch.is_empty() && [a, b].iter().all(|&o| dims(o).len() == 2);
        let [(summed_left, summed_right)] = sum[..] else { return FULL };
        if !matrices {
            return FULL;
        }
        // Where one axis is left, the operand's rows; of its columns the sum is taken.
        let left = self.only_axis(a, batch.iter().map(|p| p.0), summed_left);
        let right = self.only_axis(b, batch.iter().map(|p| p.1), summed_right);
        if let Some(shape) = left.and_then(|row| self.half(a, row, summed_left)) {
            return (shape, false);
        }
        let turned = right.filter(|_| !self.nested);
        if let Some(shape) = turned.and_then(|row| self.half(b, row, summed_right)) {
            return (shape, true);
        }
        let [row, column] = [batch.len(), batch.len() + 1];
        if left.is_none() || right.is_none() {
            return FULL;
        }
        if only_lower_is_wanted(self.graph, v, row, column) {
            return (Shape::OutputLower, false);
        }
        if !self.nested && only_lower_is_wanted(self.graph, v, column, row) {
            return (Shape::OutputLower, true);
        }
        FULL
    }

    /// The axis of an operand that is neither of the batch nor summed, where there is one; outside of walks one of
    /// tokens beside tokens: half of other products is little.
    fn only_axis(
        &self,
        v: Value,
        batch: impl Iterator<Item = usize>,
        summed: usize,
    ) -> Option<usize> {
        let taken: Vec<usize> = batch.chain([summed]).collect();
        let dims = &self.graph.ty(v).dims;
        let mut free = (0..dims.len()).filter(|axis| !taken.contains(axis));
        let only = free.next().filter(|_| free.next().is_none())?;
        (self.nested || dims[only] == Dim::Time).then_some(only)
    }

    /// Which half of an operand is zero.
    fn half(&self, v: Value, row: usize, summed: usize) -> Option<Shape> {
        let dims = &self.graph.ty(v).dims;
        if !self.nested && dims[summed] != Dim::Time {
            return None;
        }
        // In a walk a matrix that is summed over its rows is used turned.
        let (as_it_is, turned) = (!self.nested || row == 0, !self.nested || row == 1);
        if as_it_is && lower(self.graph, v, row, summed) {
            return Some(Shape::LeftLower);
        }
        (turned && lower(self.graph, v, summed, row)).then_some(Shape::LeftUpper)
    }
}
