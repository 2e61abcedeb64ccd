//! Every message about data, checkpoints and tensors that a user may meet, as it is read:
//! `bad_input.expected` beside this file. `NESTOR_BLESS=1` writes it anew.

use crate::common::{Folder, good, said};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use std::fmt::Write;

/// Says what a command said, with the folder's own path left out.
fn told(folder: &Folder, what: &str, arguments: &[&str], all: &mut String) {
    let output = folder.nestor(arguments);
    let (_, err) = said(&output);
    let real = std::fs::canonicalize(&folder.0).expect("the folder");
    let err = err.replace(&format!("{}/", real.display()), "");
    let status = output.status.code().map_or("killed".into(), |s| s.to_string());
    let _ = writeln!(all, "# {what}\n$ nestor {}", arguments.join(" "));
    let _ = writeln!(all, "{}\nexit {status}\n", err.trim_end());
}

fn tensors(folder: &Folder, name: &str, all: &[HostTensor]) {
    let mut bytes = Vec::new();
    tensor_file::write(&mut bytes, all, &Default::default()).expect("it is written");
    folder.write(name, bytes);
}

fn data(folder: &Folder, all: &mut String) {
    folder.write("empty.txt", "");
    folder.write("short.txt", "hello");
    folder.write("binary.txt", b"fine \xff not");
    folder.write("broken.json", "{\"version\": 1");
    folder.write("other.json", "{\"version\": \"1.0\"}");
    folder.write("nothing.nest", "/// Nothing yet.\n");
    told(folder, "a file without a memory", &["explain", "nothing.nest"], all);
    told(folder, "a name that is not there", &["explain", "tiny.nest", "Tini"], all);
    told(folder, "no name that is near", &["explain", "tiny.nest", "Other"], all);
    std::fs::create_dir(folder.path("folder")).expect("a folder");
    told(folder, "a folder without specs", &["check", "folder"], all);
    told(folder, "a setting of no entry", &["verify", "--set", "d=3"], all);
    let tokenizer = include_str!("tokenizer.json");
    folder.write("tokenizer.json", tokenizer);
    let on = |data: &'static str, more: &[&'static str]| {
        let mut arguments = vec!["train", "tiny.nest", "--data", data, "--out", "x"];
        arguments.extend(more);
        arguments
    };
    let mut one = |what, arguments: &[&str]| told(folder, what, arguments, all);
    one("no file", &on("nowhere.txt", &[]));
    one("an empty file", &on("empty.txt", &[]));
    one("a folder without files", &on("folder", &[]));
    one("less than a sequence", &on("short.txt", &[]));
    one("less than a sequence held out", &on("text.txt", &["--length", "2000"]));
    one("no tokenizer", &on("text.txt", &["--tokenizer", "nowhere.json"]));
    one("not JSON", &on("text.txt", &["--tokenizer", "broken.json"]));
    one("not a tokenizer", &on("text.txt", &["--tokenizer", "other.json"]));
    one("not text", &on("binary.txt", &["--tokenizer", "tokenizer.json"]));
    let few = ["--tokenizer", "tokenizer.json", "--set", "vocab=200", "--length", "20"];
    one("tokens outside the vocabulary", &on("text.txt", &few));
    one(
        "a path below a file",
        &["train", "tiny.nest", "--data", "text.txt", "--out", "text.txt/x"],
    );
    one("no model", &["train", "nowhere.nest"]);
    one("a model's file misspelt", &["explain", "tinny.nest", "Tiny"]);
    one("a model's file without its ending", &["compile", "tiny", "--emit", "levels"]);
    one("a model's file with another ending", &["check", "tiny.txt"]);
    one(
        "a model in no folder",
        &["run", "specs/tiny.nest", "Tiny", "--inputs", "x", "--outputs", "y"],
    );
    one("a model's folder misspelt", &["graph", "flder/../tiny.nest"]);
    one("a folder as a model", &["train", "folder"]);
    // One that is for the command itself is as near.
    one("a command misspelt", &["trian", "tiny.nest"]);
    one("no steps", &on("text.txt", &["--steps", "0"]));
}

fn runs(folder: &Folder, all: &mut String) {
    let long = &["--steps", "14", "--save-every", "7"];
    let run = |out: &str| {
        let mut command =
            folder.command(&["train", "tiny.nest", "--data", "text.txt", "--out", out]);
        command.args(["--batch", "2", "--length", "40"]).args(long);
        good(&command.output().expect("the command runs"));
    };
    run("run");
    let mut one = |what, arguments: &[&str]| told(folder, what, arguments, all);
    one("no run", &["eval", "nowhere"]);
    one("a folder that is no run", &["generate", "folder", "--prompt", "x"]);
    one("nothing to go on from", &["generate", "run"]);
    let again = ["train", "tiny.nest", "--data", "text.txt", "--out", "run"];
    one("a run is there", &again);
    one("other settings", &[&again[..], &["--resume", "--steps", "15"]].concat());
    let last = "run/checkpoint-00000014.safetensors";
    let first = "run/checkpoint-00000007.safetensors";
    std::fs::remove_file(folder.path(first)).expect("it is there");
    let whole = std::fs::read(folder.path(last)).expect("the checkpoint");
    folder.write(last, &whole[..whole.len() / 2]);
    one("a torn checkpoint", &["eval", "run"]);
    let mut flipped = whole.clone();
    let end = flipped.len() - 1;
    flipped[end] ^= 1;
    folder.write(last, flipped);
    one("a damaged checkpoint", &["eval", "run"]);
    tensors(folder, last, &[HostTensor::f32("w", &[1], vec![1.0])]);
    one("a file of something else", &["eval", "run"]);
    std::fs::remove_file(folder.path(last)).expect("it is there");
    one("no checkpoint", &["eval", "run"]);
    folder.write(last, &whole);
    folder.write("tiny.nest", crate::common::MODEL.replace("warmup = 5", "warmup = 6"));
    one("a checkpoint of another model", &["eval", "run"]);
    folder.write("run/run.json", "{");
    one("a damaged run", &["eval", "run"]);
}

fn inputs(folder: &Folder, all: &mut String) {
    folder.write(
        "small.nest",
        "layer Small(d = 4) {\n    in k: [d]\n    in v: [d]\n    in beta: []\n    \
         M = DeltaNet(d, d; beta)\n    M.write(k, v)\n    out M.read(k)\n}\n\
         layer Look(n = 7, d = 4) {\n    in t: int(n)\n    out t |> Embedding(n, d)\n}\n",
    );
    let real = |name: &str, dims: &[usize]| {
        HostTensor::f32(name, dims, vec![0.5; dims.iter().product()])
    };
    let whole = |name: &str, values: &[i64]| HostTensor {
        name: name.into(),
        dims: vec![1, values.len()],
        data: Data::I64(values.to_vec()),
    };
    let good = [real("k", &[1, 3, 4]), real("v", &[1, 3, 4]), real("beta", &[1, 3])];
    let init = real("init.W", &[4, 4]);
    let mut one = |what, entry, given: &[HostTensor]| {
        tensors(folder, "I.safetensors", given);
        let arguments =
            ["run", "small.nest", entry, "--inputs", "I.safetensors", "--outputs", "O"];
        told(folder, what, &arguments, all);
        assert!(!folder.path("O").exists(), "{what} was run");
    };
    let with =
        |extra: &[HostTensor]| [&good[..], std::slice::from_ref(&init), extra].concat();
    one("a name that is not there", "Small", &with(&[real("gamma", &[1, 3])]));
    one(
        "a tensor that is missing",
        "Small",
        &[&good[..2], std::slice::from_ref(&init)].concat(),
    );
    let wide = [real("v", &[1, 3, 5]), good[0].clone(), good[2].clone(), init.clone()];
    one("another shape", "Small", &wide);
    let late = [good[0].clone(), real("v", &[1, 2, 4]), good[2].clone(), init.clone()];
    one("another length", "Small", &late);
    let ints =
        [good[0].clone(), good[1].clone(), whole("beta", &[1, 0, 1]), init.clone()];
    one("whole numbers", "Small", &ints);
    let table = real("Embedding.W", &[7, 4]);
    one("a token too large", "Look", &[whole("t", &[1, 7, 2]), table.clone()]);
    one("a token below zero", "Look", &[whole("t", &[1, 6, -2]), table.clone()]);
    one("no whole number", "Look", &[real("t", &[1, 3]), table]);
    let mut say = |what, inputs: &'static str| {
        let arguments =
            ["run", "small.nest", "Small", "--inputs", inputs, "--outputs", "O"];
        told(folder, what, &arguments, all);
    };
    say("no file of tensors", "nowhere.safetensors");
    folder.write("torn.safetensors", [9, 0, 0, 0, 0, 0, 0, 0, b'{']);
    say("a torn file of tensors", "torn.safetensors");
}

#[test]
fn messages_read_as_written_down() {
    let folder = Folder::new("bad");
    let mut all = String::new();
    data(&folder, &mut all);
    runs(&folder, &mut all);
    inputs(&folder, &mut all);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("tests/bad_input.expected");
    if std::env::var_os("NESTOR_BLESS").is_some() {
        std::fs::write(&path, &all).expect("writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (found, expected) in all.split("\n\n").zip(expected.split("\n\n")) {
        assert_eq!(found, expected);
    }
    assert_eq!(all, expected);
}
