//! Where a thread is with the products of its group of four warps, and what it may do there.
//!
//! Products are asynchronous: they touch registers and shared memory until they are waited for. By the book other instructions may stand
//! between them and the wait; those that touch none of this. It is not looked for here which ones do: none at all may.

use crate::module::{GroupOp, Op, WarpOp};
use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};

/// What the last instructions of a thread were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Stage {
    /// Nothing of products.
    #[default]
    Free,
    /// A fence, and nothing since.
    Fenced,
    /// Products that are in no group yet.
    UnderWay,
    /// The end of a group that has not been waited for.
    Committed,
}

/// What a thread has done of its group's products, and of what they need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) stage: Stage,
    /// Fences of the asynchronous proxy, and how many of them lie before the last barrier.
    pub(crate) fences: u16,
    pub(crate) settled: u16,
    /// How many products since the last barrier, and which ones: of a warp its first lane remembers them.
    pub(crate) done: u32,
    trace: u64,
}

const UNDER_WAY: &str = "it is done while matrix products are under way";

const NO_FENCE: &str = "registers are touched without a fence: the instruction before it is neither `wgmma.fence` nor another product of its group";

impl Progress {
    /// The next instruction, which may be another one than those of products, or none that is done.
    pub(crate) fn meanwhile(&mut self, op: Option<&Op>) -> Result<(), String> {
        if let Some(Op::Warp(WarpOp::Group(_))) = op {
            return Ok(());
        }
        match self.stage {
            Stage::Free | Stage::Fenced => {
                self.stage = Stage::Free;
                Ok(())
            }
            Stage::UnderWay | Stage::Committed => Err(UNDER_WAY.to_owned()),
        }
    }

    /// An instruction of products.
    pub(crate) fn advance(&mut self, op: &GroupOp) -> Result<(), String> {
        if let GroupOp::Wait(1..) = op {
            return Err(UNDER_WAY.to_owned());
        }
        self.stage = match (self.stage, op) {
            (Stage::Free | Stage::Fenced, GroupOp::Fence) => Stage::Fenced,
            (Stage::Fenced | Stage::UnderWay, GroupOp::Product(_)) => Stage::UnderWay,
            (Stage::UnderWay, GroupOp::Commit) => Stage::Committed,
            // Also of an empty group.
            (Stage::Committed, GroupOp::Wait(_))
            | (Stage::Free | Stage::Fenced, GroupOp::Commit | GroupOp::Wait(_)) => {
                Stage::Free
            }
            (Stage::Free, GroupOp::Product(_)) => return Err(NO_FENCE.to_owned()),
            // What is in no group is not waited for.
            (Stage::UnderWay, GroupOp::Fence | GroupOp::Wait(_))
            | (
                Stage::Committed,
                GroupOp::Fence | GroupOp::Product(_) | GroupOp::Commit,
            ) => return Err(UNDER_WAY.to_owned()),
        };
        Ok(())
    }

    /// Remembers a product: where it stands and what its operands are.
    pub(crate) fn note(&mut self, what: impl Hash) {
        let mut hasher = FxHasher::default();
        (self.trace, what).hash(&mut hasher);
        (self.done, self.trace) = (self.done + 1, hasher.finish());
    }

    /// Whether another warp has done the same products.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        (self.done, self.trace) == (other.done, other.trace)
    }

    /// A fence of the asynchronous proxy.
    pub(crate) fn fence(&mut self) -> Result<(), String> {
        let more = self.fences.checked_add(1);
        self.fences = more.ok_or("a thread does too many of these to be counted")?;
        Ok(())
    }

    /// A barrier: what was fenced before is visible behind it.
    pub(crate) fn pass(&mut self) {
        self.settled = self.fences;
        (self.done, self.trace) = (0, 0);
    }
}
