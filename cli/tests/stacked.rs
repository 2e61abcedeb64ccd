//! Weights that start as another run left them: by their paths, or by a map of paths; and HOPE's example,
//! killed inside a slow window.

use crate::common::{Folder, good, refused};
use nestor_runtime::tensor_file::{Data, HostTensor};

/// A model of two blocks; then its blocks as a continuum, at rates of nothing.
const MODELS: &str = "\
model Base(vocab = 256, d = 16) {
    in tokens: int(vocab)
    E = Embedding(vocab, d)
    last = RMSNorm(d)
    x = tokens |> E
    repeat 2 { x = x + (x |> RMSNorm(d) |> MLP(d, hidden = 24)) }
    logits = x |> last |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-2) clip 1 }
}
layer Block(d) {
    in x: [d]
    out x + (x |> RMSNorm(d) |> MLP(d, hidden = 24))
}
model Stacked(vocab = 256, d = 16) {
    in tokens: int(vocab)
    E = Embedding(vocab, d)
    last = RMSNorm(d)
    fast = Block(d)
    slow = Block(d)
    logits = tokens |> E |> fast |> slow |> last |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using sgd(0) }
    level deep every 8 steps { minimize loss over slow using sgd(0) }
}
";

fn values<'t>(tensors: &'t [HostTensor], name: &str) -> &'t [f32] {
    let found = tensors.iter().find(|t| t.name == name);
    match &found.unwrap_or_else(|| panic!("no `{name}`")).data {
        Data::F32(v) => v,
        other => panic!("{other:?}"),
    }
}

fn bits(said: &str) -> f64 {
    let report: serde_json::Value =
        said.lines().last().and_then(|l| serde_json::from_str(l).ok()).expect("JSON");
    report["validation_bits_per_byte"].as_f64().expect("bits")
}

#[test]
fn a_continuum_starts_as_the_blocks_of_another_run() {
    let folder = Folder::new("stacked");
    folder.write("models.nest", MODELS);
    let train = |model: &str, out: &str, more: &[&str]| {
        let mut command = folder.command(&[
            "train",
            "models.nest",
            model,
            "--data",
            "text.txt",
            "--json",
        ]);
        command.args(["--steps", "20", "--batch", "2", "--length", "40", "--out", out]);
        command.args(more).output().expect("the command runs")
    };
    let base = bits(&good(&train("Base", "base", &[])));
    let maps = [
        "--map",
        "fast.RMSNorm=RMSNorm[0]",
        "--map",
        "fast.MLP=MLP[0]",
        "--map",
        "slow.RMSNorm=RMSNorm[1]",
        "--map",
        "slow.MLP=MLP[1]",
    ];
    let from = [&["--from", "base"][..], &maps].concat();
    let stacked = bits(&good(&train("Stacked", "stacked", &from)));
    // Rates of nothing leave the model that it was made of.
    assert!((stacked - base).abs() < 1e-6, "{stacked} after {base}");
    let tensors = |out: &str| {
        let path = folder.path(out).join("checkpoint-00000020.safetensors");
        nestor_runtime::tensor_file::read(&path).expect("a checkpoint").tensors
    };
    let (base, stacked) = (tensors("base"), tensors("stacked"));
    let of = base.iter().find(|t| t.name.contains("MLP[1]") && t.name.ends_with(".W"));
    let of = of.expect("a weight of the second block");
    let here = stacked.iter().any(|t| t.name.starts_with("slow.") && t.data == of.data);
    assert!(here, "{} is nowhere in slow", of.name);
    assert!(!values(&stacked, "E.W").is_empty());
    let nothing =
        train("Stacked", "none", &["--from", "base", "--map", "fast.MLP=Nobody"]);
    let said = refused(&nothing, 1);
    assert!(said.contains("finds no weight"), "{said}");
}

#[test]
fn the_example_of_hope_killed_inside_a_slow_window_ends_with_the_same_bits() {
    let folder = Folder::new("hope");
    let hope = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hope.nest");
    let train = |out: &str, more: &[&str]| {
        let mut command =
            folder.command(&["train", hope, "--data", "text.txt", "--out", out]);
        command
            .args(["--set", "d=16", "--steps", "70", "--batch", "2", "--length", "40"]);
        command.args(["--save-every", "70", "--evaluate-every", "70"]).args(more);
        good(&command.output().expect("the command runs"))
    };
    train("whole", &[]);
    // The windows of 4, 16 and 64 steps are open after step 37, and after step 67 those of the second round.
    train("parts", &["--until", "37"]);
    train("parts", &["--resume", "--until", "67"]);
    let said = train("parts", &["--resume"]);
    assert!(said.contains("every 4 steps       17 updates"), "{said}");
    let last = |out: &str| {
        let path = folder.path(out).join("checkpoint-00000070.safetensors");
        nestor_runtime::tensor_file::read(&path).expect("a checkpoint").tensors
    };
    assert!(last("whole") == last("parts"), "other bits");
}
