//! Rules of the house that a machine can check.

use nestor_tests::{files, root};
use std::path::Path;

/// Which crates each crate may depend on, of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("grammar", &[]),
    ("stdlib", &[]),
    ("compiler/ir", &[]),
    ("compiler/front", &["nestor-grammar", "nestor-ir"]),
    ("compiler/passes", &["nestor-ir"]),
    ("compiler/cranelift", &["nestor-ir"]),
    (
        "compiler/driver",
        &[
            "nestor-grammar",
            "nestor-ir",
            "nestor-front",
            "nestor-passes",
            "nestor-cranelift",
            "nestor-stdlib",
        ],
    ),
    ("runtime", &["nestor-ir"]),
    ("cli", &["nestor-compiler", "nestor-runtime"]),
    ("bench", &["nestor-compiler", "nestor-runtime"]),
];

/// Folders and files that may hold `unsafe`, each with its contract at its head.
const UNSAFE: &[&str] = &[
    "compiler/cranelift/src/routines/",
    "compiler/cranelift/src/jit.rs",
    "compiler/cranelift/src/wide/program.rs",
    "runtime/src/device/",
];

/// The cap of a file, in lines.
const CAP: usize = 500;

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let mut wrong = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let normal = manifest.split("[dev-dependencies]").next().unwrap_or("");
        for line in normal.lines().filter(|l| l.starts_with("nestor-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or(line);
            if !allowed.contains(&name) {
                wrong.push(format!("{folder} depends on {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_the_cap() {
    let mut long = Vec::new();
    for extension in ["rs", "nest", "pest", "py"] {
        for path in files(&root(), extension) {
            let lines = read(&path).lines().count();
            if lines > CAP {
                long.push(format!("{}: {lines} lines", relative(&path)));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_is_listed_and_explained() {
    let mut wrong = Vec::new();
    for path in files(&root(), "rs") {
        let name = relative(&path);
        let text = read(&path);
        if name.ends_with("tests/tidy.rs") {
            continue;
        }
        let code = text.lines().map(|l| l.split("//").next().unwrap_or(l));
        let uses = code.clone().any(|l| {
            ["unsafe {", "unsafe fn", "unsafe extern \"C\" fn", "unsafe impl"]
                .iter()
                .any(|w| l.contains(w) && !l.trim_start().starts_with("pub type"))
        });
        let listed = UNSAFE.iter().any(|u| name.starts_with(u));
        if uses && !listed && !name.starts_with("compiler/ir/src/artifact.rs") {
            wrong.push(format!("{name} uses unsafe"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_opens_with_why() {
    let wrong: Vec<String> = files(&root(), "rs")
        .iter()
        .filter(|p| !read(p).starts_with("//!"))
        .map(|p| relative(p))
        .collect();
    assert!(wrong.is_empty(), "no head comment:\n{}", wrong.join("\n"));
}

#[test]
fn ops_are_one_table_of_distinct_names() {
    let mut names: Vec<&str> =
        nestor_ir::tensor::ops::TABLE.iter().map(|op| op.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(nestor_ir::tensor::ops::TABLE.iter().all(|op| !op.about.is_empty()));
}

#[test]
fn every_code_of_the_language_has_a_text_that_shows_it() {
    let folders = ["compiler/front/tests/diagnostics", "tests/diagnostics"];
    let shown: Vec<String> = folders
        .iter()
        .flat_map(|folder| files(&root().join(folder), "expected"))
        .map(|p| p.file_name().expect("a file").to_string_lossy().into_owned())
        .collect();
    let codes = nestor_grammar::diagnostic::CODES;
    let named = |name: &String, code: &str| name.starts_with(&format!("{code}_"));
    let missing: Vec<&str> = codes
        .iter()
        .map(|(code, _)| *code)
        .filter(|code| !shown.iter().any(|name| named(name, code)))
        .collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
    let unknown: Vec<&String> = shown
        .iter()
        .filter(|name| !codes.iter().any(|(code, _)| named(name, code)))
        .collect();
    assert!(unknown.is_empty(), "no code is called as {unknown:?} begin");
}

#[test]
fn the_compiler_knows_no_memory_layer_or_model_by_name() {
    let mut names = Vec::new();
    for (path, text) in nestor_stdlib::FILES {
        let kind = ["memory ", "layer ", "model "];
        let line = text.lines().find(|l| kind.iter().any(|k| l.starts_with(k)));
        let Some(line) = line else { continue };
        let word = line.split_once(' ').map_or("", |(_, rest)| rest);
        let name: String =
            word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        assert!(!name.is_empty(), "{path}");
        names.push(name);
    }
    assert!(names.len() >= 40, "only {} names", names.len());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut wrong = Vec::new();
    for path in files(&root().join("compiler"), "rs") {
        let inside = relative(&path);
        if !inside.contains("/src/") {
            continue;
        }
        for (n, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let mut words = code.split(|c| !is_word(c));
            if let Some(word) = words.find(|w| names.iter().any(|known| known == w)) {
                wrong.push(format!("{inside}:{}: {word}", n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "the compiler names {}", wrong.join("\n"));
}
