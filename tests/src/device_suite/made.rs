//! Code for the device, made on all cores at once.

use nestor_compiler::gpu::Options;
use nestor_compiler::gpu::ptxas::{find, image};
use nestor_compiler::native::{Kernel, Machine, Plan, coded};
use nestor_ir::artifact::Artifact;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Passes over deep graphs recurse.
const STACK: usize = 64 << 20;

/// Does the same with many things side by side; results are in the order of the things.
///
/// # Panics
/// Where one of them does.
pub fn spread<T: Sync, R: Send>(things: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(n) else { return done };
            done.push((n, each(thing)));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let begun = (0..workers.min(things.len())).map(|_| {
            let worker = thread::Builder::new().stack_size(STACK);
            worker.spawn_scoped(scope, some).expect("a thread")
        });
        let begun: Vec<_> = begun.collect();
        begun.into_iter().flat_map(|w| w.join().expect("a worker")).collect()
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, result)| result).collect()
}

/// A plan as code for the device, as machine code where an assembler is found and takes it.
pub(super) fn code(
    plan: Plan,
    kernels: Vec<Kernel>,
    options: Options,
) -> Result<Artifact, String> {
    let made = coded(plan, kernels, Machine::Gpu(options));
    let mut made = made.map_err(|e| e.to_string())?;
    if let (Some(assembler), Some(device)) = (find(), made.device.as_mut()) {
        let device = Arc::make_mut(device);
        device.image = image(&assembler, options.target, &device.text).ok();
    }
    Ok(made)
}
