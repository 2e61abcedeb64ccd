//! A value that is not finite stops a run, with its place in the model.

use crate::common::{Folder, good, refused};

/// A model of two layers between embedding and logits, the second of which is given.
fn model(second: &str, rate: &str, clip: &str) -> String {
    format!(
        "\
layer Quiet(d) {{
    in x: [d]
    out x |> Linear(d, d) |> silu
}}
{second}
model Loud(vocab = 256, d = 8) {{
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d) |> Residual(d, Quiet) |> Residual(d, Second)
    logits = x |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step {{ minimize loss over * using {rate} {clip} }}
}}
"
    )
}

fn stopped(folder: &Folder, text: &str) -> String {
    folder.write("loud.nest", text);
    let arguments =
        ["train", "loud.nest", "--data", "text.txt", "--out", "run", "--force"];
    let sizes = ["--steps", "60", "--batch", "2", "--length", "120", "--save-every", "7"];
    refused(&folder.nestor(&[&arguments[..], &sizes].concat()), 1)
}

#[test]
fn the_layer_that_overflows_is_named() {
    let folder = Folder::new("layer");
    let layer =
        "layer Second(d) { in x: [d]  out exp(exp(x |> Linear(d, d) |> silu) * 100) }";
    let error = stopped(&folder, &model(layer, "adamw(lr = 1e-3)", "clip 1"));
    assert!(error.contains("step 1: a value that is not finite"), "{error}");
    assert!(error.contains("the output of `x.Residual_2.Second.Linear`"), "{error}");
    assert!(error.contains("level `pretrain`"), "{error}");
    assert!(error.contains("no step before was good"), "{error}");
}

#[test]
fn the_memory_that_grows_is_named() {
    let folder = Folder::new("memory");
    let layer = "\
memory Growing(d_k, d_v) {
    weight W: [d_k, d_v] = fixed 0
    update(k, v) { W' = 3 * W + outer(k, v) }
    read(q) = q @ W
}
layer Second(d) {
    in x: [d]
    k = x |> Linear(d, d)
    M = Growing(d, d)
    M.write(k, k)
    out M.read(k) |> Linear(d, d)
}";
    let error = stopped(&folder, &model(layer, "adamw(lr = 1e-3)", "clip 1"));
    assert!(error.contains("memory `x.Residual_2.Second.M`"), "{error}");
    assert!(error.contains("level `x.Residual_2.Second.M`"), "{error}");
}

#[test]
fn the_last_good_state_is_kept() {
    let folder = Folder::new("rate");
    let layer = "layer Second(d) { in x: [d]  out exp(x |> Linear(d, d)) }";
    let error = stopped(&folder, &model(layer, "sgd(300)", ""));
    assert!(error.contains("a value that is not finite in the output of"), "{error}");
    let at = error.split("the last good checkpoint is ").nth(1).expect("a checkpoint");
    assert!(folder.path(at.trim()).exists(), "{error}");
    good(&folder.nestor(&["eval", "run"]));
}
