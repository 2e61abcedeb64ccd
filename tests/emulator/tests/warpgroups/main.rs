//! Matrix products of groups of four warps: what they compute against plain loops, and that each mistake with them is found.

mod kernel;
mod mistakes;
mod place;
mod products;
mod proxies;
