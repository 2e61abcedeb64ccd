//! What is checked and timed on a machine with a GPU: every golden case against its stored results, the emulator
//! against the device, and rules at the shapes that others publish, beside the two physical floors.

use crate::emulated_device::EmulatedDevice;
use crate::measure::{distances_on, lowered};
use crate::native::Compiled;
use crate::spec::Specs;
use crate::{files, golden, root};
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::gpu::{Options, Products};
use nestor_compiler::native::{Machine, compiled};
use nestor_compiler::pipeline::{Lowered, Purpose, forward, with_gradients};
use nestor_compiler::{FormOptions, Program};
use nestor_front::{Setting, SettingValue};
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_ir::ty::Elem;
use nestor_runtime::device::product::{Operand, Product};
use nestor_runtime::device::{Command, DeviceError, Held, Shared};
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::Stream;
use std::time::{Duration, Instant};

/// How far a tensor may be off when products are computed so.
pub fn bound_of(products: Products, tensor: &str) -> f64 {
    match (products, tensor.starts_with("grad.")) {
        (Products::Float32 | Products::Tf32x3, true) => 1e-4,
        (Products::Float32 | Products::Tf32x3, false) => 1e-5,
        (Products::Tf32, true) => 4e-3,
        (Products::Tf32, false) => 1e-3,
        (Products::Brain, true) => 2e-2,
        (Products::Brain, false) => 5e-3,
    }
}

/// What came of a case: the tensor that takes the largest share of its bound, and that share; or what broke.
pub type Case = (String, Result<(String, f64), String>);

/// Every golden case on the device against the stored results, as far as time allows.
pub fn cases(options: Options, device: &Shared, until: Instant) -> Vec<Case> {
    let folder = root().join("tests/oracle");
    let one = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if Instant::now() > until {
            return (name, Err("no time is left".to_owned()));
        }
        let specs = Specs::read(&[path]);
        let found = specs.elaborate("Case", &[]).program.ok_or("it does not elaborate");
        let found = found.map_err(str::to_owned).and_then(|program| {
            let case =
                golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
            let made = lowered(&program, &case, None)?.ok_or("it has no form")?;
            let off = distances_on(&program, &case, &made.graph, (options, device))?;
            let share = |(t, off): &(String, f64)| {
                (t.clone(), off / bound_of(options.products, t))
            };
            let worst = off.iter().map(share).max_by(|a, b| a.1.total_cmp(&b.1));
            worst.ok_or("it gives nothing".to_owned())
        });
        (name, found)
    };
    files(&folder, "nest").iter().map(one).collect()
}

/// How far the device is from the emulator on a case, relative to the largest of each tensor.
///
/// # Errors
/// What broke.
pub fn emulator_and_device(
    name: &str,
    options: Options,
    device: &Shared,
) -> Result<f64, String> {
    let path = root().join("tests/oracle").join(format!("{name}.nest"));
    let specs = Specs::read(&[&path]);
    let program = specs.elaborate("Case", &[]).program.ok_or("it does not elaborate")?;
    let stored = root().join("tests/oracle/cases").join(format!("{name}.safetensors"));
    let case = golden::read(&stored);
    let made = lowered(&program, &case, None)?.ok_or("it has no form")?;
    let sizes = sizes(&program, &case).map_err(|e| e.to_string())?;
    let inputs =
        bound(&program, &made.graph, &case, &sizes).map_err(|e| e.to_string())?;
    let emulator = Shared::new(Box::new(EmulatedDevice::new(1 << 32)));
    let there = Compiled::on(&made.graph, options, device)?.run(&inputs, &sizes)?;
    let here = Compiled::on(&made.graph, options, &emulator)?.run(&inputs, &sizes)?;
    let off = here.iter().map(|(name, a)| {
        let b = there.get(name).map_or(&[][..], |t| t.reals());
        let size = a.reals().iter().fold(1e-6_f64, |m, x| m.max(x.abs()));
        let pairs = a.reals().iter().zip(b).map(|(x, y)| (x - y).abs() / size);
        if a.len() == b.len() { pairs.fold(0.0, f64::max) } else { f64::INFINITY }
    });
    Ok(off.fold(0.0, f64::max))
}

/// Sizes at which a rule is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Sequences, tokens, heads, width of keys and values.
    pub sizes: [usize; 4],
}

/// What a rule takes at a shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Timed {
    /// The rule.
    pub rule: String,
    /// The shape.
    pub shape: Shape,
    /// With gradients of all inputs.
    pub both: bool,
    /// Seconds of a call, median.
    pub seconds: f64,
    /// Seconds from the text to loaded code.
    pub compile: f64,
    /// Bytes of inputs and outputs, each once.
    pub bytes: f64,
    /// Operations of the form.
    pub operations: f64,
}

/// What the device can do at most, measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Bytes a second of a copy, read and written.
    pub copy: f64,
    /// Operations a second of a large matrix product.
    pub product: f64,
}

fn stop(error: DeviceError) -> String {
    error.to_string()
}

/// Measures the limits with memory of so many bytes and matrices of so many rows.
///
/// # Errors
/// What the device refuses.
pub fn limits(
    device: &Shared,
    options: Options,
    bytes: usize,
    rows: usize,
) -> Result<Limits, String> {
    let code =
        compiled(&Graph::default(), Machine::Gpu(options)).map_err(|e| e.to_string())?;
    let code = code.device.ok_or("there is no code")?;
    let mut held = device.hold();
    let Held { device, pool } = &mut *held;
    let device = device.as_mut();
    let module = device.load(&code).map_err(stop)?;
    let spans = [bytes, bytes, 4 * rows * rows, 4 * rows * rows, 4 * rows * rows]
        .map(|n| pool.take(device, n));
    let spans = spans.into_iter().collect::<Result<Vec<_>, _>>().map_err(stop)?;
    for span in &spans {
        let fill = Command::Fill { at: span.address, bytes: span.bytes, value: 0 };
        device.tell(&fill).map_err(stop)?;
    }
    let copy = Command::Copy { from: spans[0].address, to: spans[1].address, bytes };
    let square = |n: usize| Operand {
        address: spans[n].address,
        repeat: 0,
        row: rows as i64,
        column: 1,
    };
    let product = Command::Product(
        module,
        Product {
            shape: [rows; 3],
            repeats: 1,
            alpha: 1.0,
            operands: [square(2), square(3), square(4)],
            accumulate: false,
        },
    );
    let mut each = |command: &Command| -> Result<f64, String> {
        device.tell(command).map_err(stop)?;
        device.wait().map_err(stop)?;
        let (began, count) = (Instant::now(), 5);
        for _ in 0..count {
            device.tell(command).map_err(stop)?;
        }
        device.wait().map_err(stop)?;
        Ok(began.elapsed().as_secs_f64() / f64::from(count))
    };
    let limits = Limits {
        copy: 2.0 * bytes as f64 / each(&copy)?,
        product: 2.0 * (rows as f64).powi(3) / each(&product)?,
    };
    spans.into_iter().for_each(|s| pool.give(s));
    Ok(limits)
}

/// Times a rule, a golden case at other sizes, on the device: inputs stay in its memory, calls are graphs.
///
/// # Errors
/// What broke.
pub fn timed(
    rule: &str,
    shape: Shape,
    both: bool,
    options: Options,
    device: &Shared,
    budget: Duration,
) -> Result<Timed, String> {
    let began = Instant::now();
    let [batch, time, heads, width] = shape.sizes;
    let (program, made) = program(rule, heads, width, both)?;
    let artifact =
        compiled(&made.graph, Machine::Gpu(options)).map_err(|e| e.to_string())?;
    let mut executor = Executor::on(artifact, device).map_err(|e| e.to_string())?;
    let compile = began.elapsed().as_secs_f64();
    let sizes = Sizes { batch, time, start: 0 };
    let mut bytes = 0.0;
    let mut draw = Stream::new(0, "device suite");
    let inputs: Vec<(String, nestor_ir::ty::Type)> =
        executor.inputs().into_iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
    for (name, ty) in inputs {
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(&sizes)).collect();
        let count: usize = dims.iter().product();
        // Keys near length one, gates and factors of decay near one: no state grows.
        let scale = (width as f32).powf(-0.5);
        let mut real = || (draw.uniform() as f32 - 0.5) * 2.0 * scale;
        let data = match ty.elem {
            Elem::Real => Data::F32((0..count).map(|_| real()).collect()),
            Elem::Int => Data::I32(vec![0; count]),
            Elem::Bool => Data::Bool(vec![false; count]),
        };
        bytes += count as f64 * 4.0;
        executor.set(&HostTensor { name, dims, data }).map_err(|e| e.to_string())?;
    }
    for output in &made.graph.outputs {
        let dims = made.graph.ty(output.value).dims.iter().map(|d| d.size(&sizes));
        bytes += dims.product::<usize>() as f64 * 4.0;
    }
    let mut step = |count: usize| -> Result<f64, String> {
        let began = Instant::now();
        for _ in 0..count {
            executor.step(sizes).map_err(|e| e.to_string())?;
        }
        device.hold().device.wait().map_err(stop)?;
        Ok(began.elapsed().as_secs_f64() / count as f64)
    };
    // The first call lays memory out, the second keeps the graph.
    step(1)?;
    let once = step(1)?;
    let each = ((budget.as_secs_f64() / 5.0 / once.max(1e-6)) as usize).clamp(1, 50);
    let mut rounds = (0..5).map(|_| step(each)).collect::<Result<Vec<f64>, String>>()?;
    rounds.sort_by(f64::total_cmp);
    let a_token: f64 = made.choices.iter().map(|c| c.work.flops as f64).sum();
    let times = if both { 3.0 } else { 1.0 };
    let _ = program;
    let operations = a_token * (batch * time) as f64 * times;
    let (rule, seconds) = (rule.to_owned(), rounds[2]);
    Ok(Timed { rule, shape, both, seconds, compile, bytes, operations })
}

/// A rule with so many heads of a width.
fn program(
    rule: &str,
    heads: usize,
    width: usize,
    both: bool,
) -> Result<(Program, Lowered), String> {
    let path = root().join("tests/oracle").join(format!("{rule}.nest"));
    let specs = Specs::read(&[&path]);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{rule}: {e}"))?;
    let set = |name: &str, n: usize| Setting {
        name: name.to_owned(),
        value: SettingValue::Number(n as f64),
    };
    let all = [("heads", heads), ("d_k", width), ("d_v", width), ("d", width)];
    let head = text.split("Case(").nth(1).and_then(|t| t.split(')').next()).unwrap_or("");
    let has =
        |name: &str| head.split(',').any(|p| p.trim().starts_with(&format!("{name} ")));
    let settings: Vec<Setting> =
        all.iter().filter(|(n, _)| has(n)).map(|(n, v)| set(n, *v)).collect();
    let made = specs.elaborate("Case", &settings);
    let program = made.program.ok_or_else(|| specs.render(&made.diagnostics))?;
    let purpose = Purpose { resume: false, forms: FormOptions::default() };
    let lowered = match both {
        true => with_gradients(&program, purpose, &["y"]),
        false => forward(&program, purpose),
    };
    let lowered = lowered.map_err(|e| e.to_string())?;
    Ok((program, lowered))
}
