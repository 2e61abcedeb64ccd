//! `check` and `fmt`.

use crate::fail::{Failure, Outcome, tell};
use crate::spec;
use indexmap::{IndexMap, IndexSet};
use nestor_compiler::source::Loaded;
use nestor_compiler::{Diagnostic, Label, Severity, check, source};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Files, and the specs below folders, in the order of their paths.
fn specs(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut out = Vec::new();
    for path in paths {
        if !path.is_dir() {
            out.push(path.clone());
            continue;
        }
        let before = out.len();
        below(path, &mut out)
            .map_err(|e| Failure::data(format!("cannot read {}: {e}", path.display())))?;
        if out.len() == before {
            let path = path.display();
            return Err(Failure::data(format!("there is no `.nest` file below {path}")));
        }
        out[before..].sort();
    }
    Ok(out)
}

fn below(folder: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "nest") {
            out.push(path);
        }
    }
    Ok(())
}

/// Checks files and folders, each file by itself: what files of one folder call the same has nothing to do with each other.
pub(crate) fn check(paths: &[PathBuf], as_json: bool) -> Outcome {
    let files = specs(paths)?;
    let color = std::io::stderr().is_terminal();
    // A file that several use is told of once.
    let mut told = IndexMap::new();
    let mut unseen = IndexSet::new();
    for file in &files {
        let loaded = spec::loaded(file)?;
        for found in check::check(&loaded) {
            let text = found.render(&loaded.sources, color);
            if !as_json && !told.contains_key(&text) {
                anstream::eprintln!("{text}");
            }
            told.insert(text, (found.severity, described(&loaded, &found)));
        }
        unseen.extend(check::not_looked_into(&loaded));
    }
    let bad = told.values().any(|(severity, _)| *severity != Severity::Warning);
    if as_json {
        let list: Vec<&Value> = told.values().map(|(_, json)| json).collect();
        anstream::println!(
            "{}",
            json!({ "diagnostics": list, "not_looked_into": unseen })
        );
    } else {
        let count = |s, word| {
            let n = told.values().filter(|(severity, _)| *severity == s).count();
            format!("{n} {word}{}", if n == 1 { "" } else { "s" })
        };
        let found = if told.is_empty() {
            ", nothing wrong".to_owned()
        } else {
            format!(
                ": {}, {}, {}",
                count(Severity::Error, "error"),
                count(Severity::Limitation, "limitation"),
                count(Severity::Warning, "warning")
            )
        };
        anstream::println!("{} checked{found}", files.len());
        if !unseen.is_empty() {
            let unseen: Vec<&str> = unseen.iter().map(String::as_str).collect();
            anstream::println!(
                "not looked into: {}; what has parameters without defaults is checked where something uses it",
                unseen.join(", ")
            );
        }
    }
    if bad { Err(Failure::silent()) } else { Ok(()) }
}

/// A diagnostic for programs.
fn described(loaded: &Loaded, found: &Diagnostic) -> Value {
    let place = |l: &Label| {
        let sources = &loaded.sources;
        let (line, column) = sources.line_column(l.span.file, l.span.start);
        json!({ "file": sources.get(l.span.file).name, "line": line, "column": column,
                "start": l.span.start, "end": l.span.end, "text": l.text })
    };
    let labels: Vec<Value> = found.labels.iter().map(place).collect();
    json!({ "code": found.code, "severity": format!("{:?}", found.severity).to_lowercase(),
            "message": found.message, "labels": labels, "notes": found.notes, "help": found.help })
}

/// Formats files in place, or says which are not laid out.
pub(crate) fn format(paths: &[PathBuf], only_check: bool, as_json: bool) -> Outcome {
    let files = specs(paths)?;
    let mut bad = false;
    let mut other = Vec::new();
    for path in &files {
        let text = source::text(path).map_err(Failure::data)?;
        match nestor_compiler::format(&text) {
            // They are told with their places in the file.
            Err(_) => {
                let loaded = spec::loaded(path)?;
                let _ = tell(&loaded, &loaded.found);
                bad = true;
            }
            Ok(laid) if laid == text => {}
            Ok(_) if only_check => {
                other.push(path);
                if !as_json {
                    anstream::println!("{} is not laid out", path.display());
                }
                bad = true;
            }
            Ok(laid) => {
                std::fs::write(path, laid).map_err(|e| {
                    Failure::data(format!("cannot write {}: {e}", path.display()))
                })?;
                other.push(path);
                if !as_json {
                    anstream::println!("{} laid out", path.display());
                }
            }
        }
    }
    if as_json {
        let what = if only_check { "not_laid_out" } else { "laid_out" };
        anstream::println!("{}", json!({ what: other }));
    }
    if bad { Err(Failure::silent()) } else { Ok(()) }
}
