//! What is decided of a kernel before it is written.

use crate::boxes::Bulk;
use crate::exchange::Exchanged;
use crate::narrow::Kept;
use crate::often::Often;
use crate::placement::Placement;
use crate::products::has_long_system;
use crate::strips::Strips;
use crate::target::Products;
use nestor_ir::tile::{Extent, Kernel, Stmt};

/// Warps of a block of which some have columns, at least.
const LEAST_WARPS: u32 = 4;

/// A kernel with that.
#[derive(Clone, Copy)]
pub(super) struct About<'k> {
    /// Its name.
    pub(super) symbol: &'k str,
    pub(super) kernel: &'k Kernel,
    /// Tiles whose parts are exchanged.
    pub(super) exchanged: &'k Exchanged,
    /// What is narrow.
    pub(super) kept: &'k Kept,
    pub(super) placement: &'k Placement,
    /// What hardware copies ahead.
    pub(super) bulk: &'k Bulk,
    /// What is written once.
    pub(super) often: &'k Often,
    pub(super) threads: u32,
    pub(super) products: Products,
    /// Groups of warps compute products whose operands lie as they read them.
    pub(super) groups: bool,
    /// Operands of large products are brought to room.
    pub(super) staged: bool,
}

/// Threads of a block: enough for most of its statements (bounds picked by judgement, not measured). Where warps have columns, at least those;
/// where others only bring what these take, a few besides, so that there are registers for two blocks.
/// Where a long system is solved, those of four warps: each of them has as many right-hand sides as equations are a block, others would wait for
/// them, and there are registers for two blocks.
pub(super) fn threads(kernel: &Kernel, strips: &Strips, products: Products) -> u32 {
    let own = 32 * (strips.warps() as u32).next_power_of_two();
    match strips.columns {
        0 if has_long_system(&kernel.body, products) => 32 * LEAST_WARPS,
        0 => by_points(kernel),
        _ if strips.is_thin(kernel) => own.max(32 * LEAST_WARPS),
        _ => own.max(by_points(kernel)),
    }
}

fn by_points(kernel: &Kernel) -> u32 {
    fn points(body: &[Stmt]) -> usize {
        let fixed = |space: &[Extent]| space.iter().filter_map(|d| d.fixed()).product();
        let of = |stmt: &Stmt| match stmt {
            Stmt::Map { space, .. } => fixed(space),
            Stmt::Product { m, n, .. } => fixed(&[*m, *n]),
            Stmt::SolveUnitLower { m, .. } => *m,
            Stmt::Eliminate { n, m, .. } => n * n.max(m),
            Stmt::InverseRoot { n, .. } => n * n / 2,
            Stmt::LinearScan { extent, .. } => extent.2,
            Stmt::Gather { width, .. } => *width,
            // A thread walks all rows for each of its columns.
            Stmt::ScatterAdd { width, .. } => 4 * width,
            // All do, and each has the share of its block.
            Stmt::Total { .. } => 1,
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => points(body),
        };
        body.iter().map(of).max().unwrap_or(1)
    }
    match points(&kernel.body) {
        0..=64 => 32,
        65..=512 => 64,
        513..=2048 => 128,
        _ => 256,
    }
}
