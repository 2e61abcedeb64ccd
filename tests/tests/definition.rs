//! The definition itself, token by token, against the golden cases: outputs and final states.

use nestor_compiler::execute::by_definition;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, root};

/// What a case may be off by in float64: inner gradients are taken by differences here.
const TOLERANCE: f64 = 1e-9;

#[test]
fn every_spec_reached_means_what_its_golden_case_says() {
    let folder = root().join("tests/oracle");
    let mut wrong = Vec::new();
    let specs = files(&folder, "nest");
    assert!(specs.len() >= 52, "only {} specs", specs.len());
    for path in specs {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let specs = Specs::read(&[&path]);
        let made = specs.elaborate("Case", &[]);
        let Some(program) = made.program else {
            wrong.push(format!("{name}:\n{}", specs.render(&made.diagnostics)));
            continue;
        };
        let case =
            golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
        match by_definition(&program, &case) {
            Ok(results) => {
                for (tensor, expected) in &case {
                    if tensor != "y" && !tensor.starts_with("state.") {
                        continue;
                    }
                    let off = results
                        .get(tensor)
                        .map_or(f64::INFINITY, |r| golden::distance(r, expected));
                    if off > TOLERANCE {
                        let have: Vec<&String> = results.keys().collect();
                        wrong.push(format!(
                            "{name}: {tensor} is off by {off:.1e} (has {have:?})"
                        ));
                    }
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
