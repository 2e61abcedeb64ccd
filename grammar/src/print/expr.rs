//! Expressions and their parts as text that may break.

use super::layout::{Doc, cat, group, text};
use crate::ast::{
    Anchor, Argument, Arguments, BinaryOp, Call, Clock, Expr, ExprKind, Param, Params,
    Path, Segment, Shape, UnaryOp,
};

/// An expression.
pub(super) fn expr(e: &Expr) -> Doc {
    match &e.kind {
        ExprKind::Number(_, written) => text(written),
        ExprKind::Bool(value) => text(value.to_string()),
        ExprKind::Name(name) => text(name),
        ExprKind::Unary(UnaryOp::Neg, a) => cat([text("-"), expr(a)]),
        ExprKind::Unary(UnaryOp::Not, a) => cat([text("not "), expr(a)]),
        ExprKind::Binary(BinaryOp::Pow, a, b) => cat([expr(a), text("^"), expr(b)]),
        ExprKind::Binary(op, ..) => {
            let mut parts = Vec::new();
            chain(e, op.info().1, &mut parts);
            group(cat(parts))
        }
        ExprKind::Range(a, b) => {
            cat([expr(a), text(".."), b.as_ref().map_or_else(|| text(""), |b| expr(b))])
        }
        ExprKind::If(c, a, b) => group(cat([
            cat([text("if "), expr(c), text(" then "), expr(a)]),
            Doc::Line,
            cat([text("else "), expr(b)]),
        ])),
        ExprKind::Call(f, args) => cat([expr(f), arguments(args)]),
        ExprKind::Pipe(..) => {
            let mut parts = Vec::new();
            pipes(e, &mut parts);
            group(cat(parts))
        }
        ExprKind::Index(of, at) => cat([expr(of), text("["), expr(at), text("]")]),
        ExprKind::Field(of, name) => cat([expr(of), text(format!(".{}", name.text))]),
        ExprKind::Prime(of) => cat([expr(of), text("'")]),
        ExprKind::At(of, every) => cat([expr(of), text(" at "), clock(every)]),
        ExprKind::List(all) => enclosed("[", all.iter().map(expr).collect(), None, "]"),
        ExprKind::Tuple(all) => {
            // One part alone would read as a group.
            let end = if all.len() == 1 { ",)" } else { ")" };
            enclosed("(", all.iter().map(expr).collect(), None, end)
        }
        ExprKind::Group(inner) => {
            cat([text("("), Doc::Nest(1, Box::new(expr(inner))), text(")")])
        }
    }
}

/// Operators that bind alike, in a row: `a + b - c`.
fn chain(e: &Expr, binds: u8, out: &mut Vec<Doc>) {
    if let ExprKind::Binary(op, a, b) = &e.kind
        && op.info().1 == binds
    {
        chain(a, binds, out);
        out.push(Doc::Line);
        out.push(cat([text(format!("{} ", op.info().0)), expr(b)]));
    } else {
        out.push(expr(e));
    }
}

fn pipes(e: &Expr, out: &mut Vec<Doc>) {
    if let ExprKind::Pipe(x, f) = &e.kind {
        pipes(x, out);
        out.push(Doc::Line);
        out.push(cat([text("|> "), expr(f)]));
    } else {
        out.push(expr(e));
    }
}

/// Parts between brackets, with commas and at most one semicolon.
fn enclosed(open: &str, parts: Vec<Doc>, semicolon: Option<usize>, close: &str) -> Doc {
    let count = parts.len();
    let lead = if semicolon == Some(0) { "; " } else { "" };
    let end = if count > 0 && semicolon == Some(count) { ";" } else { "" };
    if count == 0 {
        let inside = if semicolon.is_some() { ";" } else { "" };
        return text(format!("{open}{inside}{close}"));
    }
    let parts = parts.into_iter().enumerate().map(|(n, part)| {
        let mark = match n + 1 {
            n if n == count => end,
            n if semicolon == Some(n) => ";",
            _ => ",",
        };
        let lead = if n == 0 { lead } else { "" };
        cat([text(lead), part, text(mark)])
    });
    let inside = cat([Doc::Soft, Doc::Fill(parts.collect())]);
    let all = cat([
        text(open),
        Doc::Nest(super::layout::STEP, Box::new(inside)),
        Doc::Soft,
        text(close),
    ]);
    Doc::Group(Box::new(all))
}

/// `(a, b; c = d)`.
pub(super) fn arguments(args: &Arguments) -> Doc {
    enclosed("(", args.all.iter().map(argument).collect(), args.semicolon, ")")
}

fn argument(a: &Argument) -> Doc {
    match &a.name {
        Some(name) => cat([text(format!("{} = ", name.text)), expr(&a.value)]),
        None => expr(&a.value),
    }
}

/// `(a, b = 1; c: [d])`.
pub(super) fn params(p: &Params) -> Doc {
    enclosed("(", p.all.iter().map(param).collect(), p.semicolon, ")")
}

fn param(p: &Param) -> Doc {
    let mut out = vec![text(&p.name.text)];
    if let Some(s) = &p.shape {
        out.extend([text(": "), shape(s)]);
    }
    if let Some(value) = &p.default {
        out.extend([text(" = "), expr(value)]);
    }
    cat(out)
}

/// `[a, _]`, `int(n)`, `bool`.
pub(super) fn shape(s: &Shape) -> Doc {
    match s {
        Shape::Int(below, _) => cat([text("int("), expr(below), text(")")]),
        Shape::Bool(_) => text("bool"),
        Shape::Dims(dims, _) => {
            let dims = dims.iter().map(|d| d.as_ref().map_or_else(|| text("_"), expr));
            enclosed("[", dims.collect(), None, "]")
        }
    }
}

/// `name.word[index]`.
pub(super) fn path(p: &Path) -> Doc {
    let rest = p.rest.iter().map(|segment| match segment {
        Segment::Field(name) => text(format!(".{}", name.text)),
        Segment::Index(at) => cat([text("["), expr(at), text("]")]),
    });
    cat([text(&p.name.text)].into_iter().chain(rest))
}

/// `path(arguments)`.
pub(super) fn call(c: &Call) -> Doc {
    match &c.arguments {
        Some(args) => cat([path(&c.path), arguments(args)]),
        None => path(&c.path),
    }
}

/// `every ...`; one is one token, more are tokens.
pub(super) fn clock(c: &Clock) -> Doc {
    let counted = |n: &Expr, unit: &str| {
        let one = matches!(&n.kind, ExprKind::Number(_, written) if written == "1");
        cat([
            text("every "),
            expr(n),
            text(format!(" {unit}{}", if one { "" } else { "s" })),
        ])
    };
    match c {
        Clock::Sequence(_) => text("every sequence"),
        Clock::Tokens(n, _) => counted(n, "token"),
        Clock::Steps(n, _) => counted(n, "step"),
    }
}

/// `at ...`.
pub(super) fn anchor(a: &Anchor) -> Doc {
    match a {
        Anchor::Previous(_) => text("at previous"),
        Anchor::Kept(_) => text("at kept"),
        Anchor::Every(c) => cat([text("at "), clock(c)]),
    }
}
