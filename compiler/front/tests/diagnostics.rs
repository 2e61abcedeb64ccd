//! Every diagnostic as people read it: `diagnostics/<code>_<what>.nest` with its text beside it.
//! `NESTOR_BLESS=1` writes the text anew.

use nestor_front::{Definitions, elaborate};
use nestor_grammar::ast::Kind;
use nestor_grammar::{Diagnostic, Sources, parse};
use std::path::{Path, PathBuf};

/// All that is found in a text, rendered.
fn found_in(name: &str, text: &str) -> String {
    let mut sources = Sources::default();
    let mut syntax = Vec::new();
    let mut read = |name: &str, text: &str| {
        let id = sources.add(name, text);
        let (file, found) = parse(&sources, id);
        syntax.extend(found);
        (id, file)
    };
    let library: Vec<_> = nestor_stdlib::FILES.iter().map(|(n, t)| read(n, t)).collect();
    let files = [read(name, text)];
    let (table, mut found) = Definitions::collect(&sources, &library, &files);
    found.extend(syntax);
    for (entry, kind) in table.of_users() {
        if matches!(kind, Kind::Memory | Kind::Layer | Kind::Model) {
            for diagnostic in elaborate(&table, &entry, &[]).diagnostics {
                if !found.contains(&diagnostic) {
                    found.push(diagnostic);
                }
            }
        }
    }
    found.sort_by_key(Diagnostic::span);
    found.iter().map(|d| d.render(&sources, false)).collect()
}

/// The texts with something to find, in order.
fn texts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|e| e.expect("readable").path())
        .filter(|p| p.extension().is_some_and(|e| e == "nest"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn diagnostics_read_as_written_down() {
    let bless = std::env::var_os("NESTOR_BLESS").is_some();
    let mut wrong = String::new();
    for path in texts() {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = found_in(&name, &std::fs::read_to_string(&path).expect("readable"));
        let code = name.split('_').next().expect("a code");
        if !text.contains(&format!("[{code}]")) {
            wrong.push_str(&format!("{name} does not give {code}:\n{text}\n"));
        }
        let expected = path.with_extension("expected");
        if bless {
            std::fs::write(&expected, &text).expect("writable");
        } else if std::fs::read_to_string(&expected).ok().as_deref() != Some(&text) {
            wrong.push_str(&format!("{name} gives\n{text}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
