//! In which order of its axes a value is stored: the one that products walk, so that it need not be copied for them.
//!
//! ```text
//! before   p: [B, T, heads, T] stored as it is    pack = p as [B, heads, T, T]    y = pack v
//! after    p: [B, T, heads, T] stored as [B, heads, T, T]                         y = p v
//! ```

use super::lower::Lower;
use super::view::{View, collapse};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Group, Node, Op, Value};
use nestor_ir::tile::size::strides;
use nestor_ir::ty::{Dims, Type};

impl Lower<'_> {
    /// Room for a value, in the order in which products take it, where others can take it so, too.
    pub(super) fn room_in_order(&mut self, v: Value) -> View {
        let (name, ty) = (self.name(v), self.graph.ty(v).clone());
        let Some(order) = self.order_of_products(v) else { return self.room(&name, &ty) };
        let dims: Dims = order.iter().map(|&axis| ty.dims[axis]).collect();
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &axis)| back[axis] = i);
        self.room(&name, &Type { elem: ty.elem, dims }).transposed(&back)
    }

    /// The order in which the first product that cannot take a value as it is would have it.
    fn order_of_products(&self, v: Value) -> Option<Vec<usize>> {
        let output = self.graph.outputs.iter().any(|o| o.value == v);
        let any_order = |&user: &Node| {
            use Group::{Binary, Contract, Reduce, Select, Unary};
            let group = self.graph.nodes[user].op.info().group;
            matches!(group, Binary | Contract | Reduce | Select | Unary)
        };
        let users = &self.users[v.index()];
        if self.nested || output || !users.iter().all(any_order) {
            return None;
        }
        let dims = &self.graph.ty(v).dims;
        users.iter().find_map(|&user| {
            let node = &self.graph.nodes[user];
            let Op::Contract { batch, sum } = &node.op else { return None };
            let side = usize::from(node.operands[0] != v);
            let of = |pair: &(usize, usize)| if side == 0 { pair.0 } else { pair.1 };
            let first: Vec<usize> = batch.iter().map(of).collect();
            let summed: Vec<usize> = sum.iter().map(of).collect();
            let rest = |axes: &[usize]| -> Vec<usize> {
                (0..dims.len()).filter(|i| !axes.contains(i)).collect()
            };
            let free = rest(&[first.clone(), summed.clone()].concat());
            let kinds = [&first, &free, &summed];
            if sum.is_empty() || walked(dims, &rest(&[]), kinds) {
                return None;
            }
            let kept = [first.clone(), rest(&first)].concat();
            let apart = [first.clone(), free.clone(), summed.clone()].concat();
            Some(if walked(dims, &kept, kinds) { kept } else { apart })
        })
    }
}

/// Whether axes of every kind are walked as one where the axes are stored in this order.
fn walked(dims: &Dims, order: &[usize], kinds: [&Vec<usize>; 3]) -> bool {
    let stored: Dims = order.iter().map(|&axis| dims[axis]).collect();
    let steps = strides(&stored);
    let step = |axis: usize| {
        let at = order.iter().position(|&a| a == axis);
        steps[at.unwrap_or(axis)]
    };
    kinds.into_iter().all(|axes| {
        let extents: Vec<Dim> = axes.iter().map(|&a| dims[a]).collect();
        let steps: Vec<_> = axes.iter().map(|&a| step(a)).collect();
        collapse(&extents, &steps).is_some()
    })
}
