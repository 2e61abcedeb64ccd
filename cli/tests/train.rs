//! The command itself: a run that is killed and resumed ends with the same weights, bit for bit.

use nestor_runtime::tensor_file::{self, HostTensor};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const MODEL: &str = "\
layer Block(d, heads = 2) {
    in x: [d]
    h     = d / heads
    q     = x |> Linear(d, [heads, h]) |> l2norm
    k     = x |> Linear(d, [heads, h]) |> l2norm
    v     = x |> Linear(d, [heads, h])
    alpha = x |> Linear(d, [heads], bias = true) |> sigmoid
    beta  = x |> Linear(d, [heads], bias = true) |> sigmoid
    M     = GatedDelta(h, h; alpha, beta)
    M.write(k, v)
    out M.read(q) |> flatten |> Linear(d, d)
}
model Tiny(vocab = 256, d = 16) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d) |> Residual(d, Block)
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = cosine(1e-2, warmup = 5, floor = 1e-3)) clip 1 }
}
";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("nestor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        std::fs::write(path.join("tiny.nest"), MODEL).expect("the model is written");
        let text: String = (0..4000).map(|i| format!("{} ", i * i % 97)).collect();
        std::fs::write(path.join("text.txt"), text).expect("the text is written");
        Self(path)
    }

    fn train(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
        command
            .current_dir(&self.0)
            .args(["train", "tiny.nest", "--data", "text.txt", "--out", out])
            .args(["--steps", "60", "--batch", "2", "--length", "40"])
            .args(["--save-every", "7", "--evaluate-every", "20"])
            .args(more);
        command
    }

    fn weights(&self, out: &str) -> Vec<HostTensor> {
        let path = self.0.join(out).join("checkpoint-00000060.safetensors");
        tensor_file::read(&path).expect("the last checkpoint").tensors
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn good(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

fn steps(metrics: &Path) -> usize {
    std::fs::read_to_string(metrics).map_or(0, |t| t.lines().count())
}

#[test]
fn a_run_killed_anywhere_and_resumed_ends_with_the_same_bits() {
    let folder = Folder::new("resume");
    good(&folder.train("whole", &[]).output().expect("the command runs"));
    for kill_after in [9, 23, 46] {
        let out = format!("killed{kill_after}");
        let mut child = folder.train(&out, &[]).spawn().expect("the command runs");
        let metrics = folder.0.join(&out).join("metrics.jsonl");
        let began = Instant::now();
        while steps(&metrics) < kill_after && began.elapsed() < Duration::from_secs(60) {
            if child.try_wait().expect("the child is ours").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        let _ = child.wait();
        good(&folder.train(&out, &["--resume"]).output().expect("the command runs"));
        assert_eq!(
            folder.weights("whole"),
            folder.weights(&out),
            "killed at {kill_after}"
        );
    }
}

#[test]
fn what_a_run_left_is_measured_and_written_on_from() {
    let folder = Folder::new("use");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let nestor = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
        command.current_dir(&folder.0).args(arguments).output().expect("it runs")
    };
    let measured = nestor(&["eval", "run", "--json"]);
    good(&measured);
    assert!(String::from_utf8_lossy(&measured.stdout).contains("bits_per_byte"));
    let written = nestor(&["generate", "run", "--prompt", "12 4 ", "--tokens", "20"]);
    good(&written);
    assert!(String::from_utf8_lossy(&written.stdout).starts_with("12 4 "));
    assert!(folder.0.join("run/curve.svg").exists());
    // Another model, another text, and a damaged checkpoint are refused; nothing is lost.
    let again = folder.train("run", &[]).output().expect("the command runs");
    assert_eq!(again.status.code(), Some(1));
    let other = folder.train("run", &["--resume", "--seed", "3"]).output().expect("runs");
    assert_eq!(other.status.code(), Some(1));
    let path = folder.0.join("run/checkpoint-00000060.safetensors");
    let mut bytes = std::fs::read(&path).expect("the checkpoint");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("it is damaged");
    good(&nestor(&["eval", "run"]));
    let missing = nestor(&["train", "tiny.nest", "--data", "nowhere.txt", "--out", "x"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere.txt"));
}
