//! Expressions.

use super::{Clock, Name};
use crate::source::Span;

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// A number, as written and as a value.
    Number(f64, String),
    /// `true` or `false`.
    Bool(bool),
    /// A name.
    Name(String),
    /// `-a`, `not a`.
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a..b`, the end optional.
    Range(Box<Expr>, Option<Box<Expr>>),
    /// `if c then a else b`.
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `f(arguments)`.
    Call(Box<Expr>, Arguments),
    /// `x |> f`: f applied to x; f may be a call, whose result is applied.
    Pipe(Box<Expr>, Box<Expr>),
    /// `x[i]`.
    Index(Box<Expr>, Box<Expr>),
    /// `x.word`.
    Field(Box<Expr>, Name),
    /// `S'`.
    Prime(Box<Expr>),
    /// `M.read(q) at every n tokens`.
    At(Box<Expr>, Clock),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `(a, b)`; one expression in parentheses is that expression under `Group`.
    Tuple(Vec<Expr>),
    /// `(a)`.
    Group(Box<Expr>),
}

/// Operators of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Operators of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `@`
    MatMul,
    /// `^`
    Pow,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `and`
    And,
    /// `or`
    Or,
}

impl BinaryOp {
    /// All operators with their text and how tightly they bind.
    pub const TABLE: &'static [(BinaryOp, &'static str, u8)] = &[
        (BinaryOp::Or, "or", 1),
        (BinaryOp::And, "and", 2),
        (BinaryOp::Equal, "==", 4),
        (BinaryOp::NotEqual, "!=", 4),
        (BinaryOp::Less, "<", 4),
        (BinaryOp::LessEqual, "<=", 4),
        (BinaryOp::Greater, ">", 4),
        (BinaryOp::GreaterEqual, ">=", 4),
        (BinaryOp::Add, "+", 6),
        (BinaryOp::Sub, "-", 6),
        (BinaryOp::Mul, "*", 7),
        (BinaryOp::Div, "/", 7),
        (BinaryOp::Rem, "%", 7),
        (BinaryOp::MatMul, "@", 8),
        (BinaryOp::Pow, "^", 10),
    ];
    /// Its text and how tightly it binds.
    pub fn info(self) -> (&'static str, u8) {
        let row = Self::TABLE.iter().find(|row| row.0 == self);
        row.map_or(("?", 0), |row| (row.1, row.2))
    }
    /// The operator of a text.
    pub fn of(text: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == text).map(|row| row.0)
    }
}

/// `(a, b; name = c)`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Arguments {
    /// All, in order.
    pub all: Vec<Argument>,
    /// How many stand before `;`; nothing where there is no `;`.
    pub semicolon: Option<usize>,
    /// Where, parentheses included.
    pub span: Span,
}

/// An argument.
#[derive(Clone, PartialEq, Debug)]
pub struct Argument {
    /// The parameter's name, where written.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}
