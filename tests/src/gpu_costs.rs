//! Predicted against measured time on a GPU: launches that the device suite has measured, and the rates that foretell them best.

use crate::costs::{least_off, of_places};
use crate::device_suite::{Shape, Wanted, lowered};
use nestor_compiler::FormOptions;
use nestor_compiler::gpu::time::{Needed, RATES, TERMS, bandwidth, needed, seconds};
use nestor_compiler::gpu::{Options, Products, Target, code};
use nestor_compiler::native::{Kernel, Machine, Plan};
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::Launch;
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
    let mut rows: Vec<Row> = Vec::new();
    let mut programs: Vec<(f64, f64)> = Vec::new();
    let no_timings = Vec::new();
    for timing in file["timings"].as_array().unwrap_or(&no_timings) {
        let number = |n: usize| timing["shape"][n].as_u64().unwrap_or(0) as usize;
        let [batch, time, heads, width] = [0, 1, 2, 3].map(number);
        let (rule, both) =
            (timing["rule"].as_str().unwrap_or(""), timing["both"] == true);
        let wanted = Wanted {
            rule: rule.to_owned(),
            shape: Shape { sizes: [batch, time, heads, width] },
            both,
            chunk: None,
            brain: file["tensors"] == "bf16",
        };
        let (_, _, all) = of_launches(&wanted, options)?;
        let launches = timing["launches"].as_array().cloned().unwrap_or_default();
        let what = format!("{rule} {batch}x{time}x{heads}x{width} both={both}");
        if launches.len() != all.len() {
            let _ =
                writeln!(out, "{what}: {} launches, not {}", all.len(), launches.len());
            continue;
        }
        let predicted: f64 = all.iter().map(|n| seconds(n, options)).sum();
        let measured = timing["milliseconds"].as_f64().unwrap_or(f64::NAN);
        programs.push((predicted, measured));
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
            // Maps of few numbers a token are spread otherwise since they were measured.
            if taken > SHORT && name.starts_with("walk") {
                rows.push(Row { rule: rule.to_owned(), needed, taken });
            }
        }
    }
    let rates = fitted(rows.iter());
    let _ =
        writeln!(out, "\nbandwidth {:.2e}; {} launches", bandwidth(target), rows.len());
    for ((term, rate), before) in TERMS.iter().zip(rates).zip(RATES) {
        let _ = writeln!(out, "{rate:.3e}  {term} (now {before:.3e})");
    }
    let _ = writeln!(
        out,
        "programs with the rates as they are: rank correlation {:.3}",
        of_places(&programs)
    );
    tell(&mut out, "launches with the rates as they are", &rows, |_| RATES);
    tell(&mut out, "with those fitted to all of them", &rows, |_| rates);
    tell(&mut out, "with those fitted to the other rules' launches", &rows, |rule| {
        fitted(rows.iter().filter(|r| r.rule != rule))
    });
    Ok(out)
}

/// The plan of a rule, its kernels, and what each launch needs.
fn of_launches(
    wanted: &Wanted,
    options: Options,
) -> Result<(Plan, Vec<Kernel>, Vec<Needed>), String> {
    let [batch, time, heads, width] = wanted.shape.sizes;
    let forms = FormOptions { chunk: wanted.chunk, ..FormOptions::default() };
    let forms = Machine::Gpu(options).suited(forms);
    let graph = lowered(&wanted.rule, heads, width, wanted.both, forms)?.graph;
    let sizes = Sizes { batch, time, start: 0 };
    let (plan, kernels) = wanted.planned(&graph, options)?;
    let code = code(&plan, &kernels, options).map_err(|e| e.to_string())?;
    let all = needed(&plan, &kernels, &code.entries, &sizes, options);
    Ok((plan, kernels, all))
}

/// What each launch of a rule is predicted to take, in seconds, with its name.
///
/// # Errors
/// What stands in the way, in words.
pub fn predicted(
    wanted: &Wanted,
    options: Options,
) -> Result<Vec<(String, f64)>, String> {
    let (plan, kernels, all) = of_launches(wanted, options)?;
    let name = |launch: &Launch| match launch {
        Launch::Kernel { kernel, .. } => kernels[kernel.index()].name.clone(),
        Launch::Dense(_) => "product".to_owned(),
        Launch::Zero(_) => "zero".to_owned(),
        Launch::Copy { .. } => "copy".to_owned(),
    };
    Ok(plan
        .launches
        .iter()
        .map(name)
        .zip(all.iter().map(|n| seconds(n, options)))
        .collect())
}

/// A launch that was measured.
struct Row {
    rule: String,
    needed: Needed,
    taken: f64,
}

fn fitted<'r>(rows: impl Iterator<Item = &'r Row>) -> Needed {
    let relative: Vec<Needed> = rows.map(|r| r.needed.map(|n| n / r.taken)).collect();
    least_off(&relative)
}

/// How well rates that hang on the rule foretell launches.
fn tell(out: &mut String, what: &str, rows: &[Row], rates: impl Fn(&str) -> Needed) {
    let mut rules: Vec<&str> = rows.iter().map(|r| r.rule.as_str()).collect();
    rules.dedup();
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for rule in rules {
        let rates = rates(rule);
        pairs.extend(rows.iter().filter(|r| r.rule == rule).map(|r| {
            let said = r.needed.iter().zip(rates).map(|(n, rate)| n * rate).sum();
            (said, r.taken)
        }));
    }
    let ratios = pairs.iter().map(|(said, taken)| (said / taken).ln().abs().exp());
    let mut off: Vec<f64> = ratios.collect();
    off.sort_by(f64::total_cmp);
    let at = |part: usize| off.get(off.len() * part / 10).copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        out,
        "{what}: rank correlation {:.3}, half within a factor of {:.2}, nine of ten within {:.2}",
        of_places(&pairs),
        at(5),
        at(9)
    );
}
