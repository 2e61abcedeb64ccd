//! The definition itself, token by token, against the golden cases: outputs and final states.

use nestor_compiler::execute::by_definition;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, on_all_cores, root};
use std::path::Path;

/// What a case may be off by in float64: inner gradients are taken by differences here.
const TOLERANCE: f64 = 1e-9;

#[test]
fn every_spec_reached_means_what_its_golden_case_says() {
    let specs = files(&root().join("tests/oracle"), "nest");
    assert!(specs.len() >= 52, "only {} specs", specs.len());
    let wrong: Vec<String> = on_all_cores(&specs, |path| wrong(path)).concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a case's spec gets wrong.
fn wrong(path: &Path) -> Vec<String> {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let specs = Specs::read(&[path]);
    let made = specs.elaborate("Case", &[]);
    let Some(program) = made.program else {
        return vec![format!("{name}:\n{}", specs.render(&made.diagnostics))];
    };
    let cases = root().join("tests/oracle/cases");
    let case = golden::read(&cases.join(format!("{name}.safetensors")));
    let results = match by_definition(&program, &case) {
        Ok(results) => results,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let told = case.iter().filter(|(t, _)| *t == "y" || t.starts_with("state."));
    told.filter_map(|(tensor, expected)| {
        let found = results.get(tensor);
        let off = found.map_or(f64::INFINITY, |r| golden::distance(r, expected));
        let have: Vec<&String> = results.keys().collect();
        (off > TOLERANCE)
            .then(|| format!("{name}: {tensor} is off by {off:.1e} (has {have:?})"))
    })
    .collect()
}
