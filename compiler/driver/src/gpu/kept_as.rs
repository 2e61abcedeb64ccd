//! Tensors that a program's caller keeps as bfloat16: kernels read and write them so.

use super::Products;
use nestor_ir::artifact::Narrow;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Plan, Role, Tensor};
use nestor_ir::tile::{Kernel, Use};
use nestor_ir::ty::Elem;
use thiserror::Error;

/// Why a tensor cannot be kept as bfloat16.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeptAsError {
    /// There is no such tensor.
    #[error("no input or output is called `{name}`\nhelp: there are {known}")]
    Unknown {
        /// What was named.
        name: String,
        /// What there is.
        known: String,
    },
    /// It holds no reals.
    #[error("`{0}` holds no reals, so it cannot be bfloat16")]
    NoReals(String),
    /// Kernels work on float32.
    #[error("`{0}` can be bfloat16 where products are: add `--products bf16`")]
    Products(String),
    /// Something needs it as float32.
    #[error("`{name}` cannot be bfloat16: {why}")]
    Needed {
        /// The tensor.
        name: String,
        /// What needs it.
        why: String,
    },
}

/// Marks inputs and outputs as kept as bfloat16 by whoever calls, and with an input or output its gradient.
///
/// # Errors
/// Where a name is of no tensor of reals.
pub fn keep_as_bfloat16(plan: &mut Plan, names: &[String]) -> Result<(), KeptAsError> {
    for name in names {
        let gradient = format!("grad.{name}");
        let mut found = false;
        for tensor in plan.tensors.keys() {
            let data = &mut plan.tensors[tensor];
            let own = data.role.names();
            let named = own.contains(&name.as_str());
            if !named && !own.contains(&gradient.as_str()) {
                continue;
            }
            if data.ty.elem != Elem::Real {
                return Err(KeptAsError::NoReals(name.clone()));
            }
            (data.narrow, found) = (true, found || named);
        }
        if !found {
            let known = plan.tensors.values().flat_map(|t| t.role.names());
            let known = known.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            return Err(KeptAsError::Unknown { name: name.clone(), known });
        }
    }
    Ok(())
}

/// Whether every tensor that the caller keeps as bfloat16 is so in all kernels that take it.
///
/// # Errors
/// The first that is not, and why.
pub fn all_kept(
    plan: &Plan,
    kernels: &[Kernel],
    narrow: &[Narrow],
    products: Products,
) -> Result<(), KeptAsError> {
    for (tensor, data) in plan.tensors.iter().filter(|(_, data)| data.narrow) {
        let name = data.role.names().join("`, `");
        if products != Products::Brain {
            return Err(KeptAsError::Products(name));
        }
        let why = match &data.role {
            Role::InPlace { .. } => Some("it is updated in place".to_owned()),
            _ => {
                // What takes it otherwise is why kernels do.
                let of_kernel = |l: &&Launch| matches!(l, Launch::Kernel { .. });
                let others = plan.launches.iter().filter(|l| !of_kernel(l));
                let mut all = others.chain(plan.launches.iter().filter(of_kernel));
                all.find_map(|l| wide(plan, l, tensor, kernels, narrow))
            }
        };
        if let Some(why) = why {
            return Err(KeptAsError::Needed { name, why });
        }
    }
    Ok(())
}

/// What a launch needs a tensor as float32 for.
fn wide(
    plan: &Plan,
    launch: &Launch,
    tensor: Tensor,
    kernels: &[Kernel],
    narrow: &[Narrow],
) -> Option<String> {
    match launch {
        Launch::Kernel { kernel, buffers } => {
            let (n, kernel) = (kernel.index(), &kernels[kernel.index()]);
            let at = buffers.iter().position(|b| *b == tensor)?;
            let buffer = kernel.buffers.values().nth(at)?;
            match (narrow[n][at], buffer.usage) {
                (true, _) => None,
                (false, Use::Update) => {
                    Some(format!("kernel `{}` adds to it", kernel.name))
                }
                (false, Use::Read | Use::Write) => Some(format!(
                    "kernel `{}` is launched for tensors of float32 as well, or another that takes it is",
                    kernel.name
                )),
            }
        }
        Launch::Dense(d) => {
            let taken = [&d.left, &d.right, &d.out].iter().any(|o| o.tensor == tensor);
            taken.then(|| "a product of the library takes it".to_owned())
        }
        Launch::Zero(t) => (*t == tensor).then(|| "it is set to zero".to_owned()),
        Launch::Copy { from, to } => {
            let other = if *from == tensor { to } else { from };
            let touches = [from, to].contains(&&tensor);
            let alike = plan.tensors[*other].narrow;
            (touches && !alike).then(|| {
                let names = plan.tensors[*other].role.names().join("`, `");
                format!("it is copied as float32, `{names}` being so")
            })
        }
    }
}
