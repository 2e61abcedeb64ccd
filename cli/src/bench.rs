//! `bench`: how long a program takes, whole and by kernel.

use crate::arguments::{Choices, positive};
use crate::device::{Where, unready};
use crate::fail::{Failure, Outcome};
use crate::model::initial;
use crate::progress::short;
use crate::roles::Roles;
use crate::spec::checked;
use crate::tuned::{self, TunedArguments};
use nestor_compiler::trained::trained_for;
use nestor_compiler::ty::{Elem, Type};
use nestor_compiler::{FormOptions, Program};
use nestor_runtime::Sizes;
use nestor_runtime::executor::{Executor, Timing};
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::Stream;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// `bench`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct BenchArguments {
    /// The model's file.
    pub(crate) file: PathBuf,
    /// A model of it; the last one where left out.
    pub(crate) name: Option<String>,
    /// Sequences a step.
    #[arg(long, default_value_t = 8, value_parser = positive::<usize>)]
    pub(crate) batch: usize,
    /// Tokens a sequence.
    #[arg(long, default_value_t = 256, value_parser = positive::<usize>)]
    pub(crate) length: usize,
    /// Steps that are timed.
    #[arg(long, default_value_t = 10, value_parser = positive::<usize>)]
    pub(crate) repeats: usize,
    /// Kernels that are shown, the slowest first.
    #[arg(long, default_value_t = 20)]
    pub(crate) top: usize,
    #[command(flatten)]
    pub(crate) tuned: TunedArguments,
    #[command(flatten)]
    pub(crate) on: Where,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// Times a step of training on drawn tokens.
pub(crate) fn bench(a: &BenchArguments, as_json: bool) -> Outcome {
    let place = a.on.open()?;
    let program = checked(&a.file, a.name.as_deref(), &a.choices.set)?;
    let (longest, workers) = (Some(a.length), place.workers(a.batch));
    let tuned = tuned::used(&a.tuned, place.machine())?;
    let forms = FormOptions { longest, workers, tuned, ..FormOptions::default() };
    let compiled = trained_for(&program, forms, place.machine());
    let compiled = compiled.map_err(Failure::native)?;
    let mut executor = place.executor(compiled.step).map_err(unready)?;
    let sizes = Sizes { batch: a.batch, time: a.length, start: 0 };
    // Tokens have to be there.
    Roles::of(&program)?.tokens()?;
    let given = drawn(&program, sizes, &executor)?;
    let given: Vec<&HostTensor> = given.iter().collect();
    // The first call lays memory out and warms caches.
    executor.run(&given, sizes).map_err(unready)?;
    executor.measure(true);
    let mut times = Vec::new();
    for _ in 0..a.repeats {
        let began = Instant::now();
        executor.run(&given, sizes).map_err(unready)?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let rate = (a.batch * a.length) as f64 / median;
    let mut launches: Vec<&Timing> = executor.timings().iter().collect();
    launches.sort_by_key(|t| std::cmp::Reverse(t.total));
    let total: f64 = launches.iter().map(|t| t.total.as_secs_f64()).sum();
    let each = |t: &Timing| t.total.as_secs_f64() / t.calls.max(1) as f64;
    if as_json {
        let all: Vec<_> = launches
            .iter()
            .map(|t| json!({ "name": t.name, "seconds": each(t) }))
            .collect();
        anstream::println!(
            "{}",
            json!({ "entry": program.name, "batch": a.batch, "length": a.length,
                    "repeats": a.repeats, "median_seconds": median, "best_seconds": times[0],
                    "tokens_per_second": rate, "launches": all })
        );
        return Ok(());
    }
    anstream::println!(
        "{}  a step of training on {} x {} tokens: {:.2} ms median, {:.2} ms best of {}, {} \
         tokens/s",
        program.name,
        a.batch,
        a.length,
        median * 1e3,
        times[0] * 1e3,
        a.repeats,
        short(rate)
    );
    for t in launches.iter().take(a.top) {
        anstream::println!(
            "  {:>9.1} us  {:>5.1} %  {}",
            each(t) * 1e6,
            100.0 * t.total.as_secs_f64() / total.max(1e-12),
            t.name
        );
    }
    Ok(())
}

/// Every input of a program: weights and states at their start, tokens of its vocabulary, small numbers.
pub(crate) fn drawn(
    program: &Program,
    sizes: Sizes,
    executor: &Executor,
) -> Result<Vec<HostTensor>, Failure> {
    let below =
        Roles::of(program).ok().and_then(|r| Some(r.tokens().ok()?.1)).unwrap_or(1);
    let mut known = initial(program, 0)?;
    known.push(HostTensor::f32("step", &[], vec![1.0]));
    known.push(HostTensor::f32("steps", &[], vec![1000.0]));
    let one = |(name, ty): (&str, &Type)| {
        if let Some(at) = known.iter().position(|t| t.name == name) {
            return known.swap_remove(at);
        }
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(&sizes)).collect();
        let count: usize = dims.iter().product();
        let mut draw = Stream::new(0, name);
        let data = match ty.elem {
            Elem::Int => {
                Data::I32((0..count).map(|_| draw.below(below as u64) as i32).collect())
            }
            Elem::Bool => Data::Bool(vec![true; count]),
            Elem::Real => {
                Data::F32((0..count).map(|_| 0.2 * draw.normal() as f32).collect())
            }
        };
        HostTensor { name: name.to_owned(), dims, data }
    };
    Ok(executor.inputs().into_iter().map(one).collect())
}
