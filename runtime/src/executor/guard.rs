//! Guards: outputs that must be finite before anything is updated; and what launches are called.

use nestor_ir::artifact::Artifact;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Dense, DenseOperand, Launch, Role, Tensor};
use nestor_ir::tile::{Monomial, Use};

/// Outputs that must be finite, or nothing is updated.
pub(crate) struct Guard {
    pub(crate) watched: Vec<Tensor>,
    /// The first launch that updates something.
    pub(crate) before: usize,
}

/// A guard over outputs of these names, where all of them are scalars that are known before
/// anything is updated in place.
pub(super) fn guard(artifact: &Artifact, names: &[&str]) -> Option<Guard> {
    let plan = &artifact.plan;
    let find = |name: &&str| {
        plan.tensors.iter().find_map(|(id, t)| match &t.role {
            Role::Output(names) if names.iter().any(|n| n == name) => Some(id),
            Role::Output(_) | Role::Input(_) | Role::InPlace { .. } | Role::Temporary => {
                None
            }
        })
    };
    let watched: Vec<Tensor> = names.iter().map(find).collect::<Option<_>>()?;
    let scalar = |id: &Tensor| plan.tensors[*id].ty.rank() == 0;
    let in_place = |id: &Tensor| matches!(plan.tensors[*id].role, Role::InPlace { .. });
    let first = |writes: &dyn Fn(&Tensor) -> bool| {
        plan.launches.iter().position(|l| written(artifact, l).iter().any(writes))
    };
    let last = |writes: &dyn Fn(&Tensor) -> bool| {
        plan.launches.iter().rposition(|l| written(artifact, l).iter().any(writes))
    };
    let before = first(&in_place)?;
    let known = last(&|id: &Tensor| watched.contains(id))?;
    (watched.iter().all(scalar) && known < before).then_some(Guard { watched, before })
}

/// The tensors that a launch writes.
fn written(artifact: &Artifact, launch: &Launch) -> Vec<Tensor> {
    match launch {
        Launch::Kernel { kernel, buffers } => {
            let params = artifact.kernels[kernel.index()].buffers.values();
            let pairs = params.zip(buffers).filter(|(p, _)| p.usage != Use::Read);
            pairs.map(|(_, tensor)| *tensor).collect()
        }
        Launch::Dense(dense) => vec![dense.out.tensor],
        Launch::Zero(tensor) => vec![*tensor],
        Launch::Copy { to, .. } => vec![*to],
    }
}

/// What people call a launch.
pub(super) fn launch_name(artifact: &Artifact, launch: &Launch) -> String {
    let name = |t: Tensor| &artifact.plan.tensors[t].name;
    match launch {
        Launch::Kernel { kernel, .. } => artifact.kernels[kernel.index()].name.clone(),
        Launch::Dense(dense) => product_name(dense, name(dense.out.tensor)),
        Launch::Zero(t) => format!("zero {}", name(*t)),
        Launch::Copy { to, .. } => format!("copy {}", name(*to)),
    }
}

/// A product with its extents and the operands that lie the other way: by shape, since that decides
/// what it takes.
fn product_name(dense: &Dense, out: &str) -> String {
    let straight = Monomial::number(1);
    let turned = |o: &DenseOperand| if o.column == straight { "" } else { "\u{1d40}" };
    format!(
        "product [{}, {}, {}] {out} = a{} b{}",
        dense.m,
        dense.n,
        dense.k,
        turned(&dense.left),
        turned(&dense.right)
    )
}
