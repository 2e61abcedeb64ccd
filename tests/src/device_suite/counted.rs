//! What kernels execute, counted in the emulator: no time, but what two versions of the code generator can be compared by.

use super::timed::{Wanted, lowered};
use crate::emulated::Emulated;
use crate::written::filled;
use nestor_compiler::FormOptions;
use nestor_compiler::gpu::Options;
use nestor_compiler::native::Machine;
use nestor_ir::dim::Sizes;
use nestor_mlir::narrow::Between;

/// What a block of a kernel executes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The kernel.
    pub name: String,
    /// Its blocks, and threads of each.
    pub blocks: usize,
    /// Threads of a block.
    pub threads: u32,
    /// Instructions of its warps.
    pub instructions: u64,
    /// Times at which its threads wait for one another.
    pub barriers: u64,
    /// Instructions of its warps that multiply matrices.
    pub products: u64,
    /// Bytes of shared memory that these take, or that are loaded for them as matrices.
    pub matrices: u64,
    /// Bytes of memory that all blocks read, and those that they write, each once.
    pub moved: [u64; 2],
}

/// What the kernels of a rule execute at a shape, whatever their buffers hold.
///
/// # Errors
/// What stands in the way, in words.
pub fn counted(wanted: &Wanted, options: Options) -> Result<Vec<Counted>, String> {
    let [batch, time, heads, width] = wanted.shape.sizes;
    let forms = FormOptions { chunk: wanted.chunk, ..FormOptions::default() };
    let forms = Machine::Gpu(options).suited(forms);
    let graph = lowered(&wanted.rule, heads, width, wanted.both, forms)?.graph;
    let (plan, kernels) = wanted.planned(&graph, options)?;
    let emulated = Emulated::of_plan(&plan, &kernels, options, Between::Closely)?;
    let sizes = Sizes { batch, time, start: 0 };
    let small = |_, i: usize| (i % 7) as f64 / 64.0;
    let one = |(n, kernel)| {
        let stats = emulated.run(n, &mut filled(kernel, &sizes, small), &sizes)?;
        let blocks: usize = kernel.grid.iter().map(|(_, d)| d.size(&sizes)).product();
        let of_block = |n: u64| n / blocks.max(1) as u64;
        Ok(Counted {
            name: kernel.name.clone(),
            blocks,
            threads: emulated.code.entries[n].threads,
            instructions: of_block(stats.instructions / 32),
            barriers: of_block(stats.barriers),
            products: of_block(stats.products),
            matrices: of_block(stats.matrices),
            moved: stats.moved,
        })
    };
    kernels.iter().enumerate().map(one).collect()
}
