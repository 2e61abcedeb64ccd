//! The `nestor` command.

fn main() {}
