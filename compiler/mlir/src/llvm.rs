//! MLIR to PTX in process.
//!
//! Kernels are written in dialects that are LLVM's own and need no lowering; LLVM's optimiser and its backend for NVIDIA's
//! instruction set do the rest. Neither needs a GPU or a toolkit.
//!
//! # Contract of the unsafe code
//! The functions are those of LLVM's C interface, linked with MLIR's; what they give is used while what it
//! belongs to lives, and disposed of once.
#![allow(unsafe_code, reason = "LLVM's C interface has no safe binding for this version")]

use crate::{BackendError, Target, Timings};
use melior::Context;
use melior::dialect::DialectRegistry;
use melior::ir::{Module, block::BlockLike};
use melior::utility::{register_all_dialects, register_all_llvm_translations};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Once;
use std::time::Instant;

/// A context for kernels.
pub(crate) fn context() -> Context {
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    let context = Context::new_with_threading(false);
    context.append_dialect_registry(&registry);
    // Those that kernels are written in.
    for dialect in ["gpu", "llvm", "nvvm"] {
        context.get_or_load_dialect(dialect);
    }
    register_all_llvm_translations(&context);
    context
}

/// The PTX of a module.
pub(crate) fn ptx(
    context: &Context,
    module: &Module<'_>,
    target: Target,
    timings: &mut Timings,
) -> Result<String, BackendError> {
    // What MLIR says on the way is heard, and said with the error.
    let said = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&said);
    let handler = context.attach_diagnostic_handler(move |d| {
        hears.borrow_mut().push(d.to_string());
        true
    });
    let out = lowered(module, target, timings);
    context.detach_diagnostic_handler(handler);
    out.map_err(|(step, why)| {
        let said = said.take().join("; ");
        BackendError::Lowering { step, why: format!("{why}: {said}") }
    })
}

fn lowered(
    module: &Module<'_>,
    target: Target,
    timings: &mut Timings,
) -> Result<String, (&'static str, String)> {
    let op = module.body().first_operation();
    let op = op.ok_or_else(|| ("MLIR", "the module is empty".to_owned()))?;
    // SAFETY: the operation lives as long as the module.
    unsafe { emit(op.to_raw(), target, timings) }.map_err(|why| ("LLVM", why))
}

/// Options of the code generator, behind a name. It does not reduce the strength of addresses in loops: the assembler does
/// that, with registers in view; done before, code is half as long again, spills, and takes three times as long to make.
/// Passes that find nothing in kernels are left out, for they look at all of it. So are two that find little. Straight-line strength reduction
/// takes as long as all others together, and finds one instruction of fifty, what neighbours have in common being written once
/// (`emit/number`). Joining loads of neighbours takes a tenth, and finds one of five thousand, wide loads being written as such (`emit/wide`).
const OPTIONS: [&CStr; 3] = [
    c"nestor",
    c"-disable-lsr",
    c"-opt-disable=slsr,load-store-vectorizer,speculative-execution,nary-reassociate,mergeicmps,expand-memcmp,partially-inline-libcalls,consthoist",
];

/// What LLVM does before it generates code. Loops test at their ends as they are written. Kernels have no calls and no memory of their own to promote, and the assembler
/// unrolls their loops: unrolled here as well, code is a third longer, and takes three times as long to make. Combined once, what is then
/// found by looking further back for the same values, or by combining again, is one instruction of a hundred for a tenth of the time.
const PASSES: &CStr =
    c"function(early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,\
    loop-mssa(licm),simplifycfg,early-cse<memssa>,adce,simplifycfg)";

unsafe extern "C" {
    fn LLVMParseCommandLineOptions(
        count: c_int,
        options: *const *const c_char,
        overview: *const c_char,
    );
    fn LLVMInitializeNVPTXTargetInfo();
    fn LLVMInitializeNVPTXTarget();
    fn LLVMInitializeNVPTXTargetMC();
    fn LLVMInitializeNVPTXAsmPrinter();
    fn LLVMContextCreate() -> *mut c_void;
    fn LLVMContextDispose(context: *mut c_void);
    fn LLVMDisposeModule(module: *mut c_void);
    fn LLVMGetTargetFromTriple(
        triple: *const c_char,
        target: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn LLVMCreateTargetMachine(
        target: *mut c_void,
        triple: *const c_char,
        cpu: *const c_char,
        features: *const c_char,
        level: c_int,
        reloc: c_int,
        model: c_int,
    ) -> *mut c_void;
    fn LLVMDisposeTargetMachine(machine: *mut c_void);
    fn LLVMSetTarget(module: *mut c_void, triple: *const c_char);
    fn LLVMCreateTargetDataLayout(machine: *mut c_void) -> *mut c_void;
    fn LLVMDisposeTargetData(layout: *mut c_void);
    fn LLVMSetModuleDataLayout(module: *mut c_void, layout: *mut c_void);
    fn LLVMCreatePassBuilderOptions() -> *mut c_void;
    fn LLVMDisposePassBuilderOptions(options: *mut c_void);
    fn LLVMRunPasses(
        module: *mut c_void,
        passes: *const c_char,
        machine: *mut c_void,
        options: *mut c_void,
    ) -> *mut c_void;
    fn LLVMGetErrorMessage(error: *mut c_void) -> *mut c_char;
    fn LLVMTargetMachineEmitToMemoryBuffer(
        machine: *mut c_void,
        module: *mut c_void,
        kind: c_int,
        error: *mut *mut c_char,
        buffer: *mut *mut c_void,
    ) -> c_int;
    fn LLVMGetBufferStart(buffer: *mut c_void) -> *const u8;
    fn LLVMGetBufferSize(buffer: *mut c_void) -> usize;
    fn LLVMDisposeMemoryBuffer(buffer: *mut c_void);
}

/// How much the code generator does, of three: more would look once more for what is computed twice.
const LEVEL: c_int = 2;

const TRIPLE: &CStr = c"nvptx64-nvidia-cuda";

/// # Safety
/// The operation is alive.
unsafe fn emit(
    op: mlir_sys::MlirOperation,
    target: Target,
    timings: &mut Timings,
) -> Result<String, String> {
    // SAFETY: as said at the head of the file.
    unsafe {
        static TARGETS: Once = Once::new();
        TARGETS.call_once(|| {
            LLVMInitializeNVPTXTargetInfo();
            LLVMInitializeNVPTXTarget();
            LLVMInitializeNVPTXTargetMC();
            LLVMInitializeNVPTXAsmPrinter();
            let options = OPTIONS.map(CStr::as_ptr);
            let count = OPTIONS.len() as c_int;
            LLVMParseCommandLineOptions(count, options.as_ptr(), c"".as_ptr());
        });
        let since = Instant::now();
        let context = LLVMContextCreate();
        let module: *mut c_void =
            mlir_sys::mlirTranslateModuleToLLVMIR(op, context.cast()).cast();
        timings.push(("to LLVM", since.elapsed()));
        let out = match module.is_null() {
            true => Err("the module has no translation".to_owned()),
            false => text(module, target, timings),
        };
        if !module.is_null() {
            LLVMDisposeModule(module);
        }
        LLVMContextDispose(context);
        out
    }
}

/// # Safety
/// The module is alive.
unsafe fn text(
    module: *mut c_void,
    target: Target,
    timings: &mut Timings,
) -> Result<String, String> {
    let said = |e: *mut c_char| {
        if e.is_null() {
            return "no reason given".to_owned();
        }
        // SAFETY: messages end in zero.
        unsafe { CStr::from_ptr(e) }.to_string_lossy().into_owned()
    };
    // SAFETY: as said at the head of the file.
    unsafe {
        let (mut found, mut error) = (null_mut(), null_mut());
        if LLVMGetTargetFromTriple(TRIPLE.as_ptr(), &mut found, &mut error) != 0 {
            return Err(said(error));
        }
        let cpu = CString::new(target.name()).expect("no zero in it");
        let features = CString::new(target.ptx()).expect("no zero in it");
        let machine = LLVMCreateTargetMachine(
            found,
            TRIPLE.as_ptr(),
            cpu.as_ptr(),
            features.as_ptr(),
            LEVEL,
            0,
            0,
        );
        LLVMSetTarget(module, TRIPLE.as_ptr());
        let layout = LLVMCreateTargetDataLayout(machine);
        LLVMSetModuleDataLayout(module, layout);
        LLVMDisposeTargetData(layout);
        let mut since = Instant::now();
        let options = LLVMCreatePassBuilderOptions();
        let failed = LLVMRunPasses(module, PASSES.as_ptr(), machine, options);
        LLVMDisposePassBuilderOptions(options);
        timings.push(("LLVM's optimiser", since.elapsed()));
        since = Instant::now();
        let mut buffer = null_mut();
        let out = if !failed.is_null() {
            Err(said(LLVMGetErrorMessage(failed)))
        } else if LLVMTargetMachineEmitToMemoryBuffer(
            machine,
            module,
            0,
            &mut error,
            &mut buffer,
        ) != 0
        {
            Err(said(error))
        } else {
            let bytes = std::slice::from_raw_parts(
                LLVMGetBufferStart(buffer),
                LLVMGetBufferSize(buffer),
            );
            let text = String::from_utf8_lossy(bytes).into_owned();
            LLVMDisposeMemoryBuffer(buffer);
            Ok(text)
        };
        timings.push(("LLVM to PTX", since.elapsed()));
        LLVMDisposeTargetMachine(machine);
        out
    }
}
