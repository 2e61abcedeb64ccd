//! The guide to the language: every file that it shows passes `check`, and the rule that it begins with does what it says.

use crate::common::{Folder, good};
use std::path::Path;

/// The blocks of a page that are files, each with what uses it where the page hides that in a comment behind it.
fn files(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).expect("the page is there");
    let mut out = Vec::new();
    for part in text.split("```nest\n").skip(1) {
        let (file, rest) = part.split_once("```\n").expect("a block ends");
        let hidden = rest.strip_prefix("<!-- and in use:\n");
        let hidden =
            hidden.and_then(|rest| rest.split_once("-->")).map_or("", |(h, _)| h);
        out.push([file, hidden].concat());
    }
    out
}

#[test]
fn every_file_of_the_guide_is_right() {
    let folder = Folder::new("guide");
    let all = files("docs/language.md");
    assert!(all.len() > 10, "only {} files", all.len());
    for (n, text) in all.into_iter().enumerate() {
        folder.write("shown.nest", &text);
        let said = folder.nestor(&["check", "shown.nest"]);
        let checked = String::from_utf8_lossy(&said.stdout);
        assert!(
            said.status.success() && checked.trim() == "1 checked, nothing wrong",
            "block {n}:\n{text}\n{checked}{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn the_first_page_shows_what_checks() {
    let folder = Folder::new("first-page");
    for text in files("README.md") {
        folder.write("shown.nest", text);
        good(&folder.nestor(&["check", "shown.nest"]));
    }
}

#[test]
fn the_rule_that_the_guide_begins_with_goes_from_text_to_training() {
    let folder = Folder::new("fading");
    folder.write("fading.nest", files("docs/language.md").swap_remove(0));
    let explained = good(&folder.nestor(&["explain", "fading.nest", "Fading"]));
    for part in [
        "minimise = Σ log(½ (exp(t1) + exp(−t1)))",
        "algorithm  t1 = 0.9 S − G(W)",
        "t1 = 1 / (2 x3)",
        "t2 = step + 2 t1 W",
        "W′ = sign(t2) max(|t2| − x4, 0) / (2 t1)",
        "t1 = 0.9 S(W) − x1 ⊗ tanh(x1 W − x2)",
    ] {
        assert!(explained.contains(part), "{part} is not in\n{explained}");
    }
    let layer = ["verify", "fading.nest", "FadingLayer", "--set", "d=16"];
    good(&folder.nestor(&layer));
    let train = ["train", "fading.nest", "--data", "text.txt", "--out", "run"];
    let few = ["--steps", "3", "--batch", "2", "--length", "24"];
    good(&folder.nestor(&[&train[..], &few].concat()));
}
