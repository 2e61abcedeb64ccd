//! Blocks that run at the same time and reach each other's shared memory: those of a cluster, one after another up to its next barrier.

use crate::launch::{Fault, Launch, Stats};
use crate::memory::{Allocation, Memory};
use crate::module::{Kernel, SHARED};
use crate::phases::Phases;
use crate::run::{Block, Halt, Thread};

/// Where the shared memory of a cluster's first block begins for its others; that of the next one lies behind it.
const WINDOW: u64 = 1 << 32;

/// An address of shared memory as that of another block of the cluster.
pub(crate) fn of_block(at: u64, block: u64) -> u64 {
    at.wrapping_add((block + 1) * WINDOW)
}

/// Which block of the cluster an address is of, `own` where it names none, and where in its shared memory that is.
pub(crate) fn found(at: u64, own: usize) -> (usize, u64) {
    match (at / WINDOW) as usize {
        0 => (own, at.wrapping_sub(SHARED)),
        n => (n - 1, (at % WINDOW).wrapping_sub(SHARED)),
    }
}

/// What a block has for itself between two barriers of its cluster.
pub(crate) struct Resting {
    pub(crate) threads: Vec<Thread>,
    pub(crate) phases: Phases,
    pub(crate) epoch: u32,
}

/// Runs the blocks of a cluster, the first one's number being `first`.
pub(crate) fn run(
    kernel: &Kernel,
    launch: &Launch,
    first: u32,
    (memory, shared): (&mut Memory, &mut [Allocation]),
    stats: &mut Stats,
) -> Result<(), Fault> {
    let count = kernel.cluster;
    let mut all: Vec<Resting> = (0..count)
        .map(|n| Resting {
            threads: (0..launch.block)
                .map(|t| Thread::new(kernel, launch, first + n, t))
                .collect(),
            phases: Phases::default(),
            epoch: 0,
        })
        .collect();
    // Since when what other blocks of the cluster did before is done.
    let mut since = 0;
    loop {
        let mut halts = Vec::new();
        for (n, resting) in all.iter_mut().enumerate() {
            let mut block = Block {
                kernel,
                launch,
                memory,
                shared,
                rank: n,
                block: first + n as u32,
                epoch: resting.epoch,
                since,
                threads: std::mem::take(&mut resting.threads),
                phases: std::mem::take(&mut resting.phases),
                stats: *stats,
            };
            let halt = block.run()?;
            if let (Halt::End, Some(Halt::Meet)) | (Halt::Meet, Some(Halt::End)) =
                (halt, halts.last())
            {
                let what = "a block of the cluster has ended without this barrier";
                return Err(block.fault(0, what.to_owned()));
            }
            halts.push(halt);
            (*stats, resting.epoch) = (block.stats, block.epoch);
            (resting.threads, resting.phases) = (block.threads, block.phases);
        }
        if halts.contains(&Halt::End) {
            return Ok(());
        }
        let latest = all.iter().map(|r| r.epoch).max().unwrap_or(0);
        since = latest + 1;
        for resting in &mut all {
            resting.epoch = since;
            resting.threads.iter_mut().for_each(Thread::pass);
        }
        stats.meetings += u64::from(count);
    }
}
