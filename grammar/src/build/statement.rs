//! Statements of bodies.

use super::expr::{arguments, atom, expr, postfix};
use super::{Context, Node, Rule, first, parts};
use crate::ast::{
    Anchor, AxisChoice, BiasChoice, Binding, Call, Clock, Decl, Item, ItemKind, Level,
    Minimize, Path, Reset, Segment,
};
use crate::build::definition::{params, shape};

/// All statements among these parts.
pub(super) fn items<'a>(cx: Context, pairs: impl Iterator<Item = Node<'a>>) -> Vec<Item> {
    pairs.map(|p| item(cx, p)).collect()
}

fn item(cx: Context, pair: Node<'_>) -> Item {
    let pair = if matches!(pair.as_rule(), Rule::item | Rule::clause) {
        first(pair)
    } else {
        pair
    };
    let span = cx.span(&pair);
    Item { kind: kind(cx, pair), span }
}

fn kind(cx: Context, pair: Node<'_>) -> ItemKind {
    let rule = pair.as_rule();
    let one = {
        let pair = pair.clone();
        move || {
            parts(pair.clone()).next().expect("the grammar gives this statement a part")
        }
    };
    match rule {
        Rule::weights => ItemKind::Weights(parts(pair).map(|p| decl(cx, p)).collect()),
        Rule::state => ItemKind::States(parts(pair).map(|p| decl(cx, p)).collect()),
        Rule::binding => ItemKind::Binding(binding(cx, pair)),
        Rule::minimize => ItemKind::Minimize(minimize(cx, pair)),
        Rule::repeat => repeat(cx, pair),
        Rule::keep => ItemKind::Keep(expr(cx, one())),
        Rule::penalty => ItemKind::Penalty(expr(cx, one())),
        Rule::step => {
            let value = pair.into_inner().find(|p| p.as_rule() == Rule::expr);
            ItemKind::Step(expr(cx, value.expect("a step has a value")))
        }
        Rule::retention_read => ItemKind::RetentionRead(expr(cx, one())),
        Rule::out_expr => ItemKind::Output(None, expr(cx, one())),
        Rule::reader => {
            let mut inner = parts(pair);
            let p = params(cx, inner.next().expect("a reader has parameters"));
            ItemKind::Reader(p, expr(cx, inner.next().expect("a reader has a value")))
        }
        Rule::structure_clause => ItemKind::Structure(call(cx, one())),
        Rule::bias_clause => {
            ItemKind::Bias(parts(pair).map(|p| bias_choice(cx, p)).collect())
        }
        Rule::retention_clause => {
            ItemKind::Retention(parts(pair).map(|p| axis_choice(cx, p)).collect())
        }
        Rule::algorithm_clause => {
            ItemKind::Algorithm(parts(pair).map(|p| axis_choice(cx, p)).collect())
        }
        Rule::gradient_clause => ItemKind::Gradient(anchor(cx, one())),
        Rule::update_every => ItemKind::UpdateEvery(clock(cx, one())),
        Rule::update_body => {
            let mut inner = parts(pair);
            let p = params(cx, inner.next().expect("an update has parameters"));
            ItemKind::Update(p, items(cx, inner))
        }
        Rule::read_at => ItemKind::ReadAt(clock(cx, one())),
        Rule::reset_clause => ItemKind::Reset(reset(cx, pair)),
        Rule::input => input(cx, pair),
        Rule::output => {
            let mut inner = parts(pair).peekable();
            let name = inner.next_if(|p| p.as_rule() == Rule::out_name);
            let name = name.map(|p| cx.name(&first(p)));
            ItemKind::Output(name, expr(cx, inner.next().expect("an output has a value")))
        }
        Rule::clock_block => {
            let mut inner = parts(pair);
            let clock = clock(cx, inner.next().expect("a block has a clock"));
            ItemKind::ClockBlock(clock, items(cx, inner))
        }
        Rule::level => level(cx, pair),
        Rule::effect => {
            let mut inner = parts(pair);
            let path = path(cx, inner.next().expect("an effect has a path"));
            ItemKind::Effect(
                path,
                arguments(cx, inner.next().expect("an effect has arguments")),
            )
        }
        rule => unreachable!("{rule:?} is no statement"),
    }
}

fn input(cx: Context, pair: Node<'_>) -> ItemKind {
    let (mut names, mut dims, mut every) = (Vec::new(), None, None);
    for part in parts(pair) {
        match part.as_rule() {
            Rule::name => names.push(cx.name(&part)),
            Rule::shape => dims = Some(shape(cx, part)),
            _ => every = Some(clock(cx, part)),
        }
    }
    ItemKind::Input(names, dims.expect("an input has a shape"), every)
}

fn level(cx: Context, pair: Node<'_>) -> ItemKind {
    let mut inner = parts(pair).peekable();
    let name = cx.name(&inner.next().expect("a level has a name"));
    let clock = clock(cx, inner.next().expect("a level has a clock"));
    let reset =
        inner.next_if(|p| p.as_rule() == Rule::reset_clause).map(|p| reset(cx, p));
    let online = inner.next_if(|p| p.as_rule() == Rule::kw_online).is_some();
    ItemKind::Level(Level { name, clock, reset, online, body: items(cx, inner) })
}

fn repeat(cx: Context, pair: Node<'_>) -> ItemKind {
    let mut inner = parts(pair).peekable();
    let pattern = inner.next_if(|p| p.as_rule() == Rule::pattern);
    let names = pattern.map(|p| {
        p.into_inner()
            .filter(|p| p.as_rule() == Rule::name)
            .map(|p| cx.name(&p))
            .collect()
    });
    let over = expr(cx, inner.next().expect("a repeat has a list"));
    ItemKind::Repeat(names, over, items(cx, inner))
}

fn decl(cx: Context, pair: Node<'_>) -> Decl {
    let mut inner = pair.into_inner().peekable();
    let path = path(cx, inner.next().expect("a declaration has a name"));
    let shape = inner.next_if(|p| p.as_rule() == Rule::shape).map(|p| shape(cx, p));
    let fixed = inner.next_if(|p| p.as_rule() == Rule::kw_fixed).is_some();
    let initial = expr(cx, inner.next().expect("a declaration has a value"));
    Decl { path, shape, fixed, initial }
}

fn binding(cx: Context, pair: Node<'_>) -> Binding {
    let mut inner = pair.into_inner().peekable();
    let path = path(cx, inner.next().expect("a binding has a path"));
    let primed = inner.next_if(|p| p.as_rule() == Rule::prime).is_some();
    let value = expr(cx, inner.next().expect("a binding has a value"));
    let (mut when, mut from) = (None, None);
    for part in inner {
        let rule = part.as_rule();
        let inner = parts(part).next().expect("a clause has a part");
        if rule == Rule::when {
            when = Some(expr(cx, inner));
        } else {
            from = Some(self::path(cx, inner));
        }
    }
    Binding { path, primed, value, when, from }
}

fn minimize(cx: Context, pair: Node<'_>) -> Minimize {
    let span = cx.span(&pair);
    let (mut objective, mut targets, mut calls) = (None, Some(Vec::new()), Vec::new());
    let (mut gradient, mut clip) = (None, None);
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::expr => objective = Some(expr(cx, part)),
            Rule::star => targets = None,
            Rule::path => {
                if let Some(targets) = &mut targets {
                    targets.push(path(cx, part));
                }
            }
            Rule::call => calls.push(call(cx, part)),
            Rule::gradient_clause => {
                gradient = parts(part).next().map(|p| anchor(cx, p));
            }
            Rule::clip => clip = parts(part).next().map(|p| atom(cx, p)),
            _ => {}
        }
    }
    let mut calls = calls.into_iter();
    Minimize {
        objective: objective.expect("a minimisation has an objective"),
        targets,
        using: calls.next().expect("a minimisation has an algorithm"),
        retaining: calls.next(),
        gradient,
        clip,
        span,
    }
}

fn bias_choice(cx: Context, pair: Node<'_>) -> BiasChoice {
    let mut inner = pair.into_inner();
    let call = call(cx, inner.next().expect("a bias has a call"));
    let mut out = BiasChoice { call, over_last: None, weighted: None, on: None };
    for part in inner {
        let rule = part.as_rule();
        let inner = parts(part).next().expect("a clause has a part");
        match rule {
            Rule::over_last => out.over_last = Some(atom(cx, inner)),
            Rule::weighted => out.weighted = Some(postfix(cx, inner)),
            _ => out.on = Some(path(cx, inner)),
        }
    }
    out
}

fn axis_choice(cx: Context, pair: Node<'_>) -> AxisChoice {
    let mut inner = pair.into_inner();
    let call = call(cx, inner.next().expect("a choice has a call"));
    let on = inner.next().and_then(|p| parts(p).next()).map(|p| path(cx, p));
    AxisChoice { call, on }
}

fn reset(cx: Context, pair: Node<'_>) -> Reset {
    let inner = parts(pair).next().expect("a reset has a part");
    if inner.as_rule() == Rule::kw_never {
        Reset::Never(cx.span(&inner))
    } else {
        Reset::At(clock(cx, inner))
    }
}

/// `at previous`, `at kept`, `at every n tokens`.
pub(super) fn anchor(cx: Context, pair: Node<'_>) -> Anchor {
    let span = cx.span(&pair);
    let inner = parts(pair).next().expect("an anchor has a part");
    match inner.as_rule() {
        Rule::kw_previous => Anchor::Previous(span),
        Rule::kw_kept => Anchor::Kept(span),
        _ => Anchor::Every(clock(cx, inner)),
    }
}

/// `every ...`.
pub(super) fn clock(cx: Context, pair: Node<'_>) -> Clock {
    let span = cx.span(&pair);
    let mut inner = parts(pair);
    let head = inner.next().expect("a clock has a part");
    if head.as_rule() == Rule::kw_sequence {
        return Clock::Sequence(span);
    }
    let n = Box::new(atom(cx, head));
    match inner.next().map(|p| p.as_rule()) {
        Some(Rule::kw_step | Rule::kw_steps) => Clock::Steps(n, span),
        _ => Clock::Tokens(n, span),
    }
}

/// `path(arguments)`.
pub(super) fn call(cx: Context, pair: Node<'_>) -> Call {
    let span = cx.span(&pair);
    let mut inner = pair.into_inner();
    let path = path(cx, inner.next().expect("a call has a path"));
    Call { path, arguments: inner.next().map(|p| arguments(cx, p)), span }
}

/// `name.word[index]`.
pub(super) fn path(cx: Context, pair: Node<'_>) -> Path {
    let span = cx.span(&pair);
    let mut inner = pair.into_inner();
    let name = cx.name(&inner.next().expect("a path has a name"));
    let rest = inner
        .map(|p| match p.as_rule() {
            Rule::field => Segment::Field(cx.name(&first(p))),
            _ => Segment::Index(expr(cx, first(p))),
        })
        .collect();
    Path { name, rest, span }
}
