//! Prints what the kernels of the library's memories take on a GPU, forward and backward, as Markdown: `docs/gpu.md`.
//!
//! `cargo run --release -p nestor-tests --features cuda --bin gpu_table -- [--targets sm_80,sm_90a] [--products bf16]
//! [--widths 64,128,256] [--cases] [--minutes N] [--limit SECONDS] [--keep FILE] [NAME...] > docs/gpu.md`
//!
//! `--cases` is of the golden cases instead. Rows and kernels are kept in a file (`target/gpu_table.jsonl`): what is stopped, or
//! given so many `--minutes`, goes on where it was; a row is made again where the command is another. `--limit` is how long the
//! assembler may take for a kernel (300). `--fit FILE` fits the rates of predictions to what the device suite has measured.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use nestor_compiler::gpu::ptxas::{Assembler, find};
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::gpu_table::{Row, document, row};
use nestor_tests::usage::{
    Asked, Assembling, Kept, Subject, Taken, case, hashed, memory, number, taken,
};
use nestor_tests::{files, gpu_costs, root, rules};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How rows are made.
struct How {
    cases: bool,
    minutes: u64,
    limit: u64,
    keep: PathBuf,
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
            Some(path) => case(path, Some(self.width), self.options)?,
            None => memory(&self.name, self.width, self.options)?,
        };
        taken(subject, self.options, how)
    }
}

fn main() -> Result<(), String> {
    let mut how = How {
        cases: false,
        minutes: u64::MAX / 60,
        limit: 300,
        keep: root().join("target/gpu_table.jsonl"),
    };
    let mut fit = None;
    let asked = Asked {
        targets: vec![Target::Sm80, Target::Sm90a],
        products: vec![Products::Brain],
        widths: vec![64, 128, 256],
        names: Vec::new(),
    };
    let asked = asked.read(std::env::args().skip(1), |word, next| {
        match word {
            "--minutes" => how.minutes = number(next)?,
            "--limit" => how.limit = number(next)?,
            "--keep" => how.keep = PathBuf::from(next()?),
            "--cases" => how.cases = true,
            "--fit" => fit = Some(PathBuf::from(next()?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if let Some(measured) = fit {
        print!("{}", gpu_costs::fit(&measured)?);
        return Ok(());
    }
    let wanted = wanted(&asked, how.cases);
    let assembler = find();
    let rows = rows(&how, &wanted, assembler.as_ref())?;
    print!("{}", document(&rows, assembler.is_some())?);
    let failed: Vec<&str> =
        rows.iter().flat_map(|r| r.failed.iter().map(String::as_str)).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\n{} failed", failed.join("\n"), failed.len())),
    }
}

/// The rows in the order in which they are printed.
fn wanted(asked: &Asked, cases: bool) -> Vec<Wanted> {
    let subjects: Vec<(String, Option<PathBuf>)> = match cases {
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
                if !asked.has(name) {
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
    how: &How,
    wanted: &[Wanted],
    assembler: Option<&Assembler>,
) -> Result<Vec<Row>, String> {
    let began = Instant::now();
    let kept = Kept::open(&how.keep)?;
    let limit = Duration::from_secs(how.limit);
    let assembling =
        assembler.map(|assembler| Assembling { assembler, kept: Some(&kept), limit });
    // Rows are of this command and of what it reads.
    let command = std::env::current_exe().and_then(std::fs::read);
    let command = command.map_err(|e| e.to_string())?;
    let programs = std::fs::read(root().join("tests/gpu/memories.nest"));
    let programs = programs.map_err(|e| e.to_string())?;
    let of = hashed((command, programs, how.limit, assembler.map(|a| &a.path)));
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
        if began.elapsed().as_secs() > 60 * how.minutes {
            let why = "not made: there was no time left";
            done.push((n, Row::without(w.section(), name, width, why)));
            continue;
        }
        let since = Instant::now();
        let row = match w.taken(assembling.as_ref()) {
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
