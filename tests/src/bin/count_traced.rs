//! Counts what launches of a peer execute, which `bench/peers/trace.py` has written down: `count_traced FILE.json...`.
//!
//! A line for each launch: blocks, threads of each, instructions of all warps, barriers of all blocks, products, bytes that they take
//! from shared memory, bytes of memory read and written. Of configurations that the peer would measure, the one with fewest instructions.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use nestor_tests::traced::{Traced, traced};
use std::path::Path;

fn main() -> Result<(), String> {
    for file in std::env::args().skip(1) {
        let all = traced(Path::new(&file))?;
        let sum = |f: fn(&Traced) -> u64| all.iter().map(f).sum::<u64>();
        println!(
            "{file}: {} launches, {} instructions of warps, {} bytes read and written",
            all.len(),
            sum(|t| t.stats.instructions / 32),
            sum(|t| t.stats.moved.iter().sum())
        );
        for one in &all {
            let Traced { name, blocks, threads, stats, tried, errors } = one;
            let [read, written] = stats.moved;
            println!(
                "  {name:<44} {blocks:>5} x {threads:>3} threads {:>10} instructions {:>7} barriers {:>8} products of {:>9} bytes, {read:>8} read {written:>8} written; {tried} tried",
                stats.instructions / 32,
                stats.barriers,
                stats.products,
                stats.matrices,
            );
            for error in errors {
                eprintln!("    {}", error.lines().next().unwrap_or(""));
            }
        }
    }
    Ok(())
}
