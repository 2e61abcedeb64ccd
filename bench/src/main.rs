//! Times a compiled program on demand.
//!
//! It compiles, says `ready` with what it compiled, and then answers each line of its input:
//! `run [CALLS]` by the milliseconds of one call, `profile` by what each launch took, `give FILE`,
//! `inputs FILE` and `outputs FILE` by the number of tensors read or written. A script that asks a
//! peer in between gets paired timings under one load of the machine, on the same numbers.

mod draw;
mod exchange;

use clap::{Parser, ValueEnum};
use indexmap::IndexMap;
use nestor_compiler::native::artifact;
use nestor_compiler::pipeline::{Purpose, forward, training_step, with_gradients};
use nestor_compiler::{Form, FormOptions, Precision, Program, Setting, check, source};
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Failure = Box<dyn Error>;

#[derive(Parser)]
#[command(
    about = "Times a compiled program: answers `run [CALLS]`, `profile`, `give FILE`, \
    `inputs FILE` and `outputs FILE` on its input"
)]
struct Arguments {
    /// What is timed.
    #[arg(value_enum)]
    what: What,
    /// The file that holds it.
    file: PathBuf,
    /// The memory, layer or model; the only one of the file where it is not given.
    #[arg(long)]
    entry: Option<String>,
    /// Sequences.
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Tokens of a sequence.
    #[arg(long, default_value_t = 1024)]
    time: usize,
    /// Dimensions of the entry, as `d=64`.
    #[arg(long)]
    set: Vec<String>,
    /// Uniform inputs, as `g=-0.1..0`; the others are normal with deviation 1.
    #[arg(long)]
    draw: Vec<String>,
    /// A form that is forced.
    #[arg(long)]
    form: Option<String>,
    /// Tokens of a chunk; the compiler chooses where it is not given.
    #[arg(long)]
    chunk: Option<usize>,
    /// Workers; one a core where it is 0.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(ValueEnum, Clone, Copy)]
enum What {
    /// Outputs alone.
    Forward,
    /// Outputs and the gradients of all inputs.
    Both,
    /// A step of training.
    Step,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let mut executor = compiled(&arguments)?;
    let compiling = begun.elapsed();
    let sizes = Sizes { batch: arguments.batch, time: arguments.time, start: 0 };
    draw::inputs(&mut executor, sizes, &arguments.draw)?;
    let kernels = executor.artifact().kernels.len();
    let launches = executor.artifact().plan.launches.len();
    anstream::println!(
        "ready {:.0} ms, {kernels} kernels, {launches} launches",
        compiling.as_secs_f64() * 1e3
    );
    for line in std::io::stdin().lock().lines() {
        answer(&mut executor, sizes, line?.trim())?;
    }
    Ok(())
}

/// Does what one line asks for.
fn answer(executor: &mut Executor, sizes: Sizes, line: &str) -> Result<(), Failure> {
    let (command, operand) = line.split_once(' ').unwrap_or((line, ""));
    let file = Path::new(operand);
    match command {
        "run" if operand.is_empty() => {
            anstream::println!("{:.4}", run(executor, sizes, 1)?);
        }
        "run" => anstream::println!("{:.4}", run(executor, sizes, operand.parse()?)?),
        "profile" => profile(executor, sizes)?,
        "give" => anstream::println!("{}", exchange::give(executor, file)?),
        "inputs" => anstream::println!("{}", exchange::inputs(executor, file)?),
        "outputs" => anstream::println!("{}", exchange::outputs(executor, sizes, file)?),
        other => {
            return Err(format!(
                "there is no command `{other}`; there are run, profile, give, inputs, outputs"
            )
            .into());
        }
    }
    Ok(())
}

/// Those that run a call.
fn workers(arguments: &Arguments) -> usize {
    match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

fn compiled(arguments: &Arguments) -> Result<Executor, Failure> {
    let program = program(arguments)?;
    let form = match &arguments.form {
        Some(name) => {
            Some(Form::of(name).ok_or_else(|| format!("there is no form `{name}`"))?)
        }
        None => None,
    };
    let forms = FormOptions {
        form,
        chunk: arguments.chunk,
        longest: Some(arguments.time),
        workers: Some(workers(arguments) / arguments.batch),
        ..FormOptions::default()
    };
    let purpose = Purpose { resume: false, forms };
    let outputs: Vec<&str> = program
        .code
        .outputs
        .iter()
        .map(|o| o.name.as_str())
        .filter(|n| !n.starts_with("state."))
        .collect();
    let lowered = match arguments.what {
        What::Forward => forward(&program, purpose)?,
        What::Both => with_gradients(&program, purpose, &outputs)?,
        What::Step => training_step(&program, forms)?,
    };
    let compiled = artifact(&lowered.graph, Precision::F32)?;
    Ok(Executor::with_workers(compiled, arguments.threads)?)
}

fn program(arguments: &Arguments) -> Result<Program, Failure> {
    let loaded = source::load(std::slice::from_ref(&arguments.file))?;
    let mut settings = Vec::new();
    for text in &arguments.set {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not of the form name=number"))?;
        settings.push(Setting { name: name.to_owned(), value: value.parse()? });
    }
    check::program(&loaded, arguments.entry.as_deref(), &settings)
        .map(|(program, _)| program)
        .map_err(|found| {
            let all: Vec<String> = found.iter().map(|d| d.message.clone()).collect();
            all.join("\n").into()
        })
}

/// Milliseconds of one call, over this many.
fn run(executor: &mut Executor, sizes: Sizes, calls: u32) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..calls {
        executor.step(sizes)?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / f64::from(calls))
}

fn profile(executor: &mut Executor, sizes: Sizes) -> Result<(), Failure> {
    const CALLS: usize = 10;
    executor.measure(true);
    for _ in 0..CALLS {
        executor.step(sizes)?;
    }
    let mut found: IndexMap<String, (usize, f64)> = IndexMap::new();
    for timing in executor.timings() {
        let sum = found.entry(timing.name.clone()).or_default();
        sum.0 += 1;
        sum.1 += timing.total.as_secs_f64() * 1e3 / CALLS as f64;
    }
    executor.measure(false);
    found.sort_by(|_, a, _, b| b.1.total_cmp(&a.1));
    for (name, (launches, each)) in found.iter().take(40) {
        anstream::println!("{each:9.4} ms  {launches:4} x {name}");
    }
    anstream::println!("end");
    Ok(())
}
