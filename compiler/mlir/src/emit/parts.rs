//! Kernels on all cores: each is a module of its own, and their texts are put together.

use super::{SHARED, Wanted, dense, function, name, nested, parsed};
use crate::placement::PATTERN;
use crate::rolled::rolled;
use crate::{BackendError, Code, DeviceProduct, Entry, Options, Timings, llvm};
use melior::Context;
use melior::dialect::llvm::r#type as types;
use melior::ir::attribute::TypeAttribute;
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::{BlockRef, Identifier, Location, Module, Region};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a module holds.
enum Held {
    Kernel(Entry),
    Product(DeviceProduct),
}

/// A compiled module.
struct Part {
    mlir: String,
    ptx: String,
    held: Held,
    timings: Timings,
}

pub(super) fn compiled(
    kernels: &[Wanted<'_>],
    options: Options,
    text: bool,
) -> Result<Code, BackendError> {
    // The largest first, so that no core waits long for another; the product of any size is one more.
    let mut order: Vec<usize> = (0..=kernels.len()).collect();
    let size =
        |n: usize| kernels.get(n).map_or(1, |(k, _)| k.tiles.len() + k.buffers.len());
    order.sort_by_key(|n| std::cmp::Reverse(size(*n)));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Part, BackendError>)>> = Mutex::new(Vec::new());
    let work = || {
        let began = Instant::now();
        let context = llvm::context();
        let mut dialects = Some(began.elapsed());
        while let Some(n) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut made = part(&context, kernels.get(*n).copied(), *n, options, text);
            if let (Ok(part), Some(time)) = (&mut made, dialects.take()) {
                part.timings.insert(0, ("dialects", time));
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((*n, made));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match cores.min(order.len()) {
        1 => work(),
        threads => std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        }),
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    joined(done.into_iter().map(|(_, part)| part))
}

/// The parts together; times are summed over cores.
fn joined(
    parts: impl Iterator<Item = Result<Part, BackendError>>,
) -> Result<Code, BackendError> {
    let (mut mlir, mut ptx, mut entries) = (String::new(), String::new(), Vec::new());
    let (mut product, mut timings) = (None, Timings::new());
    for part in parts {
        let part = part?;
        mlir.push_str(&part.mlir);
        append(&mut ptx, &part.ptx);
        match part.held {
            Held::Kernel(entry) => entries.push(entry),
            Held::Product(found) => product = Some(found),
        }
        for (step, time) in part.timings {
            match timings.iter_mut().find(|(s, _)| *s == step) {
                Some((_, all)) => *all += time,
                None => timings.push((step, time)),
            }
        }
    }
    let product = product.expect("the product is one of the parts");
    Ok(Code { mlir, ptx, entries, product, timings })
}

/// Appends a module's text; what every module says at its head is said once.
fn append(all: &mut String, text: &str) {
    let is_head = |line: &str| {
        [".version", ".target", ".address_size", ".extern .shared", "//"]
            .iter()
            .any(|head| line.trim_start().starts_with(head))
    };
    let first = all.is_empty();
    let mut in_head = true;
    for line in text.lines() {
        in_head &= line.trim().is_empty() || is_head(line);
        if first || !in_head {
            all.push_str(line);
            all.push('\n');
        }
    }
    // A first module without shared memory does not declare it.
    let declares =
        |t: &str| t.lines().find(|l| l.starts_with(".extern .shared")).map(str::to_owned);
    if !first
        && declares(all).is_none()
        && let Some(line) = declares(text)
        && let Some(at) = all.find(".address_size 64")
    {
        all.insert_str(at + ".address_size 64".len(), &format!("\n{line}"));
    }
}

/// A module of one kernel, or of the product where there is none.
fn part(
    context: &Context,
    kernel: Option<Wanted<'_>>,
    n: usize,
    options: Options,
    text: bool,
) -> Result<Part, BackendError> {
    let mut timings = Timings::new();
    let began = Instant::now();
    let module = Module::new(Location::unknown(context));
    let inner = begun(context, &module);
    let held = match kernel {
        Some(kernel) => Held::Kernel(function(context, inner, kernel, n, options)?),
        None => Held::Product(dense::product(context, inner, options)),
    };
    if !module.as_operation().verify() {
        let why = "the module is not well formed".to_owned();
        return Err(BackendError::Lowering { step: "MLIR", why });
    }
    timings.push(("kernels to MLIR", began.elapsed()));
    let mlir = if text { module.as_operation().to_string() } else { String::new() };
    let ptx = llvm::ptx(context, &module, options.target, &mut timings)?;
    let ptx = rolled(&ptx);
    Ok(Part { mlir, ptx, held, timings })
}

/// A module for a GPU with its shared memory.
fn begun<'c: 'a, 'a>(context: &'c Context, module: &'a Module<'c>) -> BlockRef<'c, 'a> {
    let inner = nested(
        context,
        module.body(),
        "gpu.module",
        &[("sym_name", name(context, "kernels"))],
        &[],
    );
    let b = super::Builder::new(context, inner);
    let bytes = TypeAttribute::new(types::array(b.int(8), 0)).into();
    let attributes = [
        ("sym_name", name(context, SHARED)),
        ("global_type", bytes),
        ("linkage", parsed(context, "#llvm.linkage<external>")),
        ("addr_space", parsed(context, "3 : i32")),
        ("alignment", parsed(context, &format!("{PATTERN} : i64"))),
    ];
    let op = OperationBuilder::new("llvm.mlir.global", b.location)
        .add_attributes(&attributes.map(|(n, a)| (Identifier::new(context, n), a)))
        .add_regions([Region::new()])
        .build()
        .expect("a variable");
    b.block.append_operation(op);
    inner
}
