//! The assembler of NVIDIA's toolkit takes the PTX of every golden case, for both targets; the table of what kernels
//! take is printed (`-- --nocapture`). Needs the feature `cuda`; without an assembler the check is skipped, and says so.

#![cfg(feature = "cuda")]

use nestor_compiler::gpu::ptxas::{Assembler, assemble, find};
use nestor_compiler::gpu::{Options, Products, Target, code};
use nestor_compiler::native::scheduled;
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, on_all_cores, root};
use std::path::Path;

/// A line of the table for each kind of products; nothing where a case has no kernels.
fn lines(
    assembler: &Assembler,
    path: &Path,
    target: Target,
) -> Result<Vec<String>, String> {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let specs = Specs::read(&[path]);
    let program = specs.elaborate("Case", &[]).program.expect("a case elaborates");
    let stored = root().join("tests/oracle/cases").join(format!("{name}.safetensors"));
    let case = golden::read(&stored);
    let seeds = case.keys().filter_map(|n| n.strip_prefix("grad."));
    let seeds: Vec<&str> =
        seeds.filter(|n| program.code.find_output(n).is_some()).collect();
    let Ok(lowered) = with_gradients(&program, Purpose::default(), &seeds) else {
        return Ok(Vec::new());
    };
    let Ok((_, kernels)) = scheduled(&lowered.graph) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (called, products) in [Products::ALL[0], Products::ALL[3]] {
        let code =
            code(&kernels, Options { target, products }).map_err(|e| e.to_string())?;
        let folder = std::env::temp_dir();
        let file = |end: &str| {
            let id = std::process::id();
            folder.join(format!("nestor-{id}-{name}-{called}-{}.{end}", target.name()))
        };
        let (ptx, cubin) = (file("ptx"), file("cubin"));
        std::fs::write(&ptx, &code.ptx).map_err(|e| e.to_string())?;
        let used = assemble(assembler, target, &ptx, &cubin);
        for path in [&ptx, &cubin] {
            // One that was not made is not there.
            let _ = std::fs::remove_file(path);
        }
        let used = used.map_err(|e| format!("{name}, {called}: {e}"))?;
        // With the product of any size.
        assert_eq!(used.len(), kernels.len() + 1, "{name}");
        let registers = used.iter().map(|u| u.registers).max().unwrap_or(0);
        let spills = used.iter().map(|u| u.spills.0 + u.spills.1).max().unwrap_or(0);
        let shared = code.entries.iter().map(|e| e.shared).max().unwrap_or(0);
        let on_cores = code.ptx.matches("mma.sync").count();
        out.push(format!(
            "{name:<28} {called:<8} {:>7} {registers:>9} {spills:>6} {shared:>8} {on_cores:>4}",
            kernels.len()
        ));
    }
    Ok(out)
}

#[test]
fn the_assembler_takes_every_golden_case() {
    let Some(assembler) = find() else {
        println!(
            "1 check skipped: no ptxas in CUDA_HOME, on the search path or in a Python package"
        );
        return;
    };
    let cases = files(&root().join("tests/oracle"), "nest");
    for target in [Target::Sm80, Target::Sm90a] {
        println!("\n{}: the most of any kernel", target.name());
        println!(
            "{:<28} {:<8} {:>7} {:>9} {:>6} {:>8} {:>4}",
            "case", "products", "kernels", "registers", "spills", "shared", "mma"
        );
        for found in on_all_cores(&cases, |path| lines(&assembler, path, target)) {
            let found = found.unwrap_or_else(|e| panic!("{}: {e}", target.name()));
            found.iter().for_each(|line| println!("{line}"));
        }
    }
}
