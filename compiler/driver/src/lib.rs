//! The compiler as a library: reads files, checks them, elaborates an entry, and runs it by its
//! definition. The command line is a thin layer over this crate.

pub mod check;
pub mod costs;
pub mod diagnose;
pub mod execute;
pub mod first;
pub mod gpu;
pub mod graphs;
pub mod kept;
pub mod machine;
pub mod native;
pub mod pipeline;
pub mod predict;
pub mod source;
pub mod sweep;
pub mod time;
pub mod trained;
pub mod tune;
pub mod unreadable;

pub use nestor_front::{Setting, SettingValue};
pub use nestor_grammar::{Diagnostic, Label, Severity, format};
pub use nestor_ir::artifact::{self, Precision};
pub use nestor_ir::dim;
pub use nestor_ir::interpret;
pub use nestor_ir::level::{self, Program};
pub use nestor_ir::{plan, tensor, ty};
pub use nestor_passes::PassError;
pub use nestor_passes::forms::{Choice, Form, FormOptions, Tuned};

/// A value's number in its graph, for tables of facts about values.
pub fn index_of(value: tensor::Value) -> usize {
    nestor_ir::entity::Entity::index(value)
}
