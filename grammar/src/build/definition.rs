//! What a file is made of.

use super::expr::expr;
use super::statement::{anchor, items};
use super::{Context, Node, Rule, first, parts};
use crate::ast::{
    Choice, Definition, EntryKind, Item, ItemKind, Kind, Param, Params, Shape, Sweep,
    SweepRow,
};

/// One part of a file.
pub(super) fn entry(cx: Context, pair: Node<'_>) -> EntryKind {
    let kind = match pair.as_rule() {
        Rule::use_file => {
            let mut name = cx.name(&parts(pair).next().expect("a file name"));
            name.text = name.text.trim_matches('"').to_owned();
            return EntryKind::Use(name);
        }
        Rule::constant => {
            let mut inner = parts(pair);
            let name = cx.name(&inner.next().expect("a constant has a name"));
            let value = expr(cx, inner.next().expect("a constant has a value"));
            return EntryKind::Constant(name, value);
        }
        Rule::sweep => return EntryKind::Sweep(sweep(cx, pair)),
        Rule::function => Kind::Function,
        Rule::bias => Kind::Bias,
        Rule::retention => Kind::Retention,
        Rule::algorithm => Kind::Algorithm,
        Rule::structure => Kind::Structure,
        Rule::memory => Kind::Memory,
        Rule::layer => {
            let head = pair.clone().into_inner().next().map(|p| p.as_rule());
            if head == Some(Rule::kw_model) { Kind::Model } else { Kind::Layer }
        }
        rule => unreachable!("{rule:?} is no part of a file"),
    };
    let words = [Rule::kw_layer, Rule::kw_model];
    let mut inner = parts(pair).filter(|p| !words.contains(&p.as_rule())).peekable();
    let name = cx.name(&inner.next().expect("a definition has a name"));
    let parameters =
        inner.next_if(|p| p.as_rule() == Rule::params).map(|p| params(cx, p));
    let params = parameters.unwrap_or_default();
    let equation = inner.next_if(|p| p.as_rule() == Rule::expr).map(|p| expr(cx, p));
    let by_equation = equation.is_some();
    let body = match equation {
        Some(value) => {
            let span = value.span;
            vec![Item { kind: ItemKind::Output(None, value), span }]
        }
        None => items(cx, inner),
    };
    EntryKind::Definition(Definition { kind, name, params, body, by_equation })
}

fn sweep(cx: Context, pair: Node<'_>) -> Sweep {
    let mut inner = parts(pair);
    let name = cx.name(&inner.next().expect("a sweep has a name"));
    let over = cx.name(&inner.next().expect("a sweep has a target"));
    let rows = inner
        .map(|row| {
            let span = cx.span(&row);
            let mut inner = parts(row);
            let name = cx.name(&inner.next().expect("a row has a name"));
            let choices = inner
                .map(first)
                .map(|p| match p.as_rule() {
                    Rule::anchor => Choice::Anchor(anchor(cx, p)),
                    _ => Choice::Expr(expr(cx, p)),
                })
                .collect();
            SweepRow { name, choices, span }
        })
        .collect();
    Sweep { name, over, rows }
}

/// `(a, b = 1; c: [d])`.
pub(super) fn params(cx: Context, pair: Node<'_>) -> Params {
    let mut out = Params::default();
    for part in pair.into_inner() {
        if part.as_rule() == Rule::semicolon {
            out.semicolon = Some(out.all.len());
            continue;
        }
        let mut inner = part.into_inner().peekable();
        let name = cx.name(&inner.next().expect("a parameter has a name"));
        let shape = inner.next_if(|p| p.as_rule() == Rule::shape).map(|p| shape(cx, p));
        let default = inner.next().map(|p| expr(cx, p));
        out.all.push(Param { name, shape, default });
    }
    out
}

/// `[a, _]`, `int(n)`, `bool`.
pub(super) fn shape(cx: Context, pair: Node<'_>) -> Shape {
    let span = cx.span(&pair);
    let inner = first(pair);
    match inner.as_rule() {
        Rule::int_shape => {
            let below = parts(inner).next().expect("int has a bound");
            Shape::Int(Box::new(expr(cx, below)), span)
        }
        Rule::bool_shape => Shape::Bool(span),
        _ => {
            let dims = inner.into_inner().map(first).map(|p| match p.as_rule() {
                Rule::any_dim => None,
                _ => Some(expr(cx, p)),
            });
            Shape::Dims(dims.collect(), span)
        }
    }
}
