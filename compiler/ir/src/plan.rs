//! The plan: what a runtime does, in order, with buffers whose lifetimes are known.
//!
//! A plan is made for one graph (inputs by name in, outputs by name out) and any B, T and t0.

pub mod text;
pub mod verify;

use crate::entity;
use crate::entity::Arena;
use crate::tile::{Affine, Monomial, Shape};
use crate::ty::Type;

entity!(
    /// A tensor of the plan.
    Tensor,
    "x"
);
entity!(
    /// A kernel of the artifact.
    KernelId,
    "k"
);

/// What a tensor of the plan is to the world.
#[derive(Clone, PartialEq, Debug)]
pub enum Role {
    /// Given by the caller, by name; not written.
    Input(String),
    /// Handed to the caller, by names; may also be read by later launches.
    Output(Vec<String>),
    /// Given by the caller by the first name and left as the caller's output by the second: updated in place.
    InPlace {
        /// The input.
        input: String,
        /// The output.
        output: String,
    },
    /// Lives between two launches.
    Temporary,
}

/// A tensor of the plan.
#[derive(Clone, PartialEq, Debug)]
pub struct TensorData {
    /// A name for people.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What it is to the world.
    pub role: Role,
    /// Whether the caller keeps its reals as bfloat16, where a GPU's kernels work on it.
    pub narrow: bool,
    /// First and last launch that touches it.
    pub life: (usize, usize),
    /// For temporaries: the byte slot of the arena it shares with others of disjoint lifetimes.
    pub slot: Option<usize>,
}

/// A dense matrix product outside kernels, given to a library: `out = alpha * left @ right (+ out)`,
/// repeated over `batch` with its own strides.
#[derive(Clone, PartialEq, Debug)]
pub struct Dense {
    /// Repetitions.
    pub batch: Monomial,
    /// Rows.
    pub m: Monomial,
    /// Columns.
    pub n: Monomial,
    /// Depth.
    pub k: Monomial,
    /// Factor.
    pub alpha: f64,
    /// Left operand: tensor, then element strides of batch, row, column.
    pub left: DenseOperand,
    /// Right operand.
    pub right: DenseOperand,
    /// Result.
    pub out: DenseOperand,
    /// Add to what is there.
    pub accumulate: bool,
    /// Which part is wanted, or zero.
    pub shape: Shape,
}

/// An operand of a dense product.
#[derive(Clone, PartialEq, Debug)]
pub struct DenseOperand {
    /// The tensor.
    pub tensor: Tensor,
    /// First element.
    pub origin: Affine,
    /// Elements between repetitions.
    pub batch: Monomial,
    /// Elements between rows.
    pub row: Monomial,
    /// Elements between columns.
    pub column: Monomial,
}

/// One step of a plan.
#[expect(
    clippy::large_enum_variant,
    reason = "a plan holds few launches; plain data reads better"
)]
#[derive(Clone, PartialEq, Debug)]
pub enum Launch {
    /// A kernel with its buffers, in the kernel's order.
    Kernel {
        /// Which.
        kernel: KernelId,
        /// Its buffers.
        buffers: Vec<Tensor>,
    },
    /// A library product.
    Dense(Dense),
    /// Fills a tensor with zeros.
    Zero(Tensor),
    /// Copies a tensor to another of the same size.
    Copy {
        /// Source.
        from: Tensor,
        /// Target.
        to: Tensor,
    },
}

/// Buffers and launches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Tensors.
    pub tensors: Arena<Tensor, TensorData>,
    /// What happens, in order.
    pub launches: Vec<Launch>,
}

impl Role {
    /// What the caller calls it: by its name as an input, by those as an output.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Role::Input(name) => vec![name],
            Role::Output(names) => names.iter().map(String::as_str).collect(),
            Role::InPlace { input, output } => vec![input, output],
            Role::Temporary => vec![],
        }
    }
}
