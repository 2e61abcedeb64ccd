//! Everything that is shipped parses.

use nestor_grammar::{Sources, parse};
use std::path::{Path, PathBuf};

fn nest_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            nest_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "nest") {
            out.push(path);
        }
    }
}

#[test]
fn all_shipped_files_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in
        ["stdlib", "examples", "tests/specs", "tests/oracle", "../../shared/specs"]
    {
        nest_files(&root.join(folder), &mut files);
    }
    let mut sources = Sources::default();
    let mut wrong = String::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("readable");
        let file = sources.add(path.display().to_string(), text);
        for diagnostic in parse(&sources, file).1 {
            wrong.push_str(&diagnostic.render(&sources, false));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
