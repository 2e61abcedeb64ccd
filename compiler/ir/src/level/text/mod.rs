//! The text form of level programs: what `--emit levels` prints. It says all of a program.
//!
//! ```text
//! program "Case" {
//!   in "x": [4] at every token
//!   weight w0 "M.W" as "init.W": [4, 4] = of m0 normal(0.02)
//!   memory m0 "M" for each of [2] resets every sequence {
//!     weight "W" as "W": [4, 4] from w0
//!     read graph { .. }
//!   }
//!   statement s0 minimises over m0 at kept, every 1 tokens, window 1 {
//!     objective graph { .. }
//!     target of 0 {
//!       algorithm (gradient, captured 1) graph { .. }
//!       keep (stored, captured 0) graph { .. }
//!     }
//!   }
//!   code graph { .. }
//!   outputs at every token, once
//!   level "M" at every token resets every sequence is m0 { }
//!   flow 0 -> 1 value "y"
//! }
//! ```

mod parse;
mod print;

pub use parse::parse;
