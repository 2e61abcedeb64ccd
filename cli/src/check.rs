//! `check` and `fmt`.

use crate::fail::{Failure, Outcome, tell};
use nestor_compiler::{Severity, check, source};
use serde_json::json;
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

/// Checks files and folders.
pub(crate) fn check(paths: &[PathBuf], as_json: bool) -> Outcome {
    let files = specs(paths)?;
    let loaded = source::load(&files).map_err(Failure::data)?;
    let found = check::check(&loaded);
    let count = |s: Severity| found.iter().filter(|d| d.severity == s).count();
    if as_json {
        let list: Vec<_> = found
            .iter()
            .map(|d| {
                let labels: Vec<_> = d
                    .labels
                    .iter()
                    .map(|l| {
                        let (line, column) = loaded.sources.line_column(l.span.file, l.span.start);
                        json!({ "file": loaded.sources.get(l.span.file).name, "line": line, "column": column,
                                "start": l.span.start, "end": l.span.end, "text": l.text })
                    })
                    .collect();
                json!({ "code": d.code, "severity": format!("{:?}", d.severity).to_lowercase(),
                        "message": d.message, "labels": labels, "notes": d.notes, "help": d.help })
            })
            .collect();
        let unseen = check::not_looked_into(&loaded);
        anstream::println!(
            "{}",
            json!({ "diagnostics": list, "not_looked_into": unseen })
        );
        let bad = found.iter().any(|d| d.severity != Severity::Warning);
        return if bad { Err(Failure::silent()) } else { Ok(()) };
    }
    let told = tell(&loaded, &found);
    let (errors, limits, warnings) =
        (count(Severity::Error), count(Severity::Limitation), count(Severity::Warning));
    let files = files.len();
    if errors + limits + warnings == 0 {
        anstream::println!("{files} checked, nothing wrong");
    } else {
        anstream::println!(
            "{files} checked: {errors} errors, {limits} limitations, {warnings} warnings"
        );
    }
    let unseen = check::not_looked_into(&loaded);
    if !unseen.is_empty() {
        anstream::println!(
            "not looked into: {}; what has parameters without defaults is checked where something uses it",
            unseen.join(", ")
        );
    }
    told
}

/// Formats files in place, or says which are not laid out.
pub(crate) fn format(paths: &[PathBuf], only_check: bool, as_json: bool) -> Outcome {
    let files = specs(paths)?;
    let mut bad = false;
    let mut other = Vec::new();
    for path in &files {
        let unreadable =
            |e: std::io::Error| Failure::data(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        match nestor_compiler::format(&text) {
            Err(found) => {
                let loaded =
                    source::load(std::slice::from_ref(path)).map_err(Failure::data)?;
                let _ = found;
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
                std::fs::write(path, laid).map_err(unreadable)?;
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
