//! Ops of a level program that look back in time, given one token after another.

use super::array::Array;
use super::tensor::RunError;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::tensor::{NodeData, Op};
use crate::ty::Elem;
use indexmap::IndexMap;
use std::collections::VecDeque;

/// What has been, for each node that looks back: values newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    values: IndexMap<usize, VecDeque<Array>>,
}

impl Past {
    /// The node's value at the token at `position`, where it is one that looks back.
    pub(super) fn look(
        &mut self,
        node: &NodeData,
        operands: &[&Array],
        position: usize,
        sizes: &Sizes,
    ) -> Result<Option<Vec<Array>>, RunError> {
        let key = node.results.first().map_or(0, |v| v.index());
        let (size, live) = match &node.op {
            Op::Recent { size } => (size.size(sizes), position + 1),
            Op::Block { size } => (*size, position % size + 1),
            Op::Exists { size, block } => {
                let size = size.size(sizes);
                let live = if *block { position % size + 1 } else { position + 1 };
                let data = (0..size).map(|j| j < live).collect();
                return Ok(Some(vec![Array::bool([size], data)]));
            }
            _ => return Ok(None),
        };
        let past = self.values.entry(key).or_default();
        past.push_front(operands[0].clone());
        past.truncate(size.max(1));
        let dims = [vec![size], operands[0].dims.clone()].concat();
        let mut out = Array::zeros(Elem::Real, dims);
        for (j, value) in past.iter().take(live).enumerate() {
            out.place(value, |index| {
                Some(std::iter::once(j).chain(index.iter().copied()).collect())
            });
        }
        Ok(Some(vec![out]))
    }
}
