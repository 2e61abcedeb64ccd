//! `compile` for a GPU: what it prints and writes, and what it says where it cannot.

use crate::common::{Folder, refused};

#[test]
fn a_stage_of_a_gpu_asks_for_one() {
    let folder = Folder::new("gpu-asks");
    let said = refused(&folder.nestor(&["compile", "tiny.nest", "--emit", "ptx"]), 2);
    assert!(
        said.contains("add `--target sm_80` or `--target sm_86` or `--target sm_90a`"),
        "{said}"
    );
}

#[test]
fn a_device_that_is_not_there_is_said_before_anything_else() {
    let folder = Folder::new("gpu-absent");
    let device = ["--device", "cuda:99"];
    let commands: [&[&str]; 3] = [
        &["train", "tiny.nest", "--data", "text.txt"],
        &["bench", "tiny.nest"],
        &["verify", "tiny.nest", "Block"],
    ];
    for command in commands {
        let said = refused(&folder.nestor(&[command, &device].concat()), 2);
        assert!(said.contains("there is no device `cuda:99`"), "{said}");
    }
    let said = refused(&folder.nestor(&["bench", "tiny.nest", "--device", "tpu"]), 2);
    assert!(said.contains("`cuda:0`"), "{said}");
    assert!(!folder.path("runs").exists(), "nothing was begun");
}

#[test]
fn what_a_caller_keeps_as_bfloat16_is_of_a_gpu() {
    let folder = Folder::new("gpu-bf16");
    let command = ["compile", "tiny.nest", "--bf16", "x", "--emit", "plan"];
    let said = refused(&folder.nestor(&command), 2);
    assert!(said.contains("add `--target sm_90a --products bf16`"), "{said}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_build_without_the_backend_says_how_to_get_it() {
    let folder = Folder::new("gpu-without");
    let command = ["compile", "tiny.nest", "--target", "sm_80", "--emit", "ptx"];
    let said = refused(&folder.nestor(&command), 2);
    assert!(said.contains("--features cuda"), "{said}");
}

#[cfg(feature = "cuda")]
mod with_the_backend {
    use crate::common::{Folder, good, refused};

    const RULE: &str = include_str!("../../tests/oracle/gated_deltanet.nest");

    #[test]
    fn a_caller_may_keep_tensors_as_bfloat16() {
        let folder = Folder::new("gpu-narrow");
        folder.write("rule.nest", RULE);
        let on = ["compile", "rule.nest", "--target", "sm_90a", "--products", "bf16"];
        good(&folder.nestor(&[&on[..], &["--bf16", "q,v,y", "-o", "out"]].concat()));
        let read = |name: &str| std::fs::read_to_string(folder.path("out").join(name));
        let layout: serde_json::Value =
            serde_json::from_str(&read("layout.json").expect("a layout")).expect("json");
        let kept = |side: &str, name: &str| {
            let all = layout[side].as_array().expect("tensors");
            let found = all.iter().find(|t| t["name"] == name);
            found.unwrap_or_else(|| panic!("{name} of {layout}"))["dtype"] == "bf16"
        };
        for name in ["q", "v", "grad.y"] {
            assert!(kept("inputs", name), "{name}");
        }
        for name in ["y", "grad.q", "grad.v"] {
            assert!(kept("outputs", name), "{name}");
        }
        assert!(
            !kept("inputs", "k") && !kept("inputs", "g") && !kept("outputs", "grad.k")
        );
        let header = read("kernels.h").expect("a header");
        assert!(
            header.contains("/* v, bfloat16 */") && header.contains("/* k */"),
            "{header}"
        );
        let said = refused(
            &folder.nestor(&[&on[..], &["--bf16", "q,w", "-o", "x"]].concat()),
            2,
        );
        assert!(
            said.contains("no input or output is called `w`") && said.contains("`beta`"),
            "{said}"
        );
        let exact =
            ["compile", "rule.nest", "--target", "sm_80", "--bf16", "q", "-o", "x"];
        let said = refused(&folder.nestor(&exact), 2);
        assert!(said.contains("add `--products bf16`"), "{said}");
        folder.write(
            "layer.nest",
            "layer Wide(d = 16) {\n    in x: [d]\n    out x |> Linear(d, d)\n}\n",
        );
        let wide = [
            "compile",
            "layer.nest",
            "--target",
            "sm_80",
            "--products",
            "bf16",
            "--bf16",
            "x",
            "-o",
            "x",
        ];
        let said = refused(&folder.nestor(&wide), 2);
        assert!(
            said.contains("`x` cannot be bfloat16: a product of the library takes it"),
            "{said}"
        );
    }

    #[test]
    fn stages_are_printed_for_both_targets() {
        let folder = Folder::new("gpu-stages");
        for target in ["sm_80", "sm_86", "sm_90a"] {
            let command = ["compile", "tiny.nest", "--target", target, "--emit"];
            let ptx = good(&folder.nestor(&[&command[..], &["ptx"]].concat()));
            assert!(ptx.contains(&format!(".target {target}")), "{ptx}");
            assert!(ptx.contains(".visible .entry k0_"), "{ptx}");
            let mlir = good(&folder.nestor(&[&command[..], &["mlir"]].concat()));
            assert!(mlir.contains("llvm.func @k0_"), "{mlir}");
        }
    }

    #[test]
    fn the_artifact_has_what_a_launch_needs() {
        let folder = Folder::new("gpu-artifact");
        let command = ["compile", "tiny.nest", "--target", "sm_90a", "-o", "out"];
        let said = good(&folder.nestor(&command));
        assert!(said.contains("sm_90a"), "{said}");
        let read = |name: &str| {
            let path = folder.path("out").join(name);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        for name in
            ["plan.txt", "kernels.txt", "kernels.mlir", "kernels.ptx", "layout.json"]
        {
            assert!(!read(name).is_empty(), "{name}");
        }
        let about: serde_json::Value =
            serde_json::from_str(&read("provenance.json")).expect("json");
        let kernels = about["kernels"].as_array().expect("kernels");
        let (header, ptx) = (read("kernels.h"), read("kernels.ptx"));
        for kernel in kernels {
            let symbol = kernel["symbol"].as_str().expect("a name");
            assert!(ptx.contains(&format!(".entry {symbol}(")), "{symbol}");
            assert!(header.contains(&format!("{symbol}_grid")), "{symbol}");
        }
        // With an assembler there is machine code, and what it takes.
        let assembled = folder.path("out").join("kernels.cubin").is_file();
        assert_eq!(assembled, !about["ptxas"].is_null());
        assert!(!assembled || kernels.iter().all(|k| k["registers"].as_u64() > Some(0)));
        if !assembled {
            println!("1 check skipped: no ptxas is found");
        }
    }

    #[test]
    fn the_header_is_c_and_its_sizes_are_right() {
        let folder = Folder::new("gpu-header");
        let command = ["compile", "tiny.nest", "--target", "sm_80", "-o", "out"];
        good(&folder.nestor(&command));
        folder.write(
            "sizes.c",
            "#include \"out/kernels.h\"\n#include <stdio.h>\nint main(void) {\n  \
             for (unsigned n = 0; n < nestor_kernel_count; n++) {\n    \
             const nestor_kernel *k = &nestor_kernels[n];\n    \
             if (k->threads % 32 || !k->grid(2, 7, 0)) return 1;\n    \
             for (unsigned b = 0; b < k->buffers; b++) if (!k->buffer_bytes(b, 2, 7, 5)) return 2;\n    \
             k->scratch_bytes(2, 7, 5);\n  }\n  return 0;\n}\n",
        );
        let cc = |arguments: &[&str]| {
            std::process::Command::new("cc")
                .args(arguments)
                .current_dir(folder.path("."))
                .status()
                .expect("a C compiler")
        };
        let built = cc(&["-Wall", "-Wextra", "-Werror", "sizes.c", "-o", "sizes"]);
        assert!(built.success());
        let ran = std::process::Command::new(folder.path("sizes")).status();
        assert_eq!(ran.expect("it runs").code(), Some(0));
    }
}
