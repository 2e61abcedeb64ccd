//! What an expression can be while a program is elaborated.

use nestor_grammar::Span;
use nestor_grammar::ast::Definition;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::Value as Node;
use nestor_ir::ty::Elem;

/// A dimension with the name it was declared by.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct NamedDim {
    /// Its name in the definition at hand, where it has one.
    pub(crate) name: Option<String>,
    /// Its size.
    pub(crate) size: Dim,
}

impl NamedDim {
    /// A dimension without a name.
    pub(crate) fn plain(size: Dim) -> Self {
        Self { name: None, size }
    }
}

/// Which axis is a window in time, and which of its entries exist.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Window {
    /// The axis, not counting mapped ones.
    pub(crate) axis: usize,
    /// Conditions `[n]`.
    pub(crate) exists: Node,
    /// Entries that do not exist hold zero.
    pub(crate) zeroed: bool,
    /// What a slower clock sees, its entries in the order of time though held newest first.
    pub(crate) clock: bool,
}

/// One token's tensor in one of the graphs under construction.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Tensor {
    /// The graph.
    pub(crate) frame: usize,
    /// The value in it.
    pub(crate) node: Node,
    /// What an element is.
    pub(crate) elem: Elem,
    /// Leading dimensions over which the enclosing layer is mapped; the rest follow.
    pub(crate) lead: Vec<Dim>,
    /// Its dimensions without the mapped ones.
    pub(crate) dims: Vec<NamedDim>,
    /// How many of `dims` are a memory's leading ones, dropped where one instance sees the value.
    pub(crate) strip: usize,
    /// Whether an axis is a window in time.
    pub(crate) window: Option<Window>,
}

impl Tensor {
    /// One real number of a token.
    pub(crate) fn number(frame: usize, node: Node) -> Self {
        Self {
            frame,
            node,
            elem: Elem::Real,
            lead: vec![],
            dims: vec![],
            strip: 0,
            window: None,
        }
    }
}

/// A number known while compiling, with the name that stood for it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Number {
    /// The number.
    pub(crate) value: f64,
    /// Written or computed as a whole number.
    pub(crate) whole: bool,
    /// The name.
    pub(crate) name: Option<String>,
}

impl Number {
    /// A whole number.
    pub(crate) fn whole(n: usize) -> Self {
        Self { value: n as f64, whole: true, name: None }
    }
    /// Any number.
    pub(crate) fn real(value: f64) -> Self {
        Self { value, whole: false, name: None }
    }
}

/// A distribution that initial values are drawn from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Distribution {
    /// Normal.
    Normal(f64),
    /// Uniform in `[-a, a]`.
    Uniform(f64),
    /// Orthogonal with a gain.
    Orthogonal(f64),
}

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A compile-time number.
    Number(Number),
    /// A compile-time truth.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// A tensor.
    Tensor(Tensor),
    /// Tensors one after another along their first dimension, whose joint length is not a number.
    Pieces(Vec<Tensor>),
    /// A definition, by its place in the table.
    Definition(usize),
    /// A function that the language itself gives.
    Builtin(&'static str),
    /// A layer, memory or structure with its parameters.
    Instance(usize),
    /// `M.read`, `M.write`.
    Method(usize, String),
    /// How a weight starts.
    Distribution(Distribution),
    /// `all`: everything since the sequence began.
    All,
    /// `none`.
    None,
    /// Something that was already reported.
    Poison,
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Number(n) => format!("the number {}", n.value),
            Value::Bool(b) => format!("{b}"),
            Value::List(_) => "a list".into(),
            Value::Tensor(t) => format!("a tensor {}", shape_text(&t.dims)),
            Value::Pieces(_) => "windows joined to other rows".into(),
            Value::Definition(_) => "a definition".into(),
            Value::Builtin(name) => format!("the function `{name}`"),
            Value::Instance(_) => "a layer or memory".into(),
            Value::Method(_, name) => format!("`.{name}`, which must be called"),
            Value::Distribution(_) => "a distribution of initial values".into(),
            Value::All => "`all`".into(),
            Value::None => "`none`".into(),
            Value::Poison => "an erroneous value".into(),
        }
    }
}

/// A shape as people read it: `[heads = 4, 8]`.
pub(crate) fn shape_text(dims: &[NamedDim]) -> String {
    let words: Vec<String> = dims
        .iter()
        .map(|d| match &d.name {
            Some(name) => format!("{name} = {}", d.size),
            None => d.size.to_string(),
        })
        .collect();
    format!("[{}]", words.join(", "))
}

/// A definition with the file it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The definition.
    pub(crate) definition: &'a Definition,
    /// Where its name stands.
    pub(crate) span: Span,
    /// The scope of its file.
    pub(crate) file: usize,
}
