//! What kernels may not hold.

use crate::BackendError;
use nestor_ir::tile::{Kernel, Stmt};

/// Statements that have no code.
pub(super) fn check(kernel: &Kernel) -> Result<(), BackendError> {
    fn missing(body: &[Stmt]) -> Option<&'static str> {
        body.iter().find_map(|stmt| match stmt {
            Stmt::LinearScan { init, y, extent, .. } => (init == y && extent.1 > 1)
                .then_some("a linear scan writes over its first value"),
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => missing(body),
            Stmt::Map { .. }
            | Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => None,
        })
    }
    match missing(&kernel.body) {
        Some(why) => {
            Err(BackendError::Code { kernel: kernel.name.clone(), why: why.to_owned() })
        }
        None => Ok(()),
    }
}
