//! Sweeps become files: a combination's text is the file with one choice on every row, and means
//! what a file written by hand means.

use nestor_compiler::predict::predict;
use nestor_compiler::sweep::{Expanded, expand, loaded};
use nestor_compiler::{Program, check};

fn expanded(text: &str) -> Expanded {
    let found = loaded(text);
    assert!(found.found.is_empty(), "{:?}", found.found);
    expand(&found, None).unwrap_or_else(|d| panic!("{d:?}"))
}

fn program(text: &str) -> Program {
    check::program(&loaded(text), None, &[]).unwrap_or_else(|d| panic!("{text}\n{d:?}")).0
}

const MODEL: &str = "
layer Mixer(d, heads = 2) {
    in x: [d]
    h     = d / heads
    k     = x |> Linear(d, [heads, h]) |> l2norm
    alpha = x |> Linear(d, [heads], bias = true) |> sigmoid
    beta  = x |> Linear(d, [heads], bias = true) |> sigmoid
    M     = GatedDelta(h, h; alpha, beta)
    M.write(k, k)
    out M.read(k) |> flatten |> Linear(d, d)
}
model Tiny(vocab = 8, d = 8, inner = Mixer) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d) |> Residual(d, inner)
    logits = x |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-3) }
}
";

#[test]
fn every_combination_has_one_choice_of_every_row() {
    let text = format!(
        "{MODEL}sweep grid over GatedDelta {{ bias in [dot, huber(delta = 0.5)]  // two, of many\n \
         retention in [none, decay(alpha), decay(max(alpha, 0.5))]\n gradient in [at previous, at every 4 tokens] }}"
    );
    let found = expanded(&text);
    assert_eq!(found.combinations.len(), 12);
    assert_eq!(found.axes[1].1, ["none", "decay(alpha)", "decay(max(alpha, 0.5))"]);
    for c in &found.combinations {
        let memory =
            c.text.split("memory GatedDelta").nth(1).expect("the library's, written out");
        let memory = memory.split('}').next().expect("a body");
        assert_eq!(memory.contains("retention"), c.choices[1] != 0, "{memory}");
        assert_eq!(memory.contains("huber(delta = 0.5)"), c.choices[0] == 1, "{memory}");
        assert_eq!(memory.contains("every 4 tokens"), c.choices[2] == 1, "{memory}");
        assert!(!c.text.contains("sweep"));
    }
    let legal = |n: usize| {
        check::program(&loaded(&found.combinations[n].text), None, &[]).is_ok()
    };
    // Without a retention nothing depends on `alpha`, which is learned.
    assert!(!legal(0) && legal(2) && legal(4) && legal(11));
}

#[test]
fn a_combination_is_what_is_written_by_hand() {
    let text = format!("{MODEL}sweep one over GatedDelta {{ bias in [l2, dot] }}");
    let found = expanded(&text);
    let normal = |text: &str| predict(&program(text), 16).expect("it compiles").normal;
    assert_eq!(normal(MODEL), normal(&found.combinations[0].text));
    assert_ne!(normal(MODEL), normal(&found.combinations[1].text));
}

#[test]
fn texts_of_the_same_update_are_one() {
    let text = format!(
        "{MODEL}sweep one over GatedDelta {{ bias in [dot] gradient in [at previous, at kept]
         algorithm in [sgd(beta), sgd(eta = beta)] }}"
    );
    let normals: Vec<String> = expanded(&text)
        .combinations
        .iter()
        .map(|c| predict(&program(&c.text), 16).expect("it compiles").normal)
        .collect();
    assert!(normals.iter().all(|n| *n == normals[0]), "{normals:?}");
}

#[test]
fn parameters_and_what_is_built_of_a_swept_definition_are_swept() {
    let text = format!(
        "{MODEL}sweep sizes over Tiny {{ d in [8, 16] inner in [Mixer, SelfAttention] }}"
    );
    let found = expanded(&text);
    let size = |n: usize| {
        predict(&program(&found.combinations[n].text), 16)
            .expect("it compiles")
            .parameters
    };
    assert!(size(2) > size(0) && size(3) > size(1));
    assert_eq!(program(&found.combinations[1].text).name, "Tiny");
    // `TitansLMM` of the library is made of `Titans`: sweeping that must reach it.
    let text = MODEL.replace("inner = Mixer", "inner = TitansLMM")
        + "sweep t over Titans { bias in [l2, dot] }";
    let found = expanded(&text);
    let normal = |n: usize| {
        predict(&program(&found.combinations[n].text), 16).expect("it compiles").normal
    };
    assert_ne!(normal(0), normal(1));
}

#[test]
fn costs_are_counted() {
    let text = "model Plain(vocab = 8, d = 8) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d) |> Linear(d, 32) |> Linear(32, d)
    logits = x |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-3) }
}";
    let found = predict(&program(text), 16).expect("it compiles");
    let products = 2.0 * (8.0 * 32.0 + 32.0 * 8.0 + 8.0 * 8.0);
    assert!(
        found.flops >= products && found.flops < products + 20.0 * 8.0,
        "{}",
        found.flops
    );
    assert_eq!((found.state_bytes, found.forms.len()), (0, 0));
    let with = predict(&program(MODEL), 16).expect("it compiles");
    assert_eq!(with.state_bytes, 2 * 4 * 4 * 4);
    assert_eq!(with.forms, ["affine"]);
}
