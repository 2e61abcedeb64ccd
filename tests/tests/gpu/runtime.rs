//! The runtime of GPUs without one: whole steps of training run through it, kernels as PTX in the emulator, and give
//! what the CPU gives; a trace of what the device was told shows launches, memory, order and graphs.

use super::host::{inputs, reals};
use nestor_compiler::gpu::kept_as::keep_as_bfloat16;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_compiler::native::Machine;
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::trained::{Start, answers_for, starts, trained_for};
use nestor_compiler::{FormOptions, Precision, Program, kept, native};
use nestor_ir::artifact::Artifact;
use nestor_ir::plan::Launch;
use nestor_runtime::Sizes;
use nestor_runtime::device::trace::{Dry, Event, Log, Trace};
use nestor_runtime::device::{Command, Shared, open};
use nestor_runtime::executor::{Executor, RunError};
use nestor_runtime::reader::Reader;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::{self, initial_values};
use nestor_tests::emulated_device::EmulatedDevice;
use nestor_tests::spec::Specs;

/// A language model small enough for the emulator, with products outside of kernels, and kernels that read neighbours.
const MODEL: &str = "\
layer Block(d, heads = 2) {
    in x: [d]
    h     = d / heads
    q     = x |> Linear(d, [heads, h]) |> l2norm
    k     = x |> ConvHeads(d, heads, h) |> l2norm
    v     = x |> Linear(d, [heads, h])
    alpha = x |> Linear(d, [heads], bias = true) |> sigmoid
    beta  = x |> Linear(d, [heads], bias = true) |> sigmoid
    M     = GatedDelta(h, h; alpha, beta)
    M.write(k, v)
    out M.read(q) |> flatten |> Linear(d, d)
}
model Tiny(vocab = 24, d = 16) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d) |> Residual(d, Block)
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-2) clip 1 }
}
";

const SIZES: Sizes = Sizes { batch: 2, time: 21, start: 0 };
const GPU: Machine =
    Machine::Gpu(Options { target: Target::Sm80, products: Products::Float32 });
/// Single precision in another order of sums, over some steps.
const TOLERANCE: f64 = 2e-4;

pub(super) fn program() -> Program {
    let specs = Specs::of("tiny.nest", MODEL);
    let made = specs.elaborate("Tiny", &[]);
    made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)))
}

fn weights(program: &Program) -> Vec<HostTensor> {
    let one = |(path, dims, start): (String, Vec<usize>, Start)| {
        let kind = match start {
            Start::Values(array) => {
                let data = array.reals().iter().map(|x| *x as f32).collect();
                return HostTensor::f32(path, &dims, data);
            }
            Start::Drawn(kind) => rng::Initial::of(&kind),
            Start::Weight(_) => None,
        };
        let kind = kind.unwrap_or(rng::Initial::Constant(0.0));
        let values = initial_values(kind, &dims, 3, &path);
        HostTensor::f32(path, &dims, values.iter().map(|x| *x as f32).collect())
    };
    starts(program).expect("weights start").into_iter().map(one).collect()
}

/// A device that executes PTX, with a trace of what it is told.
fn emulator() -> (Shared, Log) {
    let (trace, log) = Trace::new(Box::new(EmulatedDevice::new(1 << 30)));
    (Shared::new(Box::new(trace)), log)
}

/// Tokens of step `n`, and what comes after each.
fn streams(n: usize) -> Vec<HostTensor> {
    streams_of(n, SIZES)
}

fn streams_of(n: usize, sizes: Sizes) -> Vec<HostTensor> {
    let token = |i: usize| ((i * i + 7 * n) % 23) as i32;
    let count = sizes.batch * sizes.time;
    let dims = vec![sizes.batch, sizes.time];
    let of = |name: &str, by: usize| HostTensor {
        name: name.to_owned(),
        dims: dims.clone(),
        data: Data::I32((0..count).map(|i| token(i + by)).collect()),
    };
    let number = |name: &str, x: f32| HostTensor::f32(name, &[], vec![x]);
    vec![
        of("tokens", 0),
        of("next.tokens", 1),
        number("step", (n + 1) as f32),
        number("steps", 10.0),
    ]
}

fn distance(a: &HostTensor, b: &HostTensor) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = reals(a).iter().zip(reals(b)).map(|(x, y)| square(x - y)).sum();
    let size: f64 = reals(b).iter().map(|y| square(*y)).sum();
    (off / size.max(1e-12)).sqrt()
}

/// A step as code for a machine.
fn compiled(program: &Program, machine: Machine) -> Artifact {
    trained_for(program, FormOptions::default(), machine).expect("it compiles").step
}

/// An executor of a step with its weights.
pub(super) fn ready(program: &Program, device: Option<&Shared>) -> Executor {
    let machine = device.map_or(Machine::Cpu(Precision::F32), |_| GPU);
    holding(program, compiled(program, machine), device)
}

/// An executor of this code with the program's weights.
fn holding(program: &Program, step: Artifact, device: Option<&Shared>) -> Executor {
    let mut executor = match device {
        Some(device) => Executor::on(step, device).expect("it is ready"),
        None => Executor::new(step).expect("it is ready"),
    };
    assert!(executor.guard(&["loss", "gradient_norm"]), "updates come last");
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    for tensor in weights(program).iter().filter(|t| asked.contains(&t.name)) {
        executor.set(tensor).expect("it fits");
    }
    executor
}

pub(super) fn step(executor: &mut Executor, n: usize) -> Vec<HostTensor> {
    step_of(executor, n, SIZES)
}

fn step_of(executor: &mut Executor, n: usize, sizes: Sizes) -> Vec<HostTensor> {
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let all = streams_of(n, sizes);
    let given: Vec<&HostTensor> =
        all.iter().filter(|t| asked.contains(&t.name)).collect();
    executor.run(&given, sizes).unwrap_or_else(|e| panic!("step {n}: {e}"))
}

/// The runtime never sees the compiler: what it was given at first is loaded once, and runs at every length.
#[test]
fn another_length_compiles_and_loads_nothing() {
    let program = program();
    let (device, log) = emulator();
    let (mut here, mut there) = (ready(&program, None), ready(&program, Some(&device)));
    let loads =
        |log: &Log| log.taken().iter().filter(|e| matches!(e, Event::Load(..))).count();
    assert_eq!(loads(&log), 1, "its code is loaded before the first step");
    // A chunk and two of them, lengths that divide nothing, one token.
    let lengths = [(2, 21), (1, 1), (1, 64), (2, 32), (3, 7), (1, 67), (2, 21)];
    for (n, (batch, time)) in lengths.into_iter().enumerate() {
        let sizes = Sizes { batch, time, start: 0 };
        let (a, b) = (step_of(&mut there, n, sizes), step_of(&mut here, n, sizes));
        for (got, want) in a.iter().zip(&b) {
            let off = distance(got, want);
            assert!(off <= TOLERANCE, "{time} tokens, `{}`: {off:.1e}", got.name);
        }
        assert_eq!(loads(&log), 0, "{batch} sequences of {time} tokens");
    }
}

#[test]
fn steps_of_training_on_a_device_are_those_of_the_cpu() {
    let program = program();
    let (device, log) = emulator();
    let (mut here, mut there) = (ready(&program, None), ready(&program, Some(&device)));
    there.poison(true);
    let plan = there.artifact().plan.clone();
    let dense = plan.launches.iter().filter(|l| matches!(l, Launch::Dense(_))).count();
    assert!(dense > 0, "there are products outside of kernels");
    log.taken();
    for n in 0..4 {
        let (a, b) = (step(&mut there, n), step(&mut here, n));
        for (got, want) in a.iter().zip(&b) {
            assert_eq!(got.name, want.name);
            let off = distance(got, want);
            assert!(off <= TOLERANCE, "step {n}, `{}`: {off:.1e}", got.name);
        }
        told(&log.taken(), n, plan.launches.len());
    }
    for name in here.updated() {
        let (got, want) =
            (there.get(name).expect("is there"), here.get(name).expect("is"));
        let off = distance(&got, &want);
        assert!(off <= TOLERANCE, "`{name}`: {off:.1e}");
    }
}

#[test]
fn code_that_is_read_back_from_a_folder_gives_the_same_bits() {
    let program = program();
    let made = compiled(&program, GPU);
    let folder = std::env::temp_dir().join(format!("nestor-kept-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let code = made.device.as_ref().expect("code for a device");
    let files = [
        ("plan.txt", native::plan_text(&made.plan, &made.kernels)),
        ("kernels.txt", made.kernels.iter().map(ToString::to_string).collect()),
        ("kernels.ptx", code.text.clone()),
        (kept::LAUNCHES, kept::launches(code)),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("it is written");
    }
    let again = kept::read(&folder).expect("it reads back");
    std::fs::remove_dir_all(&folder).expect("it goes");
    let (device, _) = emulator();
    let mut once = holding(&program, made, Some(&device));
    let mut twice = holding(&program, again, Some(&device));
    for n in 0..2 {
        assert_eq!(step(&mut once, n), step(&mut twice, n), "step {n}");
    }
}

/// The first call tells every launch, the second keeps them as two graphs, before and after the guard; the others
/// only do those.
fn told(events: &[Event], step: usize, launches: usize) {
    let count = |of: fn(&Event) -> bool| events.iter().filter(|e| of(e)).count();
    // One fill for the poison.
    let tells = count(|e| matches!(e, Event::Tell(_))) - 1;
    let kept = count(|e| matches!(e, Event::Keep(..)));
    let replayed = count(|e| matches!(e, Event::Replay(_)));
    let expected = match step {
        0 => (launches, 0, 0),
        1 => (0, 2, 2),
        _ => (0, 0, 2),
    };
    assert_eq!((tells, kept, replayed), expected, "step {step}");
    let allocated = count(|e| matches!(e, Event::Allocate(..)));
    assert!(step == 0 || allocated == 0, "step {step} takes memory");
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() {
    let program = program();
    let (device, _) = emulator();
    let mut executor = ready(&program, Some(&device));
    for n in 0..3 {
        step(&mut executor, n);
    }
    let names: Vec<String> = executor.updated().into_iter().map(str::to_owned).collect();
    let mut broken = executor.get(&names[0]).expect("is there");
    let Data::F32(data) = &mut broken.data else { panic!("real") };
    data[0] = f32::NAN;
    executor.set(&broken).expect("fits");
    let before: Vec<HostTensor> =
        names[1..].iter().map(|n| executor.get(n).expect("is there")).collect();
    let found = step(&mut executor, 3);
    assert!(found.iter().any(|t| t.name == "loss" && !reals(t)[0].is_finite()));
    for (name, was) in names[1..].iter().zip(before) {
        assert_eq!(executor.get(name).expect("is there"), was, "{name}");
    }
}

#[test]
fn text_goes_on_with_states_in_memory() {
    let program = program();
    let (device, _) = emulator();
    let reader = |machine, device: Option<&Shared>| {
        let made =
            answers_for(&program, FormOptions::default(), machine).expect("it compiles");
        let parts = [made.begin, made.step];
        Reader::new(parts, device, "tokens", 24, &weights(&program)).expect("ready")
    };
    let mut there = reader(GPU, Some(&device));
    let mut here = reader(Machine::Cpu(Precision::F32), None);
    for tokens in [&[3, 1, 4, 1, 5][..], &[9], &[2], &[6]] {
        let (a, b) =
            (there.read(tokens).expect("reads"), here.read(tokens).expect("reads"));
        let off = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{tokens:?}: {off}");
    }
}

#[test]
fn too_little_memory_is_said_with_what_would_fit() {
    let program = program();
    let machine_of = |total: usize| Shared::new(Box::new(Dry::new(total)));
    let device = machine_of(3 << 20);
    let mut executor = ready(&program, Some(&device));
    let large = Sizes { batch: 64, time: 512, start: 0 };
    let run = |executor: &mut Executor, sizes: Sizes| {
        let dims = vec![sizes.batch, sizes.time];
        let count = sizes.batch * sizes.time;
        let of = |name: &str| HostTensor {
            name: name.to_owned(),
            dims: dims.clone(),
            data: Data::I32(vec![1; count]),
        };
        let all = [
            of("tokens"),
            of("next.tokens"),
            streams(0)[2].clone(),
            streams(0)[3].clone(),
        ];
        let asked: Vec<String> =
            executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
        let given: Vec<&HostTensor> =
            all.iter().filter(|t| asked.contains(&t.name)).collect();
        executor.run(&given, sizes).map(|_| ())
    };
    let error = run(&mut executor, large).expect_err("it does not fit");
    assert!(matches!(error, RunError::TooLarge { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("MiB are needed") && said.contains("are free"), "{said}");
    assert!(said.contains("would fit"), "{said}");
    // What it says fits, fits; the next larger does not.
    let number = |before: &str| -> usize {
        let word = said.split(before).next().and_then(|s| s.split_whitespace().last());
        word.and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    };
    let fits = match said.contains("one sequence of") {
        true => Sizes { batch: 1, time: number(" tokens would fit"), start: 0 },
        false => Sizes { batch: number(" sequences of"), ..large },
    };
    run(&mut executor, fits).unwrap_or_else(|e| panic!("{fits:?}: {e}"));
    let more = match fits.batch {
        1 => Sizes { time: fits.time + 64, ..fits },
        n => Sizes { batch: n + 1, ..fits },
    };
    run(&mut executor, more).expect_err("more does not fit");
}

/// Kernels count tokens in 32 bits.
#[test]
fn a_call_that_begins_too_far_on_is_an_error() {
    let program = program();
    let device = Shared::new(Box::new(Dry::new(1 << 30)));
    let mut executor = ready(&program, Some(&device));
    let mut run = |start: usize| {
        let all = streams(0);
        let asked: Vec<String> =
            executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
        let given: Vec<&HostTensor> =
            all.iter().filter(|t| asked.contains(&t.name)).collect();
        executor.run(&given, Sizes { start, ..SIZES }).map(|_| ())
    };
    run(Sizes::BELOW - 1).expect("that is not too far");
    let error = run(Sizes::BELOW).expect_err("that is").to_string();
    assert!(error.contains("t0 is 1073741824, and has to be below"), "{error}");
}

#[test]
fn memory_is_given_back_and_taken_again() {
    let program = program();
    let (device, log) = emulator();
    drop(ready(&program, Some(&device)));
    let taken = |log: &Log| {
        log.taken().iter().filter(|e| matches!(e, Event::Allocate(..))).count()
    };
    assert!(taken(&log) > 0);
    let mut again = ready(&program, Some(&device));
    assert_eq!(taken(&log), 0, "a second program takes what the first gave back");
    step(&mut again, 0);
}

#[test]
fn launches_have_the_grids_and_parameters_of_their_kernels() {
    let program = program();
    let (trace, log) = Trace::new(Box::new(Dry::new(1 << 30)));
    let device = Shared::new(Box::new(trace));
    let mut executor = ready(&program, Some(&device));
    log.taken();
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let all = streams(0);
    let given: Vec<&HostTensor> =
        all.iter().filter(|t| asked.contains(&t.name)).collect();
    executor.run(&given, SIZES).expect("it runs");
    let events = log.taken();
    let told: Vec<&Command> = events
        .iter()
        .filter_map(|e| match e {
            Event::Tell(command) => Some(command),
            _ => None,
        })
        .collect();
    let artifact = executor.artifact();
    let code = artifact.device.as_ref().expect("code of a device");
    let mut kernels = 0;
    // Nothing is computed: the guarded loss is zero, and all launches are told.
    assert_eq!(told.len(), artifact.plan.launches.len());
    for (launch, command) in artifact.plan.launches.iter().zip(told) {
        match (launch, command) {
            (
                Launch::Kernel { kernel, buffers },
                Command::Kernel { symbol, grid, threads, params, .. },
            ) => {
                use nestor_ir::entity::Entity;
                let tile = &artifact.kernels[kernel.index()];
                let points: usize =
                    tile.grid.iter().map(|(_, d)| d.size(&SIZES)).product();
                let entry = &code.entries[kernel.index()];
                assert_eq!((symbol, *threads), (&entry.symbol, entry.threads));
                assert_eq!((*grid, params.len()), (points, buffers.len() + 4));
                let tail = [SIZES.batch, SIZES.time, SIZES.start].map(|n| n as u64);
                assert_eq!(params[buffers.len() + 1..], tail);
                kernels += 1;
            }
            (Launch::Dense(_), Command::Product(..))
            | (Launch::Zero(_), Command::Fill { .. })
            | (Launch::Copy { .. }, Command::Copy { .. }) => {}
            (launch, command) => panic!("{launch:?} is told as {command:?}"),
        }
    }
    assert!(kernels > 0);
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_a_way_out() {
    let what = open("gpu7").err().expect("there is no such name").to_string();
    assert!(what.contains("`cuda:0`"), "{what}");
    match open("cuda:99") {
        Ok(_) => panic!("there are a hundred devices"),
        Err(what) => {
            let what = what.to_string();
            let told = ["help: ", "the driver sees", "the driver says"];
            assert!(told.iter().any(|t| what.contains(t)), "{what}");
        }
    }
}

/// Text of a rule alone: its streams are inputs and outputs.
const RULE: &str = include_str!("../../oracle/gated_deltanet.nest");

#[test]
fn tensors_that_the_caller_keeps_as_bfloat16_are_given_and_taken_as_numbers() {
    let specs = Specs::of("rule.nest", RULE);
    let program = specs.elaborate("Case", &[]).program.expect("it elaborates");
    let graph = forward(&program, Purpose::default()).expect("it has a form").graph;
    let brain = Options { target: Target::Sm80, products: Products::Brain };
    let machine = Machine::Gpu(brain);
    let (mut plan, kernels) = native::scheduled_for(&graph, machine).expect("kernels");
    let names = ["q", "k", "v", "y"].map(str::to_owned);
    keep_as_bfloat16(&mut plan, &names).expect("there are such tensors");
    let made = native::coded(plan, kernels, machine).expect("code");
    let (device, log) = emulator();
    let mut there = Executor::on(made, &device).expect("it is ready");
    let exact = native::artifact(&graph, Precision::F32).expect("code");
    let mut here = Executor::new(exact).expect("it is ready");
    log.taken();
    let inputs = inputs(&there, SIZES, [32.0, 0.3]);
    // One tensor stays on the device, and comes back as it was rounded.
    there.set(&inputs[0]).expect("it fits");
    let kept = there.get(&inputs[0].name).expect("it is there");
    let off = distance(&kept, &inputs[0]);
    assert!(off > 0.0 && off < 4e-3, "{off:.1e}");
    let given: Vec<&HostTensor> = inputs.iter().collect();
    let found = there.run(&given[1..], SIZES).expect("it runs");
    let expected = here.run(&given, SIZES).expect("it runs");
    for (got, want) in found.iter().zip(&expected) {
        assert_eq!((&got.name, &got.dims), (&want.name, &want.dims));
        let off = distance(got, want);
        assert!(off < 1e-2, "`{}`: {off:.1e}", got.name);
    }
    let bytes = |name: &str| {
        let at = inputs.iter().position(|t| t.name == name).expect("an input");
        (inputs[at].count() * 2, inputs[at].count() * 4)
    };
    let uploads: Vec<usize> = log
        .taken()
        .iter()
        .filter_map(|e| match e {
            Event::Upload(_, bytes) => Some(*bytes),
            _ => None,
        })
        .collect();
    assert!(uploads.contains(&bytes("v").0) && uploads.contains(&bytes("beta").1));
}
