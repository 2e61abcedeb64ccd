//! A launch of a kernel: what it is given, what it took, and what went wrong.

use crate::bulk::Tensor;
use crate::cluster;
use crate::memory::{Allocation, Memory};
use crate::module::Module;
use crate::run::LANES;
use thiserror::Error;

/// How a kernel is launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks.
    pub grid: u32,
    /// Threads of a block: whole warps.
    pub block: u32,
    /// Bytes of shared memory beyond what the module declares.
    pub shared: usize,
    /// The parameters' values, in order.
    pub params: Vec<u64>,
    /// The tensors whose boxes it copies, behind them.
    pub maps: Vec<Tensor>,
    /// Instructions that all threads together may take.
    pub limit: u64,
    /// The kernel is known to be right: it is not asked in which order its threads touch memory, nor what stands between
    /// asynchronous products and their wait.
    pub trusted: bool,
}

/// What a launch took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Instructions of all threads; one of a whole warp counts for each lane.
    pub instructions: u64,
    /// Barriers of all blocks.
    pub barriers: u64,
    /// Matrix products of all warps; one of a group of four counts for each of them, as so many of eight columns.
    pub products: u64,
    /// Bytes of matrices that come from shared memory: to registers of a warp, or to a product of a group, of which each warp has a quarter.
    pub matrices: u64,
    /// Bytes of memory that some thread has read, and those that one has written.
    pub moved: [u64; 2],
    /// Barriers of clusters, counted for each block.
    pub meetings: u64,
}

/// What went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("block {block}, thread {thread}, line {line} `{instruction}`: {what}")]
pub struct Fault {
    /// The block.
    pub block: u32,
    /// The thread in it.
    pub thread: u32,
    /// The line of the text.
    pub line: usize,
    /// The instruction.
    pub instruction: String,
    /// What happened.
    pub what: String,
}

/// Runs a kernel.
///
/// # Errors
/// The first fault; also where the launch does not fit the kernel.
pub fn launch(
    module: &Module,
    kernel: &str,
    launch: &Launch,
    memory: &mut Memory,
) -> Result<Stats, Fault> {
    let outside = |what: String| Fault {
        block: 0,
        thread: 0,
        line: 0,
        instruction: format!("launch of {kernel}"),
        what,
    };
    let found = module.kernels.iter().find(|k| k.name == kernel);
    let kernel = found.ok_or_else(|| outside("there is no such kernel".to_owned()))?;
    let (given, taken) = (launch.params.len(), kernel.params.len());
    if given != taken {
        return Err(outside(format!("{given} parameters for {taken}")));
    }
    if launch.block == 0 || !(launch.block as usize).is_multiple_of(LANES) {
        return Err(outside(format!("{} threads are not whole warps", launch.block)));
    }
    let (given, taken) = (launch.maps.len(), kernel.maps.len());
    if given != taken {
        return Err(outside(format!("{given} tensors for {taken}")));
    }
    launch.maps.iter().try_for_each(Tensor::check).map_err(outside)?;
    memory.settle();
    if !launch.grid.is_multiple_of(kernel.cluster) {
        let (grid, each) = (launch.grid, kernel.cluster);
        return Err(outside(format!("{grid} blocks are not whole clusters of {each}")));
    }
    let unknown = || Allocation::unknown("shared", launch.shared);
    let mut shared: Vec<Allocation> = (0..kernel.cluster).map(|_| unknown()).collect();
    let mut stats = Stats::default();
    for first in (0..launch.grid).step_by(kernel.cluster as usize) {
        shared.iter_mut().for_each(Allocation::renew);
        cluster::run(kernel, launch, first, (&mut *memory, &mut shared), &mut stats)?;
    }
    stats.moved = memory.touched();
    Ok(stats)
}
