//! `graph`: six levels as text, as data, and as pictures that hold all of them in the page; memories of one layer that
//! nothing tells apart as one.

use crate::common::{Folder, good};

const SIX: &str = "\
layer Block(d) {
    in x: [d]
    M = DeltaNet(d, d; sigmoid(sum(x |> Linear(d, 1))))
    M.write(x |> Linear(d, d) |> l2norm, x |> Linear(d, d))
    out M.read(x |> Linear(d, d) |> l2norm)
}
model Six(vocab = 256, d = 16, depth = 3) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d)
    repeat depth { x = x |> HOPE(d, mixer = Block, continuum = NestedCMS) }
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level slower   every 512 steps online { minimize loss over NestedCMS.slower using sgd(0.1) }
    level pretrain every 1 step   { minimize loss over * using adamw(lr = 1e-3) }
    level fast     every 2 steps reset every 8 steps { minimize loss over NestedCMS.fast using sgd(0.1) }
    level mid      every 8 steps  { minimize loss over NestedCMS.mid using momentum(beta = 0.9, eta = 0.1) }
    level slow     every 64 steps { minimize loss over NestedCMS.slow using sgd(0.1) }
}
";

#[test]
fn six_levels_are_said_and_drawn() {
    let folder = Folder::new("graph");
    folder.write("six.nest", SIX);
    let said = good(&folder.nestor(&["graph", "six.nest"]));
    let clocks: Vec<&str> = said
        .lines()
        .filter(|l| l.trim_start().starts_with("every "))
        .map(|l| l.get(2..18).unwrap_or(l).trim())
        .collect();
    let rows = [
        "every token",
        "every step",
        "every 2 steps",
        "every 8 steps",
        "every 64 steps",
        "every 512 steps",
    ];
    assert_eq!(clocks, rows, "{said}");
    assert!(said.contains("HOPE.Residual.Block.M × 3"), "{said}");
    assert!(said.contains("whole weights → fast"), "{said}");
    assert!(said.contains("initial state") || said.contains("values →"), "{said}");

    let report = good(&folder.nestor(&["graph", "six.nest", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let levels = report["levels"].as_array().expect("levels");
    assert_eq!(levels.len(), 6);
    // Four blocks of two matrices 16 by 64 in each of three places.
    assert_eq!(levels[2]["name"], "fast");
    assert_eq!(levels[2]["holds"], 3 * 2 * 16 * 64);
    // A level of several steps keeps its window's sum; momentum keeps as much again.
    assert_eq!(levels[2]["states"], 3 * 2 * 16 * 64);
    assert_eq!(levels[3]["states"], 2 * 3 * 2 * 16 * 64);
    assert_eq!(levels[5]["online"], true);

    good(&folder.nestor(&["graph", "six.nest", "--svg", "six.svg", "--dot", "six.dot"]));
    let svg = std::fs::read_to_string(folder.path("six.svg")).expect("the picture");
    assert_eq!(svg.matches("<rect").count(), 1 + 6, "a page and six levels");
    let number = |text: &str, key: &str| -> f64 {
        let from = text.find(&format!("{key}=\"")).expect("the key") + key.len() + 2;
        let to = text[from..].find('"').expect("its end") + from;
        text[from..to].parse().expect("a number")
    };
    let width = number(&svg, "width");
    for rect in svg.lines().filter(|l| l.starts_with("<rect x=")) {
        assert!(number(rect, "x") + number(rect, "width") <= width, "{rect}");
    }
    let dot = std::fs::read_to_string(folder.path("six.dot")).expect("the text");
    assert!(dot.starts_with("digraph \"Six\"") && dot.contains("rank = same"), "{dot}");
}

const MUTUAL: &str = "\
model Mutual(vocab = 256, d = 16, depth = 2) {
    in tokens: int(vocab)
    x = tokens |> Embedding(vocab, d)
    repeat depth { x = x |> Residual(d, SelfModifyingTitans) }
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, next(tokens))
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-3) }
}
";

#[test]
fn memories_that_feed_one_another_are_drawn_as_one() {
    let folder = Folder::new("mutual");
    folder.write("mutual.nest", MUTUAL);
    let said = good(&folder.nestor(&["graph", "mutual.nest"]));
    for part in [
        "Residual.SelfModifyingTitans.box.{k, v, eta, alpha, mem} × 2",
        "5 memories that feed one another: ",
        "gradient → pretrain",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let report = good(&folder.nestor(&["graph", "mutual.nest", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let levels = report["levels"].as_array().expect("levels");
    assert_eq!(levels.len(), 6, "data have each of them");
}
