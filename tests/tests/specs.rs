//! Whole models and optimisers: every file checks, or says which limitation stands in its way.
//! The list of limitations only ever shrinks.

use nestor_compiler::{Severity, check, source};
use nestor_tests::{files, root};

/// Files that do not compile yet, with the codes that say so.
const LIMITED: &[(&str, &[&str])] = &[];

#[test]
fn every_spec_checks_or_is_a_listed_limitation() {
    let folder = root().join("tests/specs");
    let mut wrong = Vec::new();
    let mut paths = files(&folder, "nest");
    assert!(paths.len() >= 37, "only {} specs", paths.len());
    paths.extend(files(&root().join("examples"), "nest"));
    paths.extend(files(&root().join("tests/oracle"), "nest"));
    for path in paths {
        let name = path.strip_prefix(&folder).unwrap_or(&path).with_extension("");
        let name = name.display().to_string();
        let loaded = source::load(&[path]).expect("readable");
        let found = check::check(&loaded);
        let mut codes: Vec<&str> = found
            .iter()
            .filter(|d| d.severity != Severity::Warning)
            .map(|d| d.code)
            .collect();
        codes.sort_unstable();
        codes.dedup();
        let listed = LIMITED.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, c)| c);
        if codes != listed {
            let text: String =
                found.iter().map(|d| d.render(&loaded.sources, false)).collect();
            wrong.push(format!("{name}: {codes:?}, listed {listed:?}\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
