//! Attributes of ops as text: the one place that knows which op has which.

use crate::dim::Dim;
use crate::entity::Entity;
use crate::level::{Clock, MemoryId, StatementId};
use crate::tensor::{AxisPairs, Fold, Op};
use crate::ty::{Dims, Type};
use std::fmt;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Attribute {
    /// `3`, `-0.5`, `inf`.
    Number(f64),
    /// `(0, 2)`.
    Axes(Vec<usize>),
    /// `(0:1, 2:3)`.
    Pairs(AxisPairs),
    /// `sum`.
    Word(String),
    /// `T`, `8`.
    Dim(Dim),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Number(n) => write!(f, "{n}"),
            Attribute::Axes(axes) => {
                let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
                write!(f, "({})", axes.join(", "))
            }
            Attribute::Pairs(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(a, b)| format!("{a}:{b}")).collect();
                write!(f, "({})", pairs.join(", "))
            }
            Attribute::Word(word) => f.write_str(word),
            Attribute::Dim(dim) => write!(f, "{dim}"),
        }
    }
}

fn fold_name(fold: Fold) -> &'static str {
    match fold {
        Fold::Sum => "sum",
        Fold::Max => "max",
        Fold::Min => "min",
    }
}

/// So many tokens, or the word `sequence`.
fn clock(clock: Clock) -> Attribute {
    match clock {
        Clock::Tokens(n) => Attribute::Number(n as f64),
        Clock::Sequence | Clock::Steps(_) | Clock::Once => {
            Attribute::Word("sequence".into())
        }
    }
}

/// An op's attributes, in order. What a result's type says is not repeated.
pub(super) fn of(op: &Op) -> Vec<(&'static str, Attribute)> {
    use Attribute as A;
    let number = |n: usize| A::Number(n as f64);
    let axes = |a: &[usize]| A::Axes(a.to_vec());
    match op {
        Op::Constant { value, .. } => vec![("value", A::Number(*value))],
        Op::Iota { axis, .. } => vec![("axis", number(*axis))],
        Op::Reduce { fold, axes: a } => {
            vec![("fold", A::Word(fold_name(*fold).into())), ("axes", axes(a))]
        }
        Op::Contract { batch, sum } => {
            vec![("batch", A::Pairs(batch.clone())), ("sum", A::Pairs(sum.clone()))]
        }
        Op::Transpose { order } => vec![("order", axes(order))],
        Op::Broadcast { axes: a, .. } => vec![("axes", axes(a))],
        Op::Slice { axis, start, size } => {
            vec![
                ("axis", number(*axis)),
                ("start", number(*start)),
                ("size", number(*size)),
            ]
        }
        Op::Fit { axis, size } => vec![("axis", number(*axis)), ("size", A::Dim(*size))],
        Op::Pad { axis, before, after } => {
            vec![
                ("axis", number(*axis)),
                ("before", number(*before)),
                ("after", number(*after)),
            ]
        }
        Op::Concat { axis } => vec![("axis", number(*axis))],
        Op::Shift { axis, by } => {
            vec![("axis", number(*axis)), ("by", A::Number(*by as f64))]
        }
        Op::Window { axis, size } => {
            vec![("axis", number(*axis)), ("size", A::Dim(*size))]
        }
        Op::ScatterAdd { rows } => vec![("rows", number(*rows))],
        Op::SolveUnitLower { transpose: true } => {
            vec![("transpose", A::Word("yes".into()))]
        }
        Op::LinearScan { reverse: true } => vec![("reverse", A::Word("yes".into()))],
        Op::InverseRoot { p } => vec![("p", A::Number(*p))],
        Op::Read { memory, every, .. } => {
            let mut out = vec![("memory", number(memory.index()))];
            out.extend(every.map(|n| ("every", number(n))));
            out
        }
        Op::Write { statement } => vec![("statement", number(statement.index()))],
        Op::Recent { size } => vec![("size", A::Dim(*size))],
        Op::Block { size } => vec![("size", number(*size))],
        Op::Next { by } => vec![("by", number(*by))],
        Op::Exists { size, block } => {
            let kind = if *block { "block" } else { "recent" };
            vec![("size", A::Dim(*size)), ("of", A::Word(kind.into()))]
        }
        Op::Tick { every } => vec![("every", number(*every))],
        Op::Gathered { every, size, ahead } => {
            let mut out = vec![("every", clock(*every)), ("size", A::Dim(*size))];
            out.extend(ahead.then(|| ("ahead", A::Word("yes".into()))));
            out
        }
        Op::Held { every } => vec![("every", clock(*every))],
        Op::Input { .. }
        | Op::Position { .. }
        | Op::Neg
        | Op::Abs
        | Op::Sign
        | Op::Sqrt
        | Op::Exp
        | Op::Log
        | Op::Sin
        | Op::Cos
        | Op::Tanh
        | Op::Erf
        | Op::Sigmoid
        | Op::Softplus
        | Op::Floor
        | Op::Not
        | Op::Real
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Pow
        | Op::Rem
        | Op::Max
        | Op::Min
        | Op::Less
        | Op::LessEqual
        | Op::Equal
        | Op::And
        | Op::Or
        | Op::Select
        | Op::Reshape { .. }
        | Op::Gather
        | Op::SolveUnitLower { transpose: false }
        | Op::Solve
        | Op::Eigenvectors
        | Op::LinearScan { reverse: false }
        | Op::Scan { .. }
        | Op::Stop
        | Op::Anchor
        | Op::Gradient
        | Op::When => vec![],
    }
}

/// The attributes of one node as read, with the type of its result.
pub(super) struct Given {
    /// Names and values.
    pub(super) attributes: Vec<(String, Attribute)>,
    /// The first result's type, where there is one.
    pub(super) ty: Option<Type>,
    /// The input's number, for an input.
    pub(super) input: usize,
}

impl Given {
    fn find(&self, name: &str) -> Result<&Attribute, String> {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, a)| a).ok_or_else(|| format!("attribute `{name}` is missing"))
    }
    fn number(&self, name: &str) -> Result<f64, String> {
        match self.find(name)? {
            Attribute::Number(n) => Ok(*n),
            Attribute::Dim(Dim::Fixed(n)) => Ok(*n as f64),
            other => Err(format!("`{name}` is {other}, not a number")),
        }
    }
    fn count(&self, name: &str) -> Result<usize, String> {
        Ok(self.number(name)? as usize)
    }
    fn axes(&self, name: &str) -> Result<Vec<usize>, String> {
        match self.find(name)? {
            Attribute::Axes(axes) => Ok(axes.clone()),
            Attribute::Pairs(pairs) if pairs.is_empty() => Ok(vec![]),
            other => Err(format!("`{name}` is {other}, not a list of axes")),
        }
    }
    fn pairs(&self, name: &str) -> Result<AxisPairs, String> {
        match self.find(name)? {
            Attribute::Pairs(pairs) => Ok(pairs.clone()),
            Attribute::Axes(axes) if axes.is_empty() => Ok(AxisPairs::new()),
            other => Err(format!("`{name}` is {other}, not a list of pairs")),
        }
    }
    fn dim(&self, name: &str) -> Result<Dim, String> {
        match self.find(name)? {
            Attribute::Dim(dim) => Ok(*dim),
            Attribute::Number(n) => Ok(Dim::Fixed(*n as usize)),
            other => Err(format!("`{name}` is {other}, not a dimension")),
        }
    }
    fn word(&self, name: &str) -> Result<&str, String> {
        match self.find(name)? {
            Attribute::Word(word) => Ok(word),
            other => Err(format!("`{name}` is {other}, not a word")),
        }
    }
    fn clock(&self, name: &str) -> Result<Clock, String> {
        match self.find(name)? {
            Attribute::Word(word) if word == "sequence" => Ok(Clock::Sequence),
            _ => Ok(Clock::Tokens(self.count(name)?)),
        }
    }
    fn ty(&self) -> Result<Type, String> {
        self.ty.clone().ok_or_else(|| "the result's type is missing".into())
    }
    fn dims(&self) -> Result<Dims, String> {
        Ok(self.ty()?.dims)
    }
    fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }
}

/// The op of a name; `scan` is read apart.
pub(super) fn op_of(name: &str, given: &Given) -> Result<Op, String> {
    let fold = |word: &str| {
        [Fold::Sum, Fold::Max, Fold::Min]
            .into_iter()
            .find(|f| fold_name(*f) == word)
            .ok_or_else(|| format!("no fold `{word}`"))
    };
    Ok(match name {
        "input" => Op::Input { index: given.input, ty: given.ty()? },
        "constant" => Op::Constant { value: given.number("value")?, ty: given.ty()? },
        "iota" => Op::Iota { axis: given.count("axis")?, dims: given.dims()? },
        "position" => Op::Position { dims: given.dims()? },
        "reduce" => {
            let axes = given.axes("axes")?.into_iter().collect();
            Op::Reduce { fold: fold(given.word("fold")?)?, axes }
        }
        "contract" => {
            Op::Contract { batch: given.pairs("batch")?, sum: given.pairs("sum")? }
        }
        "reshape" => Op::Reshape { dims: given.dims()? },
        "transpose" => {
            Op::Transpose { order: given.axes("order")?.into_iter().collect() }
        }
        "broadcast" => Op::Broadcast {
            dims: given.dims()?,
            axes: given.axes("axes")?.into_iter().collect(),
        },
        "slice" => Op::Slice {
            axis: given.count("axis")?,
            start: given.count("start")?,
            size: given.count("size")?,
        },
        "fit" => Op::Fit { axis: given.count("axis")?, size: given.dim("size")? },
        "tick" => Op::Tick { every: given.count("every")? },
        "gathered" => Op::Gathered {
            every: given.clock("every")?,
            size: given.dim("size")?,
            ahead: given.has("ahead"),
        },
        "held" => Op::Held { every: given.clock("every")? },
        "pad" => Op::Pad {
            axis: given.count("axis")?,
            before: given.count("before")?,
            after: given.count("after")?,
        },
        "concat" => Op::Concat { axis: given.count("axis")? },
        "shift" => {
            Op::Shift { axis: given.count("axis")?, by: given.number("by")? as i64 }
        }
        "window" => Op::Window { axis: given.count("axis")?, size: given.dim("size")? },
        "scatter_add" => Op::ScatterAdd { rows: given.count("rows")? },
        "solve_unit_lower" => Op::SolveUnitLower { transpose: given.has("transpose") },
        "inverse_root" => Op::InverseRoot { p: given.number("p")? },
        "linear_scan" => Op::LinearScan { reverse: given.has("reverse") },
        "read" => {
            let every =
                if given.has("every") { Some(given.count("every")?) } else { None };
            Op::Read {
                memory: MemoryId::new(given.count("memory")?),
                every,
                ty: given.ty()?,
            }
        }
        "write" => Op::Write { statement: StatementId::new(given.count("statement")?) },
        "recent" => Op::Recent { size: given.dim("size")? },
        "block" => Op::Block { size: given.count("size")? },
        "next" => Op::Next { by: given.count("by")? },
        "exists" => {
            Op::Exists { size: given.dim("size")?, block: given.word("of")? == "block" }
        }
        other => {
            return SIMPLE
                .iter()
                .find(|op| op.info().name == other)
                .cloned()
                .ok_or_else(|| format!("no op `{other}`"));
        }
    })
}

/// Ops without attributes.
const SIMPLE: &[Op] = &[
    Op::Neg,
    Op::Abs,
    Op::Sign,
    Op::Sqrt,
    Op::Exp,
    Op::Log,
    Op::Sin,
    Op::Cos,
    Op::Tanh,
    Op::Erf,
    Op::Sigmoid,
    Op::Softplus,
    Op::Floor,
    Op::Not,
    Op::Real,
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Div,
    Op::Pow,
    Op::Rem,
    Op::Max,
    Op::Min,
    Op::Less,
    Op::LessEqual,
    Op::Equal,
    Op::And,
    Op::Or,
    Op::Select,
    Op::Gather,
    Op::Solve,
    Op::Eigenvectors,
    Op::Stop,
    Op::Anchor,
    Op::Gradient,
    Op::When,
];
