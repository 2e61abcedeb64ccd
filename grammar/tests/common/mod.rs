//! What the tests of this crate share: the files they read, and trees without their places.

#![allow(
    dead_code,
    clippy::print_stdout,
    reason = "each test uses its part and says what it skips"
)]
use nestor_grammar::{Sources, parse};
use std::path::{Path, PathBuf};

/// Folders of Nestor files, below the root of the workspace.
const FOLDERS: [&str; 5] =
    ["stdlib", "examples", "tests/specs", "tests/oracle", "../shared/specs"];

/// Every Nestor file there is, with its text. Folders that are not there are named on the way.
pub(crate) fn shipped() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in FOLDERS {
        let before = files.len();
        collect(&root.join(folder), &mut files);
        if files.len() == before {
            println!("skipped {folder}: no .nest file there");
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path, text)
    };
    files.into_iter().map(read).collect()
}

/// The Nestor files below a folder.
pub(crate) fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "nest") {
            out.push(path);
        }
    }
}

/// A text's tree without its places, or its errors as people read them.
pub(crate) fn tree(name: &str, text: &str) -> Result<String, String> {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let (tree, errors) = parse(&sources, file);
    if errors.is_empty() {
        return Ok(without_spans(&format!("{tree:#?}")));
    }
    Err(errors.iter().map(|e| e.render(&sources, false)).collect())
}

/// A tree's debug text without what only says where; the text of a span is five lines.
fn without_spans(debug: &str) -> String {
    let mut out = String::new();
    let mut lines = debug.lines();
    while let Some(line) = lines.next() {
        if line.ends_with("Span {") {
            let closes = |line: &str| line.trim_start().starts_with('}');
            let indent = line.len() - line.trim_start().len();
            lines
                .by_ref()
                .find(|l| closes(l) && l.len() - l.trim_start().len() == indent)
                .expect("a span is closed");
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Whether a text is the expected one; with `NESTOR_BLESS` set it becomes the expected one.
pub(crate) fn agrees(expected: &Path, found: &str) -> bool {
    if std::env::var_os("NESTOR_BLESS").is_some() {
        std::fs::write(expected, found).expect("writable");
    }
    std::fs::read_to_string(expected).is_ok_and(|text| text == found)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}
