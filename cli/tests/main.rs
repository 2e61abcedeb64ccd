//! One program holds all tests of this crate: one link instead of one a file, and no core waits for the end of each.

mod bad_input;
mod common;
mod contract;
mod explore;
mod explore_on_ray;
mod generate;
mod golden;
mod gpu_target;
mod graph;
mod guide;
mod levels;
mod mixers;
mod not_finite;
mod positions;
mod run_kept;
mod stacked;
mod tokenizer;
mod train;
mod tune;
mod verify;
