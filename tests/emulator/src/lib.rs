//! Executes PTX without a GPU: the subset that the compiler emits, as the published instruction set
//! describes it. It is written from that description, never from the emitter.
//!
//! Threads of a block run one after another up to the next barrier or the next instruction of the whole
//! warp, so that a program without races has one result. What makes a result hang on the order of threads is an
//! error, as is what a GPU would let pass or answer with a trap long after: two threads that touch a byte between two barriers,
//! one of them writing; blocks that touch what another one writes, but for those of a cluster with a barrier of theirs between; an access outside of every allocation,
//! unaligned, or of bytes that nothing has written; a barrier that some thread never reaches; a matrix product of a group of
//! warps without the fences that it needs; a box of a tensor that is touched before its bytes were waited for. Every error names the block, the thread and the instruction.

mod bulk;
mod cluster;
mod compare;
mod convert;
mod decode;
mod decode_bulk;
mod decode_group;
mod descriptor;
mod group;
mod launch;
mod memory;
mod module;
mod phases;
mod progress;
mod run;
mod shadow;
mod table;
mod text;
mod warp;

pub use bulk::Tensor;
pub use launch::{Fault, Launch, Stats, launch};
pub use memory::{Allocation, Memory};
pub use module::{Module, ParseError};
