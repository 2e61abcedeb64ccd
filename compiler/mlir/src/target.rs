//! The GPUs that kernels are compiled for, and what differs between them.

/// A family of GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Ampere: A100.
    Sm80,
    /// Hopper: H100, H200.
    Sm90a,
}

impl Target {
    /// All of them, by name.
    pub const ALL: &[(&str, Target)] =
        &[("sm_80", Target::Sm80), ("sm_90a", Target::Sm90a)];

    /// The target of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, target)| *target)
    }

    /// Its name, which is also the code generator's.
    pub fn name(self) -> &'static str {
        match self {
            Target::Sm80 => "sm_80",
            Target::Sm90a => "sm_90a",
        }
    }

    /// The version of PTX, as the code generator says it: drivers of CUDA 12 and later read it.
    pub fn ptx(self) -> &'static str {
        match self {
            Target::Sm80 | Target::Sm90a => "+ptx80",
        }
    }

    /// Bytes of shared memory that a block may have.
    pub fn shared(self) -> i64 {
        match self {
            Target::Sm80 => 163 * 1024,
            Target::Sm90a => 227 * 1024,
        }
    }
}
