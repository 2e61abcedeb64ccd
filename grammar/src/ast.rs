//! The syntax tree: what is written, with where it stands, and nothing of what it means.

pub mod expr;

pub use expr::{Argument, Arguments, BinaryOp, Expr, ExprKind, UnaryOp};

use crate::source::Span;

/// A name and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// A file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct File {
    /// What is in it, in order.
    pub entries: Vec<Entry>,
}

/// A part of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The `///` lines above it, without the slashes.
    pub doc: Vec<String>,
    /// The part.
    pub kind: EntryKind,
    /// Where.
    pub span: Span,
}

/// What a file is made of.
#[derive(Clone, PartialEq, Debug)]
pub enum EntryKind {
    /// `use "file"`.
    Use(Name),
    /// `name = expr`.
    Constant(Name, Expr),
    /// A definition.
    Definition(Definition),
    /// `sweep name over target { rows }`.
    Sweep(Sweep),
}

/// What a definition defines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A function of values.
    Function,
    /// What a memory minimises.
    Bias,
    /// What is kept.
    Retention,
    /// How a gradient becomes a step.
    Algorithm,
    /// What is updated and how it is read.
    Structure,
    /// A choice on each axis, or a written recurrence.
    Memory,
    /// A layer.
    Layer,
    /// A whole model.
    Model,
}

impl Kind {
    /// The word that begins such a definition.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Function => "function",
            Kind::Bias => "bias",
            Kind::Retention => "retention",
            Kind::Algorithm => "algorithm",
            Kind::Structure => "structure",
            Kind::Memory => "memory",
            Kind::Layer => "layer",
            Kind::Model => "model",
        }
    }
}

/// A definition.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// What it defines.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Its parameters.
    pub params: Params,
    /// What stands between the braces, or the one `out` of a definition by `=`.
    pub body: Vec<Item>,
    /// Written as `name(params) = expr`.
    pub by_equation: bool,
}

/// Parameters: fixed at compile time, then flowing with the tokens.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Params {
    /// All, in order.
    pub all: Vec<Param>,
    /// How many stand before `;`; nothing where there is no `;`.
    pub semicolon: Option<usize>,
}

/// A parameter.
#[derive(Clone, PartialEq, Debug)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// Its shape, where written.
    pub shape: Option<Shape>,
    /// Its default.
    pub default: Option<Expr>,
}

/// A written shape.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// `int(n)`: whole numbers below n.
    Int(Box<Expr>, Span),
    /// `bool`.
    Bool(Span),
    /// `[a, _, b]`; nothing for `_`.
    Dims(Vec<Option<Expr>>, Span),
}

/// `path: shape = fixed expr`.
#[derive(Clone, PartialEq, Debug)]
pub struct Decl {
    /// Its name, maybe dotted.
    pub path: Path,
    /// Its shape, where written.
    pub shape: Option<Shape>,
    /// Kept as written.
    pub fixed: bool,
    /// How it starts.
    pub initial: Expr,
}

/// `name.word[index]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// The first name.
    pub name: Name,
    /// The rest.
    pub rest: Vec<Segment>,
    /// Where.
    pub span: Span,
}

impl Path {
    /// The names joined by dots, where no index stands in it.
    pub fn dotted(&self) -> Option<String> {
        let mut out = self.name.text.clone();
        for segment in &self.rest {
            match segment {
                Segment::Field(name) => {
                    out.push('.');
                    out.push_str(&name.text);
                }
                Segment::Index(_) => return None,
            }
        }
        Some(out)
    }
}

/// A later part of a path.
#[derive(Clone, PartialEq, Debug)]
pub enum Segment {
    /// `.word`.
    Field(Name),
    /// `[expr]`.
    Index(Expr),
}

/// `path(arguments)`, the arguments optional.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// What is called.
    pub path: Path,
    /// The arguments, where there are parentheses.
    pub arguments: Option<Arguments>,
    /// Where.
    pub span: Span,
}

/// How often.
#[derive(Clone, PartialEq, Debug)]
pub enum Clock {
    /// `every sequence`.
    Sequence(Span),
    /// `every n tokens`.
    Tokens(Box<Expr>, Span),
    /// `every n steps`.
    Steps(Box<Expr>, Span),
}

/// Where a gradient is taken.
#[derive(Clone, PartialEq, Debug)]
pub enum Anchor {
    /// `at previous`.
    Previous(Span),
    /// `at kept`.
    Kept(Span),
    /// `at every n tokens`.
    Every(Clock),
}

/// When something starts again.
#[derive(Clone, PartialEq, Debug)]
pub enum Reset {
    /// `reset never`.
    Never(Span),
    /// `reset every ...`.
    At(Clock),
}

/// `call over last n tokens weighted w on path`.
#[derive(Clone, PartialEq, Debug)]
pub struct BiasChoice {
    /// The bias.
    pub call: Call,
    /// The window.
    pub over_last: Option<Expr>,
    /// The weight of each token.
    pub weighted: Option<Expr>,
    /// The one weight it is chosen for.
    pub on: Option<Path>,
}

/// `call on path`.
#[derive(Clone, PartialEq, Debug)]
pub struct AxisChoice {
    /// The retention or algorithm.
    pub call: Call,
    /// The one weight it is chosen for.
    pub on: Option<Path>,
}

/// `minimize objective over targets using algorithm retaining retention`.
#[derive(Clone, PartialEq, Debug)]
pub struct Minimize {
    /// What is minimised.
    pub objective: Expr,
    /// What is learned; nothing for `*`.
    pub targets: Option<Vec<Path>>,
    /// How.
    pub using: Call,
    /// What is kept.
    pub retaining: Option<Call>,
    /// Where the gradient is taken.
    pub gradient: Option<Anchor>,
    /// Bound of the gradient's norm.
    pub clip: Option<Expr>,
    /// Where.
    pub span: Span,
}

/// `path' = expr when condition from path`.
#[derive(Clone, PartialEq, Debug)]
pub struct Binding {
    /// What is bound.
    pub path: Path,
    /// The next value of a state.
    pub primed: bool,
    /// To what.
    pub value: Expr,
    /// Only where this holds.
    pub when: Option<Expr>,
    /// Starts from another instance.
    pub from: Option<Path>,
}

/// A level.
#[derive(Clone, PartialEq, Debug)]
pub struct Level {
    /// Its name.
    pub name: Name,
    /// Its clock.
    pub clock: Clock,
    /// When it starts again.
    pub reset: Option<Reset>,
    /// Goes on learning in use.
    pub online: bool,
    /// What it does.
    pub body: Vec<Item>,
}

/// A statement, with where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The statement.
    pub kind: ItemKind,
    /// Where.
    pub span: Span,
}

/// Everything that stands in a body; which kinds of body take which is the grammar's.
#[derive(Clone, PartialEq, Debug)]
pub enum ItemKind {
    /// `in a, b: shape every clock`.
    Input(Vec<Name>, Shape, Option<Clock>),
    /// `weight ...`.
    Weights(Vec<Decl>),
    /// `state ...`.
    States(Vec<Decl>),
    /// `name = expr`.
    Binding(Binding),
    /// `M.write(...)`.
    Effect(Path, Arguments),
    /// `repeat (a, b) in list { ... }`.
    Repeat(Option<Vec<Name>>, Expr, Vec<Item>),
    /// A minimisation.
    Minimize(Minimize),
    /// A level.
    Level(Level),
    /// `every ... { ... }`.
    ClockBlock(Clock, Vec<Item>),
    /// `out name = expr`.
    Output(Option<Name>, Expr),
    /// `keep expr`.
    Keep(Expr),
    /// `penalty expr`.
    Penalty(Expr),
    /// `step expr`.
    Step(Expr),
    /// `read expr` of a retention.
    RetentionRead(Expr),
    /// `read(params) = expr`.
    Reader(Params, Expr),
    /// `structure call`.
    Structure(Call),
    /// `bias choices`.
    Bias(Vec<BiasChoice>),
    /// `retention choices`.
    Retention(Vec<AxisChoice>),
    /// `algorithm choices`.
    Algorithm(Vec<AxisChoice>),
    /// `gradient at ...`.
    Gradient(Anchor),
    /// `update every ...`.
    UpdateEvery(Clock),
    /// `update(params) { ... }`.
    Update(Params, Vec<Item>),
    /// `read at every ...`.
    ReadAt(Clock),
    /// `reset ...`.
    Reset(Reset),
}

/// A sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Sweep {
    /// Its name.
    pub name: Name,
    /// The definition swept.
    pub over: Name,
    /// The axes.
    pub rows: Vec<SweepRow>,
}

/// `name in [choices]`.
#[derive(Clone, PartialEq, Debug)]
pub struct SweepRow {
    /// An axis clause or a parameter.
    pub name: Name,
    /// The choices.
    pub choices: Vec<Choice>,
    /// Where.
    pub span: Span,
}

/// A choice of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub enum Choice {
    /// A value or a call.
    Expr(Expr),
    /// An anchor.
    Anchor(Anchor),
}
