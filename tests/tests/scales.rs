//! Memories of the library at the scales that streams, weights and states have, in float32: where products are taken in the order that
//! costs least, results are as near to the walk in float64 as where they are taken as they were derived, and leave float32 nowhere else.
//! A saturated softmax is among them, whose gradient is left of terms that cancel.

use indexmap::IndexMap;
use nestor_compiler::interpret::distance::distance;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::pipeline::{Purpose, reference, with_gradients};
use nestor_compiler::{Form, FormOptions, check, graphs, source};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_tests::given::given;
use nestor_tests::{on_all_cores, rules};

const SIZES: Sizes = Sizes { batch: 1, time: 12, start: 0 };
const STREAMS: [f64; 3] = [1e-3, 1.0, 1e3];
const WEIGHTS: [f64; 3] = [1e-3, 1.0, 1e3];
/// What is off in float32 by more than this, as it was derived, says nothing.
const ROUGH: f64 = 0.1;
/// How far results may be off, and how many times as far as those of the order that was derived.
const OFF: (f64, f64) = (1e-4, 30.0);
/// Distances are relative to what is expected, however small.
const FLOOR: f64 = 1e-30;

/// How many tensors of a program were compared, and those that are further off.
fn compared(entry: &str) -> Result<(usize, Vec<String>), String> {
    let loaded = source::checks();
    let (program, _) = check::program(&loaded, Some(entry), &[])
        .map_err(|found| found.first().map(|d| d.message.clone()).unwrap_or_default())?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let walk = reference(&program, &outputs).map_err(|e| e.to_string())?;
    let forms = FormOptions { form: Some(Form::Sequential), ..FormOptions::default() };
    let purpose = Purpose { resume: false, forms };
    let taken =
        with_gradients(&program, purpose, &outputs).map_err(|e| e.to_string())?.graph;
    let (drawn, _) = given(&program, &walk, &SIZES)?;
    let (mut count, mut wrong) = (0, Vec::new());
    for (streams, weights) in
        STREAMS.iter().flat_map(|s| WEIGHTS.iter().map(move |w| (*s, *w)))
    {
        let mut given = drawn.clone();
        for (name, array) in &mut given {
            let by = match program.inputs.iter().any(|i| i.name == *name) {
                true => streams,
                false if name.starts_with("grad.") => 1.0,
                false => weights,
            };
            if let Data::Real(values) = &mut array.data {
                values.iter_mut().for_each(|x| *x *= by);
            }
        }
        let run = |graph, precision| {
            let found = graphs::interpreted(&program, graph, &given, 0, precision);
            found.map_err(|e| e.to_string())
        };
        let meant = run(&walk, Precision::F64)?;
        let (derived, found) =
            (run(&walk, Precision::F32)?, run(&taken, Precision::F32)?);
        for (tensor, meant) in &meant {
            let off = |all: &IndexMap<String, Array>| {
                all.get(tensor).map_or(f64::INFINITY, |a| distance(a, meant, FLOOR))
            };
            let (derived, found) = (off(&derived), off(&found));
            if derived > ROUGH {
                continue;
            }
            count += 1;
            if found > OFF.0.max(OFF.1 * derived) {
                wrong.push(format!(
                    "{entry}, streams times {streams:e}, weights times {weights:e}: {tensor} is off by {found:.1e} for {derived:.1e}"
                ));
            }
        }
    }
    Ok((count, wrong))
}

#[test]
fn no_order_loses_what_another_keeps() {
    let entries: Vec<String> = rules::checked().into_iter().map(|(n, _)| n).collect();
    // A program over tokens of a vocabulary has nothing that could be scaled.
    let whole = |e: &str| e.contains("expected whole numbers");
    let found = on_all_cores(&entries, |entry| match compared(entry) {
        Err(e) if whole(&e) => Ok((0, Vec::new())),
        found => found.map_err(|e| format!("{entry}: {e}")),
    });
    let (mut count, mut wrong) = (0, Vec::new());
    for one in found {
        match one {
            Ok((n, off)) => {
                count += n;
                wrong.extend(off);
            }
            Err(e) => wrong.push(e),
        }
    }
    eprintln!("{count} tensors");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 5000, "only {count} tensors");
}
