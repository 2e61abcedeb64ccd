//! Text and tree of the Nestor language. Knows no meaning: names are not resolved here, shapes
//! not checked. The only user of the parser generator.

pub mod ast;
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's rules are generated, one for every word of the language"
)]
mod build;
pub mod diagnostic;
mod near;
mod print;
pub mod source;

pub use build::parse;
pub use diagnostic::{Diagnostic, Label, Severity};
pub use near::nearest;
pub use print::format;
pub use source::{FileId, Source, Sources, Span};
