//! Programs whose kernels are looked at: golden cases and the library's memories, at a width.

use crate::rules::{entry_of, makes};
use crate::spec::Specs;
use crate::{golden, root};
use nestor_compiler::FormOptions;
use nestor_compiler::gpu::Options;
use nestor_compiler::native::Machine;
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::{check, source};
use nestor_front::{Setting, SettingValue};
use nestor_ir::level::Program;
use nestor_ir::tensor::Graph;
use std::path::Path;
use std::time::{Duration, Instant};

/// A program's graph with its gradients.
pub struct Subject {
    /// Forward and backward.
    pub graph: Graph,
    /// How long each step to there took.
    pub steps: Vec<(&'static str, Duration)>,
    /// When its text began to be read.
    pub began: Instant,
    /// Processor time of this process then.
    pub spent: Duration,
}

/// Processor time of all threads of this process so far, where the system tells it, in hundredths of a second.
pub fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: the state is the first, time as user and as system the 12th and 13th.
    let fields = text.rsplit(')').next().unwrap_or("").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Tokens of the chunks of memories that are written by the chunk.
const CHUNK: usize = 64;

/// Names of a program's parameters that say how wide it is.
fn widths(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut out: Vec<&'static str> =
        ["d_k", "d_v", "d", "hidden"].into_iter().filter(|n| has(n)).collect();
    // A state space without keys: channels of a head and numbers of a channel's state.
    if out.is_empty() {
        out.extend(["p", "n"].into_iter().filter(|n| has(n)));
    }
    out
}

fn setting(name: &str, n: usize) -> Setting {
    Setting { name: name.to_owned(), value: SettingValue::Number(n as f64) }
}

/// A golden case at a width; its own where none is given.
///
/// # Errors
/// What stands in the way, in words.
pub fn case(
    path: &Path,
    width: Option<usize>,
    options: Options,
) -> Result<Subject, String> {
    let (began, spent) = (Instant::now(), spent());
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let head = text.split("Case(").nth(1).and_then(|t| t.split(')').next()).unwrap_or("");
    let has = |name: &str| {
        head.split(',').any(|p| p.split('=').next().is_some_and(|n| n.trim() == name))
    };
    let settings: Vec<Setting> = width
        .map(|n| widths(has).into_iter().map(|of| setting(of, n)).collect())
        .unwrap_or_default();
    let specs = Specs::read(&[path]);
    let made = specs.elaborate("Case", &settings);
    let program = made.program.ok_or_else(|| specs.render(&made.diagnostics))?;
    let stored = root().join("tests/oracle/cases").join(format!("{name}.safetensors"));
    let case = golden::read(&stored);
    let seeds: Vec<&str> = case
        .keys()
        .filter_map(|n| n.strip_prefix("grad."))
        .filter(|n| program.code.find_output(n).is_some())
        .collect();
    finished(&program, &seeds, options, (began, spent))
}

/// A memory of the library at a width of its heads, in a program that holds it alone.
///
/// # Errors
/// What stands in the way, in words.
pub fn memory(rule: &str, width: usize, options: Options) -> Result<Subject, String> {
    let since = (Instant::now(), spent());
    let (_, program) = program_of(rule, width, CHUNK, None)?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    finished(&program, &outputs, options, since)
}

/// A program that holds a memory of the library alone, and its name: the memory's width, tokens of a chunk where it is
/// written by the chunk, and heads, where they are not the program's own.
///
/// # Errors
/// What stands in the way, in words.
pub fn program_of(
    rule: &str,
    width: usize,
    chunk: usize,
    heads: Option<usize>,
) -> Result<(String, Program), String> {
    let own = root().join("tests/gpu/memories.nest");
    let text = std::fs::read_to_string(&own).map_err(|e| e.to_string())?;
    let mut parts = text.split("layer ").skip(1).filter(|part| makes(part, rule));
    let entry = parts.next().and_then(|part| part.split('(').next());
    let here = entry.is_some();
    let entry = entry.map(str::to_owned).or_else(|| entry_of(rule));
    let entry = entry.ok_or("no program holds it")?;
    let loaded = match here {
        true => source::load(&[own]).map_err(|e| e.to_string())?,
        false => source::checks(),
    };
    let known = check::parameters(&loaded, Some(&entry));
    let has = |name: &str| known.iter().any(|k| k == name);
    let mut settings: Vec<Setting> =
        widths(has).into_iter().map(|of| setting(of, width)).collect();
    if has("chunk") {
        settings.push(setting("chunk", chunk));
    }
    if let Some(heads) = heads.filter(|_| has("heads")) {
        settings.push(setting("heads", heads));
    }
    let (program, _) = check::program(&loaded, Some(&entry), &settings)
        .map_err(|found| found.first().map(|d| d.message.clone()).unwrap_or_default())?;
    Ok((entry, program))
}

/// Calls of many tokens on a GPU.
pub fn purpose(options: Options) -> Purpose {
    Purpose { resume: false, forms: Machine::Gpu(options).suited(FormOptions::default()) }
}

fn finished(
    program: &Program,
    outputs: &[&str],
    options: Options,
    (began, spent): (Instant, Duration),
) -> Result<Subject, String> {
    let read = ("read and check", began.elapsed());
    let since = Instant::now();
    let lowered =
        with_gradients(program, purpose(options), outputs).map_err(|e| e.to_string())?;
    let steps = vec![read, ("derive and differentiate", since.elapsed())];
    Ok(Subject { graph: lowered.graph, steps, began, spent })
}
