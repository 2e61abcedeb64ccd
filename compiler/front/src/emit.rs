//! Emits ops for tensors with named dimensions: fits shapes by name, broadcasts, and maps over
//! the leading dimensions of the enclosing layer, so that no other file deals with axes of the IR.

use crate::misfit::Misfit;
use crate::value::{NamedDim, Tensor, Window};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Graph, Op, Value as Node};
use nestor_ir::ty::{Dims, Elem, Type};

/// All dimensions of a tensor, mapped ones first.
pub(crate) fn all_dims(t: &Tensor) -> Dims {
    t.lead.iter().copied().chain(t.dims.iter().map(|d| d.size)).collect()
}

/// A constant.
pub(crate) fn constant(
    graph: &mut Graph,
    frame: usize,
    value: f64,
    elem: Elem,
) -> Tensor {
    let ty = Type { elem, dims: Dims::new() };
    let node = graph.add(Op::Constant { value, ty }, &[]);
    Tensor { frame, node, elem, lead: vec![], dims: vec![], strip: 0, window: None }
}

/// The same tensor under other mapped and own dimensions: `axes[i]` is where its own dimension i goes.
pub(crate) fn broadcast(
    graph: &mut Graph,
    t: &Tensor,
    lead: &[Dim],
    dims: &[NamedDim],
    axes: &[usize],
) -> Tensor {
    let to: Dims = lead.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
    let mut out = t.clone();
    out.lead = lead.to_vec();
    out.dims = dims.to_vec();
    if let Some(window) = &mut out.window {
        window.axis = axes[window.axis];
    }
    if to == all_dims(t) && axes.iter().enumerate().all(|(i, a)| i == *a) {
        return out;
    }
    let axes = (0..t.lead.len()).chain(axes.iter().map(|a| lead.len() + a)).collect();
    out.node = graph.add(Op::Broadcast { dims: to, axes }, &[t.node]);
    out
}

/// Ways in which the smaller shape's dimensions appear in the larger's, in order. What a name says comes first: beside
/// a way in which every name meets itself, one that meets a nameless dimension of that size is none.
fn embeddings(small: &[NamedDim], large: &[NamedDim]) -> Vec<Vec<usize>> {
    fn go(
        small: &[NamedDim],
        large: &[NamedDim],
        from: usize,
        at: &mut Vec<usize>,
        out: &mut Vec<Vec<usize>>,
    ) {
        let Some((first, rest)) = small.split_first() else {
            out.push(at.clone());
            return;
        };
        for i in from..large.len() {
            let names_agree = match (&first.name, &large[i].name) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            };
            if names_agree && first.size == large[i].size {
                at.push(i);
                go(rest, large, i + 1, at, out);
                at.pop();
            }
        }
    }
    let mut out = Vec::new();
    go(small, large, 0, &mut Vec::new(), &mut out);
    let named = |way: &Vec<usize>| {
        let mut pairs = small.iter().zip(way);
        pairs.all(|(dim, &i)| dim.name.is_none() || large[i].name.is_some())
    };
    if out.len() > 1 && out.iter().any(named) {
        out.retain(named);
    }
    out
}

fn longer<'t>(a: &'t [Dim], b: &'t [Dim]) -> &'t [Dim] {
    if a.len() >= b.len() { a } else { b }
}

/// Both tensors under the larger shape.
pub(crate) fn fit(
    graph: &mut Graph,
    a: &Tensor,
    b: &Tensor,
) -> Result<(Tensor, Tensor), Misfit> {
    let lead = longer(&a.lead, &b.lead).to_vec();
    if a.dims.len() == b.dims.len() {
        if a.dims.iter().zip(&b.dims).any(|(x, y)| x.size != y.size) {
            return Err(Misfit::elements(a, b, 0));
        }
        let dims: Vec<NamedDim> = a
            .dims
            .iter()
            .zip(&b.dims)
            .map(|(x, y)| NamedDim {
                name: x.name.clone().or_else(|| y.name.clone()),
                size: x.size,
            })
            .collect();
        let same: Vec<usize> = (0..dims.len()).collect();
        let x = broadcast(graph, a, &lead, &dims, &same);
        return Ok((x, broadcast(graph, b, &lead, &dims, &same)));
    }
    let (small, large) = if a.dims.len() < b.dims.len() { (a, b) } else { (b, a) };
    let ways = if small.dims.is_empty() {
        vec![vec![]]
    } else {
        embeddings(&small.dims, &large.dims)
    };
    let axes = match ways.as_slice() {
        [] => return Err(Misfit::elements(a, b, 0)),
        [one] => one,
        many => return Err(Misfit::elements(a, b, many.len())),
    };
    let s = broadcast(graph, small, &lead, &large.dims, axes);
    let same: Vec<usize> = (0..large.dims.len()).collect();
    let l = broadcast(graph, large, &lead, &large.dims, &same);
    Ok(if a.dims.len() < b.dims.len() { (s, l) } else { (l, s) })
}

/// Applies an element-wise op of one operand.
pub(crate) fn unary(graph: &mut Graph, op: Op, a: &Tensor) -> Tensor {
    let zero_stays = matches!(
        op,
        Op::Neg
            | Op::Abs
            | Op::Sign
            | Op::Sqrt
            | Op::Sin
            | Op::Tanh
            | Op::Erf
            | Op::Floor
            | Op::Stop
    );
    let mut out = a.clone();
    out.node = graph.add(op, &[a.node]);
    out.elem = graph.ty(out.node).elem;
    if let Some(window) = &mut out.window {
        window.zeroed &= zero_stays;
    }
    out
}

/// Applies an element-wise op of two operands of one shape.
pub(crate) fn binary(graph: &mut Graph, op: Op, a: &Tensor, b: &Tensor) -> Tensor {
    let mut out = a.clone();
    let is = |t: &Tensor| t.window.as_ref().is_some_and(|w| w.zeroed);
    let zeroed = match op {
        Op::Mul => is(a) || is(b),
        Op::Div => is(a),
        Op::Add | Op::Sub | Op::Max | Op::Min => is(a) && is(b),
        _ => false,
    };
    out.node = graph.add(op, &[a.node, b.node]);
    out.elem = graph.ty(out.node).elem;
    out.window = a.window.clone().or_else(|| b.window.clone());
    if let Some(window) = &mut out.window {
        window.zeroed = zeroed;
    }
    out
}

/// The conditions of a window spread over the tensor's whole shape.
fn spread(graph: &mut Graph, t: &Tensor, window: &Window) -> Node {
    let axes = [t.lead.len() + window.axis].into_iter().collect();
    graph.add(Op::Broadcast { dims: all_dims(t), axes }, &[window.exists])
}

/// The tensor with `value` in the entries of its window that do not exist.
pub(crate) fn filled(graph: &mut Graph, t: &Tensor, value: f64) -> Tensor {
    let Some(window) = &t.window else { return t.clone() };
    if value == 0.0 && window.zeroed {
        return t.clone();
    }
    let condition = spread(graph, t, window);
    let ty = Type { elem: t.elem, dims: all_dims(t) };
    let other = graph.add(Op::Constant { value, ty }, &[]);
    let mut out = t.clone();
    out.node = graph.add(Op::Select, &[condition, t.node, other]);
    if let Some(window) = &mut out.window {
        window.zeroed = value == 0.0;
    }
    out
}

/// Folds the given axes (not counting mapped ones) away.
pub(crate) fn reduce(
    graph: &mut Graph,
    fold: Fold,
    t: &Tensor,
    axes: &[usize],
) -> Tensor {
    let neutral = match fold {
        Fold::Sum => 0.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    };
    let windowed = t.window.as_ref().is_some_and(|w| axes.contains(&w.axis));
    let source = if windowed { filled(graph, t, neutral) } else { t.clone() };
    let mut out = source.clone();
    let all = axes.iter().map(|a| t.lead.len() + a).collect();
    out.node = graph.add(Op::Reduce { fold, axes: all }, &[source.node]);
    out.dims = (0..t.dims.len())
        .filter(|i| !axes.contains(i))
        .map(|i| t.dims[i].clone())
        .collect();
    out.window = source.window.filter(|w| !axes.contains(&w.axis)).map(|mut w| {
        w.axis -= axes.iter().filter(|&&a| a < w.axis).count();
        w
    });
    out.strip = out.strip.min(out.dims.len());
    out
}

/// How many entries an axis has, as a scalar: those that exist, for a window.
pub(crate) fn count(graph: &mut Graph, t: &Tensor, axes: &[usize]) -> Tensor {
    let fixed: f64 = axes
        .iter()
        .filter(|&&a| t.window.as_ref().is_none_or(|w| w.axis != a))
        .map(|&a| t.dims[a].size.fixed().unwrap_or(1) as f64)
        .product();
    let mut out = constant(graph, t.frame, fixed, Elem::Real);
    if let Some(window) = t.window.as_ref().filter(|w| axes.contains(&w.axis)) {
        let real = graph.add(Op::Real, &[window.exists]);
        let axes = [0].into_iter().collect();
        let live = graph.add(Op::Reduce { fold: Fold::Sum, axes }, &[real]);
        out.node = graph.add(Op::Mul, &[out.node, live]);
    }
    out
}

/// `sum over the last axis of a and the first of b`.
pub(crate) fn matmul(
    graph: &mut Graph,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor, Misfit> {
    let (Some(last), Some(first)) = (a.dims.last(), b.dims.first()) else {
        return Err(Misfit::product(a, b));
    };
    if last.size != first.size {
        return Err(Misfit::product(a, b));
    }
    let end = a.dims.len() - 1;
    let clock = |t: &Tensor, axis: usize| {
        t.window.as_ref().is_some_and(|w| w.clock && w.axis == axis)
    };
    // Two windows of one clock are in one order already.
    let (a, b) = if clock(a, end) == clock(b, 0) {
        (a.clone(), b.clone())
    } else {
        (crate::window::in_order(graph, a), crate::window::in_order(graph, b))
    };
    let (a, b) = (&a, &b);
    let meets =
        |t: &Tensor, axis: usize| t.window.as_ref().is_some_and(|w| w.axis == axis);
    let x = if meets(a, end) && !meets(b, 0) { filled(graph, a, 0.0) } else { a.clone() };
    let y = if meets(b, 0) { filled(graph, b, 0.0) } else { b.clone() };
    let x = if meets(&x, end) { filled(graph, &x, 0.0) } else { x };
    let shared = a.lead.len().min(b.lead.len());
    let batch = (0..shared).map(|i| (i, i)).collect();
    let sum = [(x.lead.len() + end, y.lead.len())].into_iter().collect();
    let node = graph.add(Op::Contract { batch, sum }, &[x.node, y.node]);
    let dims: Vec<NamedDim> = a.dims[..end].iter().chain(&b.dims[1..]).cloned().collect();
    let lead = longer(&a.lead, &b.lead).to_vec();
    // The result of `contract` has the shared mapped axes, then the rest of a, then the rest of b: where only b is
    // mapped further, those axes must come before a's own.
    let node = if b.lead.len() > a.lead.len() && end > 0 {
        let extra = b.lead.len() - shared;
        let rank = lead.len() + dims.len();
        let order = (0..shared)
            .chain(shared + end..shared + end + extra)
            .chain(shared..shared + end)
            .chain(shared + end + extra..rank)
            .collect();
        graph.add(Op::Transpose { order }, &[node])
    } else {
        node
    };
    let window = match (&a.window, &b.window) {
        (Some(w), _) if w.axis < end => Some(w.clone()),
        (_, Some(w)) if w.axis > 0 => {
            Some(Window { axis: end + w.axis - 1, ..w.clone() })
        }
        _ => None,
    };
    Ok(Tensor { frame: a.frame, node, elem: Elem::Real, lead, dims, strip: 0, window })
}

/// `a (x) b` of two vectors.
pub(crate) fn outer(graph: &mut Graph, a: &Tensor, b: &Tensor) -> Tensor {
    let shared = a.lead.len().min(b.lead.len());
    if a.lead.len() != b.lead.len() {
        let lead = longer(&a.lead, &b.lead).to_vec();
        let own = |t: &Tensor| (0..t.dims.len()).collect::<Vec<_>>();
        let x = broadcast(graph, a, &lead, &a.dims, &own(a));
        let y = broadcast(graph, b, &lead, &b.dims, &own(b));
        return outer(graph, &x, &y);
    }
    let batch = (0..shared).map(|i| (i, i)).collect();
    let op = Op::Contract { batch, sum: [].into_iter().collect() };
    let node = graph.add(op, &[a.node, b.node]);
    let dims = a.dims.iter().chain(&b.dims).cloned().collect();
    Tensor { node, dims, window: None, strip: 0, ..a.clone() }
}

/// The tensor with its own axes in another order.
pub(crate) fn transpose(graph: &mut Graph, t: &Tensor, order: &[usize]) -> Tensor {
    let mut out = t.clone();
    let lead = t.lead.len();
    let all = (0..lead).chain(order.iter().map(|a| lead + a)).collect();
    out.node = graph.add(Op::Transpose { order: all }, &[t.node]);
    out.dims = order.iter().map(|&a| t.dims[a].clone()).collect();
    if let Some(window) = &mut out.window {
        window.axis = order.iter().position(|&a| a == window.axis).unwrap_or(0);
    }
    out
}

/// The same elements under other own dimensions.
pub(crate) fn reshape(graph: &mut Graph, t: &Tensor, dims: Vec<NamedDim>) -> Tensor {
    let t = &crate::window::in_order(graph, t);
    let all = t.lead.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
    let node = graph.add(Op::Reshape { dims: all }, &[t.node]);
    Tensor { node, dims, window: None, strip: 0, ..t.clone() }
}

/// Entry or entries `start .. start + size` of an own axis.
pub(crate) fn slice(
    graph: &mut Graph,
    t: &Tensor,
    axis: usize,
    start: usize,
    size: usize,
) -> Tensor {
    let op = Op::Slice { axis: t.lead.len() + axis, start, size };
    let mut out = t.clone();
    out.node = graph.add(op, &[t.node]);
    out.dims[axis].size = Dim::Fixed(size);
    out
}

/// The last `size` values in a new axis, newest first; mapped dimensions stay in front of it.
pub(crate) fn recent(graph: &mut Graph, t: &Tensor, size: Dim) -> Node {
    let node = graph.add(Op::Recent { size }, &[t.node]);
    let lead = t.lead.len();
    if lead == 0 {
        return node;
    }
    let rank = lead + t.dims.len() + 1;
    let order = (1..=lead).chain([0]).chain(lead + 1..rank).collect();
    graph.add(Op::Transpose { order }, &[node])
}

/// `if c then a else b`, shapes fitted.
pub(crate) fn select(
    graph: &mut Graph,
    c: &Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor, Misfit> {
    let (a, b) = fit(graph, a, b)?;
    let (c, a) = fit(graph, c, &a)?;
    let (c, b) = fit(graph, &c, &b)?;
    let (a, b) = fit(graph, &a, &b)?;
    let node = graph.add(Op::Select, &[c.node, a.node, b.node]);
    let window = a
        .window
        .clone()
        .or_else(|| b.window.clone())
        .map(|w| Window { zeroed: false, ..w });
    Ok(Tensor { node, window, ..a })
}
