//! Sweeps: from `sweep name over target { rows }` to the texts of all combinations.
//!
//! ```text
//! before   sweep grid over Cell { bias in [dot, l2]   gradient in [at previous, at kept] }
//! after    four files, each with `Cell`'s clauses written over by one choice of every row
//! ```
//!
//! A combination is a whole file of its own: what the user's file uses stands in it, sweeps do
//! not. A row names an axis clause of a memory or a parameter of the definition swept. A swept
//! definition of the library is written into the file, with those of the library that use it, so
//! that they see the one that is swept. What a combination means, and whether it is legal, is the
//! checker's business.

use crate::source::Loaded;
use nestor_grammar::ast::{Definition, EntryKind, Item, ItemKind, Kind, Sweep};
use nestor_grammar::{Diagnostic, FileId, Span, format, nearest};

/// A sweep, expanded.
#[derive(Clone, PartialEq, Debug)]
pub struct Expanded {
    /// Its name.
    pub name: String,
    /// The definition swept.
    pub over: String,
    /// The axes with their choices, as written.
    pub axes: Vec<(String, Vec<String>)>,
    /// All combinations, the last axis changing fastest.
    pub combinations: Vec<Combination>,
}

/// One choice on every axis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Combination {
    /// The number of the choice on every axis.
    pub choices: Vec<usize>,
    /// The file.
    pub text: String,
}

/// The words of a memory's clauses that may be swept.
const CLAUSES: &[&str] = &["structure", "bias", "retention", "algorithm", "gradient"];

/// Expands the sweep of this name; the only one where none is given.
///
/// # Errors
/// Everything that stands in its way.
pub fn expand(loaded: &Loaded, name: Option<&str>) -> Result<Expanded, Vec<Diagnostic>> {
    let sweep = find(loaded, name).map_err(|d| vec![d])?;
    let (definition, entry, library) = target(loaded, sweep).map_err(|d| vec![d])?;
    let mut axes = Vec::new();
    let mut found = Vec::new();
    for row in &sweep.rows {
        let parameter =
            definition.params.all.iter().any(|p| p.name.text == row.name.text);
        let clause =
            definition.kind == Kind::Memory && CLAUSES.contains(&row.name.text.as_str());
        if !parameter && !clause {
            found.push(no_such_axis(definition, &row.name.text, row.name.span));
        }
        axes.push((row.name.text.clone(), choices(loaded.sources.text(row.span))));
    }
    if !found.is_empty() {
        return Err(found);
    }
    let around = surroundings(loaded, sweep, entry, library);
    let original = loaded.sources.text(entry);
    let mut combinations = Vec::new();
    let count: usize = axes.iter().map(|(_, c)| c.len()).product();
    for n in 0..count {
        let mut rest = n;
        let mut chosen = vec![0; axes.len()];
        for (k, (_, choices)) in axes.iter().enumerate().rev() {
            chosen[k] = rest % choices.len();
            rest /= choices.len();
        }
        let words: Vec<(&str, &str)> = axes
            .iter()
            .zip(&chosen)
            .map(|((axis, choices), k)| (axis.as_str(), choices[*k].as_str()))
            .collect();
        let swept = written_over(original, entry, definition, &words);
        let text = around.iter().map(|part| match part {
            Some(text) => text.as_str(),
            None => swept.as_str(),
        });
        let text = text.collect::<Vec<_>>().join("\n\n") + "\n";
        let text = format(&text).unwrap_or(text);
        combinations.push(Combination { choices: chosen, text });
    }
    let over = definition.name.text.clone();
    Ok(Expanded { name: sweep.name.text.clone(), over, axes, combinations })
}

fn find<'l>(loaded: &'l Loaded, name: Option<&str>) -> Result<&'l Sweep, Diagnostic> {
    let entries = loaded.files.iter().flat_map(|(_, f)| &f.entries);
    let all: Vec<&Sweep> = entries
        .filter_map(|e| match &e.kind {
            EntryKind::Sweep(sweep) => Some(sweep),
            EntryKind::Use(_) | EntryKind::Constant(..) | EntryKind::Definition(_) => {
                None
            }
        })
        .collect();
    let names: Vec<&str> = all.iter().map(|s| s.name.text.as_str()).collect();
    let none = |text: String| Diagnostic::nowhere("N101", text);
    match (name, all.as_slice()) {
        (_, []) => Err(none("the file has no sweep".into()).help(
            "write `sweep NAME over DEFINITION { bias in [dot, l2]   ... }` into it",
        )),
        (None, [one]) => Ok(one),
        (None, _) => Err(none(format!("the file has {} sweeps", all.len()))
            .help(format!("name one: {}", names.join(", ")))),
        (Some(name), _) => {
            let found = all.iter().find(|s| s.name.text == name);
            found.copied().ok_or_else(|| {
                none(format!("no sweep is called `{name}`"))
                    .help(format!("there are: {}", names.join(", ")))
            })
        }
    }
}

/// The definition swept, the span of its entry, and whether it is the library's.
fn target<'l>(
    loaded: &'l Loaded,
    sweep: &Sweep,
) -> Result<(&'l Definition, Span, bool), Diagnostic> {
    let name = &sweep.over.text;
    for (library, files) in [(false, &loaded.files), (true, &*loaded.library)] {
        for entry in files.iter().rev().flat_map(|(_, f)| &f.entries) {
            if let EntryKind::Definition(d) = &entry.kind
                && d.name.text == *name
            {
                return Ok((d, entry.span, library));
            }
        }
    }
    let all = definitions(loaded);
    let near = nearest(name, all.iter().map(|(d, _)| d.name.text.as_str()));
    let text = format!("no definition is called `{name}`");
    let diagnostic = Diagnostic::error("N101", sweep.over.span, text);
    Err(match near {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    })
}

fn definitions(loaded: &Loaded) -> Vec<(&Definition, Span)> {
    let files = loaded.files.iter().chain(loaded.library.iter());
    let entries = files.flat_map(|(_, f)| &f.entries);
    entries
        .filter_map(|e| match &e.kind {
            EntryKind::Definition(d) => Some((d, e.span)),
            EntryKind::Use(_) | EntryKind::Constant(..) | EntryKind::Sweep(_) => None,
        })
        .collect()
}

fn no_such_axis(definition: &Definition, row: &str, span: Span) -> Diagnostic {
    let mut known: Vec<&str> =
        definition.params.all.iter().map(|p| p.name.text.as_str()).collect();
    if definition.kind == Kind::Memory {
        known.extend(CLAUSES);
    }
    let kind = definition.kind.word();
    let name = &definition.name.text;
    let text = format!("`{row}` is no parameter or clause of the {kind} `{name}`");
    Diagnostic::error("N101", span, text).help(format!("it has {}", known.join(", ")))
}

/// The choices of a row, as written: what stands between its outer brackets, at its commas.
fn choices(row: &str) -> Vec<String> {
    let row: Vec<&str> =
        row.lines().map(|l| l.split("//").next().unwrap_or(l).trim()).collect();
    let row = row.join(" ");
    let (open, close) = (row.find('['), row.rfind(']'));
    let inner = match (open, close) {
        (Some(open), Some(close)) if open < close => &row[open + 1..close],
        _ => "",
    };
    let (mut out, mut depth, mut word) = (Vec::new(), 0, String::new());
    for c in inner.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                out.push(std::mem::take(&mut word).trim().to_owned());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    out.push(word.trim().to_owned());
    out
}

/// The parts of every combination's file, in order; nothing where the swept definition stands.
fn surroundings(
    loaded: &Loaded,
    sweep: &Sweep,
    swept: Span,
    library: bool,
) -> Vec<Option<String>> {
    let mut out = Vec::new();
    if library {
        out.push(None);
        let users = dependents(loaded, &sweep.over.text);
        out.extend(users.into_iter().map(|s| Some(loaded.sources.text(s).to_owned())));
    }
    for (id, file) in &loaded.files {
        let (mut at, text) = (0, &loaded.sources.get(*id).text);
        for entry in &file.entries {
            let here = entry.span.file == *id && entry.span == swept;
            let dropped = match &entry.kind {
                EntryKind::Use(_) | EntryKind::Sweep(_) => true,
                EntryKind::Constant(..) | EntryKind::Definition(_) => here,
            };
            if dropped {
                out.push(Some(between(text, at, entry.span.start as usize)));
                at = entry.span.end as usize;
            }
            if here {
                out.push(None);
            }
        }
        out.push(Some(between(text, at, text.len())));
    }
    out.retain(|part| part.as_ref().is_none_or(|t| !t.is_empty()));
    out
}

fn between(text: &str, from: usize, to: usize) -> String {
    text.get(from..to).unwrap_or("").trim().to_owned()
}

/// Definitions of the library that use a name, or one that does, as far as the user's files reach
/// them.
fn dependents(loaded: &Loaded, name: &str) -> Vec<Span> {
    let library: Vec<(&Definition, Span)> = definitions(loaded)
        .into_iter()
        .filter(|(_, s)| loaded.library.iter().any(|(id, _)| *id == s.file))
        .collect();
    let mentions = |span: Span, name: &str| has_word(loaded.sources.text(span), name);
    let mut users = vec![name.to_owned()];
    loop {
        let more = library.iter().find(|(d, span)| {
            !users.contains(&d.name.text) && users.iter().any(|u| mentions(*span, u))
        });
        match more {
            Some((d, _)) => users.push(d.name.text.clone()),
            None => break,
        }
    }
    let texts: Vec<&String> =
        loaded.files.iter().map(|(id, _)| &loaded.sources.get(*id).text).collect();
    let mut reached: Vec<&(&Definition, Span)> = Vec::new();
    loop {
        let more = library.iter().find(|(d, span)| {
            d.name.text != name
                && users.contains(&d.name.text)
                && !reached.iter().any(|(_, s)| s == span)
                && (texts.iter().any(|t| has_word(t, &d.name.text))
                    || reached.iter().any(|(_, s)| mentions(*s, &d.name.text)))
        });
        match more {
            Some(one) => reached.push(one),
            None => break,
        }
    }
    reached.into_iter().map(|(_, span)| *span).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word)
    })
}

/// A definition's text with choices in place of its clauses and defaults.
fn written_over(
    original: &str,
    entry: Span,
    definition: &Definition,
    choices: &[(&str, &str)],
) -> String {
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    let at = |byte: u32| (byte - entry.start) as usize;
    for (axis, choice) in choices {
        let parameter = definition.params.all.iter().find(|p| p.name.text == *axis);
        if let Some(parameter) = parameter {
            match &parameter.default {
                Some(default) => {
                    let span = default.span;
                    edits.push((at(span.start), at(span.end), (*choice).to_owned()));
                }
                None => {
                    // A shape, where there is one, ends where the next `,`, `;` or `)` stands.
                    let name = at(parameter.name.span.end);
                    let place = name + end_of_shape(&original[name..]);
                    edits.push((place, place, format!(" = {choice}")));
                }
            }
            continue;
        }
        let line = match *choice {
            // Nothing is kept back: a memory without the clause.
            "none" if *axis == "retention" => String::new(),
            choice => format!("{axis} {choice}"),
        };
        match definition.body.iter().find(|i| clause(i) == Some(axis)) {
            Some(item) => edits.push((at(item.span.start), at(item.span.end), line)),
            None => {
                let end = original.rfind('}').unwrap_or(original.len());
                edits.push((end, end, format!("    {line}\n")));
            }
        }
    }
    edits.sort_by_key(|e| std::cmp::Reverse(e.0));
    let mut text = original.to_owned();
    for (from, to, new) in edits {
        text.replace_range(from..to, &new);
    }
    text
}

fn end_of_shape(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' => depth -= 1,
            ')' if depth > 0 => depth -= 1,
            ',' | ';' | ')' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The word of an axis clause.
fn clause(item: &Item) -> Option<&'static str> {
    match &item.kind {
        ItemKind::Structure(_) => Some("structure"),
        ItemKind::Bias(_) => Some("bias"),
        ItemKind::Retention(_) => Some("retention"),
        ItemKind::Algorithm(_) => Some("algorithm"),
        ItemKind::Gradient(_) => Some("gradient"),
        _ => None,
    }
}

/// A combination's file, as if it were the user's.
pub fn loaded(text: &str) -> Loaded {
    let mut out = crate::source::library();
    let id: FileId = out.sources.add("combination.nest", text);
    let (file, found) = nestor_grammar::parse(&out.sources, id);
    out.found.extend(found);
    out.files.push((id, file));
    out
}
