//! Block routines that compiled kernels call: what 128-bit vector code would be slow at, compiled
//! ahead for the machine's vectors and chosen once by name.
//!
//! Element-wise functions work in place on a row (`maps`); transposition, copies, products,
//! triangular solves and small recurrences work on tiles. Everything is `extern "C"` with
//! addresses, lengths and strides in elements; each file says which.

pub(crate) mod erf;
pub(crate) mod exp;
mod float_mode;
pub(crate) mod lanes;
mod large;
mod level;
pub(crate) mod log;
mod maps;
#[cfg(test)]
mod plain;
mod product;
mod reduce;
mod rows;
mod scan;
mod solve;
mod strided;
mod system;
mod transpose;
mod trig;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

pub use float_mode::{FloatMode, flush_to_zero, restore_float_mode};
pub use large::dense;
pub use level::{SimdLevel, simd_level};
use nestor_ir::artifact::Precision;
use std::sync::OnceLock;

/// A routine of one precision.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// The name code calls it by.
    pub name: &'static str,
    /// Where it is.
    pub address: *const u8,
}

type Choice = fn(Precision, SimdLevel) -> *const u8;

/// Names, and where the version for a precision and level is.
const TABLE: &[(&str, Choice)] = &[
    ("exp", maps::exp::row::address),
    ("log", maps::log::row::address),
    ("sin", maps::sin::row::address),
    ("cos", maps::cos::row::address),
    ("tanh", maps::tanh::row::address),
    ("erf", maps::erf::row::address),
    ("sigmoid", maps::sigmoid::row::address),
    ("softplus", maps::softplus::row::address),
    ("pow", maps::pow::address),
    ("sum", reduce::sum::address),
    ("max", reduce::max::address),
    ("transpose", transpose::turn::address),
    ("copy_rows", rows::copy_rows::address),
    ("scale_rows", rows::scale_rows::address),
    ("gather_rows", rows::gather_rows::address),
    ("scatter_add_rows", rows::scatter_add_rows::address),
    ("product", product::address),
    ("solve_unit_lower", solve::solve_unit_lower::address),
    ("eliminate", system::eliminate::address),
    ("inverse_root", system::inverse_root::address),
    ("linear_scan", scan::linear_scan::address),
];

/// All routines of one precision at the machine's widest level.
pub fn table(precision: Precision) -> Vec<(&'static str, *const u8)> {
    static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
    let level = *LEVEL.get_or_init(simd_level);
    for_level(precision, level).into_iter().map(|r| (r.name, r.address)).collect()
}

/// All routines of one precision at a level, which this machine must support.
pub fn for_level(precision: Precision, level: SimdLevel) -> Vec<Routine> {
    assert!(level.is_supported(), "this machine has no {}", level.name());
    TABLE
        .iter()
        .map(|(name, choose)| Routine { name, address: choose(precision, level) })
        .collect()
}
