//! The list of embedded files is what the folders hold, and every file is one definition that says
//! where it is from.

use std::path::Path;

/// The kinds of definition, each with its folder.
const KINDS: [&str; 8] = [
    "bias",
    "retention",
    "algorithm",
    "structure",
    "memory",
    "layer",
    "model",
    "function",
];

#[test]
fn every_file_is_embedded_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there: Vec<String> = Vec::new();
    for kind in KINDS {
        let Ok(entries) = std::fs::read_dir(root.join(kind)) else { continue };
        for entry in entries {
            let name = entry.expect("readable").file_name();
            there.push(format!("stdlib/{kind}/{}", name.to_string_lossy()));
        }
    }
    there.sort();
    let mut listed: Vec<String> =
        nestor_stdlib::FILES.iter().map(|(n, _)| (*n).to_owned()).collect();
    listed.sort();
    assert_eq!(there, listed);
}

#[test]
fn every_file_is_one_definition_under_a_head() {
    let mut wrong = Vec::new();
    for (name, text) in nestor_stdlib::FILES {
        let kind = name.split('/').nth(1).unwrap_or("");
        let begins = |l: &&str| KINDS.iter().any(|k| l.starts_with(&format!("{k} ")));
        let definitions: Vec<&str> = text.lines().filter(begins).collect();
        let [one] = definitions[..] else {
            wrong.push(format!("{name} holds {} definitions", definitions.len()));
            continue;
        };
        let head: Vec<&str> = text.lines().take_while(|l| l.starts_with("///")).collect();
        if !one.starts_with(kind) || head.is_empty() {
            wrong.push(format!("{name} is no {kind} with a head"));
        }
        // What learns says its equation and where it stands on the axes.
        let axes = ["bias", "retention", "algorithm", "structure", "memory"];
        for part in ["/// Equation: ", "/// MIRAS: "] {
            let there = head.iter().any(|l| l.starts_with(part));
            if axes.contains(&kind) && !there {
                wrong.push(format!("{name} has no line `{part}`"));
            }
        }
        let stem = name.rsplit('/').next().unwrap_or("").trim_end_matches(".nest");
        let word = one[kind.len()..].trim_start();
        let word: String =
            word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let plain = |s: &str| s.to_lowercase().replace('_', "");
        if plain(&word) != plain(stem) {
            wrong.push(format!("{name} defines {word}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
