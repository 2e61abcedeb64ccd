//! Rules of the house that a machine can check.

use nestor_ir::tensor::OpInfo;
use nestor_tests::{files, root};
use std::path::{Path, PathBuf};

/// Which crates each crate may depend on, of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("grammar", &[]),
    ("stdlib", &[]),
    ("compiler/ir", &[]),
    ("compiler/front", &["nestor-grammar", "nestor-ir"]),
    ("compiler/passes", &["nestor-ir"]),
    ("compiler/cranelift", &["nestor-ir"]),
    ("compiler/mlir", &["nestor-ir", "nestor-mlir-needs"]),
    ("compiler/mlir/needs", &[]),
    ("tests/emulator", &[]),
    (
        "compiler/driver",
        &[
            "nestor-grammar",
            "nestor-ir",
            "nestor-front",
            "nestor-passes",
            "nestor-cranelift",
            "nestor-mlir",
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
    "compiler/mlir/src/llvm.rs",
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

/// Ops whose derivative no test takes, and why.
const NO_DERIVATIVE: &[(&str, &str)] = &[
    ("Input", "it has no operand; every test takes gradients with respect to inputs"),
    ("Anchor", "`derive` replaces it before anything is differentiated"),
    ("Gradient", "`derive` replaces it before anything is differentiated"),
    ("Read", "`to_tensors` says it in other ops"),
    ("Write", "`to_tensors` says it in other ops"),
    ("Recent", "`to_tensors` says it in other ops"),
    ("Block", "`to_tensors` says it in other ops"),
    ("Next", "`to_tensors` says it in other ops"),
    ("Exists", "`to_tensors` says it in other ops"),
    ("Tick", "`to_tensors` says it in other ops"),
    ("Gathered", "`to_tensors` says it in other ops"),
    ("Held", "`to_tensors` says it in other ops"),
    ("When", "`to_tensors` says it in other ops"),
];

/// Ops that no test lowers, and why.
const NO_KERNEL: &[(&str, &str)] = &[
    ("Anchor", "`derive` replaces it"),
    ("Gradient", "`derive` replaces it"),
    ("Read", "`to_tensors` says it in other ops"),
    ("Write", "`to_tensors` says it in other ops"),
    ("Recent", "`to_tensors` says it in other ops"),
    ("Block", "`to_tensors` says it in other ops"),
    ("Next", "`to_tensors` says it in other ops"),
    ("Exists", "`to_tensors` says it in other ops"),
    ("Tick", "`to_tensors` says it in other ops"),
    ("Gathered", "`to_tensors` says it in other ops"),
    ("Held", "`to_tensors` says it in other ops"),
    ("When", "`to_tensors` says it in other ops"),
];

/// What of the op table is neither shown by a test nor excused, or both.
fn unshown(shown: impl Fn(&OpInfo) -> bool, excused: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for op in nestor_ir::tensor::ops::TABLE {
        let why = excused.iter().find(|(variant, _)| *variant == op.variant);
        match (shown(op), why) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => wrong.push(format!("no test has `{}`", op.variant)),
            (true, Some(_)) => wrong.push(format!("`{}` has a test now", op.variant)),
        }
    }
    wrong
}

/// The tests of the passes whose names begin so, as one text.
fn pass_tests(beginnings: &[&str]) -> String {
    let folder = root().join("compiler/passes/tests");
    let begins = |path: &&PathBuf| {
        let name = path.file_stem().expect("a file").to_string_lossy();
        beginnings.iter().any(|b| name.starts_with(b))
    };
    files(&folder, "rs").iter().filter(begins).map(|p| read(p)).collect()
}

/// Whether a word stands in a text, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word)
    })
}

#[test]
fn every_op_has_a_test_of_its_derivative_or_a_reason() {
    // Against differences: ops in one file, walks in the other.
    let tests = pass_tests(&["derivative", "autodiff"]);
    let shown = |op: &OpInfo| has_word(&tests, &format!("Op::{}", op.variant));
    let wrong = unshown(shown, NO_DERIVATIVE);
    assert!(wrong.is_empty(), "derivatives: {}", wrong.join(", "));
}

#[test]
fn every_op_has_a_test_of_its_lowering_or_a_reason() {
    // Graphs as text, run as machine code: `%2: [B, T] = mul %0, %1`.
    let tests = read(&root().join("tests/tests/lowering.rs"));
    let shown = |op: &OpInfo| {
        let values = tests.lines().filter(|l| l.trim_start().starts_with('%'));
        let mut ops = values.filter_map(|l| Some(l.split_once(" = ")?.1));
        ops.any(|l| l.split([' ', '{']).next() == Some(op.name))
    };
    let wrong = unshown(shown, NO_KERNEL);
    assert!(wrong.is_empty(), "lowerings: {}", wrong.join(", "));
}

/// Modules of the passes that are none.
const NO_PASS: &[(&str, &str)] = &[
    ("build", "the calculus that the passes and their tests are written in"),
    ("error", "how a pass stops"),
];

/// Passes that are judged where what goes in and what comes out can be run, and there.
const JUDGED: &[(&str, &str)] = &[
    ("to_tensors", "tests/tests/forms.rs"),
    ("reading", "tests/tests/reading.rs"),
    ("schedule", "tests/tests/lowering.rs"),
];

/// Folders whose tests are one program, and the files that list its modules.
const LISTED: &[(&str, &str)] = &[
    ("cli/tests", "main.rs"),
    ("compiler/cranelift/tests", "main.rs"),
    ("compiler/passes/tests", "main.rs"),
    ("tests/tests", "main.rs"),
    ("tests/tests/gpu", "mod.rs"),
];

#[test]
fn every_file_of_tests_is_part_of_its_program() {
    let mut missing = Vec::new();
    for (folder, list) in LISTED {
        let folder = root().join(folder);
        let listed = read(&folder.join(list));
        for file in std::fs::read_dir(&folder).expect("the folder") {
            let path = file.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let is_code = path.extension().is_some_and(|e| e == "rs");
            let is_list = path.file_name().is_some_and(|n| n == *list);
            let entry = format!("mod {name};");
            if is_code && !is_list && !listed.lines().any(|l| l == entry) {
                missing.push(path.display().to_string());
            }
        }
    }
    assert!(missing.is_empty(), "not run: {}", missing.join(", "));
}

#[test]
fn every_pass_has_tests_of_its_own() {
    let modules = read(&root().join("compiler/passes/src/lib.rs"));
    let modules: Vec<&str> = modules
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.len() >= 11, "{modules:?}");
    let mut wrong = Vec::new();
    for module in modules {
        let excused = NO_PASS.iter().any(|(name, _)| *name == module);
        let judged = JUDGED.iter().find(|(name, _)| *name == module);
        let own = format!("compiler/passes/tests/{module}.rs");
        let file = judged.map_or(own, |(_, file)| (*file).to_owned());
        let tests = std::fs::read_to_string(root().join(&file)).unwrap_or_default();
        if !excused && !tests.contains("#[test]") {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "no tests: {}", wrong.join(", "));
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
