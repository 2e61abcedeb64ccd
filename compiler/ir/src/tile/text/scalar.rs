//! The program of a map as text. A scalar used once is written where it is used, as long as
//! reading the text back, operands first and from left to right, gives the scalars their numbers.

use super::affine::number;
use crate::entity::Entity;
use crate::tile::{Access, Expr, ExprId, Scalar, ScalarKind, ScalarOp};

/// How tightly an operator binds, from loosest to tightest.
pub(super) const INFIX: &[(ScalarOp, &str, u8)] = &[
    (ScalarOp::Or, "or", 1),
    (ScalarOp::And, "and", 2),
    (ScalarOp::Less, "<", 3),
    (ScalarOp::LessEqual, "<=", 3),
    (ScalarOp::Equal, "==", 3),
    (ScalarOp::Add, "+", 4),
    (ScalarOp::Sub, "-", 4),
    (ScalarOp::Mul, "*", 5),
    (ScalarOp::Div, "/", 5),
];

/// Functions by name.
pub(super) const FUNCTIONS: &[(ScalarOp, &str, usize)] = &[
    (ScalarOp::Neg, "neg", 1),
    (ScalarOp::Abs, "abs", 1),
    (ScalarOp::Sign, "sign", 1),
    (ScalarOp::Sqrt, "sqrt", 1),
    (ScalarOp::Exp, "exp", 1),
    (ScalarOp::Log, "log", 1),
    (ScalarOp::Sin, "sin", 1),
    (ScalarOp::Cos, "cos", 1),
    (ScalarOp::Tanh, "tanh", 1),
    (ScalarOp::Erf, "erf", 1),
    (ScalarOp::Sigmoid, "sigmoid", 1),
    (ScalarOp::Softplus, "softplus", 1),
    (ScalarOp::Floor, "floor", 1),
    (ScalarOp::Not, "not", 1),
    (ScalarOp::Real, "real", 1),
    (ScalarOp::Pow, "pow", 2),
    (ScalarOp::Rem, "rem", 2),
    (ScalarOp::Max, "max", 2),
    (ScalarOp::Min, "min", 2),
    (ScalarOp::Select, "select", 3),
];

/// The tightest binding: what needs no parentheses anywhere.
const TIGHT: u8 = 6;

/// A map's program in parts.
pub(super) struct Written {
    /// Loads that have a line of their own: all or none.
    pub(super) loads: bool,
    /// Offsets that have a line of their own: all or none.
    pub(super) offsets: bool,
    /// Scalars that have a line of their own, with their text.
    pub(super) lines: Vec<(ExprId, String)>,
    /// The text of each root.
    pub(super) roots: Vec<String>,
}

/// The text of a program whose `roots` are sunk in order.
pub(super) fn written(expr: &Expr, loads: &[Access], roots: &[ExprId]) -> Written {
    let lengths: usize = loads.iter().map(|l| l.to_string().len()).sum();
    let plain = loads.iter().all(|l| l.bounds.is_empty() && l.pad.to_bits() == 0);
    let alone = expr.scalars.len() == 1;
    let load = |op| if let ScalarOp::Load(n) = op { Some(n) } else { None };
    let offset = |op| if let ScalarOp::Index(_, n) = op { Some(n) } else { None };
    let shape = Shape {
        expr,
        loads,
        load_lines: !(told_by_uses(expr, &load, loads)
            && (alone || plain && lengths <= 64)),
        offset_lines: !told_by_uses(expr, &offset, &expr.offsets),
        inline: inlined(expr, loads, roots),
    };
    let lines = expr.scalars.keys().filter(|e| !shape.inline[e.index()]);
    Written {
        loads: shape.load_lines,
        offsets: shape.offset_lines,
        lines: lines.map(|e| (e, shape.own(e))).collect(),
        roots: roots.iter().map(|&e| shape.reference(e).0).collect(),
    }
}

/// Whether the uses of a list, in order, tell the list: each entry is used, first uses are in
/// order and no two entries are the same.
fn told_by_uses<T: PartialEq>(
    expr: &Expr,
    of: &dyn Fn(ScalarOp) -> Option<usize>,
    list: &[T],
) -> bool {
    let mut seen = 0;
    for used in expr.scalars.values().filter_map(|s| of(s.op)) {
        if used > seen {
            return false;
        }
        seen = seen.max(used + 1);
    }
    let distinct = list.iter().enumerate().all(|(n, item)| !list[..n].contains(item));
    seen == list.len() && distinct
}

/// Which scalars stand where they are used.
fn inlined(expr: &Expr, loads: &[Access], roots: &[ExprId]) -> Vec<bool> {
    let mut uses = vec![0; expr.scalars.len()];
    let operands = expr.scalars.values().flat_map(|s| &s.operands);
    for e in operands.chain(roots).filter(|e| e.index() < expr.scalars.len()) {
        uses[e.index()] += 1;
    }
    let mut inline = vec![false; expr.scalars.len()];
    // The first scalar of the text that ends with each one.
    let mut first: Vec<usize> = Vec::new();
    let mut take = |user: usize, operands: &[ExprId], first: &[usize]| {
        let mut next = user;
        for o in operands.iter().rev().map(|o| o.index()) {
            if o + 1 == next && uses[o] == 1 && is_plain(expr, loads, ExprId::new(o)) {
                inline[o] = true;
                next = first[o];
            }
        }
        next
    };
    for (e, scalar) in expr.scalars.iter() {
        let start = take(e.index(), &scalar.operands, &first);
        first.push(start);
    }
    take(expr.scalars.len(), roots, &first);
    inline
}

/// Whether a scalar's kind is the one that its operation gives.
fn is_plain(expr: &Expr, loads: &[Access], e: ExprId) -> bool {
    let scalar = &expr.scalars[e];
    match scalar.op {
        ScalarOp::Load(n) => n < loads.len(),
        ScalarOp::Constant(_) => true,
        op => {
            let kinds = expr.kinds(&scalar.operands);
            kinds.and_then(|kinds| op.kind(&kinds)) == Some(scalar.kind)
        }
    }
}

struct Shape<'e> {
    expr: &'e Expr,
    loads: &'e [Access],
    load_lines: bool,
    offset_lines: bool,
    inline: Vec<bool>,
}

impl Shape<'_> {
    /// A scalar where it is used, with how tightly its text binds.
    fn reference(&self, e: ExprId) -> (String, u8) {
        match self.inline.get(e.index()) {
            Some(true) => self.text(&self.expr.scalars[e]),
            Some(false) | None => (e.to_string(), TIGHT),
        }
    }

    /// A scalar on its own line, with its kind where that is not the usual one.
    fn own(&self, e: ExprId) -> String {
        let scalar = &self.expr.scalars[e];
        let text = self.text(scalar).0;
        if is_plain(self.expr, self.loads, e) {
            return text;
        }
        format!("{text} as {}", kind_name(scalar.kind))
    }

    fn text(&self, scalar: &Scalar) -> (String, u8) {
        match scalar.op {
            ScalarOp::Load(n) => match self.loads.get(n) {
                Some(access) if !self.load_lines => (access.to_string(), TIGHT),
                Some(_) | None => (format!("l{n}"), TIGHT),
            },
            ScalarOp::Constant(c) => (constant(c, scalar.kind), TIGHT),
            ScalarOp::Index(d, n) => match self.expr.offsets.get(n) {
                Some(offset) if !self.offset_lines => match offset.as_number() {
                    Some(0) => (format!("at(p{d})"), TIGHT),
                    Some(_) | None => (format!("at(p{d} + {offset})"), TIGHT),
                },
                Some(_) | None => (format!("at(p{d} + o{n})"), TIGHT),
            },
            op => match INFIX.iter().find(|row| row.0 == op) {
                Some(&(_, sign, level)) if scalar.operands.len() == 2 => {
                    // Equal levels group from the left; comparisons do not chain.
                    let left = if level == 3 { level + 1 } else { level };
                    let a = self.within(scalar.operands[0], left);
                    let b = self.within(scalar.operands[1], level + 1);
                    (format!("{a} {sign} {b}"), level)
                }
                Some(_) | None => {
                    let given: Vec<String> =
                        scalar.operands.iter().map(|&o| self.reference(o).0).collect();
                    (format!("{}({})", name(op), given.join(", ")), TIGHT)
                }
            },
        }
    }

    fn within(&self, e: ExprId, level: u8) -> String {
        let (text, own) = self.reference(e);
        if own < level { format!("({text})") } else { text }
    }
}

fn constant(c: f64, kind: ScalarKind) -> String {
    match kind {
        ScalarKind::Real => number(c),
        ScalarKind::Int => format!("int({})", number(c)),
        ScalarKind::Bool if c.to_bits() == 1f64.to_bits() => "true".to_owned(),
        ScalarKind::Bool if c.to_bits() == 0 => "false".to_owned(),
        ScalarKind::Bool => format!("bool({})", number(c)),
    }
}

/// The name of a kind in text.
pub(super) fn kind_name(kind: ScalarKind) -> &'static str {
    match kind {
        ScalarKind::Real => "real",
        ScalarKind::Int => "int",
        ScalarKind::Bool => "bool",
    }
}

fn name(op: ScalarOp) -> &'static str {
    let functions = FUNCTIONS.iter().find(|row| row.0 == op).map(|row| row.1);
    functions
        .or_else(|| INFIX.iter().find(|row| row.0 == op).map(|row| row.1))
        .unwrap_or("?")
}
