//! Predicted against measured time on a GPU: launches that the device suite has measured, and the rates that foretell them best.

use crate::costs::least_off;
use crate::device_suite::lowered;
use nestor_compiler::gpu::time::{Needed, TERMS, bandwidth, needed, seconds};
use nestor_compiler::gpu::{Options, Products, Target, code};
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_ir::dim::Sizes;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// Launches shorter than this are the wait for them.
const SHORT: f64 = 20e-6;

/// What was measured, what is predicted, and the rates that fit best, of a file of the device suite.
///
/// # Errors
/// Where it cannot be read, or its programs no longer have the launches that were measured.
pub fn fit(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let file: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let target = file["target"].as_str().and_then(Target::find).ok_or("no target")?;
    let products = file["products"].as_str().and_then(Products::find);
    let options = Options { target, products: products.ok_or("no products")? };
    let mut out = String::new();
    let (mut relative, mut rows): (Vec<Needed>, Vec<(Needed, f64)>) = Default::default();
    let no_timings = Vec::new();
    for timing in file["timings"].as_array().unwrap_or(&no_timings) {
        let number = |n: usize| timing["shape"][n].as_u64().unwrap_or(0) as usize;
        let [batch, time, heads, width] = [0, 1, 2, 3].map(number);
        let (rule, both) =
            (timing["rule"].as_str().unwrap_or(""), timing["both"] == true);
        let graph = lowered(rule, heads, width, both)?.graph;
        let made = scheduled_for(&graph, Machine::Gpu(options));
        let (plan, kernels) = made.map_err(|e| e.to_string())?;
        let code = code(&kernels, options).map_err(|e| e.to_string())?;
        let sizes = Sizes { batch, time, start: 0 };
        let all = needed(&plan, &kernels, &code.entries, &sizes, target);
        let launches = timing["launches"].as_array().cloned().unwrap_or_default();
        let what = format!("{rule} {batch}x{time}x{heads}x{width} both={both}");
        if launches.len() != all.len() {
            let _ =
                writeln!(out, "{what}: {} launches, not {}", all.len(), launches.len());
            continue;
        }
        let predicted: f64 = all.iter().map(|n| seconds(n, options)).sum();
        let measured = timing["milliseconds"].as_f64().unwrap_or(f64::NAN);
        let _ =
            writeln!(out, "{what}: {:.3} ms, measured {measured:.3}", 1e3 * predicted);
        for (launch, needed) in launches.iter().zip(all) {
            let name = launch[0].as_str().unwrap_or("");
            let taken = launch[1].as_f64().unwrap_or(0.0) * 1e-3;
            let said = seconds(&needed, options);
            let _ = writeln!(
                out,
                "  {name:<12} {:>9.1} us, measured {:>9.1}",
                1e6 * said,
                1e6 * taken
            );
            // What was changed since it was measured is left out by hand.
            if taken > SHORT && name.starts_with("walk") {
                relative.push(needed.map(|n| n / taken));
                rows.push((needed, taken));
            }
        }
    }
    let rates = least_off(&relative);
    let _ =
        writeln!(out, "\nbandwidth {:.2e}; {} launches", bandwidth(target), rows.len());
    for (term, rate) in TERMS.iter().zip(rates) {
        let _ = writeln!(out, "{rate:.3e}  {term}");
    }
    let mut off: Vec<f64> = rows
        .iter()
        .map(|(n, taken)| {
            let said: f64 = n.iter().zip(rates).map(|(n, r)| n * r).sum();
            (said / taken).ln().abs().exp()
        })
        .collect();
    off.sort_by(f64::total_cmp);
    let at = |part: usize| off.get(off.len() * part / 10).copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        out,
        "half within a factor of {:.2}, nine of ten within {:.2}",
        at(5),
        at(9)
    );
    Ok(out)
}
