//! What the kernels of golden cases and of the library's memories take on a GPU at sizes that people use: registers, spills,
//! shared memory, instructions, tensor cores, how long they are made, and how long they are said to run.

mod asked;
mod assembled;
mod kept;
mod machine_code;
mod subject;

pub use crate::given::given;
pub use asked::{Asked, number};
pub use assembled::Assembling;
pub use kept::{Kept, hashed};
pub use subject::{Subject, case, memory, program_of, purpose, spent};

use crate::usage::assembled::{assembled, on_cores};
use nestor_compiler::gpu::time::{self, SIZES};
use nestor_compiler::gpu::{Options, code, products};
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_ir::plan::Launch;
use nestor_ir::tile::{Kernel, Sink, Stmt};
use std::collections::BTreeSet;
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
    /// The shortest sides of those by threads.
    pub sides: BTreeSet<usize>,
    /// Dense products of the plan, outside of kernels.
    pub dense: usize,
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
    /// Kernels that took the assembler too long: nothing is known of them as machine code.
    pub too_long: Vec<String>,
    /// Seconds of a call, predicted.
    pub predicted: f64,
}

/// Compiles a program, forward and backward, and assembles it where there is an assembler.
///
/// # Errors
/// What stands in the way, in words.
pub fn taken(
    subject: Subject,
    options: Options,
    how: Option<&Assembling<'_>>,
) -> Result<Taken, String> {
    let Subject { graph, mut steps, began, spent: before } = subject;
    let since = Instant::now();
    let (plan, kernels) =
        scheduled_for(&graph, Machine::Gpu(options)).map_err(|e| e.to_string())?;
    steps.push(("schedule", since.elapsed()));
    let code = code(&plan, &kernels, options).map_err(|e| e.to_string())?;
    let (made, worked) = (began.elapsed(), spent().saturating_sub(before));
    steps.extend(code.timings.iter().copied());
    let each: Vec<[usize; 2]> =
        kernels.iter().map(|k| products::counted(k, options.products)).collect();
    let sides = kernels.iter().flat_map(|k| products::shortest(k, options.products));
    let needed = time::needed(&plan, &kernels, &code.entries, &SIZES, options);
    let mut out = Taken {
        kernels: kernels.len(),
        steps,
        made,
        worked,
        shared: code.entries.iter().map(|e| e.shared).max().unwrap_or(0),
        scratch: code.entries.iter().map(|e| e.scratch_bytes(&SIZES)).max().unwrap_or(0),
        instructions: code.ptx.lines().filter(|l| is_instruction(l)).count(),
        products: [0, 1].map(|n| each.iter().map(|of| of[n]).sum()),
        sides: sides.flatten().collect(),
        dense: plan.launches.iter().filter(|l| matches!(l, Launch::Dense(_))).count(),
        on_cores: (on_cores(&code.ptx), None),
        predicted: needed.iter().map(|n| time::seconds(n, options)).sum(),
        ..Taken::default()
    };
    let Some(how) = how else { return Ok(out) };
    let since = Instant::now();
    let used = assembled(&code.ptx, options.target, how)?;
    out.assembling = since.elapsed();
    // With the product of any size.
    if used.len() != kernels.len() + 1 {
        return Err(format!("{} kernels of {} are assembled", used.len(), kernels.len()));
    }
    let too_long = used.iter().filter(|a| a.too_long);
    out.too_long = too_long.map(|a| a.symbol.clone()).collect();
    out.registers = used.iter().map(|a| a.registers).max().unwrap_or(0);
    let spilt = used.iter().filter(|a| a.spills > 0);
    out.spilling = spilt.map(|a| (a.symbol.clone(), a.spills)).collect();
    out.spills = used.iter().map(|a| a.spills).max().unwrap_or(0);
    out.on_cores.1 = used.iter().map(|a| a.found.map(|f| f.products)).sum();
    for ((used, kernel), [on_cores, by_threads]) in used.iter().zip(&kernels).zip(each) {
        let Some(found) = used.found else { continue };
        // Every sum has instructions of its own or is a call, all of those are in the machine code, and a kernel whose sums are
        // all products has no loop of sums without.
        let plain = by_threads == 0 && !sums_of_threads(kernel) && found.sums > 0;
        let [cores, calls] = used.meant;
        let sums = products::sums(kernel, options.products);
        if cores + calls < sums || found.products < cores || on_cores > 0 && plain {
            out.without.push(used.symbol.clone());
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
            Stmt::Product { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => false,
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. } => true,
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => any(body),
        })
    }
    any(&kernel.body)
}

fn is_instruction(line: &str) -> bool {
    let line = line.trim();
    line.ends_with(';') && !line.starts_with('.') && !line.starts_with("//")
}
