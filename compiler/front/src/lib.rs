//! From the syntax tree to the checked program: names, arguments, shapes, claims. Every error a
//! user can make is found here; what comes out cannot fail later for a reason of theirs.

mod algorithm;
mod builtin;
mod call;
mod clocks;
mod deep;
mod definitions;
mod dependence;
mod elaborate;
mod emit;
mod entry;
mod eval;
mod flows;
mod from;
mod interval;
mod layer;
mod level;
mod memory;
mod misfit;
mod objective;
mod penalty;
mod read;
mod retention;
mod statement;
mod trail;
mod value;
mod weight;
mod window;

pub use definitions::Definitions;
pub use entry::{Elaborated, Setting, SettingValue, elaborate};
