//! `compile`: one stage of the compiler as text, or all that a program becomes in a folder.

use crate::arguments::{CompileArguments, Emit};
use crate::artifact::{self, Source};
use crate::fail::{Failure, Outcome, tell};
use crate::gpu;
use crate::spec;
use crate::tuned;
use clap::ValueEnum;
use nestor_compiler::gpu::Options;
use nestor_compiler::gpu::kept_as::keep_as_bfloat16;
use nestor_compiler::native::{Kernel, Machine, Plan};
use nestor_compiler::pipeline::{self, Purpose};
use nestor_compiler::tensor::Graph;
use nestor_compiler::tune::learns;
use nestor_compiler::{FormOptions, PassError, Precision, Program, native};
use std::time::Instant;

/// Prints a stage, writes an artifact, or both.
pub(crate) fn compile(a: &CompileArguments, json: bool) -> Outcome {
    let target = gpu::target(a)?;
    let mut clock = Clock::new(a.timings);
    let loaded = spec::loaded(&a.file)?;
    if let Some(Emit::Ast) = a.emit {
        tell(&loaded, &loaded.found)?;
        for (_, file) in &loaded.files {
            anstream::println!("{file:#?}");
        }
        if a.out.is_none() {
            return Ok(());
        }
    }
    let program = spec::program(&loaded, a.name.as_deref(), &a.choices.set)?;
    clock.tick("check");
    let tuned = tuned::used(&a.tuned, machine(target))?;
    let forms = machine(target).suited(FormOptions { tuned, ..FormOptions::default() });
    if target.is_none() && !a.bf16.is_empty() {
        return Err(Failure::usage(
            "`--bf16` is for a GPU: add `--target sm_90a --products bf16`",
        ));
    }
    let on = (target, &a.bf16[..]);
    if let Some(stage) = a.emit.filter(|stage| *stage != Emit::Ast) {
        emit(&program, stage, on, forms, json, &mut clock)?;
    }
    let Some(folder) = &a.out else { return Ok(()) };
    let what = match learns(&program) {
        true => "a step of training",
        false => "outputs and gradients",
    };
    let graph = last(&program, forms)?;
    let source = Source {
        loaded: &loaded,
        program: &program,
        set: &a.choices.set,
        target: &a.target,
        tuned,
    };
    match target {
        Some(options) => {
            let planned = planned(&graph, on)?;
            gpu::write(&source, &planned, what, options, folder, json)
        }
        None => artifact::write(&source, &graph, what, folder, json),
    }
}

/// What is compiled for.
fn machine(target: Option<Options>) -> Machine {
    target.map_or(Machine::Cpu(Precision::F32), Machine::Gpu)
}

/// What is compiled for, and what its caller keeps as bfloat16.
type On<'a> = (Option<Options>, &'a [String]);

/// The plan and its kernels.
fn planned(
    graph: &Graph,
    (target, bf16): On<'_>,
) -> Result<(Plan, Vec<Kernel>), Failure> {
    let scheduled = native::scheduled_for(graph, machine(target));
    let (mut plan, kernels) = scheduled.map_err(Failure::native)?;
    keep_as_bfloat16(&mut plan, bf16).map_err(|e| Failure::native(e.into()))?;
    Ok((plan, kernels))
}

/// The graph that kernels are made of: a step of training, where there is one.
fn last(program: &Program, forms: FormOptions) -> Result<Graph, Failure> {
    let lowered = match learns(program) {
        true => pipeline::training_step(program, forms),
        false => pipeline::with_gradients(program, Purpose { resume: false, forms }, &[]),
    };
    Ok(lowered.map_err(|e| Failure::pass(&e))?.graph)
}

/// Says what steps took.
struct Clock {
    on: bool,
    since: Instant,
}

impl Clock {
    fn new(on: bool) -> Self {
        Self { on, since: Instant::now() }
    }
    fn tick(&mut self, what: &str) {
        if self.on {
            let time = self.since.elapsed().as_secs_f64() * 1e3;
            anstream::eprintln!("  {what:<24} {time:>8.1} ms");
        }
        self.since = Instant::now();
    }
}

/// Prints a stage.
fn emit(
    program: &Program,
    stage: Emit,
    on: On<'_>,
    forms: FormOptions,
    json: bool,
    clock: &mut Clock,
) -> Outcome {
    let text = text(program, stage, on, forms, clock)?;
    if json {
        let stage = stage.to_possible_value();
        let stage = stage.map(|v| v.get_name().to_owned());
        let report = serde_json::json!({
            "entry": program.name, "stage": stage, "text": text,
        });
        anstream::println!("{report}");
    } else {
        anstream::print!("{text}");
    }
    Ok(())
}

/// A stage as text.
fn text(
    program: &Program,
    emit: Emit,
    on: On<'_>,
    forms: FormOptions,
    clock: &mut Clock,
) -> Result<String, Failure> {
    let pass = |e: PassError| Failure::pass(&e);
    let mut scheduled = || {
        let graph = last(program, forms)?;
        clock.tick("derive and differentiate");
        let scheduled = planned(&graph, on)?;
        clock.tick("schedule");
        Ok::<_, Failure>(scheduled)
    };
    Ok(match emit {
        Emit::Ast | Emit::Levels => program.to_string(),
        Emit::Tensors => pipeline::tensors(program, false).map_err(pass)?.to_string(),
        Emit::Derived => pipeline::derived(program, false).map_err(pass)?.to_string(),
        Emit::Parallel => {
            let purpose = Purpose { resume: false, forms };
            pipeline::forward(program, purpose).map_err(pass)?.graph.to_string()
        }
        Emit::Grad => last(program, forms)?.to_string(),
        Emit::Tiles => scheduled()?.1.iter().map(ToString::to_string).collect(),
        Emit::Plan => {
            let (plan, kernels) = scheduled()?;
            native::plan_text(&plan, &kernels)
        }
        Emit::Clif => {
            let (_, kernels) = scheduled()?;
            native::clif(&kernels, Precision::F32).map_err(Failure::native)?
        }
        Emit::Mlir | Emit::Ptx | Emit::Usage => {
            let target = on.0.expect("a stage of a GPU has its target");
            let (plan, kernels) = scheduled()?;
            gpu::text((&plan, &kernels), emit, target, clock.on)?
        }
    })
}
