//! Prints what the kernels of the library's memories take on a GPU, forward and backward, as Markdown: `docs/gpu.md`.
//!
//! `cargo run --release -p nestor-tests --features cuda --bin gpu_table -- [--targets sm_80,sm_90a] [--products bf16]
//! [--widths 64,128,256] [--cases] [--minutes N] [--limit SECONDS] [--keep FILE] [NAME...] > docs/gpu.md`
//!
//! `--cases` is of the golden cases instead. Rows and kernels are kept in a file (`target/gpu_table.jsonl`): what is stopped, or
//! given so many `--minutes`, goes on where it was; a row is made again where the command is another. `--limit` is how long the
//! assembler may take for a kernel (300). `--steps` says how long each step to PTX takes. `--fit FILE` fits the rates of
//! predictions to what the device suite has measured.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use nestor_compiler::gpu::ptxas::{Assembler, find};
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::gpu_table::{Row, document, row, steps};
use nestor_tests::usage::{
    Assembling, Kept, Subject, Taken, case, hashed, listed, memory, taken,
};
use nestor_tests::{files, gpu_costs, root, rules};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is asked for.
struct Asked {
    targets: Vec<Target>,
    products: Vec<Products>,
    widths: Vec<usize>,
    cases: bool,
    steps: bool,
    minutes: u64,
    limit: u64,
    keep: PathBuf,
    names: Vec<String>,
}

/// A row to be.
struct Wanted {
    name: String,
    case: Option<PathBuf>,
    width: usize,
    options: Options,
}

impl Wanted {
    fn section(&self) -> (Target, Products) {
        (self.options.target, self.options.products)
    }
    fn taken(&self, how: Option<&Assembling<'_>>) -> Result<Taken, String> {
        let subject: Subject = match &self.case {
            Some(path) => case(path, Some(self.width))?,
            None => memory(&self.name, self.width)?,
        };
        taken(subject, self.options, how)
    }
}

fn main() -> Result<(), String> {
    let mut asked = Asked {
        targets: vec![Target::Sm80, Target::Sm90a],
        products: vec![Products::Brain],
        widths: vec![64, 128, 256],
        cases: false,
        steps: false,
        minutes: u64::MAX / 60,
        limit: 300,
        keep: root().join("target/gpu_table.jsonl"),
        names: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(format!("{word} wants a value"));
        let number = |t: String| t.parse::<u64>().map_err(|e| format!("{t}: {e}"));
        match word.as_str() {
            "--targets" => asked.targets = listed(&next()?, Target::find)?,
            "--products" => asked.products = listed(&next()?, Products::find)?,
            "--widths" => asked.widths = listed(&next()?, |t| t.parse().ok())?,
            "--minutes" => asked.minutes = number(next()?)?,
            "--limit" => asked.limit = number(next()?)?,
            "--keep" => asked.keep = PathBuf::from(next()?),
            "--cases" => asked.cases = true,
            "--steps" => asked.steps = true,
            "--fit" => {
                print!("{}", gpu_costs::fit(std::path::Path::new(&next()?))?);
                return Ok(());
            }
            name => asked.names.push(name.to_owned()),
        }
    }
    let wanted = wanted(&asked);
    if asked.steps {
        for w in &wanted {
            let said = w.taken(None).map(|t| steps(&w.name, w.width, &t));
            println!("{}", said.unwrap_or_else(|why| format!("{}: {why}", w.name)));
        }
        return Ok(());
    }
    let assembler = find();
    let rows = rows(&asked, &wanted, assembler.as_ref())?;
    print!("{}", document(&rows, assembler.is_some())?);
    let failed: Vec<&str> =
        rows.iter().flat_map(|r| r.failed.iter().map(String::as_str)).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\n{} failed", failed.join("\n"), failed.len())),
    }
}

/// The rows in the order in which they are printed.
fn wanted(asked: &Asked) -> Vec<Wanted> {
    let subjects: Vec<(String, Option<PathBuf>)> = match asked.cases {
        true => files(&root().join("tests/oracle"), "nest")
            .into_iter()
            .map(|p| {
                let stem = p.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), Some(p))
            })
            .collect(),
        false => rules::memories().into_iter().map(|(name, _)| (name, None)).collect(),
    };
    let mut out = Vec::new();
    for &products in &asked.products {
        for &target in &asked.targets {
            for (name, case) in &subjects {
                if !asked.names.is_empty() && !asked.names.contains(name) {
                    continue;
                }
                out.extend(asked.widths.iter().map(|width| Wanted {
                    name: name.clone(),
                    case: case.clone(),
                    width: *width,
                    options: Options { target, products },
                }));
            }
        }
    }
    out
}

/// Makes the rows, those of small widths first, as long as there is time.
fn rows(
    asked: &Asked,
    wanted: &[Wanted],
    assembler: Option<&Assembler>,
) -> Result<Vec<Row>, String> {
    let began = Instant::now();
    let kept = Kept::open(&asked.keep)?;
    let limit = Duration::from_secs(asked.limit);
    let how =
        assembler.map(|assembler| Assembling { assembler, kept: Some(&kept), limit });
    // Rows are of this command and of what it reads.
    let command = std::env::current_exe().and_then(std::fs::read);
    let command = command.map_err(|e| e.to_string())?;
    let programs = std::fs::read(root().join("tests/gpu/memories.nest"));
    let programs = programs.map_err(|e| e.to_string())?;
    let of = hashed((command, programs, asked.limit, assembler.map(|a| &a.path)));
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|n| wanted[*n].width);
    let mut done: Vec<(usize, Row)> = Vec::new();
    for n in order {
        let w = &wanted[n];
        let (name, width) = (&w.name, w.width);
        let (target, products) = w.section();
        let what = format!("{name} {width} {} {}", target.name(), products.name());
        let key = format!("row {what} {of} {}", w.case.is_some());
        let found = kept.found(&key).map(|found| Row::from_json(w.section(), &found));
        if let Some(row) = found {
            done.push((n, row));
            continue;
        }
        if began.elapsed().as_secs() > 60 * asked.minutes {
            let why = "not made: there was no time left";
            done.push((n, Row::without(w.section(), name, width, why)));
            continue;
        }
        let since = Instant::now();
        let row = match w.taken(how.as_ref()) {
            Ok(taken) => row(w.section(), name, width, &taken),
            Err(why) => Row::without(w.section(), name, width, &why),
        };
        let seconds = since.elapsed().as_secs_f64();
        eprintln!("{seconds:>6.1} s {what}: {}", row.line);
        row.failed.iter().for_each(|why| eprintln!("         {why}"));
        kept.keep(&key, row.to_json())?;
        done.push((n, row));
    }
    done.sort_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, row)| row).collect())
}
