//! The text form of tile kernels: what `--emit tiles` prints and what tests are written in.
//!
//! ```text
//! kernel "walk.3" {
//!   b0 "key": [B, T, 4, 32] read
//!   b1 "read": [B, T, 4] write
//!   t0 "key": [32, 32]
//!   grid i0 < B, i1 < 4
//!   loop i2 < T/32 {
//!     map [32, 32] t0[0; 32, 1] = b0[128*T*i0 + 4096*i2 + 32*i1; 128, 1] if 0 <= 32*i2 + p0 < T  // key = key
//!     map [32, 32] {
//!       l0 = t0[0; 32, 1]
//!       e0 = l0
//!       b1[4*T*i0 + 128*i2 + i1; 4] if 0 <= 32*i2 + p0 < T = sum over p1 of e0 * e0
//!     }
//!   }
//! }
//! ```
//!
//! - `b0[origin; strides] if low <= moving quantity < high pad x` is an access: `p0`, `p1` are the
//!   dimensions of the statement's own iteration space, a pad of zero is not said.
//! - A quantity is a sum of products of numbers, `B`, `T`, `(T/c)` (chunks of c tokens),
//!   `phase(c)` (`t0 mod c`), `start` (`t0`) and an index.
//! - `map [space]` stores one element-wise program at every point. Scalars used once stand where
//!   they are used, as long as that keeps their order; the others have a line `e3 = ...`; loads
//!   have a line `l0 = ...` where they are many or long. `at(p0 + q)` is an index as a number.
//! - `+=` starts from what is there.
//! - `product [rows, columns, depth] out = alpha * left @ right, shape`.
//! - `total t0, t1` makes each of these tiles the sum of what the points along the grid's last index have in it.
//! - What follows `//` is for people: the names of the places of the line.

mod affine;
mod parse;
mod print;
mod program;
mod quantity;
mod scalar;

pub(crate) use affine::number;
pub(crate) use parse::shape as read_shape;
pub use parse::{parse, parse_all};
pub(crate) use print::behind;
pub use print::print;
pub(crate) use quantity::{affine as read_affine, monomial as read_monomial};
