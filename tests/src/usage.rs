//! What the kernels of golden cases take on a GPU at sizes that people use: registers, spills, shared memory,
//! instructions, tensor cores, and the least time that moving their buffers takes.

use crate::spec::Specs;
use crate::{golden, root};
use nestor_compiler::gpu::ptxas::{Assembler, Usage, assemble};
use nestor_compiler::gpu::{Options, Target, code};
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_front::{Setting, SettingValue};
use nestor_ir::dim::Sizes;
use nestor_ir::plan::Launch;
use nestor_ir::tile::size::elements;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What a case's kernels take, the most of any of them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Taken {
    /// Kernels.
    pub kernels: usize,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread spills, stored and loaded.
    pub spills: u32,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// Bytes of scratch memory of a block, where tiles did not fit.
    pub scratch: usize,
    /// Instructions of PTX, all kernels together.
    pub instructions: usize,
    /// Products on tensor cores in the PTX.
    pub products: usize,
    /// The same in the machine code, where it can be read.
    pub assembled: Option<usize>,
    /// Seconds from the text to PTX.
    pub seconds: f64,
    /// Seconds of the assembler.
    pub assembling: f64,
    /// Microseconds that moving every buffer once takes.
    pub floor: f64,
}

/// Sizes of the floor.
const SIZES: Sizes = Sizes { batch: 4, time: 4096, start: 0 };

/// Bytes a second between memory and chip: A100 (80 GB), A40 and H100 (SXM), rounded, as published.
fn bandwidth(target: Target) -> f64 {
    match target {
        Target::Sm80 => 2.0e12,
        Target::Sm86 => 0.77e12,
        Target::Sm90a => 3.35e12,
    }
}

/// Names of a case's parameters that say how wide it is.
fn widths(text: &str) -> Vec<&'static str> {
    let head = text.split("Case(").nth(1).and_then(|t| t.split(')').next()).unwrap_or("");
    let has = |name: &str| {
        head.split(',').any(|p| p.split('=').next().is_some_and(|n| n.trim() == name))
    };
    let mut out: Vec<&'static str> =
        ["d_k", "d_v", "d", "hidden"].into_iter().filter(|n| has(n)).collect();
    // A state space without keys: channels of a head and numbers of a channel's state.
    if out.is_empty() {
        out.extend(["p", "n"].into_iter().filter(|n| has(n)));
    }
    out
}

/// Compiles a case, forward and backward, at a width; its own where none is given. Assembles it where there is
/// an assembler.
///
/// # Errors
/// What stands in the way, in words.
pub fn taken(
    path: &Path,
    width: Option<usize>,
    options: Options,
    assembler: Option<&Assembler>,
) -> Result<Taken, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let number = |n: usize| SettingValue::Number(n as f64);
    let settings: Vec<Setting> = width
        .map(|n| {
            let of = |name: &str| Setting { name: name.to_owned(), value: number(n) };
            widths(&text).into_iter().map(of).collect()
        })
        .unwrap_or_default();
    let began = Instant::now();
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
    let lowered = with_gradients(&program, Purpose::default(), &seeds)
        .map_err(|e| e.to_string())?;
    let (plan, kernels) = scheduled_for(&lowered.graph, Machine::Gpu(options))
        .map_err(|e| e.to_string())?;
    let code = code(&kernels, options).map_err(|e| e.to_string())?;
    let mut out = Taken {
        kernels: kernels.len(),
        seconds: began.elapsed().as_secs_f64(),
        shared: code.entries.iter().map(|e| e.shared).max().unwrap_or(0),
        scratch: code.entries.iter().map(|e| e.scratch_bytes(&SIZES)).max().unwrap_or(0),
        instructions: code.ptx.lines().filter(|l| is_instruction(l)).count(),
        products: code.ptx.matches("mma.sync").count(),
        ..Taken::default()
    };
    let bytes: f64 = plan
        .launches
        .iter()
        .filter_map(|l| match l {
            Launch::Kernel { kernel, .. } => {
                use nestor_ir::entity::Entity;
                let buffers = kernels[kernel.index()].buffers.values();
                Some(buffers.map(|b| elements(&b.dims).eval(&SIZES) as f64 * 4.0).sum())
            }
            Launch::Dense(_) | Launch::Zero(_) | Launch::Copy { .. } => None::<f64>,
        })
        .sum();
    out.floor = bytes / bandwidth(options.target) * 1e6;
    let Some(assembler) = assembler else { return Ok(out) };
    let folder = std::env::temp_dir();
    let file = |end: &str| {
        let (id, target) = (std::process::id(), options.target.name());
        let (products, width) = (options.products.name(), width.unwrap_or(0));
        folder.join(format!("nestor-{id}-{name}-{width}-{products}-{target}.{end}"))
    };
    let (ptx, cubin) = (file("ptx"), file("cubin"));
    std::fs::write(&ptx, &code.ptx).map_err(|e| e.to_string())?;
    let began = Instant::now();
    let used = assemble(assembler, options.target, &ptx, &cubin);
    out.assembling = began.elapsed().as_secs_f64();
    out.assembled = on_cores(assembler, &cubin);
    for path in [&ptx, &cubin] {
        // One that was not made is not there.
        let _ = std::fs::remove_file(path);
    }
    let used: Vec<Usage> = used?;
    // With the product of any size.
    if used.len() != kernels.len() + 1 {
        return Err(format!("{} kernels of {} are assembled", used.len(), kernels.len()));
    }
    out.registers = used.iter().map(|u| u.registers).max().unwrap_or(0);
    out.spills = used.iter().map(|u| u.spills.0 + u.spills.1).max().unwrap_or(0);
    Ok(out)
}

fn is_instruction(line: &str) -> bool {
    let line = line.trim();
    line.ends_with(';') && !line.starts_with('.') && !line.starts_with("//")
}

/// Instructions of tensor cores in machine code, where the assembler's companion reads it.
fn on_cores(assembler: &Assembler, cubin: &Path) -> Option<usize> {
    let reader: PathBuf = assembler.path.with_file_name("nvdisasm");
    let output = Command::new(reader).arg("-c").arg(cubin).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.matches("HMMA").count())
}
