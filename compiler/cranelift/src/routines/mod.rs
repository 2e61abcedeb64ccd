//! Routines that compiled kernels call, by name and precision.

mod plain;

use nestor_ir::artifact::Precision;

/// Names and addresses of all routines for one precision.
pub(crate) fn table(precision: Precision) -> Vec<(&'static str, *const u8)> {
    match precision {
        Precision::F32 => plain::table::<f32>(),
        Precision::F64 => plain::table::<f64>(),
    }
}
