//! `nestor verify` without a file: every definition of the library, in every form, as machine code
//! in both precisions, is the same thing as its derived walk, and that as its definition.

use serde_json::Value;
use std::process::Command;

/// Programs that are not supported yet, with the code that says so. The list only shrinks.
const LIMITED: &[(&str, &str)] = &[];

fn verify(arguments: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_nestor"))
        .args(["--json", "verify"])
        .args(arguments)
        .output()
        .expect("the command runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let found = serde_json::from_str(&text);
    (output.status.success(), found.unwrap_or_else(|e| panic!("{e}: {text}")))
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_whole_library_is_the_same_in_every_form() {
    let (good, found) = verify(&[]);
    let programs = list(&found, "programs");
    let bad: Vec<&Value> = programs.iter().filter(|p| p["good"] != true).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(good && found["good"] == true);
    assert!(programs.len() >= 70, "only {} programs", programs.len());
    let mut limited: Vec<(&str, &str)> = Vec::new();
    for program in programs {
        for why in list(program, "limitations") {
            let why = why.as_str().expect("text").trim_start_matches('(');
            let code = why.split([':', ')']).next().expect("a code");
            limited.push((program["name"].as_str().expect("text"), code));
        }
    }
    limited.sort_unstable();
    assert_eq!(limited, LIMITED);
}

#[test]
fn a_rule_that_takes_raw_gates_is_given_inputs_it_is_made_for() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle");
    // Positive weights, a pole at negative rates, a layer norm of small weights, a switch, growth.
    for name in ["kl_entropy", "longhorn", "ttt_mlp", "yaad", "titans_mlp_exact"] {
        let file = folder.join(format!("{name}.nest"));
        let (good, found) = verify(&[file.to_str().expect("text")]);
        assert!(good, "{found:#}");
        assert!(!list(&found["programs"][0], "forms").is_empty(), "{found:#}");
    }
}

#[test]
fn a_file_of_the_library_is_a_file_like_others() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_nestor"))
        .current_dir(root)
        .args(["verify", "stdlib/memory/gated_delta.nest"])
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("GatedDelta"), "{output:?}");
    assert!(output.stderr.is_empty(), "it hides nothing: {output:?}");
}

#[test]
fn a_smooth_norm_between_one_and_two_has_the_slopes_of_its_differences() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/own/smooth.nest");
    let (good, found) = verify(&[file, "Smooth"]);
    assert!(good, "{found:#}");
    let slope = found["programs"][0]["slope"].as_f64().expect("a distance");
    assert!(slope < 1e-6, "{found:#}");
}

#[test]
fn whole_models_are_held_against_their_definition() {
    let file =
        |name: &str| format!("{}/../examples/{name}.nest", env!("CARGO_MANIFEST_DIR"));
    for (name, width) in [("transformer", "16"), ("titans", "16"), ("hope_tokens", "4")] {
        let width = format!("d={width}");
        let (good, found) = verify(&[&file(name), "--set", &width]);
        assert!(good, "{found:#}");
        let off = found["programs"][0]["definition"].as_f64();
        assert!(off.is_some_and(|off| off < 1e-8), "{found:#}");
    }
}

#[test]
fn a_definition_that_would_take_hours_is_said_to_be_left_out() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracle/titans_mlp.nest");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_nestor"))
        .current_dir(root)
        .args(["verify", file, "--set", "d_k=64", "--set", "d_v=64", "--set", "heads=1"])
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("not held against the definition"),
        "{output:?}"
    );
}
