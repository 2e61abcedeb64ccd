//! The command line's contract: what a user sees of each command, `--json`, and exit codes.

use crate::common::{Folder, good, refused};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_command_teaches_with_an_example() {
    let folder = Folder::new("help");
    let help = good(&folder.nestor(&["--help"]));
    let commands = [
        "check", "fmt", "compile", "explain", "verify", "run", "train", "eval",
        "generate", "bench", "tune", "doctor",
    ];
    for command in commands {
        assert!(help.contains(&format!("\n  {command}")), "{command}");
        let own = good(&folder.nestor(&[command, "--help"]));
        let example = own.split("Example").nth(1).unwrap_or_default();
        assert!(example.contains(&format!("nestor {command}")), "{own}");
    }
}

#[test]
fn statuses_tell_whose_fault_it_is() {
    let folder = Folder::new("status");
    folder.write("wrong.nest", "layer Wrong(d = 4) { in x: [d]  out y }\n");
    good(&folder.nestor(&["check", "tiny.nest"]));
    let error = refused(&folder.nestor(&["check", "wrong.nest"]), 1);
    assert!(error.contains("wrong.nest"), "{error}");
    refused(&folder.nestor(&["check", "nowhere.nest"]), 1);
    refused(&folder.nestor(&["check"]), 2);
    refused(&folder.nestor(&["dance"]), 2);
    refused(&folder.nestor(&["train", "tiny.nest", "--set", "d"]), 2);
    refused(&folder.nestor(&["train", "tiny.nest", "--batch", "0"]), 2);
    for command in ["explain", "bench", "verify", "train"] {
        refused(&folder.nestor(&[command, "wrong.nest"]), 1);
    }
    let output = folder.nestor(&["eval", "nowhere", "--json"]);
    let report = json(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(report["status"], 1);
    assert!(
        report["error"].as_str().is_some_and(|e| e.contains("is no run")),
        "{report}"
    );
}

#[test]
fn what_programs_read_is_json() {
    let folder = Folder::new("json");
    let read = |arguments: &[&str]| {
        json(&good(&folder.nestor(&[arguments, &["--json"]].concat())))
    };
    assert!(read(&["check", "tiny.nest"])["diagnostics"].as_array().is_some());
    good(&folder.nestor(&["fmt", "tiny.nest"]));
    let laid = read(&["fmt", "--check", "tiny.nest"]);
    assert!(laid["not_laid_out"].as_array().is_some_and(Vec::is_empty), "{laid}");
    let explained = read(&["explain", "tiny.nest"]);
    assert_eq!(explained["entry"], "Tiny");
    assert_eq!(explained["forms"][0]["form"], "affine");
    assert_eq!(explained["memories"][0]["instances"], 2);
    assert_eq!(explained["memories"][0]["state_bytes"], 4 * 2 * 64);
    let stage = read(&["compile", "tiny.nest", "--emit", "derived"]);
    assert_eq!(stage["stage"], "derived");
    assert!(stage["text"].as_str().is_some_and(|t| t.starts_with("graph {")), "{stage}");
    let made = read(&["compile", "tiny.nest", "--target", "cpu", "-o", "artifact"]);
    assert!(made["kernels"].as_u64().is_some_and(|k| k > 0), "{made}");
    let of = |name: &str| {
        std::fs::read_to_string(folder.path("artifact").join(name))
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let weights = json(&of("layout.json"))["weights"].as_array().map_or(0, Vec::len);
    assert!(weights > 1, "{}", of("layout.json"));
    let from = json(&of("provenance.json"));
    assert_eq!(from["entry"], "Tiny");
    assert_eq!(from["target"], "cpu");
    assert_eq!(from["spec_sha256"].as_str().map(str::len), Some(64));
    assert!(of("kernels.txt").contains("kernel"), "{}", of("kernels.txt"));
    assert!(!of("plan.txt").is_empty() && !of("kernels.clif").is_empty());
    let timed =
        read(&["bench", "tiny.nest", "--batch", "1", "--length", "40", "--repeats", "3"]);
    assert!(timed["tokens_per_second"].as_f64().is_some_and(|r| r > 0.0), "{timed}");
    assert!(timed["launches"].as_array().is_some_and(|l| !l.is_empty()), "{timed}");
    let doctor = read(&["doctor"]);
    assert!(doctor["threads"].as_u64().is_some_and(|t| t > 0), "{doctor}");
    assert!(doctor["vector_functions"].is_boolean(), "{doctor}");
    assert_eq!(doctor["targets"][0], "cpu");
    assert!(doctor["tools"].as_object().is_some_and(|t| t.contains_key("ptxas")));
    let output = folder.train("run", &["--json"]).output().expect("the command runs");
    let trained = json(&good(&output));
    assert_eq!(trained["step"], 60);
    assert_eq!(trained["stopped"], false);
    assert!(read(&["eval", "run"])["bits_per_byte"].as_f64().is_some());
}

#[test]
fn what_people_read_says_what_to_do_next() {
    let folder = Folder::new("people");
    let text = good(&folder.train("run", &[]).output().expect("the command runs"));
    assert!(!text.contains('\x1b') && !text.contains('\r'), "control characters: {text}");
    for part in [
        "Nestor · tiny.nest Tiny · 9444 parameters · cpu",
        "affine, chunks of 32",
        "step 60/60  loss ",
        " bits/byte at step 40 · best ",
        "curve       run/curve.svg",
        "checkpoint  run/checkpoint-00000060.safetensors",
        "next        nestor generate run --prompt",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let explained = good(&folder.nestor(&["explain", "tiny.nest"]));
    for part in [
        "memory ",
        "keeps      W [8, 8]",
        "minimise = ½ Σ (x1 W − x2)²",
        "step = −x3 G(W)",
        "keep = x4 W",
        "answer = q1 W",
        "form      affine, chunk 32; exact",
    ] {
        assert!(explained.contains(part), "{part} is not in\n{explained}");
    }
    let timed = good(&folder.nestor(&["bench", "tiny.nest", "--length", "40"]));
    assert!(timed.contains("a step of training on 8 x 40 tokens"), "{timed}");
    let levels = good(&folder.nestor(&["compile", "tiny.nest", "--emit", "levels"]));
    assert!(levels.contains("level \"pretrain\""), "{levels}");
    let doctor = good(&folder.nestor(&["doctor"]));
    for part in ["threads", "simd", "targets    cpu", "gpu", "LLVM", "ptxas"] {
        assert!(doctor.contains(part), "{part} is not in\n{doctor}");
    }
    let checked = good(&folder.nestor(&["check", "tiny.nest"]));
    assert!(checked.contains("1 checked, nothing wrong"), "{checked}");
    assert!(!checked.contains("not looked into"), "{checked}");
}

#[test]
fn check_says_what_it_did_not_look_into() {
    let folder = Folder::new("unseen");
    let text = r#"
layer Lost(d) {
    in x: [d]
    out nowhere(x)
}
structure plain(d) {
    weight W: [d, d] = 0
    read(q) = q @ W
}
memory Seen(d) {
    structure plain(d)
    bias      l2
    algorithm sgd(1)
}
"#;
    folder.write("lost.nest", text);
    let checked = good(&folder.nestor(&["check", "lost.nest"]));
    assert!(checked.contains("not looked into: Lost;"), "{checked}");
    // Another file may call something else the same.
    folder.write("other.nest", "memory Lost(d; beta) {\n    structure matrix(d, d)\n    bias l2\n    algorithm sgd(beta)\n}\n");
    let both = good(&folder.nestor(&["check", "."]));
    assert!(both.contains("3 checked, nothing wrong"), "{both}");
}

#[test]
fn a_target_that_is_not_there_is_told_which_are() {
    let folder = Folder::new("target");
    let asked = ["compile", "tiny.nest", "--target", "sm_70", "-o", "x"];
    let said = refused(&folder.nestor(&asked), 2);
    let known = "[possible values: cpu, sm_80, sm_86, sm_90a]";
    assert!(said.contains("sm_70") && said.contains(known), "{said}");
}
