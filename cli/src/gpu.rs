//! `compile` for a GPU: its stages as text, and the artifact with PTX, machine code where an assembler is
//! found, and what a C program needs.

use crate::arguments::{CompileArguments, Emit};
use crate::artifact::{Source, Told, layout, pretty, provenance, put};
use crate::fail::{Failure, Outcome};
use nestor_compiler::dim::Sizes;
use nestor_compiler::gpu::ptxas::{Usage, assemble, find, without_spills};
use nestor_compiler::gpu::{self, Code, Entry, Options, Products, Target, c, time};
use nestor_compiler::native::{Kernel, Plan};
use nestor_compiler::{kept, native};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// What is asked for, where the target is a GPU; a stage of a GPU has one.
pub(crate) fn target(a: &CompileArguments) -> Result<Option<Options>, Failure> {
    let target = &a.target;
    let products = Products::find(&a.products).unwrap_or_default();
    let found = Target::find(target).map(|target| Options { target, products });
    let of_gpu = matches!(a.emit, Some(Emit::Mlir | Emit::Ptx | Emit::Usage));
    if of_gpu && found.is_none() {
        let names: Vec<&str> = Target::ALL.iter().map(|(n, _)| *n).collect();
        return Err(Failure::usage(format!(
            "this stage is of a GPU, and `{target}` is none: add `--target {}`",
            names.join("` or `--target ")
        )));
    }
    Ok(found)
}

/// A stage as text.
pub(crate) fn text(
    (plan, kernels): (&Plan, &[Kernel]),
    emit: Emit,
    options: Options,
    timings: bool,
) -> Result<String, Failure> {
    let code = match emit {
        Emit::Mlir => gpu::code_with_text(plan, kernels, options),
        _ => gpu::code(plan, kernels, options),
    };
    let mut code = code.map_err(Failure::native)?;
    if timings {
        for (what, time) in &code.timings {
            anstream::eprintln!("  {what:<24} {:>8.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    match emit {
        Emit::Mlir => Ok(code.mlir),
        Emit::Usage => {
            let folder =
                std::env::temp_dir().join(format!("nestor-{}", std::process::id()));
            std::fs::create_dir_all(&folder).map_err(Failure::data)?;
            let used = usage(&mut code, options.target, &folder);
            std::fs::remove_dir_all(&folder).map_err(Failure::data)?;
            match used? {
                Some(used) => {
                    let times = time::by_kernel(plan, kernels, &code.entries, options);
                    Ok(table(&code, &used, &times))
                }
                None => Err(Failure::data(
                    "ptxas is not found in CUDA_HOME, on the search path or in the Python package nvidia-cuda-nvcc",
                )),
            }
        }
        _ => Ok(code.ptx),
    }
}

/// Assembles code in a folder that has no PTX yet; nothing where there is no assembler. Kernels that spill become others
/// that spill less, where there are some.
fn usage(
    code: &mut Code,
    target: Target,
    folder: &Path,
) -> Result<Option<Vec<Usage>>, Failure> {
    let Some(assembler) = find() else { return Ok(None) };
    let (ptx, cubin) = (folder.join("kernels.ptx"), folder.join("kernels.cubin"));
    let assembled = |text: &str| {
        std::fs::write(&ptx, text).map_err(|e| {
            Failure::data(format!("cannot write `{}`: {e}", ptx.display()))
        })?;
        assemble(&assembler, target, &ptx, &cubin).map_err(Failure::bug)
    };
    let used = assembled(&code.ptx)?;
    let files = [ptx.as_path(), cubin.as_path()];
    let better = without_spills(&assembler, target, &code.ptx, files, &used);
    let Some(text) = better.map_err(Failure::bug)? else { return Ok(Some(used)) };
    code.ptx = text;
    assembled(&code.ptx).map(Some)
}

/// Kernels with what they take, a line each.
fn table(code: &Code, used: &[Usage], (times, others): &(Vec<f64>, f64)) -> String {
    let mut out = format!(
        "{:<44} {:>7} {:>9} {:>6} {:>12} {:>12} {:>9}\n",
        "kernel", "threads", "registers", "spills", "shared bytes", "instructions", "us"
    );
    for (entry, time) in code.entries.iter().zip(times) {
        let (found, time) = (of(used, entry), 1e6 * time);
        let _ = writeln!(
            out,
            "{:<44} {:>7} {:>9} {:>6} {:>12} {:>12} {time:>9.1}",
            entry.symbol,
            entry.threads,
            found.registers,
            found.spills.0 + found.spills.1,
            entry.shared,
            code.instructions(&entry.symbol)
        );
    }
    let Sizes { batch, time, .. } = time::SIZES;
    let _ = writeln!(
        out,
        "predicted for {batch} sequences of {time} tokens, all launches of a kernel: {:.1} us, and {:.1} for dense products and copies",
        1e6 * times.iter().sum::<f64>(),
        1e6 * others
    );
    out
}

fn of(used: &[Usage], entry: &Entry) -> Usage {
    used.iter().find(|u| u.symbol == entry.symbol).cloned().unwrap_or_default()
}

/// Writes the artifact of a graph for a GPU.
pub(crate) fn write(
    source: &Source<'_>,
    (plan, kernels): &(Plan, Vec<Kernel>),
    what: &str,
    options: Options,
    folder: &Path,
    as_json: bool,
) -> Outcome {
    let mut code =
        gpu::code_with_text(plan, kernels, options).map_err(Failure::native)?;
    std::fs::create_dir_all(folder)
        .map_err(|e| Failure::data(format!("cannot make `{}`: {e}", folder.display())))?;
    let used = usage(&mut code, options.target, folder)?;
    let entries = code.entries.iter().map(|entry| {
        let mut about = json!({ "symbol": entry.symbol, "threads": entry.threads,
            "shared_bytes": entry.shared, "instructions": code.instructions(&entry.symbol) });
        if let Some(used) = &used {
            let found = of(used, entry);
            about["registers"] = json!(found.registers);
            about["spill_bytes"] = json!(found.spills.0 + found.spills.1);
        }
        about
    });
    let entries: Vec<serde_json::Value> = entries.collect();
    let mut from = provenance(source, what);
    if let Some(from) = from.as_object_mut() {
        from.remove("simd");
        from.remove("vector_functions");
        let mut names = Products::ALL.iter().filter(|(_, p)| *p == options.products);
        from.insert("products".to_owned(), json!(names.next().map(|(n, _)| *n)));
        from.insert("kernels".to_owned(), json!(entries));
        let by = find()
            .map(|a| json!({ "path": a.path.display().to_string(), "from": a.from }));
        from.insert("ptxas".to_owned(), json!(by));
    }
    let tiles: String = kernels.iter().map(ToString::to_string).collect();
    let files = [
        ("plan.txt", native::plan_text(plan, kernels)),
        ("kernels.txt", tiles),
        ("kernels.mlir", code.mlir.clone()),
        ("kernels.ptx", code.ptx.clone()),
        (kept::LAUNCHES, kept::launches(&code.for_device(options))),
        ("kernels.h", c::header(kernels, &code)),
        ("example.c", c::example().to_owned()),
        ("layout.json", pretty(&layout(source.program, plan))),
        ("provenance.json", pretty(&from)),
    ];
    let told =
        Told { source, what, kernels: kernels.len(), launches: plan.launches.len() };
    put(&told, &files, folder, as_json)
}
