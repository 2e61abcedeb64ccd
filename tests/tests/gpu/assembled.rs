//! The assembler of NVIDIA's toolkit takes the kernels of rules of each form for both targets, at a width that people use,
//! and spills nothing. All rules at all widths are the table of the command `gpu_table`. Without an assembler the check is skipped, and
//! says so.

use nestor_compiler::gpu::ptxas::find;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::usage::{Assembling, case, taken};
use nestor_tests::{on_all_cores, root};

/// A rule of each form, and those whose kernels are largest.
const CASES: &[&str] = &["gated_deltanet", "lact_muon", "mlstm", "titans_mlp"];

#[test]
fn the_assembler_takes_rules_of_each_form_and_spills_nothing() {
    let Some(assembler) = find() else {
        println!(
            "1 check skipped: no ptxas in CUDA_HOME, on the search path or in a Python package"
        );
        return;
    };
    let how = Assembling::from(&assembler);
    let all: Vec<(&str, Options)> = CASES
        .iter()
        .flat_map(|case| {
            let brain = Options { target: Target::Sm90a, products: Products::Brain };
            let exact = Options { target: Target::Sm80, products: Products::Float32 };
            [(*case, brain), (*case, exact)]
        })
        .collect();
    let found = on_all_cores(&all, |(name, options)| {
        let path = root().join("tests/oracle").join(format!("{name}.nest"));
        let subject =
            case(&path, Some(64), *options).map_err(|e| format!("{name}: {e}"))?;
        let taken = taken(subject, *options, Some(&how));
        let taken = taken.map_err(|e| format!("{name}: {e}"))?;
        let on_cores = options.products != Products::Float32;
        let target = options.target.name();
        if !taken.without.is_empty() {
            return Err(format!(
                "{name}: not on tensor cores in {}",
                taken.without.join(", ")
            ));
        }
        match (taken.spills, on_cores, taken.on_cores.1) {
            (0, true, Some(0)) => Err(format!("{name}: nothing on tensor cores")),
            (0, ..) => Ok(()),
            (bytes, ..) => Err(format!("{name}, {target}: {bytes} bytes are spilled")),
        }
    });
    let wrong: Vec<String> = found.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
