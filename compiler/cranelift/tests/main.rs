//! One program holds all tests of this crate: one link instead of one a file, and no core waits for the end of each.

mod common;
mod kernels;
mod maps;
mod speed;
