//! One program holds all tests of this crate: one link instead of one a file, and no core waits for the end of each.

mod algorithms;
mod alone;
mod at_ends;
mod baselines;
mod checks;
mod chunks;
mod combinations;
mod costs;
mod definition;
mod equalities;
mod fission;
mod forms;
mod from_start;
mod generate;
#[cfg(feature = "cuda")]
mod gpu;
mod halves;
mod lowering;
mod names;
mod reading;
mod reductions;
mod rules;
mod same_rules;
mod scales;
mod specs;
mod split;
mod sweeps;
mod terms;
mod texts;
mod tidy;
mod two_pass;
mod windows;
