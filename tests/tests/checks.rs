//! Programs that `verify` runs hold every definition of the library: its own name stands in one of
//! them, or in a definition that one of them holds.

use nestor_grammar::ast::EntryKind;
use nestor_grammar::{Sources, parse};
use std::collections::{BTreeMap, BTreeSet};

/// The names in a text, comments left out.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|l| l.split("//").next().unwrap_or(l));
    let words = lines.flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_definition_of_the_library_is_checked() {
    let mut sources = Sources::default();
    let mut library: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in nestor_stdlib::FILES {
        let id = sources.add(*name, *text);
        let (file, found) = parse(&sources, id);
        assert!(found.is_empty(), "{name} does not parse");
        for entry in &file.entries {
            if let EntryKind::Definition(d) = &entry.kind {
                let body = entry.span.start as usize..entry.span.end as usize;
                library.insert(d.name.text.clone(), names(&text[body]));
            }
        }
    }
    assert!(library.len() >= 70, "only {} definitions", library.len());
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> =
        nestor_stdlib::CHECKS.iter().flat_map(|(_, text)| names(text)).collect();
    while let Some(name) = open.pop() {
        if let Some(inside) = library.get(&name)
            && reached.insert(name)
        {
            open.extend(inside.iter().cloned());
        }
    }
    let missing: Vec<&String> =
        library.keys().filter(|n| !reached.contains(*n)).collect();
    assert!(missing.is_empty(), "nothing checks {missing:?}");
}
