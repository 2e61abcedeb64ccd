//! What is said where a device's memory is too small: what is needed, what is free, and what would fit.

use super::{Executor, RunError};
use nestor_ir::dim::Sizes;

/// The error of a call that does not fit.
pub(super) fn too_large(executor: &Executor, sizes: &Sizes) -> RunError {
    let free = executor.engine.room().unwrap_or(0);
    let needed = bytes(executor, sizes);
    let fits = |s: &Sizes| bytes(executor, s) <= free;
    let Sizes { batch, time, .. } = *sizes;
    // The most sequences of this length, else the longest single one: needs grow with both.
    let batch_of = most(batch, |batch| fits(&Sizes { batch, ..*sizes }));
    let fits = match batch_of {
        0 => match most(time, |time| fits(&Sizes { batch: 1, time, ..*sizes })) {
            0 => "nothing of this model would fit".to_owned(),
            time => format!("one sequence of {time} tokens would fit"),
        },
        batch => format!("{batch} sequences of {time} tokens would fit"),
    };
    RunError::TooLarge { needed: said(needed), free: said(free), fits }
}

/// What a call takes beside what is resident.
fn bytes(executor: &Executor, sizes: &Sizes) -> usize {
    let (_, arena) = executor.layout(sizes, 0);
    arena + executor.engine.scratch(&executor.artifact, sizes)
}

/// The largest number up to `all` that holds, where all below it hold; 0 where none does.
fn most(all: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, all + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match holds(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// Bytes for people.
fn said(bytes: usize) -> String {
    let mut value = bytes as f64;
    let mut units = ["bytes", "KiB", "MiB", "GiB", "TiB"].iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "bytes" => format!("{bytes} bytes"),
        unit => format!("{value:.1} {unit}"),
    }
}
