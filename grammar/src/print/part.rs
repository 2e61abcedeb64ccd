//! The statements of a file and of its bodies, as what the page needs to know of each: where it stands,
//! its text, and where a column of neighbours may line up.

use super::expr::{anchor, arguments, call, clock, expr, params, path, shape};
use super::layout::{Doc, cat, group, text};
use crate::ast::{
    AxisChoice, BiasChoice, Binding, Choice, Decl, Definition, Entry, EntryKind, Item,
    ItemKind, Level, Minimize, Name, Reset, SweepRow,
};
use crate::source::Span;

/// A statement or definition.
pub(super) struct Part {
    /// Its first byte.
    pub(super) start: usize,
    /// One past its last.
    pub(super) end: usize,
    /// Its text.
    pub(super) form: Form,
}

/// How a part is laid out.
pub(super) enum Form {
    /// Text.
    Plain(Doc),
    /// Two columns: neighbours of the same column line up.
    Columns(Column, String, Doc),
    /// A head and a body in braces.
    Block(Doc, Vec<Part>),
}

/// Which neighbours line up with one another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// `name = value`.
    Binding,
    /// `weight name: shape = value`.
    Declaration,
    /// `bias l2`.
    Clause,
    /// `bias in [...]`.
    Row,
    /// `bias l2(y, v) = ...`.
    Equation,
}

fn part(span: Span, form: Form) -> Part {
    Part { start: span.start as usize, end: span.end as usize, form }
}

/// A part of a file.
pub(super) fn entry(e: &Entry) -> Part {
    let form = match &e.kind {
        EntryKind::Use(file) => Form::Plain(text(format!("use \"{}\"", file.text))),
        EntryKind::Constant(name, value) => {
            Form::Columns(Column::Binding, name.text.clone(), equals(expr(value)))
        }
        EntryKind::Definition(d) => definition(d),
        EntryKind::Sweep(s) => {
            let head = format!("sweep {} over {}", s.name.text, s.over.text);
            Form::Block(text(head), s.rows.iter().map(row).collect())
        }
    };
    part(e.span, form)
}

fn definition(d: &Definition) -> Form {
    let head = text(format!("{} {}", d.kind.word(), d.name.text));
    // A layer may be without parameters, and then has no parentheses; other kinds always have them.
    let bare = d.params.all.is_empty()
        && d.params.semicolon.is_none()
        && matches!(d.kind, crate::ast::Kind::Layer | crate::ast::Kind::Model);
    let head = if bare { head } else { cat([head, params(&d.params)]) };
    match d.body.as_slice() {
        [Item { kind: ItemKind::Output(None, value), .. }] if d.by_equation => {
            Form::Columns(Column::Equation, head.flat(), equals(expr(value)))
        }
        body => Form::Block(head, body.iter().map(item).collect()),
    }
}

fn row(r: &SweepRow) -> Part {
    let choices = r.choices.iter().map(|c| match c {
        Choice::Expr(e) => expr(e),
        Choice::Anchor(a) => anchor(a),
    });
    let tail = cat([text("in ["), group(commas(choices)), text("]")]);
    part(r.span, Form::Columns(Column::Row, r.name.text.clone(), tail))
}

fn commas(docs: impl Iterator<Item = Doc>) -> Doc {
    let docs: Vec<Doc> = docs.collect();
    let count = docs.len();
    let marked = docs.into_iter().enumerate();
    let marked =
        marked.map(|(n, d)| cat([d, text(if n + 1 == count { "" } else { "," })]));
    Doc::Fill(marked.collect())
}

fn equals(value: Doc) -> Doc {
    cat([text("= "), value])
}

fn plain(word: &str, value: Doc) -> Form {
    Form::Plain(cat([text(format!("{word} ")), value]))
}

fn clause(word: &str, value: Doc) -> Form {
    Form::Columns(Column::Clause, word.into(), value)
}

fn items(all: &[Item]) -> Vec<Part> {
    all.iter().map(item).collect()
}

fn item(i: &Item) -> Part {
    let form = match &i.kind {
        ItemKind::Input(names, dims, every) => {
            let names: Vec<&str> = names.iter().map(|n| n.text.as_str()).collect();
            let mut out = vec![text(format!("in {}: ", names.join(", "))), shape(dims)];
            if let Some(every) = every {
                out.extend([text(" "), clock(every)]);
            }
            Form::Plain(cat(out))
        }
        ItemKind::Weights(decls) => declarations("weight", decls),
        ItemKind::States(decls) => declarations("state", decls),
        ItemKind::Binding(b) => binding(b),
        ItemKind::Effect(of, args) => Form::Plain(cat([path(of), arguments(args)])),
        ItemKind::Repeat(names, over, body) => {
            Form::Block(cat([text(pattern(names.as_deref())), expr(over)]), items(body))
        }
        ItemKind::Minimize(m) => Form::Plain(minimize(m)),
        ItemKind::Level(l) => Form::Block(level(l), items(&l.body)),
        ItemKind::ClockBlock(every, body) => Form::Block(clock(every), items(body)),
        ItemKind::Output(None, value) => plain("out", expr(value)),
        ItemKind::Output(Some(name), value) => {
            Form::Plain(cat([text(format!("out {} = ", name.text)), expr(value)]))
        }
        ItemKind::Keep(value) => plain("keep", expr(value)),
        ItemKind::Penalty(value) => plain("penalty", expr(value)),
        ItemKind::Step(value) => plain("step", expr(value)),
        ItemKind::RetentionRead(value) => plain("read", expr(value)),
        ItemKind::Reader(p, value) => {
            Form::Plain(cat([text("read"), params(p), text(" = "), expr(value)]))
        }
        ItemKind::Structure(c) => clause("structure", call(c)),
        ItemKind::Bias(all) => clause("bias", group(commas(all.iter().map(bias_choice)))),
        ItemKind::Retention(all) => {
            clause("retention", group(commas(all.iter().map(axis_choice))))
        }
        ItemKind::Algorithm(all) => {
            clause("algorithm", group(commas(all.iter().map(axis_choice))))
        }
        ItemKind::Gradient(a) => clause("gradient", anchor(a)),
        ItemKind::UpdateEvery(every) => clause("update", clock(every)),
        ItemKind::Update(p, body) => {
            Form::Block(cat([text("update"), params(p)]), items(body))
        }
        ItemKind::ReadAt(every) => clause("read", cat([text("at "), clock(every)])),
        ItemKind::Reset(r) => clause("reset", reset(r)),
    };
    part(i.span, form)
}

fn pattern(names: Option<&[Name]>) -> String {
    match names {
        None => "repeat ".into(),
        Some([one]) => format!("repeat {} in ", one.text),
        Some(names) => {
            let names: Vec<&str> = names.iter().map(|n| n.text.as_str()).collect();
            format!("repeat ({}) in ", names.join(", "))
        }
    }
}

fn declarations(word: &str, decls: &[Decl]) -> Form {
    match decls {
        [one] => {
            let (head, tail) = declaration(one);
            Form::Columns(Column::Declaration, format!("{word} {}", head.flat()), tail)
        }
        many => {
            let many = many.iter().map(|d| {
                let (head, tail) = declaration(d);
                cat([head, text(" "), tail])
            });
            plain(word, group(commas(many)))
        }
    }
}

fn declaration(d: &Decl) -> (Doc, Doc) {
    let head = match &d.shape {
        Some(s) => cat([path(&d.path), text(": "), shape(s)]),
        None => path(&d.path),
    };
    let fixed = if d.fixed { "fixed " } else { "" };
    (head, equals(cat([text(fixed), expr(&d.initial)])))
}

fn binding(b: &Binding) -> Form {
    let head = format!("{}{}", path(&b.path).flat(), if b.primed { "'" } else { "" });
    let mut tail = vec![equals(expr(&b.value))];
    if let Some(when) = &b.when {
        tail.extend([text(" when "), expr(when)]);
    }
    if let Some(from) = &b.from {
        tail.extend([text(" from "), path(from)]);
    }
    Form::Columns(Column::Binding, head, cat(tail))
}

fn minimize(m: &Minimize) -> Doc {
    let targets = match &m.targets {
        None => text("*"),
        Some(targets) => commas(targets.iter().map(path)),
    };
    let mut out = vec![
        cat([text("minimize "), expr(&m.objective)]),
        cat([text("over "), targets]),
        cat([text("using "), call(&m.using)]),
    ];
    if let Some(retaining) = &m.retaining {
        out.push(cat([text("retaining "), call(retaining)]));
    }
    if let Some(a) = &m.gradient {
        out.push(cat([text("gradient "), anchor(a)]));
    }
    if let Some(clip) = &m.clip {
        out.push(cat([text("clip "), expr(clip)]));
    }
    group(Doc::Fill(out))
}

fn level(l: &Level) -> Doc {
    let mut out = vec![text(format!("level {} ", l.name.text)), clock(&l.clock)];
    if let Some(r) = &l.reset {
        out.extend([text(" reset "), reset(r)]);
    }
    if l.online {
        out.push(text(" online"));
    }
    cat(out)
}

fn reset(r: &Reset) -> Doc {
    match r {
        Reset::Never(_) => text("never"),
        Reset::At(every) => clock(every),
    }
}

fn bias_choice(b: &BiasChoice) -> Doc {
    let mut out = vec![call(&b.call)];
    if let Some(count) = &b.over_last {
        out.extend([text(" over last "), expr(count), text(" tokens")]);
    }
    if let Some(weight) = &b.weighted {
        out.extend([text(" weighted "), expr(weight)]);
    }
    if let Some(on) = &b.on {
        out.extend([text(" on "), path(on)]);
    }
    cat(out)
}

fn axis_choice(a: &AxisChoice) -> Doc {
    match &a.on {
        Some(on) => cat([call(&a.call), text(" on "), path(on)]),
        None => call(&a.call),
    }
}
