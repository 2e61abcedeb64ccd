//! The text form of tensor graphs: what `--emit` prints and what tests of passes are written in.
//!
//! ```text
//! graph {
//!   %0 "x": [B, T] = input
//!   %1: [] = constant{value=2}
//!   %2: [B, T] = broadcast{axes=()} %1
//!   %3: [B, T] = mul %0, %2
//!   %4: [B] = reduce{fold=sum, axes=(1)} %3
//!   output "y" %4
//! }
//! ```
//!
//! A scan prints its body between braces, each operand behind its feed and layout: `m0` is the
//! mapped dimension 0, `t` the walked one, `.` an axis of the body.

mod attribute;
mod parse;
mod print;

pub use crate::text::ParseError;

pub(crate) use parse::graph as read_graph;
pub use parse::parse;
pub use print::print;
