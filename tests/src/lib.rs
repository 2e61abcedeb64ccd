//! Suites that look at the whole tree: tidy rules, golden cases, the command line. Nothing
//! imports this crate.
//!
//! The suites are integration tests in `tests/`; this library holds what they share.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository exists")
}

/// Every file below `folder` whose name ends in `.extension`, sorted.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" && name != "runs" {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// What a function says of every item, in order, worked out on all cores.
pub fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    of: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let workers = available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut said = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(n) else { return said };
            said.push((n, of(item)));
        }
    };
    let mut all: Vec<(usize, R)> = scope(|s| {
        let workers: Vec<_> = (0..workers).map(|_| s.spawn(work)).collect();
        let said = workers.into_iter().map(|w| w.join());
        said.flat_map(|said| said.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, said)| said).collect()
}

pub mod agreement;
pub mod combination;
pub mod costs;
pub mod device_suite;
#[cfg(feature = "cuda")]
pub mod emulated;
pub mod emulated_device;
pub mod given;
pub mod golden;
#[cfg(feature = "cuda")]
pub mod gpu_costs;
#[cfg(feature = "cuda")]
pub mod gpu_table;
pub mod measure;
pub mod native;
pub mod rules;
pub mod spec;
pub mod traced;
#[cfg(feature = "cuda")]
pub mod usage;
#[cfg(feature = "cuda")]
pub mod written;
