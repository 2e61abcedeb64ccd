//! IR in, IR out: from a checked level program to the tensor graph that kernels are made of.
//! Modules stand in pipeline order; the calculus that all of them share stands first.

pub mod build;
pub mod dealt;
pub mod error;
pub mod even;

mod around;
pub mod autodiff;
mod axes;
pub mod batched;
mod causal;
pub mod columnwise;
pub mod derivative;
pub mod derive;
pub mod fission;
pub mod forms;
pub mod merge;
pub mod pairs;
pub mod reading;
pub mod schedule;
pub mod settle;
pub mod simplify;
pub mod spread;
pub mod to_tensors;
pub mod together;
mod tokenwise;
pub mod training;
pub mod turn;
mod units;
pub mod unpack;
pub mod vectorise;

pub use error::PassError;
