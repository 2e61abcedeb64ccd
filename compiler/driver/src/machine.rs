//! What this machine offers to compiled programs, and which targets there are.

use nestor_cranelift::routines::simd_level;
use nestor_ir::artifact::Precision;

/// Names of the targets that programs are compiled for.
pub const TARGETS: &[&str] = &["cpu", "sm_80", "sm_86", "sm_90a"];

/// The vector units that compiled programs use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vectors {
    /// The widest instructions in use.
    pub level: &'static str,
    /// Whether maps in float32 become vector functions of their own; elsewhere they are Cranelift's
    /// vectors of 128 bits.
    pub functions: bool,
}

/// Those of this machine.
pub fn vectors() -> Vectors {
    let level = simd_level();
    let functions = nestor_cranelift::vector_functions(Precision::F32, level);
    Vectors { level: level.name(), functions }
}
