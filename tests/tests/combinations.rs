//! Memories drawn over all axes: every form that applies, interpreted and as machine code, is the
//! derived walk token by token, forward and gradients; and that walk is the definition.
//!
//! `NESTOR_COMBINATIONS=10000 cargo test --release -p nestor-tests --test combinations` draws as many.

use nestor_compiler::execute::{bound, by_definition, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Purpose, reference, with_gradients};
use nestor_compiler::{Form, FormOptions, graphs};
use nestor_ir::artifact::Precision;
use nestor_tests::spec::Specs;
use nestor_tests::{combination, golden, measure, native};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws that once failed.
const KEPT: &[u64] = &[18];
/// How many are drawn where nothing else is asked for.
const COUNT: u64 = 24;
/// What a form may be off, relative to the tensor; errors grow with what a rule amplifies.
const TOLERANCE: f64 = 1e-8;

/// How far apart two results are; differences below rounding of the largest number count nothing.
fn off(found: &Array, expected: &Array, scale: f64) -> f64 {
    let size = expected.reals().iter().map(|x| x * x).sum::<f64>().sqrt();
    if size < 1e-12 * scale {
        let far = found.reals().iter().map(|x| x * x).sum::<f64>().sqrt();
        return if far < 1e-10 * scale { 0.0 } else { f64::INFINITY };
    }
    golden::distance(found, expected)
}

/// The forms that ran, or what is wrong.
fn check(seed: u64) -> Result<Vec<&'static str>, String> {
    let text = combination::text(seed);
    let specs = Specs::of("drawn", &text);
    let made = specs.elaborate("Case", &[]);
    let said = specs.render(&made.diagnostics);
    let Some(program) = made.program else { return Err(format!("{said}\n{text}")) };
    let given = combination::given(seed, &program);
    let fail = |what: String| format!("seed {seed}: {what}\n{text}");
    let sizes = sizes(&program, &given).map_err(|e| fail(e.to_string()))?;
    let graph = match reference(&program, &["y"]) {
        Ok(graph) => graph,
        Err(error) if error.to_string().contains("not supported") => return Ok(vec![]),
        Err(error) => return Err(fail(error.to_string())),
    };
    let walked = graphs::interpreted(&program, &graph, &given, 0, Precision::F64)
        .map_err(|e| fail(e.to_string()))?;
    let sane = |a: &Array| a.reals().iter().all(|x| x.abs() < 1e6);
    if !walked.values().all(sane) {
        // It grows without bounds: nothing to compare.
        return Ok(vec![]);
    }
    let meant = by_definition(&program, &given).map_err(|e| fail(e.to_string()))?;
    for (name, expected) in &meant {
        let far = off(&walked[name], expected, 1.0);
        if far > 1e-5 {
            return Err(fail(format!("the definition's {name} is off by {far:.1e}")));
        }
    }
    let mut ran = Vec::new();
    for form in measure::forms() {
        let purpose = Purpose { resume: false, forms: FormOptions { form, chunk: None } };
        let lowered = match (with_gradients(&program, purpose, &["y"]), form) {
            (Ok(lowered), _) => lowered,
            (Err(_), Some(_)) => continue,
            (Err(error), None) => return Err(fail(error.to_string())),
        };
        let of = form.map_or("auto", Form::name);
        let interpreted =
            graphs::interpreted(&program, &lowered.graph, &given, 0, Precision::F64)
                .map_err(|e| fail(format!("{of}: {e}")))?;
        let inputs = bound(&program, &lowered.graph, &given, &sizes)
            .map_err(|e| fail(format!("{of}: {e}")))?;
        let compiled = native::run(&lowered.graph, &inputs, &sizes, Precision::F64)
            .map_err(|e| fail(format!("{of}: {e}")))?;
        let compiled: indexmap::IndexMap<String, Array> = compiled
            .into_iter()
            .map(|(n, a)| (graphs::outward(&program, &n), a))
            .collect();
        for (engine, results) in [("interpreted", interpreted), ("native", compiled)] {
            for (name, found) in &results {
                let Some(expected) = walked.get(name) else { continue };
                let far = off(found, expected, 1.0);
                if far > TOLERANCE {
                    return Err(fail(format!(
                        "{of}, {engine}: {name} is off by {far:.1e}"
                    )));
                }
            }
        }
        ran.push(of);
    }
    Ok(ran)
}

#[test]
fn every_form_of_drawn_memories_is_their_definition() {
    let asked = std::env::var("NESTOR_COMBINATIONS").ok().and_then(|n| n.parse().ok());
    let first = std::env::var("NESTOR_FIRST").ok().and_then(|n| n.parse().ok());
    let (count, first): (u64, u64) = (asked.unwrap_or(COUNT), first.unwrap_or(0));
    let seeds: Vec<u64> = KEPT.iter().copied().chain(first..first + count).collect();
    let next = AtomicU64::new(0);
    let found = Mutex::new((BTreeMap::<&str, usize>::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&seed) =
                    seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let result = std::panic::catch_unwind(|| check(seed));
                    let result =
                        result.unwrap_or_else(|_| Err(format!("seed {seed}: panics")));
                    let mut found = found.lock().expect("no thread panics here");
                    match result {
                        Ok(ran) => {
                            ran.iter().for_each(|f| *found.0.entry(f).or_default() += 1)
                        }
                        Err(what) => found.1.push(what),
                    }
                }
            });
        }
    });
    let (ran, wrong) = found.into_inner().expect("no thread panics here");
    eprintln!("{ran:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran.len() >= 4, "only {ran:?} ran");
}
