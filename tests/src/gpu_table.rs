//! `docs/gpu.md`: what the command `gpu_table` has found, as Markdown.

use crate::root;
use crate::usage::Taken;
use nestor_compiler::gpu::{Products, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands.
    pub section: (Target, Products),
    /// As Markdown.
    pub line: String,
    /// What is wrong.
    pub failed: Vec<String>,
}

impl Row {
    /// One of which nothing is known.
    pub fn without(
        section: (Target, Products),
        name: &str,
        width: usize,
        why: &str,
    ) -> Self {
        let why = why.lines().next().unwrap_or("");
        let (target, products) = (section.0.name(), section.1.name());
        Self {
            section,
            line: format!("| `{name}` | {width} | {why} |"),
            failed: vec![format!("{name} {width} {target} {products}: {why}")],
        }
    }

    /// As it is kept.
    pub fn to_json(&self) -> Value {
        json!({ "line": self.line, "failed": self.failed })
    }

    /// One that was kept.
    pub fn from_json(section: (Target, Products), value: &Value) -> Self {
        let texts = |of: &str| {
            let all = value[of].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect()
        };
        Self {
            section,
            line: value["line"].as_str().unwrap_or("").to_owned(),
            failed: texts("failed"),
        }
    }
}

/// The row of what a program's kernels take.
pub fn row(section: (Target, Products), name: &str, width: usize, t: &Taken) -> Row {
    let (target, products) = (section.0.name(), section.1.name());
    let known = |n: u32| if t.registers == 0 { "?".to_owned() } else { n.to_string() };
    let sides: Vec<String> = t.sides.iter().map(usize::to_string).collect();
    let sides = match products == Products::Float32.name() || sides.is_empty() {
        true => String::new(),
        false => format!(" ({})", sides.join(", ")),
    };
    let line = format!(
        "| `{name}` | {width} | {} + {} | {} | {} | {:.1} | {:.0} | {} + {}{sides} | {} | {} | {} | {:.0} | {:.0} | {:.0} |",
        t.kernels,
        t.dense,
        known(t.registers),
        known(t.spills),
        t.shared as f64 / 1024.0,
        t.scratch as f64 / 1024.0,
        t.products[0],
        t.products[1],
        t.on_cores.0,
        t.on_cores.1.map_or("?".to_owned(), |n| n.to_string()),
        t.instructions,
        t.predicted * 1e6,
        t.worked.as_secs_f64() * 1e3,
        t.made.as_secs_f64() * 1e3,
    );
    let what = format!("{name} {width} {target} {products}");
    let bytes = |all: &[(String, u32)]| {
        let each = all.iter().map(|(k, bytes)| format!("{bytes} bytes by {k}"));
        format!("{what}: {}", each.collect::<Vec<_>>().join(", "))
    };
    let mut failed = Vec::new();
    if t.spills > 0 {
        failed.push(format!("{} spilled", bytes(&t.spilling)));
    }
    if !t.without.is_empty() {
        failed.push(format!("{what}: not on tensor cores in {}", t.without.join(", ")));
    }
    if !t.too_long.is_empty() {
        failed.push(format!(
            "{what}: longer than the limit to assemble {}",
            t.too_long.join(", ")
        ));
    }
    Row { section, line, failed }
}

const TITLES: &str = "| memory | width | kernels | registers | spills | shared | scratch | products | mma | HMMA | instructions | \
     predicted | work | to PTX |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// The whole document: what comes before the table, for people, what its columns are, and the table.
///
/// # Errors
/// Where those texts cannot be read; they are no part of the command, so that rows stay when they change.
pub fn document(rows: &[Row], assembled: bool) -> Result<String, String> {
    let text = |name: &str| {
        let path = root().join("tests/gpu").join(name);
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let (head, columns) = (text("head.md")?, text("columns.md")?);
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{text}").expect("memory");
    line(&head);
    line("## The table\n");
    line(columns.trim_end());
    if !assembled {
        line("\nptxas is not found: registers, spills and machine code are not known.");
    }
    line("");
    said(rows).iter().for_each(|text| line(text));
    let mut sections: BTreeMap<usize, Vec<&Row>> = BTreeMap::new();
    let mut order: Vec<(Target, Products)> = Vec::new();
    for row in rows {
        let at = order.iter().position(|s| *s == row.section).unwrap_or_else(|| {
            order.push(row.section);
            order.len() - 1
        });
        sections.entry(at).or_default().push(row);
    }
    for (at, rows) in sections {
        let (target, products) = order[at];
        let (target, products) = (target.name(), products.name());
        line(&format!("\n## {target}, products in {products}\n\n{TITLES}"));
        rows.iter().for_each(|row| line(&row.line));
    }
    Ok(out)
}

/// How many rows there are, and what is wrong.
fn said(rows: &[Row]) -> Vec<String> {
    let wrong = rows.iter().filter(|r| !r.failed.is_empty()).count();
    let mut out = vec![match wrong {
        0 => format!("Of the {} rows none fails.", rows.len()),
        n => format!("Of the {} rows {n} fail.", rows.len()),
    }];
    if wrong > 0 {
        out.push("\nWhat fails:\n".to_owned());
        let failed = rows.iter().flat_map(|r| &r.failed);
        out.extend(failed.map(|text| format!("- {text}")));
    }
    out
}
