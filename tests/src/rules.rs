//! The library's rules in one table: what class each is found to be in, the forms it may take, the
//! golden case that it reproduces and how far it is off at worst, in any form as machine code.

use crate::measure::{Engine, distances, forms, lowered};
use crate::spec::Specs;
use crate::{files, golden, root};
use nestor_compiler::Choice;
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::source::{self, Loaded};
use nestor_ir::artifact::Precision;
use std::collections::BTreeSet;
use std::fmt::Write;

/// What was made of the walks of a program: class and form of each, the same ones once.
pub fn classes(choices: &[Choice]) -> String {
    if choices.is_empty() {
        return "every pair kept; no walk".to_owned();
    }
    let one = |c: &Choice| {
        let slots = c.structure.map_or(0, |s| s.coupled);
        let class = if slots > 1 {
            format!("{}, n = {slots}", c.class())
        } else {
            c.class().to_owned()
        };
        format!("{class}: {}", c.form.name())
    };
    let all: BTreeSet<String> = choices.iter().map(one).collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

/// The memories of the library, with the first sentence of what each says of itself.
pub fn memories() -> Vec<(String, String)> {
    let all = nestor_stdlib::FILES.iter();
    let memories = all.filter(|(name, _)| name.starts_with("stdlib/memory/"));
    let one = |(_, text): &(&str, &str)| {
        let body = text.lines().find_map(|l| l.strip_prefix("memory ")).unwrap_or("");
        let name = body.chars().take_while(|c| c.is_alphanumeric()).collect();
        let head = text.lines().next().unwrap_or("").trim_start_matches("/// ");
        (name, head.split(':').next().unwrap_or(head).trim_end_matches('.').to_owned())
    };
    memories.map(one).collect()
}

/// Entries of the programs that hold the library, with their texts.
pub fn checked() -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in nestor_stdlib::CHECKS.iter().flat_map(|(_, text)| text.lines()) {
        if let Some(rest) = line.strip_prefix("layer ") {
            let name = rest.split('(').next().unwrap_or(rest);
            out.push((name.to_owned(), String::new()));
        } else if let Some((_, text)) = out.last_mut() {
            let _ = writeln!(text, "{line}");
        }
    }
    out
}

/// Whether a text makes an instance of a definition.
pub fn makes(text: &str, name: &str) -> bool {
    let call = format!("{name}(");
    text.lines().any(|l| {
        let mut parts = l.split(&call);
        let before = parts.next().and_then(|b| b.chars().last());
        parts.next().is_some() && before.is_none_or(|c| !c.is_alphanumeric())
    })
}

/// A program that holds a rule, perhaps by way of layers of the library.
pub fn entry_of(rule: &str) -> Option<String> {
    let mut names = vec![rule.to_owned()];
    let words = |text: &str| -> BTreeSet<String> {
        let code = text.lines().filter(|l| !l.starts_with("///"));
        let words =
            code.flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.map(str::to_owned).collect()
    };
    let entries = checked();
    let mut at = 0;
    while at < names.len() {
        let name = names[at].clone();
        at += 1;
        if let Some((entry, _)) = entries.iter().find(|(_, text)| makes(text, &name)) {
            return Some(entry.clone());
        }
        for (_, text) in nestor_stdlib::FILES {
            let defined = text.lines().find_map(|l| l.strip_prefix("layer "));
            let defined: Option<String> =
                defined.map(|l| l.chars().take_while(|c| c.is_alphanumeric()).collect());
            if let Some(layer) = defined.filter(|l| !names.contains(l))
                && words(text).contains(&name)
            {
                names.push(layer);
            }
        }
    }
    None
}

/// A golden case: its classes, the forms that apply, and the worst distances in both precisions.
struct Case {
    classes: String,
    forms: Vec<&'static str>,
    worst: [f64; 2],
}

fn measured(name: &str) -> Result<Case, String> {
    let folder = root().join("tests/oracle");
    let path = folder.join(format!("{name}.nest"));
    let specs = Specs::read(&[&path]);
    let program = specs.elaborate("Case", &[]).program.ok_or("it does not elaborate")?;
    let case = golden::read(&folder.join(format!("cases/{name}.safetensors")));
    let mut out = Case { classes: String::new(), forms: vec![], worst: [0.0; 2] };
    for form in forms() {
        let Some(lowered) = lowered(&program, &case, form)? else { continue };
        match form {
            Some(form) => out.forms.push(form.name()),
            None => out.classes = classes(&lowered.choices),
        }
        for (worst, precision) in
            out.worst.iter_mut().zip([Precision::F64, Precision::F32])
        {
            let engine = Engine::Native(precision);
            for (_, off) in distances(&program, &case, &lowered.graph, engine)? {
                *worst = worst.max(off);
            }
        }
    }
    Ok(out)
}

/// The table as Markdown.
///
/// # Errors
/// Where a program of it does not compile.
pub fn table() -> Result<String, String> {
    let cases: Vec<(String, String)> = files(&root().join("tests/oracle"), "nest")
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (name.into_owned(), std::fs::read_to_string(path).unwrap_or_default())
        })
        .collect();
    let loaded = source::checks();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "| rule | | class: form | forms that apply | golden case | float64 | float32 |\n|---|---|---|---|---|---|---|"
    );
    let mut used = BTreeSet::new();
    let row = |out: &mut String, rule: &str, about: &str, case: &str| {
        let found = measured(case).map_err(|e| format!("{case}: {e}"))?;
        let [f64, f32] = found.worst;
        let walks = !found.classes.starts_with("every pair");
        let forms = if walks { found.forms.join(", ") } else { String::new() };
        let _ = writeln!(
            out,
            "| {rule} | {about} | {} | {forms} | `{case}` | {f64:.0e} | {f32:.0e} |",
            found.classes
        );
        Ok::<(), String>(())
    };
    for (rule, about) in memories() {
        let own = cases.iter().filter(|(_, text)| makes(text, &rule));
        let own: Vec<&String> = own.map(|(name, _)| name).collect();
        for case in &own {
            used.insert((*case).clone());
            row(&mut out, &format!("`{rule}`"), &about, case)?;
        }
        if own.is_empty() {
            let (entry, classes) = match entry_of(&rule) {
                Some(entry) => (format!("`{entry}`"), of_entry(&loaded, &entry)?),
                None => (String::new(), String::new()),
            };
            let _ =
                writeln!(out, "| `{rule}` | {about} | {classes} | | by {entry} | | |");
        }
    }
    for (case, text) in cases.iter().filter(|(name, _)| !used.contains(name)) {
        let about = text.lines().next().unwrap_or("").trim_start_matches("// ");
        let about = about.split_once(": ").map_or(about, |(_, about)| about);
        row(&mut out, "a memory of its own", about, case)?;
    }
    Ok(out)
}

/// Class and form of an entry of the programs that hold the library.
///
/// # Errors
/// Where it does not compile.
pub fn of_entry(loaded: &Loaded, entry: &str) -> Result<String, String> {
    let found = nestor_compiler::check::program(loaded, Some(entry), &[]);
    let (program, _) = found.map_err(|d| {
        let text: Vec<&str> = d.iter().map(|d| d.message.as_str()).collect();
        format!("{entry}: {}", text.join("; "))
    })?;
    let lowered = forward(&program, Purpose::default()).map_err(|e| e.to_string())?;
    Ok(classes(&lowered.choices))
}
