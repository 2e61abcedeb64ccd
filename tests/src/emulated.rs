//! Runs kernels as PTX in the emulator, and beside it in the interpreter.

use crate::emulated_device::tensor;
use indexmap::IndexMap;
use nestor_emulator::{Allocation, Launch, Memory, Module, Stats, launch};
use nestor_ir::artifact::{Precision, TensorMap};
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::Array;
use nestor_ir::interpret::plan::run_with;
use nestor_ir::interpret::tile::{self, KernelError};
use nestor_ir::plan::Plan;
use nestor_ir::tile::{Kernel, Use};
use nestor_ir::ty::Elem;
use nestor_mlir::narrow::{Between, of_plan};
use nestor_mlir::products::on_cores;
use nestor_mlir::{Code, Entry, Options, Products, compile, compiled};

/// Kernels as PTX, read back.
pub struct Emulated {
    kernels: Vec<Kernel>,
    /// What the compiler made of them.
    pub code: Code,
    module: Module,
    /// How far a result may be from the interpreter's, relative to the largest of its buffer.
    pub tolerance: f64,
    /// What is further off is made another number altogether: whoever reads it finds out.
    pub spoils: bool,
    /// The interpreter rounds operands of products as these do.
    pub alike: Option<Products>,
    /// Results may be off by [`AMPLIFIED`] times what float32 does to them in the interpreter, where that is more.
    pub amplifies: bool,
}

impl Emulated {
    /// Compiles kernels.
    ///
    /// # Errors
    /// What stands in the way, in words.
    pub fn new(kernels: &[Kernel], options: impl Into<Options>) -> Result<Self, String> {
        let code = compile(kernels, options).map_err(|e| e.to_string())?;
        Self::of(kernels, code)
    }

    /// Compiles a plan's kernels, as a runtime has them: what they hand to each other may be bfloat16.
    ///
    /// # Errors
    /// As [`Emulated::new`].
    pub fn of_plan(
        plan: &Plan,
        kernels: &[Kernel],
        options: impl Into<Options>,
        between: Between,
    ) -> Result<Self, String> {
        let options = options.into();
        let narrow = of_plan(plan, kernels, options.products, between);
        let code = compiled(kernels, Some(&narrow), options, false);
        Self::of(kernels, code.map_err(|e| e.to_string())?)
    }

    /// Kernels and code that was made of them.
    ///
    /// # Errors
    /// Where the code is not of the emulator's subset.
    pub fn of(kernels: &[Kernel], code: Code) -> Result<Self, String> {
        let module = Module::parse(&code.ptx).map_err(|e| e.to_string())?;
        Ok(Self {
            kernels: kernels.to_vec(),
            code,
            module,
            tolerance: 1e-4,
            spoils: false,
            alike: None,
            amplifies: false,
        })
    }

    /// Runs a kernel on its buffers.
    ///
    /// # Errors
    /// A fault of the emulator.
    pub fn run(
        &self,
        n: usize,
        buffers: &mut [Vec<f64>],
        sizes: &Sizes,
    ) -> Result<Stats, String> {
        let (kernel, entry) = (&self.kernels[n], &self.code.entries[n]);
        let grid: usize = kernel.grid.iter().map(|(_, d)| d.size(sizes)).product();
        let mut memory = Memory::default();
        let mut params = Vec::new();
        let narrow = &entry.narrow;
        for ((parameter, data), narrow) in
            kernel.buffers.values().zip(buffers.iter()).zip(narrow)
        {
            let bytes = match narrow {
                true => data.iter().flat_map(|x| half(*x)).collect(),
                false => bytes(parameter.elem, data),
            };
            // What is only written begins as nothing that could be read.
            let allocation = match parameter.usage {
                Use::Write => Allocation::partly(&parameter.name, bytes),
                Use::Read | Use::Update => Allocation::filled(&parameter.name, bytes),
            };
            params.push(memory.add(allocation));
        }
        let scratch = entry.scratch_bytes(sizes) * grid;
        params.push(memory.add(Allocation::unknown("scratch", scratch)));
        params.extend([sizes.batch, sizes.time, sizes.start].map(|n| n as u64));
        let buffer = |n: usize| (params[n], memory.get(params[n]).data().len());
        let maps = entry.maps(sizes, buffer);
        let stats = self.launched(entry, grid, (&params, &maps), &mut memory)?;
        let places = params.iter().zip(narrow);
        for ((parameter, data), (address, narrow)) in
            kernel.buffers.values().zip(buffers.iter_mut()).zip(places)
        {
            let found = memory.get(*address).data();
            *data = match narrow {
                true => found.chunks_exact(2).map(whole).collect(),
                false => numbers(parameter.elem, found),
            };
        }
        Ok(stats)
    }

    fn launched(
        &self,
        entry: &Entry,
        grid: usize,
        (params, maps): (&[u64], &[TensorMap]),
        memory: &mut Memory,
    ) -> Result<Stats, String> {
        let how = Launch {
            grid: grid as u32,
            block: entry.threads,
            shared: entry.shared,
            params: params.to_vec(),
            maps: maps.iter().map(tensor).collect(),
            limit: 1 << 32,
            trusted: false,
        };
        launch(&self.module, &entry.symbol, &how, memory)
            .map_err(|fault| format!("{}: {fault}", entry.symbol))
    }

    /// Runs a kernel both ways on the same buffers and compares; the emulator's results stay.
    ///
    /// # Errors
    /// A fault, or how far the results are apart.
    pub fn agree(
        &self,
        n: usize,
        buffers: &mut [Vec<f64>],
        sizes: &Sizes,
    ) -> Result<Stats, String> {
        let kernel = &self.kernels[n];
        let interpreted = |precision| {
            let mut out = buffers.to_vec();
            let ran = match self.alike {
                None => tile::run(kernel, &mut out, sizes, precision),
                Some(products) => run_alike(kernel, &mut out, sizes, products, precision),
            };
            ran.map(|()| out).map_err(|e| e.to_string())
        };
        let expected = interpreted(Precision::F64)?;
        let single = match self.amplifies {
            true => interpreted(Precision::F32)?,
            false => expected.clone(),
        };
        let stats = self.run(n, buffers, sizes)?;
        let narrow = &self.code.entries[n].narrow;
        let kept = kernel.buffers.values().zip(narrow);
        for ((((parameter, narrow), got), want), single) in
            kept.zip(buffers.iter_mut()).zip(&expected).zip(&single)
        {
            // What is narrow is rounded where it is written, and may be rounded the other way.
            let tolerance = match narrow {
                true => self.tolerance.max(1.0 / 128.0),
                false => self.tolerance,
            };
            let finite = want.iter().filter(|x| x.is_finite());
            let size = finite.fold(1e-2, |m: f64, x| m.max(x.abs()));
            let apart = want.iter().zip(single).map(|(a, b)| (a - b).abs());
            let apart = apart.filter(|x| x.is_finite()).fold(0.0, f64::max);
            let bound = (tolerance * size).max(AMPLIFIED * apart);
            for (i, (g, w)) in got.iter_mut().zip(want).enumerate() {
                let close = (*g - w).abs() <= bound || g == w;
                let both_none = g.is_nan() && w.is_nan();
                if !(close || both_none) {
                    if self.spoils {
                        *g = w + size;
                        continue;
                    }
                    let name = &parameter.name;
                    return Err(format!("`{}`, {name}[{i}]: {g}, not {w}", kernel.name));
                }
            }
        }
        Ok(stats)
    }

    /// Runs a plan, every kernel both ways.
    ///
    /// # Errors
    /// As [`Emulated::agree`].
    pub fn plan(
        &self,
        plan: &Plan,
        inputs: &IndexMap<String, Array>,
        sizes: &Sizes,
    ) -> Result<IndexMap<String, Array>, String> {
        let mut run = |n: usize, buffers: &mut [Vec<f64>]| {
            let kernel = self.kernels[n].name.clone();
            let done = self.agree(n, buffers, sizes);
            done.map(|_| ()).map_err(|what| KernelError { kernel, what })
        };
        run_with(plan, &self.kernels, inputs, sizes, Precision::F32, &mut run)
            .map_err(|e| e.to_string())
    }
}

/// Sums are in another order, and a rounding of an operand may fall the other way: how many times what float32 does to a result
/// it may be off.
pub const AMPLIFIED: f64 = 30.0;

/// Runs a kernel in the interpreter, operands of products rounded as tensor cores do.
///
/// # Errors
/// As the interpreter's.
pub fn run_alike(
    kernel: &Kernel,
    buffers: &mut [Vec<f64>],
    sizes: &Sizes,
    products: Products,
    precision: Precision,
) -> Result<(), KernelError> {
    tile::run_rounding(kernel, buffers, sizes, precision, &|extent, x| match on_cores(
        extent, products,
    ) && products
        == Products::Brain
    {
        true => brain(x),
        false => x,
    })
}

/// The nearest number of bfloat16, of two that are as near the even one.
pub fn brain(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    let up = 0x7fff + (bits >> 16 & 1);
    f64::from(f32::from_bits(bits.wrapping_add(up) & 0xffff_0000))
}

/// The bytes of a number of bfloat16.
fn half(x: f64) -> [u8; 2] {
    let bits = (brain(x) as f32).to_bits();
    ((bits >> 16) as u16).to_le_bytes()
}

/// A number of bfloat16 of its bytes.
fn whole(bytes: &[u8]) -> f64 {
    let bits = u16::from_le_bytes(<[u8; 2]>::try_from(bytes).expect("two bytes"));
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

fn bytes(elem: Elem, data: &[f64]) -> Vec<u8> {
    match elem {
        Elem::Real => data.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
        Elem::Int => data.iter().flat_map(|x| (*x as i32).to_le_bytes()).collect(),
        Elem::Bool => data.iter().map(|x| u8::from(*x != 0.0)).collect(),
    }
}

fn numbers(elem: Elem, data: &[u8]) -> Vec<f64> {
    let words = data.chunks_exact(4).map(|c| <[u8; 4]>::try_from(c).expect("four bytes"));
    match elem {
        Elem::Real => words.map(|c| f64::from(f32::from_le_bytes(c))).collect(),
        Elem::Int => words.map(|c| f64::from(i32::from_le_bytes(c))).collect(),
        Elem::Bool => data.iter().map(|x| f64::from(*x)).collect(),
    }
}
