//! Class and form of everything in the library, and the table that tells of it.

use nestor_tests::{root, rules};
use std::fmt::Write;

#[test]
fn every_rule_has_the_class_and_form_of_its_mathematics() {
    let path = root().join("tests/rules/classes.txt");
    let loaded = nestor_compiler::source::checks();
    let mut found = String::new();
    for (entry, _) in rules::checked() {
        let classes =
            rules::of_entry(&loaded, &entry).unwrap_or_else(|e| format!("error: {e}"));
        let _ = writeln!(found, "{entry} | {classes}");
    }
    if std::env::var_os("NESTOR_BLESS").is_some() {
        std::fs::write(&path, &found).expect("written");
        return;
    }
    let expected = std::fs::read_to_string(&path).expect("readable");
    let (found, expected): (Vec<&str>, Vec<&str>) =
        (found.lines().collect(), expected.lines().collect());
    let wrong: Vec<String> = found
        .iter()
        .filter(|l| !expected.contains(l))
        .map(|l| format!("found     {l}"))
        .chain(
            expected
                .iter()
                .filter(|l| !found.contains(l))
                .map(|l| format!("expected  {l}")),
        )
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_rule() {
    let table = std::fs::read_to_string(root().join("docs/rules.md")).expect("readable");
    let missing: Vec<String> = rules::memories()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !table.contains(&format!("| `{name}` |")))
        .collect();
    assert!(missing.is_empty(), "`docs/rules.md` says nothing of {missing:?}");
    for path in nestor_tests::files(&root().join("tests/oracle"), "nest") {
        let case = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(table.contains(&format!("`{case}`")), "no row of `{case}`");
    }
}
