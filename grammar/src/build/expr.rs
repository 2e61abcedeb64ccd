//! Expressions.

use super::{Context, Node, Rule, first, parts};
use crate::ast::{Argument, Arguments, BinaryOp, Expr, ExprKind, UnaryOp};
use crate::source::Span;

/// `expr`: a condition with pipes.
pub(super) fn expr(cx: Context, pair: Node<'_>) -> Expr {
    let mut inner = pair.into_inner();
    let mut value = cond(cx, inner.next().expect("an expression has a first part"));
    for part in inner.filter(|p| p.as_rule() != Rule::pipe) {
        let f = postfix(cx, part);
        let span = value.span.to(f.span);
        value = Expr { kind: ExprKind::Pipe(Box::new(value), Box::new(f)), span };
    }
    value
}

fn cond(cx: Context, pair: Node<'_>) -> Expr {
    let span = cx.span(&pair);
    let inner = first(pair);
    if inner.as_rule() != Rule::conditional {
        return operators(cx, inner);
    }
    let mut inner = parts(inner);
    let mut part = || inner.next().expect("a condition has three parts");
    let (c, a, b) = (expr(cx, part()), expr(cx, part()), cond(cx, part()));
    Expr { kind: ExprKind::If(Box::new(c), Box::new(a), Box::new(b)), span }
}

/// Every binary level: operands and operators alternate.
fn operators(cx: Context, pair: Node<'_>) -> Expr {
    let span = cx.span(&pair);
    match pair.as_rule() {
        Rule::or_expr => chain(cx, pair, |_| Some(BinaryOp::Or)),
        Rule::and_expr => chain(cx, pair, |_| Some(BinaryOp::And)),
        Rule::compare | Rule::sum | Rule::product | Rule::matmul => {
            chain(cx, pair, BinaryOp::of)
        }
        Rule::not_expr => {
            let mut inner = pair.into_inner();
            let head = inner.next().expect("an operand");
            match inner.next() {
                Some(operand) => unary(UnaryOp::Not, operators(cx, operand), span),
                None => operators(cx, head),
            }
        }
        Rule::range => {
            let mut inner = pair.into_inner();
            let low = operators(cx, inner.next().expect("an operand"));
            if inner.next().is_none() {
                return low;
            }
            let high = inner.next().map(|p| Box::new(operators(cx, p)));
            Expr { kind: ExprKind::Range(Box::new(low), high), span }
        }
        Rule::unary => {
            let mut inner = pair.into_inner();
            let head = inner.next().expect("an operand");
            match inner.next() {
                Some(operand) => unary(UnaryOp::Neg, operators(cx, operand), span),
                None => operators(cx, head),
            }
        }
        Rule::power => {
            let mut inner = pair.into_inner();
            let base = postfix(cx, inner.next().expect("an operand"));
            match inner.next() {
                Some(exponent) => binary(BinaryOp::Pow, base, operators(cx, exponent)),
                None => base,
            }
        }
        rule => unreachable!("{rule:?} is no operator"),
    }
}

fn chain(cx: Context, pair: Node<'_>, op: impl Fn(&str) -> Option<BinaryOp>) -> Expr {
    let word = |p: &Node<'_>| {
        matches!(
            p.as_rule(),
            Rule::compare_op
                | Rule::sum_op
                | Rule::product_op
                | Rule::matmul_op
                | Rule::kw_or
                | Rule::kw_and
        )
    };
    let mut value: Option<Expr> = None;
    let mut pending = None;
    for part in pair.into_inner() {
        if word(&part) {
            pending = op(part.as_str().trim());
            continue;
        }
        let operand = operators(cx, part);
        value = Some(match (value, pending.take()) {
            (Some(left), Some(op)) => binary(op, left, operand),
            (Some(left), None) => left,
            (None, _) => operand,
        });
    }
    value.expect("a chain has an operand")
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let span = a.span.to(b.span);
    Expr { kind: ExprKind::Binary(op, Box::new(a), Box::new(b)), span }
}

fn unary(op: UnaryOp, a: Expr, span: Span) -> Expr {
    Expr { kind: ExprKind::Unary(op, Box::new(a)), span }
}

/// `atom` with calls, indices, fields and primes behind it.
pub(super) fn postfix(cx: Context, pair: Node<'_>) -> Expr {
    let mut inner = pair.into_inner();
    let mut value = atom(cx, inner.next().expect("a postfix has an atom"));
    for part in inner {
        let span = value.span.to(cx.span(&part));
        let of = Box::new(value);
        let kind = match part.as_rule() {
            Rule::arguments => ExprKind::Call(of, arguments(cx, part)),
            Rule::index => ExprKind::Index(of, Box::new(expr(cx, first(part)))),
            Rule::field => ExprKind::Field(of, cx.name(&first(part))),
            Rule::prime => ExprKind::Prime(of),
            Rule::at_clock => {
                let clock = parts(part).next().expect("a clock");
                ExprKind::At(of, super::statement::clock(cx, clock))
            }
            rule => unreachable!("{rule:?} is no postfix"),
        };
        value = Expr { kind, span };
    }
    value
}

/// `atom`.
pub(super) fn atom(cx: Context, pair: Node<'_>) -> Expr {
    let span = cx.span(&pair);
    let inner = first(pair);
    let text = inner.as_str().trim().to_owned();
    let kind = match inner.as_rule() {
        Rule::number => ExprKind::Number(text.parse().unwrap_or(f64::NAN), text),
        Rule::true_word => ExprKind::Bool(true),
        Rule::false_word => ExprKind::Bool(false),
        Rule::name => ExprKind::Name(text),
        Rule::list => ExprKind::List(inner.into_inner().map(|p| expr(cx, p)).collect()),
        Rule::tuple => {
            let mut all: Vec<Expr> = inner.into_inner().map(|p| expr(cx, p)).collect();
            if all.len() == 1 {
                ExprKind::Group(Box::new(all.remove(0)))
            } else {
                ExprKind::Tuple(all)
            }
        }
        rule => unreachable!("{rule:?} is no atom"),
    };
    Expr { kind, span }
}

/// `(a, b; c)`.
pub(super) fn arguments(cx: Context, pair: Node<'_>) -> Arguments {
    let mut out = Arguments { span: cx.span(&pair), ..Arguments::default() };
    for part in pair.into_inner() {
        if part.as_rule() == Rule::semicolon {
            out.semicolon = Some(out.all.len());
            continue;
        }
        let mut inner = part.into_inner();
        let head = inner.next().expect("an argument has a value");
        let argument = if head.as_rule() == Rule::word {
            let value = expr(cx, inner.next().expect("a named argument has a value"));
            Argument { name: Some(cx.name(&head)), value }
        } else {
            Argument { name: None, value: expr(cx, head) }
        };
        out.all.push(argument);
    }
    out
}
