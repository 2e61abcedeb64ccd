//! Prints how long it takes from a program's text to PTX for the library's memories, forward and backward, as Markdown; fails where it
//! is longer than it may be.
//!
//! `cargo run --release -p nestor-tests --features cuda --bin to_ptx -- [--targets sm_90a] [--products bf16] [--widths 64,128]
//! [--tries 3] [--within 1000] [NAME...]`; times are the least of so many tries, in milliseconds: by the clock, of all processors
//! together, and of each step, summed over the cores that take part. `--within` is what the clock may say.

#![allow(clippy::print_stdout, reason = "it is a command")]

use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::rules;
use nestor_tests::usage::{Asked, Taken, memory, number, taken};
use std::time::Duration;

/// How rows are made.
struct How {
    tries: usize,
    within: Duration,
}

fn main() -> Result<(), String> {
    let mut how = How { tries: 3, within: Duration::from_secs(1) };
    let asked = Asked {
        targets: vec![Target::Sm90a],
        products: vec![Products::Brain],
        widths: vec![64, 128],
        names: Vec::new(),
    };
    let asked = asked.read(std::env::args().skip(1), |word, next| {
        match word {
            "--tries" => how.tries = number(next)?.max(1) as usize,
            "--within" => how.within = Duration::from_millis(number(next)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut failed = Vec::new();
    for &target in &asked.targets {
        for &products in &asked.products {
            section(&asked, &how, Options { target, products }, &mut failed);
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\n{} failed", failed.join("\n"), failed.len())),
    }
}

fn section(asked: &Asked, how: &How, options: Options, failed: &mut Vec<String>) {
    let (target, products) = (options.target.name(), options.products.name());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n## {target}, products in {products}, on {cores} cores\n");
    println!(
        "| memory | width | kernels | instructions | clock | processors | steps |\n|---|---|---|---|---|---|---|"
    );
    let mut clocks = Vec::new();
    for (name, _) in rules::memories() {
        if !asked.has(&name) {
            continue;
        }
        for &width in &asked.widths {
            match least(&name, width, options, how.tries) {
                Ok(least) => {
                    println!("{}", row(&name, width, &least));
                    if least.made > how.within {
                        failed.push(format!(
                            "{name} {width} {target} {products}: {:.0} ms",
                            ms(least.made)
                        ));
                    }
                    clocks.push(least.made);
                }
                Err(why) => {
                    let why = why.lines().next().unwrap_or("").to_owned();
                    println!("| `{name}` | {width} | {why} |");
                    failed.push(format!("{name} {width} {target} {products}: {why}"));
                }
            }
        }
    }
    clocks.sort();
    let within = clocks.iter().filter(|c| **c <= how.within).count();
    if let Some(most) = clocks.last() {
        println!(
            "\n{within} of {} within {:.0} ms; the most is {:.0} ms, half are within {:.0}.",
            clocks.len(),
            ms(how.within),
            ms(*most),
            ms(clocks[clocks.len() / 2])
        );
    }
}

/// The try that was the shortest, with the least time of processors of any.
fn least(
    name: &str,
    width: usize,
    options: Options,
    tries: usize,
) -> Result<Taken, String> {
    let mut best: Option<Taken> = None;
    for _ in 0..tries {
        let mut next = taken(memory(name, width, options)?, options, None)?;
        if let Some(found) = &mut best {
            let worked = found.worked.min(next.worked);
            found.worked = worked;
            next.worked = worked;
        }
        if best.as_ref().is_none_or(|found| next.made < found.made) {
            best = Some(next);
        }
    }
    best.ok_or_else(|| "not tried".to_owned())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn row(name: &str, width: usize, t: &Taken) -> String {
    let each = t.steps.iter().map(|(what, time)| format!("{what} {:.0}", ms(*time)));
    let each: Vec<String> = each.collect();
    format!(
        "| `{name}` | {width} | {} | {} | {:.0} | {:.0} | {} |",
        t.kernels,
        t.instructions,
        ms(t.made),
        ms(t.worked),
        each.join(", ")
    )
}
