//! Levels at clocks of several steps: what they say, how they start again, and that a run that is
//! killed inside a slow window ends with the same bits.

use crate::common::{Folder, good, lines, refused};
use nestor_runtime::tensor_file::{Data, HostTensor};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Blocks of their own levels; `levels` stands where the model says who learns what.
fn model(levels: &str) -> String {
    format!(
        "\
model Tiny(vocab = 256, d = 16) {{
    in tokens: int(vocab)
    slow = MLP(d)
    fast = MLP(d) from slow
    x = tokens |> Embedding(vocab, d)
    x = x + fast(rmsnorm(x, 1e-6))
    x = x + slow(rmsnorm(x, 1e-6))
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    {levels}
}}
"
    )
}

const EACH: &str = "adamw(lr = cosine(1e-2, warmup = 5, floor = 1e-3))";

fn of<'t>(tensors: &'t [HostTensor], name: &str) -> &'t [f32] {
    let found = tensors.iter().find(|t| t.name == name);
    match &found.unwrap_or_else(|| panic!("no `{name}`")).data {
        Data::F32(v) => v,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_killed_inside_a_slow_window_ends_with_the_same_bits() {
    let folder = Folder::new("window");
    let text = model(
        "level pretrain every 1 step   { minimize loss over *    using adamw(lr = 1e-2) clip 1 }
    level mid      every 4 steps  { minimize loss over fast using momentum(beta = 0.9, eta = 0.05) }
    level deep     every 16 steps { minimize loss over slow using m3(f = 2; lr = 1e-3) clip 1 }",
    );
    folder.write("tiny.nest", text);
    let said = good(&folder.train("whole", &[]).output().expect("the command runs"));
    // 60 steps: the slowest level acted at 16, 32 and 48, its last window stays open.
    for line in ["every step          60 updates", "every 4 steps       15 updates"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("every 16 steps       3 updates"), "{said}");
    let whole = folder.weights("whole");
    assert!(of(&whole, "window.slow.Linear.W").iter().any(|x| *x != 0.0));
    assert!(of(&whole, "window.fast.Linear.W").iter().all(|x| *x == 0.0));
    // Checkpoints come every seven steps, inside windows of both slower levels.
    for stop in [10, 21, 40] {
        let out = format!("killed{stop}");
        let mut command = folder.train(&out, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the command runs");
        let began = Instant::now();
        while lines(&folder.path(&out).join("metrics.jsonl")) < stop {
            assert!(began.elapsed() < Duration::from_secs(120), "no step was taken");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        good(&folder.train(&out, &["--resume"]).output().expect("the command runs"));
        assert!(whole == folder.weights(&out), "killed after {stop} steps");
        let levels = |out: &str| {
            let path = folder.path(out).join("metrics.jsonl");
            let text = std::fs::read_to_string(path).expect("the record");
            let line = |l: &str| {
                let line: serde_json::Value = serde_json::from_str(l).expect("JSON");
                line["levels"].clone()
            };
            text.lines().map(line).collect::<Vec<_>>()
        };
        assert_eq!(levels("whole"), levels(&out));
    }
    let report = std::fs::read_to_string(folder.path("whole/metrics.jsonl"));
    let report = report.expect("the record");
    let line = report.lines().nth(15).expect("step 16");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let names: Vec<&str> = line["levels"]
        .as_array()
        .expect("levels")
        .iter()
        .filter_map(|l| l["name"].as_str())
        .collect();
    assert_eq!(names, ["pretrain", "mid", "deep"]);
    assert_eq!(line["levels"][1]["updates"], 4);
}

#[test]
fn levels_of_one_step_are_ordinary_training_to_the_bit() {
    let folder = Folder::new("ordinary");
    folder.write(
        "tiny.nest",
        model(&format!("level all every 1 step {{ minimize loss over * using {EACH} }}")),
    );
    good(&folder.train("one", &[]).output().expect("the command runs"));
    folder.write(
        "tiny.nest",
        model(&format!(
            "level fast every 1 step {{ minimize loss over fast using {EACH} }}
    level slow every 1 steps {{ minimize loss over slow using {EACH} }}
    level rest every 1 step {{ minimize loss over * using {EACH} }}"
        )),
    );
    good(&folder.train("three", &[]).output().expect("the command runs"));
    let sorted = |out: &str| {
        let mut all = folder.weights(out);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    };
    let (one, three) = (sorted("one"), sorted("three"));
    assert!(one == three, "the weights differ");
}

#[test]
fn a_level_that_starts_again_starts_from_what_it_says() {
    let folder = Folder::new("again");
    let levels = |reset: &str| {
        model(&format!(
            "level rest every 1 step {{ minimize loss over * using {EACH} }}
    level fast every 2 steps {reset} {{ minimize loss over fast using {EACH} }}"
        ))
    };
    folder.write("tiny.nest", levels("reset every 20 steps"));
    good(&folder.train("again", &[]).output().expect("the command runs"));
    let again = folder.weights("again");
    // Step 60 ends such a time: the faster block is what the slower one is now.
    for tail in ["Linear.W", "Linear_2.W"] {
        let (fast, slow) = (format!("fast.{tail}"), format!("slow.{tail}"));
        assert_eq!(of(&again, &fast), of(&again, &slow));
        let state = of(&again, &format!("optimiser.m.{fast}"));
        assert!(state.iter().all(|x| *x == 0.0));
    }
    folder.write("tiny.nest", levels(""));
    let whole = good(&folder.train("whole", &[]).output().expect("the command runs"));
    assert!(whole.contains("every 2 steps       30 updates"), "{whole}");
    let whole = folder.weights("whole");
    assert_ne!(of(&whole, "fast.Linear.W"), of(&whole, "slow.Linear.W"));
    folder.write("tiny.nest", levels("reset every 20 tokens"));
    let error = refused(&folder.train("no", &[]).output().expect("it runs"), 1);
    assert!(error.contains("starts again at a clock of steps"), "{error}");
    folder.write("tiny.nest", levels("reset every 5 steps"));
    let error = refused(&folder.train("no", &[]).output().expect("it runs"), 1);
    assert!(error.contains("neither clock divides the other"), "{error}");
}

#[test]
fn levels_that_are_online_go_on_learning_from_what_is_measured() {
    let folder = Folder::new("online");
    let levels = |online: &str| {
        model(&format!(
            "level rest every 1 step {{ minimize loss over * using {EACH} }}
    level deep every 4 steps {online} {{ minimize loss over slow using adamw(lr = 1e-2) }}"
        ))
    };
    folder.write("tiny.nest", levels("online"));
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let eval = |more: &[&str]| {
        let all: Vec<&str> =
            ["eval", "run", "--json"].iter().chain(more).copied().collect();
        let said = good(&folder.nestor(&all));
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let loss = |report: &serde_json::Value| report["loss"].as_f64().expect("a loss");
    let still = loss(&eval(&[]));
    let first = eval(&["--adapt", "--state", "deep.state"]);
    assert!(loss(&first) < still, "{first} is no better than {still}");
    // What was learned is kept, in one file, and nowhere else.
    assert_eq!(loss(&eval(&[])), still);
    assert_eq!(loss(&eval(&["--adapt"])), loss(&first));
    let second = eval(&["--adapt", "--state", "deep.state"]);
    assert!(loss(&second) < loss(&first), "{second} after {first}");
    assert_eq!(second["steps"][0], first["steps"][1]);
    let before = folder.weights("run");
    let after = nestor_runtime::tensor_file::read(&folder.path("deep.state"));
    let after = after.expect("the state").tensors;
    assert_eq!(of(&before, "fast.Linear.W"), of(&after, "fast.Linear.W"));
    assert_ne!(of(&before, "slow.Linear.W"), of(&after, "slow.Linear.W"));
    folder.write("tiny.nest", levels(""));
    good(&folder.train("run", &["--force"]).output().expect("the command runs"));
    let error = refused(&folder.nestor(&["eval", "run", "--adapt"]), 2);
    assert!(error.contains("write `online` behind the clock of one"), "{error}");
}

#[test]
fn levels_that_are_online_learn_from_what_is_written() {
    let folder = Folder::new("writes");
    let text = model(
        "level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-2) clip 1 }
    level deep every 2 steps online { minimize loss over slow using sgd(0.5) }",
    );
    folder.write("tiny.nest", text);
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let write = |more: &[&str]| {
        let all = ["generate", "run", "--seed", "5", "--temperature", "1"];
        good(&folder.nestor(&[&all[..], more].concat()))
    };
    let begin = ["--prompt", "12 4 9 16 25 36 49 64 81 3"];
    let still = write(&[&begin[..], &["--tokens", "240"]].concat());
    let whole = write(&[&begin[..], &["--tokens", "240", "--adapt"]].concat());
    assert_ne!(still, whole, "nothing was learned");
    // Cut inside a window of tokens and inside one of steps.
    let kept = ["--adapt", "--state", "text.state", "--tokens"];
    let one = write(&[&begin[..], &kept, &["117"]].concat());
    let two = write(&[&kept[..], &["123"]].concat());
    assert_eq!(format!("{}{two}", one.trim_end_matches('\n')), whole);
    let error = refused(&folder.nestor(&["generate", "run", "--state", "text.state"]), 2);
    assert!(error.contains("go on with `--adapt`"), "{error}");
}
