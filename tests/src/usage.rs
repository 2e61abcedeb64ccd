//! What the kernels of golden cases and of the library's memories take on a GPU at sizes that people use: registers, spills,
//! shared memory, instructions, tensor cores, how long they are made, and how long they are said to run.

mod given;
mod machine_code;
mod subject;

pub use given::given;
pub use subject::{Subject, case, memory, program_of, spent};

use crate::usage::machine_code::{Found, read};
use nestor_compiler::gpu::ptxas::{Assembler, Usage, assemble};
use nestor_compiler::gpu::{Options, code, products, time};
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_ir::dim::Sizes;
use nestor_ir::tile::{Kernel, Sink, Stmt};
use std::time::{Duration, Instant};

/// What a program's kernels take, the most of any of them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Taken {
    /// Kernels.
    pub kernels: usize,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread spills, stored and loaded.
    pub spills: u32,
    /// Kernels that spill, with their bytes.
    pub spilling: Vec<(String, u32)>,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// Bytes of scratch memory of a block, where tiles did not fit.
    pub scratch: usize,
    /// Instructions of PTX, all kernels together.
    pub instructions: usize,
    /// Products inside of kernels: on tensor cores, and by threads.
    pub products: [usize; 2],
    /// The same in the PTX and in the machine code: instructions of tensor cores, where the code can be read.
    pub on_cores: (usize, Option<usize>),
    /// Kernels with products for tensor cores whose machine code has fewer instructions of them than products, or loops that
    /// do without them.
    pub without: Vec<String>,
    /// From the text to PTX, step by step; steps of the backend are summed over cores.
    pub steps: Vec<(&'static str, Duration)>,
    /// From the text to PTX as it passes.
    pub made: Duration,
    /// Processor time from the text to PTX.
    pub worked: Duration,
    /// Of the assembler.
    pub assembling: Duration,
    /// Seconds of a call, predicted.
    pub predicted: f64,
}

/// Sizes of the prediction.
pub const SIZES: Sizes = Sizes { batch: 4, time: 4096, start: 0 };

/// Compiles a program, forward and backward, and assembles it where there is an assembler.
///
/// # Errors
/// What stands in the way, in words.
pub fn taken(
    subject: Subject,
    options: Options,
    assembler: Option<&Assembler>,
) -> Result<Taken, String> {
    let Subject { name, graph, mut steps, began, spent: before } = subject;
    let since = Instant::now();
    let (plan, kernels) =
        scheduled_for(&graph, Machine::Gpu(options)).map_err(|e| e.to_string())?;
    steps.push(("schedule", since.elapsed()));
    let code = code(&kernels, options).map_err(|e| e.to_string())?;
    let (made, worked) = (began.elapsed(), spent().saturating_sub(before));
    steps.extend(code.timings.iter().copied());
    let each: Vec<[usize; 2]> =
        kernels.iter().map(|k| products::counted(k, options.products)).collect();
    let needed = time::needed(&plan, &kernels, &code.entries, &SIZES, options.target);
    let mut out = Taken {
        kernels: kernels.len(),
        steps,
        made,
        worked,
        shared: code.entries.iter().map(|e| e.shared).max().unwrap_or(0),
        scratch: code.entries.iter().map(|e| e.scratch_bytes(&SIZES)).max().unwrap_or(0),
        instructions: code.ptx.lines().filter(|l| is_instruction(l)).count(),
        products: [0, 1].map(|n| each.iter().map(|of| of[n]).sum()),
        on_cores: (code.ptx.matches("mma.sync").count(), None),
        predicted: needed.iter().map(|n| time::seconds(n, options)).sum(),
        ..Taken::default()
    };
    let Some(assembler) = assembler else { return Ok(out) };
    let folder = std::env::temp_dir();
    let file = |end: &str| {
        let id = std::process::id();
        let this = format!("{:?}", std::thread::current().id());
        let this: String = this.chars().filter(char::is_ascii_digit).collect();
        folder.join(format!("nestor-{id}-{this}-{name}.{end}"))
    };
    let (ptx, cubin) = (file("ptx"), file("cubin"));
    std::fs::write(&ptx, &code.ptx).map_err(|e| e.to_string())?;
    let since = Instant::now();
    let used = assemble(assembler, options.target, &ptx, &cubin);
    out.assembling = since.elapsed();
    let found = read(assembler, &cubin);
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
    let spilt = used.iter().map(|u| (u.symbol.clone(), u.spills.0 + u.spills.1));
    out.spilling = spilt.filter(|(_, bytes)| *bytes > 0).collect();
    out.spills = out.spilling.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let Some(found) = found else { return Ok(out) };
    out.on_cores.1 = Some(found.values().map(|f| f.products).sum());
    for ((entry, kernel), [on_cores, by_threads]) in
        code.entries.iter().zip(&kernels).zip(each)
    {
        let none = Found::default();
        let found = found.get(&entry.symbol).unwrap_or(&none);
        // Every product has instructions of its own, and a kernel whose sums are all products has no loop of sums without.
        let plain = by_threads == 0 && !sums_of_threads(kernel) && found.sums > 0;
        if found.products < on_cores || on_cores > 0 && plain {
            out.without.push(entry.symbol.clone());
        }
    }
    Ok(out)
}

/// Whether threads sum products in a kernel besides those of its matrix products: in systems, scans and folds.
fn sums_of_threads(kernel: &Kernel) -> bool {
    fn any(body: &[Stmt]) -> bool {
        body.iter().any(|stmt| match stmt {
            Stmt::Map { sinks, .. } => {
                sinks.iter().any(|(_, s)| matches!(s, Sink::Fold { .. }))
            }
            Stmt::Product { .. } | Stmt::Gather { .. } | Stmt::ScatterAdd { .. } => false,
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. } => true,
            Stmt::Loop { body, .. } | Stmt::When { body, .. } => any(body),
        })
    }
    any(&kernel.body)
}

fn is_instruction(line: &str) -> bool {
    let line = line.trim();
    line.ends_with(';') && !line.starts_with('.') && !line.starts_with("//")
}
