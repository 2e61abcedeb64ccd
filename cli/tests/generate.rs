//! `generate`: text that goes on, in one call or in several.

use crate::common::{Folder, good, refused, signal};
use std::io::Read;
use std::process::Stdio;

#[test]
fn two_calls_with_one_state_are_one_call() {
    let folder = Folder::new("state");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let write = |more: &[&str]| {
        let mut all = vec!["generate", "run", "--seed", "5"];
        all.extend(more);
        good(&folder.nestor(&all))
    };
    for temperature in ["0", "0.8"] {
        let heat = ["--temperature", temperature];
        let whole =
            write(&[&["--prompt", "12 4 ", "--tokens", "30"], &heat[..]].concat());
        let state = format!("text{temperature}.state");
        let kept = ["--state", &state, "--tokens"];
        let one = write(&[&["--prompt", "12 4 "], &kept[..], &["13"], &heat].concat());
        let two = write(&[&kept[..], &["17"], &heat].concat());
        assert!(whole.starts_with("12 4 "), "{whole}");
        assert_eq!(format!("{}{two}", one.trim_end_matches('\n')), whole);
    }
    let report = write(&["--prompt", "12 4 ", "--tokens", "3", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["tokens"].as_array().map(Vec::len), Some(3));
}

#[test]
fn states_that_are_not_of_these_weights_are_refused() {
    let folder = Folder::new("foreign");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let other = folder.train("other", &["--seed", "3"]).output();
    good(&other.expect("the command runs"));
    let kept = ["--tokens", "4", "--state", "text.state"];
    let write = |run: &str, prompt: &str| {
        let mut all = vec!["generate", run, "--prompt", prompt];
        all.extend(kept);
        folder.nestor(&all)
    };
    good(&write("run", "1 2"));
    let error = refused(&write("other", "1 2"), 1);
    assert!(error.contains("text.state was made with other weights"), "{error}");
    let before = std::fs::read(folder.path("text.state")).expect("the state");
    folder.write("text.state", &before[..before.len() / 2]);
    let error = refused(&write("run", "1 2"), 1);
    assert!(error.contains("text.state is damaged"), "{error}");
    std::fs::copy(
        folder.path("run/checkpoint-00000060.safetensors"),
        folder.path("text.state"),
    )
    .expect("a copy");
    let error = refused(&write("run", "1 2"), 1);
    assert!(error.contains("not a state of ours"), "{error}");
    let error = refused(&folder.nestor(&["generate", "run"]), 2);
    assert!(error.contains("the prompt is empty"), "{error}");
}

#[test]
fn an_interrupt_ends_the_text_and_keeps_the_state() {
    let folder = Folder::new("enough");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let arguments = ["generate", "run", "--prompt", "1 2", "--tokens", "100000000"];
    let mut command = folder.command(&arguments);
    command.args(["--state", "text.state"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the command runs");
    let mut out = child.stdout.take().expect("its output");
    // The text comes while it is made.
    out.read_exact(&mut [0; 64]).expect("some text");
    signal("-INT", &child);
    std::io::copy(&mut out, &mut std::io::sink()).expect("the rest");
    assert!(child.wait().expect("it ends").success());
    good(&folder.nestor(&["generate", "run", "--state", "text.state", "--tokens", "2"]));
}

#[test]
fn states_are_forked_merged_and_begun_again() {
    let folder = Folder::new("merge");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let write = |prompt: &str, state: &str, tokens: &str| {
        let words = ["generate", "run", "--prompt", prompt, "--tokens", tokens];
        let kept = ["--temperature", "0", "--state", state];
        good(&folder.nestor(&[&words[..], &kept[..]].concat()))
    };
    let state = |words: &[&str]| folder.nestor(&[&["state", "run"], words].concat());
    let held = |file: &str| {
        let tensors = nestor_runtime::tensor_file::read(&folder.path(file));
        let tensors = tensors.expect("a state").tensors;
        let found = tensors.into_iter().find(|t| t.name.starts_with("state."));
        found.expect("a memory")
    };
    write("12 4 9", "a.state", "0");
    write("7 30 1", "b.state", "0");
    good(&state(&["a.state", "--out", "fork.state"]));
    assert_eq!(write("", "a.state", "9"), write("", "fork.state", "9"));
    write("12 4 9", "c.state", "0");
    good(&state(&["c.state", "b.state", "--out", "both.state"]));
    let values = |file: &str| match held(file).data {
        nestor_runtime::tensor_file::Data::F32(v) => v,
        other => panic!("{other:?}"),
    };
    let (one, two, both) = (values("c.state"), values("b.state"), values("both.state"));
    for ((a, b), mean) in one.iter().zip(&two).zip(&both) {
        assert!(
            (f64::from(*a) / 2.0 + f64::from(*b) / 2.0 - f64::from(*mean)).abs() < 1e-6
        );
    }
    let text = write("", "both.state", "5");
    assert_eq!(text.trim_end().chars().count().min(1), 1, "{text}");
    // The memory of the test starts at zero, and was moved from there.
    let initial = folder.weights("run");
    let initial = initial
        .iter()
        .find(|t| t.name.ends_with("Block.M.W") && !t.name.starts_with("optimiser."));
    let initial = initial.expect("it");
    let memory = initial.name.strip_suffix(".W").expect("a memory's weight");
    let nestor_runtime::tensor_file::Data::F32(initial) = &initial.data else {
        panic!("numbers")
    };
    good(&state(&["c.state", "--reset", memory, "--out", "new.state"]));
    assert_eq!(&values("new.state"), initial);
    assert_ne!(&values("c.state"), initial);
    let error = refused(&state(&["a.state", "b.state", "--out", "no.state"]), 1);
    assert!(error.contains("where as many tokens were read"), "{error}");
    let error = refused(&state(&["c.state", "--reset", "M", "--out", "no.state"]), 2);
    assert!(error.contains(&format!("it has {memory}")), "{error}");
}
