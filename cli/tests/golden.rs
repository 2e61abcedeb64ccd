//! Every golden case through `run`, from the file that holds its inputs and what they must give.

use crate::common::{Folder, good};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Relative error of a tensor in double precision.
const BOUND: f64 = 1e-9;

#[test]
fn run_reproduces_every_golden_case_from_its_own_file() {
    let folder = Folder::new("golden");
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(oracle.join("cases"))
        .expect("the cases")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 52, "only {} cases", cases.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(compared(&folder, &oracle, case));
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..2).map(|_| s.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a thread")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What differs from the file.
fn compared(folder: &Folder, oracle: &Path, case: &Path) -> Vec<String> {
    let name = case.file_stem().expect("a name").to_string_lossy().into_owned();
    let spec = oracle.join(format!("{name}.nest"));
    let out = folder.path(&format!("{name}.safetensors"));
    let text = |p: &Path| p.to_string_lossy().into_owned();
    let (spec, inputs, outputs) = (text(&spec), text(case), text(&out));
    let arguments = ["run", &spec, "Case", "--inputs", &inputs, "--outputs", &outputs];
    good(&folder.nestor(&[&arguments[..], &["--grad", "--dtype", "f64"]].concat()));
    let golden = tensor_file::read(case).expect("the case");
    let found = tensor_file::read(&out).expect("what was put out").tensors;
    let given: Vec<&str> = golden.tensors.iter().map(|t| t.name.as_str()).collect();
    let expected = golden.tensors.iter().filter(|t| {
        let of = t.name.strip_prefix("grad.");
        // What has a gradient is given; the cotangent of an output is given itself.
        t.name == "y"
            || t.name.starts_with("state.")
            || of.is_some_and(|of| of != "y" && given.contains(&of))
    });
    let mut wrong = Vec::new();
    let mut count = 0;
    for expected in expected {
        count += 1;
        let Some(found) = found.iter().find(|t| t.name == expected.name) else {
            wrong.push(format!("{name}: no {}", expected.name));
            continue;
        };
        let error = error(expected, found);
        if found.dims != expected.dims || error.is_nan() || error > BOUND {
            wrong.push(format!(
                "{name}: {} is {error:.1e} off; {:?}, expected {:?}",
                expected.name, found.dims, expected.dims
            ));
        }
    }
    assert!(count >= 3, "{name} expects {count} tensors");
    wrong
}

fn error(expected: &HostTensor, found: &HostTensor) -> f64 {
    let numbers = |t: &HostTensor| -> Vec<f64> {
        match &t.data {
            Data::F64(all) => all.clone(),
            Data::F32(all) => all.iter().map(|&x| f64::from(x)).collect(),
            _ => panic!("{} holds no numbers", t.name),
        }
    };
    let (a, b) = (numbers(expected), numbers(found));
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = a.iter().map(|a| a * a).sum();
    (difference / size.max(1e-300)).sqrt()
}
