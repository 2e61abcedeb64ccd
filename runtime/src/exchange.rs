//! Between host tensors and the executor's memory: shapes, types, copies, and lifetimes.

use crate::device::cpu::Block;
use crate::tensor_file::{Data, Dtype, HostTensor, Mismatch};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Role, Tensor};
use nestor_ir::ty::{Elem, Type};

/// The first tensor with a value that is not finite.
pub fn first_not_finite<'t>(
    tensors: impl IntoIterator<Item = &'t HostTensor>,
) -> Option<&'t str> {
    let bad = |t: &HostTensor| match &t.data {
        Data::F32(v) => v.iter().any(|x| !x.is_finite()),
        Data::F64(v) => v.iter().any(|x| !x.is_finite()),
        Data::I32(_) | Data::I64(_) | Data::U8(_) | Data::Bool(_) => false,
    };
    tensors.into_iter().find(|t| bad(t)).map(|t| t.name.as_str())
}

/// The name a tensor is given by.
pub(crate) fn input_name(role: &Role) -> Option<&str> {
    match role {
        Role::Input(name) | Role::InPlace { input: name, .. } => Some(name),
        Role::Output(_) | Role::Temporary => None,
    }
}

/// First and last launch of each tensor; inputs live from the start, outputs to the end.
pub(crate) fn lives(artifact: &Artifact) -> Vec<(usize, usize)> {
    let plan = &artifact.plan;
    let end = plan.launches.len();
    let mut lives = vec![(usize::MAX, 0); plan.tensors.len()];
    for (step, launch) in plan.launches.iter().enumerate() {
        let mut touch = |t: &Tensor| {
            let (first, last) = &mut lives[t.index()];
            *first = (*first).min(step);
            *last = (*last).max(step);
        };
        match launch {
            Launch::Kernel { buffers, .. } => buffers.iter().for_each(touch),
            Launch::Dense(d) => {
                [&d.left, &d.right, &d.out].iter().for_each(|o| touch(&o.tensor));
            }
            Launch::Zero(t) => touch(t),
            Launch::Copy { from, to } => [from, to].into_iter().for_each(touch),
        }
    }
    for (life, tensor) in lives.iter_mut().zip(plan.tensors.values()) {
        match tensor.role {
            Role::Input(_) | Role::InPlace { .. } => life.0 = 0,
            Role::Output(_) => life.1 = end,
            Role::Temporary => {}
        }
        life.0 = life.0.min(life.1);
    }
    lives
}

/// The shape at these sizes.
pub(crate) fn dims(ty: &Type, sizes: &Sizes) -> Vec<usize> {
    ty.dims.iter().map(|d| d.size(sizes)).collect()
}

/// The element type in host memory.
pub(crate) fn dtype(elem: Elem, precision: Precision) -> Dtype {
    match (elem, precision) {
        (Elem::Real, Precision::F32) => Dtype::F32,
        (Elem::Real, Precision::F64) => Dtype::F64,
        (Elem::Int, _) => Dtype::I32,
        (Elem::Bool, _) => Dtype::Bool,
    }
}

/// Compares what can be compared before sizes are known.
pub(crate) fn check_fixed(
    tensor: &HostTensor,
    ty: &Type,
    precision: Precision,
) -> Result<(), Mismatch> {
    let rank = tensor.dims.len() == ty.dims.len();
    let expected: Vec<usize> = ty
        .dims
        .iter()
        .enumerate()
        .map(|(i, d)| match d.fixed() {
            Some(n) => n,
            None if rank => tensor.dims[i],
            None => 0,
        })
        .collect();
    tensor.expect(dtype(ty.elem, precision), &expected)
}

/// Copies a tensor into a block.
pub(crate) fn put(block: &mut Block, at: usize, tensor: &HostTensor) {
    match &tensor.data {
        Data::F32(v) => block.put(at, v),
        Data::F64(v) => block.put(at, v),
        Data::I32(v) => block.put(at, v),
        Data::I64(v) => block.put(at, v),
        Data::U8(v) => block.put(at, v),
        Data::Bool(v) => {
            let bytes: Vec<u8> = v.iter().map(|x| u8::from(*x)).collect();
            block.put(at, &bytes);
        }
    }
}

/// A tensor of zeros.
pub(crate) fn empty(
    name: &str,
    ty: &Type,
    dims: &[usize],
    precision: Precision,
) -> HostTensor {
    let count = dims.iter().product();
    let data = match (ty.elem, precision) {
        (Elem::Real, Precision::F32) => Data::F32(vec![0.0; count]),
        (Elem::Real, Precision::F64) => Data::F64(vec![0.0; count]),
        (Elem::Int, _) => Data::I32(vec![0; count]),
        (Elem::Bool, _) => Data::Bool(vec![false; count]),
    };
    HostTensor { name: name.to_owned(), dims: dims.to_vec(), data }
}

/// Copies a tensor out of a block.
pub(crate) fn fill(block: &Block, at: usize, tensor: &mut HostTensor) {
    match &mut tensor.data {
        Data::F32(v) => block.get_into(at, v),
        Data::F64(v) => block.get_into(at, v),
        Data::I32(v) => block.get_into(at, v),
        Data::I64(v) => block.get_into(at, v),
        Data::U8(v) => block.get_into(at, v),
        Data::Bool(v) => {
            let mut bytes = vec![0_u8; v.len()];
            block.get_into(at, &mut bytes);
            v.iter_mut().zip(bytes).for_each(|(x, b)| *x = b != 0);
        }
    }
}
