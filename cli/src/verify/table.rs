//! What `verify` says: a table of forms for one program, a line each for many, or JSON.

use super::compare::{Measured, Row};
use super::draw::{BATCH, TIME};
use super::{Found, Report};
use serde_json::{Value, json};

/// Forms of one program, a line each.
pub(super) fn long(report: &Report) {
    let name = &report.name;
    let m = match &report.found {
        Found::Measured(m) => m,
        Found::Limited(why) => {
            anstream::println!("{name}: not supported: {why}");
            return;
        }
        Found::Failed(why) => {
            anstream::println!("{name}: failed: {why}");
            return;
        }
    };
    anstream::println!(
        "{name}: largest relative distances from the derived walk token by token, B={BATCH} T={TIME}"
    );
    for drawn in &m.drawn {
        anstream::println!("  drawn: {drawn}");
    }
    anstream::println!(
        "  {:<12} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "form",
        "float64",
        "gradient",
        "float32",
        "gradient",
        "allowed"
    );
    for (form, row) in &m.forms {
        match row {
            Row::Off { float64: [a, b], float32: [c, d], share, interpreted } => {
                let note =
                    interpreted.as_ref().map_or(String::new(), |w| format!("  {w}"));
                anstream::println!(
                    "  {form:<12} {a:>9.1e} {b:>9.1e} {c:>9.1e} {d:>9.1e} {share:>7.3}{note}"
                );
            }
            Row::Not(why) => anstream::println!("  {form:<12} does not apply: {why}"),
            Row::Broken(why) => anstream::println!("  {form:<12} broken: {why}"),
        }
    }
    match m.definition {
        Some(off) => anstream::println!(
            "  the walk from the definition, gradients by differences {off:.1e}"
        ),
        None => anstream::println!(
            "  the walk was not held against the definition: differences of so many numbers would take very long; \
             `--set` makes it smaller"
        ),
    }
    anstream::println!("  gradients from differences of outputs {:.1e}", m.slope);
}

/// A line for every program, its worst form; then what is not supported, counted.
pub(super) fn short(reports: &[Report]) {
    anstream::println!(
        "largest relative distances of any form from the derived walk token by token, B={BATCH} T={TIME}\n"
    );
    anstream::println!(
        "{:<26} {:<22} {:>9} {:>9} {:>9} {:>9} {:>7} {:>10} {:>9}",
        "program",
        "forms",
        "float64",
        "gradient",
        "float32",
        "gradient",
        "allowed",
        "definition",
        "slope"
    );
    for report in reports {
        let verdict = if report.good() { "" } else { "  WRONG" };
        let name = &report.name;
        match &report.found {
            Found::Measured(m) => {
                let [a, b, c, d, share] = worst(m);
                let definition =
                    m.definition.map_or("-".to_owned(), |off| format!("{off:.1e}"));
                let (forms, slope) = (names(m), m.slope);
                anstream::println!(
                    "{name:<26} {forms:<22} {a:>9.1e} {b:>9.1e} {c:>9.1e} {d:>9.1e} {share:>7.3} {definition:>10} {slope:>9.1e}{verdict}"
                );
                for (form, row) in &m.forms {
                    if let Row::Broken(why) = row {
                        anstream::println!("  {form} broken: {why}");
                    }
                }
            }
            Found::Limited(_) => anstream::println!("{name:<26} not supported"),
            Found::Failed(why) => anstream::println!("{name:<26} {why}{verdict}"),
        }
    }
    let limited: Vec<(&str, String)> = reports
        .iter()
        .flat_map(|r| r.limitations().into_iter().map(|l| (r.name.as_str(), l)))
        .collect();
    let good =
        reports.iter().filter(|r| r.good() && matches!(r.found, Found::Measured(_)));
    let bad = reports.iter().filter(|r| !r.good()).count();
    anstream::println!(
        "\n{} programs: {} the same in every form, {bad} wrong, {} limitations",
        reports.len(),
        good.count(),
        limited.len()
    );
    for (name, why) in limited {
        anstream::println!("  {name}: {why}");
    }
}

/// Initials of the forms that apply.
fn names(m: &Measured) -> String {
    let own = m.forms.iter().filter(|(_, r)| matches!(r, Row::Off { .. }));
    own.map(|(n, _)| n.get(..3).unwrap_or(n)).collect::<Vec<_>>().join(" ")
}

fn worst(m: &Measured) -> [f64; 5] {
    let mut out = [0.0_f64; 5];
    for (_, row) in &m.forms {
        if let Row::Off { float64: [a, b], float32: [c, d], share, .. } = row {
            for (o, x) in out.iter_mut().zip([a, b, c, d, share]) {
                *o = o.max(*x);
            }
        }
    }
    out
}

/// Everything, for programs.
pub(super) fn json(reports: &[Report]) {
    let all: Vec<Value> = reports.iter().map(one).collect();
    let good = reports.iter().all(Report::good);
    anstream::println!("{}", json!({ "good": good, "programs": all }));
}

fn one(report: &Report) -> Value {
    let (name, good) = (&report.name, report.good());
    match &report.found {
        Found::Measured(m) => json!({
            "name": name, "good": good, "definition": m.definition, "slope": m.slope,
            "drawn": m.drawn, "limitations": report.limitations(),
            "forms": m.forms.iter().map(|(form, row)| match row {
                Row::Off { float64, float32, share, .. } => json!({
                    "form": form, "float64": float64, "float32": float32, "share": share,
                }),
                Row::Not(why) => json!({ "form": form, "not": why }),
                Row::Broken(why) => json!({ "form": form, "broken": why }),
            }).collect::<Vec<_>>(),
        }),
        Found::Limited(why) => {
            json!({ "name": name, "good": good, "limitations": [why] })
        }
        Found::Failed(why) => json!({ "name": name, "good": good, "failed": why }),
    }
}
