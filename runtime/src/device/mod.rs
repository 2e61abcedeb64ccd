//! Where a plan runs.

pub mod cpu;

#[cfg(test)]
mod tests;
