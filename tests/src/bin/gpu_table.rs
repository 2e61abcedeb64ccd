//! Prints what the kernels of the library's memories take on a GPU, forward and backward, as Markdown: `docs/gpu.md`.
//!
//! `cargo run --release -p nestor-tests --features cuda --bin gpu_table -- [--targets sm_80,sm_90a] [--products bf16,float32]
//! [--widths 64,128,256] [--cases] [--steps] [NAME...]`; `--cases` is of the golden cases instead, `--steps` says how long each step
//! to PTX takes. `--fit FILE` fits the rates of predictions to what the device suite has measured.

#![allow(clippy::print_stdout, reason = "it is a command")]

use nestor_compiler::gpu::ptxas::{Assembler, find};
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::usage::{Subject, Taken, case, memory, taken};
use nestor_tests::{files, gpu_costs, root, rules};

/// What is asked for.
struct Asked {
    targets: Vec<Target>,
    products: Vec<Products>,
    widths: Vec<usize>,
    cases: bool,
    steps: bool,
    names: Vec<String>,
}

fn main() -> Result<(), String> {
    let mut asked = Asked {
        targets: vec![Target::Sm80, Target::Sm90a],
        products: vec![Products::Brain, Products::Float32],
        widths: vec![64, 128, 256],
        cases: false,
        steps: false,
        names: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--targets" => {
                asked.targets = listed(&next()?, Target::find)?;
            }
            "--products" => {
                asked.products = listed(&next()?, Products::find)?;
            }
            "--widths" => asked.widths = listed(&next()?, |t| t.parse().ok())?,
            "--cases" => asked.cases = true,
            "--steps" => asked.steps = true,
            "--fit" => {
                print!("{}", gpu_costs::fit(std::path::Path::new(&next()?))?);
                return Ok(());
            }
            name => asked.names.push(name.to_owned()),
        }
    }
    let assembler = find();
    if !asked.steps {
        head(assembler.is_some());
    }
    let mut failed = Vec::new();
    for &target in &asked.targets {
        for &products in &asked.products {
            let options = Options { target, products };
            table(&asked, options, assembler.as_ref(), &mut failed);
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\n{} failed", failed.join("\n"), failed.len())),
    }
}

fn listed<T>(text: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let one = |t: &str| find(t).ok_or(format!("there is no `{t}`"));
    text.split(',').map(one).collect()
}

/// What comes before the table, for people.
const HEAD: &str = include_str!("../../gpu/head.md");

fn head(assembled: bool) {
    println!("{HEAD}");
    println!("## The table\n");
    println!(
        "Made by `cargo run --release -p nestor-tests --features cuda --bin gpu_table`. A row is a memory of the library, forward and \
         with all gradients, in a program that holds it alone (of `stdlib/checks/memories.nest` or `tests/gpu/memories.nest`), at a width of \
         its heads; memories that are written by the chunk have chunks of 64 tokens. *Kernels* are those of the program; \
         *registers*, *spills* (bytes) and *shared* memory (KiB) are the most of any of them, *scratch* the memory (KiB) of a block \
         whose tiles are not all in shared memory. *Products* are those inside of kernels: on tensor cores, and by threads, \
         because one of their sides is shorter than eight; *mma* and *HMMA* are instructions of tensor cores in PTX and in machine \
         code, which nvdisasm reads where it lies beside ptxas. *Predicted* is the time of a call on 4 sequences of 4096 tokens in microseconds, by `compiler/driver/src/gpu/time.rs`; *to PTX* is \
         processor time from the text of the program to PTX in milliseconds. The command fails where a kernel spills, or where a \
         product that is meant for tensor cores is not on them in the machine code."
    );
    if !assembled {
        println!(
            "\nptxas is not found: registers, spills and machine code are not known."
        );
    }
}

fn table(
    asked: &Asked,
    options: Options,
    assembler: Option<&Assembler>,
    failed: &mut Vec<String>,
) {
    let (target, products) = (options.target.name(), options.products.name());
    println!("\n## {target}, products in {products}\n");
    if !asked.steps {
        println!(
            "| memory | width | kernels | registers | spills | shared | scratch | products | mma | HMMA | instructions | \
             predicted | to PTX |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
        );
    }
    let paths = files(&root().join("tests/oracle"), "nest");
    let subjects: Vec<String> = match asked.cases {
        true => paths
            .iter()
            .map(|p| p.file_stem().unwrap_or_default().to_string_lossy().into_owned())
            .collect(),
        false => rules::memories().into_iter().map(|(name, _)| name).collect(),
    };
    for (n, name) in subjects.iter().enumerate() {
        if !asked.names.is_empty() && !asked.names.contains(name) {
            continue;
        }
        for &width in &asked.widths {
            let subject = || -> Result<Subject, String> {
                match asked.cases {
                    true => case(&paths[n], Some(width)),
                    false => memory(name, width),
                }
            };
            // Without an assembler where steps alone are asked for.
            let assembler = assembler.filter(|_| !asked.steps);
            match subject().and_then(|s| taken(s, options, assembler)) {
                Ok(t) => {
                    println!(
                        "{}",
                        if asked.steps {
                            steps(name, width, &t)
                        } else {
                            row(name, width, &t)
                        }
                    );
                    if t.spills > 0 {
                        let each = t.spilling.iter();
                        let each: Vec<String> = each
                            .map(|(k, bytes)| format!("{bytes} bytes by {k}"))
                            .collect();
                        failed.push(format!(
                            "{name} {width} {target} {products}: spilled are {}",
                            each.join(", ")
                        ));
                    }
                    if !t.without.is_empty() {
                        failed.push(format!("{name} {width} {target} {products}: not on tensor cores in {}", t.without.join(", ")));
                    }
                }
                Err(why) => {
                    let why = why.lines().next().unwrap_or("").to_owned();
                    println!("| `{name}` | {width} | {why} |");
                    failed.push(format!("{name} {width} {target} {products}: {why}"));
                }
            }
        }
    }
}

fn row(name: &str, width: usize, t: &Taken) -> String {
    let known = |n: u32| if t.registers == 0 { "?".to_owned() } else { n.to_string() };
    format!(
        "| `{name}` | {width} | {} | {} | {} | {:.1} | {:.0} | {} + {} | {} | {} | {} | {:.0} | {:.0} |",
        t.kernels,
        known(t.registers),
        known(t.spills),
        t.shared as f64 / 1024.0,
        t.scratch as f64 / 1024.0,
        t.products[0],
        t.products[1],
        t.on_cores.0,
        t.on_cores.1.map_or("?".to_owned(), |n| n.to_string()),
        t.instructions,
        t.predicted * 1e6,
        t.worked.as_secs_f64() * 1e3,
    )
}

fn steps(name: &str, width: usize, t: &Taken) -> String {
    let each = t.steps.iter();
    let each: Vec<String> = each
        .map(|(what, time)| format!("{what} {:.0}", time.as_secs_f64() * 1e3))
        .collect();
    let all = t.made.as_secs_f64() * 1e3;
    let worked = t.worked.as_secs_f64() * 1e3;
    format!(
        "{worked:>6.0} ms of processors, {all:>6.0} ms  {name} {width}, {} kernels: {}",
        t.kernels,
        each.join(", ")
    )
}
