//! Functions that make or rearrange shapes.

use super::Arguments;
use crate::elaborate::Elaborator;
use crate::emit;
use crate::value::{NamedDim, Tensor, Value, Window, shape_text};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Op};
use nestor_ir::ty::{Elem, Type};

/// `outer(a, b)`.
pub(super) fn outer<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (a, b) = (given.take(0), given.take(1));
    let (a, b) = (this.real(&a, given.span)?, this.real(&b, given.span)?);
    if a.dims.len() != 1 || b.dims.len() != 1 {
        let text = format!(
            "`outer` takes vectors, not {} and {}",
            shape_text(&a.dims),
            shape_text(&b.dims)
        );
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    }
    Some(Value::Tensor(emit::outer(this.graph(), &a, &b)))
}

/// The identity of a size, as reals, over this frame.
fn identity(this: &mut Elaborator<'_>, dim: &NamedDim) -> Tensor {
    let dims: nestor_ir::ty::Dims = [dim.size, dim.size].into_iter().collect();
    let frame = this.frame;
    let graph = this.graph();
    let rows = graph.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
    let columns = graph.add(Op::Iota { axis: 1, dims }, &[]);
    let same = graph.add(Op::Equal, &[rows, columns]);
    let node = graph.add(Op::Real, &[same]);
    let dims = vec![dim.clone(), dim.clone()];
    Tensor { frame, node, elem: Elem::Real, lead: vec![], dims, strip: 0, window: None }
}

/// `diag(a)`.
pub(super) fn diag<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let a = given.take(0);
    let a = this.real(&a, given.span)?;
    let [dim] = a.dims.as_slice() else {
        let text = format!("`diag` takes a vector, not {}", shape_text(&a.dims));
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    };
    let square = vec![dim.clone(), dim.clone()];
    let eye = identity(this, dim);
    let graph = this.graph();
    let rows = emit::broadcast(graph, &a, &a.lead, &square, &[0]);
    let (x, y) = emit::fit(graph, &rows, &eye).ok()?;
    Some(Value::Tensor(emit::binary(graph, Op::Mul, &x, &y)))
}

fn size<'a>(this: &mut Elaborator<'a>, given: &mut Arguments) -> Option<NamedDim> {
    let n = given.take(0);
    let mut dims = Vec::new();
    this.dim_of(&n, given.span, &mut dims)?;
    dims.into_iter().next()
}

/// `eye(n)`.
pub(super) fn eye<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let dim = size(this, &mut given)?;
    Some(Value::Tensor(identity(this, &dim)))
}

/// `range(n)`: 0, 1, 2 ...
pub(super) fn range<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let dim = size(this, &mut given)?;
    let dims = [dim.size].into_iter().collect();
    let node = this.graph().add(Op::Iota { axis: 0, dims }, &[]);
    let frame = this.frame;
    let dims = vec![dim];
    Some(Value::Tensor(Tensor {
        frame,
        node,
        elem: Elem::Real,
        lead: vec![],
        dims,
        strip: 0,
        window: None,
    }))
}

/// `flatten(x)`.
pub(super) fn flatten<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let x = given.take(0);
    let t = this.real(&x, given.span)?;
    let n: Option<usize> = t.dims.iter().map(|d| d.size.fixed()).product();
    let Some(n) = n else {
        let text = "a window of unknown length cannot be flattened: reduce it";
        return Some(this.report(Diagnostic::error("N302", given.span, text)));
    };
    Some(Value::Tensor(emit::reshape(
        this.graph(),
        &t,
        vec![NamedDim::plain(Dim::Fixed(n))],
    )))
}

/// `reshape(x, shape)`.
pub(super) fn reshape<'a>(
    this: &mut Elaborator<'a>,
    mut given: Arguments,
) -> Option<Value> {
    let (x, shape) = (given.take(0), given.take(1));
    let t = this.real(&x, given.span)?;
    let mut dims = Vec::new();
    this.dim_of(&shape, given.span, &mut dims)?;
    let count =
        |d: &[NamedDim]| d.iter().map(|d| d.size.fixed()).product::<Option<usize>>();
    if count(&dims) != count(&t.dims) {
        let text = format!(
            "{} does not hold as many as {}",
            shape_text(&t.dims),
            shape_text(&dims)
        );
        return Some(this.report(Diagnostic::error("N201", given.span, text)));
    }
    Some(Value::Tensor(emit::reshape(this.graph(), &t, dims)))
}

/// `last(x)`: the last row.
pub(super) fn last<'a>(this: &mut Elaborator<'a>, mut given: Arguments) -> Option<Value> {
    let x = given.take(0);
    let t = this.real(&x, given.span)?;
    let n = t.dims.first().and_then(|d| d.size.fixed());
    if let (None, Some(window)) = (n, t.window.as_ref().filter(|w| w.axis == 0)) {
        // The number of rows less one says which is the last.
        let rows = t.dims[0].clone();
        let there = Tensor {
            node: window.exists,
            dims: vec![rows],
            lead: vec![],
            elem: Elem::Bool,
            strip: 0,
            window: None,
            ..t.clone()
        };
        let graph = this.graph();
        let there = emit::unary(graph, Op::Real, &there);
        let count = emit::reduce(graph, Fold::Sum, &there, &[0]);
        let one = emit::constant(graph, t.frame, 1.0, Elem::Real);
        let index = emit::binary(graph, Op::Sub, &count, &one);
        let t = Tensor { window: None, ..t };
        return Some(super::pick(this, &t, &index));
    }
    let Some(n) = n.filter(|n| *n > 0) else {
        let text =
            format!("`last` takes rows of a known number, not {}", shape_text(&t.dims));
        return Some(this.report(Diagnostic::error("N302", given.span, text)));
    };
    let newest_first = t.window.as_ref().is_some_and(|w| w.clock && w.axis == 0);
    let at = if newest_first { 0 } else { n - 1 };
    let row = emit::slice(this.graph(), &t, 0, at, 1);
    let dims = row.dims[1..].to_vec();
    let row = Tensor { window: None, ..row };
    Some(Value::Tensor(emit::reshape(this.graph(), &row, dims)))
}

/// `concat(a, b, ...)` along first dimensions. Nothing is joined to everything since the sequence
/// began: such pieces stay apart, and what folds over them folds over all.
pub(super) fn concat<'a>(
    this: &mut Elaborator<'a>,
    values: Vec<Value>,
    span: Span,
) -> Option<Value> {
    let mut all: Vec<Tensor> = Vec::new();
    for value in &values {
        match value {
            Value::None => {}
            value => {
                let t = this.real(value, span)?;
                all.push(crate::window::in_order(this.graph(), &t));
            }
        }
    }
    let first = all.first()?.clone();
    if all.len() == 1 {
        return Some(Value::Tensor(first));
    }
    for t in &all {
        let fits = t.dims.len() == first.dims.len()
            && !t.dims.is_empty()
            && t.dims[1..].iter().zip(&first.dims[1..]).all(|(a, b)| a.size == b.size);
        if !fits {
            let text =
                format!("{} beside {}", shape_text(&first.dims), shape_text(&t.dims));
            return Some(this.report(Diagnostic::error("N201", span, text)));
        }
    }
    if all.iter().any(|t| t.dims[0].size.fixed().is_none()) {
        return Some(Value::Pieces(all));
    }
    let lead = all.iter().map(|t| t.lead.clone()).max_by_key(Vec::len)?;
    let spread: Vec<Tensor> = all
        .iter()
        .map(|t| {
            let same: Vec<usize> = (0..t.dims.len()).collect();
            emit::broadcast(this.graph(), t, &lead, &t.dims, &same)
        })
        .collect();
    let nodes: Vec<_> = spread.iter().map(|t| t.node).collect();
    let node = this.graph().add(Op::Concat { axis: lead.len() }, &nodes);
    let n = all.iter().filter_map(|t| t.dims[0].size.fixed()).sum();
    let mut dims = first.dims.clone();
    dims[0] = NamedDim::plain(Dim::Fixed(n));
    let windowed = all.iter().any(|t| t.window.as_ref().is_some_and(|w| w.axis == 0));
    let window = windowed.then(|| {
        let conditions: Vec<_> = all
            .iter()
            .map(|t| match &t.window {
                Some(w) if w.axis == 0 => w.exists,
                _ => this.graph().add(
                    Op::Constant { value: 1.0, ty: Type::bool([t.dims[0].size]) },
                    &[],
                ),
            })
            .collect();
        let exists = this.graph().add(Op::Concat { axis: 0 }, &conditions);
        let zeroed = all.iter().all(|t| t.window.as_ref().is_none_or(|w| w.zeroed));
        Window { axis: 0, exists, zeroed, clock: false }
    });
    Some(Value::Tensor(Tensor { node, dims, lead, window, strip: 0, ..first }))
}
