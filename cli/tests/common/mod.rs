//! What tests of the command share: a folder with a small model and a text, and the command in it.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use nestor_runtime::tensor_file::{self, HostTensor};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A model with a memory in every head, small enough for a step in milliseconds.
pub const MODEL: &str = "\
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

/// A memory to draw from, and a layer with it, for sweeps.
pub const CELL: &str = "\
memory Cell(d_k, d_v; alpha, beta) {
    structure matrix(d_k, d_v)
    bias      l2
    retention decay(alpha)
    algorithm sgd(beta)
    gradient  at kept
}
layer Mixer(d, heads = 2) {
    in x: [d]
    h     = d / heads
    q     = x |> Linear(d, [heads, h]) |> l2norm
    k     = x |> Linear(d, [heads, h]) |> l2norm
    v     = x |> Linear(d, [heads, h])
    alpha = x |> Linear(d, [heads], bias = true) |> sigmoid
    beta  = x |> Linear(d, [heads], bias = true) |> sigmoid
    M     = Cell(h, h; alpha, beta)
    M.write(k, v)
    out M.read(q) |> flatten |> Linear(d, d)
}
";

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A folder with `tiny.nest` and `text.txt`.
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("nestor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        let folder = Self(path);
        folder.write("tiny.nest", MODEL);
        let text: String = (0..4000).map(|i| format!("{} ", i * i % 97)).collect();
        folder.write("text.txt", &text);
        folder
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).expect("it is written");
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The command in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
        command.current_dir(&self.0).args(arguments);
        command
    }

    /// The command, run to its end.
    pub fn nestor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command runs")
    }

    /// A run of 60 steps.
    pub fn train(&self, out: &str, more: &[&str]) -> Command {
        let mut command =
            self.command(&["train", "tiny.nest", "--data", "text.txt", "--out", out]);
        command
            .args(["--steps", "60", "--batch", "2", "--length", "40"])
            .args(["--save-every", "7", "--evaluate-every", "20"])
            .args(more);
        command
    }

    /// What such a run ends with.
    pub fn weights(&self, out: &str) -> Vec<HostTensor> {
        let path = self.0.join(out).join("checkpoint-00000060.safetensors");
        tensor_file::read(&path).expect("the last checkpoint").tensors
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was printed.
pub fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Asserts that a command was good; gives what it printed.
pub fn good(output: &Output) -> String {
    let (out, err) = said(output);
    assert!(output.status.success(), "{err}{out}");
    out
}

/// Asserts that a command refused with this status; gives its message.
pub fn refused(output: &Output, status: i32) -> String {
    let (out, err) = said(output);
    assert_eq!(output.status.code(), Some(status), "{err}{out}");
    err
}

/// Sends a signal to a process that the test began.
pub fn signal(name: &str, child: &std::process::Child) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Lines of a file, none where there is no file.
pub fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |t| t.lines().count())
}
