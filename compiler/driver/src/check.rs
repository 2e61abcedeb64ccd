//! Checks everything in the user's files that stands by itself, and elaborates entries.

use crate::source::Loaded;
use nestor_front::{Definitions, Elaborated, Setting, elaborate};
use nestor_grammar::ast::{Definition, EntryKind, Kind};
use nestor_grammar::{Diagnostic, Severity};
use nestor_ir::level::Program;

/// Everything found in the user's files: every memory, and every layer and model whose parameters
/// have defaults, is elaborated.
pub fn check(loaded: &Loaded) -> Vec<Diagnostic> {
    let (table, mut found) =
        Definitions::collect(&loaded.sources, &loaded.library, &loaded.files);
    found.splice(0..0, loaded.found.iter().cloned());
    for (_, file) in &loaded.files {
        for entry in &file.entries {
            let EntryKind::Definition(definition) = &entry.kind else { continue };
            if stands_alone(definition) {
                for diagnostic in
                    elaborate(&table, &definition.name.text, &[]).diagnostics
                {
                    if !found.contains(&diagnostic) {
                        found.push(diagnostic);
                    }
                }
            }
        }
    }
    found.sort_by_key(Diagnostic::span);
    found
}

/// Whether a definition is elaborated by itself.
fn stands_alone(definition: &Definition) -> bool {
    match definition.kind {
        Kind::Memory => true,
        Kind::Layer | Kind::Model => {
            definition.params.all.iter().all(|p| p.default.is_some())
        }
        Kind::Function
        | Kind::Bias
        | Kind::Retention
        | Kind::Algorithm
        | Kind::Structure => false,
    }
}

/// The definitions of the user's files that [`check`] did not look into: they do not stand by themselves, and no
/// definition that does names them, directly or through others.
pub fn not_looked_into(loaded: &Loaded) -> Vec<String> {
    let mut open = Vec::new();
    let mut rest = Vec::new();
    for (_, file) in &loaded.files {
        for entry in &file.entries {
            let text = || words(loaded.sources.text(entry.span));
            match &entry.kind {
                EntryKind::Definition(d) if !stands_alone(d) => {
                    rest.push((d.name.text.clone(), text()));
                }
                EntryKind::Definition(_) | EntryKind::Constant(..) => open.push(text()),
                EntryKind::Use(_) | EntryKind::Sweep(_) => {}
            }
        }
    }
    while let Some(named) = open.pop() {
        let reached = |(name, _): &mut (String, Vec<String>)| named.contains(name);
        open.extend(rest.extract_if(.., reached).map(|(_, text)| text));
    }
    rest.into_iter().map(|(name, _)| name).collect()
}

/// The words of a text, without those of its comments.
fn words(text: &str) -> Vec<String> {
    let code = text.lines().filter_map(|line| line.split("//").next());
    let apart = |c: char| !c.is_alphanumeric() && c != '_';
    code.flat_map(|line| line.split(apart)).map(str::to_owned).collect()
}

/// The program of an entry; the file's last memory, layer or model where no name is given.
///
/// # Errors
/// Everything that stands in its way.
pub fn program(
    loaded: &Loaded,
    entry: Option<&str>,
    settings: &[Setting],
) -> Result<(Program, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (table, mut found) =
        Definitions::collect(&loaded.sources, &loaded.library, &loaded.files);
    found.splice(0..0, loaded.found.iter().cloned());
    let last = table
        .of_users()
        .into_iter()
        .rev()
        .find(|(_, kind)| matches!(kind, Kind::Memory | Kind::Layer | Kind::Model));
    let Some(name) = entry.map(str::to_owned).or(last.map(|(name, _)| name)) else {
        if found.iter().all(|d| d.severity == Severity::Warning) {
            let text = "the file defines no memory, layer or model";
            let help = "write one, or name one of the library behind the file";
            found.push(Diagnostic::nowhere("N101", text).help(help));
        }
        return Err(found);
    };
    let Elaborated { program, diagnostics } = elaborate(&table, &name, settings);
    found.extend(diagnostics);
    let good = found.iter().all(|d| d.severity == Severity::Warning);
    match program.filter(|_| good) {
        Some(program) => Ok((program, found)),
        None => Err(found),
    }
}

/// The layers and models of the user's files that stand by themselves, in order.
pub fn entries(loaded: &Loaded) -> Vec<String> {
    let mut out = Vec::new();
    for (_, file) in &loaded.files {
        for entry in &file.entries {
            let EntryKind::Definition(definition) = &entry.kind else { continue };
            let alone = definition.params.all.iter().all(|p| p.default.is_some());
            if alone && matches!(definition.kind, Kind::Layer | Kind::Model) {
                out.push(definition.name.text.clone());
            }
        }
    }
    out
}

/// The names of the parameters of an entry; of the file's last memory, layer or model where no
/// name is given.
pub fn parameters(loaded: &Loaded, entry: Option<&str>) -> Vec<String> {
    let params = definition(loaded, entry).map(|d| d.params.all.as_slice());
    params.unwrap_or_default().iter().map(|p| p.name.text.clone()).collect()
}

/// The default of an entry's parameter, where it is a written number.
pub fn default_of(loaded: &Loaded, entry: Option<&str>, name: &str) -> Option<f64> {
    let all = &definition(loaded, entry)?.params.all;
    let default = all.iter().find(|p| p.name.text == name)?.default.as_ref()?;
    loaded.sources.text(default.span).trim().parse().ok()
}

fn definition<'l>(loaded: &'l Loaded, entry: Option<&str>) -> Option<&'l Definition> {
    let files = loaded.files.iter().rev().map(|(_, file)| file);
    let all = files.flat_map(|f| f.entries.iter().rev()).filter_map(|e| match &e.kind {
        EntryKind::Definition(d) => Some(d),
        EntryKind::Use(_) | EntryKind::Constant(..) | EntryKind::Sweep(_) => None,
    });
    let mut runs = all.filter(|d| match entry {
        Some(name) => d.name.text == name,
        None => matches!(d.kind, Kind::Memory | Kind::Layer | Kind::Model),
    });
    runs.next()
}
