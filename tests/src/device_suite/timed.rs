//! Rules at the shapes that others publish: golden cases at other sizes, with inputs that stay on the device.

use super::made::code;
use super::stop;
use crate::root;
use crate::spec::Specs;
use nestor_compiler::FormOptions;
use nestor_compiler::gpu::Options;
use nestor_compiler::gpu::kept_as::keep_as_bfloat16;
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_compiler::pipeline::{Lowered, Purpose, forward, with_gradients};
use nestor_front::{Setting, SettingValue};
use nestor_ir::artifact::Artifact;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::plan::Plan;
use nestor_ir::tensor::Graph;
use nestor_ir::tile::Kernel;
use nestor_ir::ty::{Elem, Type};
use nestor_runtime::device::Shared;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::Stream;
use std::time::{Duration, Instant};

/// Sizes at which a rule is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Sequences, tokens, heads, width of keys and values.
    pub sizes: [usize; 4],
}

/// What is to be timed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The rule.
    pub rule: String,
    /// The shape.
    pub shape: Shape,
    /// With gradients of all inputs.
    pub both: bool,
    /// Tokens of a chunk, where not the compiler's own number.
    pub chunk: Option<usize>,
    /// What has a number for each token is bfloat16 where the caller keeps it, logarithms of gates aside: as the field's tensors are.
    pub brain: bool,
}

/// Logarithms of gates, in the rules that are timed.
const GATES: [&str; 2] = ["g", "grad.g"];

/// Whether the field keeps a tensor as bfloat16.
fn is_narrow(ty: &Type, names: &[&str]) -> bool {
    ty.elem == Elem::Real
        && ty.dims.contains(&Dim::Time)
        && !names.iter().any(|name| GATES.contains(name))
}

impl Wanted {
    /// The plan of the rule's graph and its kernels.
    ///
    /// # Errors
    /// What stands in the way, in words.
    pub fn planned(
        &self,
        graph: &Graph,
        options: Options,
    ) -> Result<(Plan, Vec<Kernel>), String> {
        let made = scheduled_for(graph, Machine::Gpu(options));
        let (mut plan, kernels) = made.map_err(|e| e.to_string())?;
        if self.brain {
            let all = plan.tensors.values();
            let narrow = all.filter(|t| is_narrow(&t.ty, &t.role.names()));
            let names = narrow.flat_map(|t| t.role.names()).map(str::to_owned);
            let names: Vec<String> = names.collect();
            keep_as_bfloat16(&mut plan, &names).map_err(|e| e.to_string())?;
        }
        Ok((plan, kernels))
    }
}

/// What a rule takes at a shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Timed {
    /// Seconds of a call, median.
    pub seconds: f64,
    /// Bytes of inputs and outputs, each once.
    pub bytes: f64,
    /// Operations of the form.
    pub operations: f64,
    /// Seconds of each launch alone, with its name; the wait for it counts in.
    pub launches: Vec<(String, f64)>,
}

/// Code for a shape, to be timed.
pub struct Made {
    lowered: Lowered,
    code: Artifact,
    /// Seconds from the text to code.
    pub seconds: f64,
}

/// Makes the code of what is to be timed.
///
/// # Errors
/// What stands in the way, in words.
pub fn made(wanted: &Wanted, options: Options) -> Result<Made, String> {
    let began = Instant::now();
    let [_, _, heads, width] = wanted.shape.sizes;
    let forms = FormOptions { chunk: wanted.chunk, ..FormOptions::default() };
    let forms = Machine::Gpu(options).suited(forms);
    let lowered = lowered(&wanted.rule, heads, width, wanted.both, forms)?;
    let (plan, kernels) = wanted.planned(&lowered.graph, options)?;
    let code = code(plan, kernels, options)?;
    Ok(Made { lowered, code, seconds: began.elapsed().as_secs_f64() })
}

/// Times code on the device: inputs stay in its memory, calls are graphs.
///
/// # Errors
/// What broke.
pub fn timed(
    wanted: &Wanted,
    made: Made,
    device: &Shared,
    budget: Duration,
) -> Result<Timed, String> {
    let [batch, time, _, width] = wanted.shape.sizes;
    let Made { lowered, code, .. } = made;
    let mut executor = Executor::on(code, device).map_err(|e| e.to_string())?;
    let sizes = Sizes { batch, time, start: 0 };
    let mut bytes = 0.0;
    let width_of = |ty: &Type, name: &str| match is_narrow(ty, &[name]) {
        true if wanted.brain => 2.0,
        _ => 4.0,
    };
    for (name, ty) in executor.inputs() {
        let count: usize = ty.dims.iter().map(|d| d.size(&sizes)).product();
        bytes += count as f64 * width_of(ty, name);
    }
    for tensor in drawn(&executor, sizes, width) {
        executor.set(&tensor).map_err(|e| e.to_string())?;
    }
    for output in &lowered.graph.outputs {
        let ty = lowered.graph.ty(output.value);
        let dims = ty.dims.iter().map(|d| d.size(&sizes));
        bytes += dims.product::<usize>() as f64 * width_of(ty, &output.name);
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
    let a_token: f64 = lowered.choices.iter().map(|c| c.work.flops as f64).sum();
    let times = if wanted.both { 3.0 } else { 1.0 };
    let operations = a_token * (batch * time) as f64 * times;
    let launches = launches(&mut executor, sizes)?;
    Ok(Timed { seconds: rounds[2], bytes, operations, launches })
}

/// Inputs of a call, always the same.
fn drawn(executor: &Executor, sizes: Sizes, width: usize) -> Vec<HostTensor> {
    let mut draw = Stream::new(0, "device suite");
    // Keys near length one, gates and factors of decay near one: no state grows.
    let scale = (width as f32).powf(-0.5);
    let one = |(name, ty): (&str, &Type)| {
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(&sizes)).collect();
        let count: usize = dims.iter().product();
        let mut real = || (draw.uniform() as f32 - 0.5) * 2.0 * scale;
        let data = match ty.elem {
            Elem::Real => Data::F32((0..count).map(|_| real()).collect()),
            Elem::Int => Data::I32(vec![0; count]),
            Elem::Bool => Data::Bool(vec![false; count]),
        };
        HostTensor { name: name.to_owned(), dims, data }
    };
    executor.inputs().into_iter().map(one).collect()
}

/// What a rule gives on a device.
///
/// # Errors
/// What broke.
pub(super) fn given(
    wanted: &Wanted,
    made: &Made,
    device: &Shared,
) -> Result<Vec<HostTensor>, String> {
    let [batch, time, _, width] = wanted.shape.sizes;
    let mut executor =
        Executor::on(made.code.clone(), device).map_err(|e| e.to_string())?;
    let sizes = Sizes { batch, time, start: 0 };
    let inputs = drawn(&executor, sizes, width);
    let inputs: Vec<&HostTensor> = inputs.iter().collect();
    executor.run(&inputs, sizes).map_err(|e| e.to_string())
}

/// What each launch takes alone.
fn launches(executor: &mut Executor, sizes: Sizes) -> Result<Vec<(String, f64)>, String> {
    let mut found: Vec<(String, f64)> = Vec::new();
    // The first is a warm-up.
    for _ in 0..2 {
        executor.measure(true);
        executor.step(sizes).map_err(|e| e.to_string())?;
        let each = executor.timings().iter();
        found = each.map(|t| (t.name.clone(), t.total.as_secs_f64())).collect();
    }
    executor.measure(false);
    Ok(found)
}

/// A rule with so many heads of a width.
///
/// # Errors
/// What stands in the way, in words.
pub fn lowered(
    rule: &str,
    heads: usize,
    width: usize,
    both: bool,
    forms: FormOptions,
) -> Result<Lowered, String> {
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
    let purpose = Purpose { resume: false, forms };
    let lowered = match both {
        true => with_gradients(&program, purpose, &["y"]),
        false => forward(&program, purpose),
    };
    lowered.map_err(|e| e.to_string())
}
