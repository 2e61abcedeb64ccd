//! The text form of plans: what `--emit plan` prints.
//!
//! ```text
//! plan {
//!   x0 "tokens": int[B, T] input "tokens" lives 0..3
//!   x1 "W": [256, 8] in place "W" -> "W" lives 0..4
//!   x2 "gather": [B, T, 8] temporary lives 0..2 slot 0
//!   x3 "read": [B, T, 8] output "y", "z" bfloat16 lives 2..3
//!   0: launch k0 (x1, x0, x2)  // gather.0 (W, tokens, gather)
//!   1: dense B*T x [1, 8, 8] x3[0; 8, 8, 1] += 0.5 * x2[0; 8, 8, 1] @ x1[0; 0, 1, 8]
//!   2: zero x3
//!   3: copy x3 from x2
//! }
//! ```
//!
//! A dense product is `repetitions x [rows, columns, depth]`; an operand says its first element and
//! the elements between repetitions, rows and columns. What follows `//` is for people.

mod parse;
mod print;

pub use parse::parse;
pub use print::print;
