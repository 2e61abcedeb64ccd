//! From kernels to machine code in memory, and the table of routines that code calls.
//!
//! # Contract of the unsafe code
//! A function finished by the module is code for the [`Entry`] convention, because every kernel
//! is declared with exactly that signature; turning its address into an [`Entry`] is therefore
//! sound as long as the module lives, and every [`Native`] holds the module. Routines are called
//! with the parameter lists of [`SIGNATURES`], which the routines of the same names take.
#![allow(unsafe_code, reason = "machine code is called by address")]

use crate::emitter::Emitter;
use crate::routines::{self, SimdLevel};
use crate::wide_call::WideUnit;
use crate::{BackendError, scratch};
use cranelift_codegen::Context;
use cranelift_codegen::ir::{
    AbiParam, FuncRef, InstBuilder, Signature, Type, Value, types,
};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use nestor_ir::artifact::{Entry, Native, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::tile::Kernel;
use nestor_ir::tile::size::elements;
use nestor_ir::ty::Elem;
use std::any::Any;
use std::sync::Arc;

/// Routines and their parameters: `w` a word (an address or a number), `r` a double.
const SIGNATURES: &[(&str, &str)] = &[
    ("exp", "ww"),
    ("log", "ww"),
    ("sin", "ww"),
    ("cos", "ww"),
    ("tanh", "ww"),
    ("erf", "ww"),
    ("sigmoid", "ww"),
    ("softplus", "ww"),
    ("pow", "www"),
    ("transpose", "wwwwww"),
    ("product", "wwwrwwwwwwwwwww"),
    ("solve_unit_lower", "wwwww"),
    ("eliminate", "wwww"),
    ("inverse_root", "wwwr"),
    ("linear_scan", "wwwwwwww"),
    ("gather_rows", "wwwwwww"),
    ("scatter_add_rows", "wwwwwwwww"),
];

/// References to all routines from one function.
#[derive(Clone)]
pub(crate) struct RoutineRefs(Vec<FuncRef>);

impl RoutineRefs {
    /// The routine of this name.
    pub(crate) fn get(&self, name: &str) -> FuncRef {
        let at = SIGNATURES.iter().position(|(n, _)| *n == name);
        self.0[at.expect("a routine of the table")]
    }
}

/// Code of one module, kept as long as any of its kernels.
struct Code(Option<JITModule>);

// SAFETY: after `finalize_definitions` the module is only kept, never touched, until it is freed.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: the last kernel that could be called is gone with its owner.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles kernels to machine code of this machine.
pub fn compile(
    kernels: &[Kernel],
    precision: Precision,
) -> Result<Vec<Native>, BackendError> {
    compile_at(kernels, precision, routines::simd_level())
}

/// Compiles kernels to machine code of this machine, maps with vectors of this width at most.
pub fn compile_at(
    kernels: &[Kernel],
    precision: Precision,
    level: SimdLevel,
) -> Result<Vec<Native>, BackendError> {
    let mut unit = Unit::new(precision, level)?;
    let mut ids = Vec::new();
    let mut context = unit.module.make_context();
    let mut frontend = FunctionBuilderContext::new();
    for (number, kernel) in kernels.iter().enumerate() {
        well_formed(kernel)?;
        ids.push(unit.define(number, kernel, &mut context, &mut frontend)?);
    }
    unit.module.finalize_definitions().map_err(|e| BackendError::code("all", &e))?;
    let addresses: Vec<*const u8> =
        ids.iter().map(|id| unit.module.get_finalized_function(*id)).collect();
    let owner: Arc<dyn Any + Send + Sync> = Arc::new(Code(Some(unit.module)));
    let natives = kernels.iter().zip(addresses).map(|(kernel, address)| Native {
        // SAFETY: declared with the signature of `Entry`; `owner` keeps it alive.
        entry: unsafe { std::mem::transmute::<*const u8, Entry>(address) },
        scratch: scratch::needed(kernel, precision),
        owner: owner.clone(),
    });
    Ok(natives.collect())
}

/// Elements of one buffer.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// Reals of 32 bits.
    F32(Vec<f32>),
    /// Reals of 64 bits.
    F64(Vec<f64>),
    /// Whole numbers.
    I32(Vec<i32>),
    /// Conditions.
    U8(Vec<u8>),
}

/// Runs all points of a kernel on the calling thread: for tests and for measuring one kernel.
/// Panics where a buffer is not of the kernel's shape.
pub fn run(
    kernel: &Kernel,
    native: &Native,
    precision: Precision,
    buffers: &mut [Data],
    sizes: &Sizes,
) {
    assert_eq!(buffers.len(), kernel.buffers.len(), "as many buffers as parameters");
    let mut addresses: Vec<*mut u8> = Vec::new();
    for (data, parameter) in buffers.iter_mut().zip(kernel.buffers.values()) {
        let count =
            usize::try_from(elements(&parameter.dims).eval(sizes)).expect("a size");
        let (length, address) = match (data, parameter.elem, precision) {
            (Data::F32(v), Elem::Real, Precision::F32) => {
                (v.len(), v.as_mut_ptr().cast())
            }
            (Data::F64(v), Elem::Real, Precision::F64) => {
                (v.len(), v.as_mut_ptr().cast())
            }
            (Data::I32(v), Elem::Int, _) => (v.len(), v.as_mut_ptr().cast()),
            (Data::U8(v), Elem::Bool, _) => (v.len(), v.as_mut_ptr()),
            (_, elem, _) => panic!("buffer {} holds {elem:?}", parameter.name),
        };
        assert_eq!(length, count, "length of buffer {}", parameter.name);
        addresses.push(address);
    }
    let bytes: i64 = native.scratch.iter().map(|m| m.eval(sizes)).sum();
    let mut scratch = vec![0_u8; usize::try_from(bytes).expect("a size") + 64];
    let skip = scratch.as_ptr().align_offset(64);
    let points: usize = kernel.grid.iter().map(|(_, d)| d.size(sizes)).product();
    let sizes = [sizes.batch as u64, sizes.time as u64, sizes.start as u64];
    // SAFETY: lengths are those the kernel was compiled for, and scratch is as long as it says.
    unsafe {
        (native.entry)(
            addresses.as_ptr(),
            sizes.as_ptr(),
            0,
            points as u64,
            scratch.as_mut_ptr().add(skip),
        );
    }
}

/// Refuses a kernel that the emitter would misread, before any code is made.
fn well_formed(kernel: &Kernel) -> Result<(), BackendError> {
    let apart = match kernel.team() {
        1 => Ok(()),
        n => Err(format!("{n} of its points meet, and here each runs alone")),
    };
    apart
        .and_then(|()| nestor_ir::tile::verify::verify(kernel))
        .map_err(|why| BackendError::Kernel { kernel: kernel.name.clone(), why })
}

/// The Cranelift text of a kernel, before optimisation.
pub fn clif(kernel: &Kernel, precision: Precision) -> Result<String, BackendError> {
    well_formed(kernel)?;
    let mut unit = Unit::new(precision, routines::simd_level())?;
    let mut context = unit.module.make_context();
    let mut frontend = FunctionBuilderContext::new();
    unit.build(0, kernel, &mut context, &mut frontend)?;
    Ok(context.func.display().to_string())
}

struct Unit {
    module: JITModule,
    precision: Precision,
    routines: Vec<FuncId>,
    fma: bool,
    wide: Option<WideUnit>,
}

impl Unit {
    fn new(precision: Precision, level: SimdLevel) -> Result<Self, BackendError> {
        let mut flags = settings::builder();
        for (name, value) in
            [("opt_level", "speed"), ("is_pic", "false"), ("enable_verifier", "false")]
        {
            flags.set(name, value).map_err(|e| BackendError::code("settings", &e))?;
        }
        let host = cranelift_native::builder().map_err(|why| BackendError::Code {
            kernel: "all".to_owned(),
            why: why.to_owned(),
        })?;
        let isa = host
            .finish(settings::Flags::new(flags))
            .map_err(|e| BackendError::code("settings", &e))?;
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        for (name, address) in routines::table(precision) {
            builder.symbol(name, address);
        }
        let mut module = JITModule::new(builder);
        let mut ids = Vec::new();
        for (name, parameters) in SIGNATURES {
            let mut signature = module.make_signature();
            for p in parameters.chars() {
                let ty = if p == 'r' { types::F64 } else { types::I64 };
                signature.params.push(AbiParam::new(ty));
            }
            let id = module
                .declare_function(name, Linkage::Import, &signature)
                .map_err(|e| BackendError::code(name, &e))?;
            ids.push(id);
        }
        let wide = vector_functions(precision, level).then(WideUnit::default);
        Ok(Self { module, precision, routines: ids, fma: has_fma(), wide })
    }

    fn signature(&self) -> Signature {
        let mut signature = self.module.make_signature();
        for _ in 0..5 {
            signature.params.push(AbiParam::new(types::I64));
        }
        signature
    }

    fn define(
        &mut self,
        number: usize,
        kernel: &Kernel,
        context: &mut Context,
        frontend: &mut FunctionBuilderContext,
    ) -> Result<FuncId, BackendError> {
        let id = self.build(number, kernel, context, frontend)?;
        self.module
            .define_function(id, context)
            .map_err(|e| BackendError::code(&kernel.name, &e))?;
        self.module.clear_context(context);
        Ok(id)
    }

    fn build(
        &mut self,
        number: usize,
        kernel: &Kernel,
        context: &mut Context,
        frontend: &mut FunctionBuilderContext,
    ) -> Result<FuncId, BackendError> {
        let signature = self.signature();
        let id = self
            .module
            .declare_function(&format!("kernel{number}"), Linkage::Local, &signature)
            .map_err(|e| BackendError::code(&kernel.name, &e))?;
        context.func.signature = signature;
        let refs: Vec<FuncRef> = self
            .routines
            .iter()
            .map(|r| self.module.declare_func_in_func(*r, &mut context.func))
            .collect();
        let b = FunctionBuilder::new(&mut context.func, frontend);
        let config = self.module.target_config();
        let mut e = Emitter {
            b,
            kernel,
            precision: self.precision,
            fma: self.fma,
            buffers: Vec::new(),
            tiles: Vec::new(),
            indices: vec![None; kernel.indices],
            sizes: [Value::from_u32(0); 3],
            routines: RoutineRefs(refs),
            rows: Vec::new(),
            wide: self.wide.as_mut().map(|unit| (unit, &mut self.module)),
            words: None,
        };
        e.entry();
        e.b.seal_all_blocks();
        e.b.finalize(config);
        Ok(id)
    }
}

impl Emitter<'_> {
    /// The whole function: parameters, grid, body.
    fn entry(&mut self) {
        let block = self.b.create_block();
        self.b.append_block_params_for_function_params(block);
        self.enter(block);
        let p: Vec<Value> = self.b.block_params(block).to_vec();
        let flags = crate::emitter::flags().with_can_move().with_readonly();
        let word: Type = types::I64;
        for buffer in self.kernel.buffers.keys() {
            let at = i32::try_from(buffer.index() * 8).expect("few buffers");
            let address = self.b.ins().load(word, flags, p[0], at);
            self.buffers.push(address);
        }
        for n in 0..3 {
            self.sizes[n] = self.b.ins().load(
                word,
                flags,
                p[1],
                i32::try_from(n * 8).expect("small"),
            );
        }
        self.place_tiles(p[4]);
        self.walk_grid(p[2], p[3]);
        self.b.ins().return_(&[]);
    }
}

/// Whether maps become vector functions of their own: they are of singles, and follow the calling
/// convention of Unix systems.
pub fn vector_functions(precision: Precision, level: SimdLevel) -> bool {
    cfg!(all(target_arch = "x86_64", unix))
        && level == SimdLevel::Avx512
        && precision == Precision::F32
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    std::arch::is_x86_feature_detected!("fma")
}
#[cfg(not(target_arch = "x86_64"))]
fn has_fma() -> bool {
    true
}
