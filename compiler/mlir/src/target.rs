//! The GPUs that kernels are compiled for, and what differs between them.

use nestor_ir::tile::{Extent, Kernel};

/// Bytes of shared memory that every block has besides its own.
const RESERVED: i64 = 1024;

/// Threads of a block, at most.
#[cfg(feature = "cuda")]
pub(crate) const THREADS: i64 = 1024;

/// What the number of a block is below.
#[cfg(feature = "cuda")]
pub(crate) const BLOCKS: i64 = (1 << 31) - 1;

/// A family of GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Ampere: A100.
    Sm80,
    /// Ampere and later without the large shared memory: cards for desks and for inference.
    Sm86,
    /// Hopper: H100, H200.
    Sm90a,
}

impl Target {
    /// All of them, by name.
    pub const ALL: &[(&str, Target)] =
        &[("sm_80", Target::Sm80), ("sm_86", Target::Sm86), ("sm_90a", Target::Sm90a)];

    /// The target of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, target)| *target)
    }

    /// The target whose code a device of a generation runs.
    pub fn of(capability: (u32, u32)) -> Self {
        match capability {
            (9, 0) => Target::Sm90a,
            (8, 6 | 9) | (12, _) => Target::Sm86,
            _ => Target::Sm80,
        }
    }

    /// Its name, which is also the code generator's.
    pub fn name(self) -> &'static str {
        match self {
            Target::Sm80 => "sm_80",
            Target::Sm86 => "sm_86",
            Target::Sm90a => "sm_90a",
        }
    }

    /// The version of PTX, as the code generator says it: drivers of CUDA 12 and later read it.
    pub fn ptx(self) -> &'static str {
        match self {
            Target::Sm80 | Target::Sm86 | Target::Sm90a => "+ptx80",
        }
    }

    /// Processors that run blocks: of A100, A40 and H100 (SXM).
    pub fn processors(self) -> usize {
        match self {
            Target::Sm80 => 108,
            Target::Sm86 => 84,
            Target::Sm90a => 132,
        }
    }

    /// Blocks with so many bytes of shared memory that a processor has room for.
    pub fn blocks(self, shared: i64) -> i64 {
        (self.shared() + RESERVED) / (shared + RESERVED)
    }

    /// Whether two sequences of a kernel's blocks do not fill the processors (a guess).
    pub(crate) fn has_some_free(self, kernel: &Kernel) -> bool {
        let points = kernel.grid.iter().filter_map(|(_, d)| d.fixed()).product::<usize>();
        let grows = kernel
            .grid
            .iter()
            .any(|(_, d)| !matches!(d, Extent::Fixed(_) | Extent::Batch));
        !grows && 2 * points <= self.processors()
    }

    /// Whether groups of four warps multiply matrices that lie in shared memory.
    fn has_groups(self) -> bool {
        match self {
            Target::Sm80 | Target::Sm86 => false,
            Target::Sm90a => true,
        }
    }

    /// Whether boxes of buffers are copied to shared memory by hardware, at one thread's word.
    pub(crate) fn copies_boxes(self) -> bool {
        match self {
            Target::Sm80 | Target::Sm86 => false,
            Target::Sm90a => true,
        }
    }

    /// Blocks of a cluster, at most, of those that every such GPU runs; one where there are no clusters.
    pub fn cluster(self) -> usize {
        match self {
            Target::Sm80 | Target::Sm86 => 1,
            Target::Sm90a => 8,
        }
    }

    /// Bytes of shared memory that a block may have.
    pub fn shared(self) -> i64 {
        match self {
            Target::Sm80 => 163 * 1024,
            Target::Sm86 => 99 * 1024,
            Target::Sm90a => 227 * 1024,
        }
    }
}

/// How matrix products are computed; sums are always of float32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Products {
    /// In float32, without tensor cores.
    #[default]
    Float32,
    /// On tensor cores, operands as sums of two tf32: about as close as float32, three products for one.
    Tf32x3,
    /// On tensor cores, operands as tf32: ten bits of fraction.
    Tf32,
    /// On tensor cores, operands as bfloat16: seven bits of fraction.
    Brain,
}

impl Products {
    /// All of them, by name.
    pub const ALL: &[(&str, Products)] = &[
        ("float32", Products::Float32),
        ("tf32x3", Products::Tf32x3),
        ("tf32", Products::Tf32),
        ("bf16", Products::Brain),
    ];

    /// The choice of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, products)| *products)
    }

    /// Operations of products in the time in which a GPU moves one number of four bytes, about. What its units can do is
    /// several times as much; kernels of ours spend most of their time bringing operands.
    pub fn in_a_move(self) -> f64 {
        match self {
            Products::Float32 => 6.0,
            Products::Tf32x3 => 12.0,
            Products::Tf32 => 30.0,
            Products::Brain => 60.0,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, p)| *p == self).map_or("float32", |(n, _)| *n)
    }
}

/// What code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The GPU.
    pub target: Target,
    /// How products are computed.
    pub products: Products,
}

impl Options {
    /// Whether groups of four warps compute products.
    pub fn groups(self) -> bool {
        self.products == Products::Brain && self.target.has_groups()
    }
}

impl From<Target> for Options {
    fn from(target: Target) -> Self {
        Self { target, products: Products::default() }
    }
}
