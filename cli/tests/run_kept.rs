//! `compile -o DIR`, then `run DIR`: the same numbers as from the file, which is not there any more.

use crate::common::{Folder, good, refused};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use std::path::Path;

#[test]
fn a_folder_runs_without_the_file_it_is_from() {
    let folder = Folder::new("run-kept");
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle");
    std::fs::copy(oracle.join("gated_deltanet.nest"), folder.path("case.nest"))
        .expect("a case");
    let inputs = oracle.join("cases/gated_deltanet.safetensors");
    let inputs = inputs.to_string_lossy();
    good(&folder.nestor(&["compile", "case.nest", "Case", "-o", "out"]));
    let files = ["--inputs", &inputs, "--outputs", "a.safetensors", "--grad"];
    good(&folder.nestor(&[&["run", "case.nest", "Case"][..], &files].concat()));
    std::fs::remove_file(folder.path("case.nest")).expect("it goes");
    let files = ["--inputs", &inputs, "--outputs", "b.safetensors"];
    good(&folder.nestor(&[&["run", "out"][..], &files].concat()));
    let read = |name: &str| -> Vec<HostTensor> {
        tensor_file::read(&folder.path(name)).expect("tensors").tensors
    };
    let (a, b) = (read("a.safetensors"), read("b.safetensors"));
    for name in ["y", "state.W", "grad.q", "grad.init.W"] {
        let of = |all: &[HostTensor]| {
            let found = all.iter().find(|t| t.name == name);
            match &found.unwrap_or_else(|| panic!("no {name}")).data {
                Data::F32(v) => v.clone(),
                other => panic!("{name} is {other:?}"),
            }
        };
        let (a, b) = (of(&a), of(&b));
        let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && off < 1e-5, "{name} is {off:.1e} off");
    }
}

#[test]
fn what_is_missing_is_said() {
    let folder = Folder::new("run-kept-missing");
    let said = refused(
        &folder.nestor(&["run", "tiny.nest", "--inputs", "i", "--outputs", "o"]),
        2,
    );
    assert!(said.contains("which memory or layer"), "{said}");
    good(&folder.nestor(&[
        "compile",
        "tiny.nest",
        "Block",
        "--set",
        "d=16",
        "-o",
        "out",
    ]));
    let none: [HostTensor; 0] = [];
    let mut file = std::fs::File::create(folder.path("i.safetensors")).expect("a file");
    tensor_file::write(&mut file, &none, &Default::default()).expect("it is written");
    let files = ["--inputs", "i.safetensors", "--outputs", "o.safetensors"];
    let said = refused(&folder.nestor(&[&["run", "out"][..], &files].concat()), 1);
    assert!(said.contains("lacks `x` [B, T, 16]"), "{said}");
    std::fs::remove_file(folder.path("out").join("kernels.txt")).expect("it goes");
    let said = refused(&folder.nestor(&[&["run", "out"][..], &files].concat()), 1);
    assert!(said.contains("compile FILE NAME -o DIR"), "{said}");
}
