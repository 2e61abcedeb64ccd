//! Prints the tables of `docs/costs.md`; with `--counts`, what is counted in every plan.

use nestor_tests::costs::{rows, table};

fn main() {
    #![allow(clippy::print_stdout, reason = "it is a command")]
    let counts = std::env::args().any(|a| a == "--counts");
    if !counts {
        println!("# Predicted and measured time\n");
        println!(
            "Made by `cargo run --release -p nestor-tests --bin costs`. A row is a program of `stdlib/checks` with d = 64, \
             d_k = d_v = 32, one sequence of 512 tokens, one thread, float32. *Predicted* is what \
             `compiler/driver/src/time.rs` makes of the program's kernels without running them, *measured* is processor \
             time; both are microseconds a token.\n"
        );
    }
    for (what, gradients) in [("Forward", false), ("Forward and all gradients", true)] {
        let (rows, not) = rows(gradients);
        if counts {
            for row in rows {
                let all: Vec<String> =
                    row.counts.0.iter().map(|n| format!("{n:.0}")).collect();
                println!("{what}\t{}\t{:e}\t{}", row.name, row.measured, all.join("\t"));
            }
        } else {
            println!("{}", table(what, &rows, &not));
        }
    }
}
