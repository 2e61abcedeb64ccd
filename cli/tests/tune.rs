//! `tune` and `--tuned`: what is measured is kept, used where it is asked for, and changes nothing but the order of operations.

use crate::common::{Folder, good, refused, said, signal};
use nestor_runtime::tensor_file::{self, Data, HostTensor};
use serde_json::{Value, json};
use std::time::Duration;

/// A memory in a layer, small enough for a search in seconds.
const LAYER: &str = "\
layer Small(d = 8) {
    in k, v: [d]
    in beta: []
    M = DeltaNet(d, d; sigmoid(beta))
    M.write(k |> l2norm, v)
    out y = M.read(k)
}
layer Plain(d = 8) {
    in x: [d]
    out x |> Linear(d, d)
}
";

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("small.nest", LAYER);
    folder
}

fn read(folder: &Folder, file: &str) -> Value {
    let text = std::fs::read_to_string(folder.path(file)).expect("the file is there");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn tune(folder: &Folder, name: &str, more: &[&str]) -> Value {
    let arguments =
        ["tune", "small.nest", name, "--length", "48", "--out", "t.json", "--json"];
    let out = good(&folder.nestor(&[&arguments[..], more].concat()));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

/// Writes the file with another choice in it, of whatever precision.
fn forced(folder: &Folder, form: &str, chunk: usize, precision: &str) {
    let mut file = read(folder, "t.json");
    let machine = file["entries"][0]["machine"].as_str().expect("its machine");
    file["entries"][0]["machine"] = json!(machine.replace("float32", precision));
    file["entries"][0]["best"]["form"] = json!(form);
    file["entries"][0]["best"]["chunk"] = json!(chunk);
    folder.write("t.json", file.to_string());
}

fn inputs(folder: &Folder, length: usize) {
    let of = |name: &str, dims: &[usize], by: usize| {
        let count = dims.iter().product::<usize>();
        let all = (0..count).map(|i| ((i * by) % 23) as f32 / 11.0 - 1.0).collect();
        HostTensor::f32(name, dims, all)
    };
    let all = [
        of("k", &[2, length, 8], 7),
        of("v", &[2, length, 8], 5),
        of("beta", &[2, length], 3),
        of("init.W", &[8, 8], 2),
    ];
    let mut bytes = Vec::new();
    tensor_file::write(&mut bytes, &all, &Default::default()).expect("it is written");
    folder.write("I.safetensors", bytes);
}

/// What a run says of forms, and its outputs.
fn run(folder: &Folder, more: &[&str]) -> (String, Vec<HostTensor>) {
    let arguments = [
        "run",
        "small.nest",
        "Small",
        "--inputs",
        "I.safetensors",
        "--outputs",
        "O.safetensors",
    ];
    let output = folder.nestor(&[&arguments[..], more].concat());
    good(&output);
    let found = tensor_file::read(&folder.path("O.safetensors")).expect("its outputs");
    (said(&output).1, found.tensors)
}

fn distance(a: &[HostTensor], b: &[HostTensor]) -> f64 {
    let of = |t: &HostTensor| match &t.data {
        Data::F64(v) => v.clone(),
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        other => panic!("{other:?}"),
    };
    assert_eq!(a.len(), b.len());
    let mut worst = 0.0_f64;
    for one in a {
        let other = b.iter().find(|t| t.name == one.name).expect("the same outputs");
        let (x, y) = (of(one), of(other));
        let off: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum();
        let size: f64 = y.iter().map(|y| y * y).sum();
        worst = worst.max((off / size.max(1e-300)).sqrt());
    }
    worst
}

#[test]
fn what_is_measured_is_kept_and_neither_length_nor_batch_is_in_it() {
    let folder = folder("tune-kept");
    let first = tune(&folder, "Small", &[]);
    assert_eq!(first["unfinished"], 0, "{first}");
    let walk = &first["walks"][0];
    assert_eq!(walk["costs"]["form"], "affine");
    assert!(walk["gain"].as_f64().is_some_and(|g| g >= 1.0), "{walk}");
    let tried = walk["tried"].as_array().expect("candidates");
    // Two forms by four chunks but what costs choose; each was measured, or does not apply.
    assert_eq!(tried.len(), 7);
    assert!(tried.iter().all(|t| t["ratios"].as_array().is_some_and(|r| !r.is_empty())));
    let of = |form: &str| tried.iter().filter(|t| t["form"] == form).collect::<Vec<_>>();
    assert!(of("sequential").iter().all(|t| t["ratios"][0].is_number()));
    assert_eq!([of("dual").len(), of("rowwise").len()], [0, 0]);
    let again = tune(&folder, "Small", &["--batch", "3"]);
    assert_eq!(again["walks"], first["walks"]);
    let length = ["tune", "small.nest", "Small", "--length", "99", "--out", "t.json"];
    assert!(good(&folder.nestor(&length)).contains("`--force` measures again"));
    // Another size is another walk.
    let wide = tune(&folder, "Small", &["--set", "d=16"]);
    assert_ne!(wide["walks"][0]["walk"], first["walks"][0]["walk"]);
    assert_eq!(read(&folder, "t.json")["entries"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_is_chosen_changes_nothing_but_digits() {
    let folder = folder("tune-used");
    // A budget that is over at once measures nothing, and says so.
    assert_eq!(tune(&folder, "Small", &["--budget", "0s"])["unfinished"], 1);
    assert!(!folder.path("t.json").exists());
    tune(&folder, "Small", &[]);
    inputs(&folder, 53);
    let (_, definition) = run(&folder, &["--form", "definition", "--dtype", "f64"]);
    let known = read(&folder, "t.json");
    for (form, chunk) in
        [("affine", 16), ("affine", 64), ("rowwise", 16), ("sequential", 128)]
    {
        folder.write("t.json", known.to_string());
        forced(&folder, form, chunk, "float64");
        let (text, found) = run(&folder, &["--dtype", "f64", "--tuned=t.json"]);
        assert!(text.contains(&format!("{form}, chunks of {chunk}, tuned")), "{text}");
        let off = distance(&found, &definition);
        assert!(off < 1e-9, "{form} by {chunk} is off by {off:e}");
        // It is of another precision, and nobody asked for it.
        for other in [&["--tuned=t.json"][..], &["--dtype", "f64"]] {
            assert!(!run(&folder, other).0.contains("tuned"));
        }
    }
    // What does not apply is left to costs, and what was asked for comes first.
    folder.write("t.json", known.to_string());
    forced(&folder, "dual", 32, "float32");
    let (text, _) = run(&folder, &["--tuned=t.json"]);
    assert!(text.contains("affine, chunks of 32") && !text.contains("tuned"), "{text}");
    folder.write("t.json", known.to_string());
    forced(&folder, "sequential", 64, "float32");
    let (text, _) = run(&folder, &["--tuned=t.json", "--form", "affine"]);
    assert!(text.contains("affine") && !text.contains("tuned"), "{text}");
    let explained =
        good(&folder.nestor(&["explain", "small.nest", "Small", "--tuned=t.json"]));
    assert!(explained.contains("sequential, chunk 64"), "{explained}");
    assert!(explained.contains("as fast as affine, chunk 32"), "{explained}");
}

#[test]
fn a_file_that_is_no_good_is_told_once_and_stops_nobody() {
    let folder = folder("tune-file");
    inputs(&folder, 20);
    let (_, plain) = run(&folder, &[]);
    let entry = json!({ "walk": "0", "machine": "m", "named": "w", "program": "p", "measured": "2026-01-01",
        "compiler": "0", "tried": [], "gain": 1.0,
        "costs": { "form": "affine", "chunk": 32, "predicted": null, "seconds": null, "ratios": [] },
        "best": { "walk": "0", "form": "affine", "chunk": 0 } });
    let whole = |version: usize, entries: Value| {
        json!({ "format": "nestor tuned", "version": version, "entries": entries })
            .to_string()
    };
    for (text, what) in [
        (Some("{".to_owned()), "is damaged"),
        (Some("{\"version\": 1}".to_owned()), "holds no tuned choices"),
        (Some(whole(9, json!([]))), "is of version 9; this command reads version 1"),
        (Some(whole(1, json!([{ "walk": 1 }]))), "is damaged"),
        (Some(whole(1, json!([entry]))), "no form `affine` by chunks of 0"),
        (None, "there is no x.json"),
    ] {
        match &text {
            Some(text) => folder.write("x.json", text),
            None => std::fs::remove_file(folder.path("x.json")).expect("it goes"),
        }
        let (err, found) = run(&folder, &["--tuned=x.json"]);
        assert_eq!(err.matches(what).count(), 1, "{err}");
        assert!(err.contains("costs choose"), "{err}");
        assert_eq!(found, plain);
        if text.is_some() {
            assert!(err.contains("x.json") && err.contains("help: remove it"), "{err}");
            let arguments = ["tune", "small.nest", "Small", "--out", "x.json"];
            assert!(refused(&folder.nestor(&arguments), 1).contains(what));
        }
    }
    // A folder that cannot be made, for root too.
    let arguments = ["tune", "small.nest", "Small", "--out", "text.txt/x.json"];
    let error = refused(&folder.nestor(&arguments), 1);
    assert!(
        error.contains("cannot write text.txt/x.json") && error.contains("--out"),
        "{error}"
    );
    // Where it lies by itself.
    let mut command = folder.command(&["doctor", "--json"]);
    command.env("NESTOR_CACHE", folder.path("cache"));
    let out = good(&command.output().expect("it runs"));
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(
        report["tuned"]["path"].as_str().is_some_and(|p| p.ends_with("cache/tuned.json"))
    );
    assert_eq!(report["tuned"]["walks"], Value::Null);
}

#[test]
fn what_cannot_be_tuned_says_why() {
    let folder = folder("tune-nothing");
    let error =
        refused(&folder.nestor(&["tune", "small.nest", "Plain", "--out", "t.json"]), 1);
    assert!(error.contains("nothing to tune"), "{error}");
    let error =
        refused(&folder.nestor(&["tune", "small.nest", "Smal", "--out", "t.json"]), 1);
    assert!(error.contains("Small"), "{error}");
    assert!(!folder.path("t.json").exists());
    refused(&folder.nestor(&["tune", "small.nest", "--budget", "soon"]), 2);
}

#[test]
fn a_search_that_was_killed_goes_on() {
    let folder = folder("tune-killed");
    let arguments = ["tune", "small.nest", "Small", "--length", "48", "--out", "t.json"];
    let mut child = folder
        .command(&arguments)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while !folder.path("t.json").exists() {
        assert!(child.try_wait().expect("it is there").is_none(), "it measured nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal("-KILL", &child);
    child.wait().expect("it ends");
    let before = read(&folder, "t.json")["entries"][0].clone();
    let after = tune(&folder, "Small", &[])["walks"][0].clone();
    let ratios = |of: &Value, n: usize| of["tried"][n]["ratios"].as_array().cloned();
    let mut kept = 0;
    for n in 0..11 {
        let (then, now) = (ratios(&before, n).unwrap_or_default(), ratios(&after, n));
        let now = now.unwrap_or_default();
        assert_eq!(now[..then.len()], then[..]);
        kept += then.len();
    }
    assert!(kept > 0 && after["best"].is_object(), "{after}");
}

#[test]
fn a_run_keeps_to_what_it_began_with() {
    let folder = folder("tune-run");
    let arguments = [
        "tune",
        "tiny.nest",
        "--batch",
        "2",
        "--length",
        "40",
        "--out",
        "t.json",
        "--json",
    ];
    good(&folder.nestor(&arguments));
    forced(&folder, "affine", 16, "float32");
    let text =
        good(&folder.train("whole", &["--tuned=t.json"]).output().expect("it runs"));
    assert!(text.contains("affine, chunks of 16, tuned"), "{text}");
    good(
        &folder
            .train("cut", &["--tuned=t.json", "--until", "20"])
            .output()
            .expect("it runs"),
    );
    forced(&folder, "sequential", 64, "float32");
    let text = good(
        &folder.train("cut", &["--tuned=t.json", "--resume"]).output().expect("it runs"),
    );
    assert!(text.contains("affine, chunks of 16, tuned"), "{text}");
    assert_eq!(folder.weights("cut"), folder.weights("whole"));
    // Without what it was measured from, too; what evaluates and writes takes what the run has.
    std::fs::remove_file(folder.path("t.json")).expect("it goes");
    good(&folder.train("cut", &["--resume"]).output().expect("it runs"));
    good(&folder.nestor(&["eval", "cut"]));
    good(&folder.nestor(&["generate", "cut", "--prompt", "1 ", "--tokens", "3"]));
    // A run that began without goes on without.
    good(&folder.train("plain", &["--until", "20"]).output().expect("it runs"));
    let output = folder.train("plain", &["--tuned=t.json", "--resume"]).output();
    let output = output.expect("it runs");
    assert!(!good(&output).contains("tuned"));
    assert!(said(&output).1.contains("began without `--tuned`"));
}
