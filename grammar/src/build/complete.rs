//! What a definition must hold once: a step, a reader, a result.
//!
//! The parser takes the statements of a body in any number, so that what is missing or given twice
//! can be said of the definition by name.

use crate::ast::{Definition, Entry, EntryKind, Item, ItemKind, Kind};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// The statements that are counted.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    Step,
    Reader,
    Output,
    Next,
    RetentionRead,
}

/// Of each kind of definition: what is counted, its words, and whether it must be there.
const RULES: &[(Kind, Counted, &str, bool)] = &[
    (Kind::Algorithm, Counted::Step, "step", true),
    (Kind::Structure, Counted::Reader, "read(...) = ...", true),
    (Kind::Function, Counted::Output, "out", true),
    (Kind::Layer, Counted::Output, "out", true),
    (Kind::Retention, Counted::Next, "keep` or `penalty", false),
    (Kind::Retention, Counted::RetentionRead, "read", false),
    (Kind::Memory, Counted::Reader, "read(...) = ...", false),
];

fn counted(item: &Item) -> Option<Counted> {
    match &item.kind {
        ItemKind::Step(_) => Some(Counted::Step),
        ItemKind::Reader(..) => Some(Counted::Reader),
        ItemKind::Output(..) => Some(Counted::Output),
        ItemKind::Keep(_) | ItemKind::Penalty(_) => Some(Counted::Next),
        ItemKind::RetentionRead(_) => Some(Counted::RetentionRead),
        ItemKind::Input(..)
        | ItemKind::Weights(_)
        | ItemKind::States(_)
        | ItemKind::Binding(_)
        | ItemKind::Effect(..)
        | ItemKind::Repeat(..)
        | ItemKind::Minimize(_)
        | ItemKind::Level(_)
        | ItemKind::ClockBlock(..)
        | ItemKind::Structure(_)
        | ItemKind::Bias(_)
        | ItemKind::Retention(_)
        | ItemKind::Algorithm(_)
        | ItemKind::Gradient(_)
        | ItemKind::UpdateEvery(_)
        | ItemKind::Update(..)
        | ItemKind::ReadAt(_)
        | ItemKind::Reset(_) => None,
    }
}

/// All statements, those in clock blocks among them.
fn statements<'a>(body: &'a [Item], out: &mut Vec<&'a Item>) {
    for item in body {
        out.push(item);
        if let ItemKind::ClockBlock(_, inner) = &item.kind {
            statements(inner, out);
        }
    }
}

/// What is missing from the definitions, or stands in them twice.
pub(super) fn incomplete(entries: &[Entry]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for entry in entries {
        if let EntryKind::Definition(definition) = &entry.kind {
            check(definition, entry.span, &mut found);
        }
    }
    found
}

fn check(definition: &Definition, whole: Span, found: &mut Vec<Diagnostic>) {
    let mut body = Vec::new();
    statements(&definition.body, &mut body);
    let (kind, name) = (definition.kind.word(), &definition.name);
    for (_, what, words, needed) in RULES.iter().filter(|r| r.0 == definition.kind) {
        let mut there = body.iter().filter(|item| counted(item) == Some(*what));
        match (there.next(), there.next()) {
            (None, _) if *needed => {
                let message = format!("the {kind} `{}` has no `{words}`", name.text);
                let end = Span { start: whole.end.saturating_sub(1), ..whole };
                let error = Diagnostic::error("N001", end, message);
                let error = error.says(format!("expected `{words}` before this"));
                found.push(error.label(name.span, format!("this {kind}")));
            }
            (Some(first), Some(second)) => {
                let message = format!("the {kind} `{}` has two `{words}`", name.text);
                let error = Diagnostic::error("N001", second.span, message);
                let error = error.says("the second").label(first.span, "the first");
                found.push(error.help("a definition has one; take one out"));
            }
            (None | Some(_), _) => {}
        }
    }
}
